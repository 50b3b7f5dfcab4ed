"""The brake on guessing, per name and per network source. I/O: `sign_in_throttle`.

It is kept in the database, so every worker sees it. Names and sources are kept as keyed hashes: a name may be no
account's, or someone's password typed into the wrong field, and an address is personal data.

A name is blocked for longer and longer, whether or not it exists, so that the answer tells nobody which names do. A
source has a bucket that leaks: thousands of people may share one address of a mobile network and mistype now and then,
so a source is never shut out for a day, but neither can it try its luck on many names, or block many names for others.
A try from a blocked source is not counted against the name.
"""

from datetime import datetime, timedelta

from sqlalchemy import delete, update
from sqlalchemy.orm import Session
from sqlmodel import col

from consent.batches import insert_once
from consent.keyring import KeyPurpose, KeyRing
from consent.tables import SignInThrottle

FREE_FAILURES = 5
LONGEST_BLOCK = timedelta(minutes=15)
FORGOTTEN_AFTER = timedelta(hours=1)
SOURCE_TRIES = 50
SOURCE_LEAK = timedelta(seconds=30)


def name_key(keyring: KeyRing, name: str) -> str:
    """What a name is counted under."""
    return keyring.digest(KeyPurpose.SESSION, "sign-in", name).hex()


def source_key(keyring: KeyRing, source: str) -> str:
    """What a network source is counted under."""
    return keyring.digest(KeyPurpose.SESSION, "sign-in-source", source).hex()


def count_name(session: Session, key: str, *, now: datetime) -> tuple[bool, datetime | None]:
    """Count a try as if it had failed; guesses sent side by side cannot outrun the brake.

    Returns:
        Whether the try may go on, and until when the name is blocked from here on.
    """
    row = _load(session, key, now)
    if row.updated_at + FORGOTTEN_AFTER < now:
        row.failures, row.blocked_until = 0, None
    if row.blocked_until is not None and row.blocked_until > now:
        return False, row.blocked_until
    row.failures += 1
    row.updated_at = now
    row.blocked_until = _block_end(row.failures, now)
    return True, row.blocked_until


def forgive_name(session: Session, key: str) -> None:
    """The right person is there: forget the name's failures."""
    session.execute(delete(SignInThrottle).where(col(SignInThrottle.name_hash) == key))


def count_source(session: Session, key: str, *, now: datetime) -> tuple[bool, datetime | None]:
    """Count a try of a source; returns whether it may go on, and if not, when the next one may."""
    row = _load(session, key, now)
    leaked = max(0, (now - row.updated_at) // SOURCE_LEAK)
    row.failures = max(0, row.failures - leaked)
    row.updated_at = now if row.failures == 0 else row.updated_at + leaked * SOURCE_LEAK
    if row.failures >= SOURCE_TRIES:
        return False, row.updated_at + SOURCE_LEAK
    row.failures += 1
    return True, None


def forgive_source(session: Session, key: str) -> None:
    """Take one try back, and not all: whoever has one account of their own could otherwise guess on without end."""
    session.execute(
        update(SignInThrottle)
        .where(col(SignInThrottle.name_hash) == key, col(SignInThrottle.failures) > 0)
        .values(failures=SignInThrottle.failures - 1)
    )


def _load(session: Session, key: str, now: datetime) -> SignInThrottle:
    insert_once(session, SignInThrottle, {"name_hash": key, "failures": 0, "updated_at": now})
    return session.get_one(SignInThrottle, key, with_for_update=True)


def _block_end(failures: int, now: datetime) -> datetime | None:
    """From the fifth failure on a block that doubles: 1 s, 2 s, 4 s ... 15 minutes."""
    if failures < FREE_FAILURES:
        return None
    return now + min(timedelta(seconds=2 ** min(failures - FREE_FAILURES, 20)), LONGEST_BLOCK)
