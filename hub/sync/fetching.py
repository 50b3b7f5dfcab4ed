"""Fetch what is due: one link (or one whole platform) at a time, page by page. I/O: network, the database.

The lease is taken in one transaction, the platform is called in none, and each page commits with its cursor. Errors
decide what happens next by their class: try later, ask the person to link again, set aside for an operator, or stop.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice

import structlog
from sqlalchemy.orm import Session

from connectors.base import (
    Fetcher,
    LinkAccess,
    Page,
    Reauthorise,
    RetryLater,
    SetAside,
    Stop,
)
from consent.changes import Change
from consent.links import LinkUnusable, load_access, mark_broken
from consent.platform_dpop import asks_for_nonce, load_proof_key
from consent.platform_tokens import Refreshed, refresh
from consent.platforms import PlatformRefused
from consent.transactions import Record
from hub.changes import log_consent_change
from hub.context import Hub
from hub.db import reading, writing
from hub.errors import Conflict
from hub.participants import Platform, Status, open_platform
from hub.pipeline import take_delivery
from hub.records.races import DATABASE_ERRORS, lost_a_race
from hub.sync.cursors import Due, Held, back_off, lease_due, load_cursor, release
from hub.sync.outward import platform_config, platform_http
from hub.sync.transactions import transactions_of

log = structlog.get_logger(__name__)

POLL = timedelta(minutes=15)
RENEWALS_A_RUN = 20  # a feed that outlives so many tokens goes on in the next run
PAUSED = timedelta(hours=6)  # something that only an operator or the person can mend


def fetch_next(hub: Hub, worker: str, *, poll: timedelta = POLL) -> bool:
    """Lease one due link, read it to its end, give it back; False if nothing was due."""
    now = hub.clock()
    with writing(hub.engine) as session:
        due = lease_due(session, hub.ring, worker, now=now, lease=hub.settings.lease)
    if due is None:
        return False
    next_in, error = poll, None
    try:
        _fetch(hub, worker, due)
    except RetryLater as failure:
        next_in, error = max(back_off(due.failures), timedelta(seconds=min(failure.after_s, 3600))), failure.reason
    except Reauthorise as failure:
        _break(hub, due, failure.reason)
        next_in, error = PAUSED, failure.reason
    except (SetAside, Stop, PlatformRefused) as failure:
        next_in, error = PAUSED, str(failure)
    except LinkUnusable as failure:
        next_in, error = PAUSED, failure.reason
    except Conflict as failure:
        next_in, error = back_off(due.failures), str(failure)
    except DATABASE_ERRORS as failure:
        if not lost_a_race(failure):
            raise
        next_in, error = back_off(due.failures), "met_another_delivery"  # nothing of this page is stored
    except Exception as failure:
        # One link that meets a mistake of ours must not stop all others: it is put aside, with its traceback in the log.
        log.exception("fetch_failed", platform=due.platform, link=due.link_id)
        next_in, error = PAUSED, f"hub_error_{type(failure).__name__}"
    with writing(hub.engine) as session:
        release(session, due, worker, now=hub.clock(), next_in=next_in, error=error)
    return True


def _fetch(hub: Hub, worker: str, due: Due) -> None:
    with reading(hub.engine) as session:
        platform = open_platform(session, hub.ring, due.platform)
    if platform.status is not Status.ACTIVE:
        raise Stop("suspended")
    fetcher = platform.connector
    if not isinstance(fetcher, Fetcher):
        raise Stop("not_a_fetcher")
    if not due.link_id:
        for _ in _read(hub, worker, due, platform, fetcher, None):
            pass
        return
    opened, pages = _open(hub, platform, due.link_id), 1
    for _ in range(RENEWALS_A_RUN):
        try:
            for _ in _read(hub, worker, due, platform, fetcher, opened.access):
                pages += 1
            return
        except Reauthorise as refused:
            # The platform may end a token before its time, or not say when it ends: a new one, and on from the last
            # page. A token that is refused before it has brought a single page is not worth another.
            if refused.reason != "token_refused" or pages == 0:
                raise
        opened, pages = _open(hub, platform, due.link_id, refused_version=opened.version), 0
        with reading(hub.engine) as session:
            due = load_cursor(session, hub.ring, due)


def _read(
    hub: Hub, worker: str, due: Due, platform: Platform, fetcher: Fetcher, access: LinkAccess | None
) -> Iterator[None]:
    """Take page after page, and stop after each for a moment."""
    pages = fetcher.fetch(access, due.cursor, now=hub.clock())
    for page in islice(pages, hub.settings.max_pages_per_fetch):
        _take(hub, platform, due, worker, page)
        yield


def _take(hub: Hub, platform: Platform, due: Due, worker: str, page: Page) -> None:
    """Consent is asked again for every page, inside take_delivery's transaction: a withdrawal stops the next page."""
    now = hub.clock()
    if due.link_id:
        with reading(hub.engine) as session:
            load_access(session, hub.ring, link_id=due.link_id, now=now)
    held = Held(due=due, worker=worker, cursor=page.cursor, lease_until=now + hub.settings.lease)
    take_delivery(hub, platform, page.delivery, now=now, held=held)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Opened:
    """A link's token for one run, and which one it is."""

    access: LinkAccess
    version: int


def _open(hub: Hub, platform: Platform, link_id: str, *, refused_version: int | None = None) -> _Opened:
    """Open the link's token, refreshed if its end is near or the platform has refused it."""
    now = hub.clock()
    config = platform_config(hub, platform)
    with platform_http(platform) as http:
        outcome = refresh(
            transactions_of(hub), hub.ring, http, config=config, link_id=link_id, now=now, record=_recorder(hub, now),
            refused_version=refused_version,
        )  # fmt: skip
    if outcome is Refreshed.BUSY:
        raise RetryLater("token_busy", after_s=5)
    if outcome is Refreshed.BROKEN:
        raise Reauthorise("refresh_refused")
    with reading(hub.engine) as session:
        opened = load_access(session, hub.ring, link_id=link_id, now=now)
    if opened.tokens is None:
        raise LinkUnusable("no_token")
    access = LinkAccess(link_id=link_id, account=opened.account, access_token=opened.tokens.access_token)
    if config.dpop:
        access = _proved(hub, platform, access)
    return _Opened(access=access, version=opened.token_version)


def _proved(hub: Hub, platform: Platform, access: LinkAccess) -> LinkAccess:
    """Show the token with a proof for each request: it is bound to the hub's key for this platform."""
    key = load_proof_key(hub.ring, platform.platform_id)

    def prove(*, method: str, url: str) -> Mapping[str, str]:
        return key.authorise(access.access_token, method=method, url=url, now=hub.clock())

    def hear(*, url: str, status: int, headers: Mapping[str, str]) -> bool:
        return key.learn(url, headers) and asks_for_nonce(status, headers, None)

    return replace(access, prove=prove, hear=hear)


def _break(hub: Hub, due: Due, reason: str) -> None:
    now = hub.clock()
    with writing(hub.engine) as session:
        change = mark_broken(session, link_id=due.link_id, reason=reason)
        if change is not None:
            _recorder(hub, now)(session, [change])


def _recorder(hub: Hub, now: datetime) -> Record:
    def record(session: Session, changes: Sequence[Change]) -> None:
        for change in changes:
            log_consent_change(session, change, now, hub=hub)

    return record
