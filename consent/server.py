"""The hub's authorization server: its endpoints that take a form. I/O: through the session given.

Authlib's AuthorizationServer, made for one request: it is synchronous and has no place for a session or a clock, so a
server is built around them (tens of microseconds) and thrown away. Grants are in codes.py, pushed requests in pushed.py.
"""

from datetime import datetime
from typing import Any

from authlib.oauth2.rfc6749 import AuthorizationServer
from authlib.oauth2.rfc6749.requests import OAuth2Request
from authlib.oauth2.rfc7009 import RevocationEndpoint
from authlib.oauth2.rfc7662 import IntrospectionEndpoint
from sqlalchemy.orm import Session

from consent.assertions import ClientAssertion
from consent.authority import Authority
from consent.clients import SCOPES, RegisteredClient, load_client
from consent.codes import ClientCredentials, Code, Refresh
from consent.deferred import read_client
from consent.details import load_details
from consent.pairwise import pairwise_subject
from consent.pushed import PushedRequests
from consent.requests import Answer, Posted, answer_json, parse_form
from consent.tokens import TokenInfo, find_access_token, find_refresh_token, revoke_token


class ConsentServer(AuthorizationServer):  # type: ignore[misc]
    """One request's server."""

    def __init__(self, session: Session, authority: Authority, now: datetime) -> None:
        super().__init__(scopes_supported=list(SCOPES))
        self.session, self.authority, self.now = session, authority, now

    def query_client(self, client_id: str) -> RegisteredClient | None:
        return read_client(self.session, client_id, load_client)

    def create_oauth2_request(self, request: OAuth2Request) -> OAuth2Request:
        return request

    def handle_response(self, status: int, body: Any, headers: Any) -> Answer:
        challenge = {name.lower(): value for name, value in headers or () if name.lower() == "www-authenticate"}
        return answer_json(status, body, headers=challenge)

    def send_signal(self, name: str, *args: Any, **kwargs: Any) -> None:
        return None


class Introspection(IntrospectionEndpoint):  # type: ignore[misc]
    """A client learns about its own tokens only; another's looks like none."""

    CLIENT_AUTH_METHODS = ("private_key_jwt",)

    def authenticate_token(self, request: OAuth2Request, client: RegisteredClient) -> TokenInfo | None:
        self.check_params(request, client)
        session, now, token = self.server.session, self.server.now, request.form["token"]
        info = find_access_token(session, token, now=now) or find_refresh_token(session, token, now=now)
        return info if info is not None and info.client_id == client.client_id else None

    def create_introspection_payload(self, token: TokenInfo | None) -> dict[str, Any]:
        if token is None:
            return {"active": False}
        authority: Authority = self.server.authority
        ends = token.expires_at or (token.grant.terms.valid_until if token.grant else None)
        told: dict[str, Any] = {
            "active": True,
            "iss": authority.issuer,
            "client_id": token.client_id,
            "scope": " ".join(sorted(token.scope)),
            "token_type": "DPoP" if token.binding.jkt else "Bearer",
            "cnf": token.binding.confirmation(),
            "iat": int(token.issued_at.timestamp()),
        }
        if ends is not None:
            told["exp"] = int(ends.timestamp())
        if token.grant is not None:
            told["sub"] = pairwise_subject(authority.keyring, token.client_id, token.grant.subject_id)
            told["grant_id"] = token.grant.grant_id
            told["authorization_details"] = [one.to_json() for one in load_details(token.grant.terms.details)]
        return told


class Revocation(RevocationEndpoint):  # type: ignore[misc]
    CLIENT_AUTH_METHODS = ("private_key_jwt",)

    def authenticate_token(self, request: OAuth2Request, client: RegisteredClient) -> str:
        self.check_params(request, client)
        token: str = request.form["token"]
        return token

    def revoke_token(self, token: str, request: OAuth2Request) -> None:
        revoke_token(self.server.session, token, client_id=request.client.client_id, now=self.server.now)


def build_server(session: Session, authority: Authority, now: datetime) -> ConsentServer:
    """Build the server of one request."""
    server = ConsentServer(session, authority, now)
    assertion = ClientAssertion(session, issuer=authority.issuer, now=now)
    server.register_client_auth_method("private_key_jwt", assertion)
    for grant in (Code, Refresh, ClientCredentials):
        server.register_grant(grant)
    for endpoint in (PushedRequests, Introspection, Revocation):
        server.register_endpoint(endpoint)
    return server


ENDPOINTS = {
    "/oauth/par": PushedRequests.ENDPOINT_NAME,
    "/oauth/introspect": Introspection.ENDPOINT_NAME,
    "/oauth/revoke": Revocation.ENDPOINT_NAME,
}


def answer_form(session: Session, authority: Authority, posted: Posted, now: datetime) -> Answer:
    """Answer a POST to /oauth/token or one of ENDPOINTS. Commit whatever the answer is."""
    request = parse_form(authority.issuer, posted)
    if isinstance(request, Answer):
        return request
    server = build_server(session, authority, now)
    answer: Answer
    if posted.path == "/oauth/token":
        answer = server.create_token_response(request)
    else:
        answer = server.create_endpoint_response(ENDPOINTS[posted.path], request)
    if posted.path in ("/oauth/token", "/oauth/par"):
        nonce = {"dpop-nonce": authority.nonces.current(now)}
        return Answer(status=answer.status, headers={**answer.headers, **nonce}, body=answer.body)
    return answer
