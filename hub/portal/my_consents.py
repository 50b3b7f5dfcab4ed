"""What a person sees of their consents: what is allowed to whom, since when, how given, how used. I/O: reads the database.

Three things are kept apart everywhere: what was allowed, what was refused, and what nobody ever asked.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session
from sqlmodel import col

from consent.grants import LEGAL, Grant, GrantState, parse_grant
from consent.receipts import has_receipt, recipient_name
from consent.tables import AccessToken, GrantVersion, Receipt
from consent.terms import HUB, Assurance, Frequency, GrantTerms, Purpose, Sensitive
from hub.clock import from_micros
from hub.portal.account import SHANGHAI
from hub.portal.asking import behaviour_names, day
from hub.sync.tables import Participant

RENEW_WITHIN = timedelta(days=30)

# One dictionary for the request, the review and the withdrawal.
PURPOSES = {
    Purpose.COLLECT: "fetch or receive records",
    Purpose.CLEAR: "decide what counts",
    Purpose.CREDIT: "credit grams to the account",
    Purpose.DISCLOSE: "read the account",
    Purpose.RESERVE: "use grams",
    Purpose.POOL: "pool grams into tonnes for a market",
}
STATES = {
    GrantState.REQUESTED: "asked",
    GrantState.ACTIVE: "allowed",
    GrantState.PAUSED: "paused",
    GrantState.REFUSED: "refused",
    GrantState.REVOKED: "withdrawn",
    GrantState.EXPIRED: "ended",
}
SENSITIVE = {Sensitive.WHEREABOUTS: "trips and charging", Sensitive.FINANCIAL_ACCOUNT: "acts from a financial account"}
FREQUENCIES = {
    Frequency.ONCE: "once",
    Frequency.DAILY: "once a day",
    Frequency.WEEKLY: "once a week",
    Frequency.MONTHLY: "once a month",
    Frequency.ALWAYS: "as records appear",
}
ASSURANCES = {
    Assurance.NONE: "recorded without a proof of the person",
    Assurance.PASSWORD: "after signing in with a password",
    Assurance.PASSKEY: "with a passkey",
    Assurance.GUARDIAN: "by the guardian",
}
KEPT_BY_HUB = "sealed, while what was counted from it is in your account"
CHANGES = {
    "requested": "asked",
    "given": "allowed",
    "amended": "changed",
    "renewed": "renewed",
    "refused": "refused",
    "withdrawn": "withdrawn",
    "superseded": "replaced by a newer consent",
    "time over": "ended by itself",
    "paused": "paused",
    "resumed": "allowed again",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionView:
    """One line of a consent's history, with its receipt if there is one."""

    number: int
    at: str
    what: str
    how: str
    receipt_id: str | None
    receipt_missing: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentView:
    """One consent as its person sees it."""

    grant_id: str
    recipient: str
    platforms: str
    state: str
    state_words: str
    purposes: str
    purpose_text: str
    behaviours: str
    sensitive: str
    valid_from: str
    valid_until: str
    frequency: str
    data_life: str
    given: str
    used: str
    versions: tuple[VersionView, ...]
    is_open: bool
    ends_soon: bool
    by_guardian: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class MyConsents:
    """Everything on the page: what is in force or asked, what is over, and platforms that never asked."""

    current: tuple[ConsentView, ...]
    over: tuple[ConsentView, ...]
    never_asked: tuple[Participant, ...]


def load_my_consents(
    session: Session, subject_id: int, participants: list[Participant], *, now: datetime
) -> MyConsents:
    """Load the page of one person."""
    histories = _histories(session, subject_id)
    views = _views(session, subject_id, histories, participants, now)
    asked = {
        platform
        for history in histories
        if history[0].terms.recipient == HUB
        for platform in history[0].terms.platforms
    }
    return MyConsents(
        current=tuple(view for view in views if view.is_open),
        over=tuple(view for view in views if not view.is_open),
        never_asked=tuple(one for one in participants if one.participant_id not in asked),
    )


def load_client_consents(
    session: Session, subject_id: int, participants: list[Participant], *, now: datetime
) -> tuple[ConsentView, ...]:
    """Load what OAuth clients may do with a person's account, and nothing that is over."""
    mine = [history for history in _histories(session, subject_id) if history[-1].terms.client_id is not None]
    return tuple(view for view in _views(session, subject_id, mine, participants, now) if view.is_open)


def count_ending(session: Session, subject_id: int, *, now: datetime) -> int:
    """Return how many consents of a person end within 30 days; for a reminder on the first page."""
    latest = [history[-1] for history in _histories(session, subject_id)]
    return sum(is_ending(grant, now) for grant in latest)


def is_ending(grant: Grant, now: datetime) -> bool:
    """Say whether a consent is in force and ends so soon that its person is asked to renew it."""
    return grant.state is GrantState.ACTIVE and now < grant.terms.valid_until <= now + RENEW_WITHIN


def recipient_words(session: Session, terms: GrantTerms) -> str:
    """Return what people call the recipient of a grant."""
    return recipient_name(session, terms.recipient)


def purpose_words(terms: GrantTerms) -> str:
    """Return the purposes in the words of the dictionary."""
    return ", ".join(PURPOSES[one] for one in Purpose if one in terms.purposes)


def _views(
    session: Session, subject_id: int, histories: list[list[Grant]], participants: list[Participant], now: datetime
) -> list[ConsentView]:
    receipts = _receipts(session, subject_id)
    used = _used(session, subject_id)
    names = {one.participant_id: f"{one.name_zh} {one.name_en}" for one in participants}
    return [
        _view(session, history, receipts=receipts, used=used.get(history[-1].grant_id), names=names, now=now)
        for history in histories
    ]


def _view(
    session: Session,
    history: list[Grant],
    *,
    receipts: Mapping[tuple[str, int], str],
    used: str | None,
    names: Mapping[str, str],
    now: datetime,
) -> ConsentView:
    grant, terms = history[-1], history[-1].terms
    yes = next((version for version in reversed(history) if version.state is GrantState.ACTIVE), None)
    is_open = bool(LEGAL[grant.state])
    life = terms.data_life_days
    return ConsentView(
        grant_id=grant.grant_id,
        recipient=recipient_words(session, terms),
        platforms=", ".join(names.get(platform, platform) for platform in sorted(terms.platforms)),
        state=grant.state.value,
        state_words=STATES[grant.state],
        purposes=purpose_words(terms),
        purpose_text=terms.purpose_text if terms.recipient != HUB else "",
        behaviours=behaviour_names(terms, "en"),
        sensitive=", ".join(SENSITIVE[one] for one in Sensitive if one in terms.sensitive) or "none",
        valid_from=day(terms.valid_from),
        valid_until=day(terms.valid_until),
        frequency=FREQUENCIES[terms.frequency],
        data_life=KEPT_BY_HUB
        if terms.recipient == HUB
        else f"{life} days"
        if life is not None
        else "while this is in force",
        given="never" if yes is None else f"{_minute(yes.created_at)}, {ASSURANCES[yes.assurance]}",
        used=used or "not used yet",
        versions=tuple(_line(version, receipts) for version in reversed(history)),
        is_open=is_open,
        ends_soon=is_ending(grant, now),
        by_guardian=grant.state is GrantState.ACTIVE and grant.assurance is Assurance.GUARDIAN,
    )


def _line(grant: Grant, receipts: Mapping[tuple[str, int], str]) -> VersionView:
    receipt_id = receipts.get((grant.grant_id, grant.version))
    decided = grant.reason in ("given", "amended", "renewed")
    return VersionView(
        number=grant.version,
        at=_minute(grant.created_at),
        what=CHANGES.get(grant.reason, grant.reason),
        how=ASSURANCES[grant.assurance] if decided else "",
        receipt_id=receipt_id,
        receipt_missing=receipt_id is None and has_receipt(grant.state),
    )


def _histories(session: Session, subject_id: int) -> list[list[Grant]]:
    """Return every grant of a person with all its versions, the grant that was changed last first."""
    query = select(GrantVersion).where(col(GrantVersion.subject_id) == subject_id)
    found: dict[str, list[Grant]] = defaultdict(list)
    for row in session.scalars(query.order_by(col(GrantVersion.grant_id), col(GrantVersion.version))):
        found[row.grant_id].append(parse_grant(row))
    return sorted(found.values(), key=lambda history: history[-1].created_at, reverse=True)


def _receipts(session: Session, subject_id: int) -> dict[tuple[str, int], str]:
    query = select(col(Receipt.grant_id), col(Receipt.version), col(Receipt.receipt_id)).where(
        col(Receipt.subject_id) == subject_id
    )
    return {(grant_id, version): receipt_id for grant_id, version, receipt_id in session.execute(query)}


def _used(session: Session, subject_id: int) -> dict[str, str]:
    """Return by grant when it was last made use of: the last record taken, the last access handed out."""
    records = session.execute(
        text(
            "SELECT l.grant_id, COUNT(*), MAX(s.received_us) FROM source_record s JOIN link l ON l.link_id = s.link_id "
            "WHERE s.subject_id = :s GROUP BY l.grant_id"
        ),
        {"s": subject_id},
    )
    used = {grant: f"{count:,} records, the last at {_minute(from_micros(last))}" for grant, count, last in records}
    tokens = select(col(AccessToken.grant_id), func.max(AccessToken.issued_at)).where(
        col(AccessToken.subject_id) == subject_id, col(AccessToken.grant_id).is_not(None)
    )
    rows = session.execute(tokens.group_by(col(AccessToken.grant_id)))
    return used | {str(grant): f"last access at {_minute(at)}" for grant, at in rows}


def _minute(at: datetime) -> str:
    return f"{at.astimezone(SHANGHAI):%Y-%m-%d %H:%M}"
