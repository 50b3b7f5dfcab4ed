"""Pushed authorization requests (RFC 9126): everything is judged while the client is on the line."""

from datetime import timedelta
from typing import Any

import pytest
from joserfc.jwk import ECKey
from sqlalchemy import select
from tests_support.oauth import REDIRECT, TYPE, VERIFIER, Bank, challenge_of, count_rows, dump, unknown_request_uri

from consent.keyring import token_hash
from consent.pushed import LIFE, PREFIX, load_pushed, use_up
from consent.tables import OAuthClient, ParRequest
from hub.db import reading, writing


def pushed_by(bank: Bank, **asked: Any) -> str:
    told = bank.push(**asked)
    assert told.status == 201, told.document
    return str(told.document["request_uri"])


def test_a_request_is_kept_under_a_name_that_nobody_can_guess_and_only_its_hash_is_stored(bank: Bank) -> None:
    told = bank.push(state="a state")
    assert (told.status, told.document.keys()) == (201, {"request_uri", "expires_in"})
    assert told.document["expires_in"] == LIFE.total_seconds() < 600
    name = told.document["request_uri"].removeprefix(PREFIX)
    assert len(name) >= 43
    assert name not in dump(bank.engine)
    with reading(bank.engine) as session:
        assert session.scalars(select(ParRequest)).one().request_hash == token_hash(name)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no response_type": ({"response_type": ...}, "invalid_request"),
    "implicit": ({"response_type": "token"}, "unsupported_response_type"),
    "hybrid": ({"response_type": "code id_token"}, "unsupported_response_type"),
    "no PKCE": ({"code_challenge": ..., "code_challenge_method": ...}, "invalid_request"),
    "plain PKCE": ({"code_challenge_method": "plain", "code_challenge": VERIFIER}, "invalid_request"),
    "a method left out, which means plain": ({"code_challenge_method": ...}, "invalid_request"),
    "a challenge that is no digest": ({"code_challenge": "short"}, "invalid_request"),
    "a padded challenge": ({"code_challenge": challenge_of(VERIFIER) + "="}, "invalid_request"),
    "no redirect_uri": ({"redirect_uri": ...}, "invalid_request"),
    "another address": ({"redirect_uri": "https://evil.example/cb"}, "invalid_request"),
    "more path": ({"redirect_uri": REDIRECT + "/more"}, "invalid_request"),
    "dots": ({"redirect_uri": REDIRECT + "/../evil"}, "invalid_request"),
    "a query": ({"redirect_uri": REDIRECT + "?a=b"}, "invalid_request"),
    "a fragment": ({"redirect_uri": REDIRECT + "#x"}, "invalid_request"),
    "the host in capitals": ({"redirect_uri": REDIRECT.replace("bank", "BANK")}, "invalid_request"),
    "a user in the address": ({"redirect_uri": REDIRECT.replace("://", "://evil@")}, "invalid_request"),
    "a request object": ({"request": "e30.e30."}, "invalid_request"),
    "a request by reference": ({"request_uri": PREFIX + "x"}, "invalid_request"),
    "a scope that is not registered": ({"scope": "account:read regulator"}, "invalid_scope"),
    "an unknown scope": ({"scope": "everything"}, "invalid_scope"),
    "only scopes that no person can give": ({"scope": "grant_management_query"}, "invalid_scope"),
    "nothing": ({"scope": ...}, "invalid_scope"),
    "details of an unknown type": ({"authorization_details": [{"type": "x"}]}, "invalid_authorization_details"),
    "details that are no JSON": ({"authorization_details": "[{"}, "invalid_authorization_details"),
    "a state without end": ({"state": "s" * 4097}, "invalid_request"),
    "an unknown action": ({"grant_management_action": "update", "grant_id": "g"}, "invalid_request"),
    "merge of nothing": ({"grant_management_action": "merge"}, "invalid_request"),
    "create of something": ({"grant_management_action": "create", "grant_id": "g"}, "invalid_request"),
    "a grant without a word what to do": ({"grant_id": "g"}, "invalid_request"),
    "a grant that never was": ({"grant_management_action": "merge", "grant_id": "g"}, "invalid_grant_id"),
    "dpop_jkt that is no thumbprint": ({"dpop_jkt": "k"}, "invalid_request"),
}


@pytest.mark.parametrize("name", list(REFUSED))
def test_a_request_is_refused_in_json(bank: Bank, name: str) -> None:
    changed, error = REFUSED[name]
    told = bank.push(**changed)
    assert told.outcome == (400, error)
    assert "location" not in told.headers
    assert count_rows(bank.engine, ParRequest) == 0


@pytest.mark.parametrize("action", ["use", "contribute"])
def test_nothing_is_asked_of_a_person_that_the_client_is_not_registered_for(bank: Bank, action: str) -> None:
    reader = Bank(bank.engine, bank.authority, bank.now, scope="account:read")
    details = [{"type": TYPE, "actions": ["read", action]}]
    for scope in ("account:read", ...):
        told = reader.push(scope=scope, authorization_details=details)
        assert told.outcome == (400, "invalid_authorization_details"), scope
    assert reader.push(authorization_details=[{"type": TYPE, "actions": ["read"]}]).status == 201


def test_a_client_that_is_not_registered_for_codes_pushes_nothing(bank: Bank) -> None:
    other = Bank(bank.engine, bank.authority, bank.now, grant_types=["client_credentials"])
    assert other.push().outcome == (400, "unauthorized_client")


@pytest.mark.parametrize("state", [None, "", "x" * 4096, "a b&c=d#~\\\"'"])
def test_a_state_comes_back_as_it_came_and_an_absent_one_stays_absent(
    bank: Bank, person: int, state: str | None
) -> None:
    told = bank.decide(person, pushed_by(bank, state=... if state is None else state))
    assert told.get("state") == (state or None)


def test_scopes_that_no_person_can_give_are_left_out_of_what_is_asked(bank: Bank, person: int) -> None:
    given = bank.redeem(bank.code(person, scope="account:read grant_management_query")).document
    assert given["scope"] == "account:read"


def test_without_a_scope_the_details_say_what_is_asked(bank: Bank, person: int) -> None:
    details = [{"type": TYPE, "actions": ["read", "use"]}]
    given = bank.redeem(bank.code(person, scope=..., authorization_details=details)).document
    assert set(given["scope"].split()) == {"account:read", "grams:use"}


def test_a_request_is_one_client_s_and_ends_by_itself(bank: Bank) -> None:
    request_uri, other = pushed_by(bank), Bank(bank.engine, bank.authority, bank.now)

    def found(client_id: str, name: str, after: timedelta = timedelta(0)) -> bool:
        with reading(bank.engine) as session:
            return load_pushed(session, client_id=client_id, request_uri=name, now=bank.now + after) is not None

    assert found(bank.client_id, request_uri)
    assert found(bank.client_id, request_uri), "looking uses nothing up"
    assert found(bank.client_id, request_uri, LIFE - timedelta(seconds=1))
    assert not found(bank.client_id, request_uri, LIFE)
    assert not found(other.client_id, request_uri)
    assert not found("", request_uri)
    for wrong in ("", request_uri.removeprefix(PREFIX), unknown_request_uri(), request_uri + "x", PREFIX + "x" * 400):
        assert not found(bank.client_id, wrong), wrong


def test_a_request_of_a_client_that_was_suspended_since_cannot_be_decided(bank: Bank) -> None:
    request_uri = pushed_by(bank)
    with writing(bank.engine) as session:
        session.get_one(OAuthClient, bank.client_id).suspended_at = bank.now
    with reading(bank.engine) as session:
        assert load_pushed(session, client_id=bank.client_id, request_uri=request_uri, now=bank.now) is None


def test_a_request_is_used_up_once(bank: Bank) -> None:
    request_uri = pushed_by(bank)
    with writing(bank.engine) as session:
        pushed = load_pushed(session, client_id=bank.client_id, request_uri=request_uri, now=bank.now)
        assert pushed is not None
        assert [use_up(session, pushed, bank.now) for _ in range(3)] == [True, False, False]
        assert load_pushed(session, client_id=bank.client_id, request_uri=request_uri, now=bank.now) is None


KEY = ECKey.generate_key("P-256")
BINDINGS = {
    "a proof": (lambda b: {}, 201, lambda b: b.proof_key.thumbprint()),
    "a thumbprint": (lambda b: {"proofs": (), "dpop_jkt": KEY.thumbprint()}, 201, lambda b: KEY.thumbprint()),
    "both of one key": (lambda b: {"dpop_jkt": b.proof_key.thumbprint()}, 201, lambda b: b.proof_key.thumbprint()),
    "both of two keys": (lambda b: {"dpop_jkt": KEY.thumbprint()}, 400, None),
    "neither": (lambda b: {"proofs": ()}, 201, lambda b: None),
    "a proof of another address": (lambda b: {"proofs": (b.prove("POST", "/oauth/token"),)}, 400, None),
    "two proofs": (lambda b: {"proofs": (b.prove("POST", "/oauth/par"),) * 2}, 400, None),
}


@pytest.mark.parametrize("name", list(BINDINGS))
def test_the_code_will_be_bound_to_the_key_that_the_request_names_or_proves(bank: Bank, name: str) -> None:
    asked, status, jkt = BINDINGS[name]
    told = bank.push(**asked(bank))
    assert told.status == status
    if jkt is None:
        assert told.error == "invalid_dpop_proof"
        return
    with reading(bank.engine) as session:
        assert session.scalars(select(ParRequest)).one().dpop_jkt == jkt(bank)


def test_a_proof_without_a_nonce_is_asked_for_one_at_this_address_too(bank: Bank) -> None:
    bank.nonce = None
    told = bank.push(proofs=(bank.prove("POST", "/oauth/par"),))
    assert told.outcome == (400, "use_dpop_nonce")
    assert told.headers["dpop-nonce"] == bank.authority.nonces.current(bank.now)
