"""The hub's authorization server: token, introspection, revocation, metadata, keys. I/O: through the session given.

Authlib's AuthorizationServer, made for one request: it is synchronous and has no place for a session or a clock, so a
server is built around them (tens of microseconds) and thrown away. What is to come slots in as further grants and
endpoints of `build_server`: nothing here knows how many there are.

The address of a request is made from the configured issuer, never from Host or X-Forwarded headers.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl

from authlib.oauth2.rfc6749 import AuthorizationServer, ClientCredentialsGrant, InvalidScopeError
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload, OAuth2Request
from authlib.oauth2.rfc6750 import BearerTokenGenerator
from authlib.oauth2.rfc7009 import RevocationEndpoint
from authlib.oauth2.rfc7662 import IntrospectionEndpoint
from sqlalchemy.orm import Session

from consent.assertions import ALGORITHMS, ClientAssertion
from consent.clients import CLIENT_SCOPES, RegisteredClient, load_client
from consent.keyring import KeyRing
from consent.tokens import TOKEN_LIFE, TokenInfo, find_token, new_token, revoke_token, store_token

FORM = "application/x-www-form-urlencoded"
FORM_BYTES = 32 * 1024
FORM_FIELDS = 32
# RFC 6749 5.2: what an error text may hold; other bytes in a parameter would end as an error of ours
PARAMETER = re.compile(r"[\x20-\x21\x23-\x5b\x5d-\x7e]*")
NO_STORE = {"content-type": "application/json", "cache-control": "no-store", "pragma": "no-cache"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An HTTP answer without a framework. Commit the transaction whatever the status: a used assertion stays used."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class FormRequest(OAuth2Request):  # type: ignore[misc]
    """A POST whose parameters come from its body alone, each once."""

    def __init__(self, uri: str, form: dict[str, str]) -> None:
        super().__init__("POST", uri)
        self.payload = BasicOAuth2Payload(form)
        self._form = form

    @property
    def form(self) -> dict[str, str]:
        return self._form


class ConsentServer(AuthorizationServer):  # type: ignore[misc]
    """One request's server."""

    def __init__(self, session: Session, *, issuer: str, now: datetime) -> None:
        super().__init__(scopes_supported=list(CLIENT_SCOPES))
        self.session, self.issuer, self.now = session, issuer, now

    def query_client(self, client_id: str) -> RegisteredClient | None:
        return load_client(self.session, client_id)

    def save_token(self, token: dict[str, Any], request: OAuth2Request) -> None:
        store_token(
            self.session, token["access_token"], client=request.client, scope=token.get("scope", ""), now=self.now
        )

    def create_oauth2_request(self, request: OAuth2Request) -> OAuth2Request:
        return request

    def handle_response(self, status: int, body: Any, headers: Any) -> Answer:
        return Answer(status=status, headers=NO_STORE, body=json.dumps(body).encode())

    def send_signal(self, name: str, *args: Any, **kwargs: Any) -> None:
        return None


class ClientCredentials(ClientCredentialsGrant):  # type: ignore[misc]
    TOKEN_ENDPOINT_AUTH_METHODS = ("private_key_jwt",)

    def validate_requested_scope(self) -> None:
        """Refuse what the client may not have, rather than leave it out unsaid."""
        super().validate_requested_scope()
        asked = set((self.request.payload.scope or "").split())
        if not asked <= set(self.request.client.scopes):
            raise InvalidScopeError


class Introspection(IntrospectionEndpoint):  # type: ignore[misc]
    """A client learns about its own tokens only; another's looks like none."""

    CLIENT_AUTH_METHODS = ("private_key_jwt",)

    def authenticate_token(self, request: OAuth2Request, client: RegisteredClient) -> TokenInfo | None:
        self.check_params(request, client)
        info = find_token(self.server.session, request.form["token"], now=self.server.now)
        return info if info is not None and info.client_id == client.client_id else None

    def create_introspection_payload(self, token: TokenInfo | None) -> dict[str, Any]:
        if token is None:
            return {"active": False}
        return {
            "active": True,
            "client_id": token.client_id,
            "scope": " ".join(sorted(token.scope)),
            "token_type": "Bearer",
            "exp": int(token.expires_at.timestamp()),
            "iss": self.server.issuer,
        }


class Revocation(RevocationEndpoint):  # type: ignore[misc]
    CLIENT_AUTH_METHODS = ("private_key_jwt",)

    def authenticate_token(self, request: OAuth2Request, client: RegisteredClient) -> str:
        self.check_params(request, client)
        token: str = request.form["token"]
        return token

    def revoke_token(self, token: str, request: OAuth2Request) -> None:
        revoke_token(self.server.session, token, client_id=request.client.client_id, now=self.server.now)


def build_server(session: Session, *, issuer: str, now: datetime) -> ConsentServer:
    server = ConsentServer(session, issuer=issuer, now=now)
    server.register_client_auth_method("private_key_jwt", ClientAssertion(session, issuer=issuer, now=now))
    server.register_token_generator("default", BearerTokenGenerator(_new_token, expires_generator=_token_life))
    server.register_grant(ClientCredentials)
    server.register_endpoint(Introspection)
    server.register_endpoint(Revocation)
    return server


def answer_token(session: Session, *, issuer: str, content_type: str, body: bytes, now: datetime) -> Answer:
    """POST /oauth/token"""
    request = _parse_request(f"{issuer}/oauth/token", content_type, body)
    if isinstance(request, Answer):
        return request
    answer: Answer = build_server(session, issuer=issuer, now=now).create_token_response(request)
    return answer


def answer_introspect(session: Session, *, issuer: str, content_type: str, body: bytes, now: datetime) -> Answer:
    """POST /oauth/introspect"""
    return _answer_endpoint("introspection", "introspect", session, issuer, content_type, body, now)


def answer_revoke(session: Session, *, issuer: str, content_type: str, body: bytes, now: datetime) -> Answer:
    """POST /oauth/revoke"""
    return _answer_endpoint("revocation", "revoke", session, issuer, content_type, body, now)


def server_metadata(issuer: str) -> dict[str, Any]:
    """The RFC 8414 document. It names what is there and nothing else."""
    signing = list(ALGORITHMS)
    return {
        "issuer": issuer,
        "token_endpoint": f"{issuer}/oauth/token",
        "introspection_endpoint": f"{issuer}/oauth/introspect",
        "revocation_endpoint": f"{issuer}/oauth/revoke",
        "jwks_uri": f"{issuer}/oauth/jwks",
        "scopes_supported": list(CLIENT_SCOPES),
        "response_types_supported": [],
        "grant_types_supported": ["client_credentials"],
        "token_endpoint_auth_methods_supported": ["private_key_jwt"],
        "token_endpoint_auth_signing_alg_values_supported": signing,
        "introspection_endpoint_auth_methods_supported": ["private_key_jwt"],
        "introspection_endpoint_auth_signing_alg_values_supported": signing,
        "revocation_endpoint_auth_methods_supported": ["private_key_jwt"],
        "revocation_endpoint_auth_signing_alg_values_supported": signing,
    }


def server_jwks(keyring: KeyRing) -> dict[str, Any]:
    """Public halves of all signing keys, so that what an older one signed still verifies."""
    return {"keys": [key.as_dict(private=False) for key in keyring.oauth]}


def _answer_endpoint(
    name: str, path: str, session: Session, issuer: str, content_type: str, body: bytes, now: datetime
) -> Answer:
    request = _parse_request(f"{issuer}/oauth/{path}", content_type, body)
    if isinstance(request, Answer):
        return request
    answer: Answer = build_server(session, issuer=issuer, now=now).create_endpoint_response(name, request)
    return answer


def _parse_request(uri: str, content_type: str, body: bytes) -> FormRequest | Answer:
    """RFC 6749 3.2: a form, each parameter at most once, an empty one as if it were absent."""
    if content_type.partition(";")[0].strip().lower() != FORM or len(body) > FORM_BYTES:
        return _invalid_request("the body must be a form")
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=FORM_FIELDS, errors="strict")
    except ValueError:
        return _invalid_request("the form cannot be read")
    if len({name for name, _ in pairs}) != len(pairs):
        return _invalid_request("a parameter is repeated")
    if not all(PARAMETER.fullmatch(value) for _, value in pairs):
        return _invalid_request("a parameter holds a character that it may not")
    return FormRequest(uri, {name: value for name, value in pairs if value})


def _invalid_request(description: str) -> Answer:
    body = {"error": "invalid_request", "error_description": description}
    return Answer(status=400, headers=NO_STORE, body=json.dumps(body).encode())


def _new_token(**_: Any) -> str:
    return new_token()


def _token_life(_client: RegisteredClient, _grant_type: str) -> int:
    return int(TOKEN_LIFE.total_seconds())
