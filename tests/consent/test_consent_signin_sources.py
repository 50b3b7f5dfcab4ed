"""The brake per network source: it stops one source from trying many names, and nobody else."""

from datetime import datetime, timedelta

import pytest
from sqlalchemy import Engine, select

from consent.keyring import KeyRing
from consent.people import add_person, check_password
from consent.signin import (
    SOURCE_LEAK,
    SOURCE_TRIES,
    Attempt,
    SignIn,
    SignInRefusal,
    begin_passkey_try,
    begin_sign_in,
    finish_passkey_try,
    finish_sign_in,
)
from consent.tables import SignInThrottle
from hub.db import writing

PASSWORD = "correct horse battery"
HERE, THERE = "192.0.2.7", "2001:db8:1:2::/64"


@pytest.fixture
def subject_id(engine: Engine, ring: KeyRing, now: datetime) -> int:
    with writing(engine) as session:
        return add_person(session, ring, username="li", password=PASSWORD, display_name="x", now=now).subject_id


def begin(engine: Engine, ring: KeyRing, name: str, now: datetime, source: str = HERE) -> Attempt | SignIn:
    with writing(engine) as session:
        return begin_sign_in(session, ring, username=name, now=now, source=source)


def use_up(engine: Engine, ring: KeyRing, now: datetime) -> None:
    for number in range(SOURCE_TRIES):
        assert isinstance(begin(engine, ring, f"name-{number}", now), Attempt)


def test_one_source_cannot_try_many_names_and_another_source_is_not_hindered(
    engine: Engine, ring: KeyRing, subject_id: int, now: datetime
):
    use_up(engine, ring, now)
    refused = begin(engine, ring, "li", now)
    assert isinstance(refused, SignIn)
    assert (refused.refusal, refused.retry_at) == (SignInRefusal.BLOCKED, now + SOURCE_LEAK)
    assert isinstance(begin(engine, ring, "li", now, THERE), Attempt)


def test_a_blocked_source_blocks_no_names(engine: Engine, ring: KeyRing, subject_id: int, now: datetime):
    use_up(engine, ring, now)
    for _ in range(30):
        begin(engine, ring, "li", now)
    attempt = begin(engine, ring, "li", now, THERE)
    assert isinstance(attempt, Attempt)
    assert attempt.retry_at is None


def test_a_source_gets_a_try_back_every_half_minute_and_no_more(
    engine: Engine, ring: KeyRing, subject_id: int, now: datetime
):
    use_up(engine, ring, now)
    just_before = now + SOURCE_LEAK - timedelta(seconds=1)
    assert isinstance(begin(engine, ring, "x", just_before), SignIn)
    tries = [isinstance(begin(engine, ring, f"y{n}", now + 3 * SOURCE_LEAK), Attempt) for n in range(5)]
    assert tries == [True, True, True, False, False]
    long_after = now + 1000 * SOURCE_LEAK  # a bucket does not fill up below empty
    tries = [isinstance(begin(engine, ring, f"z{n}", long_after), Attempt) for n in range(SOURCE_TRIES + 1)]
    assert (sum(tries), tries[-1]) == (SOURCE_TRIES, False)


def test_a_right_password_takes_back_its_own_try_and_not_those_for_other_names(
    engine: Engine, ring: KeyRing, subject_id: int, now: datetime
):
    for number in range(SOURCE_TRIES - 1):
        begin(engine, ring, f"name-{number}", now)
    for _ in range(3):
        attempt = begin(engine, ring, "li", now)
        assert isinstance(attempt, Attempt)
        with writing(engine) as session:
            done = finish_sign_in(session, attempt, check_password(attempt.known, PASSWORD))
        assert done.subject_id == subject_id
    assert isinstance(begin(engine, ring, "one more", now), Attempt)
    assert isinstance(begin(engine, ring, "li", now), SignIn)


def test_passkeys_share_the_source_s_bucket(engine: Engine, ring: KeyRing, now: datetime):
    for _ in range(SOURCE_TRIES):
        with writing(engine) as session:
            assert begin_passkey_try(session, ring, source=HERE, now=now)
    with writing(engine) as session:
        assert not begin_passkey_try(session, ring, source=HERE, now=now)
        assert begin_passkey_try(session, ring, source=THERE, now=now)
        finish_passkey_try(session, ring, source=HERE)
        assert begin_passkey_try(session, ring, source=HERE, now=now)
    assert isinstance(begin(engine, ring, "li", now), SignIn)


def test_neither_names_nor_sources_can_be_read_in_the_table(engine: Engine, ring: KeyRing, now: datetime):
    begin(engine, ring, "li", now)
    with writing(engine) as session:
        rows = session.scalars(select(SignInThrottle)).all()
        assert len(rows) == 2
        assert all(len(row.name_hash) == 64 for row in rows)
        assert "192.0.2" not in str([row.model_dump() for row in rows])
