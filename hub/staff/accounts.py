"""Members of staff: added, enrolled by a link that works once, disabled. I/O: `staff`, `staff_enrolment`, `passkey`.

The link is shown once and the database has only its hash. A new link takes the old ones' place; using one takes the
place of every passkey the member had, because who asks for a new link has lost the old device or left it behind.
"""

import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from sqlmodel import col

from consent.keyring import token_hash
from consent.passkeys import Owner, load_passkeys, remove_all_passkeys
from consent.signin_tables import Passkey
from hub.errors import Conflict, NotFound, UsageProblem
from hub.staff.actions import append_action
from hub.staff.rights import Member, Role, What, is_jurisdiction
from hub.staff.tables import Staff, StaffEnrolment, StaffSession

ENROLMENT_LIFE = timedelta(hours=24)
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One member with their standing, for the operator's list."""

    member: Member
    standing: str
    created_at: datetime


def add_staff(
    session: Session,
    *,
    name: str,
    role: Role,
    now: datetime,
    participant: str | None = None,
    jurisdiction: str | None = None,
) -> Member:
    """Create a member without any way in yet.

    Raises:
        UsageProblem: the name is unusable, or the scope does not fit the role.
        Conflict: the name is taken.
    """
    if not _NAME.fullmatch(name):
        raise UsageProblem("a staff name is made of a-z, 0-9, dot, _ and -, at most 64 of them")
    if (role is Role.PLATFORM) != (participant is not None):
        raise UsageProblem("--participant belongs to the role platform, and to no other")
    if (role is Role.REGULATOR) != (jurisdiction is not None):
        raise UsageProblem("--jurisdiction belongs to the role regulator, and to no other")
    if jurisdiction is not None and not is_jurisdiction(jurisdiction):
        raise UsageProblem("a jurisdiction is a GB/T 2260 code of six digits, or CN")
    row = Staff(
        staff_id=secrets.token_hex(16), name=name, role=str(role), participant_id=participant,
        jurisdiction=jurisdiction, created_at=now,
    )  # fmt: skip
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError:
        raise Conflict("there is a member of staff of this name already") from None
    member = member_of(row)
    append_action(session, member, right=None, what=What.ADDED, now=now)
    return member


def require_member(session: Session, name: str) -> Staff:
    """Return the row of a name. Raises NotFound."""
    row = session.scalars(select(Staff).where(col(Staff.name) == name)).one_or_none()
    if row is None:
        raise NotFound("there is no member of staff of this name")
    return row


def make_enrolment(session: Session, name: str, *, now: datetime) -> str:
    """Return the token of a new link; earlier ones are worth nothing from now on."""
    row = require_member(session, name)
    if row.disabled_at is not None:
        raise Conflict("this member of staff is disabled")
    session.execute(
        delete(StaffEnrolment).where(
            col(StaffEnrolment.staff_id) == row.staff_id, col(StaffEnrolment.used_at).is_(None)
        )
    )
    token = secrets.token_urlsafe(32)
    session.add(
        StaffEnrolment(
            token_hash=token_hash(token), staff_id=row.staff_id, created_at=now, expires_at=now + ENROLMENT_LIFE
        )
    )
    append_action(session, member_of(row), right=None, what=What.LINK_MADE, now=now)
    return token


def load_enrolled(session: Session, token: str, *, now: datetime) -> Member | None:
    """Whose link this is; None if it was used, is too old, was replaced, or was never made."""
    row = session.get(StaffEnrolment, token_hash(token)) if token else None
    if row is None or row.used_at is not None or row.expires_at <= now:
        return None
    return load_member(session, row.staff_id)


def use_enrolment(session: Session, token: str, *, now: datetime) -> Member | None:
    """Take a link away; of two who use it at once one gets the member. Roll back if nothing is registered for it."""
    used = session.execute(
        update(StaffEnrolment)
        .where(
            col(StaffEnrolment.token_hash) == token_hash(token),
            col(StaffEnrolment.used_at).is_(None),
            col(StaffEnrolment.expires_at) > now,
        )
        .values(used_at=now)
        .returning(col(StaffEnrolment.staff_id))
    ).first()
    return None if used is None else load_member(session, used.staff_id)


def replace_passkeys(session: Session, member: Member, new: Passkey) -> None:
    """Leave the member the new passkey only, and end what was signed in with the others."""
    remove_all_passkeys(session, Owner(staff_id=member.staff_id), but=new)
    session.execute(delete(StaffSession).where(col(StaffSession.staff_id) == member.staff_id))


def disable_staff(session: Session, name: str, *, now: datetime) -> bool:
    """End all that a member could do, at once; False if that was so already. What they did stays."""
    row = require_member(session, name)
    if row.disabled_at is not None:
        return False
    row.disabled_at = now
    remove_all_passkeys(session, Owner(staff_id=row.staff_id))
    session.execute(delete(StaffSession).where(col(StaffSession.staff_id) == row.staff_id))
    session.execute(delete(StaffEnrolment).where(col(StaffEnrolment.staff_id) == row.staff_id))
    append_action(session, member_of(row), right=None, what=What.DISABLED, now=now)
    return True


def load_member(session: Session, staff_id: str) -> Member | None:
    """The member, unless unknown or disabled."""
    row = session.get(Staff, staff_id)
    return None if row is None or row.disabled_at is not None else member_of(row)


def list_staff(session: Session) -> list[Listed]:
    """All members, by name."""
    listed = []
    for row in session.scalars(select(Staff).order_by(col(Staff.name))):
        enrolled = bool(load_passkeys(session, Owner(staff_id=row.staff_id)))
        standing = "disabled" if row.disabled_at else "enrolled" if enrolled else "invited"
        listed.append(Listed(member=member_of(row), standing=standing, created_at=row.created_at))
    return listed


def member_of(row: Staff) -> Member:
    """Return a row as what rights are decided by."""
    return Member(
        staff_id=row.staff_id, name=row.name, role=Role(row.role), participant_id=row.participant_id,
        jurisdiction=row.jurisdiction,
    )  # fmt: skip
