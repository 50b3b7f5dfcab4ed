"""A participant's own endpoint, as far as it may be looked at: some pages, or what it has delivered. I/O: network, the database.

Read-only: rows that are read here are looked at and forgotten, no cursor moves, and nothing is stored. Where rows are
those of one linked account, a link is taken whose person allows the hub to collect from this platform now.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import polars as pl
from sqlalchemy import select, text
from sqlmodel import col

from connectors.base import ConnectorError, Cursor, Delivery, Description, Fetcher, LinkAccess, Page, Scope
from consent.keyring import KeyPurpose
from consent.link_access import LinkUnusable, load_accesses
from consent.links import LinkState
from consent.tables import Link
from hub.conformance.cases import NotApplicable, Violation
from hub.context import Hub
from hub.db import reading
from hub.participants import Feed, Platform
from hub.sync.readers import right_to_read
from mappings import Mapping, Translation, load_mapping, translate

MOST_PAGES, MOST_ROWS, MOST_LINKS = 3, 2000, 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """Some pages, how long each took, and why there were no more."""

    pages: tuple[Page, ...]
    seconds: tuple[float, ...]
    error: ConnectorError | None

    @property
    def rows(self) -> list[bytes]:
        return [row for page in self.pages for row in page.delivery.rows]


@dataclass
class Endpoint:
    """One feed of a participant of this hub."""

    hub: Hub = field(repr=False)
    platform: Platform
    feed: Feed

    @property
    def description(self) -> Description:
        return self.feed.connector.describe()

    @property
    def mapping(self) -> Mapping:
        return load_mapping(self.feed.mapping)

    @property
    def fetcher(self) -> Fetcher:
        if not isinstance(self.feed.connector, Fetcher):
            raise NotApplicable("This platform delivers by itself; nothing is asked of it.")
        return self.feed.connector

    @cached_property
    def access(self) -> LinkAccess | None:
        """The right to read one link; raises NotApplicable if nobody gives it now."""
        if self.description.scope is not Scope.LINK:
            return None
        wanted = select(col(Link.link_id)).where(
            col(Link.platform) == self.platform.platform_id, col(Link.state) == LinkState.ACTIVE
        )
        with reading(self.hub.engine) as session:
            links = list(session.execute(wanted.limit(MOST_LINKS)).scalars())
            opened = load_accesses(session, self.hub.ring, link_ids=links, now=self.hub.clock())
        for found in opened.values():
            if not isinstance(found, LinkUnusable) and found.tokens is not None:
                return right_to_read(self.hub, self.platform, found)
        raise NotApplicable("Nobody's account is linked at present, so there is nothing that may be read.")

    @cached_property
    def first(self) -> Read:
        """The first pages, read once for all cases."""
        return self.read(None)

    def read(self, cursor: Cursor | None, *, access: LinkAccess | None = None) -> Read:
        run = self.fetcher.fetch(access or self.access, cursor, now=self.hub.clock())
        pages: list[Page] = []
        seconds: list[float] = []
        try:
            while len(pages) < MOST_PAGES and sum(len(page.delivery.rows) for page in pages) < MOST_ROWS:
                began = time.monotonic()
                page = next(run, None)
                if page is None:
                    break
                seconds.append(time.monotonic() - began)
                pages.append(page)
        except ConnectorError as error:
            return Read(pages=tuple(pages), seconds=tuple(seconds), error=error)
        except Exception as error:
            raise Violation(
                f"The endpoint's answer ends in {type(error).__name__}, which no connector may raise."
            ) from error
        return Read(pages=tuple(pages), seconds=tuple(seconds), error=None)

    def rows(self) -> list[bytes]:
        """Rows to look at; raises NotApplicable if there are none."""
        if not self.first.rows:
            raise NotApplicable("No row was told in the first pages.")
        return self.first.rows

    def translate(self, rows: Sequence[bytes]) -> Translation:
        account = self.access.account if self.access is not None else ""
        return translate(
            self.mapping,
            pl.Series("document", list(rows), dtype=pl.Binary),
            token_key=self.hub.ring.hmac_key(KeyPurpose.EVENT),
            now=self.hub.clock(),
            accounts=pl.Series("account", [account] * len(rows), dtype=pl.String),
        )

    def deliveries(self) -> list[Delivery]:
        return [page.delivery for page in self.first.pages]

    def select(self, sql: str) -> list[tuple[Any, ...]]:
        """Run a SELECT over what the platform has delivered on this stream."""
        values = {"platform": self.platform.platform_id, "stream": self.feed.stream}
        with reading(self.hub.engine) as session:
            return [tuple(row) for row in session.execute(text(sql), values)]
