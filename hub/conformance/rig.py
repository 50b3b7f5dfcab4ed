"""One feed on the bench: simulator, connector, door, clock and what the platform means to tell. I/O: network, files.

The connector is built from a participant document, as onboarding does. Whatever it hands out is looked at here once for all
cases: an exception that is none of the contract's, a reply that gives something away, an error with the platform's words.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from connectors.base import (
    Connector,
    ConnectorError,
    Cursor,
    Delivery,
    Fetcher,
    Inbound,
    LinkAccess,
    Outcome,
    Page,
    Receiver,
    Reply,
    Scope,
    Window,
)
from connectors.registry import build
from hub.conformance.cases import NotApplicable, Violation, require
from hub.conformance.document import Build, Settings, make_document
from hub.conformance.inspection import inspect_error, inspect_reply, inspect_text, private_values
from hub.conformance.observed import Reading, Taken
from hub.conformance.stage import Stage
from hub.conformance.world import SEED, ChosenReports, Edit, choose_rows, stream_of, town_reports
from hub.sandbox.config import secrets_for
from hub.sandbox.platforms.auth_server import SCOPES
from hub.sandbox.platforms.faults import Faults
from hub.sandbox.platforms.site import Front, Site, Tally, Voice
from hub.sandbox.platforms.spec import Feed, Place, Spec
from hub.sandbox.platforms.tokens import Sealer
from hub.sandbox.reports import Report
from mappings import Mapping as MappingFile
from mappings import Translation, load_mapping, translate

FALSE_TOKEN = "not-a-token-that-anybody-gave-out"  # noqa: S105 - that is its point
MOST_PAGES = 1000
_LOOKED_AT = 60
_PAGES = 5


class Rig:
    """One case's world. `small_pages` are settings that make a feed come in many pages."""

    def __init__(
        self,
        stage: Stage,
        spec: Spec,
        feed: Feed,
        folder: Path,
        *,
        builder: Build = build,
        edit: Edit = lambda rows: rows,
        small_pages: bool = True,
        rows: Sequence[Report] | None = None,
    ) -> None:
        self.stage, self.spec, self.feed, self.folder = stage, spec, feed, folder
        self.builder, self._small_pages = builder, small_pages
        town = town_reports().town
        self.town, self.now = town, town.ends_at + timedelta(days=2)
        chosen = choose_rows(spec, feed) if rows is None else tuple(rows)
        self.told: tuple[Report, ...] = tuple(edit(chosen))
        self.delivered_part = 0
        self.taken: list[Taken] = []
        self._broken: Violation | None = None
        self.row_paths: set[str] = set()  # those that were asked just before a page came
        self.site = self._make_site()
        self.front = Front(self.site, Faults(slow_s=0.2), signs_in=spec.signs_in)
        self.faults = self.front.faults
        self.voice: Voice = feed.voice(self.front, stream_of(spec, feed))
        stage.wire.sever(self.front.app, self.front.doors)
        stage.door.take = self._take
        self.document = self._make_document()
        self.connector = self.connect()
        self.description = self.connector.describe()

    # What is there.

    @property
    def wire(self) -> Any:
        return self.stage.wire

    @property
    def mapping(self) -> MappingFile:
        return load_mapping(str(self.document["mapping"]))

    @property
    def receiver(self) -> Receiver:
        if not isinstance(self.connector, Receiver):
            raise Violation("It says that platforms speak to it, and has no receive() and acknowledge().")
        return self.connector

    @property
    def fetcher(self) -> Fetcher:
        if not isinstance(self.connector, Fetcher):
            raise Violation("It says that it asks platforms, and has no fetch().")
        return self.connector

    @property
    def account(self) -> str:
        """The account whose link is read: the one that the platform tells most of."""
        accounts = [row.account for row in self.told]
        return max(sorted(set(accounts)), key=accounts.count, default="")

    @property
    def drop_root(self) -> Path:
        """Where the feed's drops lie, as the connector is told; each feed of a platform has a folder of its own."""
        return Path(str(self.document["connector_config"].get("root", self.site.drop_dir)))

    @property
    def is_of_links(self) -> bool:
        return self.description.scope is Scope.LINK

    def own(self, rows: Sequence[Report] | None = None) -> tuple[Report, ...]:
        """The rows that one run may bring: those of the link's account, or everybody's; only of delivered parts."""
        rows = self.told if rows is None else rows
        mine = [row for row in rows if not self.is_of_links or row.account == self.account]
        return tuple(row for row in mine if row.part <= self.delivered_part)

    def secrets(self) -> list[str]:
        """Every text that only the hub and the platform may know."""
        agreed = self.document["secrets"].values()
        texts = [text for value in agreed for text in ([value] if isinstance(value, str) else value)]
        words = [word for text in texts for word in text.split()]
        oauth = [self.site.secrets["client_secret"]]
        return [word for word in (*words, *oauth, self.access_token) if len(word) >= 8]

    @property
    def access_token(self) -> str:
        claims = {"sub": self.account, "scope": " ".join(SCOPES), "grant": "conformance", "jti": "conformance"}
        sealer = Sealer(self.site.secrets["seal_key"].encode())
        return sealer.seal("access", claims, now=self.now, lives=timedelta(days=400))

    def access(self, *, token: str | None = None, account: str | None = None) -> LinkAccess | None:
        """The right to read the account's link; None where a connector reads everybody's rows."""
        if not self.is_of_links:
            return None
        return LinkAccess(
            link_id="conformance",
            account=self.account if account is None else account,
            access_token=self.access_token if token is None else token,
        )

    def connect(self, **changes: object) -> Receiver | Fetcher:
        """Build another instance of the connector, as another process of the hub would."""
        config = {**self.document["connector_config"], **changes}
        return self.build(config, self.document["secrets"])

    def build(self, config: Settings, secrets: Settings) -> Receiver | Fetcher:
        return self.builder(self.document["connector"], config, secrets)

    # What the platform does.

    def deliver(self, part: int | None = None) -> Tally:
        """Let the platform tell a part, or its whole month."""
        total = Tally()
        for one in range(1, self.town.parts + 1) if part is None else [part]:
            total.add(self._tell(one))
            self.delivered_part = max(self.delivered_part, one)
        return total

    def messages(self) -> list[Taken]:
        """The posted messages that became deliveries, in order."""
        found = [one for one in self.taken if isinstance(one.answer, Delivery)]
        if not found:
            raise Violation("It took none of the platform's own, well signed messages; it must take them.")
        return found

    def deliveries(self) -> list[Delivery]:
        """Bring everything of all parts, part by part, whichever way the transport goes."""
        if isinstance(self.connector, Receiver):
            self.deliver()
            return [delivery for one in self.messages() if (delivery := one.delivery) is not None]
        found: list[Delivery] = []
        cursor: Cursor | None = None
        for part in range(1, self.town.parts + 1):
            self.deliver(part)
            reading = self.read_all(cursor)
            cursor = reading.cursor
            found += [page.delivery for page in reading.pages]
        return found

    def _tell(self, part: int) -> Tally:
        try:
            tally = asyncio.run(self.voice.deliver(part))
        except Exception as error:
            self._raise_what_broke()
            # The simulator cannot say what the case wants it to say; that is nobody's fault but the case's.
            raise NotApplicable(f"The simulator cannot tell this ({type(error).__name__}).") from error
        self._raise_what_broke()
        return tally

    def _raise_what_broke(self) -> None:
        """Raise what the connector did wrong while the platform was posting."""
        if self._broken is not None:
            raise self._broken

    # What the connector does.

    def receive(self, request: Inbound, *, now: datetime | None = None) -> Delivery | Reply | ConnectorError:
        """Give one request to the connector and look at what comes out."""
        try:
            answer = self.receiver.receive(request, now=now or self.now)
        except ConnectorError as error:
            self.inspect_error(error)
            return error
        except Exception as error:
            raise Violation(f"receive() raised {_told(error)}; only the contract's errors may leave it.") from error
        if isinstance(answer, Reply):
            self.inspect_reply(answer)
        elif not isinstance(answer, Delivery):
            raise Violation("receive() returned neither a delivery nor a reply.")
        return answer

    def acknowledge(self, delivery: Delivery, outcome: Outcome) -> Reply:
        try:
            reply = self.receiver.acknowledge(delivery, outcome)
        except Exception as error:
            raise Violation(f"acknowledge() raised {_told(error)}; what was taken must be answered.") from error
        self.inspect_reply(reply)
        return reply

    def read(
        self, cursor: Cursor | None = None, *, window: Window | None = None, most_pages: int = MOST_PAGES,
        access: LinkAccess | None = None, fetcher: Fetcher | None = None,
    ) -> Reading:  # fmt: skip
        """Run a fetcher to its end or its error; a new instance each time, as it keeps no state."""
        used = fetcher or self.connect()
        if not isinstance(used, Fetcher):
            raise Violation("It says that it asks platforms, and has no fetch().")
        since = self.town.starts_at - timedelta(days=2)
        pages: list[Page] = []
        try:
            run = used.fetch(access or self.access(), cursor, now=self.now, window=window or Window(since=since))
            for page in run:
                pages.append(page)
                self.row_paths |= {one.path for one in self.wire.asked[-1:]}
                require(
                    len(pages) < MOST_PAGES, f"It yielded {MOST_PAGES} pages and did not end; every loop needs a bound."
                )
                if len(pages) == most_pages:
                    _close(run)
                    break
        except ConnectorError as error:
            self.inspect_error(error)
            return Reading(pages=tuple(pages), error=error, start=cursor)
        except Violation:
            raise
        except Exception as error:
            raise Violation(f"fetch() raised {_told(error)}; only the contract's errors may leave it.") from error
        return Reading(pages=tuple(pages), error=None, start=cursor)

    def read_at(self, root: Path) -> Reading:
        """Run a fetcher of drops on a copy of the platform's folder."""
        config = self.document["connector_config"]
        moved = {name: str(root) for name, value in config.items() if value == str(self.drop_root)}
        fetcher = self.connect(**moved)
        if not isinstance(fetcher, Fetcher):
            raise Violation("It says that it reads drops, and has no fetch().")
        return self.read(fetcher=fetcher)

    def read_all(self, cursor: Cursor | None = None, *, window: Window | None = None) -> Reading:
        """Run a fetcher that must come to its end."""
        reading = self.read(cursor, window=window)
        if reading.error is not None:
            kind, reason = type(reading.error).__name__, reading.error.reason
            raise Violation(f"A healthy platform was read with {kind}({reason}) instead of to its end.")
        return reading

    def translate(self, rows: Sequence[bytes]) -> Translation:
        """Give rows to the feed's mapping."""
        series = pl.Series("document", list(rows), dtype=pl.Binary)
        accounts = pl.Series("account", [self.account] * len(rows), dtype=pl.String)
        return translate(self.mapping, series, token_key=b"conformance-key!" * 2, now=self.now, accounts=accounts)

    def ids(self, rows: Sequence[bytes]) -> set[str]:
        """The source ids that the mapping finds in rows; rows that it sets aside have none."""
        return set(self.translate(rows).records["source_id"].to_list())

    # What may never come out, whatever the case.

    def inspect_error(self, error: ConnectorError) -> None:
        inspect_error(error, self.secrets())

    def inspect_text(self, text: str, where: str) -> None:
        inspect_text(text, where, self.secrets())

    def inspect_reply(self, reply: Reply) -> None:
        inspect_reply(reply, self.secrets(), self.private_values())

    def private_values(self) -> set[str]:
        """Personal values that stand in what the platform tells."""
        return private_values(self.told[:_LOOKED_AT], self.description.drops)

    # How it is made.

    def _take(self, request: Inbound, bringer: str | None) -> Reply:
        at = self.now
        try:
            answer = self.receive(request)
            self.taken.append(Taken(request=request, at=at, answer=answer, bringer=bringer))
            if isinstance(answer, Delivery):
                return self.acknowledge(answer, Outcome(accepted=len(answer.rows), quarantined=len(answer.unreadable)))
        except Violation as violation:
            self._broken = self._broken or violation
            return Reply(status=400)  # not 5xx: the simulator would only try again
        # A simulator that hears of an accident of ours tries again for seconds; here it is told to let it be.
        return Reply(status=400) if isinstance(answer, ConnectorError) or answer.status >= 500 else answer

    def _make_site(self) -> Site:
        return Site(
            platform=self.spec.id,
            title=self.spec.name_en,
            origin=self.stage.origin,
            hub_url=self.stage.hub_url,
            reports=ChosenReports(self.town, self.told),
            clock=lambda: self.now,
            secrets=secrets_for(self.spec, SEED),
            drop_dir=self.folder / "drop",
        )

    def _make_document(self) -> dict[str, Any]:
        place = Place(
            platform=self.spec.id, origin=self.stage.origin, drop_dir=self.site.drop_dir, agreed=self.site.secrets
        )
        fewest = min(Counter(row.account for row in self.told).values(), default=0)
        page_rows = fewest // _PAGES if self._small_pages else None
        return make_document(self.spec, self.feed, place, builder=self.builder, page_rows=page_rows)


def mutated(request: Inbound, **changes: Any) -> Inbound:
    """Return a request with another body, other headers, another path."""
    return replace(request, **changes)


def supports_revoke(connector: Receiver | Fetcher) -> bool:
    """Whether a connector has a way of its own to end a consent."""
    own: object = type(connector).revoke
    return own is not Connector.revoke


def _close(run: object) -> None:
    close = getattr(run, "close", None)
    if close is not None:
        close()


def _told(error: BaseException) -> str:
    return type(error).__name__
