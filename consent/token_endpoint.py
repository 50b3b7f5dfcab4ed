"""What a platform's token endpoint and account address answer. I/O: network through the given client."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from consent.errors import ConsentError
from consent.http import AnswerInvalid, Http, fetch_json, post_form, require_text
from consent.keyring import KeyRing
from consent.links import Tokens
from consent.platforms import PlatformConfig, PlatformMetadata, authenticate_client


class TokenDenied(ConsentError):
    """The token endpoint said no; `error` is its OAuth error code, for a decision and never for a page."""

    def __init__(self, error: str) -> None:
        super().__init__("the platform's token endpoint refused")
        self.error = error


class TokenEndpointBusy(ConsentError):
    """The platform could not answer now; nothing is known to be wrong with the link."""


def request_token(
    http: Http,
    keyring: KeyRing,
    config: PlatformConfig,
    metadata: PlatformMetadata,
    form: Mapping[str, str],
    *,
    now: datetime,
) -> dict[str, Any]:
    """Ask the platform's token endpoint. Raises TokenDenied, TokenEndpointBusy."""
    headers, proof = authenticate_client(keyring, config, now=now)
    try:
        status, document = post_form(http, metadata.token_endpoint, {**form, **proof}, headers=headers)
    except AnswerInvalid as cause:
        raise TokenEndpointBusy from cause
    if status >= 500 or status == 429:
        raise TokenEndpointBusy
    if status != 200:
        raise TokenDenied(str(document.get("error", "")))
    if str(document.get("token_type", "")).lower() != "bearer":
        raise TokenDenied("token_type")
    return document


def parse_tokens(document: Mapping[str, Any], *, now: datetime, refresh_token: str | None = None) -> Tokens:
    """Raises AnswerInvalid. A platform that rotates gives a new refresh token; one that does not, none: keep ours."""
    seconds = document.get("expires_in")
    known = isinstance(seconds, int) and not isinstance(seconds, bool) and 0 < seconds < 10**9
    renewed = document.get("refresh_token")
    return Tokens(
        access_token=require_text(document, "access_token"),
        refresh_token=renewed if isinstance(renewed, str) and renewed else refresh_token,
        expires_at=now + timedelta(seconds=seconds) if known and isinstance(seconds, int) else None,
    )


def granted_scope(document: Mapping[str, Any], *, asked: Sequence[str]) -> str:
    """What was asked and given, never more: extra scope does not widen what was agreed. Raises TokenDenied."""
    told = document.get("scope")
    given = set(told.split()) if isinstance(told, str) else set(asked)
    kept = [scope for scope in asked if scope in given]
    if asked and not kept:
        raise TokenDenied("scope")
    return " ".join(kept)


def fetch_account(
    http: Http, config: PlatformConfig, metadata: PlatformMetadata, document: Mapping[str, Any], tokens: Tokens
) -> str:
    """The account the token is for. Raises AnswerInvalid."""
    where, _, member = config.account_from.partition(".")
    if where == "token":
        return require_text(document, member)
    if where != "userinfo" or metadata.userinfo_endpoint is None:
        raise AnswerInvalid("nowhere to ask for the account")
    bearer = {"authorization": f"Bearer {tokens.access_token}"}
    status, userinfo = fetch_json(http, metadata.userinfo_endpoint, headers=bearer)
    if status != 200:
        raise AnswerInvalid("the platform did not tell the account")
    return require_text(userinfo, member)
