"""People, passwords, sessions and the brake on guessing, on both databases."""

from datetime import datetime, timedelta

import pytest
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from sqlalchemy import Engine, select

from consent.keyring import KeyRing, add_key, load_keyring
from consent.people import HASHES, PersonRefused, add_person, check_password, hash_password, load_password, load_person
from consent.sessions import (
    CsrfRefused,
    end_all_sessions,
    load_session,
    require_csrf,
    rotate_session,
    save_state,
    start_session,
)
from consent.signin import FREE_FAILURES, LONGEST_BLOCK, Attempt, SignIn, SignInRefusal, begin_sign_in, finish_sign_in
from consent.tables import Person, WebSession
from consent.vault import ErasedError, load_vault, rewrap_data_key
from hub.db import writing

PASSWORD = "correct horse battery"


def sign_in(engine: Engine, ring: KeyRing, username: str, password: str, now: datetime) -> SignIn:
    """What the portal does with a name and a password."""
    with writing(engine) as session:
        attempt = begin_sign_in(session, ring, username=username, now=now)
    if isinstance(attempt, SignIn):
        return attempt
    checked = check_password(attempt.known, password)
    with writing(engine) as session:
        return finish_sign_in(session, attempt, checked)


@pytest.fixture
def subject_id(engine: Engine, ring: KeyRing, now: datetime) -> int:
    with writing(engine) as session:
        return add_person(session, ring, username="Li Na", password=PASSWORD, display_name="李娜", now=now).subject_id


def test_a_person_is_recognised_by_any_spelling_of_the_name_and_only_the_right_password(
    engine: Engine, subject_id: int
) -> None:
    with writing(engine) as session:
        known = load_password(session, " ｌｉ NA ")
        assert load_password(session, "nobody") is None
    assert known is not None
    assert known.subject_id == subject_id
    assert check_password(known, PASSWORD).fits
    assert not check_password(known, PASSWORD + " ").fits
    assert not check_password(None, PASSWORD).fits


def test_a_name_is_given_once_and_the_refusal_leaves_the_transaction_usable(
    engine: Engine, ring: KeyRing, subject_id: int, now: datetime
) -> None:
    with writing(engine) as session:
        with pytest.raises(PersonRefused):
            add_person(session, ring, username="LI NA", password=None, display_name="x", now=now)
        other = add_person(session, ring, username="other", password=None, display_name="x", now=now)
        assert other.subject_id != subject_id
    with writing(engine) as session:
        assert len(session.scalars(select(Person)).all()) == 2


@pytest.mark.parametrize("username", ["", "  ", "a\x00b", "a\nb", "x" * 65])
def test_an_unusable_name_is_refused(engine: Engine, ring: KeyRing, username: str, now: datetime) -> None:
    with writing(engine) as session, pytest.raises(PersonRefused):
        add_person(session, ring, username=username, password=None, display_name="x", now=now)


def test_an_unknown_name_costs_as_many_hashes_as_a_wrong_password(
    engine: Engine, ring: KeyRing, subject_id: int, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    verified: list[str] = []
    real = HASHES.verify_and_update
    monkeypatch.setattr(HASHES, "verify_and_update", lambda word, known: (verified.append(known), real(word, known))[1])
    sign_in(engine, ring, "nobody", "x", now)
    sign_in(engine, ring, "li na", "x", now)
    assert len(verified) == 2
    assert verified[0].rpartition("$")[0].rpartition("$")[0] == verified[1].rpartition("$")[0].rpartition("$")[0]


def test_a_person_without_a_password_cannot_sign_in_by_one(engine: Engine, ring: KeyRing, now: datetime) -> None:
    with writing(engine) as session:
        add_person(session, ring, username="quiet", password=None, display_name="x", now=now)
    assert sign_in(engine, ring, "quiet", "", now).refusal is SignInRefusal.WRONG


def test_guesses_sent_side_by_side_do_not_outrun_the_brake(
    engine: Engine, ring: KeyRing, subject_id: int, now: datetime
) -> None:
    begun = []
    for _ in range(FREE_FAILURES * 3):  # none of them has been answered yet
        with writing(engine) as session:
            begun.append(begin_sign_in(session, ring, username="li na", now=now))
    assert sum(isinstance(one, Attempt) for one in begun) == FREE_FAILURES


def test_a_password_that_was_changed_while_it_was_checked_signs_nobody_in(
    engine: Engine, ring: KeyRing, subject_id: int, now: datetime
) -> None:
    with writing(engine) as session:
        attempt = begin_sign_in(session, ring, username="li na", now=now)
    assert isinstance(attempt, Attempt)
    checked = check_password(attempt.known, PASSWORD)
    with writing(engine) as session:
        session.get_one(Person, subject_id).password_hash = hash_password("another password")
    with writing(engine) as session:
        assert finish_sign_in(session, attempt, checked).refusal is SignInRefusal.WRONG


def test_a_hash_with_old_parameters_is_renewed_when_the_password_is_known(
    engine: Engine, ring: KeyRing, subject_id: int, now: datetime
) -> None:
    weak = PasswordHash((Argon2Hasher(memory_cost=8_192, time_cost=1, parallelism=1),))
    with writing(engine) as session:
        session.get_one(Person, subject_id).password_hash = weak.hash(PASSWORD)
    assert sign_in(engine, ring, "li na", PASSWORD, now).subject_id == subject_id
    with writing(engine) as session:
        assert "m=19456,t=2" in (session.get_one(Person, subject_id).password_hash or "")
    assert sign_in(engine, ring, "li na", PASSWORD, now).subject_id == subject_id


def test_guessing_is_braked_for_known_and_unknown_names_alike(
    engine: Engine, ring: KeyRing, subject_id: int, now: datetime
) -> None:
    for name in ("li na", "nobody"):
        answers = []
        for _ in range(FREE_FAILURES + 1):
            answers.append(sign_in(engine, ring, name, "wrong", now).refusal)
        assert answers == [SignInRefusal.WRONG] * FREE_FAILURES + [SignInRefusal.BLOCKED]
    blocked = sign_in(engine, ring, "li na", PASSWORD, now)
    assert (blocked.subject_id, blocked.refusal) == (None, SignInRefusal.BLOCKED)
    later = now + timedelta(seconds=1)
    assert sign_in(engine, ring, "li na", PASSWORD, later).subject_id == subject_id
    assert sign_in(engine, ring, "li na", "wrong", later).retry_at is None


def test_a_block_doubles_up_to_a_bound(engine: Engine, ring: KeyRing, subject_id: int, now: datetime) -> None:
    waits = []
    for _ in range(FREE_FAILURES + 13):
        answer = sign_in(engine, ring, "li na", "wrong", now)
        assert answer.refusal is SignInRefusal.WRONG
        waits.append((answer.retry_at or now) - now)
        now = answer.retry_at or now
    assert waits[FREE_FAILURES - 2 : FREE_FAILURES + 2] == [timedelta(seconds=s) for s in (0, 1, 2, 4)]
    assert max(waits) == waits[-1] == LONGEST_BLOCK


def test_a_session_is_found_by_its_token_until_it_ends_and_only_its_hash_is_stored(
    engine: Engine, subject_id: int, now: datetime
) -> None:
    with writing(engine) as session:
        token, info = start_session(session, subject_id=subject_id, now=now, state={"next": "/account"})
    with writing(engine) as session:
        assert load_session(session, token, now=now) == info
        assert load_session(session, token, now=info.expires_at) is None
        assert load_session(session, token + "x", now=now) is None
        assert load_session(session, None, now=now) is None
        stored = session.scalars(select(WebSession)).one()
        assert token not in str(stored.model_dump())


def test_signing_in_ends_the_session_before_it(engine: Engine, subject_id: int, now: datetime) -> None:
    with writing(engine) as session:
        planted, before = start_session(session, subject_id=None, now=now, state={"next": "/evil"})
        token, after = rotate_session(session, planted, subject_id=subject_id, now=now)
        assert load_session(session, planted, now=now) is None
        assert after.csrf != before.csrf
        assert after.state == {}
        save_state(session, after, {"seen": 1})
        found = load_session(session, token, now=now)
        assert found is not None
        assert found.state == {"seen": 1}
        end_all_sessions(session, subject_id)
        assert load_session(session, token, now=now) is None


def test_a_form_needs_the_token_of_its_own_session(engine: Engine, now: datetime) -> None:
    with writing(engine) as session:
        _, one = start_session(session, subject_id=None, now=now)
        _, other = start_session(session, subject_id=None, now=now)
    require_csrf(one, one.csrf)
    for submitted in (None, "", other.csrf, one.csrf + "é"):
        with pytest.raises(CsrfRefused):
            require_csrf(one, submitted)


def test_a_batch_is_sealed_per_person_and_erasing_one_leaves_the_others(
    engine: Engine, ring: KeyRing, now: datetime
) -> None:
    with writing(engine) as session:
        people = [
            add_person(session, ring, username=f"p{n}", password=None, display_name="x", now=now) for n in range(3)
        ]
        ids = [person.subject_id for person in people]
        vault = load_vault(session, ring, ids)
        blobs = vault.seal_many(
            "source_record", "body", row_ids=[1, 2, 3], subject_ids=ids, plaintexts=[b"a", b"b", b"c"]
        )
        people[1].data_key, people[1].erased_at = None, now
        session.flush()
        after = load_vault(session, ring, ids)
        opened = after.open_many("source_record", "body", row_ids=[1, 2, 3], subject_ids=ids, blobs=blobs)
        assert opened == [b"a", None, b"c"]
        moved = after.open_many("source_record", "body", row_ids=[3, 2, 1], subject_ids=ids, blobs=blobs)
        assert moved == [None, None, None]
        assert load_person(session, ids[1]) is None
        with pytest.raises(ErasedError):
            after.seal("source_record", "body", row_id=9, subject_id=ids[1], plaintext=b"d")


def test_a_data_key_moves_to_a_new_wrapping_key_and_still_opens_what_it_sealed(
    engine: Engine, tmp_path_factory: pytest.TempPathFactory, now: datetime
) -> None:
    old = load_keyring(tmp_path_factory.mktemp("own") / "keys")
    with writing(engine) as session:
        person = add_person(session, old, username="p", password=None, display_name="x", now=now)
        sealed = load_vault(session, old, [person.subject_id]).seal(
            "t", "c", row_id=1, subject_id=person.subject_id, plaintext=b"value"
        )
        new = add_key(old, "kek")
        assert person.data_key is not None
        person.data_key = rewrap_data_key(new, person.subject_id, person.data_key)
        session.flush()
        vault = load_vault(session, new, [person.subject_id])
        assert vault.open("t", "c", row_id=1, subject_id=person.subject_id, blob=sealed) == b"value"
