"""The authorization server: what FAPI 2.0 asks of client authentication, and tokens that die when they should.

Each refused assertion is named after the behaviour of the OpenID conformance suite's module that asks for it.
"""

import asyncio
import hmac
import json
import threading
from base64 import urlsafe_b64encode
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata
from fastapi import FastAPI
from joserfc import jwt
from joserfc.jwk import ECKey, OKPKey, RSAKey
from sqlalchemy import Engine, func, select

from consent.clients import RegistrationRefused, register_client
from consent.grants import GrantTerms, activate_grant, pause_grant, request_grant, resume_grant
from consent.keyring import KeyRing, token_hash
from consent.people import add_person
from consent.platforms import sign_assertion
from consent.purge import purge_ended
from consent.routes import oauth_router
from consent.server import FORM, FORM_BYTES, Answer, answer_introspect, answer_revoke, answer_token, server_metadata
from consent.tables import AccessToken, OAuthClient, UsedJti
from consent.tokens import TokenRefused, require_token
from consent.withdraw import withdraw_grant
from hub.db import writing

ISSUER = "https://hub.example"
EC = ECKey.generate_key("P-256", {"kid": "ec"})
ED = OKPKey.generate_key("Ed25519", {"kid": "ed"})
RSA = RSAKey.generate_key(2048, {"kid": "rsa"})
OTHER = ECKey.generate_key("P-256", {"kid": "ec"})
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
METADATA = {
    "client_name": "一家银行",
    "scope": "records:write account:read",
    "grant_types": ["client_credentials"],
    "token_endpoint_auth_method": "private_key_jwt",
    "jwks": {"keys": [key.as_dict(private=False) for key in (EC, ED, RSA)]},
}


def encode_part(part: bytes) -> str:
    return urlsafe_b64encode(part).decode().rstrip("=")


class Bank:
    """A registered client and what it can send."""

    def __init__(self, engine: Engine, now: datetime, **changed: Any) -> None:
        self.engine, self.now = engine, now
        with writing(engine) as session:
            self.client_id = register_client(session, {**METADATA, **changed}, participant="citic-carbon", now=now)[
                "client_id"
            ]
        self.jti = iter(range(10**6))

    def claims(self, **changed: Any) -> dict[str, Any]:
        issued = int(self.now.timestamp())
        claims = {
            "iss": self.client_id,
            "sub": self.client_id,
            "aud": ISSUER,
            "jti": f"{self.client_id}-{next(self.jti)}",
            "iat": issued,
            "exp": issued + 60,
        }
        return {name: value for name, value in {**claims, **changed}.items() if value is not ...}

    def sign(self, claims: dict[str, Any], key: Any = EC, alg: str = "ES256", **header: Any) -> str:
        return jwt.encode({"alg": alg, **header}, claims, key, algorithms=[alg])

    def form(self, assertion: str | None = None, **changed: str) -> dict[str, str]:
        return {
            "grant_type": "client_credentials",
            "scope": "records:write",
            "client_assertion_type": ASSERTION,
            "client_assertion": assertion or self.sign(self.claims()),
            **changed,
        }

    def post(self, form: dict[str, str], answer: Callable[..., Answer] = answer_token) -> tuple[int, dict[str, Any]]:
        with writing(self.engine) as session:
            sent = answer(session, issuer=ISSUER, content_type=FORM, body=urlencode(form).encode(), now=self.now)
        assert sent.headers["cache-control"] == "no-store"
        return sent.status, json.loads(sent.body)

    def token(self) -> str:
        status, answer = self.post(self.form())
        assert status == 200, answer
        token: str = answer["access_token"]
        return token

    def tokens(self) -> int:
        with writing(self.engine) as session:
            return session.scalar(select(func.count()).select_from(AccessToken)) or 0


@pytest.fixture
def bank(engine: Engine, now: datetime) -> Bank:
    return Bank(engine, now)


@pytest.mark.parametrize(("key", "alg"), [(EC, "ES256"), (RSA, "PS256"), (ED, "EdDSA"), (ED, "Ed25519")])
@pytest.mark.parametrize("named", [True, False])
@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
def test_a_client_gets_a_short_token_with_each_allowed_algorithm(bank: Bank, key: Any, alg: str, named: bool) -> None:
    header = {"kid": key.kid} if named else {}
    status, answer = bank.post(bank.form(bank.sign(bank.claims(), key, alg, **header)))
    assert (status, answer["token_type"], answer["expires_in"]) == (200, "Bearer", 300)
    assert answer["scope"] == "records:write"
    assert "refresh_token" not in answer
    with writing(bank.engine) as session:
        info = require_token(session, f"bearer {answer['access_token']}", scope="records:write", now=bank.now)
        assert (info.client_id, info.participant, info.subject_id) == (bank.client_id, "citic-carbon", None)
        stored = session.scalars(select(AccessToken)).one()
        assert stored.token_hash == token_hash(answer["access_token"])
        assert answer["access_token"] not in repr(stored.model_dump())


def test_the_hubs_own_assertions_are_such_that_a_server_like_this_accepts_them(bank: Bank) -> None:
    assertion = sign_assertion(EC, client_id=bank.client_id, audience=ISSUER, now=bank.now)
    assert bank.post(bank.form(assertion))[0] == 200


REFUSED_CLAIMS = {
    "as array audience": {"aud": [ISSUER]},
    "as array of two audiences": {"aud": [ISSUER, "https://evil.example"]},
    "token endpoint as audience": {"aud": ISSUER + "/oauth/token"},
    "issuer with slash as audience": {"aud": ISSUER + "/"},
    "wrong audience": {"aud": "https://evil.example"},
    "no audience": {"aud": ...},
    "no sub": {"sub": ...},
    "sub is no text": {"sub": 7},
    "iss is another": {"iss": "c_other"},
    "no iss": {"iss": ...},
    "no exp": {"exp": ...},
    "exp is a text": {"exp": "soon"},
    "exp 5 minutes in the past": {"exp": -300},
    "exp 10 years ahead": {"exp": 315_360_000},
    "iat over 60 seconds in the future": {"iat": 61},
    "nbf over 60 seconds in the future": {"nbf": 61},
    "no jti": {"jti": ...},
    "empty jti": {"jti": ""},
    "jti is no text": {"jti": 5},
    "endless jti": {"jti": "j" * 300},
}


@pytest.mark.parametrize("name", list(REFUSED_CLAIMS))
def test_an_assertion_is_refused(bank: Bank, name: str) -> None:
    relative = ("exp", "iat", "nbf")
    changed = {
        claim: int(bank.now.timestamp()) + value if claim in relative and isinstance(value, int) else value
        for claim, value in REFUSED_CLAIMS[name].items()
    }
    status, answer = bank.post(bank.form(bank.sign(bank.claims(**changed))))
    assert (status, answer["error"]) == (401, "invalid_client")
    assert bank.tokens() == 0


@pytest.mark.parametrize("claim", ["iat", "nbf"])
def test_iat_and_nbf_eight_seconds_in_the_future_are_accepted(bank: Bank, claim: str) -> None:
    claims = bank.claims(**{claim: int(bank.now.timestamp()) + 8})
    assert bank.post(bank.form(bank.sign(claims)))[0] == 200


def test_a_signature_of_another_kind_or_key_is_refused(bank: Bank) -> None:
    claims = bank.claims()
    header, body, signature = bank.sign(claims).split(".")
    none, hs256 = (encode_part(json.dumps({"alg": alg}).encode()) for alg in ("none", "HS256"))
    mac = hmac.digest(EC.as_pem(private=False), f"{hs256}.{body}".encode(), "sha256")
    forged = {
        "RS256": bank.sign(claims, RSA, "RS256"),
        "HS256 with the public key": f"{hs256}.{body}.{encode_part(mac)}",
        "none": f"{none}.{body}.",
        "none with a signature": f"{none}.{body}.{signature}",
        "another key": bank.sign(claims, OTHER),
        "no signature": f"{header}.{body}.",
        "unknown key id": bank.sign(claims, EC, kid="other"),
        "key brought along": bank.sign(claims, OTHER, jwk=OTHER.as_dict(private=False)),
        "changed signature": bank.sign(claims)[:-4] + "AAAA",
        "not a token": "a.b.c",
        "huge": "a" * 9000,
    }
    for name, assertion in forged.items():
        status, answer = bank.post(bank.form(assertion))
        assert (status, answer["error"]) == (401, "invalid_client"), name
    assert bank.tokens() == 0
    assert bank.post(bank.form(bank.sign(claims)))[0] == 200


def test_an_assertion_is_used_once_at_all_endpoints_together(bank: Bank) -> None:
    form = bank.form(token="x")
    assert bank.post(form)[0] == 200
    for answer in (answer_token, answer_introspect, answer_revoke):
        assert bank.post(form, answer)[0] == 401
    assert bank.tokens() == 1


def test_of_many_workers_that_get_one_assertion_one_accepts_it(bank: Bank) -> None:
    form, barrier, statuses = bank.form(), threading.Barrier(8), []

    def send() -> None:
        barrier.wait()
        statuses.append(bank.post(form)[0])

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200] + [401] * 7
    assert bank.tokens() == 1


def test_a_used_assertion_is_remembered_for_as_long_as_it_could_be_used(bank: Bank) -> None:
    form = bank.form(bank.sign(bank.claims(exp=int(bank.now.timestamp()) + 300)))
    assert bank.post(form)[0] == 200
    for seconds in (0, 200, 309):
        with writing(bank.engine) as session:
            purge_ended(session, now=bank.now + timedelta(seconds=seconds))
        bank.now += timedelta(seconds=seconds)
        assert bank.post(form)[0] == 401
        bank.now -= timedelta(seconds=seconds)


def test_the_same_identifier_from_two_clients_is_no_replay(bank: Bank) -> None:
    other = Bank(bank.engine, bank.now)
    assert [b.post(b.form(b.sign(b.claims(jti="same"))))[0] for b in (bank, other)] == [200, 200]


@pytest.mark.parametrize("answer", [answer_token, answer_introspect, answer_revoke])
def test_the_id_of_another_client_beside_a_valid_assertion_is_refused(
    bank: Bank, answer: Callable[..., Answer]
) -> None:
    other = Bank(bank.engine, bank.now)
    status, body = bank.post(bank.form(client_id=other.client_id, token="x"), answer)
    assert (status, body["error"]) == (401, "invalid_client")
    assert bank.post(bank.form(client_id=bank.client_id, token="x"), answer)[0] == 200


@pytest.mark.parametrize("answer", [answer_token, answer_introspect, answer_revoke])
def test_a_client_that_does_not_prove_itself_is_refused(bank: Bank, answer: Callable[..., Answer]) -> None:
    form = {"grant_type": "client_credentials", "client_id": bank.client_id, "client_secret": "x", "token": "x"}
    assert bank.post(form, answer)[0] == 401
    assert bank.post(bank.form(client_assertion_type="other", token="x"), answer)[0] == 401


def test_a_suspended_client_neither_gets_nor_keeps_a_token(bank: Bank) -> None:
    token = bank.token()
    with writing(bank.engine) as session:
        session.get_one(OAuthClient, bank.client_id).suspended_at = bank.now
    assert bank.post(bank.form())[0] == 401
    with writing(bank.engine) as session, pytest.raises(TokenRefused):
        require_token(session, f"Bearer {token}", scope="records:write", now=bank.now)


@pytest.mark.parametrize(
    ("scope", "error"),
    [("account:read", "invalid_scope"), ("regulator", "invalid_scope"), ("records:write other", "invalid_scope")],
)
def test_a_scope_that_is_not_the_clients_own_is_refused(bank: Bank, scope: str, error: str) -> None:
    status, answer = bank.post(bank.form(scope=scope))
    assert (status, answer["error"]) == (400, error)
    assert bank.tokens() == 0


def test_without_a_scope_a_client_gets_what_it_may_have_without_a_person(bank: Bank) -> None:
    form = bank.form()
    del form["scope"]
    assert bank.post(form)[1]["scope"] == "records:write"


@pytest.mark.parametrize("grant_type", ["password", "implicit", "refresh_token", "authorization_code", "", "客户"])
def test_other_grant_types_are_refused(bank: Bank, grant_type: str) -> None:
    status, answer = bank.post(bank.form(grant_type=grant_type))
    assert status == 400
    assert answer["error"] in ("unsupported_grant_type", "invalid_request")
    assert bank.tokens() == 0


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (FORM, b"grant_type=client_credentials&grant_type=client_credentials"),
        (FORM, b"scope=a&scope=b&x=1"),
        (FORM, b"x=%FF"),
        (FORM, "x=客户".encode()),
        (FORM, b"x=%22"),
        (FORM, b"x=%0a"),
        (FORM, b"&".join(b"p%d=1" % n for n in range(40))),
        (FORM, b"x=" + b"1" * FORM_BYTES),
        ("application/json", b"{}"),
        ("", b"grant_type=client_credentials"),
    ],
)
def test_a_form_that_is_not_as_it_must_be_is_refused(bank: Bank, content_type: str, body: bytes) -> None:
    for answer in (answer_token, answer_introspect, answer_revoke):
        with writing(bank.engine) as session:
            sent = answer(session, issuer=ISSUER, content_type=content_type, body=body, now=bank.now)
        assert (sent.status, json.loads(sent.body)["error"]) == (400, "invalid_request")


def test_introspection_tells_a_client_about_its_own_tokens_only(bank: Bank) -> None:
    token = bank.token()
    status, told = bank.post(bank.form(token=token), answer_introspect)
    assert (status, told["active"], told["client_id"]) == (200, True, bank.client_id)
    assert told["exp"] == int(bank.now.timestamp()) + 300
    other = Bank(bank.engine, bank.now)
    assert other.post(other.form(token=token), answer_introspect) == (200, {"active": False})
    assert bank.post(bank.form(token="unknown"), answer_introspect) == (200, {"active": False})


def test_a_revoked_token_is_dead_at_once_and_only_its_client_can_revoke_it(bank: Bank) -> None:
    token, other = bank.token(), Bank(bank.engine, bank.now)
    check = partial(require_token, authorization=f"Bearer {token}", scope="records:write", now=bank.now)
    assert other.post(other.form(token=token), answer_revoke)[0] == 200
    with writing(bank.engine) as session:
        check(session)
    assert bank.post(bank.form(token=token), answer_revoke)[0] == 200
    with writing(bank.engine) as session, pytest.raises(TokenRefused):
        check(session)
    assert bank.post(bank.form(token="unknown"), answer_revoke)[0] == 200


def test_a_request_needs_a_live_token_of_the_right_scope(bank: Bank) -> None:
    token = bank.token()
    refused = {
        (None, "records:write", 0): (401, ""),
        ("", "records:write", 0): (401, ""),
        (f"Basic {token}", "records:write", 0): (401, "invalid_token"),
        (f"DPoP {token}", "records:write", 0): (401, "invalid_token"),
        ("Bearer ", "records:write", 0): (401, "invalid_token"),
        (f"Bearer {token}x", "records:write", 0): (401, "invalid_token"),
        (f"Bearer {token_hash(token)}", "records:write", 0): (401, "invalid_token"),
        (f"Bearer {token}", "records:write", 300): (401, "invalid_token"),
        (f"Bearer {token}", "regulator", 0): (403, "insufficient_scope"),
        (f"Bearer {token}", "records", 0): (403, "insufficient_scope"),
    }
    with writing(bank.engine) as session:
        for (header, scope, seconds), outcome in refused.items():
            with pytest.raises(TokenRefused) as stopped:
                require_token(session, header, scope=scope, now=bank.now + timedelta(seconds=seconds))
            assert (stopped.value.status, stopped.value.error) == outcome
            assert stopped.value.challenge.startswith("Bearer")
        require_token(session, f"Bearer {token}", scope="records:write", now=bank.now + timedelta(seconds=299))


def test_a_persons_token_lives_only_while_the_grant_does(
    bank: Bank, ring: KeyRing, make_terms: Callable[..., GrantTerms], now: datetime
) -> None:
    with writing(bank.engine) as session:
        who = add_person(session, ring, username="p", password=None, display_name="x", now=now).subject_id
        grant, _ = request_grant(session, subject_id=who, terms=make_terms(recipient=bank.client_id), now=now)
        ids = {"grant_id": grant.grant_id, "subject_id": who, "now": now}
        session.add(
            AccessToken(
                token_hash=token_hash("at_person"),
                client_id=bank.client_id,
                subject_id=who,
                grant_id=grant.grant_id,
                scope="account:read",
                issued_at=now,
                expires_at=now + timedelta(seconds=300),
            )
        )

        def lives() -> bool:
            try:
                require_token(session, "Bearer at_person", scope="account:read", now=now)
            except TokenRefused:
                return False
            return True

        outcomes = [lives()]
        for step in (activate_grant, pause_grant, resume_grant, withdraw_grant):
            step(session, **ids)
            outcomes.append(lives())
        assert outcomes == [False, True, False, True, False]


def test_a_key_bound_token_is_no_bearer_token(bank: Bank) -> None:
    token = bank.token()
    with writing(bank.engine) as session:
        session.get_one(AccessToken, token_hash(token)).dpop_jkt = "thumbprint"
        session.flush()
        with pytest.raises(TokenRefused):
            require_token(session, f"Bearer {token}", scope="records:write", now=bank.now)


WEAK_RSA = {"kty": "RSA", "e": "AQAB", "n": encode_part(b"\xc1" * 128)}
REFUSED_METADATA = {
    "no name": {"client_name": ""},
    "unknown scope": {"scope": "records:write everything"},
    "no scope": {"scope": ""},
    "a public client": {"token_endpoint_auth_method": "none"},
    "a shared secret": {"token_endpoint_auth_method": "client_secret_basic"},
    "password grant": {"grant_types": ["password"]},
    "grant types as text": {"grant_types": "client_credentials"},
    "code without redirect": {"grant_types": ["authorization_code"]},
    "plain redirect": {"redirect_uris": ["http://bank.example/cb"]},
    "redirect with fragment": {"redirect_uris": ["https://bank.example/cb#x"]},
    "script redirect": {"redirect_uris": ["javascript:alert(1)"]},
    "no keys": {"jwks": {"keys": []}},
    "keys elsewhere": {"jwks": None, "jwks_uri": "https://bank.example/jwks"},
    "private key": {"jwks": {"keys": [EC.as_dict(private=True)]}},
    "symmetric key": {"jwks": {"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}},
    "foreign curve": {"jwks": {"keys": [ECKey.generate_key("P-384").as_dict(private=False)]}},
    "short RSA": {"jwks": {"keys": [WEAK_RSA]}},
    "key that cannot be read": {"jwks": {"keys": [{"kty": "EC", "crv": "P-256", "x": "a"}]}},
    "key that is a text": {"jwks": {"keys": ["EC"]}},
}


@pytest.mark.parametrize("name", list(REFUSED_METADATA))
def test_registration_refuses(engine: Engine, now: datetime, name: str) -> None:
    with writing(engine) as session:
        with pytest.raises(RegistrationRefused):
            register_client(session, {**METADATA, **REFUSED_METADATA[name]}, participant=None, now=now)
        assert session.scalar(select(func.count()).select_from(OAuthClient)) == 0


def test_registration_answers_with_what_was_registered_and_never_takes_the_participant_from_the_document(
    engine: Engine, now: datetime
) -> None:
    with writing(engine) as session:
        told = register_client(
            session, {**METADATA, "participant": "citic-carbon", "client_id": "c_mine"}, participant=None, now=now
        )
        row = session.get_one(OAuthClient, told["client_id"])
        assert row.participant is None
        assert told["client_id"].startswith("c_")
        assert told["client_id"] != "c_mine"
        assert (told["client_name"], told["jwks"]) == (METADATA["client_name"], METADATA["jwks"])


def test_the_metadata_is_valid_and_names_only_what_is_there(ring: KeyRing, engine: Engine, now: datetime) -> None:
    router = oauth_router(issuer=ISSUER, keyring=ring, transactions=partial(writing, engine), clock=lambda: now)
    document = server_metadata(ISSUER)
    for name in ("issuer", "token_endpoint", "jwks_uri", "token_endpoint_auth_methods_supported"):
        getattr(AuthorizationServerMetadata(document), f"validate_{name}")()
    paths = {getattr(route, "path", None) for route in router.routes}
    named = {url.removeprefix(ISSUER) for name, url in document.items() if name.endswith(("_endpoint", "_uri"))}
    assert named <= paths
    assert not any("RS256" in value or "HS256" in value for value in document.values() if isinstance(value, list))


async def over_http(app: FastAPI, requests: list[tuple[str, str, Any]]) -> list[httpx.Response]:
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://inside:8000") as client:
        return [await client.request(method, path, **sent) for method, path, sent in requests]


def test_the_routes_serve_metadata_keys_and_tokens(bank: Bank, ring: KeyRing) -> None:
    app = FastAPI()
    transactions = partial(writing, bank.engine)
    app.include_router(oauth_router(issuer=ISSUER, keyring=ring, transactions=transactions, clock=lambda: bank.now))
    metadata, keys, given, again, early, wrong = asyncio.run(
        over_http(
            app,
            [
                ("GET", "/.well-known/oauth-authorization-server", {}),
                ("GET", "/oauth/jwks", {}),
                ("POST", "/oauth/token", {"data": (form := bank.form())}),
                ("POST", "/oauth/token", {"data": form}),
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
    assert bank.tokens() == 1


def test_what_has_ended_is_purged_in_bounded_batches_and_the_living_stays(bank: Bank) -> None:
    for _ in range(3):
        bank.token()
    bank.now += timedelta(seconds=400)
    alive = bank.token()
    with writing(bank.engine) as session:
        assert purge_ended(session, now=bank.now, limit=2)["access_token"] == 2
        counts = purge_ended(session, now=bank.now, limit=2)
        assert (counts["access_token"], counts["used_jti"]) == (1, 1)
        assert session.scalar(select(func.count()).select_from(UsedJti)) == 1
        require_token(session, f"Bearer {alive}", scope="records:write", now=bank.now)
