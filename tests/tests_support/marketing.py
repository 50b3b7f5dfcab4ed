"""A town that charges enough for tonnes, and a market that pools them. I/O: the hub's database, HTTP to the whole application."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import text
from tests_support.deliveries import BEIJING, KUAIDIAN, charge, delivery, join
from tests_support.oauth import METADATA, TYPE, given
from tests_support.people import LinkedPerson, link_person
from tests_support.tokens import Machine
from tests_support.using import close_window
from tests_support.web import look_up

from hub.context import Hub
from hub.db import reading, writing
from hub.market.pool import Pooled, Wanted, pool
from hub.participants import open_platform
from hub.pipeline import take_delivery

NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
MARKET = "sh-market"
CHARGED = "kuaidian"
EACH = 184_000_000
"""A charge of 400 kWh: what the methodology makes of it."""
TONNE = 1_000_000_000
SCOPE = "grams:pool blocks:write account:read"
TABLES = (
    "credit_issuance", "credit_block", "block_share", "block_income", "block_payout", "journal_entry", "posting", "balance",
    "account", "log_leaf", "change_leaf", "reservation", "reservation_line",
)  # fmt: skip


def big_charge(number: int, account: str, day: int, *, month: str = "2026-11", **changed: Any) -> dict[str, Any]:
    """A bus charges 400 kWh in an hour."""
    date = f"{month}-{day:02d}"
    told = {"StartTime": f"{date} 10:00:00", "EndTime": f"{date} 11:00:00", "TotalPower": 400.0}
    return charge(str(number), account, **told, **changed)


class Town:
    """People 0 to n, each with an account at Kuaidian, and a market that is a participant."""

    def __init__(self, hub: Hub, people: int = 3) -> None:
        self.hub, self.told = hub, 0
        join(hub, KUAIDIAN)
        join(hub, {**BEIJING, "id": MARKET, "name_zh": "上海", "name_en": "Shanghai market", "kind": "enterprise"})
        self.people: list[LinkedPerson] = [
            link_person(hub, f"person-{n}", {CHARGED: f"kd-{n}"}, {"MOB-EVCHARGE"}, NOW) for n in range(people)
        ]

    def charge(self, person: int, *days: int, month: str = "2026-11") -> None:
        """Deliver one charge of a person on each of these days."""
        with reading(self.hub.engine) as session:
            platform = open_platform(session, self.hub.ring, CHARGED)
        rows = []
        for day in days:
            self.told += 1
            rows.append(big_charge(self.told, f"kd-{person}", day, month=month))
        name = f"c{self.told}"
        take_delivery(self.hub, platform, delivery(name, *rows, stream="charge_orders"), now=NOW)

    def settle(self) -> int:
        """Close the open window; what it counted is held."""
        return close_window(self.hub, NOW)


def settled_town(hub: Hub) -> Town:
    """Three people hold four charges each: 2.208 tonnes."""
    town = Town(hub)
    for person in range(3):
        town.charge(person, 14, 15, 16, 17)
    town.settle()
    return town


class Market(Machine):
    """A market: a client of a participant's own that people allow to pool their grams."""

    written: int
    own: str | None

    @classmethod
    def opened(cls, hub: Hub, participant: str | None = MARKET, scope: str = SCOPE) -> "Market":
        market = cls(hub, participant, **given({**METADATA, "scope": scope}))
        market.written, market.own = 0, None
        return market

    def allowed(self, *people: LinkedPerson, **detail: Any) -> None:
        """Have people say yes to the pooling of their grams."""
        asked = {"type": TYPE, "actions": ["pool"], **detail}
        for one in people:
            self.consented(one.subject_id, authorization_details=[asked], scope="grams:pool")

    def write(self, path: str, body: Any, *, key: str | None = None) -> Any:
        self.own = self.own or self.token("blocks:write")
        self.written += 1
        headers = {"idempotency-key": key or f"k{self.written}"}
        return self.call("POST", f"/v1/blocks{path}", self.own, json=body, headers=headers)

    def see(self, path: str = "") -> Any:
        self.own = self.own or self.token("blocks:write")
        return self.get(f"/v1/blocks{path}", self.own)


def pool_all(hub: Hub, market: Market, *, year: int | None = None, most: int | None = None) -> Pooled:
    with writing(hub.engine) as session:
        return pool(
            session, participant=MARKET, client_id=market.client_id, wanted=Wanted(year=year, most=most), now=NOW
        )  # fmt: skip


def snapshot(hub: Hub) -> dict[str, list[Any]]:
    """Every row of every table that pooling and retiring write."""
    with reading(hub.engine) as session:
        return {
            name: sorted(map(repr, map(tuple, session.execute(text(f"SELECT * FROM {name}"))))) for name in TABLES
        }  # fmt: skip


def grams(hub: Hub) -> dict[str, int]:
    """What all people have, by kind of account; zeros are left out."""
    sql = (
        "SELECT a.kind, CAST(SUM(p.mg) AS BIGINT) FROM posting p JOIN account a ON a.account_id = p.account_id "
        "WHERE a.subject_id IS NOT NULL AND p.rights <> 'incentive' GROUP BY a.kind"
    )
    return {kind: int(mg) for kind, mg in look_up(hub, sql) if mg}
