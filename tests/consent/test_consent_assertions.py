"""How a client proves who it is (private_key_jwt), as FAPI 2.0 narrows it.

Each refused assertion is named after the behaviour of the OpenID conformance suite's module that asks for it.
"""

import json
import threading
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from tests_support.oauth import EC, ED, ISSUER, OTHER, RSA, Bank, count_rows, encode_part, sign_bytes, sign_jwt

from consent.keyring import token_hash
from consent.platforms import sign_assertion
from consent.purge import purge_ended
from consent.requests import FORM, Posted
from consent.tables import AccessToken, OAuthClient
from consent.tokens import TokenRefused
from hub.db import writing

ENDPOINTS = ("/oauth/token", "/oauth/par", "/oauth/introspect", "/oauth/revoke")
TOKEN = {"grant_type": "client_credentials", "scope": "records:write", "token": "x"}


@pytest.mark.parametrize(("key", "alg"), [(EC, "ES256"), (RSA, "PS256"), (ED, "EdDSA"), (ED, "Ed25519")])
@pytest.mark.parametrize("named", [True, False])
def test_a_client_gets_a_short_token_with_each_allowed_algorithm(bank: Bank, key: Any, alg: str, named: bool) -> None:
    header = {"kid": key.kid} if named else {}
    told = bank.ask_token(client_assertion=bank.sign(bank.claims(), key, alg, **header))
    assert told.status == 200, told.document
    answer = told.document
    assert (answer["token_type"], answer["expires_in"], answer["scope"]) == ("DPoP", 300, "records:write")
    assert answer.keys() == {"access_token", "token_type", "expires_in", "scope"}
    info = bank.use(answer["access_token"], "records:write")
    assert (info.client_id, info.participant, info.grant) == (bank.client_id, "citic-carbon", None)
    with writing(bank.engine) as session:
        stored = session.scalars(select(AccessToken)).one()
    assert stored.token_hash == token_hash(answer["access_token"])
    assert answer["access_token"] not in repr(stored.model_dump())


def test_the_hubs_own_assertions_are_such_that_a_server_like_this_accepts_them(bank: Bank) -> None:
    assertion = sign_assertion(EC, client_id=bank.client_id, audience=ISSUER, now=bank.now)
    assert bank.ask_token(client_assertion=assertion).status == 200


REFUSED_CLAIMS: dict[str, dict[str, Any]] = {
    "as array audience": {"aud": [ISSUER]},
    "as array of two audiences": {"aud": [ISSUER, "https://evil.example"]},
    "token endpoint as audience": {"aud": ISSUER + "/oauth/token"},
    "issuer with slash as audience": {"aud": ISSUER + "/"},
    "wrong audience": {"aud": "https://evil.example"},
    "no audience": {"aud": ...},
    "no sub": {"sub": ...},
    "sub is no text": {"sub": 7},
    "sub is an object": {"sub": {"a": 1}},
    "iss is another": {"iss": "c_other"},
    "no iss": {"iss": ...},
    "no exp": {"exp": ...},
    "exp is a text": {"exp": "soon"},
    "exp is true": {"exp": True},
    "exp is no number": {"exp": float("nan")},
    "exp is without end": {"exp": float("inf")},
    "exp 5 minutes in the past": {"exp": -300},
    "exp 10 years ahead": {"exp": 315_360_000},
    "exp beyond every number": {"exp": 10**400},
    "iat beyond every number": {"iat": 10**400},
    "iat over 60 seconds in the future": {"iat": 61},
    "nbf over 60 seconds in the future": {"nbf": 61},
    "no jti": {"jti": ...},
    "empty jti": {"jti": ""},
    "jti is no text": {"jti": 5},
    "endless jti": {"jti": "j" * 300},
}


@pytest.mark.parametrize("name", list(REFUSED_CLAIMS))
def test_an_assertion_is_refused(bank: Bank, name: str) -> None:
    relative, at = ("exp", "iat", "nbf"), int(bank.now.timestamp())
    changed = {
        claim: at + value if claim in relative and type(value) is int and value < 10**9 else value
        for claim, value in REFUSED_CLAIMS[name].items()
    }
    assert bank.ask_token(client_assertion=bank.sign(bank.claims(**changed))).outcome == (401, "invalid_client")
    assert count_rows(bank.engine) == 0


@pytest.mark.parametrize("claim", ["iat", "nbf"])
def test_iat_and_nbf_eight_seconds_in_the_future_are_accepted(bank: Bank, claim: str) -> None:
    claims = bank.claims(**{claim: int(bank.now.timestamp()) + 8})
    assert bank.ask_token(client_assertion=bank.sign(claims)).status == 200


def test_a_signature_of_another_kind_or_key_is_refused(bank: Bank) -> None:
    claims = bank.claims()
    header, body, signature = bank.sign(claims).split(".")
    none, hs256 = (encode_part(json.dumps({"alg": alg}).encode()) for alg in ("none", "HS256"))
    mac = sign_bytes("HS256", f"{hs256}.{body}".encode(), EC.as_pem(private=False))
    forged = {
        "RS256": bank.sign(claims, RSA, "RS256"),
        "HS256 with the public key": f"{hs256}.{body}.{encode_part(mac)}",
        "none": f"{none}.{body}.",
        "none with a signature": f"{none}.{body}.{signature}",
        "another key": bank.sign(claims, OTHER),
        "no signature": f"{header}.{body}.",
        "unknown key id": bank.sign(claims, EC, kid="other"),
        "key brought along": bank.sign(claims, OTHER, jwk=OTHER.as_dict(private=False)),
        "key elsewhere": bank.sign(claims, OTHER, jku="https://evil.example/jwks"),
        "changed signature": bank.sign(claims)[:-4] + "AAAA",
        "not a token": "a.b.c",
        "huge": "a" * 9000,
        "a header without bottom": f"{encode_part(b'[' * 4000)}.{body}.{signature}",
        "claims without bottom": f"{header}.{encode_part(b'[' * 4000)}.{signature}",
        "a critical extension": bank.sign(claims, crit=["x"], x=1),
    }
    for name, assertion in forged.items():
        assert bank.ask_token(client_assertion=assertion).outcome == (401, "invalid_client"), name
    assert count_rows(bank.engine) == 0
    assert bank.ask_token(client_assertion=bank.sign(claims)).status == 200


@pytest.mark.parametrize("client_id", ["c_unknown", "", "客户", "c\x00c", "c\ud800", "x" * 5000])
def test_a_client_that_was_never_registered_is_refused_whatever_its_name(bank: Bank, client_id: str) -> None:
    assertion = bank.sign(bank.claims(iss=client_id, sub=client_id))
    assert bank.ask_token(client_assertion=assertion).outcome == (401, "invalid_client")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=4,
)
HEADERS = ("alg", "typ", "kid", "jwk", "jku", "crit", "b64", "cty")
CLAIMS = ("iss", "sub", "aud", "exp", "iat", "nbf", "jti", "more")


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(header=st.dictionaries(st.sampled_from(HEADERS), JSON), claims=st.dictionaries(st.sampled_from(CLAIMS), JSON))
def test_whatever_an_assertion_says_the_answer_is_a_refusal_or_a_token(
    bank: Bank, header: dict[str, Any], claims: dict[str, Any]
) -> None:
    changed = {"alg": "ES256", **header}
    key = EC if str(changed["alg"]).startswith("ES") else b"key" if str(changed["alg"]).startswith("HS") else ED
    try:
        assertion = sign_jwt(changed, {**bank.claims(), **claims}, key)
    except (AttributeError, TypeError, ValueError):  # no such signature exists
        assertion = bank.sign(bank.claims(**claims))
    assert bank.ask_token(client_assertion=assertion).outcome in ((401, "invalid_client"), (200, ""))


def test_an_assertion_is_used_once_at_all_endpoints_together(bank: Bank) -> None:
    form = bank.form(**TOKEN)
    assert bank.post("/oauth/token", form).status == 200
    for path in ENDPOINTS:
        assert bank.post(path, form).outcome == (401, "invalid_client"), path
    assert count_rows(bank.engine) == 1


def test_of_many_workers_that_get_one_assertion_one_accepts_it(bank: Bank) -> None:
    body, barrier, statuses = urlencode(bank.form(**TOKEN)).encode(), threading.Barrier(8), []

    def send() -> None:
        proof = bank.prove("POST", "/oauth/token")
        barrier.wait()
        told = bank.send(Posted(path="/oauth/token", content_type=FORM, body=body, proofs=(proof,)))
        statuses.append(told.status)

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200] + [401] * 7
    assert count_rows(bank.engine) == 1


def test_a_used_assertion_is_remembered_for_as_long_as_it_could_be_used(bank: Bank) -> None:
    form = bank.form(**TOKEN, client_assertion=bank.sign(bank.claims(exp=int(bank.now.timestamp()) + 300)))
    assert bank.post("/oauth/token", form).status == 200
    for seconds in (0, 200, 309):
        bank.now += timedelta(seconds=seconds)
        with writing(bank.engine) as session:
            purge_ended(session, now=bank.now)
        assert bank.post("/oauth/token", form).status == 401
        bank.now -= timedelta(seconds=seconds)


def test_the_same_identifier_from_two_clients_is_no_replay(bank: Bank) -> None:
    other = Bank(bank.engine, bank.authority, bank.now)
    same = [one.ask_token(client_assertion=one.sign(one.claims(jti="same"))).status for one in (bank, other)]
    assert same == [200, 200]


@pytest.mark.parametrize("path", ENDPOINTS)
def test_the_id_of_another_client_beside_a_valid_assertion_is_refused(bank: Bank, path: str) -> None:
    other = Bank(bank.engine, bank.authority, bank.now)
    assert bank.post(path, {**TOKEN, "client_id": other.client_id}).outcome == (401, "invalid_client")
    assert bank.post(path, {**TOKEN, "client_id": bank.client_id}).error != "invalid_client"


@pytest.mark.parametrize("path", ENDPOINTS)
@pytest.mark.parametrize(
    "instead",
    [
        {"client_assertion": ..., "client_secret": "x"},
        {"client_assertion": ..., "client_assertion_type": ...},
        {"client_assertion_type": "other"},
        {"client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:saml2-bearer"},
        {"client_assertion_type": ...},
    ],
)
def test_a_client_that_does_not_prove_itself_is_refused(bank: Bank, path: str, instead: dict[str, Any]) -> None:
    told = bank.post(path, {**TOKEN, "client_id": bank.client_id, **instead})
    assert told.outcome == (401, "invalid_client")


def test_a_suspended_client_neither_gets_nor_keeps_a_token(bank: Bank) -> None:
    token = bank.token()
    with writing(bank.engine) as session:
        session.get_one(OAuthClient, bank.client_id).suspended_at = bank.now
    assert bank.ask_token().outcome == (401, "invalid_client")
    with pytest.raises(TokenRefused) as refused:
        bank.use(token, "records:write")
    assert (refused.value.status, refused.value.error) == (401, "invalid_token")
