"""Passkeys: registered, used, listed, removed. I/O: `passkey`, `passkey_challenge`.

Each ceremony has two steps, and the browser session ties them together: `begin_...` stores a challenge under the
session and returns what the browser is asked; `finish_...` takes the challenge away, whatever the answer is worth, and
says what came of it. A challenge lasts five minutes and fits one session, one ceremony and one purpose (`bound_to`).

Refusals are values and not exceptions, so that the transaction which took the challenge commits.
"""

import json
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

import structlog
from sqlalchemy import ColumnElement, delete, func, select, update
from sqlalchemy.orm import Session
from sqlmodel import col

from consent.batches import insert_once
from consent.ceremonies import (
    AnswerRefused,
    RelyingParty,
    creation_options,
    hash_credential,
    parse_assertion,
    request_options,
    verify_assertion,
    verify_creation,
)
from consent.signin_tables import Passkey, PasskeyChallenge

log = structlog.get_logger(__name__)

CHALLENGE_LIFE = timedelta(minutes=5)
MOST_PASSKEYS = 20
NAME_CHARS = 60


class Ceremony(StrEnum):
    """What a challenge is for; an answer to one is no answer to another."""

    ADD = "add"
    SIGN_IN = "sign-in"
    STEP_UP = "step-up"
    ENROL = "enrol"
    STAFF_SIGN_IN = "staff-sign-in"


class PasskeyRefusal(StrEnum):
    """Why a ceremony ended without a result."""

    STALE = "stale"  # no challenge: used, too old, or of another session
    WRONG = "wrong"
    UNKNOWN = "unknown"
    COPIED = "copied"
    TAKEN = "taken"
    TOO_MANY = "too_many"


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Whose passkey it is: a person's or a member of staff's, never both."""

    subject_id: int | None = None
    staff_id: str | None = None

    def __post_init__(self) -> None:
        if (self.subject_id is None) == (self.staff_id is None):
            raise ValueError("a passkey has exactly one owner")

    @property
    def rows(self) -> ColumnElement[bool]:
        """The condition that selects this owner's passkeys."""
        if self.subject_id is not None:
            return col(Passkey.subject_id) == self.subject_id
        return col(Passkey.staff_id) == self.staff_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """Which browser session asks, in which ceremony, about what."""

    rp: RelyingParty
    session_hash: str
    ceremony: Ceremony
    bound_to: str = ""


def begin_adding(
    session: Session,
    door: Door,
    owner: Owner,
    *,
    user_name: str,
    display_name: str,
    now: datetime,
    replacing: bool = False,
) -> str:
    """Ask a browser for a new passkey; returns the options as JSON.

    Args:
        replacing: the new one will stand in the place of all others, so a device that holds one may make it.
    """
    known = load_passkeys(session, owner)
    handle = known[0].user_handle if known else secrets.token_bytes(32)
    challenge = _keep_challenge(session, door, now=now, user_handle=handle)
    return creation_options(
        door.rp, challenge=challenge, user_handle=handle, user_name=user_name, display_name=display_name,
        known=[] if replacing else [passkey.credential_id for passkey in known],
    )  # fmt: skip


def finish_adding(
    session: Session, door: Door, owner: Owner, *, answer: str, name: str, now: datetime
) -> Passkey | PasskeyRefusal:
    """Keep a new passkey. Two owners cannot have one credential: whoever comes second is refused."""
    taken = _take_challenge(session, door, now=now)
    if taken is None or taken.user_handle is None:
        return PasskeyRefusal.STALE
    try:
        new = verify_creation(door.rp, answer, challenge=taken.challenge)
    except AnswerRefused:
        return PasskeyRefusal.WRONG
    count = session.scalar(select(func.count()).select_from(Passkey).where(owner.rows)) or 0
    if count >= MOST_PASSKEYS:
        return PasskeyRefusal.TOO_MANY
    key = hash_credential(new.credential_id)
    values = {
        "credential_hash": key, "credential_id": new.credential_id, "subject_id": owner.subject_id,
        "staff_id": owner.staff_id, "user_handle": taken.user_handle, "public_key": new.public_key,
        "sign_count": new.sign_count, "name": _plain_name(name), "transports": json.dumps(new.transports),
        "created_at": now, "used_at": None, "doubted_at": None,
    }  # fmt: skip
    if not insert_once(session, Passkey, values):
        return PasskeyRefusal.TAKEN
    return session.get_one(Passkey, key)


def begin_proving(session: Session, door: Door, *, owner: Owner | None, now: datetime) -> str:
    """Ask a browser to sign a challenge; returns the options as JSON.

    Args:
        owner: only this one's passkeys will do; None where the person has not said who they are (sign-in).
    """
    allowed = [] if owner is None else [passkey.credential_id for passkey in load_passkeys(session, owner)]
    return request_options(door.rp, challenge=_keep_challenge(session, door, now=now), allowed=allowed)


def finish_proving(
    session: Session, door: Door, *, owner: Owner | None, answer: str, now: datetime
) -> Passkey | PasskeyRefusal:
    """Recognise who signed the challenge.

    Args:
        owner: as in `begin_proving`. Where it is None the ceremony says which kind may come in: a person's passkey is
            unknown at the door of staff, and staff's at the door of people.
    """
    taken = _take_challenge(session, door, now=now)
    if taken is None:
        return PasskeyRefusal.STALE
    try:
        assertion = parse_assertion(answer)
    except AnswerRefused:
        return PasskeyRefusal.WRONG
    query = select(Passkey).where(col(Passkey.credential_hash) == assertion.credential_hash, _eligible(door, owner))
    passkey = session.scalars(query.with_for_update()).one_or_none()
    if passkey is None:
        return PasskeyRefusal.UNKNOWN
    # Where nobody was named the device has to say whom it holds the key of (WebAuthn section 7.2, step 6).
    handle = assertion.user_handle
    if handle != passkey.user_handle and not (handle is None and owner is not None):
        return PasskeyRefusal.WRONG
    try:
        counter = verify_assertion(door.rp, assertion, challenge=taken.challenge, public_key=passkey.public_key)
    except AnswerRefused:
        return PasskeyRefusal.WRONG
    if (counter or passkey.sign_count) and counter <= passkey.sign_count:
        # The key signed, but the device that signed is behind: there are two of it. The owner is shown when.
        passkey.doubted_at = now
        log.warning("passkey_counter_went_back", passkey=passkey.credential_hash[:16], ceremony=str(door.ceremony))
        return PasskeyRefusal.COPIED
    passkey.sign_count, passkey.used_at = counter, now
    return passkey


def load_passkeys(session: Session, owner: Owner) -> list[Passkey]:
    """All passkeys of an owner, the oldest first."""
    query = select(Passkey).where(owner.rows).order_by(col(Passkey.created_at), col(Passkey.credential_hash))
    return list(session.scalars(query))


def remove_passkey(session: Session, owner: Owner, credential_hash: str) -> bool:
    """Remove one passkey of this owner; False if they have no such one."""
    found = delete(Passkey).where(col(Passkey.credential_hash) == credential_hash, owner.rows)
    return session.execute(found.returning(col(Passkey.credential_hash))).first() is not None


def remove_all_passkeys(session: Session, owner: Owner, *, but: Passkey | None = None) -> None:
    """Remove all: at an erasure; or all but the new one, when a member of staff enrols anew."""
    found = delete(Passkey).where(owner.rows)
    session.execute(found if but is None else found.where(col(Passkey.credential_hash) != but.credential_hash))


def _keep_challenge(session: Session, door: Door, *, now: datetime, user_handle: bytes | None = None) -> bytes:
    """Store a fresh challenge; a session has one per ceremony, the newest."""
    challenge = secrets.token_bytes(32)
    key = {"session_hash": door.session_hash, "ceremony": str(door.ceremony)}
    values = {
        "challenge": challenge, "bound_to": door.bound_to, "user_handle": user_handle,
        "created_at": now, "expires_at": now + CHALLENGE_LIFE,
    }  # fmt: skip
    if not insert_once(session, PasskeyChallenge, key | values):
        session.execute(update(PasskeyChallenge).where(*_of(door)).values(**values))
    return challenge


@dataclass(frozen=True, slots=True, kw_only=True)
class _Taken:
    challenge: bytes
    user_handle: bytes | None


def _take_challenge(session: Session, door: Door, *, now: datetime) -> _Taken | None:
    """Take the challenge away; of two answers sent side by side one gets it."""
    columns = (
        col(PasskeyChallenge.challenge),
        col(PasskeyChallenge.user_handle),
        col(PasskeyChallenge.bound_to),
        col(PasskeyChallenge.expires_at),
    )
    row = session.execute(delete(PasskeyChallenge).where(*_of(door)).returning(*columns)).first()
    if row is None or row.expires_at <= now or row.bound_to != door.bound_to:
        return None
    return _Taken(challenge=row.challenge, user_handle=row.user_handle)


def _eligible(door: Door, owner: Owner | None) -> ColumnElement[bool]:
    if owner is not None:
        return owner.rows
    if door.ceremony is Ceremony.STAFF_SIGN_IN:
        return col(Passkey.staff_id).is_not(None)
    return col(Passkey.subject_id).is_not(None)


def _of(door: Door) -> tuple[ColumnElement[bool], ...]:
    return (
        col(PasskeyChallenge.session_hash) == door.session_hash,
        col(PasskeyChallenge.ceremony) == str(door.ceremony),
    )


def _plain_name(name: str) -> str:
    shown = " ".join("".join(c for c in name if c.isprintable()).split())[:NAME_CHARS]
    return shown or "Passkey"
