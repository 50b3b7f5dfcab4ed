"""The software by which a regulator asks: a client of the hub's OAuth server with one member's rights. I/O: the database.

A client has the rights of the member it is bound to, as they are now: who is disabled has no software either.
"""

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session
from sqlmodel import col

from hub.errors import Conflict, UsageProblem
from hub.staff.accounts import load_member, member_of, require_member
from hub.staff.actions import append_action
from hub.staff.rights import Member, Role, What
from hub.staff.tables import StaffClient

SCOPE = "regulator"


def bind_client(session: Session, client_id: str, name: str, *, now: datetime) -> Member:
    """Let a client act with a regulator's rights.

    Raises:
        NotFound: there is no such member. UsageProblem: they are no regulator. Conflict: they are disabled.
    """
    row = require_member(session, name)
    member = member_of(row)
    if member.role is not Role.REGULATOR:
        raise UsageProblem(f"{name} is no regulator; only a regulator's software has the scope {SCOPE}")
    if row.disabled_at is not None:
        raise Conflict("this member of staff is disabled")
    session.add(StaffClient(client_id=client_id, staff_id=member.staff_id, created_at=now))
    append_action(session, member, right=None, what=What.CLIENT_BOUND, now=now)
    return member


def load_client_member(session: Session, client_id: str) -> Member | None:
    """Return whose rights a client has; None if nobody's, or of somebody who is disabled."""
    staff_id = session.scalars(
        select(col(StaffClient.staff_id)).where(col(StaffClient.client_id) == client_id)
    ).one_or_none()
    return None if staff_id is None else load_member(session, staff_id)
