"""Children under 14: only their guardian can say yes for them (PIPL article 31). I/O: `person`.

The day on which that ends is kept in the open, because every yes has to ask for it; the birth date itself is sealed.
Who the guardian is, the operator has verified when the account was made. A guardian can give and withdraw; a child can
withdraw and refuse like anybody.
"""

from datetime import date, datetime
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.orm import Session
from sqlmodel import col

from consent.errors import ConsentError
from consent.keyring import KeyRing
from consent.tables import Person
from consent.terms import Assurance
from consent.vault import load_vault

ZONE = ZoneInfo("Asia/Shanghai")
GUARDED_YEARS = 14


class GuardianNeeded(ConsentError):
    """The person is under 14: nothing was allowed, because it was not their guardian who said yes."""


class NotInCare(ConsentError):
    """Nobody by that name is in this person's care now; whether they exist is not told."""


def fourteenth_birthday(born: date) -> date:
    """The first day on which a person decides for themself.

    Example:
        >>> fourteenth_birthday(date(2012, 11, 20)), fourteenth_birthday(date(2012, 2, 29))
        (datetime.date(2026, 11, 20), datetime.date(2026, 3, 1))
    """
    try:
        return born.replace(year=born.year + GUARDED_YEARS)
    except ValueError:  # 29 February, in a year without one: the last day of 13 is the 28th
        return date(born.year + GUARDED_YEARS, 3, 1)


def today(now: datetime) -> date:
    """The day it is where people's birthdays are counted."""
    return now.astimezone(ZONE).date()


def is_guarded(person: Person, now: datetime) -> bool:
    """Whether only the guardian can say yes for this person."""
    return person.guarded_until is not None and today(now) < person.guarded_until


def is_child(session: Session, *, subject_id: int, now: datetime) -> bool:
    """Whether only a guardian can say yes for the person of this id; for pages that must say so before they ask."""
    person = session.get(Person, subject_id)
    return person is not None and is_guarded(person, now)


def require_decider(session: Session, *, subject_id: int, assurance: Assurance, now: datetime) -> None:
    """Raise GuardianNeeded where a child's consent is given by anybody but the guardian."""
    if assurance is not Assurance.GUARDIAN and is_child(session, subject_id=subject_id, now=now):
        raise GuardianNeeded("only the guardian can allow this")


def find_guardian(session: Session, *, subject_id: int) -> int | None:
    """Who decides for a child; None if nobody does, or who did has been erased."""
    person = session.get(Person, subject_id)
    guardian = None if person is None or person.guardian_id is None else session.get(Person, person.guardian_id)
    return None if guardian is None or guardian.erased_at is not None else guardian.subject_id


def load_wards(session: Session, *, guardian_id: int, now: datetime) -> list[Person]:
    """The children in a person's care today, by name."""
    query = select(Person).where(
        col(Person.guardian_id) == guardian_id, col(Person.erased_at).is_(None), col(Person.guarded_until) > today(now)
    )
    return list(session.scalars(query.order_by(col(Person.username))))


def require_ward(session: Session, *, guardian_id: int, username: str, now: datetime) -> Person:
    """The child of this name, if they are in this person's care today. Raises NotInCare."""
    wards = load_wards(session, guardian_id=guardian_id, now=now)
    found = next((ward for ward in wards if ward.username == username), None)
    if found is None:
        raise NotInCare
    return found


def put_birth_date(
    session: Session, keyring: KeyRing, person: Person, *, born: date, guardian_id: int | None, now: datetime
) -> None:
    """Keep a birth date sealed, and for a child until which day who decides. The person's row has to be there."""
    vault = load_vault(session, keyring, [person.subject_id])
    person.born_sealed = vault.seal(
        "person",
        "born_sealed",
        row_id=person.subject_id,
        subject_id=person.subject_id,
        plaintext=born.isoformat().encode(),
    )
    grown_up = fourteenth_birthday(born)
    if today(now) < grown_up:  # of everybody else the day would tell the birthday and serve nothing
        person.guarded_until, person.guardian_id = grown_up, guardian_id
    session.flush()


def load_birth_date(session: Session, keyring: KeyRing, person: Person) -> date | None:
    """Open a birth date; None if it was never told or the person is erased."""
    vault = load_vault(session, keyring, [person.subject_id])
    if person.born_sealed is None or not vault.has(person.subject_id):
        return None
    opened = vault.open(
        "person", "born_sealed", row_id=person.subject_id, subject_id=person.subject_id, blob=person.born_sealed
    )
    return date.fromisoformat(opened.decode())
