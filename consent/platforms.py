"""A platform's authorization server as the hub sees it: configuration, discovery, and proving who the hub is.

I/O: network through the given client. Every address comes from the discovered metadata, whose issuer must be the
configured one byte for byte and whose endpoints must lie at a configured origin: a platform cannot make the hub send a
code, a token or an assertion to somebody else.
"""

import secrets
from base64 import b64encode
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlsplit

from joserfc import jwt
from joserfc.jwk import ECKey

from consent.errors import ConsentError
from consent.http import AnswerInvalid, Http, fetch_json, origin_of, require_text
from consent.keyring import KeyRing, load_client_key

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ASSERTION_LIFE_S = 60


class PlatformRefused(ConsentError):
    """The platform's metadata may not be trusted; it must be set aside until an operator has looked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformConfig:
    """How the hub is registered at one platform. `redirect_uri` differs per platform: a code never fits another one.

    `account_from` is `userinfo.<member>` or `token.<member>`: where the platform tells the account.
    """

    platform: str
    issuer: str
    client_id: str
    scopes: tuple[str, ...]
    redirect_uri: str
    client_secret: str | None = field(default=None, repr=False)  # None: private_key_jwt
    account_from: str = "userinfo.sub"
    endpoint_origins: tuple[str, ...] = ()  # besides the issuer's own


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformMetadata:
    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    userinfo_endpoint: str | None
    revocation_endpoint: str | None


def discover(http: Http, config: PlatformConfig) -> PlatformMetadata:
    """Fetch RFC 8414 metadata, or OpenID discovery where there is none.

    Raises:
        PlatformRefused: another issuer, an endpoint at a foreign origin, S256 not offered, or no usable document.
    """
    for url in _metadata_urls(config.issuer):
        try:
            status, document = fetch_json(http, url)
        except AnswerInvalid as cause:
            raise PlatformRefused("unreadable metadata") from cause
        if status == 200:
            return _parse_metadata(document, config)
        if status != 404:
            raise PlatformRefused(f"metadata answered {status}")
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
    methods = document.get("code_challenge_methods_supported", ["S256"])
    if not isinstance(methods, list) or "S256" not in methods:
        raise PlatformRefused("the platform does not offer PKCE with S256")
    try:
        origins = {origin_of(url) for url in (config.issuer, *config.endpoint_origins)}
        required = {name: require_text(document, name) for name in ("authorization_endpoint", "token_endpoint")}
        optional = {
            name: require_text(document, name)
            for name in ("userinfo_endpoint", "revocation_endpoint")
            if name in document
        }
        foreign = [name for name, url in (required | optional).items() if origin_of(url) not in origins]
    except AnswerInvalid as cause:
        raise PlatformRefused("an endpoint is missing or unusable") from cause
    if foreign:
        raise PlatformRefused(f"{foreign[0]} is at a foreign origin")
    return PlatformMetadata(
        issuer=config.issuer,
        authorization_endpoint=required["authorization_endpoint"],
        token_endpoint=required["token_endpoint"],
        userinfo_endpoint=optional.get("userinfo_endpoint"),
        revocation_endpoint=optional.get("revocation_endpoint"),
    )
