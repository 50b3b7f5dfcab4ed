"""What every simulated platform is given, and the parts of its server that do not depend on its format. I/O: HTTP."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Query, Response

from hub.clock import Clock
from hub.sandbox.platforms.auth_server import AuthServer, Client
from hub.sandbox.platforms.book import DeliveryBook
from hub.sandbox.platforms.faults import FaultDoor, Faults
from hub.sandbox.reports import Report, Reports

CALLBACK = "/links/callback"


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A platform's place in the world. `secrets` are what it has agreed with the hub."""

    platform: str
    title: str
    origin: str
    hub_url: str
    reports: Reports
    clock: Clock
    secrets: Mapping[str, str] = field(repr=False)
    drop_dir: Path = Path("drop")

    def rows(self, part: int, stream: str | None = None) -> tuple[Report, ...]:
        """Return what the platform (or one feed of it) has to tell in a part."""
        return self.reports.told_by(self.platform, part, stream)

    def is_shared(self, row: Report) -> bool:
        """Say whether a row is of an account whose person lets the hub have it, as the platform's own sign-in knows."""
        person = self.reports.town.people[row.person - 1]
        ended = person.revokes is not None and person.revokes.platform == self.platform
        over = ended and person.revokes is not None and row.part > person.revokes.after_part
        return row.trouble is None and self.platform in person.links and not over

    def sign_in(self, username: str, password: str) -> str | None:
        """Return the account of a person who gives the right name and password here."""
        person = self.reports.town.person_named(username)
        if person is None or person.password != password:
            return None
        return person.accounts.get(self.platform)

    def auth_server(self) -> AuthServer:
        return AuthServer(
            issuer=self.origin,
            title=self.title,
            key=self.secrets["seal_key"].encode(),
            client=Client(
                client_id=self.secrets["client_id"],
                client_secret=self.secrets["client_secret"],
                redirect_uri=f"{self.hub_url}{CALLBACK}/{self.platform}",
            ),
            sign_in=self.sign_in,
            clock=self.clock,
        )


@dataclass(slots=True, kw_only=True)
class Tally:
    """How one `deliver` went: deliveries taken, refused (also: disputed) or failed; `rows` are those that arrived."""

    deliveries: int = 0
    rows: int = 0
    taken: int = 0
    refused: int = 0
    failed: int = 0

    def add(self, other: "Tally") -> None:
        self.deliveries += other.deliveries
        self.rows += other.rows
        self.taken += other.taken
        self.refused += other.refused
        self.failed += other.failed


class Front:
    """What all feeds of a platform share: its place, its switches, its book, its sign-in and its server.

    The statement needs no key: it has counts and sums of a sandbox, and the person whose row it was is not in it.
    `doors` are the paths before which faults stand.
    """

    def __init__(self, site: Site, faults: Faults | None = None, *, signs_in: bool = True) -> None:
        self.site, self.faults = site, faults or Faults()
        self.book = DeliveryBook(clock=site.clock, is_shared=site.is_shared)
        self.auth = site.auth_server() if signs_in else None
        self.doors = {"/oauth/token", "/oauth/userinfo"}
        self.app = FastAPI(title=f"{site.title} (simulated)", openapi_url=None, docs_url=None, redoc_url=None)
        if self.auth is not None:
            self.app.include_router(self.auth.router())
        self.app.add_api_route("/statement", self._statement, methods=["GET"], response_model=None)
        self.app.add_middleware(FaultDoor, faults=self.faults, doors=self.doors)

    def account_of(self, authorization: str | None) -> str | None:
        """Return the account that a bearer token of this platform speaks for; None if it is no good."""
        return self.auth.account_of(authorization) if self.auth is not None else None

    def _statement(
        self,
        part: int | None = None,
        since: Annotated[datetime | None, Query(alias="from")] = None,
        until: datetime | None = None,
        stream: str = "",
        lines: bool = False,
    ) -> dict[str, Any] | Response:
        if since is None or until is None:
            return {"platform": self.site.platform, **self.book.statement(part)}
        if lines:
            return Response(self.book.lines_text(stream, since, until), media_type="application/x-ndjson")
        told = self.book.statement(part) | {"streams": self.book.streams(since, until)}
        return {"platform": self.site.platform, **told}


class Voice(ABC):
    """One feed of a platform: it serves routes on the front's server, or speaks to the hub, or both.

    `stream` is the feed's name in reports; a platform with one feed has the empty one. `names_people` says whether its rows
    are somebody's; `numbers_versions` whether each carries the number of its edition.
    """

    names_people = True
    numbers_versions = False

    def __init__(self, front: Front, stream: str = "") -> None:
        self.front, self.stream = front, stream
        self.site, self.faults, self.app = front.site, front.faults, front.app
        self.book = front.book.of_feed(stream, self.version_of if self.names_people else None)

    def version_of(self, row: Report) -> int | None:
        """Return the version number that a row carries, 0 where the format has none; None: it is in no statement."""
        return row.version if self.numbers_versions else 0

    def rows(self, part: int) -> tuple[Report, ...]:
        """Return what this feed has to tell in a part."""
        return self.site.rows(part, self.stream)

    @abstractmethod
    async def deliver(self, part: int) -> Tally:
        """Tell the hub everything of one part, or let it be fetched. Doing it again tells the same again."""


class Platform:
    """A simulated platform: its front and the voices of its feeds."""

    def __init__(self, front: Front, voices: Sequence[Voice]) -> None:
        self.site, self.faults, self.book, self.app = front.site, front.faults, front.book, front.app
        self.voices = tuple(voices)

    async def deliver(self, part: int) -> Tally:
        """Let every feed tell its part."""
        total = Tally()
        for voice in self.voices:
            total.add(await voice.deliver(part))
        return total
