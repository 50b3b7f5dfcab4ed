"""Passkeys: the two ceremonies, what each refusal leaves behind, and whose answer fits whose challenge."""

import doctest
import json
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, select
from sqlalchemy.exc import IntegrityError
from tests_support.authenticator import Authenticator

import consent.ceremonies
from consent.ceremonies import AnswerRefused, RelyingParty, parse_assertion, verify_creation
from consent.keyring import KeyRing
from consent.passkeys import (
    CHALLENGE_LIFE,
    MOST_PASSKEYS,
    Ceremony,
    Door,
    Owner,
    PasskeyRefusal,
    begin_adding,
    begin_proving,
    finish_adding,
    finish_proving,
    load_passkeys,
    remove_all_passkeys,
    remove_passkey,
)
from consent.people import add_person
from consent.purge import purge_ended
from consent.signin_tables import Passkey, PasskeyChallenge
from hub.db import writing

RP = RelyingParty(id="hub.example", origin="https://hub.example")
ADD = Door(rp=RP, session_hash="s1", ceremony=Ceremony.ADD)
SIGN_IN = Door(rp=RP, session_hash="s1", ceremony=Ceremony.SIGN_IN)


@pytest.fixture
def li(engine: Engine, ring: KeyRing, now: datetime) -> Owner:
    return person(engine, ring, "li", now)


@pytest.fixture
def device() -> Authenticator:
    return Authenticator()


def person(engine: Engine, ring: KeyRing, name: str, now: datetime) -> Owner:
    with writing(engine) as session:
        added = add_person(session, ring, username=name, password=None, display_name=name, now=now)
        return Owner(subject_id=added.subject_id)


def ask_new(engine: Engine, owner: Owner, now: datetime, door: Door = ADD, **more: Any) -> dict[str, Any]:
    with writing(engine) as session:
        return json.loads(begin_adding(session, door, owner, user_name="li", display_name="李", now=now, **more))


def give_new(
    engine: Engine, owner: Owner, answer: str, now: datetime, door: Door = ADD, name: str = "phone"
) -> Passkey | PasskeyRefusal:
    with writing(engine) as session:
        return finish_adding(session, door, owner, answer=answer, name=name, now=now)


def register(engine: Engine, owner: Owner, device: Authenticator, now: datetime) -> Passkey:
    added = give_new(engine, owner, device.create(ask_new(engine, owner, now)), now)
    assert isinstance(added, Passkey)
    return added


def ask(engine: Engine, now: datetime, owner: Owner | None = None, door: Door = SIGN_IN) -> dict[str, Any]:
    with writing(engine) as session:
        return json.loads(begin_proving(session, door, owner=owner, now=now))


def prove(
    engine: Engine, answer: str, now: datetime, owner: Owner | None = None, door: Door = SIGN_IN
) -> Passkey | PasskeyRefusal:
    with writing(engine) as session:
        return finish_proving(session, door, owner=owner, answer=answer, now=now)


def test_the_examples_hold():
    assert doctest.testmod(consent.ceremonies).failed == 0


def test_a_passkey_is_registered_and_recognises_its_owner_without_a_name(
    engine: Engine, li: Owner, device: Authenticator, now: datetime
):
    options = ask_new(engine, li, now)
    assert options["rp"]["id"] == "hub.example"
    assert (
        options["authenticatorSelection"] | {"residentKey": "required", "userVerification": "required"}
        == (options["authenticatorSelection"])
    )
    assert options["attestation"] == "none"
    assert isinstance(give_new(engine, li, device.create(options), now), Passkey)
    asked = ask(engine, now)
    assert asked["allowCredentials"] == []
    assert asked["userVerification"] == "required"
    later = now + timedelta(minutes=1)
    found = prove(engine, device.get(asked), later)
    assert isinstance(found, Passkey)
    assert (found.subject_id, found.sign_count, found.used_at) == (li.subject_id, 1, later)


def test_the_handle_on_the_device_is_random_and_the_same_for_all_keys_of_one_person(
    engine: Engine, ring: KeyRing, li: Owner, device: Authenticator, now: datetime
):
    first, second = register(engine, li, device, now), register(engine, li, Authenticator(), now)
    other = register(engine, person(engine, ring, "wang", now), Authenticator(), now)
    assert first.user_handle == second.user_handle != other.user_handle
    assert len(first.user_handle) == 32
    assert str(li.subject_id).encode() not in first.user_handle


def test_a_device_that_holds_a_key_is_not_asked_for_another_unless_it_replaces(
    engine: Engine, li: Owner, device: Authenticator, now: datetime
):
    register(engine, li, device, now)
    assert len(ask_new(engine, li, now)["excludeCredentials"]) == 1
    assert ask_new(engine, li, now, replacing=True)["excludeCredentials"] == []


def test_a_challenge_is_good_once_for_its_session_ceremony_and_purpose_and_for_five_minutes(
    engine: Engine, li: Owner, device: Authenticator, now: datetime
):
    register(engine, li, device, now)
    answer = device.get(ask(engine, now))
    assert isinstance(prove(engine, answer, now), Passkey)
    assert prove(engine, answer, now) is PasskeyRefusal.STALE
    for other in (
        replace(SIGN_IN, session_hash="s2"),
        replace(SIGN_IN, ceremony=Ceremony.STEP_UP),
        replace(SIGN_IN, bound_to="another"),
    ):
        answer = device.get(ask(engine, now))
        assert prove(engine, answer, now, door=other) is PasskeyRefusal.STALE
    answer = device.get(ask(engine, now))
    assert prove(engine, answer, now + CHALLENGE_LIFE) is PasskeyRefusal.STALE
    old = device.get(ask(engine, now))
    ask(engine, now)  # the newest challenge of a session stands, the one before does not
    assert prove(engine, old, now) is PasskeyRefusal.WRONG


def test_challenges_that_nobody_answered_are_cleared_away(engine: Engine, li: Owner, now: datetime):
    ask_new(engine, li, now)
    ask(engine, now)
    with writing(engine) as session:
        assert purge_ended(session, now=now)["passkey_challenge"] == 0
        assert purge_ended(session, now=now + CHALLENGE_LIFE)["passkey_challenge"] == 2


def test_a_wrong_answer_uses_its_challenge_up(engine: Engine, li: Owner, device: Authenticator, now: datetime):
    register(engine, li, device, now)
    options = ask(engine, now)
    assert prove(engine, device.get(options, origin="https://evil.example"), now) is PasskeyRefusal.WRONG
    assert prove(engine, device.get(options), now) is PasskeyRefusal.STALE
    with writing(engine) as session:
        assert session.scalars(select(PasskeyChallenge)).all() == []


LIES = {
    "another origin": {"origin": "https://evil.example"},
    "another port": {"origin": "https://hub.example:8443"},
    "plain http": {"origin": "http://hub.example"},
    "another relying party": {"rp_id": "evil.example"},
    "another challenge": {"challenge": "AAAA"},
    "the other ceremony": {"kind": "webauthn.create"},
    "inside another site's frame": {"cross_origin": True},
    "another owner's handle": {"user_handle": b"x" * 32},
    "no handle": {"user_handle": None},
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
def test_an_answer_that_was_made_for_something_else_proves_nothing(
    engine: Engine, li: Owner, device: Authenticator, now: datetime, lie: dict[str, Any]
):
    register(engine, li, device, now)
    assert prove(engine, device.get(ask(engine, now), **lie), now) is PasskeyRefusal.WRONG
    assert isinstance(prove(engine, device.get(ask(engine, now)), now), Passkey)


@pytest.mark.parametrize("lie", [{"origin": "https://evil.example"}, {"rp_id": "evil.example"}, {"challenge": "AAAA"},
                                 {"kind": "webauthn.get"}, {"cross_origin": True}])  # fmt: skip
def test_a_registration_that_was_made_for_something_else_is_refused(
    engine: Engine, li: Owner, device: Authenticator, now: datetime, lie: dict[str, Any]
):
    answer = device.create(ask_new(engine, li, now), **lie)
    assert give_new(engine, li, answer, now) is PasskeyRefusal.WRONG
    with writing(engine) as session:
        assert load_passkeys(session, li) == []


def test_whoever_only_holds_the_device_does_not_get_in(engine: Engine, li: Owner, now: datetime):
    careless = Authenticator(verifies=False)
    answer = careless.create(ask_new(engine, li, now))
    assert give_new(engine, li, answer, now) is PasskeyRefusal.WRONG
    device = Authenticator()
    register(engine, li, device, now)
    device.verifies = False
    assert prove(engine, device.get(ask(engine, now)), now) is PasskeyRefusal.WRONG


def test_a_counter_that_goes_back_is_refused_and_kept_for_the_owner_to_see(
    engine: Engine, li: Owner, device: Authenticator, now: datetime, capsys: pytest.CaptureFixture[str]
):
    key = register(engine, li, device, now)
    device.keys[0].count = 6
    assert isinstance(prove(engine, device.get(ask(engine, now)), now), Passkey)
    for count in (6, 3, -1):  # the device sends one more
        device.keys[0].count = count
        assert prove(engine, device.get(ask(engine, now)), now) is PasskeyRefusal.COPIED
    told = capsys.readouterr()
    assert "passkey_counter_went_back" in told.out + told.err
    with writing(engine) as session:
        row = session.get_one(Passkey, key.credential_hash)
        assert (row.sign_count, row.doubted_at) == (7, now)
    device.keys[0].count = 7
    assert isinstance(prove(engine, device.get(ask(engine, now)), now), Passkey)


def test_a_number_that_nobody_signed_does_not_make_a_key_look_copied(
    engine: Engine, li: Owner, device: Authenticator, now: datetime
):
    key = register(engine, li, device, now)
    device.keys[0].count = 6
    prove(engine, device.get(ask(engine, now)), now)
    thief = Authenticator()
    thief.create(ask_new(engine, li, now), credential_id=key.credential_id)
    thief.keys[0].user_handle = key.user_handle
    assert prove(engine, thief.get(ask(engine, now)), now) is PasskeyRefusal.WRONG
    with writing(engine) as session:
        assert session.get_one(Passkey, key.credential_hash).doubted_at is None


def test_a_device_that_does_not_count_is_taken_as_it_is(engine: Engine, li: Owner, now: datetime):
    device = Authenticator(counts=False)
    register(engine, li, device, now)
    for _ in range(2):
        assert isinstance(prove(engine, device.get(ask(engine, now)), now), Passkey)


def test_one_credential_has_one_owner(engine: Engine, ring: KeyRing, li: Owner, device: Authenticator, now: datetime):
    key = register(engine, li, device, now)
    wang = person(engine, ring, "wang", now)
    answer = Authenticator().create(ask_new(engine, wang, now), credential_id=key.credential_id)
    assert give_new(engine, wang, answer, now) is PasskeyRefusal.TAKEN
    with writing(engine) as session:
        assert load_passkeys(session, wang) == []
        assert session.get_one(Passkey, key.credential_hash).subject_id == li.subject_id


def test_a_step_up_takes_the_person_s_own_keys_only(
    engine: Engine, ring: KeyRing, li: Owner, device: Authenticator, now: datetime
):
    wang, door = person(engine, ring, "wang", now), replace(SIGN_IN, ceremony=Ceremony.STEP_UP)
    register(engine, li, device, now)
    register(engine, wang, Authenticator(), now)
    assert len(ask(engine, now, wang, door)["allowCredentials"]) == 1
    answer = device.get(ask(engine, now, wang, door))
    assert prove(engine, answer, now, wang, door) is PasskeyRefusal.UNKNOWN
    # A key that the browser was shown the id of may leave the handle out.
    answer = device.get(ask(engine, now, li, door), user_handle=None)
    assert isinstance(prove(engine, answer, now, li, door), Passkey)


def test_a_key_of_a_person_is_unknown_at_the_door_of_staff_and_the_other_way_round(
    engine: Engine, li: Owner, device: Authenticator, now: datetime
):
    register(engine, li, device, now)
    door = replace(SIGN_IN, ceremony=Ceremony.STAFF_SIGN_IN)
    assert prove(engine, device.get(ask(engine, now, door=door)), now, door=door) is PasskeyRefusal.UNKNOWN
    staff, theirs = Owner(staff_id="a" * 32), Authenticator()
    register(engine, staff, theirs, now)
    assert prove(engine, theirs.get(ask(engine, now)), now) is PasskeyRefusal.UNKNOWN
    assert isinstance(prove(engine, theirs.get(ask(engine, now, door=door)), now, door=door), Passkey)


def test_an_owner_is_a_person_or_staff_in_the_code_and_in_the_database(
    engine: Engine, li: Owner, device: Authenticator, now: datetime
):
    for both in ({}, {"subject_id": 1, "staff_id": "a"}):
        with pytest.raises(ValueError, match="one owner"):
            Owner(**both)
    key = register(engine, li, device, now)
    with pytest.raises(IntegrityError), writing(engine) as session:
        session.get_one(Passkey, key.credential_hash).staff_id = "a" * 32


def test_nobody_removes_another_one_s_key_and_all_go_at_once(
    engine: Engine, ring: KeyRing, li: Owner, device: Authenticator, now: datetime
):
    key, other = register(engine, li, device, now), person(engine, ring, "wang", now)
    with writing(engine) as session:
        assert not remove_passkey(session, other, key.credential_hash)
        assert not remove_passkey(session, li, "no such")
        assert remove_passkey(session, li, key.credential_hash)
    assert prove(engine, device.get(ask(engine, now)), now) is PasskeyRefusal.UNKNOWN
    kept = register(engine, li, device, now)
    register(engine, li, Authenticator(), now)
    with writing(engine) as session:
        remove_all_passkeys(session, li, but=kept)
        assert [one.credential_hash for one in load_passkeys(session, li)] == [kept.credential_hash]
        remove_all_passkeys(session, li)
        assert load_passkeys(session, li) == []


def test_a_person_has_a_bounded_number_of_keys_each_with_a_plain_name(engine: Engine, li: Owner, now: datetime):
    for number in range(MOST_PASSKEYS):
        name = ["", " my\u202e \n phone\x00 ", "长" * 100][number % 3]
        assert isinstance(
            give_new(engine, li, Authenticator().create(ask_new(engine, li, now)), now, name=name), Passkey
        )
    answer = Authenticator().create(ask_new(engine, li, now))
    assert give_new(engine, li, answer, now) is PasskeyRefusal.TOO_MANY
    with writing(engine) as session:
        assert {one.name for one in load_passkeys(session, li)} == {"Passkey", "my phone", "长" * 60}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(answer=st.text(max_size=60) | JSON.map(json.dumps), field=st.sampled_from(
    ["id", "rawId", "type", "clientDataJSON", "attestationObject", "authenticatorData", "signature"]
), value=JSON)  # fmt: skip
def test_an_answer_of_any_other_form_is_refused_and_nothing_else_happens(answer: str, field: str, value: Any):
    options = {"rp": {"id": "hub.example"}, "user": {"id": "AAAA"}, "challenge": "AAAA"}
    honest = json.loads(Authenticator().create(options))
    (honest if field in honest else honest["response"])[field] = value
    for text in (answer, json.dumps(honest)):
        try:
            verify_creation(RP, text, challenge=b"\x00\x00\x00")
        except AnswerRefused:
            pass
        else:
            assert field in ("authenticatorData", "signature")  # fields that a registration does not read
    with pytest.raises(AnswerRefused):
        parse_assertion(answer)
