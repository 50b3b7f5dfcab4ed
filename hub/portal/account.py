"""What a person sees of their own account. I/O: reads the database; shows nobody else's rows."""

from dataclasses import dataclass, field
from datetime import datetime
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.orm import Session

from hub.clearing.store import NEWEST
from hub.clock import from_micros
from hub.ledger.store import load_balances
from hub.records.corroboration import find_confirmations
from standards.behaviours import load_behaviours

SHANGHAI = ZoneInfo("Asia/Shanghai")


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One act of a person, as they are told about it."""

    event_id: int
    at: datetime
    behaviour: str
    mg: int
    platform: str
    also_reported_by: tuple[str, ...]
    provisional: bool
    confirmed_by: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """Say in one sentence what counts and who else told of it."""
        told = f"reported by {self.platform}"
        if self.also_reported_by:
            told = f"counted once, from {self.platform}; also reported by {', '.join(self.also_reported_by)}"
        return f"{told}; confirmed by {', '.join(self.confirmed_by)}" if self.confirmed_by else told


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountView:
    """A person's account: balances by state and the newest acts first."""

    balances: dict[str, int]
    provisional_mg: int
    acts: tuple[Act, ...] = field(default=())
    set_aside: dict[str, int]


def load_account(session: Session, subject_id: int, *, limit: int = 50, shared_first: bool = False) -> AccountView:
    """Load a person's account.

    Args:
        shared_first: put acts that several platforms reported before the others (for showing how that looks).
    """
    order = "e.records DESC, e.start_us DESC" if shared_first else "e.start_us DESC"
    rows = session.execute(
        text(
            "SELECT e.event_id, e.start_us, e.behaviour, e.mg - COALESCE(j.taken_mg, 0), e.provisional FROM event e "
            "LEFT JOIN event_adjusted j ON j.event_id = e.event_id "
            "LEFT JOIN event_reversal v ON v.event_id = e.event_id WHERE e.subject_id = :s AND v.event_id IS NULL "
            f"ORDER BY {order}, e.event_id LIMIT :n"
        ),
        {"s": subject_id, "n": limit},
    ).all()
    tellers = _tellers(session, subject_id)
    confirmed = find_confirmations(session, [row[0] for row in rows])
    names = load_behaviours()
    acts = tuple(
        Act(
            event_id=event_id,
            at=from_micros(start_us).astimezone(SHANGHAI),
            behaviour=names[code].en,
            mg=mg,
            platform=tellers.get(event_id, {}).get("counted", ["?"])[0],
            also_reported_by=tuple(tellers.get(event_id, {}).get("other", [])),
            provisional=bool(provisional),
            confirmed_by=tuple(confirmed.get(event_id, ())),
        )
        for event_id, start_us, code, mg, provisional in rows
    )
    provisional = session.execute(
        text("SELECT COALESCE(SUM(mg), 0) FROM event WHERE subject_id = :s AND provisional = :yes"),
        {"s": subject_id, "yes": True},
    ).scalar_one()
    return AccountView(
        balances=load_balances(session, subject_id),
        provisional_mg=int(provisional),
        acts=acts,
        set_aside=_set_aside(session, subject_id),
    )


def _tellers(session: Session, subject_id: int) -> dict[int, dict[str, list[str]]]:
    """Who told of each event: the platform whose record it began with, and the others.

    An event is numbered by that record. `canonical_record_id` is another one where the grams are with another event.
    """
    rows = session.execute(
        text(
            "SELECT d.event_id, r.platform, d.record_id = d.event_id FROM decision d "
            "JOIN reduction_record r USING (record_id) WHERE d.subject_id = :s AND d.event_id IS NOT NULL "
            "ORDER BY d.event_id, r.platform"
        ),
        {"s": subject_id},
    )
    found: dict[int, dict[str, list[str]]] = {}
    for event_id, platform, canonical in rows:
        told = found.setdefault(event_id, {"counted": [], "other": []})
        if canonical:
            told["counted"].append(platform)
        elif platform not in told["other"]:
            told["other"].append(platform)
    for told in found.values():
        told["other"] = [name for name in told["other"] if name not in told["counted"]]
    return found


def _set_aside(session: Session, subject_id: int) -> dict[str, int]:
    rows = session.execute(
        text(
            f"SELECT d.verdict, COUNT(*) FROM decision d WHERE d.subject_id = :s AND d.verdict <> 'counted' AND {NEWEST} "
            "GROUP BY d.verdict ORDER BY d.verdict"
        ),
        {"s": subject_id},
    )
    return {verdict: int(count) for verdict, count in rows}
