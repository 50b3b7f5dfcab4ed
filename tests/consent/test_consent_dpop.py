"""Proofs of possession (RFC 9449 section 4.3): what a proof must be, and that it is good once."""

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from joserfc.jwk import ECKey, OKPKey
from sqlalchemy import Engine, text
from tests_support.oauth import ED, ISSUER, OTHER, RSA, Bank, count_rows, decode_part, encode_part, sign_bytes, sign_jwt

from consent.dpop import NEWEST_S, NONCE_LIFE, OLDEST_S, Nonces, NonceWanted, ProofRefused, verify_proof
from consent.purge import purge_ended
from consent.tables import UsedJti
from hub.db import writing

PATH = "/oauth/token"
URL = ISSUER + PATH
P384 = ECKey.generate_key("P-384")
ED448 = OKPKey.generate_key("Ed448")
SECRET = {"kty": "oct", "k": encode_part(b"secret")}


def verify(bank: Bank, *proofs: str, url: str = URL, token: str | None = None, nonces: Nonces | None = None) -> str:
    """Check a proof as the token endpoint does; what was seen stays seen, whatever comes of it."""
    refused: ProofRefused | NonceWanted | None = None
    with writing(bank.engine) as session:
        try:
            return verify_proof(
                session, proofs, method="POST", url=url, nonces=nonces or bank.authority.nonces, now=bank.now,
                access_token=token,
            )  # fmt: skip
        except (ProofRefused, NonceWanted) as error:
            refused = error
    raise refused


def public(key: Any) -> dict[str, Any]:
    return dict(key.as_dict(private=False))


# Each makes a proof that differs in one thing from a right one. Named as the conformance suite's DPoP module names them.
Make = Callable[[Bank], Any]
REFUSED: dict[str, Make] = {
    "no proof": lambda b: (),
    "two proofs": lambda b: (b.prove("POST", PATH), b.prove("POST", PATH)),
    "the same proof twice": lambda b: (b.prove("POST", PATH),) * 2,
    "two proofs in one header": lambda b: f"{b.prove('POST', PATH)}, {b.prove('POST', PATH)}",
    "an empty header": lambda b: "",
    "garbage": lambda b: "not.a.proof",
    "no dots": lambda b: "proof",
    "not ASCII": lambda b: b.prove("POST", PATH) + "证",
    "endless": lambda b: b.prove("POST", PATH, more="x" * 9000),
    "a header without bottom": lambda b: f"{encode_part(b'[' * 4000)}.e30.AA",
    "claims without bottom": lambda b: _signed_over(b, b"[" * 3000),
    "claims that are a list": lambda b: _signed_over(b, b"[]"),
    "claims that are no JSON": lambda b: _signed_over(b, b"{"),
    "typ of an ordinary JWT": lambda b: b.prove("POST", PATH, header={"typ": "JWT"}),
    "no typ": lambda b: b.prove("POST", PATH, header={"typ": ...}),
    "typ that is a list": lambda b: b.prove("POST", PATH, header={"typ": ["dpop+jwt"]}),
    "alg none": lambda b: b.prove("POST", PATH, header={"alg": "none"}),
    "alg HS256": lambda b: _by_hmac(b, SECRET, b"secret"),
    "alg HS256 with the public key": lambda b: _by_hmac(b, public(OTHER), OTHER.as_pem(private=False)),
    "alg RS256": lambda b: b.prove("POST", PATH, key=RSA, header={"alg": "RS256"}),
    "alg ES384": lambda b: b.prove("POST", PATH, key=P384, header={"alg": "ES384"}),
    "alg that is not the key's": lambda b: b.prove("POST", PATH, header={"alg": "PS256"}, key=RSA)[:-9] + "AAAAAAAAA",
    "alg that does not fit the jwk": lambda b: b.prove("POST", PATH, header={"jwk": public(RSA)}),
    "no alg": lambda b: b.prove("POST", PATH, header={"alg": ...}, key=ED),
    "a P-384 key under ES256": lambda b: b.prove("POST", PATH, key=P384),
    "an Ed448 key": lambda b: b.prove("POST", PATH, key=ED448, header={"alg": "EdDSA"}),
    "an RSA key that is too short": lambda b: b.prove("POST", PATH, key=_ShortRsa(), header={"alg": "PS256"}),
    "a private key in jwk": lambda b: b.prove("POST", PATH, header={"jwk": b.proof_key.as_dict(private=True)}),
    "a private member in jwk": lambda b: b.prove("POST", PATH, header={"jwk": {**public(b.proof_key), "d": "AA"}}),
    "no jwk": lambda b: b.prove("POST", PATH, header={"jwk": ...}),
    "jwk that is a text": lambda b: b.prove("POST", PATH, header={"jwk": "k"}),
    "jwk without its point": lambda b: b.prove("POST", PATH, header={"jwk": {"kty": "EC", "crv": "P-256"}}),
    "a point off the curve": lambda b: b.prove("POST", PATH, header={"jwk": {**public(b.proof_key), "x": "AA"}}),
    "kty that is a list": lambda b: b.prove("POST", PATH, header={"jwk": {**public(b.proof_key), "kty": ["EC"]}}),
    "only the name of a key": lambda b: b.prove("POST", PATH, header={"jwk": ..., "kid": "ec"}),
    "a key elsewhere": lambda b: b.prove("POST", PATH, header={"jwk": ..., "jku": "https://evil.example/jwks"}),
    "another key than the signer's": lambda b: b.prove("POST", PATH, header={"jwk": public(OTHER)}),
    "a cut signature": lambda b: b.prove("POST", PATH)[:-6],
    "no signature": lambda b: b.prove("POST", PATH).rpartition(".")[0] + ".",
    "changed claims": lambda b: _with_claims(b.prove("POST", PATH), {"htm": "POST", "htu": URL}),
    "a critical extension": lambda b: b.prove("POST", PATH, header={"crit": ["x"], "x": 1}),
    "crit that is nothing": lambda b: b.prove("POST", PATH, header={"crit": None}),
    "no jti": lambda b: b.prove("POST", PATH, jti=...),
    "empty jti": lambda b: b.prove("POST", PATH, jti=""),
    "jti that is a number": lambda b: b.prove("POST", PATH, jti=7),
    "endless jti": lambda b: b.prove("POST", PATH, jti="j" * 257),
    "no htm": lambda b: b.prove("POST", PATH, htm=...),
    "another method": lambda b: b.prove("GET", PATH),
    "the method in small letters": lambda b: b.prove("post", PATH),
    "no htu": lambda b: b.prove("POST", PATH, htu=...),
    "another path": lambda b: b.prove("POST", "/oauth/par"),
    "a longer path": lambda b: b.prove("POST", PATH + "/"),
    "the path in capitals": lambda b: b.prove("POST", PATH.upper()),
    "another host": lambda b: b.prove("POST", PATH, htu="https://evil.example" + PATH),
    "another scheme": lambda b: b.prove("POST", PATH, htu=URL.replace("https", "http")),
    "another port": lambda b: b.prove("POST", PATH, htu="https://hub.example:8443" + PATH),
    "a port that is none": lambda b: b.prove("POST", PATH, htu="https://hub.example:x" + PATH),
    "a bracket left open": lambda b: b.prove("POST", PATH, htu="https://[::1" + PATH),
    "htu of half a character": lambda b: b.prove("POST", PATH, htu="\ud800"),
    "htu that is a list": lambda b: b.prove("POST", PATH, htu=[URL]),
    "no iat": lambda b: b.prove("POST", PATH, iat=...),
    "iat as text": lambda b: b.prove("POST", PATH, iat=str(int(b.now.timestamp()))),
    "iat true": lambda b: b.prove("POST", PATH, iat=True),
    "iat that is no number": lambda b: b.prove("POST", PATH, iat=float("nan")),
    "iat beyond every number": lambda b: b.prove("POST", PATH, iat=10**400),
    "iat an hour ago": lambda b: b.prove("POST", PATH, iat=int(b.now.timestamp()) - 3600),
    "iat an hour ahead": lambda b: b.prove("POST", PATH, iat=int(b.now.timestamp()) + 3600),
    "iat older than allowed": lambda b: b.prove("POST", PATH, iat=int(b.now.timestamp()) - OLDEST_S - 1),
    "iat 61 seconds ahead": lambda b: b.prove("POST", PATH, iat=int(b.now.timestamp()) + 61),
}  # fmt: skip
ACCEPTED: dict[str, Make] = {
    "an ordinary one": lambda b: b.prove("POST", PATH),
    "Ed25519 under its own name": lambda b: b.prove("POST", PATH, key=ED, header={"alg": "Ed25519"}),
    "Ed25519 under its older name": lambda b: b.prove("POST", PATH, key=ED, header={"alg": "EdDSA"}),
    "PS256": lambda b: b.prove("POST", PATH, key=RSA, header={"alg": "PS256"}),
    "an unknown claim": lambda b: b.prove("POST", PATH, extra={"any": "thing"}),
    "an unknown header": lambda b: b.prove("POST", PATH, header={"extra": "member"}),
    "an unknown member in jwk": lambda b: b.prove("POST", PATH, header={"jwk": {**public(b.proof_key), "use": "enc"}}),
    "nbf and exp of its own": lambda b: b.prove("POST", PATH, nbf=0, exp=0),
    "typ in capitals": lambda b: b.prove("POST", PATH, header={"typ": "DPoP+JWT"}),
    "a query and a fragment": lambda b: b.prove("POST", PATH, htu=URL + "?a=b#c"),
    "the scheme in capitals": lambda b: b.prove("POST", PATH, htu=URL.replace("https", "HTTPS")),
    "the host in capitals": lambda b: b.prove("POST", PATH, htu=URL.replace("hub.example", "HUB.Example")),
    "the default port": lambda b: b.prove("POST", PATH, htu="https://hub.example:443" + PATH),
    "iat 10 seconds ago": lambda b: b.prove("POST", PATH, iat=int(b.now.timestamp()) - 10),
    "iat 10 seconds ahead": lambda b: b.prove("POST", PATH, iat=int(b.now.timestamp()) + 10),
    "iat with a fraction": lambda b: b.prove("POST", PATH, iat=b.now.timestamp() + 0.5),
    "a jti of 256 characters": lambda b: b.prove("POST", PATH, jti="界" * 256),
}  # fmt: skip


class _ShortRsa:
    """A key that the library itself would warn of."""

    private_key = rsa.generate_private_key(65537, 1024)

    def as_dict(self, *, private: bool) -> dict[str, Any]:
        n = self.private_key.public_key().public_numbers().n
        return {"kty": "RSA", "e": "AQAB", "n": encode_part(n.to_bytes(128, "big"))}


def _by_hmac(bank: Bank, jwk: dict[str, Any], secret: bytes) -> str:
    claims = json.loads(decode_part(bank.prove("POST", PATH).split(".")[1]))
    return sign_jwt({"alg": "HS256", "typ": "dpop+jwt", "jwk": jwk}, claims, secret)


def _signed_over(bank: Bank, claims: bytes) -> str:
    """A right header and signature over claims that are none."""
    head = encode_part(json.dumps({"alg": "ES256", "typ": "dpop+jwt", "jwk": public(bank.proof_key)}).encode())
    data = f"{head}.{encode_part(claims)}"
    return f"{data}.{encode_part(sign_bytes('ES256', data.encode(), bank.proof_key))}"


def _with_claims(proof: str, changed: dict[str, Any]) -> str:
    head, body, signature = proof.split(".")
    claims = {**json.loads(decode_part(body)), **changed, "jti": "another"}
    return ".".join([head, encode_part(json.dumps(claims).encode()), signature])


def as_headers(made: Any) -> tuple[str, ...]:
    return made if isinstance(made, tuple) else (made,)


@pytest.mark.parametrize("name", list(REFUSED))
def test_a_proof_is_refused(bank: Bank, name: str) -> None:
    with pytest.raises(ProofRefused):
        verify(bank, *as_headers(REFUSED[name](bank)))
    assert count_rows(bank.engine, UsedJti) == 0


@pytest.mark.parametrize("name", list(ACCEPTED))
def test_a_proof_is_accepted_for_the_key_in_it_and_only_once(bank: Bank, name: str) -> None:
    proof = ACCEPTED[name](bank)
    key = json.loads(decode_part(proof.split(".")[0]))["jwk"]
    assert verify(bank, proof) == {"EC": bank.proof_key, "RSA": RSA, "OKP": ED}[key["kty"]].thumbprint()
    with pytest.raises(ProofRefused, match="used before"):
        verify(bank, proof)


def test_a_refused_proof_has_the_same_answer_whatever_was_wrong_but_for_its_words(bank: Bank) -> None:
    told = bank.ask_token(proofs=(bank.prove("GET", PATH),))
    assert told.outcome == (400, "invalid_dpop_proof")
    assert told.document["error_description"].isascii()


@pytest.mark.parametrize(
    ("token", "ath", "fits"),
    [("at_1", "at_1", True), ("at_1", "at_2", False), ("at_1", None, False), ("at_1", "", False)],
)
def test_at_a_protected_address_a_proof_names_the_token(bank: Bank, token: str, ath: str | None, fits: bool) -> None:
    proof = bank.prove("POST", PATH, token=ath) if ath else bank.prove("POST", PATH, ath=... if ath is None else "")
    if fits:
        verify(bank, proof, token=token)
    else:
        with pytest.raises(ProofRefused, match="ath"):
            verify(bank, proof, token=token)


@pytest.mark.parametrize("path", ["", "/prefix"])
def test_htu_is_the_address_as_the_outside_sees_it_with_its_prefix(bank: Bank, path: str) -> None:
    bank.issuer = ISSUER + path
    proof = bank.prove("POST", PATH)
    assert verify(bank, proof, url=f"{ISSUER}{path}{PATH}") == bank.proof_key.thumbprint()
    with pytest.raises(ProofRefused, match="htu"):
        verify(bank, bank.prove("POST", PATH), url=f"{ISSUER}/other{PATH}")


STALE: dict[str, Callable[[Bank], Any]] = {
    "none": lambda b: ...,
    "empty": lambda b: "",
    "invented": lambda b: "invented",
    "another server's": lambda b: Nonces(key=b"o" * 32).current(b.now),
    "two turns old": lambda b: b.authority.nonces.current(b.now - 2 * NONCE_LIFE),
    "of the next turn": lambda b: b.authority.nonces.current(b.now + NONCE_LIFE),
    "no text": lambda b: 7,
    "half a character": lambda b: "\ud800",
    "not ASCII": lambda b: "时",
}


@pytest.mark.parametrize("name", list(STALE))
def test_a_proof_without_a_fresh_nonce_of_this_server_is_asked_for_one(bank: Bank, name: str) -> None:
    with pytest.raises(NonceWanted):
        verify(bank, bank.prove("POST", PATH, nonce=STALE[name](bank)))
    assert count_rows(bank.engine, UsedJti) == 0


@pytest.mark.parametrize("age", [timedelta(0), NONCE_LIFE])
def test_a_nonce_of_this_turn_or_the_one_before_is_fresh(bank: Bank, age: timedelta) -> None:
    verify(bank, bank.prove("POST", PATH, nonce=bank.authority.nonces.current(bank.now - age)))


def test_where_no_nonce_is_required_a_proof_may_do_without_but_not_with_a_wrong_one(bank: Bank) -> None:
    relaxed = replace(bank.authority.nonces, required=False)
    verify(bank, bank.prove("POST", PATH, nonce=...), nonces=relaxed)
    with pytest.raises(NonceWanted):
        verify(bank, bank.prove("POST", PATH, nonce="invented"), nonces=relaxed)


def test_a_client_that_knows_no_nonce_learns_one_with_the_first_answer(bank: Bank) -> None:
    bank.nonce = None
    first = bank.ask_token(proofs=(bank.prove("POST", PATH),))
    assert first.outcome == (400, "use_dpop_nonce")
    assert first.headers["dpop-nonce"] == bank.nonce
    assert bank.ask_token(proofs=(bank.prove("POST", PATH),)).status == 200


def test_the_same_jti_of_two_keys_is_no_replay(bank: Bank) -> None:
    for key in (bank.proof_key, OTHER):
        verify(bank, bank.prove("POST", PATH, key=key, jti="same"))


def test_a_used_proof_is_remembered_for_as_long_as_it_could_be_used(bank: Bank) -> None:
    proof = bank.prove("POST", PATH, iat=int(bank.now.timestamp()) + NEWEST_S)
    verify(bank, proof)
    for seconds in (1, OLDEST_S + NEWEST_S - 1):
        bank.now += timedelta(seconds=seconds)
        with writing(bank.engine) as session:
            purge_ended(session, now=bank.now)
        with pytest.raises(ProofRefused, match="used before"):
            verify(bank, proof)
    bank.now += timedelta(seconds=1)
    with pytest.raises(ProofRefused, match="iat"):
        verify(bank, proof)


def test_of_twenty_workers_that_get_one_proof_one_accepts_it(bank: Bank) -> None:
    proof, barrier, outcomes = bank.prove("POST", PATH), threading.Barrier(20), []

    def send() -> None:
        barrier.wait()
        try:
            outcomes.append(verify(bank, proof))
        except ProofRefused as refused:
            outcomes.append(refused.description)

    threads = [threading.Thread(target=send) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == sorted([bank.proof_key.thumbprint()] + ["the proof was used before"] * 19)


def test_where_proofs_cannot_be_remembered_none_is_accepted(bank: Bank, engine: Engine) -> None:
    proof = bank.prove("POST", PATH)
    with writing(engine) as session:
        session.execute(text("DROP TABLE used_jti"))
    with pytest.raises(Exception, match="used_jti"):
        verify(bank, proof)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=4,
)
HEAD = st.dictionaries(st.sampled_from(["alg", "typ", "jwk", "crit", "b64", "kid", "zip"]), JSON, max_size=3)
BODY = st.dictionaries(st.sampled_from(["htm", "htu", "iat", "jti", "nonce", "ath", "exp"]), JSON, max_size=3)
JWK = st.dictionaries(st.sampled_from(["kty", "crv", "x", "y", "e", "n", "alg", "use", "key_ops"]), JSON, max_size=3)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(head=HEAD, body=BODY, jwk=JWK)
def test_whatever_a_proof_says_it_is_accepted_or_refused_and_nothing_else(
    bank: Bank, head: dict[str, Any], body: dict[str, Any], jwk: dict[str, Any]
) -> None:
    key = {**public(bank.proof_key), **jwk}
    claims = {**json.loads(decode_part(bank.prove("POST", PATH).split(".")[1])), **body}
    header = {"alg": "ES256", "typ": "dpop+jwt", "jwk": key, **head}
    data = ".".join(encode_part(json.dumps(part).encode()) for part in (header, claims))
    _accepted_or_refused(bank, f"{data}.{encode_part(sign_bytes('ES256', data.encode(), bank.proof_key))}")


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(place=st.integers(0, 10**6), bite=st.binary(min_size=1, max_size=4), cut=st.integers(0, 4))
def test_whatever_becomes_of_a_proofs_bytes_it_is_refused(bank: Bank, place: int, bite: bytes, cut: int) -> None:
    proof = sign_jwt(
        {"alg": "ES256", "typ": "dpop+jwt", "jwk": public(bank.proof_key)}, {"htm": "POST"}, bank.proof_key
    )
    at = place % len(proof)
    with pytest.raises((ProofRefused, NonceWanted)):
        verify(bank, proof[:at] + bite.decode("latin-1") + proof[at + cut :])


def _accepted_or_refused(bank: Bank, proof: str) -> None:
    try:
        thumbprint = verify(bank, proof)
    except (ProofRefused, NonceWanted):
        return
    assert thumbprint == bank.proof_key.thumbprint()
