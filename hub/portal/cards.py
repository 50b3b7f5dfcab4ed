"""What the page of linked accounts shows of each platform. I/O: reads the database."""

from dataclasses import dataclass

from sqlalchemy.orm import Session

from consent.links import load_links
from consent.people import load_person
from hub.sync.tables import Participant, SyncState


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One platform and, if there is one, this person's link to it."""

    platform: str
    name_zh: str
    name_en: str
    link: str | None
    state: str
    last_read: str
    last_error: str | None


def load_cards(session: Session, subject_id: int, participants: list[Participant]) -> list[Card]:
    """Return a card per platform, linked or not."""
    links = {link.platform: link for link in load_links(session, subject_id=subject_id) if link.valid_until is None}
    cards = []
    for participant in participants:
        link = links.get(participant.participant_id)
        sync = session.get(SyncState, (participant.participant_id, link.link_id)) if link else None
        read_at = sync.last_success_at if sync else None
        cards.append(
            Card(
                platform=participant.participant_id,
                name_zh=participant.name_zh,
                name_en=participant.name_en,
                link=link.link_id if link else None,
                state=link.state if link else "",
                last_read=f"{read_at:%Y-%m-%d %H:%M} UTC" if read_at else "the platform sends by itself, or not yet",
                last_error=sync.last_error if sync else None,
            )
        )
    return cards


def load_name(session: Session, subject_id: int) -> str:
    """Return the name a person signs in with."""
    person = load_person(session, subject_id)
    return (person.username if person else None) or "(unknown)"
