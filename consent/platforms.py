"""A platform's authorization server as the hub sees it: configuration, discovery, and proving who the hub is.

I/O: network through the given client. Every address comes from the discovered metadata, whose issuer must be the
configured one byte for byte and whose endpoints must lie at a configured origin: a platform cannot make the hub send a
code, a token or an assertion to somebody else.
"""

import json
import secrets
from base64 import b64encode
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any
from urllib.parse import quote, urlsplit

from joserfc import jwt
from joserfc.jwk import ECKey

from consent.errors import ConsentError
from consent.http import AnswerInvalid, Http, fetch_json, origin_of, require_text
from consent.keyring import KeyRing, load_client_key

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ASSERTION_LIFE_S = 60
_REQUIRED_ENDPOINTS = ("authorization_endpoint", "token_endpoint")
_OPTIONAL_ENDPOINTS = ("userinfo_endpoint", "revocation_endpoint", "pushed_authorization_request_endpoint")


class PlatformRefused(ConsentError):
    """The platform's metadata may not be trusted; it must be set aside until an operator has looked."""


class PlatformBusy(ConsentError):
    """The platform could not answer now; nothing is known to be wrong with it or with the link."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformConfig:
    """How the hub is registered at one platform. `redirect_uri` differs per platform: a code never fits another one.

    `account_from` is `userinfo.<member>` or `token.<member>`: where the platform tells the account. What `par` and `dpop`
    ask for is never given up because a platform stopped offering it.
    """

    platform: str
    issuer: str
    client_id: str
    scopes: tuple[str, ...]
    redirect_uri: str
    client_secret: str | None = field(default=None, repr=False)  # None: private_key_jwt
    account_from: str = "userinfo.sub"
    endpoint_origins: tuple[str, ...] = ()  # besides the issuer's own
    par: bool = False  # the request is pushed (RFC 9126); also without it where the platform demands it
    dpop: bool = False  # tokens are bound to a key of the hub (RFC 9449)

    @property
    def context(self) -> str:
        """Name this registration: what one of them began, no other may finish."""
        parts = [self.platform, self.issuer, self.client_id, self.redirect_uri]
        return sha256(json.dumps(parts).encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformMetadata:
    """What of a platform's metadata is used. Two are equal if they name the same endpoints."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    userinfo_endpoint: str | None
    revocation_endpoint: str | None
    pushed_authorization_request_endpoint: str | None = None
    demands_par: bool = field(default=False, compare=False)


def discover(http: Http, config: PlatformConfig) -> PlatformMetadata:
    """Fetch RFC 8414 metadata, or OpenID discovery where there is none.

    What may be trusted is what was pinned: `platform_pins.trusted_metadata` compares the two.

    Raises:
        PlatformRefused: another issuer, an endpoint at a foreign origin, no usable document, or something that the
            hub needs or was told to use is not offered.
        PlatformBusy: it cannot answer now.
    """
    for url in _metadata_urls(config.issuer):
        try:
            answer = fetch_json(http, url)
        except AnswerInvalid as cause:
            raise PlatformRefused("unreadable metadata") from cause
        if answer.status == 200:
            return _parse_metadata(answer.document, config)
        if answer.status >= 500 or answer.status == 429:
            raise PlatformBusy(f"metadata answered {answer.status}")
        if answer.status != 404:
            raise PlatformRefused(f"metadata answered {answer.status}")
    raise PlatformRefused("no metadata")


def authenticate_client(
    keyring: KeyRing, config: PlatformConfig, *, now: datetime
) -> tuple[dict[str, str], dict[str, str]]:
    """Headers and form fields that prove the hub to the platform.

    An assertion is addressed to the issuer alone, as one string: addressed to an endpoint it could be replayed by a
    platform that names another's endpoint as its own.
    """
    if config.client_secret is not None:
        pair = f"{quote(config.client_id, safe='')}:{quote(config.client_secret, safe='')}"
        return {"authorization": "Basic " + b64encode(pair.encode()).decode()}, {}
    key = load_client_key(keyring, config.platform)
    assertion = sign_assertion(key, client_id=config.client_id, audience=config.issuer, now=now)
    form = {"client_id": config.client_id, "client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion}
    return {}, form


def sign_assertion(key: ECKey, *, client_id: str, audience: str, now: datetime) -> str:
    """A client assertion of RFC 7523 as FAPI 2.0 wants it: ES256, one minute, used once."""
    issued = int(now.timestamp())
    claims = {
        "iss": client_id,
        "sub": client_id,
        "aud": audience,
        "jti": secrets.token_urlsafe(16),
        "iat": issued,
        "exp": issued + ASSERTION_LIFE_S,
    }
    return jwt.encode({"alg": "ES256", "kid": key.kid}, claims, key, algorithms=["ES256"])


def client_jwks(keyring: KeyRing, platform: str) -> dict[str, Any]:
    """The public key set to register at a platform; a different key for every platform."""
    return {"keys": [load_client_key(keyring, platform).as_dict(private=False)]}


def _metadata_urls(issuer: str) -> list[str]:
    origin, path = issuer[: len(issuer) - len(urlsplit(issuer).path)], urlsplit(issuer).path.rstrip("/")
    return [
        f"{origin}/.well-known/oauth-authorization-server{path}",
        f"{issuer.rstrip('/')}/.well-known/openid-configuration",
    ]


def _parse_metadata(document: dict[str, Any], config: PlatformConfig) -> PlatformMetadata:
    if document.get("issuer") != config.issuer:
        raise PlatformRefused("the metadata is another issuer's")
    _require_offered(document, config)
    try:
        origins = {origin_of(url) for url in (config.issuer, *config.endpoint_origins)}
        required = {name: require_text(document, name) for name in _REQUIRED_ENDPOINTS}
        optional = {name: require_text(document, name) for name in _OPTIONAL_ENDPOINTS if name in document}
        foreign = [name for name, url in (required | optional).items() if origin_of(url) not in origins]
    except AnswerInvalid as cause:
        raise PlatformRefused("an endpoint is missing or unusable") from cause
    if foreign:
        raise PlatformRefused(f"{foreign[0]} is at a foreign origin")
    demands_par = document.get("require_pushed_authorization_requests") is True
    if (config.par or demands_par) and "pushed_authorization_request_endpoint" not in optional:
        raise PlatformRefused("the platform does not take pushed requests")
    return PlatformMetadata(
        issuer=config.issuer,
        authorization_endpoint=required["authorization_endpoint"],
        token_endpoint=required["token_endpoint"],
        userinfo_endpoint=optional.get("userinfo_endpoint"),
        revocation_endpoint=optional.get("revocation_endpoint"),
        pushed_authorization_request_endpoint=optional.get("pushed_authorization_request_endpoint"),
        demands_par=demands_par,
    )


def _require_offered(document: dict[str, Any], config: PlatformConfig) -> None:
    """What a list in the metadata leaves out is not offered; a list that is left out altogether says nothing."""
    method = "private_key_jwt" if config.client_secret is None else "client_secret_basic"
    needed = {"code_challenge_methods_supported": "S256", "token_endpoint_auth_methods_supported": method}
    if config.dpop:
        needed["dpop_signing_alg_values_supported"] = "ES256"
    for name, value in needed.items():
        offered = document.get(name, [value])
        if not isinstance(offered, list) or value not in offered:
            raise PlatformRefused(f"the platform does not offer {value} ({name})")
