"""A town whose grams are held, and a shop that uses them. I/O: the hub's database, HTTP to the whole application."""

from datetime import UTC, datetime
from typing import Any

from tests_support.deliveries import BEIJING, act, delivery, join
from tests_support.oauth import METADATA, TYPE, given
from tests_support.people import LinkedPerson, link_person
from tests_support.tokens import Machine
from tests_support.web import look_up

from hub.context import Hub
from hub.db import writing
from hub.ledger.store import load_balances
from hub.participants import Platform
from hub.pipeline import clear_sealed, finalise_window, seal_window, take_delivery
from hub.sync.statements import reconcile_window

NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
CITY = "beijing-green-life"
DAYS = ("2026-11-15", "2026-11-16", "2026-11-17")


def ride(number: str, member: str = "bj-1", *, day: str = DAYS[0], **changed: Any) -> dict[str, Any]:
    at = f"{day}T08:12:03+08:00"
    return act(number, member, beginTime=at, endTime=at.replace("08:12", "08:24"), **changed)


def close_window(hub: Hub, now: datetime = NOW) -> int:
    """Seal, clear and finalise the open window; returns its id."""
    window = seal_window(hub, now=now).window_id
    clear_sealed(hub, now=now)
    reconcile_window(hub, window, now=now)
    finalise_window(hub, window, now=now, waive_challenge=True)
    return window


def settle_town(hub: Hub) -> tuple[Platform, LinkedPerson]:
    """Li holds the grams of three rides on three days."""
    city = join(hub, BEIJING)
    li = link_person(hub, "li", {CITY: "bj-1"}, set(BEIJING["behaviours"]), NOW)
    take_delivery(hub, city, delivery("d1", *(ride(f"{n}", day=day) for n, day in enumerate(DAYS))), now=NOW)
    close_window(hub)
    return city, li


class Shop(Machine):
    """A points marketplace: a client of the city's own that people allow to use their grams."""

    @classmethod
    def opened(cls, hub: Hub, participant: str | None = CITY, scope: str = "grams:use") -> "Shop":
        shop = cls(hub, participant, **given({**METADATA, "scope": f"{scope} account:read"}))
        shop.written = 0
        return shop

    written: int

    def allowed(self, subject_id: int, **detail: Any) -> str:
        """Have the person say yes to the use of grams; returns the token."""
        asked = {"type": TYPE, "actions": ["use"], **detail}
        return str(self.consented(subject_id, authorization_details=[asked], scope="grams:use")["access_token"])

    def write(self, path: str, body: Any, token: str, *, key: str | None = None) -> Any:
        self.written += 1
        headers = {"idempotency-key": key or f"k{self.written}"}
        return self.call("POST", path, token, json=body, headers=headers)

    def reserve(self, token: str, mg: int, *, key: str | None = None, **more: Any) -> Any:
        return self.write("/v1/reservations", {"mg": mg, "use": "redeem", **more}, token, key=key)


def sums(hub: Hub, subject_id: int) -> dict[str, int]:
    """Balances that are not zero."""
    with writing(hub.engine) as session:
        return {kind: mg for kind, mg in load_balances(session, subject_id).items() if mg}


def rows(hub: Hub, sql: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in look_up(hub, sql)]


def use(shop: Shop, token: str, mg: int, **more: Any) -> str:
    """Reserve and commit; returns the reservation's id."""
    made = shop.reserve(token, mg, **more)
    assert made.status_code == 201, made.text
    reservation = str(made.json()["reservation_id"])
    done = shop.write(f"/v1/reservations/{reservation}/commit", {}, token)
    assert done.status_code == 200, done.text
    return reservation
