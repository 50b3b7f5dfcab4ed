"""Linking an account over OAuth, keeping its token fresh, and giving it back. I/O: `link_attempt`, `link`; network.

    start_link      database only      state and PKCE bound to the browser session        -> the request
    request_address network if pushed  (authorization_request.py)                         -> redirect address
    take_attempt    database only      the answer belongs to this session, this issuer    -> Attempt, used up
    exchange_code   network only       code -> token -> account                           -> Linked
    complete_link   database only      grant activated and link opened together           -> link, changes

The steps are apart so that no transaction is open while a platform is called. finish_link runs the last three, each in
its own transaction; a crash between them costs the person another try, never a half-made link. The state is used up
before the platform is called, so an answer cannot be tried twice. The `iss` of the answer (RFC 9207) is required and
checked before any call: this, a redirect address per platform and the registration kept with the state close mix-up,
code injection and the forged-callback attacks on hubs of many platforms.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from authlib.oauth2.rfc7636 import create_s256_code_challenge
from sqlalchemy import update
from sqlalchemy.orm import Session
from sqlmodel import col

from consent.changes import Change
from consent.errors import ConsentError
from consent.grants import Grant, activate_grant, request_grant, supersede_grant
from consent.http import AnswerInvalid, Http
from consent.keyring import KeyRing, token_hash
from consent.links import Tokens, find_open_link, open_link
from consent.platform_dpop import load_proof_key
from consent.platform_pins import trusted_metadata
from consent.platforms import PlatformConfig, PlatformMetadata
from consent.seal import place
from consent.sessions import SessionInfo
from consent.tables import Link, LinkAttempt
from consent.terms import HUB, Assurance, GrantTerms, format_terms, parse_terms
from consent.token_endpoint import TokenDenied, fetch_account, granted_scope, parse_tokens, request_token
from consent.transactions import Record as Record
from consent.transactions import Transactions as Transactions

ATTEMPT_LIFE = timedelta(minutes=10)


class LinkRefusal(StrEnum):
    """Why a linking ended without a link."""

    STATE = "state"  # unknown, used, too old, or of another browser session or person
    ISSUER = "issuer"  # `iss` missing or another platform's
    DENIED = "denied"  # the person or the platform said no
    NO_CODE = "no_code"
    TOKEN = "token"  # noqa: S105 - a reason, not a secret
    ACCOUNT = "account"


class LinkRefused(ConsentError):
    """The linking is over; nothing was linked. The person may start again."""

    def __init__(self, reason: LinkRefusal) -> None:
        super().__init__(reason.value)
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A linking that was started by this session and has come back from the right issuer."""

    subject_id: int
    platform: str
    redirect_uri: str
    verifier: str = field(repr=False)
    code: str = field(repr=False)
    terms: GrantTerms


@dataclass(frozen=True, slots=True, kw_only=True)
class Linked:
    """What the platform told: whose account, and the token for it."""

    account: str = field(repr=False)
    tokens: Tokens | None = field(repr=False)  # None: a device's code told the account
    scope: str


def start_link(
    session: Session,
    keyring: KeyRing,
    *,
    config: PlatformConfig,
    web_session: SessionInfo,
    terms: GrantTerms,
    now: datetime,
) -> dict[str, str]:
    """Return the request to make of the platform. Call it only from a POST whose CSRF token was checked.

    Args:
        terms: what the person is about to allow; must be to the hub and name this platform.
    """
    if web_session.subject_id is None:
        raise LinkRefused(LinkRefusal.STATE)
    if terms.recipient != HUB or config.platform not in terms.platforms:
        raise ValueError("the grant of a link is the hub's and names the platform")
    state, verifier = secrets.token_urlsafe(32), secrets.token_urlsafe(48)
    state_hash = token_hash(state)
    session.add(
        LinkAttempt(
            state_hash=state_hash,
            session_hash=web_session.token_hash,
            subject_id=web_session.subject_id,
            platform=config.platform,
            issuer=config.issuer,
            redirect_uri=config.redirect_uri,
            context=config.context,
            verifier=keyring.seal(verifier.encode(), _verifier_place(state_hash, web_session.subject_id)),
            draft=format_terms(terms),
            created_at=now,
            expires_at=now + ATTEMPT_LIFE,
        )
    )
    session.flush()
    # The code, too, is then worth nothing without the key (RFC 9449 10).
    bound = {"dpop_jkt": load_proof_key(keyring, config.platform).thumbprint} if config.dpop else {}
    return {
        "client_id": config.client_id,
        "response_type": "code",
        "redirect_uri": config.redirect_uri,
        "scope": " ".join(config.scopes),
        "state": state,
        "code_challenge": create_s256_code_challenge(verifier),
        "code_challenge_method": "S256",
        **bound,
    }


def take_attempt(
    session: Session,
    keyring: KeyRing,
    *,
    config: PlatformConfig,
    web_session: SessionInfo | None,
    answer: Mapping[str, str],
    now: datetime,
) -> Attempt | LinkRefused:
    """Use up the state of a callback. Commit whatever it returns: a refused answer must not be tried again.

    Args:
        config: of the platform whose redirect address was called, not of one that the answer names.
        answer: the query parameters, each at most once.
    """
    row = session.get(LinkAttempt, token_hash(answer.get("state", "")), with_for_update=True)
    if row is None or web_session is None or row.session_hash != web_session.token_hash:
        return LinkRefused(LinkRefusal.STATE)  # not this browser's: its owner may still finish it
    if row.subject_id != web_session.subject_id or not _use_up(session, row, now):
        return LinkRefused(LinkRefusal.STATE)
    issuer = answer.get("iss")
    if row.context != config.context or row.issuer != config.issuer or issuer != row.issuer:
        return LinkRefused(LinkRefusal.ISSUER)
    if "error" in answer:
        return LinkRefused(LinkRefusal.DENIED)
    if not answer.get("code"):
        return LinkRefused(LinkRefusal.NO_CODE)
    return Attempt(
        subject_id=row.subject_id,
        platform=row.platform,
        redirect_uri=row.redirect_uri,
        verifier=keyring.open(row.verifier, _verifier_place(row.state_hash, row.subject_id)).decode(),
        code=answer["code"],
        terms=parse_terms(row.draft),
    )


def exchange_code(
    http: Http,
    keyring: KeyRing,
    *,
    config: PlatformConfig,
    metadata: PlatformMetadata,
    attempt: Attempt,
    now: datetime,
) -> Linked:
    """Trade the code for a token and ask whose account it is.

    Args:
        metadata: of `trusted_metadata`: the code and the hub's credentials go where it says.

    Raises:
        LinkRefused, TokenEndpointBusy; whatever the client raises. The code is lost then.
    """
    form = {
        "grant_type": "authorization_code",
        "code": attempt.code,
        "redirect_uri": attempt.redirect_uri,
        "code_verifier": attempt.verifier,
    }
    try:
        document = request_token(http, keyring, config, metadata, form, now=now)
        scope = granted_scope(document, asked=config.scopes)
        tokens = parse_tokens(document, now=now)
    except (TokenDenied, AnswerInvalid) as cause:
        raise LinkRefused(LinkRefusal.TOKEN) from cause
    try:
        account = fetch_account(http, keyring, config, metadata, document, tokens, now=now)
    except AnswerInvalid as cause:
        raise LinkRefused(LinkRefusal.ACCOUNT) from cause
    return Linked(account=account, tokens=tokens, scope=scope)


def complete_link(
    session: Session,
    keyring: KeyRing,
    *,
    attempt: Attempt,
    linked: Linked,
    now: datetime,
    assurance: Assurance = Assurance.NONE,
) -> tuple[Link, Grant, list[Change]]:
    """Record the grant, activate it and open the link, all or nothing with the caller's transaction.

    Linking one's own account again replaces the grant it hung on: two grants for one link would let the older one go on
    allowing after the newer was withdrawn.

    Raises AlreadyLinked.
    """
    subject_id = attempt.subject_id
    before = find_open_link(session, keyring, platform=attempt.platform, account=linked.account)
    superseded = None if before is None else before.grant_id
    requested, asked = request_grant(session, subject_id=subject_id, terms=attempt.terms, now=now)
    grant, given = activate_grant(
        session, grant_id=requested.grant_id, subject_id=subject_id, now=now, assurance=assurance
    )
    link, opened = open_link(
        session,
        keyring,
        subject_id=subject_id,
        platform=attempt.platform,
        account=linked.account,
        grant_id=grant.grant_id,
        valid_from=attempt.terms.valid_from,
        now=now,
        tokens=linked.tokens,
        scope=linked.scope,
    )
    changes = [asked, given, opened]
    if superseded is not None:
        changes += supersede_grant(session, grant_id=superseded, subject_id=subject_id, now=now)
    return link, grant, changes


def finish_link(
    transactions: Transactions,
    keyring: KeyRing,
    http: Http,
    *,
    config: PlatformConfig,
    web_session: SessionInfo | None,
    answer: Mapping[str, str],
    now: datetime,
    record: Record,
) -> str:
    """Run the callback to its end and return the link id. Commits: each step is a transaction of `transactions`.

    Args:
        record: called with the changes inside the transaction that makes them.

    Raises:
        LinkRefused, PlatformRefused, PlatformBusy, AlreadyLinked.
    """
    with transactions() as session:
        attempt = take_attempt(session, keyring, config=config, web_session=web_session, answer=answer, now=now)
    if isinstance(attempt, LinkRefused):
        raise attempt
    metadata = trusted_metadata(transactions, http, config, now=now)
    linked = exchange_code(http, keyring, config=config, metadata=metadata, attempt=attempt, now=now)
    with transactions() as session:
        link, _grant, changes = complete_link(session, keyring, attempt=attempt, linked=linked, now=now)
        record(session, changes)
        return link.link_id


def _use_up(session: Session, row: LinkAttempt, now: datetime) -> bool:
    """True for exactly one of any number of racing callbacks, and only in time."""
    statement = update(LinkAttempt).where(
        col(LinkAttempt.state_hash) == row.state_hash,
        col(LinkAttempt.used_at).is_(None),
        col(LinkAttempt.expires_at) > now,
    )
    result = session.execute(statement.values(used_at=now))
    return bool(result.rowcount == 1)  # type: ignore[attr-defined]


def _verifier_place(state_hash: str, subject_id: int) -> bytes:
    return place("link_attempt", "verifier", state_hash, subject_id)
