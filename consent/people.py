"""Individuals: created, recognised by password, found by id. I/O: `person`."""

import secrets
import unicodedata
from datetime import datetime
from functools import cache

from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from sqlmodel import col

from consent.keyring import KeyRing
from consent.tables import Person
from consent.vault import new_data_key

USERNAME_CHARS = 64
PASSWORD_CHARS = (8, 1024)  # the upper bound keeps a megabyte of "password" from costing a hash of a megabyte

# 19 MiB, 2 passes, 1 lane: the floor of the OWASP Password Storage Cheat Sheet for Argon2id.
HASHES = PasswordHash((Argon2Hasher(memory_cost=19_456, time_cost=2, parallelism=1),))


class PersonRefused(ValueError):
    """The name or the password cannot be used; the message may be shown to the person."""


def add_person(
    session: Session, keyring: KeyRing, *, username: str, password: str | None, display_name: str, now: datetime
) -> Person:
    """Create an individual with a random subject id and a data key of their own.

    Args:
        password: None for a person who cannot sign in by password.

    Raises:
        PersonRefused: the name is taken or unusable, or the password is too short.
    """
    subject_id = secrets.randbelow(2**63 - 1) + 1
    person = Person(
        subject_id=subject_id,
        username=normalise_username(username),
        password_hash=None if password is None else hash_password(password),
        display_name=display_name.strip()[:120] or username,
        created_at=now,
        data_key=new_data_key(keyring, subject_id),
        kek_id=keyring.kek_id,
    )
    try:
        with session.begin_nested():
            session.add(person)
    except IntegrityError as cause:
        raise PersonRefused("This name is taken.") from cause
    return person


def verify_password(session: Session, *, username: str, password: str) -> int | None:
    """The subject id, or None. An unknown name costs the same hash as a wrong password."""
    person = _find_person(session, username)
    known = person.password_hash if person is not None else None
    fits, renewed = HASHES.verify_and_update(password[: PASSWORD_CHARS[1]], known or _decoy_hash())
    if person is None or known is None or not fits:
        return None
    if renewed is not None:
        person.password_hash = renewed
    return person.subject_id


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
