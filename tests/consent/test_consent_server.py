"""The endpoints that take a form: tokens of clients, introspection and revocation, and what no form may be."""

import asyncio
import json
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import func, select
from tests_support.oauth import EVERY_SCOPE, ISSUER, Bank, count_rows

from consent.grants import activate_grant, pause_grant, request_grant, resume_grant
from consent.keyring import token_hash
from consent.purge import purge_ended
from consent.requests import FORM, FORM_BYTES, Posted
from consent.routes import oauth_router
from consent.tables import AccessToken, UsedJti
from consent.terms import GrantTerms
from consent.tokens import ApiCall, Binding, TokenRefused, require_token, store_access_token
from consent.withdraw import withdraw_grant
from hub.db import writing

ENDPOINTS = ("/oauth/token", "/oauth/par", "/oauth/introspect", "/oauth/revoke")


def call_with(bank: Bank, authorization: str | None, token: str) -> ApiCall:
    """A request whose proof is for one token, and whose header says whatever it says."""
    proof = bank.prove("GET", "/x", token=token)
    return ApiCall(method="GET", url=ISSUER + "/x", authorization=authorization, proofs=(proof,))


@pytest.mark.parametrize(
    "scope", ["account:read", "grams:use", "regulator", "records:write other", "records:write regulator", "客户"]
)
def test_a_scope_that_is_not_the_clients_own_without_a_person_is_refused(bank: Bank, scope: str) -> None:
    assert bank.ask_token(scope).outcome in ((400, "invalid_scope"), (400, "invalid_request"))
    assert count_rows(bank.engine) == 0


def test_without_a_scope_a_client_gets_what_it_may_have_without_a_person(bank: Bank) -> None:
    told = bank.post("/oauth/token", {"grant_type": "client_credentials"}).document
    assert set(told["scope"].split()) == set(EVERY_SCOPE.split()) - {"account:read", "grams:use"}


@pytest.mark.parametrize(
    "grant_type", ["password", "implicit", "refresh_token", "authorization_code", "", "客户", "urn:x", ...]
)
def test_other_grant_types_are_refused(bank: Bank, grant_type: Any) -> None:
    told = bank.ask_token(grant_type=grant_type)
    assert told.status == 400
    assert told.error in ("unsupported_grant_type", "invalid_request")
    assert count_rows(bank.engine) == 0


@pytest.mark.parametrize("only", ["authorization_code", "refresh_token"])
def test_a_client_that_is_not_registered_for_it_gets_no_token_of_its_own(bank: Bank, only: str) -> None:
    other = Bank(bank.engine, bank.authority, bank.now, grant_types=[only])
    assert other.ask_token().outcome == (400, "unauthorized_client")
    assert count_rows(bank.engine) == 0


WRONG_FORMS = {
    "a parameter twice": (FORM, b"grant_type=client_credentials&grant_type=client_credentials"),
    "an unknown parameter twice": (FORM, b"scope=a&x=1&x=1"),
    "not UTF-8": (FORM, b"x=%FF"),
    "not ASCII as it stands": (FORM, "x=客户".encode()),
    "not ASCII in disguise": (FORM, b"scope=%E5%AE%A2"),
    "a quotation mark": (FORM, b"x=%22"),
    "a line end": (FORM, b"x=%0a"),
    "a NUL": (FORM, b"client_id=%00"),
    "a NUL in what may hold more": (FORM, b"authorization_details=%00"),
    "a state with a line end": (FORM, b"state=%0d%0a"),
    "forty-one fields": (FORM, b"&".join(b"p%d=1" % n for n in range(41))),
    "too long": (FORM, b"x=" + b"1" * FORM_BYTES),
    "JSON": ("application/json", b"{}"),
    "no content type": ("", b"grant_type=client_credentials"),
    "a form in parts": ("multipart/form-data; boundary=x", b"--x--"),
}


@pytest.mark.parametrize("path", ENDPOINTS)
@pytest.mark.parametrize("name", list(WRONG_FORMS))
def test_a_form_that_is_not_as_it_must_be_is_refused(bank: Bank, path: str, name: str) -> None:
    content_type, body = WRONG_FORMS[name]
    told = bank.send(Posted(path=path, content_type=content_type, body=body))
    assert told.outcome == (400, "invalid_request")
    assert told.document["error_description"].isascii()
    assert told.headers["cache-control"] == "no-store"


def test_an_empty_parameter_is_none(bank: Bank) -> None:
    told = bank.ask_token(client_id="", refresh_token="")
    assert told.status == 200


def test_introspection_tells_a_client_about_its_own_tokens_only(bank: Bank) -> None:
    token = bank.token()
    told = bank.introspect(token)
    assert (told.status, told.document["active"], told.document["client_id"]) == (200, True, bank.client_id)
    assert told.document["exp"] == int(bank.now.timestamp()) + 300
    assert told.document["cnf"] == {"jkt": bank.proof_key.thumbprint()}
    assert "sub" not in told.document
    other = Bank(bank.engine, bank.authority, bank.now)
    inactive = [other.introspect(token), bank.introspect("unknown"), bank.introspect(token_hash(token))]
    assert [(one.status, one.document) for one in inactive] == [(200, {"active": False})] * 3


def test_introspection_says_for_whom_and_for_what_a_token_is_by_another_name_for_each_client(
    bank: Bank, person: int
) -> None:
    other = Bank(bank.engine, bank.authority, bank.now)
    tokens = [one.consented(person) for one in (bank, other)]
    told = [one.introspect(given["access_token"]).document for one, given in zip((bank, other), tokens, strict=True)]
    assert told[0]["sub"] != told[1]["sub"]
    assert str(person) not in (told[0]["sub"], told[1]["sub"])
    assert told[0]["authorization_details"] == tokens[0]["authorization_details"]
    assert (told[0]["grant_id"], told[0]["scope"]) == (tokens[0]["grant_id"], "account:read")
    assert bank.introspect(tokens[0]["refresh_token"]).document["exp"] > told[0]["exp"]


@pytest.mark.parametrize("path", ["/oauth/introspect", "/oauth/revoke"])
def test_a_request_about_no_token_is_refused(bank: Bank, path: str) -> None:
    assert bank.post(path, {}).outcome == (400, "invalid_request")


def test_a_revoked_token_is_dead_at_once_and_only_its_client_can_revoke_it(bank: Bank) -> None:
    token, other = bank.token(), Bank(bank.engine, bank.authority, bank.now)
    assert other.post("/oauth/revoke", {"token": token}).status == 200
    assert bank.works(token, "records:write")
    assert bank.post("/oauth/revoke", {"token": token}).status == 200
    assert not bank.works(token, "records:write")
    assert bank.post("/oauth/revoke", {"token": "unknown"}).status == 200


def test_revoking_an_access_token_leaves_the_consent_and_revoking_the_refresh_token_ends_its_tokens(
    bank: Bank, person: int
) -> None:
    given = bank.consented(person)
    bank.post("/oauth/revoke", {"token": given["access_token"], "token_type_hint": "refresh_token"})
    assert not bank.works(given["access_token"])
    fresh = bank.refresh(given["refresh_token"]).document["access_token"]
    assert bank.works(fresh)
    bank.post("/oauth/revoke", {"token": given["refresh_token"]})
    assert not bank.works(fresh)
    assert bank.refresh(given["refresh_token"]).outcome == (400, "invalid_grant")
    again = bank.redeem(bank.code(person, grant_management_action="merge", grant_id=given["grant_id"]))
    assert (again.status, again.document["grant_id"]) == (200, given["grant_id"])


def test_a_request_needs_a_live_token_of_the_right_scope(bank: Bank) -> None:
    token = bank.token()
    refused = {
        (None, "records:write", 0): (401, ""),
        ("", "records:write", 0): (401, ""),
        ("DPoP", "records:write", 0): (401, ""),
        ("DPoP ", "records:write", 0): (401, ""),
        (f"Basic {token}", "records:write", 0): (401, "invalid_dpop_proof"),
        (f"Bearer {token}", "records:write", 0): (401, "invalid_dpop_proof"),
        (f"DPoP {token}x", "records:write", 0): (401, "invalid_token"),
        (f"DPoP  {token}", "records:write", 0): (401, "invalid_token"),
        (f"DPoP {token * 20}", "records:write", 0): (401, "invalid_token"),
        (f"DPoP {token_hash(token)}", "records:write", 0): (401, "invalid_token"),
        (f"DPoP {token}", "records:write", 300): (401, "invalid_token"),
        (f"DPoP {token}", "regulator", 0): (403, "insufficient_scope"),
        (f"DPoP {token}", "records", 0): (403, "insufficient_scope"),
    }
    start = bank.now
    for (header, scope, seconds), outcome in refused.items():
        bank.now = start + timedelta(seconds=seconds)
        with pytest.raises(TokenRefused) as stopped:
            bank.check(call_with(bank, header, token), scope)
        assert (stopped.value.status, stopped.value.error) == outcome, header
        challenge = stopped.value.headers["www-authenticate"]
        assert challenge.startswith("DPoP "), header
        assert 'algs="ES256 PS256 EdDSA Ed25519"' in challenge
    bank.now = start + timedelta(seconds=299)
    for scheme in ("DPoP", "dpop", "DPOP"):
        assert bank.check(call_with(bank, f"{scheme} {token}", token), "records:write").client_id == bank.client_id


def test_a_persons_token_lives_only_while_the_grant_does(
    bank: Bank, person: int, make_terms: Callable[..., GrantTerms]
) -> None:
    with writing(bank.engine) as session:
        terms = make_terms(recipient=bank.client_id, scope="account:read")
        grant, _ = request_grant(session, subject_id=person, terms=terms, now=bank.now)
        store_access_token(
            session, "at_person", client_id=bank.client_id, scope="account:read", grant=grant, now=bank.now,
            binding=Binding(jkt=bank.proof_key.thumbprint()),
        )  # fmt: skip
    ids = {"grant_id": grant.grant_id, "subject_id": person, "now": bank.now}
    outcomes = [bank.works("at_person")]
    for step in (activate_grant, pause_grant, resume_grant, withdraw_grant):
        with writing(bank.engine) as session:
            step(session, **ids)
        outcomes.append(bank.works("at_person"))
    assert outcomes == [False, True, False, True, False]


async def over_http(app: FastAPI, requests: list[tuple[str, str, Any]]) -> list[httpx.Response]:
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://inside:8000") as client:
        return [await client.request(method, path, **sent) for method, path, sent in requests]


def test_the_routes_serve_metadata_keys_and_tokens_at_the_issuers_address_whatever_the_host_header(bank: Bank) -> None:
    app = FastAPI()
    app.include_router(
        oauth_router(
            bank.authority, transactions=partial(writing, bank.engine), clock=lambda: bank.now,
            note=lambda *_: None, certificate=lambda _request: None,
        )
    )  # fmt: skip
    form = bank.form(grant_type="client_credentials", scope="records:write")
    proof = {"dpop": bank.prove("POST", "/oauth/token"), "x-forwarded-host": "evil.example"}
    metadata, keys, given, again, early, wrong = asyncio.run(
        over_http(
            app,
            [
                ("GET", "/.well-known/oauth-authorization-server", {}),
                ("GET", "/oauth/jwks", {}),
                ("POST", "/oauth/token", {"data": form, "headers": proof}),
                ("POST", "/oauth/token", {"data": form, "headers": proof}),
                ("POST", "/oauth/token", {"content": b"x" * (FORM_BYTES * 2), "headers": {"content-type": FORM}}),
                ("GET", "/oauth/token", {}),
            ],
        )
    )
    assert metadata.json()["issuer"] == ISSUER
    assert keys.json()["keys"][0]["alg"] == "ES256"
    assert "d" not in keys.json()["keys"][0]
    assert (given.status_code, again.status_code, early.status_code, wrong.status_code) == (200, 401, 400, 405)
    assert given.headers["cache-control"] == "no-store"
    assert given.headers["dpop-nonce"] == bank.authority.nonces.current(bank.now)
    assert count_rows(bank.engine) == 1


def test_what_has_ended_is_purged_in_bounded_batches_and_the_living_stays(bank: Bank) -> None:
    for _ in range(3):
        bank.token()
    bank.now += timedelta(seconds=400)
    alive = bank.token()
    with writing(bank.engine) as session:
        assert purge_ended(session, now=bank.now, limit=2)["access_token"] == 2
        counts = purge_ended(session, now=bank.now, limit=100)
        # Of each request an assertion and a proof were used up; those of the living token are kept.
        assert (counts["access_token"], session.scalar(select(func.count()).select_from(UsedJti))) == (1, 2)
        assert [row.token_hash for row in session.scalars(select(AccessToken))] == [token_hash(alive)]
    assert bank.works(alive, "records:write")


def test_require_token_never_tells_whether_a_token_once_was(bank: Bank) -> None:
    token = bank.token()
    with writing(bank.engine) as session:
        session.get_one(AccessToken, token_hash(token)).revoked_at = bank.now
    told = []
    for shown in (token, "at_never"):
        with writing(bank.engine) as session, pytest.raises(TokenRefused) as stopped:
            require_token(
                session, call_with(bank, f"DPoP {shown}", shown), scope="records:write", issuer=ISSUER,
                nonces=bank.authority.nonces, now=bank.now,
            )  # fmt: skip
        told.append(json.dumps([stopped.value.status, stopped.value.error, dict(stopped.value.headers)]))
    assert told[0] == told[1]
