"""Recent proofs, and sessions as far as they matter to one: idle time, new tokens, signing out elsewhere."""

from datetime import datetime, timedelta

import pytest
from sqlalchemy import Engine

from consent.keyring import KeyRing
from consent.people import add_person
from consent.sessions import (
    IDLE,
    SIGNED_IN_LIFE,
    Proof,
    ProofMethod,
    SessionInfo,
    end_all_sessions,
    end_one_session,
    is_due_for_touch,
    load_session,
    load_sessions,
    renew_session,
    start_session,
    touch_session,
)
from consent.stepup import RECENT, StepUpNeeded, require_recent_proof
from hub.db import writing

SECOND = timedelta(seconds=1)


@pytest.fixture
def subject_id(engine: Engine, ring: KeyRing, now: datetime) -> int:
    with writing(engine) as session:
        return add_person(session, ring, username="li", password=None, display_name="x", now=now).subject_id


def open_session(
    engine: Engine, subject_id: int | None, now: datetime, method: ProofMethod | None = ProofMethod.PASSWORD
) -> tuple[str, SessionInfo]:
    with writing(engine) as session:
        proof = None if method is None else Proof(at=now, method=method)
        return start_session(session, subject_id=subject_id, now=now, proof=proof)


def test_who_signed_in_within_five_minutes_is_asked_nothing_more(engine: Engine, subject_id: int, now: datetime):
    _, info = open_session(engine, subject_id, now)
    for at in (now, now + RECENT):
        assert require_recent_proof(info, now=at) == Proof(at=now, method=ProofMethod.PASSWORD)
    for at in (now + RECENT + SECOND, now - timedelta(hours=1)):
        with pytest.raises(StepUpNeeded):
            require_recent_proof(info, now=at)
    with pytest.raises(StepUpNeeded):
        require_recent_proof(info, now=now + 2 * SECOND, within=SECOND)


def test_a_clock_a_little_behind_does_not_ask_again(engine: Engine, subject_id: int, now: datetime):
    _, info = open_session(engine, subject_id, now)
    assert require_recent_proof(info, now=now - 2 * SECOND).at == now


def test_absence_refuses(engine: Engine, subject_id: int, now: datetime):
    for subject, method in ((None, None), (subject_id, None), (None, ProofMethod.PASSWORD)):
        _, info = open_session(engine, subject, now, method)
        with pytest.raises(StepUpNeeded):
            require_recent_proof(info, now=now)


def test_an_act_may_insist_on_a_method(engine: Engine, subject_id: int, now: datetime):
    _, info = open_session(engine, subject_id, now)
    with pytest.raises(StepUpNeeded) as asked:
        require_recent_proof(info, now=now, method=ProofMethod.PASSKEY)
    assert asked.value.method is ProofMethod.PASSKEY
    _, info = open_session(engine, subject_id, now, ProofMethod.PASSKEY)
    assert require_recent_proof(info, now=now, method=ProofMethod.PASSKEY)


def test_a_proof_changes_the_token_and_prolongs_nothing(engine: Engine, subject_id: int, now: datetime):
    old, info = open_session(engine, subject_id, now)
    later = now + timedelta(minutes=40)
    with writing(engine) as session:
        renewed = renew_session(
            session, info, now=later, proof=Proof(at=later, method=ProofMethod.PASSKEY), state={"a": 1}
        )
        assert renewed is not None
        token, new = renewed
        assert load_session(session, old, now=later) is None
        assert load_session(session, token, now=later) == new
    assert (new.created_at, new.expires_at) == (now, now + SIGNED_IN_LIFE)
    assert (new.proof, new.state, new.csrf != info.csrf) == (
        Proof(at=later, method=ProofMethod.PASSKEY),
        {"a": 1},
        True,
    )
    with writing(engine) as session:  # a second step-up of the same page comes too late
        assert renew_session(session, info, now=later, proof=Proof(at=later, method=ProofMethod.PASSKEY)) is None
        assert len(load_sessions(session, subject_id, now=later)) == 1


def test_a_session_that_nobody_uses_ends_and_one_that_is_used_does_not(engine: Engine, subject_id: int, now: datetime):
    token, info = open_session(engine, subject_id, now)
    with writing(engine) as session:
        assert load_session(session, token, now=now + IDLE - SECOND)
        assert load_session(session, token, now=now + IDLE) is None
        assert load_session(session, token, now=now + 2 * IDLE, idle=3 * IDLE)
        assert not is_due_for_touch(info, now=now + 59 * SECOND)
        assert is_due_for_touch(info, now=now + 60 * SECOND)
    at = now
    while at < now + SIGNED_IN_LIFE - timedelta(minutes=30):
        at += timedelta(minutes=30)
        with writing(engine) as session:
            info = load_session(session, token, now=at)
            assert info is not None
            touch_session(session, info, now=at)
    with writing(engine) as session:
        assert load_session(session, token, now=now + SIGNED_IN_LIFE) is None


def test_a_person_sees_and_ends_their_own_sessions_only(engine: Engine, ring: KeyRing, subject_id: int, now: datetime):
    with writing(engine) as session:
        other = add_person(session, ring, username="wang", password=None, display_name="x", now=now).subject_id
    mine = [open_session(engine, subject_id, now + n * SECOND)[1] for n in range(3)]
    _, theirs = open_session(engine, other, now)
    with writing(engine) as session:
        assert load_sessions(session, subject_id, now=now) == mine[::-1]
        end_one_session(session, subject_id, theirs.token_hash)
        end_one_session(session, subject_id, mine[0].token_hash)
        assert load_sessions(session, other, now=now) == [theirs]
        assert load_sessions(session, subject_id, now=now) == [mine[2], mine[1]]
        end_all_sessions(session, subject_id, but=mine[1])
        assert load_sessions(session, subject_id, now=now) == [mine[1]]
        end_all_sessions(session, subject_id)
        assert load_sessions(session, subject_id, now=now) == []
        assert load_sessions(session, other, now=now) == [theirs]
