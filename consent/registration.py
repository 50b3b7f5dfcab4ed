"""Dynamic registration (RFC 7591) and its management (RFC 7592). I/O: `oauth_client`, `used_jti`.

Registration is open to nobody: a registry that the operator trusts vouches for the software by a signed statement, and
what the statement says wins over what the client says. The client may then read, change or delete its registration with
the token that it was given once.
"""

import json
import secrets
import warnings
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from joserfc import jwt
from joserfc.errors import SecurityWarning
from joserfc.jwk import KeySet
from sqlalchemy.orm import Session

from consent.assertions import ALGORITHMS, UNREADABLE
from consent.clients import RegistrationRefused, client_information, register_client, update_client
from consent.keyring import token_hash
from consent.requests import NO_STORE, Answer, answer_json
from consent.tables import OAuthClient
from consent.tokens import new_token

DOCUMENT_BYTES = 64 * 1024
# What a statement decides; the client's own word for these does not count.
VOUCHED = ("client_name", "software_id", "redirect_uris", "scope", "jwks", "grant_types")


class StatementRefused(RegistrationRefused):
    """The software statement is missing, or no trusted registry signed it."""

    def __init__(self, message: str) -> None:
        super().__init__(message, error="invalid_software_statement")


def register(
    session: Session,
    body: bytes,
    *,
    issuer: str,
    registries: Mapping[str, Any],
    webhook_secret: Callable[[str], str],
    now: datetime,
) -> tuple[Answer, str | None]:
    """POST /oauth/register; returns the answer and the new client's id, if there is one.

    Args:
        registries: the JWKS of each trusted registry, by the `iss` of its statements.
        webhook_secret: what the receiver named `client:<id>` verifies our messages with.
    """
    try:
        metadata = _parse(body)
        vouched = _vouched(metadata.get("software_statement"), registries, now)
        token = new_token("rm")
        participant = vouched.pop("participant", None)
        information = register_client(
            session, {**metadata, **vouched}, participant=participant, now=now, management_hash=token_hash(token)
        )
    except RegistrationRefused as refused:
        return _refusal(refused), None
    client_id: str = information["client_id"]
    managed = {
        "registration_access_token": token,
        "registration_client_uri": f"{issuer}/oauth/register/{client_id}",
    }
    if "webhook_uri" in information:
        managed["webhook_secret"] = webhook_secret(f"client:{client_id}")
    return answer_json(201, {**information, **managed}), client_id


def manage(
    session: Session, method: str, client_id: str, authorization: str | None, body: bytes
) -> tuple[Answer, str | None]:
    """GET, PUT and DELETE /oauth/register/{client_id}; returns the answer and what changed, if anything."""
    could_be = len(client_id) <= 64 and client_id.isascii() and client_id.isprintable()
    row = session.get(OAuthClient, client_id) if could_be else None
    scheme, _, token = (authorization or "").partition(" ")
    known = row.management_hash if row is not None and row.suspended_at is None else None
    fits = secrets.compare_digest(token_hash(token), known or token_hash(""))
    if row is None or known is None or scheme.lower() != "bearer" or not token or not fits:
        # One answer for a wrong token and an unknown client: who asks learns no client ids.
        return answer_json(401, {"error": "invalid_token"}, headers={"www-authenticate": "Bearer"}), None
    if method == "DELETE":
        row.management_hash, row.suspended_at = None, row.created_at
        return Answer(status=204, headers=NO_STORE, body=b""), "deleted"
    if method == "GET":
        return answer_json(200, client_information(row)), None
    try:
        metadata = _parse(body)
        if metadata.get("client_id") != client_id:
            raise RegistrationRefused("client_id must be this client's")
        before = json.loads(row.registration)
        fixed = {name: before[name] for name in VOUCHED if name in before and name != "jwks"}
        return answer_json(200, update_client(session, client_id, {**metadata, **fixed})), "changed"
    except RegistrationRefused as refused:
        return _refusal(refused), None


def _parse(body: bytes) -> dict[str, Any]:
    try:
        metadata = json.loads(body) if len(body) <= DOCUMENT_BYTES else None
    except (ValueError, RecursionError):
        metadata = None
    if not isinstance(metadata, dict):
        raise RegistrationRefused("the registration must be a JSON object")
    return metadata


def _vouched(statement: object, registries: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """What the statement says of the software, once a trusted registry is known to have signed it."""
    if not isinstance(statement, str) or not statement.isascii():
        raise StatementRefused("a software_statement of a trusted registry is needed")
    for issuer, keys in registries.items():
        claims = _verified(statement, keys)
        if claims is None or claims.get("iss") != issuer:
            continue
        expires = claims.get("exp")
        if isinstance(expires, bool) or not isinstance(expires, int) or expires <= now.timestamp():
            raise StatementRefused("the software statement is over, or says no exp")
        participant = {"participant": claims["participant"]} if isinstance(claims.get("participant"), str) else {}
        return {name: claims[name] for name in VOUCHED if name in claims} | participant
    raise StatementRefused("no trusted registry signed the software statement")


def _verified(statement: str, keys: Any) -> dict[str, Any] | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SecurityWarning)
            token = jwt.decode(statement, KeySet.import_key_set(keys), algorithms=list(ALGORITHMS))
    except UNREADABLE:
        return None
    return dict(token.claims)


def _refusal(refused: RegistrationRefused) -> Answer:
    text = str(refused).encode("ascii", "replace").decode().replace('"', "'").replace("\\", "/")
    return answer_json(400, {"error": refused.error, "error_description": text})
