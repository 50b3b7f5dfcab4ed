"""A link's platform token after linking: refreshed by one worker at a time, given back at the end.

I/O: `link`; network. Each step is its own transaction of the `transactions` given: the lease must be durable before the
platform is called, or two workers would use one refresh token and a strict platform would kill both.
"""

import secrets
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy.orm import Session

from consent.http import AnswerInvalid, Http, post_form
from consent.keyring import KeyRing
from consent.links import (
    Access,
    LinkState,
    load_access,
    mark_broken,
    open_access,
    release_lease,
    store_tokens,
    take_lease,
)
from consent.platform_client import Record, Transactions
from consent.platforms import PlatformConfig, PlatformRefused, authenticate_client, discover
from consent.tables import Link
from consent.token_endpoint import TokenDenied, TokenEndpointBusy, parse_tokens, request_token

LEASE_LIFE = timedelta(seconds=60)
REFRESH_BEFORE = timedelta(seconds=60)


class Refreshed(StrEnum):
    """What became of a refresh."""

    FRESH = "fresh"  # the token is good; nothing was asked
    RENEWED = "renewed"
    BUSY = "busy"  # another worker does it, or the platform cannot now: try later
    BROKEN = "broken"  # the platform refused; the person has to link again


def refresh(
    transactions: Transactions,
    keyring: KeyRing,
    http: Http,
    *,
    config: PlatformConfig,
    link_id: str,
    now: datetime,
    record: Record,
) -> Refreshed:
    """Renew the link's access token if it is about to end. Commits, see above.

    A crash after the platform answered and before the last commit loses the new token: where the platform rotates
    refresh tokens the link then breaks and the person is asked to link again.

    Raises:
        LinkUnusable: the link is not active, or its grant does not allow collecting now.
        PlatformRefused: the platform's metadata cannot be trusted; the link is left as it is.
    """
    holder = secrets.token_urlsafe(12)
    with transactions() as session:
        access = load_access(session, keyring, link_id=link_id, now=now)
        if _is_fresh(access, now):
            return Refreshed.FRESH
        if not take_lease(session, link_id=link_id, holder=holder, now=now, life=LEASE_LIFE):
            return Refreshed.BUSY
        access = load_access(
            session, keyring, link_id=link_id, now=now
        )  # what was read before the lease may be used up
        if _is_fresh(access, now):
            release_lease(session, link_id=link_id, holder=holder)
            return Refreshed.FRESH
    old = access.tokens
    if old is None or old.refresh_token is None:
        return _break_link(transactions, record, link_id, "no refresh token")
    try:
        form = {"grant_type": "refresh_token", "refresh_token": old.refresh_token}
        document = request_token(http, keyring, config, discover(http, config), form, now=now)
        tokens = parse_tokens(document, now=now, refresh_token=old.refresh_token)
    except Exception as error:
        if isinstance(error, TokenDenied) and error.error == "invalid_grant":
            return _break_link(transactions, record, link_id, "refresh refused")
        with transactions() as session:
            release_lease(session, link_id=link_id, holder=holder)
        if isinstance(error, TokenEndpointBusy):
            return Refreshed.BUSY
        if isinstance(error, TokenDenied | AnswerInvalid):
            raise PlatformRefused("the token endpoint refuses the hub itself") from error
        raise
    with transactions() as session:
        stored = store_tokens(
            session, keyring, link_id=link_id, holder=holder, expected_version=access.token_version, tokens=tokens
        )
    return Refreshed.RENEWED if stored else Refreshed.BUSY


def revoke_at_platform(
    transactions: Transactions, keyring: KeyRing, http: Http, *, config: PlatformConfig, link_id: str, now: datetime
) -> bool:
    """Give the token of a closed link back (RFC 7009) and forget it. Commits. True once nothing is left to give back.

    Here the link is closed already, so failing costs only another try from the outbox. A platform without a revocation
    endpoint is not asked; the token is forgotten all the same.

    Raises:
        PlatformRefused, and what the client raises for what may be retried: the token is then kept for the next try.
    """
    with transactions() as session:
        link = session.get(Link, link_id)
        if link is None or link.state != LinkState.REVOKED or link.token_sealed is None:
            return link is not None and link.state == LinkState.REVOKED
        access = open_access(session, keyring, link)
    metadata = discover(http, config)
    if access.tokens is not None and metadata.revocation_endpoint is not None:
        token = access.tokens.refresh_token or access.tokens.access_token
        headers, proof = authenticate_client(keyring, config, now=now)
        try:
            status, _ = post_form(http, metadata.revocation_endpoint, {"token": token, **proof}, headers=headers)
        except AnswerInvalid as cause:
            raise PlatformRefused("the revocation endpoint answered something else") from cause
        if status != 200:
            return False
    with transactions() as session:
        _forget_tokens(session, link_id)
    return True


def _is_fresh(access: Access, now: datetime) -> bool:
    tokens = access.tokens
    return tokens is not None and (tokens.expires_at is None or now + REFRESH_BEFORE < tokens.expires_at)


def _break_link(transactions: Transactions, record: Record, link_id: str, reason: str) -> Refreshed:
    with transactions() as session:
        change = mark_broken(session, link_id=link_id, reason=reason)
        if change is not None:
            record(session, [change])
    return Refreshed.BROKEN


def _forget_tokens(session: Session, link_id: str) -> None:
    link = session.get_one(Link, link_id, with_for_update=True)
    if link.state == LinkState.REVOKED:
        link.token_sealed, link.token_expires_at = None, None
