"""What a dispute is about, found for whoever may dispute it. I/O: reads the database, in the caller's transaction.

A person disputes what is their own; a platform an act that it reported, an account of its own, a use that it made. Whatever
else there is, is answered like what there is not.
"""

from dataclasses import dataclass

from sqlalchemy import bindparam, text
from sqlalchemy.orm import Session

from consent.keyring import KeyRing
from consent.links import find_open_link
from hub.adjustments.kinds import Reason
from hub.clearing.store import NEWEST
from hub.disputes.rules import Side, Target
from hub.errors import Conflict, NotFound, UsageProblem
from hub.records.naming import load_naming, token_of
from hub.staff.rights import NATION, Member

MOST_MG = 2**53 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Who:
    """Who speaks: a person, a platform, or a member of staff, who may be held to a case."""

    side: Side
    subject_id: int | None = None
    platform: str | None = None
    member: Member | None = None
    case_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What somebody disputes.

    Args:
        event_id: of an event or amount; a platform may name its own record by `stream` and `source_id` instead.
        link_id: of a link; a platform may name the `account`.
        claimed_mg: of an amount: what would be right.
    """

    target: Target
    reason: Reason
    text: str
    event_id: int | None = None
    stream: str | None = None
    source_id: str | None = None
    link_id: str | None = None
    account: str | None = None
    reservation_id: str | None = None
    claimed_mg: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The thing: whose it is, which platform has to answer, where it is, and the events whose grams it is about."""

    key: str
    subject_id: int
    platform: str
    region: str
    event_id: int | None = None
    link_id: str | None = None
    reservation_id: str | None = None
    event_ids: tuple[int, ...] = ()
    used: bool = False


def find_target(session: Session, ring: KeyRing, asked: Asked, who: Who) -> Found:
    """Find what is disputed.

    Raises:
        NotFound: there is no such thing that they may dispute. Conflict: it is not settled, or counts no more.
        UsageProblem: not exactly what this kind of target needs is said.
    """
    _require_shape(asked, who)
    match asked.target:
        case Target.EVENT | Target.AMOUNT:
            return _event(session, asked, who, _named_event(session, ring, asked, who))
        case Target.LINK:
            return _link(session, who, _named_link(session, ring, asked, who))
        case Target.RETIREMENT:
            return _use(session, asked, who)


def _require_shape(asked: Asked, who: Who) -> None:
    by_record = asked.stream is not None and asked.source_id is not None
    ways = {
        Target.EVENT: (asked.event_id is not None) + by_record,
        Target.AMOUNT: (asked.event_id is not None) + by_record,
        Target.LINK: (asked.link_id is not None) + (asked.account is not None),
        Target.RETIREMENT: int(asked.reservation_id is not None),
    }
    own_words = by_record or asked.account is not None
    others = sum(bool(ways[one]) for one in (Target.EVENT, Target.LINK, Target.RETIREMENT))
    if ways[asked.target] != 1 or others != 1 or (own_words and who.side is not Side.PLATFORM):
        raise UsageProblem(f"say which {asked.target}, in one way, and nothing of another kind of target")
    if (asked.target is Target.AMOUNT) != (asked.claimed_mg is not None):
        raise UsageProblem("claimed_mg: an amount that is disputed has one, and nothing else does")
    if asked.claimed_mg is not None and not 0 < asked.claimed_mg <= MOST_MG:
        raise UsageProblem(
            "claimed_mg: a whole number of milligrams above zero; what should not count is the target event"
        )


# --- events -----------------------------------------------------------------------------------------------------------


def _named_event(session: Session, ring: KeyRing, asked: Asked, who: Who) -> int:
    if asked.event_id is not None:
        return asked.event_id
    tokens = [token_of(key, asked.source_id or "") for key in load_naming(session, ring).keys]
    sql = text(
        "SELECT d.event_id FROM source_record s JOIN decision d ON d.record_id = s.record_id WHERE s.platform = :p "
        f"AND s.stream = :t AND s.source_id IN :ids AND d.event_id IS NOT NULL AND {NEWEST} "
        "ORDER BY s.record_id DESC LIMIT 1"
    ).bindparams(bindparam("ids", expanding=True))
    found = session.execute(sql, {"p": who.platform, "t": asked.stream, "ids": tokens}).scalar_one_or_none()
    if found is None:
        raise NotFound("no act that was decided has such a record of yours")
    return int(found)


def _event(session: Session, asked: Asked, who: Who, event_id: int) -> Found:
    row = session.execute(
        text(
            "SELECT e.subject_id, COALESCE(j.platform, r.platform) AS platform, r.region, e.provisional, "
            "v.event_id IS NOT NULL AS gone, e.mg - COALESCE(j.taken_mg, 0) AS mg FROM event e "
            "JOIN reduction_record r ON r.record_id = e.event_id JOIN person q ON q.subject_id = e.subject_id "
            "LEFT JOIN event_adjusted j ON j.event_id = e.event_id LEFT JOIN event_reversal v ON v.event_id = e.event_id "
            "WHERE e.event_id = :e AND q.erased_at IS NULL"
        ),
        {"e": event_id},
    ).one_or_none()
    if row is None or not (who.member or row.subject_id == who.subject_id or _has_reported(session, who, event_id)):
        raise NotFound("there is no such act that you may dispute")
    if row.provisional:
        raise Conflict("this act is not cleared yet: what is decided of it can still change by itself; come back then")
    if row.gone:
        raise Conflict("this act does not count any more; there is nothing to dispute")
    if asked.claimed_mg == row.mg:
        raise UsageProblem("claimed_mg: the act counts just that")
    return Found(
        key=f"event:{event_id}", subject_id=int(row.subject_id), platform=row.platform, region=_region(row.region),
        event_id=event_id, event_ids=(event_id,),
    )  # fmt: skip


def _has_reported(session: Session, who: Who, event_id: int) -> bool:
    """Whether a report of this platform is one of the act, as it is decided now."""
    if who.platform is None:
        return False
    sql = (
        "SELECT COUNT(*) FROM decision d JOIN reduction_record r ON r.record_id = d.record_id "
        f"WHERE d.event_id = :e AND r.platform = :p AND {NEWEST}"
    )
    return bool(session.execute(text(sql), {"e": event_id, "p": who.platform}).scalar_one())


# --- links ------------------------------------------------------------------------------------------------------------


def _named_link(session: Session, ring: KeyRing, asked: Asked, who: Who) -> str:
    if asked.link_id is not None:
        return asked.link_id
    link = find_open_link(session, ring, platform=who.platform or "", account=asked.account or "")
    if link is None:
        raise NotFound("there is no such account that you may dispute")
    return link.link_id


def _link(session: Session, who: Who, link_id: str) -> Found:
    row = None
    if _is_plain(link_id):
        row = session.execute(
            text(
                "SELECT l.subject_id, l.platform FROM link l JOIN person q ON q.subject_id = l.subject_id "
                "WHERE l.link_id = :l AND q.erased_at IS NULL"
            ),
            {"l": link_id},
        ).one_or_none()
    if row is None or not (who.member or row.subject_id == who.subject_id or row.platform == who.platform):
        raise NotFound("there is no such account that you may dispute")
    events = load_link_events(session, link_id)
    sql = (
        "SELECT r.region FROM source_record s JOIN reduction_record r ON r.record_id = s.record_id "
        "WHERE s.link_id = :l AND r.region IS NOT NULL ORDER BY r.record_id DESC LIMIT 1"
    )
    region = session.execute(text(sql), {"l": link_id}).scalar_one_or_none()
    return Found(
        key=f"link:{link_id}", subject_id=int(row.subject_id), platform=row.platform, region=_region(region),
        link_id=link_id, event_ids=tuple(events),
    )  # fmt: skip


def load_link_events(session: Session, link_id: str) -> list[int]:
    """Return the settled acts that count by a record which came over a link, the oldest first."""
    sql = (
        "SELECT e.event_id FROM source_record s JOIN event e ON e.event_id = s.record_id "
        "LEFT JOIN event_reversal v ON v.event_id = e.event_id LEFT JOIN event_adjusted j ON j.event_id = e.event_id "
        "WHERE s.link_id = :l AND v.event_id IS NULL AND NOT e.provisional AND e.mg - COALESCE(j.taken_mg, 0) > 0 "
        "ORDER BY e.event_id"
    )
    return [int(one) for one in session.execute(text(sql), {"l": link_id}).scalars()]


# --- uses -------------------------------------------------------------------------------------------------------------


def _use(session: Session, asked: Asked, who: Who) -> Found:
    name, row = asked.reservation_id or "", None
    if _is_plain(name):
        row = session.execute(
            text(
                "SELECT r.subject_id, r.participant, r.state FROM reservation r JOIN person q "
                "ON q.subject_id = r.subject_id WHERE r.reservation_id = :r AND q.erased_at IS NULL"
            ),
            {"r": name},
        ).one_or_none()
    if row is None or not (who.member or row.subject_id == who.subject_id or row.participant == who.platform):
        raise NotFound("there is no such use that you may dispute")
    if row.state != "committed":
        raise Conflict("nothing was used of this reservation; there is nothing to dispute")
    return Found(
        key=f"retirement:{name}", subject_id=int(row.subject_id), platform=row.participant, region=NATION,
        reservation_id=name, used=True,
    )  # fmt: skip


def _is_plain(name: str) -> bool:
    """Whether a name that somebody sent can be a value at all; no database takes half a character as one."""
    return 0 < len(name) <= 64 and name.isascii() and name.isprintable()


def _region(region: int | None) -> str:
    return NATION if region is None else f"{region:06d}"
