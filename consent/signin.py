"""Signing in by password, with a brake on guessing. I/O: `person`, `sign_in_throttle`.

Three steps, because a password hash costs tens of milliseconds on purpose and no transaction may stay open meanwhile:
`begin_sign_in` counts the try and commits, `people.check_password` takes its time, `finish_sign_in` forgives it.

The brake is kept in the database, so every worker sees it. It counts per name, whether or not the name exists, so that
its answer tells nobody which names do. A blocked name is not verified at all: guesses made then cost no hash.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import delete
from sqlalchemy.orm import Session
from sqlmodel import col

from consent.batches import insert_once
from consent.keyring import KeyPurpose, KeyRing
from consent.people import (
    Checked,
    KnownPassword,
    PersonRefused,
    load_password,
    normalise_username,
    renew_password_hash,
)
from consent.tables import SignInThrottle

FREE_FAILURES = 5
LONGEST_BLOCK = timedelta(minutes=15)
FORGOTTEN_AFTER = timedelta(hours=1)


class SignInRefusal(StrEnum):
    WRONG = "wrong"
    BLOCKED = "blocked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A try that is counted already, as if it had failed: guesses sent side by side cannot outrun the brake."""

    username: str
    name_hash: str
    known: KnownPassword | None = field(repr=False)
    retry_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SignIn:
    """Either a subject id, or a refusal."""

    subject_id: int | None = None
    refusal: SignInRefusal | None = None
    retry_at: datetime | None = None


def begin_sign_in(session: Session, keyring: KeyRing, *, username: str, now: datetime) -> Attempt | SignIn:
    """Count the try, or refuse while the name is blocked. Commit before the password is checked."""
    throttle = _load_throttle(session, keyring, username, now)
    if throttle.blocked_until is not None and throttle.blocked_until > now:
        return SignIn(refusal=SignInRefusal.BLOCKED, retry_at=throttle.blocked_until)
    throttle.failures += 1
    throttle.updated_at = now
    throttle.blocked_until = _block_end(throttle.failures, now)
    return Attempt(
        username=username,
        name_hash=throttle.name_hash,
        known=load_password(session, username),
        retry_at=throttle.blocked_until,
    )


def finish_sign_in(session: Session, attempt: Attempt, checked: Checked) -> SignIn:
    """Say what came of a try. Start a new web session on success (sessions.rotate_session)."""
    if not checked.fits or attempt.known is None:
        return SignIn(refusal=SignInRefusal.WRONG, retry_at=attempt.retry_at)
    if load_password(session, attempt.username) != attempt.known:
        return SignIn(refusal=SignInRefusal.WRONG)  # changed, or the person erased, while it was checked
    if checked.renewed is not None:
        renew_password_hash(session, attempt.known.subject_id, checked.renewed)
    session.execute(delete(SignInThrottle).where(col(SignInThrottle.name_hash) == attempt.name_hash))
    return SignIn(subject_id=attempt.known.subject_id)


def _load_throttle(session: Session, keyring: KeyRing, username: str, now: datetime) -> SignInThrottle:
    name_hash = keyring.digest(KeyPurpose.SESSION, "sign-in", _throttled_name(username)).hex()
    insert_once(session, SignInThrottle, {"name_hash": name_hash, "failures": 0, "updated_at": now})
    throttle = session.get_one(SignInThrottle, name_hash, with_for_update=True)
    if throttle.updated_at + FORGOTTEN_AFTER < now:
        throttle.failures, throttle.blocked_until = 0, None
    return throttle


def _throttled_name(username: str) -> str:
    """All names that cannot exist share one counter: trying them tells nothing and fills no table."""
    try:
        return normalise_username(username)
    except PersonRefused:
        return ""


def _block_end(failures: int, now: datetime) -> datetime | None:
    """From the fifth failure on a block that doubles: 1 s, 2 s, 4 s ... 15 minutes."""
    if failures < FREE_FAILURES:
        return None
    return now + min(timedelta(seconds=2 ** min(failures - FREE_FAILURES, 20)), LONGEST_BLOCK)
