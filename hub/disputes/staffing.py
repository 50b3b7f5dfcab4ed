"""Members of staff in disputes: what they may, and the note that they did. I/O: the database, in the caller's transaction.

An operator sees and decides all of them. A regulator opens and sees those of their own jurisdiction, within a case.
"""

from datetime import datetime

from sqlalchemy.orm import Session

from hub.disputes.rules import Side
from hub.disputes.tables import Dispute
from hub.disputes.targets import Who
from hub.errors import Conflict, NotFound
from hub.staff.accounts import member_of, require_member
from hub.staff.actions import append_action
from hub.staff.rights import Refusal, Right, Role, Scope, What, find_refusal

_SIDES = {Role.OPERATOR: Side.OPERATOR, Role.REGULATOR: Side.REGULATOR}


def staff_who(session: Session, name: str, case_id: str | None = None) -> Who:
    """Return a member of staff as a speaker.

    Raises:
        NotFound: there is no such member. Conflict: they are disabled, or their role has no part in disputes.
    """
    row = require_member(session, name)
    if row.disabled_at is not None:
        raise Conflict("this member of staff is disabled")
    member = member_of(row)
    if member.role not in _SIDES:
        raise Conflict(f"staff of the role {member.role} have no part in disputes; their platform has its own door")
    return Who(side=_SIDES[member.role], member=member, case_id=case_id)


def right_to_speak(who: Who) -> Right:
    """Return the right by which staff open disputes and write in them."""
    return Right.DECIDE_DISPUTES if who.side is Side.OPERATOR else Right.OPEN_DISPUTES


def require_right(who: Who, right: Right, region: str) -> None:
    """See that a member may do this about something in a region.

    Raises:
        NotFound: it lies outside their jurisdiction: like what is not there. Conflict: they have not the right, or no case.
    """
    assert who.member is not None  # noqa: S101 - asked for staff only
    refusal = find_refusal(who.member, right, Scope(region=region, case_id=who.case_id))
    if refusal is None:
        return
    if refusal is Refusal.OUT_OF_SCOPE:
        raise NotFound("there is nothing of this name in the jurisdiction")
    hint = "; name the case with --case" if refusal is Refusal.NO_CASE else ""
    raise Conflict(f"staff of the role {who.member.role} may not do this ({refusal}{hint})")


def note_access(session: Session, who: Who, right: Right, what: What, row: Dispute, now: datetime) -> None:
    """Write down what a member did with a dispute."""
    assert who.member is not None  # noqa: S101 - noted for staff only
    ids = {"dispute": row.dispute_id, "region": row.region}
    append_action(session, who.member, right=right, what=what, now=now, ids=ids, case_id=who.case_id)
