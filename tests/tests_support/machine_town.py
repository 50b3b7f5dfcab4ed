"""A town for machines: three people with accounts at three platforms, a shop, a reviewer. I/O: the hub's database.

Two of the platforms tell of the same rides, by order or only by time. Everything here is done by the hub's own functions;
what is expected of them stands in `machine_model.py`.
"""

import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from tests_support.deliveries import BEIJING, act, charge, delivery, join
from tests_support.deliveries import KUAIDIAN as CHARGING
from tests_support.holding import hire
from tests_support.lived_hub import open_at

from connectors.base import Delivery, Outcome
from consent.changes import Change
from consent.details import Detail, dump_details
from consent.grants import activate_grant, pause_grant, request_grant, require_grant, resume_grant
from consent.links import open_link
from consent.people import add_person
from consent.terms import HUB, Frequency, GrantTerms, Purpose, Sensitive
from consent.withdraw import withdraw_grant
from hub.changes import log_consent_change
from hub.context import Hub
from hub.db import writing
from hub.participants import Platform
from hub.pipeline import clear_sealed, finalise_window, seal_window, take_delivery
from hub.rights.erase import erase_person
from hub.sync.statements import reconcile_window
from hub.uses.reservations import Reservation, Wanted, commit, expire_due, reserve, void

CITY, OTHER, KUAIDIAN = "beijing-green-life", "other-city", "kuaidian"
DOCUMENTS: dict[str, dict[str, Any]] = {
    CITY: BEIJING,
    OTHER: BEIJING | {"id": OTHER, "secrets": {"webhook_secrets": "whsec_" + "AAAA" * 8}},
    KUAIDIAN: CHARGING,
}
BEHAVIOURS = frozenset(BEIJING["behaviours"]) | {"MOB-EVCHARGE"}
PEOPLE = 3
SHOP = "c_shop"
REVIEWER = "chen"
CHINA = ZoneInfo("Asia/Shanghai")
FIRST_DAY = date(2026, 11, 16)
START = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)  # 20:00 in China: all hours of the day are over
HOURS = (8, 12, 18)
CHARGING_HOUR = 10
STEP = timedelta(minutes=1)
# Milligrams a metre by bike; the floor of a metro ride; milligrams a kilowatt-hour: the most that the methodology gives.
BIKE_MG_M, METRO_MG, CHARGE_MG_KWH = 33.88, 46_700, 460_000
CLAIM_MG = 500_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a platform says of one act in one version.

    `owner`, `day` and `hour` name the act, `twin` the second name under which one platform tells it; `person` is whose
    account the row names, which is another one's only by mistake.
    """

    platform: str
    owner: int
    person: int
    day: int
    hour: int
    twin: str = ""
    version: int = 2
    scene: str = "BIKE"
    size: int = 2000
    keyed: bool = True
    minute: int = 0
    cancelled: bool = False

    @property
    def source(self) -> tuple[str, int, int, int, str]:
        """The name of the record, under which versions follow one another."""
        return self.platform, self.owner, self.day, self.hour, self.twin

    @property
    def most_mg(self) -> int:
        """What it may count at most."""
        if self.cancelled:
            return 0
        if self.platform == KUAIDIAN:
            return self.size // 100 * CHARGE_MG_KWH
        return min(CLAIM_MG, round(self.size * BIKE_MG_M) if self.scene == "BIKE" else METRO_MG)

    def row(self) -> bytes:
        """Return the document, byte for byte the same each time."""
        begin = datetime.combine(FIRST_DAY, datetime.min.time(), CHINA) + timedelta(days=self.day, hours=self.hour)
        begin += timedelta(minutes=self.minute)
        end, account = begin + timedelta(minutes=12), account_of(self.platform, self.person)
        number = f"{self.owner}-{self.day}-{self.hour}"
        if self.platform == KUAIDIAN:
            digits = f"{self.owner}{self.day:03}{self.hour:02}"
            told = charge(
                digits, account, StartTime=f"{begin:%Y-%m-%d %H:%M:%S}", EndTime=f"{begin:%Y-%m-%d} {self.hour + 1}:00:00",
                TotalPower=self.size / 100,
            )  # fmt: skip
        else:
            told = act(
                f"{number}{self.twin}", account, ver=self.version, scene=self.scene, beginTime=begin.isoformat(),
                endTime=end.isoformat(), updateTime=end.isoformat(), distance=self.size if self.scene == "BIKE" else None,
                orderNo=f"ORD{number}" if self.keyed else None, status="CANCELLED" if self.cancelled else "FINISHED",
            )  # fmt: skip
        return json.dumps(told).encode()


def account_of(platform: str, person: int) -> str:
    return f"{platform[:2]}-{person}"


@dataclass(slots=True, kw_only=True)
class Person:
    """Who owns the accounts of one number now, and what they allow: grants by platform, and to the shop."""

    number: int
    subject_id: int
    grants: dict[str, str] = field(default_factory=dict)
    paused: set[str] = field(default_factory=set)
    shop: str | None = None
    erased: bool = False

    def allows(self, platform: str) -> bool:
        return platform in self.grants and platform not in self.paused


class Town:
    """A hub, its people and its clock, which goes on by a minute with each thing that is done."""

    def __init__(self, hub: Hub, folder: Path, people: list[Person], now: datetime = START) -> None:
        self.hub, self.folder, self.people, self.now = hub, folder, people, now
        self.platforms: dict[str, Platform] = {}
        self.messages = 0

    # --- platforms and windows ------------------------------------------------------------------------------------

    def tick(self) -> datetime:
        self.now += STEP
        return self.now

    def today(self) -> int:
        """The number of the day."""
        return (self.now.astimezone(CHINA).date() - FIRST_DAY).days

    def message(self, told: list[Told]) -> Delivery:
        """Put what one platform tells into a message of a name that was not there before."""
        self.messages += 1
        stream = "charge_orders" if told[0].platform == KUAIDIAN else "acts"
        return delivery(f"m{self.messages}", *(one.row() for one in told), stream=stream)

    def deliver(self, platform: str, message: Delivery) -> Outcome:
        return take_delivery(self.hub, self.platforms[platform], message, now=self.tick())

    def close_windows(self, unfinished: list[int]) -> list[int]:
        """Seal the open window and make it and all before it final; returns which became final."""
        sealed = seal_window(self.hub, now=self.tick()).window_id
        while clear_sealed(self.hub, now=self.tick()) is not None:
            pass
        for window in [*unfinished, sealed]:
            reconcile_window(self.hub, window, now=self.tick())
            finalise_window(self.hub, window, now=self.tick(), waive_challenge=True)
        return [*unfinished, sealed]

    # --- what people allow ----------------------------------------------------------------------------------------

    def allow(self, person: Person, platform: str) -> None:
        """Allow the hub to collect, clear and credit what a platform tells, and link the account."""
        now = self.tick()
        terms = GrantTerms(
            recipient=HUB, purposes=frozenset({Purpose.COLLECT, Purpose.CLEAR, Purpose.CREDIT}), behaviours=BEHAVIOURS,
            platforms=frozenset({platform}), valid_from=now - timedelta(days=90), valid_until=now + timedelta(days=365),
            sensitive=frozenset(Sensitive), notice_version="test", language="en",
        )  # fmt: skip
        with writing(self.hub.engine) as session:
            grant, asked = request_grant(session, subject_id=person.subject_id, terms=terms, now=now)
            _, given = activate_grant(session, grant_id=grant.grant_id, subject_id=person.subject_id, now=now)
            _, opened = open_link(
                session, self.hub.ring, subject_id=person.subject_id, platform=platform,
                account=account_of(platform, person.number), grant_id=grant.grant_id, valid_from=terms.valid_from, now=now,
            )  # fmt: skip
            self._log(session, [asked, given, opened], now)
        person.grants[platform] = grant.grant_id
        person.paused.discard(platform)

    def let_shop(self, person: Person) -> None:
        """Allow the shop to use all grams there are."""
        now = self.tick()
        detail = Detail(
            actions=frozenset({"use"}), behaviours=BEHAVIOURS, platforms=frozenset(DOCUMENTS), purpose="",
            since=now - timedelta(days=90), until=now + timedelta(days=365), frequency=Frequency.ALWAYS,
        )  # fmt: skip
        terms = GrantTerms(
            recipient=SHOP, purposes=frozenset({Purpose.RESERVE}), behaviours=BEHAVIOURS, platforms=detail.platforms,
            valid_from=detail.since, valid_until=detail.until, notice_version="test", language="en",
            sensitive=frozenset(Sensitive), details=dump_details([detail]),
        )  # fmt: skip
        with writing(self.hub.engine) as session:
            grant, asked = request_grant(session, subject_id=person.subject_id, terms=terms, now=now)
            _, given = activate_grant(session, grant_id=grant.grant_id, subject_id=person.subject_id, now=now)
            self._log(session, [asked, given], now)
        person.shop = grant.grant_id

    def withdraw(self, person: Person, grant_id: str) -> None:
        now = self.tick()
        with writing(self.hub.engine) as session:
            changes = withdraw_grant(session, grant_id=grant_id, subject_id=person.subject_id, now=now)
            self._log(session, changes, now)

    def pause(self, person: Person, platform: str) -> None:
        """Pause a grant, or resume the one that is paused."""
        now, paused = self.tick(), platform in person.paused
        move = resume_grant if paused else pause_grant
        with writing(self.hub.engine) as session:
            _, change = move(session, grant_id=person.grants[platform], subject_id=person.subject_id, now=now)
            self._log(session, [change], now)
        person.paused ^= {platform}

    def erase(self, person: Person) -> None:
        erase_person(self.hub, person.subject_id, now=self.tick())
        person.erased, person.shop = True, None
        person.grants.clear()
        person.paused.clear()

    def come(self, number: int) -> Person:
        """Have somebody come who owns the accounts of this number, and allow everything."""
        now = self.tick()
        with writing(self.hub.engine) as session:
            name = f"person-{number}-{self.messages}-{now:%d%H%M}"
            added = add_person(session, self.hub.ring, username=name, password=None, display_name=name, now=now)
        person = Person(number=number, subject_id=added.subject_id)
        for platform in DOCUMENTS:
            self.allow(person, platform)
        self.let_shop(person)
        return person

    def _log(self, session: Any, changes: list[Change], now: datetime) -> None:
        for change in changes:
            log_consent_change(session, change, now, hub=self.hub)

    # --- the shop -------------------------------------------------------------------------------------------------

    def reserve(self, person: Person, participant: str, wanted: Wanted) -> Reservation:
        assert person.shop is not None
        now = self.tick()
        with writing(self.hub.engine) as session:
            grant = require_grant(session, grant_id=person.shop, subject_id=person.subject_id)
            return reserve(
                session, grant=grant, participant=participant, client_id=SHOP, wanted=wanted, now=now
            )  # fmt: skip

    def commit(self, reservation_id: str, mg: int | None) -> Reservation:
        now = self.tick()
        with writing(self.hub.engine) as session:
            return commit(session, reservation_id, client_id=SHOP, mg=mg, now=now)

    def void(self, reservation_id: str) -> Reservation:
        now = self.tick()
        with writing(self.hub.engine) as session:
            return void(session, reservation_id, client_id=SHOP, now=now)

    def expire(self) -> int:
        with writing(self.hub.engine) as session:
            return expire_due(session, now=self.now)


@dataclass(frozen=True, slots=True)
class Template:
    """A settled town in a database that is copied. `copy` makes one and returns its address and folder, `drop` takes it away."""

    town: Town
    told: list[tuple[str, list[Told], Delivery]]
    copy: Callable[[], tuple[str, Path]]
    drop: Callable[[str, Path], None]

    def opened(self) -> Town:
        """Open a copy."""
        url, folder = self.copy()
        hub = open_at(url, self.town.hub.settings.keys_dir)
        opened = Town(hub, folder, deepcopy(self.town.people), self.town.now)
        opened.platforms, opened.messages = self.town.platforms, self.town.messages
        return opened

    def close(self, opened: Town) -> None:
        opened.hub.engine.dispose()
        self.drop(opened.hub.settings.database_url, opened.folder)


def settle(url: str, folder: Path) -> tuple[Town, list[tuple[str, list[Told], Delivery]]]:
    """Make a town in which everybody holds the grams of a ride of two platforms and of one of a single platform."""
    hub = open_at(url, folder / "keys")
    town = Town(hub, folder, [])
    town.platforms = {name: join(hub, document) for name, document in DOCUMENTS.items()}
    hire(hub, REVIEWER)
    town.people = [town.come(number) for number in range(PEOPLE)]
    city = [
        Told(platform=CITY, owner=number, person=number, day=day, hour=HOURS[0])
        for number in range(PEOPLE) for day in (0, 1)
    ]  # fmt: skip
    other = [Told(platform=OTHER, owner=number, person=number, day=0, hour=HOURS[0]) for number in range(PEOPLE)]
    told = [(rows[0].platform, rows, town.message(rows)) for rows in (city, other)]
    for platform, _, message in told:
        assert town.deliver(platform, message).refused == 0
    town.close_windows([])
    hub.engine.dispose()
    return town, told
