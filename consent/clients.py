"""OAuth clients of the hub: registered from RFC 7591 metadata, found by id. I/O: `oauth_client`.

Confidential clients only, by private_key_jwt: the hub keeps their public keys and no secret of theirs.
"""

import json
import re
import secrets
import warnings
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from authlib.oauth2.rfc6749 import ClientMixin
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import KeySet
from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session
from sqlmodel import col

from consent.http import AnswerInvalid, origin_of
from consent.tables import OAuthClient

PERSON_SCOPES = ("account:read", "grams:use", "grams:pool")  # only with a person's grant, never by client_credentials
CLIENT_SCOPES = ("records:write", "blocks:write", "regulator", "grant_management_query", "grant_management_revoke")
SCOPES = PERSON_SCOPES + CLIENT_SCOPES
GRANT_TYPES = ("authorization_code", "client_credentials", "refresh_token")
ALGORITHM_OF_KEY = {"EC": ("ES256",), "RSA": ("PS256",), "OKP": ("EdDSA", "Ed25519")}
CURVE_OF_KEY = {"EC": "P-256", "OKP": "Ed25519"}
PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
SHORTEST_RSA_BITS = 2048
# RFC 3986, without what `origin_of` refuses. It ends in a Location and, up to the path, in the page's policy.
_ADDRESS = re.compile(
    r"https?://(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?(?:[/?][A-Za-z0-9._~!$&'()*+,;=:@%/?-]*)?"
)


class RegistrationRefused(ValueError):
    """The metadata cannot be registered; `error` is the code of RFC 7591, the message names the member."""

    def __init__(self, message: str, *, error: str = "invalid_client_metadata") -> None:
        super().__init__(message)
        self.error = error


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredClient(ClientMixin):  # type: ignore[misc]
    """A client as the protocol code asks it; everything is decided from what was registered."""

    client_id: str
    participant: str | None
    scopes: tuple[str, ...]
    grant_types: tuple[str, ...]
    redirect_uris: tuple[str, ...]
    keys: KeySet
    name: str
    shows_certificate: bool  # its tokens are bound to its TLS certificate, and not to a DPoP key

    def get_client_id(self) -> str:
        return self.client_id

    def get_default_redirect_uri(self) -> str | None:
        return None

    def get_allowed_scope(self, scope: str | None) -> str | None:
        """Asked and registered; None (refused) if nothing of it is left."""
        asked = self.scopes if not scope else tuple(scope.split())
        kept = [word for word in self.scopes if word in asked and word in CLIENT_SCOPES]
        return " ".join(kept) or None

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        return redirect_uri in self.redirect_uris

    def check_client_secret(self, client_secret: str) -> bool:
        return False

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method == "private_key_jwt"

    def check_response_type(self, response_type: str) -> bool:
        return response_type == "code" and "authorization_code" in self.grant_types

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type in self.grant_types


def register_client(
    session: Session,
    metadata: dict[str, Any],
    *,
    participant: str | None,
    now: datetime,
    management_hash: str | None = None,
) -> dict[str, Any]:
    """Register a client and return its information (RFC 7591 section 3.2.1).

    Args:
        metadata: the registration document; unknown members are kept out of what is registered.
        participant: the participant the client acts for, decided by the operator and never by the document.

    Raises:
        RegistrationRefused.
    """
    registered = require_metadata(metadata)
    client_id = "c_" + secrets.token_urlsafe(16)
    session.add(
        OAuthClient(
            client_id=client_id,
            participant=participant,
            management_hash=management_hash,
            created_at=now,
            **_columns(registered),
        )
    )
    session.flush()
    return {"client_id": client_id, "client_id_issued_at": int(now.timestamp()), **registered}


def update_client(session: Session, client_id: str, metadata: dict[str, Any]) -> dict[str, Any]:
    """Replace what a client registered (RFC 7592 section 2.2). Raises RegistrationRefused."""
    registered = require_metadata(metadata)
    row = session.get_one(OAuthClient, client_id)
    for name, value in _columns(registered).items():
        setattr(row, name, value)
    return client_information(row)


def client_information(row: OAuthClient) -> dict[str, Any]:
    """What a client is told about itself (RFC 7591 section 3.2.1)."""
    issued = int(row.created_at.timestamp())
    return {"client_id": row.client_id, "client_id_issued_at": issued, **json.loads(row.registration)}


def require_metadata(metadata: dict[str, Any]) -> dict[str, Any]:
    """Check a registration document and return what is registered of it. Raises RegistrationRefused."""
    grant_types = _texts(metadata, "grant_types", ["client_credentials"])
    scopes = _require_known("scope", str(metadata.get("scope", "")).split(), SCOPES)
    _require_known("grant_types", grant_types, GRANT_TYPES)
    if metadata.get("token_endpoint_auth_method", "private_key_jwt") != "private_key_jwt":
        raise RegistrationRefused("token_endpoint_auth_method must be private_key_jwt")
    if not scopes:
        raise RegistrationRefused("scope must name at least one scope")
    redirect_uris = [
        _require_address(uri, member="redirect_uris", error="invalid_redirect_uri")
        for uri in _texts(metadata, "redirect_uris", [])
    ]
    if "authorization_code" in grant_types and not redirect_uris:
        raise RegistrationRefused("redirect_uris is required with authorization_code", error="invalid_redirect_uri")
    registered = {
        "client_name": _require_name(metadata),
        "scope": " ".join(scopes),
        "grant_types": grant_types,
        "response_types": ["code"] if "authorization_code" in grant_types else [],
        "redirect_uris": redirect_uris,
        "token_endpoint_auth_method": "private_key_jwt",
        "jwks": _require_jwks(metadata),
        **_require_binding(metadata),
        "require_pushed_authorization_requests": True,
    }
    if "webhook_uri" in metadata:
        registered["webhook_uri"] = _require_address(str(metadata["webhook_uri"]), member="webhook_uri")
    if isinstance(metadata.get("software_id"), str) and metadata["software_id"].isprintable():
        registered["software_id"] = metadata["software_id"][:120]
    return registered


def _columns(registered: dict[str, Any]) -> dict[str, Any]:
    return {
        "client_name": registered["client_name"],
        "scope": registered["scope"],
        "grant_types": json.dumps(registered["grant_types"]),
        "redirect_uris": json.dumps(registered["redirect_uris"]),
        "jwks": json.dumps(registered["jwks"]),
        "registration": json.dumps(registered),
        "shows_certificate": registered["tls_client_certificate_bound_access_tokens"],
        "software_id": registered.get("software_id"),
    }


def load_client(session: Session, client_id: str) -> RegisteredClient | None:
    """A client that may act now; None if unknown or suspended. Asked anew every time: a suspension holds at once."""
    # A name of a stranger's choice: no database takes half a character as a value, and PostgreSQL no NUL.
    if not (client_id.isascii() and client_id.isprintable()):
        return None
    row = session.connection().execute(_CLIENT, {"client_id": client_id}).one_or_none()
    if row is None or row.suspended_at is not None:
        return None
    return RegisteredClient(
        client_id=client_id,
        participant=row.participant,
        scopes=tuple(row.scope.split()),
        grant_types=_words(row.grant_types),
        redirect_uris=_words(row.redirect_uris),
        keys=_keys(row.jwks),
        name=row.client_name,
        shows_certificate=row.shows_certificate,
    )


_CLIENT = select(OAuthClient.__table__).where(  # type: ignore[attr-defined]
    col(OAuthClient.client_id) == bindparam("client_id")
)


@lru_cache(maxsize=4096)
def _keys(jwks: str) -> KeySet:
    """Parsed once for each text that was ever registered; reading keys costs more than looking up the client."""
    return KeySet.import_key_set(json.loads(jwks))


@lru_cache(maxsize=4096)
def _words(text: str) -> tuple[str, ...]:
    return tuple(json.loads(text))


def _require_name(metadata: dict[str, Any]) -> str:
    name = metadata.get("client_name")
    if not isinstance(name, str) or not 1 <= len(name.strip()) <= 120 or not name.isprintable():
        raise RegistrationRefused("client_name must have 1 to 120 printable characters")
    return name.strip()


def _require_known(member: str, words: list[str], known: tuple[str, ...]) -> list[str]:
    unknown = [word for word in words if word not in known]
    if unknown:
        raise RegistrationRefused(f"{member} has the unknown value {unknown[0]!r}; known: {', '.join(known)}")
    return words


def _require_binding(metadata: dict[str, Any]) -> dict[str, bool]:
    """RFC 9449 section 5.2, RFC 8705 section 3.4: tokens are bound to a key, or to the client's TLS certificate."""
    by_certificate = metadata.get("tls_client_certificate_bound_access_tokens", False)
    if (
        by_certificate not in (True, False)
        or metadata.get("dpop_bound_access_tokens", not by_certificate) is by_certificate
    ):
        raise RegistrationRefused(
            "tokens are bound by dpop_bound_access_tokens or tls_client_certificate_bound_access_tokens"
        )
    return {
        "dpop_bound_access_tokens": not by_certificate,
        "tls_client_certificate_bound_access_tokens": by_certificate,
    }


def _texts(metadata: dict[str, Any], member: str, default: list[str]) -> list[str]:
    value = metadata.get(member, default)
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        raise RegistrationRefused(f"{member} must be a list of texts")
    return value


def _require_address(uri: str, *, member: str, error: str = "invalid_client_metadata") -> str:
    try:
        origin_of(uri)
    except AnswerInvalid as cause:
        raise RegistrationRefused(f"{member} must be plain https", error=error) from cause
    if not _ADDRESS.fullmatch(uri):
        raise RegistrationRefused(f"{member} has a character that it may not", error=error)
    return uri


def _require_jwks(metadata: dict[str, Any]) -> dict[str, Any]:
    """Public keys only, of the three kinds that FAPI 2.0 allows. A jwks_uri is not fetched: keys are registered."""
    jwks = metadata.get("jwks")
    keys = jwks.get("keys") if isinstance(jwks, dict) else None
    if not isinstance(keys, list) or not 1 <= len(keys) <= 8:
        raise RegistrationRefused("jwks must hold one to eight public keys")
    for key in keys:
        if not isinstance(key, dict) or str(key.get("kty")) not in ALGORITHM_OF_KEY or PRIVATE_MEMBERS & key.keys():
            raise RegistrationRefused("jwks must hold public EC, RSA or OKP keys and nothing private")
        if key.get("crv") != CURVE_OF_KEY.get(key["kty"]):
            raise RegistrationRefused("an EC key must be on P-256, an OKP key on Ed25519")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SecurityWarning)  # the length is judged below, as a refusal
            imported = KeySet.import_key_set({"keys": keys})
    except (JoseError, ValueError, KeyError, TypeError) as cause:
        raise RegistrationRefused("jwks holds a key that cannot be read") from cause
    rsa_keys = [key.raw_value for key in imported.keys if isinstance(key.raw_value, RSAPublicKey)]
    if any(key.key_size < SHORTEST_RSA_BITS for key in rsa_keys):
        raise RegistrationRefused(f"an RSA key must have at least {SHORTEST_RSA_BITS} bits")
    return {"keys": keys}
