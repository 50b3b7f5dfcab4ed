"""Under 14 only the guardian says yes: up to the last second before the birthday in China, and not one longer."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from consent.grants import (
    GrantState,
    IllegalTransition,
    activate_grant,
    amend_grant,
    load_grants,
    refuse_grant,
    request_grant,
    require_grant,
)
from consent.guardians import (
    GuardianNeeded,
    NotInCare,
    fourteenth_birthday,
    is_child,
    load_birth_date,
    load_wards,
    require_ward,
)
from consent.keyring import KeyRing
from consent.people import PersonRefused, add_person
from consent.tables import Person
from consent.terms import Assurance, GrantTerms
from consent.withdraw import withdraw_grant
from hub.db import writing

SHANGHAI = ZoneInfo("Asia/Shanghai")
BORN = date(2013, 5, 1)
BIRTHDAY = datetime(2027, 5, 1, tzinfo=SHANGHAI)
Terms = Callable[..., GrantTerms]


def family(session: Session, ring: KeyRing, now: datetime, *, born: date = BORN) -> tuple[Person, Person]:
    parent = add_person(session, ring, username="parent", password=None, display_name="p", now=now)
    child = add_person(
        session, ring, username="child", password=None, display_name="c", now=now, born=born, guardian="parent"
    )
    return parent, child


@pytest.mark.parametrize(
    ("at", "guarded"),
    [
        (BIRTHDAY - timedelta(days=400), True),
        (BIRTHDAY - timedelta(days=1), True),
        (BIRTHDAY - timedelta(microseconds=1), True),
        (BIRTHDAY, False),
        (BIRTHDAY + timedelta(days=1), False),
        (datetime(2027, 4, 30, 15, 59, 59, tzinfo=UTC), True),  # a second before midnight in Shanghai
        (datetime(2027, 4, 30, 16, 0, 0, tzinfo=UTC), False),  # still April elsewhere, the first of May there
        (datetime(2027, 5, 1, 5, 0, 0, tzinfo=ZoneInfo("Asia/Tokyo")), False),
        (datetime(2027, 5, 1, 0, 30, 0, tzinfo=ZoneInfo("Asia/Tokyo")), True),
    ],
)
def test_the_fourteenth_birthday_begins_at_midnight_in_shanghai(
    engine: Engine, ring: KeyRing, now: datetime, make_terms: Terms, at: datetime, guarded: bool
) -> None:
    with writing(engine) as session:
        _, child = family(session, ring, now - timedelta(days=900))
        who = {"subject_id": child.subject_id}
        assert is_child(session, **who, now=at) is guarded
        terms = make_terms(valid_from=at - timedelta(days=1), valid_until=at + timedelta(days=30))
        grant, _ = request_grant(session, terms=terms, now=at, **who)
        if guarded:
            with pytest.raises(GuardianNeeded):
                activate_grant(session, grant_id=grant.grant_id, now=at, assurance=Assurance.PASSKEY, **who)
        else:
            activate_grant(session, grant_id=grant.grant_id, now=at, assurance=Assurance.PASSKEY, **who)
        state = require_grant(session, grant_id=grant.grant_id, **who).state
        assert state is (GrantState.REQUESTED if guarded else GrantState.ACTIVE)


@pytest.mark.parametrize(
    ("born", "birthday"),
    [
        (date(2013, 5, 1), date(2027, 5, 1)),
        (date(2012, 2, 29), date(2026, 3, 1)),  # no such day 14 years on
        (date(2012, 12, 31), date(2026, 12, 31)),
    ],
)
def test_birthdays(born: date, birthday: date) -> None:
    assert fourteenth_birthday(born) == birthday


def test_the_guardian_s_yes_counts_and_only_as_the_guardian_s(
    engine: Engine, ring: KeyRing, now: datetime, make_terms: Terms
) -> None:
    with writing(engine) as session:
        _, child = family(session, ring, now)
        who = {"subject_id": child.subject_id, "now": now}
        for assurance in set(Assurance) - {Assurance.GUARDIAN}:
            grant, _ = request_grant(session, terms=make_terms(), **who)
            with pytest.raises(GuardianNeeded):
                activate_grant(session, grant_id=grant.grant_id, assurance=assurance, **who)
        given, _ = activate_grant(session, grant_id=grant.grant_id, assurance=Assurance.GUARDIAN, **who)
        assert (given.state, given.assurance) == (GrantState.ACTIVE, Assurance.GUARDIAN)
        with pytest.raises(GuardianNeeded):
            amend_grant(session, grant_id=grant.grant_id, terms=make_terms(), assurance=Assurance.PASSWORD, **who)
        amended, _ = amend_grant(
            session, grant_id=grant.grant_id, terms=make_terms(), assurance=Assurance.GUARDIAN, **who
        )
        assert amended.assurance is Assurance.GUARDIAN
        # A child can always say no, and take back.
        withdraw_grant(session, grant_id=grant.grant_id, **who)
        asked, _ = request_grant(session, terms=make_terms(), **who)
        refuse_grant(session, grant_id=asked.grant_id, **who)
        assert GrantState.ACTIVE not in {one.state for one in load_grants(session, subject_id=child.subject_id)}


def test_on_the_birthday_nothing_lapses_and_what_was_given_can_be_confirmed(
    engine: Engine, ring: KeyRing, now: datetime, make_terms: Terms
) -> None:
    with writing(engine) as session:
        parent, child = family(session, ring, now)
        who = {"subject_id": child.subject_id}
        terms = make_terms(valid_until=BIRTHDAY + timedelta(days=30))
        grant, _ = request_grant(session, terms=terms, now=now, **who)
        activate_grant(session, grant_id=grant.grant_id, now=now, assurance=Assurance.GUARDIAN, **who)
        assert require_grant(session, grant_id=grant.grant_id, **who).state is GrantState.ACTIVE
        assert load_wards(session, guardian_id=parent.subject_id, now=BIRTHDAY) == []
        confirmed, _ = amend_grant(
            session, grant_id=grant.grant_id, terms=terms, now=BIRTHDAY, assurance=Assurance.PASSWORD, reason="renewed",
            **who,
        )  # fmt: skip
        assert (confirmed.assurance, confirmed.reason) == (Assurance.PASSWORD, "renewed")


def test_a_birth_date_is_kept_sealed_and_of_adults_nothing_else_is_kept(
    engine: Engine, ring: KeyRing, now: datetime
) -> None:
    with writing(engine) as session:
        _, child = family(session, ring, now)
        adult = add_person(
            session, ring, username="adult", password=None, display_name="a", now=now, born=date(1980, 1, 2)
        )
        silent = add_person(session, ring, username="silent", password=None, display_name="s", now=now)
        assert load_birth_date(session, ring, child) == BORN
        assert load_birth_date(session, ring, adult) == date(1980, 1, 2)
        assert load_birth_date(session, ring, silent) is None
        assert b"1980" not in (adult.born_sealed or b"")
        assert (adult.guarded_until, adult.guardian_id) == (None, None)
        assert child.guarded_until == date(2027, 5, 1)
        # Sealed to the row: another person's does not open here.
        child.born_sealed = adult.born_sealed
        session.flush()
        with pytest.raises(Exception, match="open at this place"):
            load_birth_date(session, ring, child)
        child.data_key = None
        session.flush()
        assert load_birth_date(session, ring, child) is None


@pytest.mark.parametrize(
    ("born", "guardian", "told"),
    [
        (date(2013, 5, 1), "nobody", "no account"),
        (date(2013, 5, 1), "child", "is a child"),
        (None, "parent", "day of birth"),
        (date(2027, 1, 1), None, "alive"),
        (date(2026, 11, 21), None, "alive"),  # tomorrow
        (date(1850, 1, 1), None, "alive"),
    ],
)
def test_a_guardian_has_to_be_there_and_grown_up(
    engine: Engine, ring: KeyRing, now: datetime, born: date | None, guardian: str | None, told: str
) -> None:
    with writing(engine) as session:
        family(session, ring, now)
        with pytest.raises(PersonRefused, match=told):
            add_person(
                session, ring, username="new", password=None, display_name="n", now=now, born=born, guardian=guardian
            )


def test_only_one_s_own_wards_are_found_by_name(engine: Engine, ring: KeyRing, now: datetime) -> None:
    with writing(engine) as session:
        parent, child = family(session, ring, now)
        other = add_person(session, ring, username="other", password=None, display_name="o", now=now)
        found = require_ward(session, guardian_id=parent.subject_id, username="child", now=now)
        assert found.subject_id == child.subject_id
        for guardian, name in ((other, "child"), (parent, "other"), (parent, ""), (child, "child")):
            with pytest.raises(NotInCare):
                require_ward(session, guardian_id=guardian.subject_id, username=name, now=now)
        with pytest.raises(NotInCare):
            require_ward(session, guardian_id=parent.subject_id, username="child", now=BIRTHDAY)


def test_a_yes_to_less_than_was_asked_is_on_record_and_never_to_somebody_else(
    engine: Engine, ring: KeyRing, now: datetime, make_terms: Terms
) -> None:
    with writing(engine) as session:
        parent, _ = family(session, ring, now)
        who = {"subject_id": parent.subject_id, "now": now}
        asked = make_terms(behaviours=frozenset({"MOB-BIKE", "FOOD-CLEANPLATE"}), sensitive=frozenset())
        grant, _ = request_grant(session, terms=asked, **who)
        with pytest.raises(ValueError, match="whereabouts"):
            activate_grant(session, grant_id=grant.grant_id, **who)
        less = make_terms(behaviours=frozenset({"FOOD-CLEANPLATE"}), sensitive=frozenset())
        with pytest.raises(IllegalTransition, match="recipient"):
            activate_grant(
                session, grant_id=grant.grant_id, terms=make_terms(recipient="c_x", behaviours=less.behaviours), **who
            )
        given, _ = activate_grant(session, grant_id=grant.grant_id, terms=less, **who)
        assert given.terms.behaviours == {"FOOD-CLEANPLATE"}
