"""An OAuth client of the hub, as its developers would write it and as an attacker would: signs by hand, sends anything."""

import hmac
import json
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from joserfc.jwk import ECKey, OKPKey, RSAKey
from sqlalchemy import Engine, text
from sqlmodel import SQLModel

from consent.authority import Authority
from consent.authorize import Decision, approve, refuse
from consent.clients import register_client
from consent.details import Known
from consent.dpop import Nonces
from consent.keyring import KeyRing
from consent.pushed import PREFIX, load_pushed
from consent.requests import FORM, Posted
from consent.server import answer_form
from consent.tables import AccessToken
from consent.terms import Assurance, Sensitive
from consent.tokens import ApiCall, TokenInfo, TokenRefused, require_token
from hub.changes import log_consent_change
from hub.context import Hub
from hub.db import reading, writing

ISSUER = "https://hub.example"
EC = ECKey.generate_key("P-256", {"kid": "ec"})
ED = OKPKey.generate_key("Ed25519", {"kid": "ed"})
RSA = RSAKey.generate_key(2048, {"kid": "rsa"})
OTHER = ECKey.generate_key("P-256", {"kid": "ec"})
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
REDIRECT = "https://bank.example/cb"
VERIFIER = "a-verifier-of-forty-three-characters-or-more-"
TYPE = "tanlian_account"
EVERY_SCOPE = "account:read grams:use records:write grant_management_query grant_management_revoke"
METADATA = {
    "client_name": "一家银行",
    "scope": EVERY_SCOPE,
    "grant_types": ["client_credentials", "authorization_code", "refresh_token"],
    "redirect_uris": [REDIRECT],
    "token_endpoint_auth_method": "private_key_jwt",
    "jwks": {"keys": [key.as_dict(private=False) for key in (EC, ED, RSA)]},
}
KNOWN = Known(
    behaviours=frozenset({"MOB-BIKE", "MOB-METRO", "FOOD-CLEANPLATE", "FIN-BILLPAY"}),
    platforms=frozenset({"citic-carbon", "beijing-green-life"}),
)


def encode_part(part: bytes) -> str:
    return urlsafe_b64encode(part).decode().rstrip("=")


def decode_part(part: str) -> bytes:
    return urlsafe_b64decode(part + "==")


def sign_bytes(alg: str, data: bytes, key: Any) -> bytes:
    """Sign as the algorithm says, also where no library would: with `none`, or a public key as an HMAC's secret."""
    if alg == "none":
        return b""
    if alg.startswith("HS"):
        return hmac.digest(key, data, "sha256")
    raw = key.private_key
    if alg.startswith("ES"):
        r, s = decode_dss_signature(raw.sign(data, ec.ECDSA(SHA256())))
        size = (raw.key_size + 7) // 8
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")
    if alg.startswith("PS"):
        return bytes(raw.sign(data, padding.PSS(padding.MGF1(SHA256()), 32), SHA256()))
    if alg.startswith("RS"):
        return bytes(raw.sign(data, padding.PKCS1v15(), SHA256()))
    return bytes(raw.sign(data))


def sign_jwt(header: Mapping[str, Any], claims: Any, key: Any) -> str:
    """Make a compact JWS of anything."""
    parts = [encode_part(json.dumps(part).encode()) for part in (header, claims)]
    signature = sign_bytes(str(header.get("alg")), ".".join(parts).encode(), key)
    return ".".join([*parts, encode_part(signature)])


def given(members: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out the members that were set to `...`."""
    return {name: value for name, value in members.items() if value is not ...}


def challenge_of(verifier: str) -> str:
    return encode_part(sha256(verifier.encode()).digest())


def make_authority(ring: KeyRing, **changed: Any) -> Authority:
    """An authority of its own, without a hub."""
    parts = {
        "issuer": ISSUER, "keyring": ring, "nonces": Nonces(key=b"n" * 32), "known": lambda _session: KNOWN,
        "look_back": timedelta(days=92),
    }  # fmt: skip
    return Authority(**{**parts, **changed})


@dataclass(frozen=True, slots=True)
class Told:
    """An answer; `document` is the JSON in it."""

    status: int
    headers: Mapping[str, str]
    document: Any

    @property
    def error(self) -> str:
        return str(self.document.get("error", ""))

    @property
    def outcome(self) -> tuple[int, str]:
        return self.status, self.error


class Client:
    """A client with its keys. `send` is the way to the hub; the nonce is learned from its answers, as RFC 9449 says.

    Where `hub` is set, the decisions of people are logged as the hub logs them.
    """

    engine: Engine
    hub: Hub | None = None

    def __init__(self, issuer: str, client_id: str) -> None:
        self.issuer, self.client_id = issuer, client_id
        self.key: Any = EC
        self.proof_key: Any = ECKey.generate_key("P-256")
        self.nonce: str | None = None
        self.now: datetime

    def send(self, posted: Posted) -> Told:
        raise NotImplementedError

    def claims(self, **changed: Any) -> dict[str, Any]:
        issued = int(self.now.timestamp())
        claims = {
            "iss": self.client_id, "sub": self.client_id, "aud": self.issuer, "jti": secrets.token_hex(8),
            "iat": issued, "exp": issued + 60,
        }  # fmt: skip
        return given({**claims, **changed})

    def sign(self, claims: dict[str, Any], key: Any = None, alg: str = "ES256", **header: Any) -> str:
        return sign_jwt({"alg": alg, **header}, claims, key or self.key)

    def form(self, **fields: Any) -> dict[str, str]:
        """What proves the client, and more; `...` takes a field away."""
        proved = {
            "client_assertion_type": ASSERTION,
            "client_assertion": fields.get("client_assertion") or self.sign(self.claims()),
        }
        return given({**proved, **fields})

    def prove(
        self,
        method: str,
        path: str,
        *,
        token: str | None = None,
        key: Any = None,
        header: Mapping[str, Any] | None = None,
        **changed: Any,
    ) -> str:
        """A DPoP proof; whatever is named is changed, `...` takes it away."""
        key = key or self.proof_key
        head = {"alg": "ES256", "typ": "dpop+jwt", "jwk": key.as_dict(private=False), **(header or {})}
        claims = {
            "htm": method, "htu": self.issuer + path, "jti": secrets.token_hex(8), "iat": int(self.now.timestamp()),
            "nonce": self.nonce or ..., "ath": challenge_of(token) if token else ..., **changed,
        }  # fmt: skip
        return sign_jwt(given(head), given(claims), key)

    def post(
        self,
        path: str,
        fields: Mapping[str, Any] | None = None,
        *,
        proofs: Sequence[str] | None = None,
        certificate: str | None = None,
    ) -> Told:
        """Send a form; without proofs of the test's own one is made, and once more with the nonce that is asked for."""
        for last in (False, True):
            shown = [self.prove("POST", path)] if proofs is None else proofs
            body = urlencode(self.form(**(fields or {}))).encode()
            told = self.send(
                Posted(path=path, content_type=FORM, body=body, proofs=tuple(shown), certificate=certificate)
            )
            self.nonce = told.headers.get("dpop-nonce", self.nonce)
            if last or proofs is not None or told.error != "use_dpop_nonce" or "client_assertion" in (fields or {}):
                break
        assert "no-store" in told.headers["cache-control"]
        return told

    def ask_token(self, scope: str = "records:write", **more: Any) -> Told:
        """Client credentials."""
        kept = {name: more.pop(name) for name in ("proofs", "certificate") if name in more}
        return self.post("/oauth/token", {"grant_type": "client_credentials", "scope": scope, **more}, **kept)

    def token(self, scope: str = "records:write") -> str:
        told = self.ask_token(scope)
        assert told.status == 200, told.document
        return str(told.document["access_token"])

    def push(self, **changed: Any) -> Told:
        """Push an authorization request; details may be given as what they are."""
        kept = {name: changed.pop(name) for name in ("proofs",) if name in changed}
        if isinstance(changed.get("authorization_details"), list):
            changed["authorization_details"] = json.dumps(changed["authorization_details"])
        asked = {
            "response_type": "code", "redirect_uri": REDIRECT, "scope": "account:read", "state": "st",
            "code_challenge": challenge_of(VERIFIER), "code_challenge_method": "S256",
        }  # fmt: skip
        return self.post("/oauth/par", {**asked, **changed}, **kept)

    def redeem(self, code: str, /, **changed: Any) -> Told:
        kept = {name: changed.pop(name) for name in ("proofs", "certificate") if name in changed}
        fields = {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT, "code_verifier": VERIFIER}
        return self.post("/oauth/token", {**fields, **changed}, **kept)

    def refresh(self, token: str, /, **changed: Any) -> Told:
        kept = {name: changed.pop(name) for name in ("proofs", "certificate") if name in changed}
        return self.post("/oauth/token", {"grant_type": "refresh_token", "refresh_token": token, **changed}, **kept)

    def introspect(self, token: str) -> Told:
        return self.post("/oauth/introspect", {"token": token})

    def is_active(self, token: str) -> bool:
        return bool(self.introspect(token).document["active"])

    def decide(
        self,
        subject_id: int,
        request_uri: str,
        *,
        yes: bool = True,
        agreed: frozenset[Sensitive] = frozenset(Sensitive),
        chosen: frozenset[int] | None = None,
    ) -> dict[str, str]:
        """A person decides; returns what the client is told at its address."""
        with writing(self.engine) as session:
            pushed = load_pushed(session, client_id=self.client_id, request_uri=request_uri, now=self.now)
            assert pushed is not None, "the request cannot be decided any more"
            decision = Decision(
                subject_id=subject_id, assurance=Assurance.PASSWORD, notice_version="share-1@test", language="en",
                agreed=agreed, chosen=frozenset(range(len(pushed.details))) if chosen is None else chosen,
            )  # fmt: skip
            act = approve if yes else refuse
            address, changes = act(session, pushed, decision, issuer=self.issuer, now=self.now)
            for change in changes if self.hub else ():
                log_consent_change(session, change, self.now, hub=self.hub)
        assert address.startswith(REDIRECT + "?")
        return dict(parse_qsl(urlsplit(address).query))

    def code(self, subject_id: int, **asked: Any) -> str:
        """Ask a person who says yes to everything, or to what is named; returns the code."""
        said = {name: asked.pop(name) for name in ("agreed", "chosen") if name in asked}
        told = self.push(**asked)
        assert told.status == 201, told.document
        return self.decide(subject_id, told.document["request_uri"], **said)["code"]

    def consented(self, subject_id: int, **asked: Any) -> dict[str, Any]:
        """The whole road to tokens."""
        told = self.redeem(self.code(subject_id, **asked))
        assert told.status == 200, told.document
        return dict(told.document)


class Bank(Client):
    """A registered client that talks to the authorization server itself, without HTTP; people decide as told."""

    def __init__(
        self, engine: Engine, authority: Authority, now: datetime, *, participant: str | None = None, **changed: Any
    ) -> None:
        metadata = given({**METADATA, **changed})
        with writing(engine) as session:
            registered = register_client(session, metadata, participant=participant, now=now)
        super().__init__(authority.issuer, registered["client_id"])
        self.engine, self.authority, self.now = engine, authority, now
        self.nonce = authority.nonces.current(now)

    def send(self, posted: Posted) -> Told:
        with writing(self.engine) as session:
            answer = answer_form(session, self.authority, posted, self.now)
        return Told(answer.status, answer.headers, json.loads(answer.body))

    def check(self, call: ApiCall, scope: str = "account:read") -> TokenInfo:
        """What a protected address would find out about a request; raises TokenRefused."""
        refused: TokenRefused | None = None
        with writing(self.engine) as session:
            try:
                return require_token(
                    session, call, scope=scope, issuer=self.issuer, nonces=self.authority.nonces, now=self.now
                )  # fmt: skip
            except TokenRefused as error:
                refused = error
        raise refused

    def use(self, token: str, scope: str = "account:read", **proof: Any) -> TokenInfo:
        """Call a protected address with a token and a proof."""
        self.nonce = self.authority.nonces.current(self.now)
        shown = self.prove("GET", "/v1/account", token=token, **proof)
        call = ApiCall(
            method="GET", url=self.issuer + "/v1/account", authorization=f"DPoP {token}", proofs=(shown,)
        )  # fmt: skip
        return self.check(call, scope)

    def works(self, token: str, scope: str = "account:read") -> bool:
        try:
            self.use(token, scope)
        except TokenRefused:
            return False
        return True


def count_rows(engine: Engine, table: type[SQLModel] = AccessToken) -> int:
    with reading(engine) as session:
        return int(session.execute(text(f"SELECT COUNT(*) FROM {table.__tablename__}")).scalar_one())


@cache
def _tables() -> tuple[str, ...]:
    return tuple(table.name for table in SQLModel.metadata.sorted_tables)


def dump(engine: Engine) -> str:
    """Every value of every table, as a thief of the database would read it."""
    with reading(engine) as session:
        rows = [session.execute(text(f"SELECT * FROM {name}")).all() for name in _tables()]
    return "\n".join(repr(tuple(row)) for table in rows for row in table)


def unknown_request_uri() -> str:
    return PREFIX + "pr_" + secrets.token_urlsafe(32)
