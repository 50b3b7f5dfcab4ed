"""Individuals: created, recognised by password, found by id. I/O: `person`."""

import secrets
import unicodedata
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cache

from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from sqlmodel import col

from consent.guardians import is_guarded, put_birth_date, today
from consent.keyring import KeyRing
from consent.seal import key_id_of
from consent.tables import Person
from consent.vault import new_data_key

USERNAME_CHARS = 64
OLDEST_YEARS = 130
PASSWORD_CHARS = (8, 1024)  # the upper bound keeps a megabyte of "password" from costing a hash of a megabyte

# 19 MiB, 2 passes, 1 lane: the floor of the OWASP Password Storage Cheat Sheet for Argon2id.
HASHES = PasswordHash((Argon2Hasher(memory_cost=19_456, time_cost=2, parallelism=1),))


class PersonRefused(ValueError):
    """The name or the password cannot be used; the message may be shown to the person."""


def add_person(
    session: Session,
    keyring: KeyRing,
    *,
    username: str,
    password: str | None,
    display_name: str,
    now: datetime,
    born: date | None = None,
    guardian: str | None = None,
) -> Person:
    """Create an individual with a random subject id and a data key of their own.

    Args:
        password: None for a person who cannot sign in by password.
        born: the day of birth; under 14 only the guardian can say yes for the person.
        guardian: the user name of who decides for a child; the operator has verified that they may.

    Raises:
        PersonRefused: the name is taken or unusable, the password is too short, or nobody can be that guardian.
    """
    guardian_id = None if guardian is None else _require_guardian(session, guardian, born, now)
    if born is not None and (born > today(now) or today(now).year - born.year > OLDEST_YEARS):
        raise PersonRefused("Nobody alive was born that day.")
    subject_id = secrets.randbelow(2**63 - 1) + 1
    data_key = new_data_key(keyring, subject_id)
    person = Person(
        subject_id=subject_id,
        username=normalise_username(username),
        password_hash=None if password is None else hash_password(password),
        display_name=display_name.strip()[:120] or username,
        created_at=now,
        data_key=data_key,
        kek_id=key_id_of(data_key),  # asked again, the ring may name a younger key already
    )
    try:
        with session.begin_nested():
            session.add(person)
    except IntegrityError as cause:
        raise PersonRefused("This name is taken.") from cause
    if born is not None:
        put_birth_date(session, keyring, person, born=born, guardian_id=guardian_id, now=now)
    return person


def set_guardian(session: Session, *, username: str, guardian: str | None, now: datetime) -> None:
    """Say who decides for a child from now on, or that nobody does; the operator has verified that they may.

    Raises:
        PersonRefused: there is no such child, or nobody can be that guardian.
    """
    person = _find_person(session, username)
    if person is None or not is_guarded(person, now):
        raise PersonRefused("There is no child under 14 of that name.")
    person.guardian_id = None if guardian is None else _require_guardian(session, guardian, person.guarded_until, now)
    session.flush()


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownPassword:
    """Whose password it is, and what it is checked against."""

    subject_id: int
    password_hash: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """Whether a password fits; `renewed` is its hash with today's parameters, where the stored one has others."""

    fits: bool
    renewed: str | None = field(default=None, repr=False)


def load_password(session: Session, username: str) -> KnownPassword | None:
    """What a person's password is checked against; None if nobody signs in by password under this name."""
    person = _find_person(session, username)
    if person is None or person.password_hash is None:
        return None
    return KnownPassword(subject_id=person.subject_id, password_hash=person.password_hash)


def check_password(known: KnownPassword | None, password: str) -> Checked:
    """Slow on purpose: call it outside of any transaction. An unknown name costs the same as a wrong password."""
    against = _decoy_hash() if known is None else known.password_hash
    fits, renewed = HASHES.verify_and_update(password[: PASSWORD_CHARS[1]], against)
    return Checked(fits=fits and known is not None, renewed=renewed)


def renew_password_hash(session: Session, subject_id: int, password_hash: str) -> None:
    """Keep a hash with today's parameters in the place of one with older ones."""
    session.get_one(Person, subject_id).password_hash = password_hash


def load_subject_id(session: Session, username: str) -> int | None:
    """Whose name it is; None if nobody's."""
    person = _find_person(session, username)
    return None if person is None else person.subject_id


def load_person(session: Session, subject_id: int) -> Person | None:
    """The person, unless unknown or erased."""
    person = session.get(Person, subject_id)
    return None if person is None or person.erased_at is not None else person


def hash_password(password: str) -> str:
    """Raises PersonRefused."""
    shortest, longest = PASSWORD_CHARS
    if not shortest <= len(password) <= longest:
        raise PersonRefused(f"A password has between {shortest} and {longest} characters.")
    return HASHES.hash(password)


def normalise_username(username: str) -> str:
    """One spelling per name: compatibility form, case folded, no control or space at the ends. Raises PersonRefused."""
    name = unicodedata.normalize("NFKC", username).strip().casefold()
    if not name or len(name) > USERNAME_CHARS or any(unicodedata.category(c).startswith("C") for c in name):
        raise PersonRefused(f"A name has 1 to {USERNAME_CHARS} visible characters.")
    return name


def _require_guardian(session: Session, username: str, born: date | None, now: datetime) -> int:
    found = _find_person(session, username)
    if born is None:
        raise PersonRefused("A guardian is for a child: tell the day of birth too.")
    if found is None or is_guarded(found, now):
        raise PersonRefused("The guardian has no account here, or is a child.")
    return found.subject_id


def _find_person(session: Session, username: str) -> Person | None:
    try:
        name = normalise_username(username)
    except PersonRefused:
        return None
    query = select(Person).where(col(Person.username) == name, col(Person.erased_at).is_(None))
    return session.scalars(query).one_or_none()


@cache
def _decoy_hash() -> str:
    return HASHES.hash(secrets.token_urlsafe(16))
