"""What a platform's token endpoint and account address answer. I/O: network through the given client; the key directory."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from consent.errors import ConsentError
from consent.http import AnswerInvalid, Http, JsonAnswer, fetch_json, post_form, require_text
from consent.keyring import KeyRing
from consent.links import Tokens
from consent.platform_dpop import ProofKey, asks_for_nonce, load_proof_key
from consent.platforms import PlatformBusy, PlatformConfig, PlatformMetadata, authenticate_client


class TokenDenied(ConsentError):
    """The token endpoint said no; `error` is its OAuth error code, for a decision and never for a page."""

    def __init__(self, error: str) -> None:
        super().__init__("the platform's token endpoint refused")
        self.error = error


class TokenEndpointBusy(PlatformBusy):
    """The token endpoint, or the one for pushed requests, could not answer now."""


def send_form(
    http: Http,
    keyring: KeyRing,
    config: PlatformConfig,
    url: str,
    form: Mapping[str, str],
    *,
    now: datetime,
    proof: ProofKey | None = None,
) -> JsonAnswer:
    """POST a form as the hub; once more if the server wants its nonce in the proof. Raises AnswerInvalid."""
    answer = _send_once(http, keyring, config, url, form, now=now, proof=proof)
    if proof is None:
        return answer
    new = proof.learn(url, answer.headers)
    if new and asks_for_nonce(answer.status, answer.headers, answer.document.get("error")):
        answer = _send_once(http, keyring, config, url, form, now=now, proof=proof)
        proof.learn(url, answer.headers)
    return answer


def _send_once(
    http: Http,
    keyring: KeyRing,
    config: PlatformConfig,
    url: str,
    form: Mapping[str, str],
    *,
    now: datetime,
    proof: ProofKey | None,
) -> JsonAnswer:
    headers, credentials = authenticate_client(keyring, config, now=now)  # anew: an assertion is used once
    if proof is not None:
        headers = {**headers, "dpop": proof.prove(method="POST", url=url, now=now)}
    return post_form(http, url, {**form, **credentials}, headers=headers)


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
    proof = load_proof_key(keyring, config.platform) if config.dpop else None
    try:
        answer = send_form(http, keyring, config, metadata.token_endpoint, form, now=now, proof=proof)
    except AnswerInvalid as cause:
        raise TokenEndpointBusy from cause
    if answer.status >= 500 or answer.status == 429:
        raise TokenEndpointBusy
    if answer.status != 200:
        raise TokenDenied(str(answer.document.get("error", "")))
    # A token that should be bound to our key and is not could be used by whoever steals it: no silent step down.
    if str(answer.document.get("token_type", "")).lower() != ("dpop" if config.dpop else "bearer"):
        raise TokenDenied("token_type")
    return answer.document


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
    http: Http,
    keyring: KeyRing,
    config: PlatformConfig,
    metadata: PlatformMetadata,
    document: Mapping[str, Any],
    tokens: Tokens,
    *,
    now: datetime,
) -> str:
    """The account the token is for. Raises AnswerInvalid."""
    where, _, member = config.account_from.partition(".")
    if where == "token":
        return require_text(document, member)
    url = metadata.userinfo_endpoint
    if where != "userinfo" or url is None:
        raise AnswerInvalid("nowhere to ask for the account")
    if not config.dpop:
        answer = fetch_json(http, url, headers={"authorization": f"Bearer {tokens.access_token}"})
    else:
        proof = load_proof_key(keyring, config.platform)
        for _ in range(2):
            shown = proof.authorise(tokens.access_token, method="GET", url=url, now=now)
            answer = fetch_json(http, url, headers=shown)
            new = proof.learn(url, answer.headers)
            if not (new and asks_for_nonce(answer.status, answer.headers, None)):
                break
    if answer.status != 200:
        raise AnswerInvalid("the platform did not tell the account")
    return require_text(answer.document, member)
