"""What the page of linked accounts shows of each platform. I/O: reads the database."""

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session
from sqlmodel import col

from consent.care import concerns
from consent.grants import Grant, GrantState, load_grants
from consent.links import load_links
from consent.people import load_person
from hub.portal.account import SHANGHAI
from hub.sync.tables import Participant, SyncState
from hub.sync.words import in_words


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One platform and, if there is one, this person's link to it."""

    platform: str
    name_zh: str
    name_en: str
    link: str | None
    state: str
    standing: str
    last_read: str
    last_error: str | None


def load_cards(session: Session, subject_id: int, participants: list[Participant]) -> list[Card]:
    """Return a card per platform, linked or not."""
    links = {link.platform: link for link in load_links(session, subject_id=subject_id) if link.valid_until is None}
    grants = load_grants(session, subject_id=subject_id)
    cards = []
    for participant in participants:
        link = links.get(participant.participant_id)
        states = _states(session, participant.participant_id, link.link_id) if link else []
        read_at = max((state.last_success_at for state in states if state.last_success_at), default=None)
        failed = next((state.last_error for state in states if state.last_error), None)
        cards.append(
            Card(
                platform=participant.participant_id,
                name_zh=participant.name_zh,
                name_en=participant.name_en,
                link=link.link_id if link else None,
                state=link.state if link else "",
                standing=standing([grant for grant in grants if concerns(grant, participant.participant_id)]),
                last_read=f"{read_at:%Y-%m-%d %H:%M} UTC" if read_at else "the platform sends by itself, or not yet",
                last_error=in_words(failed) if failed else None,
            )
        )
    return cards


def _states(session: Session, platform: str, link_id: str) -> list[SyncState]:
    wanted = select(SyncState).where(col(SyncState.link_id) == link_id, col(SyncState.platform) == platform)
    return list(session.scalars(wanted))


NEVER_ASKED = "You were never asked."


def standing(grants: list[Grant], *, of_child: bool = False) -> str:
    """Say what was decided on one platform: a yes, a no and never having been asked are three things.

    Args:
        grants: those that concern the platform, newest first.
        of_child: the guardian reads it, and not the person themself.
    """
    if not grants:
        return "Nobody asked." if of_child else NEVER_ASKED
    newest = grants[0]
    day = f"{newest.created_at.astimezone(SHANGHAI):%Y-%m-%d}"
    match newest.state:
        case GrantState.REQUESTED:
            return f"Asked on {day}." if of_child else f"Your guardian was asked on {day} and has not answered."
        case GrantState.REFUSED:
            return f"Refused on {day}." if of_child else f"You refused on {day}."
        case GrantState.ACTIVE | GrantState.PAUSED:
            return f"Allowed on {day}." if of_child else f"Allowed on {day}, but no account is linked."
        case GrantState.EXPIRED:
            return f"The consent ended on {day}."
        case GrantState.REVOKED:
            return f"Withdrawn on {day}." if newest.reason == "withdrawn" else f"The consent ended on {day}."


def load_name(session: Session, subject_id: int) -> str:
    """Return the name a person signs in with."""
    person = load_person(session, subject_id)
    return (person.username if person else None) or "(unknown)"
