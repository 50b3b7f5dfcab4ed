"""The record of what staff did: a row that nobody can change, and a leaf of the log, in one transaction. I/O: database.

The row says who, when, by which right, what, and in which case; the leaf says that something was done, for which purpose,
with which outcome, by which kind of role and which number, and commits to the row. The row's random id is the
commitment's salt: it says nothing to who does not have the row. A member's number is a digest of their random id, so that
one member's accesses can be told from another's, and nobody's name is in the log.
"""

import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from sqlalchemy import select
from sqlalchemy.orm import Session
from sqlmodel import col

from hub.changes import log_change
from hub.errors import UsageProblem
from hub.log.leaves import Kind
from hub.staff.rights import PURPOSES, AccessPurpose, Member, Right, What
from hub.staff.tables import StaffAction
from standards.canonical import canonical_bytes

BY_COMMAND = "staff.by_command"
# What may stand beside an action: closed names with ids of our own. A name, a sentence or a query has no place in it.
_ID_NAMES = frozenset({"dispute", "participant", "region", "window", "refusal", "object"})
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One thing done, as its author is shown it."""

    at: datetime
    right: str
    what: str
    ids: dict[str, str]
    case_id: str | None


def append_action(
    session: Session,
    member: Member,
    *,
    right: Right | None,
    what: What,
    now: datetime,
    ids: Mapping[str, str] | None = None,
    case_id: str | None = None,
) -> None:
    """Write down what a member of staff did.

    Args:
        right: what it was done by; None for what the command line did to the member.
        ids: see `_ID_NAMES`.
    """
    told = dict(sorted((ids or {}).items()))
    wrong = [name for name, value in told.items() if name not in _ID_NAMES or not _ID.fullmatch(value)]
    if wrong or (case_id is not None and not _ID.fullmatch(case_id)):
        raise UsageProblem("a record of staff holds ids of known names only")
    row = StaffAction(
        action_id=secrets.token_hex(16), staff_id=member.staff_id, at=now, right=str(right or BY_COMMAND),
        what=str(what), ids=json.dumps(told), case_id=case_id,
    )  # fmt: skip
    session.add(row)
    log_change(
        session,
        Kind.ACCESS_MADE,
        row.action_id,
        now,
        {
            "what": row.what,
            "right": row.right,
            "role": f"staff.{member.role}",
            "by": staff_number(member.staff_id),
            "purpose": str(AccessPurpose.ADMINISTRATION if right is None else PURPOSES[right]),
            "outcome": "refused" if what is What.REFUSED else "granted",
            "in_case": case_id is not None,
            "digest": digest_of(row),
            **({"participant": told["participant"]} if "participant" in told else {}),
        },
    )


def staff_number(staff_id: str) -> str:
    """The number under which a member's accesses stand in the log."""
    return sha256(f"staff_id:{staff_id}".encode()).hexdigest()[:16]


def object_of(about: Mapping[str, str]) -> str:
    """Digest of what an access was about (closed names, values of the caller's), as it stands beside the action."""
    return sha256(canonical_bytes(dict(about))).hexdigest()


def digest_of(row: StaffAction) -> bytes:
    """What the leaf keeps of a row: whoever is shown the row can check that it is the one that was logged."""
    told = {
        "action": row.action_id, "at": row.at.isoformat(), "case": row.case_id or "", "ids": json.loads(row.ids),
        "right": row.right, "staff": row.staff_id, "what": row.what,
    }  # fmt: skip
    return sha256(canonical_bytes(told)).digest()


def load_actions(session: Session, staff_id: str, *, limit: int = 50) -> list[Action]:
    """The newest actions of one member, the newest first."""
    query = (
        select(StaffAction)
        .where(col(StaffAction.staff_id) == staff_id)
        .order_by(col(StaffAction.at).desc(), col(StaffAction.action_id))
        .limit(limit)
    )
    return [
        Action(at=row.at, right=row.right, what=row.what, ids=json.loads(row.ids), case_id=row.case_id)
        for row in session.scalars(query)
    ]
