"""Attacks on linking an account: every forged, replayed or swapped answer ends before the platform is asked.

Sources: RFC 9207, RFC 9700 section 4.4 (mix-up); draft-ietf-oauth-security-topics-update (cross-tool and cross-session
attacks on hubs of many platforms).
"""

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy import Engine, select
from tests_support.linking import Linking

from consent.grants import GrantState, load_grants
from consent.keyring import load_keyring
from consent.link_access import load_access
from consent.links import AlreadyLinked, LinkState, load_links
from consent.platform_client import ATTEMPT_LIFE, LinkRefusal, LinkRefused
from consent.platforms import PlatformRefused
from consent.sessions import start_session
from consent.tables import Link, LinkAttempt
from hub.db import writing


@pytest.fixture
def linking(engine: Engine, now: datetime, tmp_path: Path) -> Linking:
    return Linking(engine, load_keyring(tmp_path / "keys"), now)


def test_an_honest_answer_links_the_account_and_gives_the_grant_together(linking: Linking) -> None:
    who = linking.sign_up("li")
    address = linking.start(linking.bank, who)
    asked = parse_qs(urlsplit(address).query)
    assert asked["code_challenge_method"] == ["S256"]
    assert asked["redirect_uri"] == ["https://hub.example/links/bank/callback"]
    assert len(asked["state"][0]) >= 43
    link_id = linking.finish(linking.bank, who, linking.bank.approve(address))
    assert linking.bank.paths() == ["/.well-known/oauth-authorization-server", "/token", "/userinfo"]
    with writing(linking.engine) as session:
        assert who.subject_id is not None
        (grant,) = load_grants(session, subject_id=who.subject_id)
        access = load_access(session, linking.ring, link_id=link_id, now=linking.now)
        assert grant.state is GrantState.ACTIVE
        assert (access.account, access.scope) == ("acc-1", "records:read openid")
        assert access.tokens is not None
        assert access.tokens.access_token == "at-0"
    assert [change.what for change in linking.told] == ["grant.requested", "grant.activated", "link.opened"]


def test_an_answer_is_taken_once(linking: Linking) -> None:
    who = linking.sign_up("li")
    answer = linking.bank.approve(linking.start(linking.bank, who))
    linking.finish(linking.bank, who, answer)
    linking.bank.calls.clear()
    assert linking.refusal(linking.bank, who, answer) is LinkRefusal.STATE
    assert linking.bank.calls == []


def test_an_answer_is_used_up_even_when_the_platform_could_not_be_reached(linking: Linking) -> None:
    who = linking.sign_up("li")
    answer = linking.bank.approve(linking.start(linking.bank, who))
    linking.town.unreachable = True
    with pytest.raises(Exception, match="down"):
        linking.finish(linking.bank, who, answer)
    linking.town.unreachable = False
    assert linking.refusal(linking.bank, who, answer) is LinkRefusal.STATE


def test_another_browser_cannot_finish_and_does_not_spoil_it_for_the_right_one(linking: Linking) -> None:
    victim, attacker = linking.sign_up("victim"), linking.sign_up("attacker")
    answer = linking.bank.approve(linking.start(linking.bank, attacker))
    with writing(linking.engine) as session:
        second_browser = start_session(session, subject_id=attacker.subject_id, now=linking.now)[1]
    for other in (victim, second_browser, None):
        assert linking.refusal(linking.bank, other, answer) is LinkRefusal.STATE
    assert linking.bank.calls == []
    linking.finish(linking.bank, attacker, answer)


def test_the_same_browser_signed_in_as_somebody_else_cannot_finish(linking: Linking) -> None:
    who, other = linking.sign_up("li"), linking.sign_up("wang")
    answer = linking.bank.approve(linking.start(linking.bank, who))
    swapped = replace(who, subject_id=other.subject_id)
    assert linking.refusal(linking.bank, swapped, answer) is LinkRefusal.STATE
    assert linking.bank.calls == []


@pytest.mark.parametrize(
    "iss", [None, "", "https://evil.example", "https://bank.example/", "HTTPS://bank.example", "https://bank.example "]
)
def test_a_missing_or_foreign_issuer_stops_everything_before_any_call(linking: Linking, iss: str | None) -> None:
    who = linking.sign_up("li")
    answer = linking.bank.approve(linking.start(linking.bank, who))
    del answer["iss"]
    forged = answer if iss is None else {**answer, "iss": iss}
    assert linking.refusal(linking.bank, who, forged) is LinkRefusal.ISSUER
    assert linking.bank.calls == []
    assert linking.evil.calls == []


def test_mix_up_the_honest_code_never_reaches_the_wicked_token_endpoint(linking: Linking) -> None:
    """The person chose `evil`; it sent the browser on to the bank, whose answer now comes back to evil's address."""
    who = linking.sign_up("li")
    to_evil = linking.start(linking.evil, who)
    to_bank = to_evil.replace("https://evil.example", "https://bank.example")
    answer = linking.bank.approve(to_bank)
    for forged in (answer, {name: value for name, value in answer.items() if name != "iss"}):
        assert linking.refusal(linking.evil, who, forged) in (LinkRefusal.ISSUER, LinkRefusal.STATE)
    assert linking.evil.calls == []
    assert linking.bank.calls == []


def test_a_code_of_one_platform_at_the_callback_of_another_is_refused(linking: Linking) -> None:
    who = linking.sign_up("li")
    at_bank = linking.bank.approve(linking.start(linking.bank, who))
    assert linking.refusal(linking.evil, who, at_bank) is LinkRefusal.ISSUER
    at_bank = linking.bank.approve(linking.start(linking.bank, who))
    linking.evil.calls.clear()
    assert linking.refusal(linking.evil, who, {**at_bank, "iss": linking.evil.issuer}) is LinkRefusal.ISSUER
    assert linking.evil.calls == []


def test_an_injected_code_fails_at_the_platform_for_want_of_the_verifier(linking: Linking) -> None:
    victim, attacker = linking.sign_up("victim"), linking.sign_up("attacker")
    stolen = linking.bank.approve(linking.start(linking.bank, victim))
    own = linking.bank.approve(linking.start(linking.bank, attacker))
    assert linking.refusal(linking.bank, attacker, {**own, "code": stolen["code"]}) is LinkRefusal.TOKEN


def test_a_late_answer_is_refused(linking: Linking) -> None:
    who = linking.sign_up("li")
    answer = linking.bank.approve(linking.start(linking.bank, who))
    assert linking.refusal(linking.bank, who, answer, after=ATTEMPT_LIFE) is LinkRefusal.STATE


def test_a_refusal_by_the_person_is_believed_only_with_state_and_issuer(linking: Linking) -> None:
    who = linking.sign_up("li")
    answer = linking.bank.approve(linking.start(linking.bank, who))
    no = {"error": "access_denied", "iss": answer["iss"], "state": answer["state"]}
    assert linking.refusal(linking.bank, who, {**no, "state": "guessed"}) is LinkRefusal.STATE
    assert linking.refusal(linking.bank, who, no) is LinkRefusal.DENIED
    assert linking.refusal(linking.bank, who, answer) is LinkRefusal.STATE
    assert linking.bank.calls == []


def test_an_answer_without_code_or_state_links_nothing(linking: Linking) -> None:
    who = linking.sign_up("li")
    answer = linking.bank.approve(linking.start(linking.bank, who))
    assert linking.refusal(linking.bank, who, {}) is LinkRefusal.STATE
    assert linking.refusal(linking.bank, who, {**answer, "code": ""}) is LinkRefusal.NO_CODE


@pytest.mark.parametrize(
    "told",
    [
        {"issuer": "https://evil.example"},
        {"issuer": "https://bank.example/"},
        {"token_endpoint": "https://evil.example/token"},
        {"token_endpoint": "http://bank.example/token"},
        {"token_endpoint": "https://bank.example:444/token"},
        {"userinfo_endpoint": "https://bank.example@evil.example/userinfo"},
        {"revocation_endpoint": ["https://bank.example/revoke"]},
        {"authorization_endpoint": None},
        {"code_challenge_methods_supported": ["plain"]},
    ],
)
def test_poisoned_metadata_is_refused(linking: Linking, told: dict[str, object]) -> None:
    who = linking.sign_up("li")
    answer = linking.bank.approve(linking.start(linking.bank, who))
    linking.bank.metadata = told
    before = linking.counts()
    with pytest.raises(PlatformRefused):
        linking.finish(linking.bank, who, answer)
    assert linking.bank.paths() == ["/.well-known/oauth-authorization-server"]
    assert linking.counts() == before


@pytest.mark.parametrize(
    ("told", "refusal"),
    [
        ({"token_type": "mac"}, LinkRefusal.TOKEN),
        ({"access_token": ""}, LinkRefusal.TOKEN),
        ({"access_token": {"a": 1}}, LinkRefusal.TOKEN),
        ({"scope": "other"}, LinkRefusal.TOKEN),
    ],
)
def test_an_unusable_token_answer_links_nothing(
    linking: Linking, told: dict[str, object], refusal: LinkRefusal
) -> None:
    who = linking.sign_up("li")
    answer = linking.bank.approve(linking.start(linking.bank, who))
    linking.bank.token_answer = told
    assert linking.refusal(linking.bank, who, answer) is refusal


@pytest.mark.parametrize("account", ["", None, 17, ["a"]])
def test_a_platform_that_does_not_name_the_account_links_nothing(linking: Linking, account: object) -> None:
    who = linking.sign_up("li")
    answer = linking.bank.approve(linking.start(linking.bank, who))
    linking.bank.account = account  # type: ignore[assignment]
    assert linking.refusal(linking.bank, who, answer) is LinkRefusal.ACCOUNT


def test_scope_that_was_not_asked_for_is_dropped(linking: Linking) -> None:
    who = linking.sign_up("li")
    answer = linking.bank.approve(linking.start(linking.bank, who))
    linking.bank.token_answer = {"scope": "payments:write records:read *"}
    link_id = linking.finish(linking.bank, who, answer)
    with writing(linking.engine) as session:
        assert session.get_one(Link, link_id).scope == "records:read"


def test_an_account_that_is_another_persons_gives_neither_link_nor_grant(linking: Linking) -> None:
    first, second = linking.sign_up("first"), linking.sign_up("second")
    linking.finish(linking.bank, first, linking.bank.approve(linking.start(linking.bank, first)))
    answer = linking.bank.approve(linking.start(linking.bank, second))
    before = linking.counts()
    with pytest.raises(AlreadyLinked):
        linking.finish(linking.bank, second, answer)
    assert linking.counts() == before


def test_linking_again_replaces_the_grant_so_that_one_withdrawal_is_enough(linking: Linking) -> None:
    who = linking.sign_up("li")
    assert who.subject_id is not None
    for _ in range(2):
        linking.finish(linking.bank, who, linking.bank.approve(linking.start(linking.bank, who)))
    with writing(linking.engine) as session:
        states = {grant.grant_id: grant.state for grant in load_grants(session, subject_id=who.subject_id)}
        (link,) = load_links(session, subject_id=who.subject_id)
        assert sorted(states.values()) == [GrantState.ACTIVE, GrantState.REVOKED]
        assert states[link.grant_id] is GrantState.ACTIVE
        assert link.state == LinkState.ACTIVE


def test_neither_state_nor_verifier_nor_token_nor_account_is_stored_readable(linking: Linking) -> None:
    who = linking.sign_up("li")
    address = linking.start(linking.bank, who)
    linking.bank.account = "card-6217-0001"
    linking.finish(linking.bank, who, linking.bank.approve(address))
    secrets = [parse_qs(urlsplit(address).query)["state"][0], "at-0", "rt-0", "card-6217-0001"]
    verifier = dict(parse_qs(linking.bank.calls[1].content.decode()))["code_verifier"][0]
    with writing(linking.engine) as session:
        stored = repr([row.model_dump() for table in (Link, LinkAttempt) for row in session.scalars(select(table))])
    assert [secret for secret in [*secrets, verifier] if secret in stored] == []


def test_a_person_who_is_not_signed_in_cannot_start(linking: Linking) -> None:
    with writing(linking.engine) as session:
        anonymous = start_session(session, subject_id=None, now=linking.now)[1]
    with pytest.raises(LinkRefused):
        linking.start(linking.bank, anonymous)
