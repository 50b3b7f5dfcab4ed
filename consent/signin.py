"""Signing in by password or passkey, with a brake on guessing. I/O: `person`, `sign_in_throttle`.

By password in three steps, because a password hash costs tens of milliseconds on purpose and no transaction may stay
open meanwhile: `begin_sign_in` counts the try and commits, `people.check_password` takes its time, `finish_sign_in`
forgives it. A blocked name or source is not verified at all: guesses made then cost no hash.

A passkey names nobody before it is verified and cannot be guessed, so `begin_passkey_try` counts the source only. That
leaves the way in open for a person whose name somebody else keeps blocked.
"""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from sqlalchemy.orm import Session

from consent.brake import (
    FREE_FAILURES,
    LONGEST_BLOCK,
    SOURCE_LEAK,
    SOURCE_TRIES,
    count_name,
    count_source,
    forgive_name,
    forgive_source,
    name_key,
    source_key,
)
from consent.keyring import KeyRing
from consent.people import (
    Checked,
    KnownPassword,
    PersonRefused,
    load_password,
    normalise_username,
    renew_password_hash,
)

__all__ = [
    "FREE_FAILURES",
    "LONGEST_BLOCK",
    "SOURCE_LEAK",
    "SOURCE_TRIES",
    "Attempt",
    "SignIn",
    "SignInRefusal",
    "begin_passkey_try",
    "begin_sign_in",
    "finish_passkey_try",
    "finish_sign_in",
]


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
    source_hash: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SignIn:
    """Either a subject id, or a refusal."""

    subject_id: int | None = None
    refusal: SignInRefusal | None = None
    retry_at: datetime | None = None


def begin_sign_in(
    session: Session, keyring: KeyRing, *, username: str, now: datetime, source: str | None = None
) -> Attempt | SignIn:
    """Count the try, or refuse while the source or the name is blocked. Commit before the password is checked.

    Args:
        source: the network source of the try, as the portal sees it; None for one that has none.
    """
    counted = None
    if source is not None:
        counted = source_key(keyring, source)
        free, retry_at = count_source(session, counted, now=now)
        if not free:
            return SignIn(refusal=SignInRefusal.BLOCKED, retry_at=retry_at)
    name_hash = name_key(keyring, _throttled_name(username))
    free, blocked_until = count_name(session, name_hash, now=now)
    if not free:
        return SignIn(refusal=SignInRefusal.BLOCKED, retry_at=blocked_until)
    return Attempt(
        username=username,
        name_hash=name_hash,
        known=load_password(session, username),
        retry_at=blocked_until,
        source_hash=counted,
    )


def finish_sign_in(session: Session, attempt: Attempt, checked: Checked) -> SignIn:
    """Say what came of a try. Start a new web session on success (sessions.rotate_session)."""
    if not checked.fits or attempt.known is None:
        return SignIn(refusal=SignInRefusal.WRONG, retry_at=attempt.retry_at)
    if load_password(session, attempt.username) != attempt.known:
        return SignIn(refusal=SignInRefusal.WRONG)  # changed, or the person erased, while it was checked
    if checked.renewed is not None:
        renew_password_hash(session, attempt.known.subject_id, checked.renewed)
    # In the order in which `begin_sign_in` locks them, so that two people at one source cannot wait for each other.
    if attempt.source_hash is not None:
        forgive_source(session, attempt.source_hash)
    forgive_name(session, attempt.name_hash)
    return SignIn(subject_id=attempt.known.subject_id)


def begin_passkey_try(session: Session, keyring: KeyRing, *, source: str, now: datetime) -> bool:
    """Count a passkey that is about to be verified; False while its source is blocked."""
    free, _ = count_source(session, source_key(keyring, source), now=now)
    return free


def finish_passkey_try(session: Session, keyring: KeyRing, *, source: str) -> None:
    """The passkey was right."""
    forgive_source(session, source_key(keyring, source))


def _throttled_name(username: str) -> str:
    """All names that cannot exist share one counter: trying them tells nothing and fills no table."""
    try:
        return normalise_username(username)
    except PersonRefused:
        return ""
