"""What every simulated platform is given, and the parts of its server that do not depend on its format. I/O: HTTP."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from fastapi import FastAPI

from hub.clock import Clock
from hub.sandbox.platforms.auth_server import AuthServer, Client
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

    def rows(self, part: int) -> tuple[Report, ...]:
        """Return what the platform has to tell in a part."""
        return self.reports.told_by(self.platform, part)

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """One delivery as the platform has noted it."""

    delivery_id: str
    part: int
    rows: int
    claimed_mg: int


class DeliveryBook:
    """What the platform believes that it has delivered: only what the hub has taken or has been answered."""

    def __init__(self) -> None:
        self._sent: dict[str, Sent] = {}

    def note(self, delivery_id: str, part: int, rows: tuple[Report, ...]) -> None:
        """Note a delivery; the same id again is the same delivery."""
        claimed_mg = sum(row.claimed_mg for row in rows)
        self._sent[delivery_id] = Sent(delivery_id=delivery_id, part=part, rows=len(rows), claimed_mg=claimed_mg)

    def statement(self, part: int | None = None) -> dict[str, Any]:
        """Return the platform's own statement, for one part or for all so far."""
        sent = [one for one in self._sent.values() if part is None or one.part == part]
        return {
            "deliveries": [
                {"delivery_id": one.delivery_id, "rows": one.rows, "claimed_mg": one.claimed_mg} for one in sent
            ]
        }


@dataclass(slots=True, kw_only=True)
class Tally:
    """How one `deliver` went: deliveries taken, refused (also: disputed) or failed; `rows` are those that arrived."""

    deliveries: int = 0
    rows: int = 0
    taken: int = 0
    refused: int = 0
    failed: int = 0


class Platform(Protocol):
    """A simulated platform: an application to serve and a way to make it deliver."""

    site: Site
    faults: Faults
    book: DeliveryBook
    app: FastAPI

    async def deliver(self, part: int) -> Tally:
        """Tell the hub everything of one part. Doing it again tells the same again."""
        ...


def platform_app(site: Site, faults: Faults, book: DeliveryBook, auth: AuthServer | None) -> FastAPI:
    """Return the application that every platform has: sign-in (where it has one) and the statement.

    The statement needs no key: it has counts and sums of a sandbox, and the person whose row it was is not in it.
    """
    app = FastAPI(title=f"{site.title} (simulated)", openapi_url=None, docs_url=None, redoc_url=None)
    if auth is not None:
        app.include_router(auth.router())

    @app.get("/statement")
    def statement(part: int | None = None) -> dict[str, Any]:
        return {"platform": site.platform, **book.statement(part)}

    app.add_middleware(FaultDoor, faults=faults, doors=("/oauth/token", "/oauth/userinfo", "/records", "/sns/"))
    return app
