"""Which clearing policy decides about a window, and how a new one is adopted. I/O: the database, in the caller's transaction.

A window is decided by one policy, from its first provisional result to its last: the one that was in force when it was
opened. So an adoption never moves what people have been shown, and two groups of one window cannot be cleared by two rules.
What a hub has never adopted otherwise is decided by the version that comes with the software. ADR 0024.
"""

from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from zoneinfo import ZoneInfo

from sqlalchemy import func
from sqlalchemy.orm import Session
from sqlmodel import col, select

from hub.changes import log_change
from hub.clearing.tables import PolicyAdoption
from hub.clearing.windows import find_open_window
from hub.db import lock
from hub.errors import Conflict, NotFound, UsageProblem
from hub.log.leaves import Kind
from standards.canonical import canonical_bytes
from standards.policies import find_policy, policy_digest
from standards.policy import CURRENT_POLICY, ClearingPolicy

WHY_CHARACTERS = 200
_CHINA = ZoneInfo("Asia/Shanghai")


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopted:
    """An adoption as it was logged."""

    policy: str
    former: str
    first_window: int
    decision: bytes
    """Digest over versions, window, file and reason: who knows the reason can show that it was this one."""


def policy_of_window(session: Session, window_id: int) -> ClearingPolicy:
    """Return the policy that decides about a window: the last one adopted for it or for one before it."""
    wanted = (
        select(col(PolicyAdoption.policy))
        .where(col(PolicyAdoption.first_window) <= window_id)
        .order_by(col(PolicyAdoption.adoption).desc())
        .limit(1)
    )
    return find_policy(session.execute(wanted).scalar_one_or_none() or CURRENT_POLICY)


def adopt_policy(session: Session, version: str, why: str, now: datetime) -> Adopted:
    """Let a policy decide about every window that is opened from now on. Logged in this transaction.

    Args:
        version: a policy of `standards/data/`.
        why: one line without anybody's name; kept here, and in the log as part of a digest.

    Raises:
        DataError: there is no such version.
        NotFound: no window is open.
        UsageProblem: the reason is missing, too long or of several lines.
        Conflict: the next window has that policy already, or the policy is not valid yet.
    """
    if not why.strip() or len(why) > WHY_CHARACTERS or not why.isprintable():
        raise UsageProblem(f"say why in one line of at most {WHY_CHARACTERS} characters")
    digest = policy_digest(version)
    policy = find_policy(version)
    # Sealing takes the same lock: the window that is open now stays the open one until this is committed.
    lock(session, "seal_window")
    window = find_open_window(session)
    if window is None:
        raise NotFound("no clearing window is open; run `tanlian migrate`")
    first, former = window.window_id + 1, policy_of_window(session, window.window_id + 1).version
    if former == version:
        raise Conflict(f"window {first} will be decided by {version} already")
    if policy.valid_from > now.astimezone(_CHINA).date():
        raise Conflict(f"{version} is valid from {policy.valid_from}")
    fields = {"what": "clearing.policy", "from": former, "version": version, "window": first, "file": digest}
    decision = sha256(canonical_bytes({**fields, "file": digest.hex(), "why": why})).digest()
    number = int(session.execute(select(func.coalesce(func.max(col(PolicyAdoption.adoption)), 0))).scalar_one()) + 1
    row = PolicyAdoption(adoption=number, policy=version, former=former, first_window=first, why=why, adopted_at=now)
    session.add(row)
    session.flush()
    log_change(session, Kind.STANDARDS_ADOPTED, f"clearing.policy:{number}", now, {**fields, "decision": decision})
    return Adopted(policy=version, former=former, first_window=first, decision=decision)


def load_adoptions(session: Session) -> list[PolicyAdoption]:
    """Return all adoptions, the oldest first."""
    return list(session.execute(select(PolicyAdoption).order_by(col(PolicyAdoption.adoption))).scalars())
