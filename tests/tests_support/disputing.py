"""Disputes for tests: who opens them, what follows, and what is left in the ledger."""

from datetime import datetime
from typing import Any

from tests_support.using import NOW, rows

from hub.adjustments.kinds import Reason
from hub.audit import audit
from hub.context import Hub
from hub.db import writing
from hub.disputes.deciding import Outcome, decide
from hub.disputes.moving import advance, follow_deadlines, submit, withdraw
from hub.disputes.opening import open_dispute
from hub.disputes.rules import Adjust, Side, Step, Target
from hub.disputes.staffing import staff_who
from hub.disputes.tables import Dispute
from hub.disputes.targets import Asked, Who
from hub.staff.accounts import add_staff
from hub.staff.rights import Role

CHEN = "chen"
REASON = {
    Target.LINK: Reason.LINK, Target.EVENT: Reason.FRAD, Target.AMOUNT: Reason.FACT, Target.RETIREMENT: Reason.OPER,
}  # fmt: skip


def person(subject_id: int) -> Who:
    return Who(side=Side.PERSON, subject_id=subject_id)


def platform(name: str) -> Who:
    return Who(side=Side.PLATFORM, platform=name)


def employ(hub: Hub, name: str = CHEN, role: Role = Role.OPERATOR, **scope: str) -> None:
    with writing(hub.engine) as session:
        add_staff(session, name=name, role=role, now=hub.clock(), **scope)


def asked(target: Target, **named: Any) -> Asked:
    return Asked(**{"target": target, "reason": REASON[target], "text": "that was not so"} | named)


def opened(hub: Hub, who: Who, target: Target = Target.EVENT, *, now: datetime = NOW, **named: Any) -> str:
    """Open a dispute; returns its id."""
    with writing(hub.engine) as session:
        return open_dispute(session, hub, asked(target, **named), who, now).dispute.dispute_id


def moved(hub: Hub, dispute_id: str, step: Step, *, now: datetime = NOW) -> Dispute:
    with writing(hub.engine) as session:
        return advance(session, hub, dispute_id, staff_who(session, CHEN), step, now)


def written(hub: Hub, dispute_id: str, who: Who, text: str = "more", *, now: datetime = NOW) -> None:
    with writing(hub.engine) as session:
        submit(session, hub, dispute_id, who, text, now)


def withdrawn(hub: Hub, dispute_id: str, who: Who, *, now: datetime = NOW) -> None:
    with writing(hub.engine) as session:
        withdraw(session, dispute_id, who, now)


def decided(
    hub: Hub, dispute_id: str, *, upheld: bool = True, adjust: Adjust = Adjust.FULL, mg: int | None = None,
    now: datetime = NOW,
) -> Dispute:  # fmt: skip
    """Decide a dispute that is in review."""
    with writing(hub.engine) as session:
        outcome = Outcome(upheld=upheld, adjust=adjust, mg=mg, why="seen by two")
        return decide(session, hub, dispute_id, staff_who(session, CHEN), outcome, now)


def judged(hub: Hub, dispute_id: str, **outcome: Any) -> Dispute:
    """Take a dispute into review and decide it."""
    moved(hub, dispute_id, Step.REVIEWED)
    return decided(hub, dispute_id, **outcome)


def followed(hub: Hub, now: datetime) -> int:
    with writing(hub.engine) as session:
        return follow_deadlines(session, now)


def events(hub: Hub) -> list[int]:
    """The settled events, in order."""
    return [number for (number,) in rows(hub, "SELECT event_id FROM event WHERE NOT provisional ORDER BY event_id")]


def state_of(hub: Hub, dispute_id: str) -> str:
    ((state,),) = rows(hub, f"SELECT state FROM dispute WHERE dispute_id = '{dispute_id}'")
    return str(state)


def adjustments(hub: Hub) -> list[tuple[Any, ...]]:
    return rows(hub, "SELECT kind, event_id, mg, owed_mg, case_id FROM adjustment ORDER BY at, event_id")


def require_sound(hub: Hub) -> None:
    assert [(check.name, check.offenders) for check in audit(hub).checks if not check.ok] == []
