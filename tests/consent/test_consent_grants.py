"""Grants as appended versions, on both databases: every transition, legal and not."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from consent.changes import Change
from consent.grants import (
    LEGAL,
    Grant,
    GrantConflict,
    GrantNotFound,
    GrantState,
    IllegalTransition,
    activate_grant,
    amend_grant,
    load_grants,
    load_versions,
    pause_grant,
    recently_refused,
    refuse_grant,
    request_grant,
    require_grant,
    resume_grant,
    revoke_grant,
)
from consent.guard_copy import find_drift
from consent.keyring import KeyRing
from consent.links import LinkState, open_link
from consent.people import add_person
from consent.tables import AccessToken, GrantCurrent, GrantVersion, Link, OAuthClient
from consent.terms import GrantTerms
from consent.withdraw import expire_due, withdraw_grant
from hub.db import writing

Steps = dict[str, Callable[[Session, Grant, datetime], tuple[Grant, Change]]]

STEPS: Steps = {
    "activate": lambda s, g, now: activate_grant(s, grant_id=g.grant_id, subject_id=g.subject_id, now=now),
    "refuse": lambda s, g, now: refuse_grant(s, grant_id=g.grant_id, subject_id=g.subject_id, now=now),
    "pause": lambda s, g, now: pause_grant(s, grant_id=g.grant_id, subject_id=g.subject_id, now=now),
    "resume": lambda s, g, now: resume_grant(s, grant_id=g.grant_id, subject_id=g.subject_id, now=now),
    "amend": lambda s, g, now: amend_grant(s, grant_id=g.grant_id, subject_id=g.subject_id, terms=g.terms, now=now),
    "revoke": lambda s, g, now: revoke_grant(
        s, grant_id=g.grant_id, subject_id=g.subject_id, now=now, reason="withdrawn"
    ),
}
PATHS = {
    GrantState.REQUESTED: [],
    GrantState.ACTIVE: ["activate"],
    GrantState.PAUSED: ["activate", "pause"],
    GrantState.REFUSED: ["refuse"],
    GrantState.REVOKED: ["activate", "revoke"],
}
OUTCOMES = {
    ("requested", "activate"): "active",
    ("requested", "refuse"): "refused",
    ("requested", "revoke"): "revoked",
    ("active", "amend"): "active",
    ("active", "pause"): "paused",
    ("active", "revoke"): "revoked",
    ("paused", "resume"): "active",
    ("paused", "revoke"): "revoked",
}


@pytest.fixture
def subject_id(engine: Engine, ring: KeyRing, now: datetime) -> int:
    with writing(engine) as session:
        return add_person(session, ring, username="p", password=None, display_name="x", now=now).subject_id


@pytest.mark.parametrize("step", list(STEPS))
@pytest.mark.parametrize("state", list(PATHS))
def test_every_step_from_every_state_is_either_made_or_refused(
    engine: Engine, subject_id: int, make_terms: Callable[..., GrantTerms], now: datetime, state: GrantState, step: str
) -> None:
    with writing(engine) as session:
        grant, _ = request_grant(session, subject_id=subject_id, terms=make_terms(), now=now)
        for earlier in PATHS[state]:
            grant, _ = STEPS[earlier](session, grant, now)
        expected = OUTCOMES.get((state.value, step))
        if expected is None:
            with pytest.raises(IllegalTransition):
                STEPS[step](session, grant, now)
            assert require_grant(session, grant_id=grant.grant_id, subject_id=subject_id) == grant
            return
        moved, change = STEPS[step](session, grant, now + timedelta(seconds=1))
        assert (moved.state, moved.version) == (expected, grant.version + 1)
        assert require_grant(session, grant_id=grant.grant_id, subject_id=subject_id) == moved
        assert change.ids["version"] == str(moved.version)


def test_ended_grants_stay_ended() -> None:
    ended = {state for state, targets in LEGAL.items() if not targets}
    assert ended == {GrantState.REFUSED, GrantState.REVOKED, GrantState.EXPIRED}
    assert set(LEGAL) == set(GrantState)


def test_every_version_is_kept_with_what_it_said(
    engine: Engine, subject_id: int, make_terms: Callable[..., GrantTerms], now: datetime
) -> None:
    with writing(engine) as session:
        grant, _ = request_grant(session, subject_id=subject_id, terms=make_terms(), now=now)
        activate_grant(session, grant_id=grant.grant_id, subject_id=subject_id, now=now)
        narrowed = make_terms(behaviours=frozenset({"MOB-BIKE"}), notice_version="2026-12")
        amend_grant(session, grant_id=grant.grant_id, subject_id=subject_id, terms=narrowed, now=now)
    with writing(engine) as session:
        versions = load_versions(session, grant_id=grant.grant_id, subject_id=subject_id)
        assert [(v.version, v.state, len(v.terms.behaviours)) for v in versions] == [
            (1, "requested", 2),
            (2, "active", 2),
            (3, "active", 1),
        ]
        assert load_grants(session, subject_id=subject_id) == [versions[-1]]
        assert versions[-1].terms == narrowed


def test_another_recipient_takes_another_grant(
    engine: Engine, subject_id: int, make_terms: Callable[..., GrantTerms], now: datetime
) -> None:
    with writing(engine) as session:
        grant, _ = request_grant(session, subject_id=subject_id, terms=make_terms(), now=now)
        activate_grant(session, grant_id=grant.grant_id, subject_id=subject_id, now=now)
        with pytest.raises(IllegalTransition):
            amend_grant(
                session, grant_id=grant.grant_id, subject_id=subject_id, terms=make_terms(recipient="c_bank"), now=now
            )


def test_another_persons_grant_is_as_if_there_were_none(
    engine: Engine, subject_id: int, make_terms: Callable[..., GrantTerms], now: datetime
) -> None:
    with writing(engine) as session:
        grant, _ = request_grant(session, subject_id=subject_id, terms=make_terms(), now=now)
        for grant_id, who in ((grant.grant_id, subject_id + 1), ("g_unknown", subject_id)):
            with pytest.raises(GrantNotFound):
                activate_grant(session, grant_id=grant_id, subject_id=who, now=now)
        assert load_versions(session, grant_id=grant.grant_id, subject_id=subject_id + 1) == []


def test_a_version_appended_meanwhile_is_a_conflict_and_nothing_is_overwritten(
    engine: Engine,
    subject_id: int,
    make_terms: Callable[..., GrantTerms],
    now: datetime,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with writing(engine) as session:
        stale, _ = request_grant(session, subject_id=subject_id, terms=make_terms(), now=now)
        revoke_grant(session, grant_id=stale.grant_id, subject_id=subject_id, now=now, reason="withdrawn")
    monkeypatch.setattr("consent.grants.require_grant", lambda *_, **__: stale)
    with writing(engine) as session, pytest.raises(GrantConflict):
        activate_grant(session, grant_id=stale.grant_id, subject_id=subject_id, now=now)
    monkeypatch.undo()
    with writing(engine) as session:
        assert require_grant(session, grant_id=stale.grant_id, subject_id=subject_id).state is GrantState.REVOKED


@pytest.mark.parametrize(
    "broken",
    [
        {"recipient": ""},
        {"notice_version": ""},
        {"valid_until": datetime(2026, 1, 1).astimezone() - timedelta(days=3650)},
        {"valid_from": datetime(2026, 1, 1)},
    ],
)
def test_terms_that_say_too_little_cannot_be_made(
    make_terms: Callable[..., GrantTerms], broken: dict[str, object]
) -> None:
    with pytest.raises(ValueError, match=r"grant|period"):
        make_terms(**broken)


def test_withdrawing_ends_grant_links_and_tokens_together(
    engine: Engine, ring: KeyRing, subject_id: int, make_terms: Callable[..., GrantTerms], now: datetime
) -> None:
    with writing(engine) as session:
        session.add(
            OAuthClient(
                client_id="c_1",
                client_name="x",
                scope="",
                grant_types="[]",
                redirect_uris="[]",
                jwks="{}",
                registration="{}",
                created_at=now,
            )
        )
        grant, _ = request_grant(session, subject_id=subject_id, terms=make_terms(), now=now)
        activate_grant(session, grant_id=grant.grant_id, subject_id=subject_id, now=now)
        link, _ = open_link(
            session,
            ring,
            subject_id=subject_id,
            platform="citic-carbon",
            account="a-1",
            grant_id=grant.grant_id,
            valid_from=now,
            now=now,
        )
        session.add(
            AccessToken(
                token_hash="h",
                client_id="c_1",
                subject_id=subject_id,
                grant_id=grant.grant_id,
                scope="account:read",
                issued_at=now,
                expires_at=now + timedelta(seconds=300),
            )
        )
    with writing(engine) as session:
        changes = withdraw_grant(session, grant_id=grant.grant_id, subject_id=subject_id, now=now)
        assert [change.what for change in changes] == ["grant.revoked", "link.revoked"]
        assert session.get_one(Link, link.link_id).state == LinkState.REVOKED
        assert session.get_one(AccessToken, "h").revoked_at == now


def test_what_changes_say_holds_no_subject_and_no_account(
    engine: Engine, ring: KeyRing, subject_id: int, make_terms: Callable[..., GrantTerms], now: datetime
) -> None:
    with writing(engine) as session:
        grant, asked = request_grant(session, subject_id=subject_id, terms=make_terms(), now=now)
        _, given = activate_grant(session, grant_id=grant.grant_id, subject_id=subject_id, now=now)
        _, opened = open_link(
            session,
            ring,
            subject_id=subject_id,
            platform="citic-carbon",
            account="6217-0001",
            grant_id=grant.grant_id,
            valid_from=now,
            now=now,
        )
        for change in (asked, given, opened):
            told = f"{change.what} {dict(change.ids)}"
            assert str(subject_id) not in told
            assert "6217-0001" not in told


def test_grants_expire_in_bounded_batches_and_only_when_their_time_is_over(
    engine: Engine, subject_id: int, make_terms: Callable[..., GrantTerms], now: datetime
) -> None:
    with writing(engine) as session:
        for days in (1, 2, 3, 400):
            terms = make_terms(valid_until=now + timedelta(days=days))
            grant, _ = request_grant(session, subject_id=subject_id, terms=terms, now=now)
            activate_grant(session, grant_id=grant.grant_id, subject_id=subject_id, now=now)
    later = now + timedelta(days=3)
    with writing(engine) as session:
        assert len(expire_due(session, now=later, limit=2)) == 2
        assert len(expire_due(session, now=later, limit=2)) == 1
        assert expire_due(session, now=later) == []
        states = sorted(grant.state for grant in load_grants(session, subject_id=subject_id))
        assert states == ["active", "expired", "expired", "expired"]
        assert session.scalar(select(func.count()).select_from(GrantVersion)) == 11


def test_the_guards_copy_follows_every_version_and_a_row_written_past_the_module_is_found(
    engine: Engine, subject_id: int, make_terms: Callable[..., GrantTerms], now: datetime
) -> None:
    with writing(engine) as session:
        grant, _ = request_grant(session, subject_id=subject_id, terms=make_terms(), now=now)
        for step in ("activate", "pause", "resume", "amend", "revoke"):
            assert find_drift(session) == []
            grant, _ = STEPS[step](session, grant, now)
        assert find_drift(session) == []
        (copy,) = session.scalars(select(GrantCurrent)).all()
        for column, value in (("state", "active"), ("valid_until_us", 2**60), ("version", 1), ("terms_id", 5)):
            honest = getattr(copy, column)
            setattr(copy, column, value)
            session.flush()
            assert find_drift(session) == [grant.grant_id], column
            setattr(copy, column, honest)
        session.flush()
        assert find_drift(session) == []
        session.delete(copy)
        session.flush()
        assert find_drift(session) == [grant.grant_id]


def test_after_a_no_the_same_recipient_is_not_to_ask_again_for_a_while(
    engine: Engine, person: int, make_terms: Callable[..., GrantTerms], now: datetime
) -> None:
    day = timedelta(days=1)
    with writing(engine) as session:
        for recipient in ("c_shop", "c_given"):
            grant, _ = request_grant(session, subject_id=person, terms=make_terms(recipient=recipient), now=now)
            step = refuse_grant if recipient == "c_shop" else activate_grant
            step(session, grant_id=grant.grant_id, subject_id=person, now=now)
        asked = [
            ("c_shop", now, True), ("c_shop", now + day - timedelta(seconds=1), True), ("c_shop", now + day, False),
            ("c_other", now, False), ("c_given", now, False),
        ]  # fmt: skip
        for recipient, at, expected in asked:
            assert recently_refused(session, person, recipient, at, day) is expected, (recipient, at)
        assert not recently_refused(session, person + 1, "c_shop", now, day)
