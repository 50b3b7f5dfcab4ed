"""Every access of staff leaves a leaf, or there is no access: decided and written in one place. I/O: the database.

Pages use it through hub/staff/door.py, regulators' software through hub/api/regulators.py, commands through
hub/commands/access.py. A read is written down before it is answered, and the transaction that writes it down has
committed by then: if the leaf cannot be written, the request fails and nothing was shown.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from hub.context import Hub
from hub.db import writing
from hub.staff.accounts import load_member
from hub.staff.actions import append_action, object_of
from hub.staff.rights import NO_SCOPE, Member, Refusal, Right, Scope, What, find_refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Leave to do one thing, just checked."""

    member: Member
    right: Right
    scope: Scope
    at: datetime


def find_noted_refusal(
    hub: Hub, member: Member, right: Right, scope: Scope = NO_SCOPE, *, now: datetime
) -> Refusal | None:
    """Return why a member may not do something, and write that down; None if they may."""
    refusal = find_refusal(member, right, scope)
    if refusal is not None:
        with writing(hub.engine) as session:
            append_action(session, member, right=right, what=What.REFUSED, now=now, ids={"refusal": str(refusal)})
    return refusal


def append_access(
    session: Session,
    access: Access,
    what: What,
    *,
    ids: Mapping[str, str] | None = None,
    about: Mapping[str, str] | None = None,
) -> bool:
    """Write one access into the caller's transaction; False, and nothing is written, if the member was disabled meanwhile.

    Args:
        ids: closed names with ids of our own, kept beside the action.
        about: what was asked (filters, a proof's name): kept and logged as a digest only.
    """
    if load_member(session, access.member.staff_id) is None:
        return False
    told = dict(ids or {})
    if access.scope.participant is not None:
        told["participant"] = access.scope.participant
    if access.scope.region is not None:
        told["region"] = access.scope.region
    if about:
        told["object"] = object_of(about)
    append_action(
        session, access.member, right=access.right, what=what, now=access.at, ids=told, case_id=access.scope.case_id
    )
    return True
