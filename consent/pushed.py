"""Pushed authorization requests (RFC 9126): the only way to begin an authorization here. I/O: `par_request`.

Everything about a request is judged here, while the client is on the line and can be told in JSON. The browser carries
only its client id and the one-time name of the request.
"""

import json
import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc6749 import InvalidRequestError, InvalidScopeError, UnauthorizedClientError
from authlib.oauth2.rfc6749.endpoint import Endpoint
from authlib.oauth2.rfc6749.errors import UnsupportedResponseTypeError
from sqlalchemy import update
from sqlalchemy.orm import Session
from sqlmodel import col

from consent.clients import RegisteredClient, load_client
from consent.details import SCOPE_OF, SCOPES, Detail, DetailsRefused, dump_details, load_details, parse_details
from consent.dpop import ProofRefused, verify_proof
from consent.grants import GrantState, find_client_grant
from consent.keyring import token_hash
from consent.requests import FormRequest
from consent.tables import ParRequest
from consent.tokens import new_token

PREFIX = "urn:ietf:params:oauth:request_uri:"
LIFE = timedelta(seconds=90)  # until a browser comes with it
DECISION_LIFE = timedelta(seconds=590)  # once one came, for signing in and reading; FAPI 2.0 5.3.2.2-12: below 600 s
ACTIONS = ("create", "merge", "replace")  # Grant Management for OAuth 2.0, section 5.2
STATE_CHARS = 4096
_S256 = re.compile(r"[A-Za-z0-9_-]{43}")


class GrantIdRefused(OAuth2Error):  # type: ignore[misc]
    """The grant to merge into or replace is not one of this client's that is in force."""

    error = "invalid_grant_id"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Who asks for what. `digest` is of the words in which the client asked, before what it left open was filled in."""

    client: RegisteredClient
    scope: str
    details: tuple[Detail, ...]
    action: str
    grant_id: str | None
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed(Asked):
    """A request that waits for the person's decision, and where the answer goes."""

    request_hash: str = field(repr=False)
    redirect_uri: str
    state: str | None
    code_challenge: str
    dpop_jkt: str | None


class PushedRequests(Endpoint):  # type: ignore[misc]
    """POST /oauth/par"""

    ENDPOINT_NAME = "pushed_authorization_request"

    def create_endpoint_response(self, request: FormRequest) -> tuple[int, dict[str, Any], Any]:
        client = self.server.authenticate_client(request, ("private_key_jwt",), self.ENDPOINT_NAME)
        _require_request(request.form, client)
        details = self._details(request.form, client)
        scope = _granted_scope(request.form, client, details)
        action, grant_id = self._grant(request.form, client)
        name = new_token("pr")
        parameters = {
            "redirect_uri": request.form["redirect_uri"],
            "scope": scope,
            "state": request.form.get("state"),
            "code_challenge": request.form["code_challenge"],
            "details": dump_details(details),
            "action": action,
            "grant_id": grant_id,
            "digest": _digest(request.form.get("authorization_details"), scope, action, grant_id),
        }
        session, now = self.server.session, self.server.now
        session.add(
            ParRequest(
                request_hash=token_hash(name), client_id=client.client_id, parameters=json.dumps(parameters),
                dpop_jkt=self._key(request), created_at=now, expires_at=now + LIFE,
            )
        )  # fmt: skip
        return 201, {"request_uri": PREFIX + name, "expires_in": int(LIFE.total_seconds())}, None

    def _details(self, form: dict[str, str], client: RegisteredClient) -> tuple[Detail, ...]:
        authority = self.server.authority
        asked = _asked_scopes(form, client)
        details = parse_details(
            form.get("authorization_details"), scopes=asked, known=authority.known(self.server.session),
            now=self.server.now, look_back=authority.look_back,
        )  # fmt: skip
        if not {SCOPE_OF[action] for one in details for action in one.actions} <= set(client.scopes):
            raise DetailsRefused("actions has a value that this client is not registered for")
        return details

    def _grant(self, form: dict[str, str], client: RegisteredClient) -> tuple[str, str | None]:
        action, grant_id = form.get("grant_management_action"), form.get("grant_id")
        if action is None or action == "create":
            if grant_id is not None:
                raise InvalidRequestError("grant_id needs grant_management_action merge or replace")
            return "create", None
        if action not in ACTIONS or grant_id is None:
            raise InvalidRequestError("grant_management_action is not known, or grant_id is missing")
        grant = find_client_grant(self.server.session, grant_id=grant_id, client_id=client.client_id)
        if grant is None or grant.state is not GrantState.ACTIVE:
            raise GrantIdRefused(description="there is no such grant")
        return action, grant_id

    def _key(self, request: FormRequest) -> str | None:
        """The key that the code will be bound to: named by `dpop_jkt`, proved by a DPoP header, or both and equal."""
        named, posted = request.form.get("dpop_jkt"), request.posted
        if named is not None and not _S256.fullmatch(named):
            raise InvalidRequestError("dpop_jkt is no thumbprint")
        if not posted.proofs:
            return named
        authority = self.server.authority
        proved = verify_proof(
            self.server.session, posted.proofs, method="POST", url=authority.issuer + posted.path,
            nonces=authority.nonces, now=self.server.now,
        )  # fmt: skip
        if named not in (None, proved):
            raise ProofRefused("dpop_jkt names another key than the proof's")
        return proved


def load_pushed(session: Session, *, client_id: str, request_uri: str, now: datetime) -> Pushed | None:
    """A request that may still be decided. It is not used up by looking: a page can be loaded twice."""
    if not request_uri.startswith(PREFIX) or len(request_uri) > 200:
        return None
    row = session.get(ParRequest, token_hash(request_uri.removeprefix(PREFIX)))
    if row is None or row.client_id != client_id or row.used_at is not None or row.expires_at <= now:
        return None
    client = load_client(session, client_id)
    if client is None:
        return None
    told = json.loads(row.parameters)
    return Pushed(
        request_hash=row.request_hash,
        client=client,
        redirect_uri=told["redirect_uri"],
        scope=told["scope"],
        state=told["state"],
        code_challenge=told["code_challenge"],
        dpop_jkt=row.dpop_jkt,
        details=load_details(told["details"]),
        action=told["action"],
        grant_id=told["grant_id"],
        digest=told.get("digest", row.request_hash),  # pushed by an older version: like nothing but itself
    )


def give_time(session: Session, pushed: Pushed) -> None:
    """A browser came with the request: let the person read before it is over."""
    row = session.get_one(ParRequest, pushed.request_hash)
    row.expires_at = max(row.expires_at, row.created_at + DECISION_LIFE)


def use_up(session: Session, pushed: Pushed, now: datetime) -> bool:
    """Take the request for a decision; True for exactly one of any number of racing callers."""
    mine = (col(ParRequest.request_hash) == pushed.request_hash, col(ParRequest.used_at).is_(None))
    used = session.execute(update(ParRequest).where(*mine).values(used_at=now))
    return bool(used.rowcount == 1)  # type: ignore[attr-defined]


def _require_request(form: dict[str, str], client: RegisteredClient) -> None:
    if "request" in form or "request_uri" in form:
        raise InvalidRequestError("request objects are not taken")
    if "response_type" not in form:
        raise InvalidRequestError("response_type is missing")
    if form["response_type"] != "code":
        raise UnsupportedResponseTypeError("only the response type code is offered")
    if not client.check_response_type("code"):
        raise UnauthorizedClientError("this client is not registered for codes")
    if not client.check_redirect_uri(form.get("redirect_uri", "")):
        raise InvalidRequestError("redirect_uri is missing or not registered")
    if form.get("code_challenge_method") != "S256" or not _S256.fullmatch(form.get("code_challenge", "")):
        raise InvalidRequestError("code_challenge with method S256 is needed")  # FAPI 2.0 5.3.2.2-5
    if len(form.get("state", "")) > STATE_CHARS:
        raise InvalidRequestError("state is too long")


def _asked_scopes(form: dict[str, str], client: RegisteredClient) -> list[str]:
    asked = form.get("scope", "").split()
    if not set(asked) <= set(client.scopes):
        raise InvalidScopeError
    return asked


def _digest(details: str | None, scope: str, action: str, grant_id: str | None) -> str:
    """Two requests of a client that ask the same have the same digest, on whatever day: open dates are not in it."""
    asked = {"details": json.loads(details or "null"), "scope": scope, "action": action, "grant_id": grant_id}
    return sha256(json.dumps(asked, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _granted_scope(form: dict[str, str], client: RegisteredClient, details: tuple[Detail, ...]) -> str:
    """What a person can give of what was asked. Scopes that a client has for itself are left out (RFC 6749 3.3)."""
    asked = [word for word in _asked_scopes(form, client) if word in SCOPES]
    if not asked:  # the details say it all
        asked = [SCOPE_OF[action] for action in sorted({action for one in details for action in one.actions})]
    kept = [word for word in asked if word in client.scopes]
    if not kept or not details:
        raise InvalidScopeError
    return " ".join(kept)
