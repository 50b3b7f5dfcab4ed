"""Signing in by password, with a brake on guessing. I/O: `person`, `sign_in_throttle`.

The brake is kept in the database, so every worker sees it. It counts per name, whether or not the name exists, so that
its answer tells nobody which names do. A blocked name is not verified at all: guesses made then cost no hash.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy.orm import Session

from consent.batches import insert_once
from consent.keyring import KeyPurpose, KeyRing
from consent.people import PersonRefused, normalise_username, verify_password
from consent.tables import SignInThrottle

FREE_FAILURES = 5
LONGEST_BLOCK = timedelta(minutes=15)
FORGOTTEN_AFTER = timedelta(hours=1)


class SignInRefusal(StrEnum):
    WRONG = "wrong"
    BLOCKED = "blocked"


@dataclass(frozen=True, slots=True, kw_only=True)
class SignIn:
    """Either a subject id, or a refusal; commit it in both cases, a refusal counts too."""

    subject_id: int | None = None
    refusal: SignInRefusal | None = None
    retry_at: datetime | None = None


def sign_in(session: Session, keyring: KeyRing, *, username: str, password: str, now: datetime) -> SignIn:
    """Verify a name and a password, or refuse. Start a new web session on success (sessions.rotate_session)."""
    throttle = _load_throttle(session, keyring, username, now)
    if throttle.blocked_until is not None and throttle.blocked_until > now:
        return SignIn(refusal=SignInRefusal.BLOCKED, retry_at=throttle.blocked_until)
    subject_id = verify_password(session, username=username, password=password)
    if subject_id is None:
        throttle.failures += 1
        throttle.updated_at = now
        throttle.blocked_until = _block_end(throttle.failures, now)
        return SignIn(refusal=SignInRefusal.WRONG, retry_at=throttle.blocked_until)
    session.delete(throttle)
    return SignIn(subject_id=subject_id)


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
