"""A link's platform token after linking: refreshed by one worker at a time, given back at the end.

I/O: `link`; network. Each step is its own transaction of the `transactions` given: the lease must be durable before the
platform is called, or two workers would use one refresh token and a strict platform would kill both.
"""

import secrets
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy.orm import Session

from consent.http import AnswerInvalid, Http
from consent.keyring import KeyRing
from consent.link_access import Access, load_access, open_access
from consent.links import LinkState, mark_broken, release_lease, store_tokens, take_lease
from consent.platform_pins import trusted_metadata
from consent.platforms import PlatformBusy, PlatformConfig, PlatformRefused
from consent.tables import Link
from consent.token_endpoint import TokenDenied, parse_tokens, request_token, send_form
from consent.transactions import Record, Transactions

# Longer than one renewal can take (two calls for metadata, two for the token, 30 seconds each): a lease that ended while
# its holder still waits would let a second worker use the same refresh token.
LEASE_LIFE = timedelta(seconds=150)
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
    refused_version: int | None = None,
) -> Refreshed:
    """Renew the link's access token if it is about to end. Commits, see above.

    A crash after the platform answered and before the last commit loses the new token. The lease runs out and the next
    worker asks with the old one: a platform that does not rotate gives a new token again; one that rotates refuses, and
    then the link is broken with a reason and the person is asked to link again. It is never dead in silence.

    Args:
        refused_version: of the token that the platform has just refused, however long it was to live: it is renewed
            unless another worker has done so. Platforms may leave out how long a token lives.

    Raises:
        LinkUnusable: the link is not active, or its grant does not allow collecting now.
        PlatformRefused: the platform's metadata cannot be trusted; the link is left as it is.
    """
    holder = secrets.token_urlsafe(12)
    with transactions() as session:
        access = load_access(session, keyring, link_id=link_id, now=now)
        if is_fresh(access, now, refused_version):
            return Refreshed.FRESH
        if not take_lease(session, link_id=link_id, holder=holder, now=now, life=LEASE_LIFE):
            return Refreshed.BUSY
        # What was read before the lease may be used up.
        access = load_access(session, keyring, link_id=link_id, now=now)
        if is_fresh(access, now, refused_version):
            release_lease(session, link_id=link_id, holder=holder)
            return Refreshed.FRESH
    old = access.tokens
    if old is None or old.refresh_token is None:
        return _break_link(transactions, record, access, "no_refresh_token")
    try:
        form = {"grant_type": "refresh_token", "refresh_token": old.refresh_token}
        metadata = trusted_metadata(transactions, http, config, now=now)
        document = request_token(http, keyring, config, metadata, form, now=now)
        tokens = parse_tokens(document, now=now, refresh_token=old.refresh_token)
    except Exception as error:
        if isinstance(error, TokenDenied) and error.error == "invalid_grant":
            return _break_link(transactions, record, access, "refresh_refused")
        with transactions() as session:
            release_lease(session, link_id=link_id, holder=holder)
        if isinstance(error, PlatformBusy):
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

    Here the link is closed already, so failing costs only another try (hub/sync/giving_back.py). A platform without a revocation
    endpoint is not asked; the token is forgotten all the same.

    Raises:
        PlatformRefused, and what the client raises for what may be retried: the token is then kept for the next try.
    """
    with transactions() as session:
        link = session.get(Link, link_id)
        if link is None or link.state != LinkState.REVOKED or link.token_sealed is None:
            return link is not None and link.state == LinkState.REVOKED
        access = open_access(session, keyring, link)
    try:
        metadata = trusted_metadata(transactions, http, config, now=now)
    except PlatformBusy:
        return False
    if access.tokens is not None and metadata.revocation_endpoint is not None:
        form = {"token": access.tokens.access_token, "token_type_hint": "access_token"}
        if access.tokens.refresh_token is not None:  # the platform ends the access token with it (RFC 7009 2.1)
            form = {"token": access.tokens.refresh_token, "token_type_hint": "refresh_token"}
        try:
            answer = send_form(http, keyring, config, metadata.revocation_endpoint, form, now=now)
        except AnswerInvalid as cause:
            raise PlatformRefused("the revocation endpoint answered something else") from cause
        if answer.status != 200:
            return False
    with transactions() as session:
        return _forget_tokens(session, access)


def is_fresh(access: Access, now: datetime, refused_version: int | None) -> bool:
    """Whether the token need not be renewed: its end is not near, and it is not the version that was refused."""
    tokens = access.tokens
    if access.token_version == refused_version:
        return False
    return tokens is not None and (tokens.expires_at is None or now + REFRESH_BEFORE < tokens.expires_at)


def _break_link(transactions: Transactions, record: Record, access: Access, reason: str) -> Refreshed:
    with transactions() as session:
        link = session.get(Link, access.link_id, with_for_update=True, populate_existing=True)
        if link is None or link.token_version != access.token_version:
            return Refreshed.BUSY  # what was refused is not the link's token any more
        change = mark_broken(session, link_id=access.link_id, reason=reason)
        if change is not None:
            record(session, [change])
    return Refreshed.BROKEN


def _forget_tokens(session: Session, access: Access) -> bool:
    """Forget what was given back; False if a renewal that was under way has brought another token meanwhile."""
    link = session.get_one(Link, access.link_id, with_for_update=True, populate_existing=True)
    if link.state != LinkState.REVOKED or link.token_version != access.token_version:
        return False
    link.token_sealed, link.token_expires_at, link.give_back_at = None, None, None
    return True
