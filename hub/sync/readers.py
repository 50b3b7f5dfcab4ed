"""Reading one feed of one link (or of a whole platform), page by page. I/O: network, the database.

Consent is asked for before the platform is called and again before each page is stored; a token is renewed when its end is
near or the platform refuses it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import stamina
from sqlalchemy.orm import Session

from connectors.base import Fetcher, LinkAccess, Page, Reauthorise, RetryLater, Stop
from consent.changes import Change
from consent.link_access import Access, LinkUnusable, load_access
from consent.links import mark_broken
from consent.platform_dpop import asks_for_nonce, load_proof_key
from consent.platform_tokens import Refreshed, is_fresh, refresh
from consent.transactions import Record
from hub.changes import log_consent_change
from hub.context import Hub
from hub.db import reading, writing
from hub.participants import Feed, Platform
from hub.sync.cursors import Due, Result
from hub.sync.outward import platform_config, platform_http
from hub.sync.transactions import transactions_of

RENEWALS_A_RUN = 20  # a feed that outlives so many tokens goes on in the next run


BLIPS: dict[str, Any] = {"attempts": 3, "timeout": 5.0, "wait_initial": 0.1, "wait_max": 1.0, "wait_jitter": 0.2}


def _is_blip(failure: Exception) -> bool:
    """A connection that was not made or broke; whatever a platform answered is no blip."""
    return isinstance(failure, RetryLater) and failure.reason == "unreachable"


class Reader:
    """One reading under way. `result` is set when it has ended."""

    def __init__(
        self, hub: Hub, platform: Platform, feed: Feed, due: Due, opened: Access | LinkUnusable | None = None
    ) -> None:
        if not isinstance(feed.connector, Fetcher):
            raise Stop("not_a_fetcher")
        self.hub, self.platform, self.due = hub, platform, due
        self.result: Result | None = None
        self.pages_read = 0
        self._fetcher = feed.connector
        self._cursor = due.cursor
        self._renewals = 0
        self._token_version: int | None = None
        self._token_pages = 0
        self._pages: Iterator[Page] | None = None
        self._opened = opened  # as it was when the run began; a token that is renewed is opened anew

    def next_page(self) -> Page | None:
        """Ask for the next page; None at the end of the feed. A connection that breaks is tried again at once, a little.

        Raises:
            ConnectorError, LinkUnusable, PlatformRefused: named by what to do next.
        """
        for attempt in stamina.retry_context(on=_is_blip, **BLIPS):
            with attempt:
                if attempt.num > 1:
                    self._pages = None  # on from the last page that was stored
                return self._ask()
        raise AssertionError("unreachable: the last try's failure is raised")

    def _ask(self) -> Page | None:
        if self._pages is None:
            self._begin(refused_version=None)
        try:
            page = self._take()
        except Reauthorise as refused:
            # The platform may end a token before its time, or not say when it ends: a new one, and on from the last page.
            # A token that is refused before it has brought a single page is worth another once, and no more.
            first = self._renewals == 0
            worth = self.due.link_id and (first or self._token_pages > 0) and self._renewals < RENEWALS_A_RUN
            if refused.reason != "token_refused" or not worth:
                raise
            self._renewals += 1
            self._begin(refused_version=self._token_version)
            page = self._take()
        return page

    def stored(self, page: Page) -> None:
        """Note that a page is committed: whatever happens, reading goes on after it."""
        self._cursor = page.cursor

    def _take(self) -> Page | None:
        page = next(self._pages, None) if self._pages is not None else None
        if page is not None:
            self.pages_read += 1
            self._token_pages += 1
        return page

    def _begin(self, *, refused_version: int | None = None) -> None:
        access = None
        if self.due.link_id:
            opened = self._open(refused_version)
            access, self._token_version, self._token_pages = opened.access, opened.version, 0
        self._pages = self._fetcher.fetch(access, self._cursor, now=self.hub.clock(), window=self.due.window)

    def _open(self, refused_version: int | None) -> "_Opened":
        """Open the link's token, refreshed if its end is near or the platform has refused it."""
        hub, now = self.hub, self.hub.clock()
        if isinstance(self._opened, LinkUnusable):
            raise self._opened
        opened = self._opened or _load(hub, self.due.link_id, now)
        self._opened = None
        if not is_fresh(opened, now, refused_version):
            _refresh(hub, self.platform, self.due.link_id, now, refused_version)
            opened = _load(hub, self.due.link_id, now)
        access = right_to_read(hub, self.platform, opened)
        return _Opened(access=access, version=opened.token_version)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Opened:
    """A link's token for one run, and which one it is."""

    access: LinkAccess
    version: int


def _load(hub: Hub, link_id: str, now: datetime) -> Access:
    with reading(hub.engine) as session:
        return load_access(session, hub.ring, link_id=link_id, now=now)


def _refresh(hub: Hub, platform: Platform, link_id: str, now: datetime, refused_version: int | None) -> None:
    config = platform_config(hub, platform)
    with platform_http(platform) as http:
        outcome = refresh(
            transactions_of(hub), hub.ring, http, config=config, link_id=link_id, now=now, record=recorder(hub, now),
            refused_version=refused_version,
        )  # fmt: skip
    if outcome is Refreshed.BUSY:
        raise RetryLater("token_busy", after_s=5)
    if outcome is Refreshed.BROKEN:
        raise Reauthorise("refresh_refused")


def right_to_read(hub: Hub, platform: Platform, opened: Access) -> LinkAccess:
    """Return what a connector needs to read an opened link; with proofs, where its token is bound to a key of the hub.

    Raises LinkUnusable if the link has no token.
    """
    if opened.tokens is None:
        raise LinkUnusable("no_token")
    access = LinkAccess(link_id=opened.link_id, account=opened.account, access_token=opened.tokens.access_token)
    if platform.document.oauth is not None and platform.document.oauth.dpop:
        access = _proved(hub, platform, access)
    return access


def _proved(hub: Hub, platform: Platform, access: LinkAccess) -> LinkAccess:
    """Show the token with a proof for each request: it is bound to the hub's key for this platform."""
    key = load_proof_key(hub.ring, platform.platform_id)

    def prove(*, method: str, url: str) -> Mapping[str, str]:
        return key.authorise(access.access_token, method=method, url=url, now=hub.clock())

    def hear(*, url: str, status: int, headers: Mapping[str, str]) -> bool:
        return key.learn(url, headers) and asks_for_nonce(status, headers, None)

    return replace(access, prove=prove, hear=hear)


def break_link(hub: Hub, link_id: str, reason: str) -> None:
    """Note that the platform no longer honours a link's token; the person is asked to link again."""
    now = hub.clock()
    with writing(hub.engine) as session:
        change = mark_broken(session, link_id=link_id, reason=reason)
        if change is not None:
            recorder(hub, now)(session, [change])


def recorder(hub: Hub, now: datetime) -> Record:
    """Return what writes changes of consent into the log."""

    def record(session: Session, changes: Sequence[Change]) -> None:
        for change in changes:
            log_consent_change(session, change, now, hub=hub)

    return record
