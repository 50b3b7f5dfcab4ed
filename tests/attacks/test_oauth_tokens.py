"""Attacks on codes and tokens: what is stolen, moved or replayed is worth nothing, and costs the thief the rest."""

import json
import threading
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from joserfc.jwk import ECKey
from tests_support.oauth import EC, OTHER, RSA, VERIFIER, challenge_of, encode_part, sign_bytes, sign_jwt
from tests_support.portal import sign_up
from tests_support.tokens import Machine
from tests_support.web import count

from consent.withdraw import withdraw_grant
from hub.context import Hub
from hub.db import writing

NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
ACCOUNT = "/v1/account"
MEGABYTE = 1024 * 1024


@pytest.fixture
def shop(hub: Hub) -> Machine:
    return Machine.recipient(hub)


@pytest.fixture
def thief(hub: Hub) -> Machine:
    """Another client, registered like any: it has its own keys, and whatever it stole."""
    return Machine.recipient(hub)


@pytest.fixture
def li(hub: Hub) -> int:
    return sign_up(hub)


def refused_as(answer: httpx.Response, error: str) -> bool:
    return answer.status_code == 401 and f'error="{error}"' in answer.headers["www-authenticate"]


def test_code_injection_a_stolen_code_is_worth_nothing_to_another_client(
    shop: Machine, thief: Machine, li: int
) -> None:
    code = shop.code(li)
    assert thief.redeem(code).outcome == (400, "invalid_grant")
    thief.proof_key = shop.proof_key
    assert thief.redeem(code).outcome == (400, "invalid_grant"), "not even with the key"
    assert shop.redeem(code).status == 200


def test_code_injection_a_code_in_another_browser_s_session_has_the_wrong_verifier(shop: Machine, li: int) -> None:
    mine = "the-verifier-of-another-session-of-the-same-client"
    stolen = shop.code(li)
    shop.push(code_challenge=challenge_of(mine))
    assert shop.redeem(stolen, code_verifier=mine).outcome == (400, "invalid_grant")


@pytest.mark.parametrize(
    "asked",
    [
        {"code_challenge": ..., "code_challenge_method": ...},
        {"code_challenge": VERIFIER, "code_challenge_method": "plain"},
        {"code_challenge": VERIFIER[:43], "code_challenge_method": ...},
        {"code_challenge": "", "code_challenge_method": "S256"},
    ],
)
def test_pkce_downgrade_no_request_without_s256_is_taken(shop: Machine, asked: dict[str, Any]) -> None:
    assert shop.push(**asked).outcome == (400, "invalid_request")


@pytest.mark.parametrize("verifier", [..., "", challenge_of(VERIFIER), VERIFIER[:-1], VERIFIER + "x"])
def test_pkce_downgrade_no_code_is_redeemed_without_its_verifier(shop: Machine, li: int, verifier: Any) -> None:
    assert shop.redeem(shop.code(li), code_verifier=verifier).outcome == (400, "invalid_grant")


def test_token_transplant_a_stolen_token_with_another_key_is_refused(shop: Machine, thief: Machine, li: int) -> None:
    token = shop.consented(li)["access_token"]
    assert refused_as(thief.get(ACCOUNT, token), "invalid_dpop_proof")
    own = thief.consented(li)["access_token"]
    headers = thief.headers("GET", ACCOUNT, own)
    mixed = thief.caller.get(ACCOUNT, headers={**headers, "authorization": f"DPoP {token}"})
    assert refused_as(mixed, "invalid_dpop_proof"), "the proof names the thief's own token"
    assert shop.get(ACCOUNT, token).status_code == 200


def test_token_transplant_a_bound_token_is_no_bearer_token(shop: Machine, li: int) -> None:
    token = shop.consented(li)["access_token"]
    shown = shop.headers("GET", ACCOUNT, token)
    for headers in ({"authorization": f"Bearer {token}"}, {**shown, "authorization": f"Bearer {token}"}):
        assert refused_as(shop.caller.get(ACCOUNT, headers=headers), "invalid_dpop_proof")
    in_the_address = shop.caller.get(f"{ACCOUNT}?access_token={token}", headers={"dpop": shown["dpop"]})
    assert in_the_address.status_code == 401


def test_proof_replay_a_recorded_request_cannot_be_sent_again_nor_elsewhere(shop: Machine, li: int) -> None:
    token = shop.consented(li)["access_token"]
    headers = shop.headers("GET", ACCOUNT, token)
    elsewhere = shop.caller.get(f"{ACCOUNT}/entries", headers=headers)
    assert refused_as(elsewhere, "invalid_dpop_proof")
    assert shop.caller.get(ACCOUNT, headers=headers).status_code == 200
    assert refused_as(shop.caller.get(ACCOUNT, headers=headers), "invalid_dpop_proof")


def test_proof_replay_of_twelve_at_once_one_is_answered(shop: Machine, li: int) -> None:
    headers = shop.headers("GET", ACCOUNT, shop.consented(li)["access_token"])
    barrier, statuses = threading.Barrier(12), []

    def send() -> None:
        barrier.wait()
        statuses.append(shop.caller.get(ACCOUNT, headers=headers).status_code)

    threads = [threading.Thread(target=send) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200] + [401] * 11


@pytest.mark.parametrize("host", [{"host": "evil.example"}, {"x-forwarded-host": "evil.example"}])
def test_a_proof_for_a_look_alike_of_the_hub_is_none_for_the_hub(shop: Machine, li: int, host: dict[str, str]) -> None:
    token = shop.consented(li)["access_token"]
    lured = shop.prove("GET", ACCOUNT, token=token, htu="https://evil.example" + ACCOUNT)
    answer = shop.caller.get(ACCOUNT, headers={"authorization": f"DPoP {token}", "dpop": lured, **host})
    assert refused_as(answer, "invalid_dpop_proof")


def test_a_code_and_a_refresh_token_open_no_address(shop: Machine, li: int) -> None:
    code = shop.code(li)
    assert refused_as(shop.get(ACCOUNT, code), "invalid_token")
    assert refused_as(shop.get(ACCOUNT, shop.redeem(code).document["refresh_token"]), "invalid_token")


def test_refresh_after_withdrawal_gives_nothing_at_any_later_time(hub: Hub, shop: Machine, li: int) -> None:
    told = shop.consented(li)
    with writing(hub.engine) as session:
        withdraw_grant(session, grant_id=told["grant_id"], subject_id=li, now=NOW)
    before = count(hub, "access_token")
    assert [shop.refresh(told["refresh_token"]).outcome for _ in range(3)] == [(400, "invalid_grant")] * 3
    assert count(hub, "access_token") == before
    again = shop.consented(li)
    assert shop.refresh(told["refresh_token"]).outcome == (400, "invalid_grant"), "a new yes does not wake the old one"
    assert shop.refresh(again["refresh_token"]).status == 200


def test_refresh_theft_a_stolen_refresh_token_needs_the_client_and_its_key(
    shop: Machine, thief: Machine, li: int
) -> None:
    token = shop.consented(li)["refresh_token"]
    assert thief.refresh(token).outcome == (400, "invalid_grant")
    thief.proof_key = shop.proof_key
    assert thief.refresh(token).outcome == (400, "invalid_grant")
    other_key = shop.prove("POST", "/oauth/token", key=OTHER)
    assert shop.refresh(token, proofs=(other_key,)).outcome == (400, "invalid_grant")


PUBLIC = {
    "as PEM": EC.as_pem(private=False),
    "as DER": EC.as_der(private=False),
    "as JSON": json.dumps(EC.as_dict(private=False)).encode(),
    "as an RSA PEM": RSA.as_pem(private=False),
}


@pytest.mark.parametrize("name", list(PUBLIC))
@pytest.mark.parametrize("alg", ["HS256", "HS384", "HS512"])
def test_alg_confusion_a_public_key_is_no_secret(hub: Hub, shop: Machine, name: str, alg: str) -> None:
    assertion = sign_jwt({"alg": alg, "kid": "ec"}, shop.claims(), PUBLIC[name])
    assert shop.ask_token(client_assertion=assertion).outcome == (401, "invalid_client")
    claims = {"htm": "POST", "htu": shop.issuer + "/oauth/token", "jti": "j", "iat": int(NOW.timestamp())}
    head = {"alg": alg, "typ": "dpop+jwt", "jwk": EC.as_dict(private=False)}
    proof = sign_jwt(head, {**claims, "nonce": shop.nonce}, PUBLIC[name])
    assert shop.ask_token(proofs=(proof,)).outcome == (400, "invalid_dpop_proof")
    assert count(hub, "access_token") == {"access_token": 0}


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE", "", "RS256", "ES256K", "dir", "PBES2-HS256+A128KW"])
def test_alg_confusion_no_signature_and_no_other_algorithm_counts(shop: Machine, alg: str) -> None:
    head = encode_part(json.dumps({"alg": alg, "kid": "ec"}).encode())
    data = f"{head}.{encode_part(json.dumps(shop.claims()).encode())}"
    for signature in ("", encode_part(sign_bytes("ES256", data.encode(), EC)), encode_part(bytes(64))):
        told = shop.ask_token(client_assertion=f"{data}.{signature}")
        assert told.outcome == (401, "invalid_client"), (alg, signature[:4])


PACKED = b'{"alg":"dir","enc":"A128GCM","zip":"DEF"}'
OVERSIZED = {
    "an assertion of a megabyte": {"client_assertion": "a" * MEGABYTE},
    "an assertion just over its bound": {"client_assertion": "a" * 8193},
    "a header of dots": {"client_assertion": "." * 8000},
    "nested without end": {"client_assertion": f"{encode_part(b'[' * 5000)}.e30.AA"},
    "encrypted and packed": {"client_assertion": encode_part(PACKED) + "..AA.AA.AA"},
}


@pytest.mark.parametrize("name", list(OVERSIZED))
def test_oversized_jose_an_assertion_is_refused_before_it_costs_anything(hub: Hub, shop: Machine, name: str) -> None:
    told = shop.ask_token(**OVERSIZED[name])
    assert told.outcome in ((401, "invalid_client"), (400, "invalid_request"))
    assert count(hub, "used_jti") == {"used_jti": 0}


@pytest.mark.parametrize("size", [8193, MEGABYTE])
def test_oversized_jose_a_proof_or_token_is_refused_before_it_costs_anything(
    hub: Hub, shop: Machine, li: int, size: int
) -> None:
    token = shop.consented(li)["access_token"]
    before = count(hub, "used_jti")
    answer = shop.caller.get(ACCOUNT, headers={"authorization": f"DPoP {token}", "dpop": "a" * size})
    assert refused_as(answer, "invalid_dpop_proof")
    assert refused_as(shop.caller.get(ACCOUNT, headers={"authorization": "DPoP " + "a" * size}), "invalid_token")
    assert count(hub, "used_jti") == before


def test_a_key_brought_along_in_an_assertion_is_not_believed(shop: Machine) -> None:
    mine = ECKey.generate_key("P-256")
    for header in (
        {"jwk": mine.as_dict(private=False)}, {"jku": "https://evil.example/jwks"}, {"x5u": "https://evil.example/x"},
        {"kid": "../../etc/passwd"}, {"kid": "' OR 1=1 --"}, {"kid": None}, {"kid": ["ec"]},
    ):  # fmt: skip
        assertion = sign_jwt({"alg": "ES256", **header}, shop.claims(), mine)
        assert shop.ask_token(client_assertion=assertion).outcome == (401, "invalid_client"), header
