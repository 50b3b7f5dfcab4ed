"""Four simulators of published formats, read over real HTTP by the hub's own connectors: two hands and one standard."""

import json
import socket
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from connectors.base import ConnectorError, Cursor, Fetcher, LinkAccess, Page, RetryLater, SetAside, Stop, Window
from connectors.registry import build
from hub.sandbox.config import secrets_of
from hub.sandbox.platforms.by_time import ByTimeVoice
from hub.sandbox.platforms.faults import Fault
from hub.sandbox.platforms.site import Front, Site
from hub.sandbox.platforms.spec import Feed, Place
from hub.sandbox.platforms.tokens import Sealer
from hub.sandbox.registers import BAIDU, DIDI, HELLO_BIKE, KUAIDIAN
from hub.sandbox.reports import Note, Report, Reports
from hub.sandbox.specs import SPECS
from hub.sandbox.telling.hello_bike import opens_at
from hub.sandbox.town import Town

SEED = 7
FEEDS = {"cdrs": KUAIDIAN, "trips": HELLO_BIKE, "orders": DIDI, "tracks": BAIDU}
every_feed = pytest.mark.parametrize("stream", FEEDS)


@dataclass(frozen=True, kw_only=True)
class Rig:
    """One feed's simulator on a real port, and the connector that it was onboarded with."""

    voice: Any
    fetcher: Fetcher
    told: str

    @property
    def window(self) -> Window | None:
        """Hours are many: those after the month are left out."""
        is_hourly = self.told == "" and self.voice.site.platform == HELLO_BIKE
        return Window(until=self.voice.site.reports.town.ends_at + timedelta(hours=1)) if is_hourly else None

    def token(self, account: str) -> str:
        claims = {"sub": account, "scope": "records:read", "grant": "g", "jti": "j"}
        sealer = Sealer(self.voice.site.secrets["seal_key"].encode())
        return sealer.seal("access", claims, now=datetime.now(UTC), lives=timedelta(minutes=5))

    def rows(self, parts: int = 4, account: str | None = None) -> tuple[Report, ...]:
        rows = self.voice.site.reports.told_by(self.voice.site.platform, stream=self.told)
        return tuple(row for row in rows if row.part <= parts and account in (None, row.account))

    def bodies(self, parts: int = 4, account: str | None = None) -> Counter[str]:
        """What a hub that reads now must see: each record as it stands, or each edition where the list keeps them."""
        shown = self.rows(parts, account)
        if not self.voice.keeps_editions:
            shown = tuple({row.source_id: row for row in shown}.values())
        return Counter(row.body for row in shown)

    def read(
        self, cursor: Cursor | None = None, account: str | None = None
    ) -> tuple[list[Page], ConnectorError | None]:
        access = None if account is None else LinkAccess(link_id="1", account=account, access_token=self.token(account))
        pages: list[Page] = []
        try:
            for page in self.fetcher.fetch(access, cursor, now=datetime.now(UTC), window=self.window):
                pages.append(page)
        except ConnectorError as error:
            return pages, error
        return pages, None


@pytest.fixture
def rig(serve: Callable[..., str], reports: Reports, make_site: Callable[..., Site]) -> Callable[[str], Rig]:
    def make(stream: str) -> Rig:
        spec = SPECS[FEEDS[stream]]
        feed: Feed = next(feed for feed in spec.feeds if feed.stream == stream)
        told = "" if feed is spec.feeds[0] else stream
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        origin, agreed = f"http://127.0.0.1:{port}", secrets_of(SEED)[spec.id]
        front = Front(make_site(spec.id, origin=origin), signs_in=spec.signs_in)
        voice = feed.voice(front, told)
        serve(voice.app, port)
        place = Place(platform=spec.id, origin=origin, drop_dir=Path("drop"), agreed=agreed)
        fetcher = build(feed.connector, feed.config(place), feed.secrets(agreed))
        assert isinstance(fetcher, Fetcher)
        return Rig(voice=voice, fetcher=fetcher, told=told)

    return make


def accounts(rig: Rig) -> list[str | None]:
    if rig.fetcher.describe().scope == "platform":
        return [None]
    return sorted({row.account for row in rig.rows()})[:4]  # type: ignore[return-value]


async def deliver(rig: Rig, parts: int) -> None:
    for part in range(1, parts + 1):
        await rig.voice.deliver(part)


def show(rig: Rig, parts: int) -> None:
    import asyncio

    asyncio.run(deliver(rig, parts))


def seen(pages: list[Page]) -> Counter[str]:
    return Counter(row.decode() for page in pages for row in page.delivery.rows)


@every_feed
def test_the_hub_reads_exactly_what_the_platform_tells(rig: Callable[[str], Rig], stream: str) -> None:
    one = rig(stream)
    show(one, 4)
    for account in accounts(one):
        pages, error = one.read(account=account)
        assert error is None
        assert seen(pages) == one.bodies(account=account)
        assert not [bad for page in pages for bad in page.delivery.unreadable]
        assert sum(seen(pages).values()) > 3


@every_feed
def test_a_later_part_is_read_from_the_cursor_of_the_one_before(rig: Callable[[str], Rig], stream: str) -> None:
    one = rig(stream)
    account = accounts(one)[0]
    show(one, 1)
    first, error = one.read(account=account)
    assert error is None
    assert set(seen(first)) == set(one.bodies(1, account))
    show(one, 4)
    rest, error = one.read(first[-1].cursor, account)
    assert error is None
    assert set(seen(first)) | set(seen(rest)) >= set(one.bodies(4, account))


@every_feed
def test_nothing_shows_before_it_is_delivered(rig: Callable[[str], Rig], stream: str) -> None:
    one = rig(stream)
    pages, error = one.read(account=accounts(one)[0])
    assert not seen(pages)
    assert isinstance(error, RetryLater) if stream == "trips" else error is None


_FAULTS = {
    Fault.RATE_LIMITED: RetryLater,
    Fault.SERVER_ERROR: RetryLater,
    Fault.GARBAGE: RetryLater,
    Fault.TRUNCATED_PAGE: RetryLater,
    Fault.REDIRECT: Stop,
}


@pytest.mark.parametrize(
    ("stream", "fault", "expected"),
    [
        *((stream, fault, expected) for stream in ("cdrs", "orders", "tracks") for fault, expected in _FAULTS.items()),
        ("trips", Fault.TRUNCATED_PAGE, RetryLater),
    ],
)
def test_a_fault_is_survived_and_nothing_is_lost(
    rig: Callable[[str], Rig], stream: str, fault: Fault, expected: type[ConnectorError]
) -> None:
    one = rig(stream)
    show(one, 4)
    account = accounts(one)[0]
    one.voice.faults.arm(fault, 1)
    before, error = one.read(account=account)
    assert isinstance(error, expected)
    rest, error = one.read(before[-1].cursor if before else None, account)
    assert error is None
    assert set(seen(before)) | set(seen(rest)) == set(one.bodies(account=account))


@every_feed
def test_rows_that_come_twice_are_the_same_rows(rig: Callable[[str], Rig], stream: str) -> None:
    one = rig(stream)
    show(one, 4)
    account = accounts(one)[0]
    one.voice.faults.arm(Fault.DUPLICATES, 1)
    pages, error = one.read(account=account)
    assert error is None or isinstance(error, SetAside)
    assert set(seen(pages)) <= set(one.bodies(account=account))


@pytest.mark.parametrize("stream", ["cdrs", "orders", "tracks"])
@pytest.mark.parametrize("fault", [Fault.CHANGING_CURSOR, Fault.REPEATED_PAGE])
def test_a_platform_that_turns_in_a_circle_does_not_hold_the_hub(
    rig: Callable[[str], Rig], stream: str, fault: Fault
) -> None:
    one = rig(stream)
    show(one, 4)
    one.voice.faults.arm(fault, 1000)
    pages, error = one.read(account=accounts(one)[0])
    assert error is None or isinstance(error, SetAside)
    assert len(pages) < 100


@every_feed
def test_the_statement_names_every_page_as_the_hub_does(rig: Callable[[str], Rig], stream: str) -> None:
    one = rig(stream)
    show(one, 4)
    pages, error = one.read(account=accounts(one)[0])
    assert error is None
    noted = {line["delivery_id"]: line["rows"] for line in one.voice.book.statement()["deliveries"]}
    # A page without rows may be missing from the book: an hour in which nobody ran is no delivery.
    assert {page.delivery.delivery_id: len(page.delivery.rows) for page in pages if page.delivery.rows} == {
        name: rows for name, rows in noted.items() if rows
    }


@pytest.mark.parametrize(
    ("stream", "path", "status"),
    [("cdrs", "/ocpi/2.2.1/cdrs", 401), ("trips", "/mds/trips?end_time=2026-10-05T07", 401)],
)
def test_without_its_token_a_platform_says_nothing(
    rig: Callable[[str], Rig], stream: str, path: str, status: int
) -> None:
    one = rig(stream)
    show(one, 4)
    assert httpx.get(one.voice.site.origin + path, trust_env=False, timeout=60).status_code == status
    assert one.fetcher.check().ok


@pytest.mark.parametrize("stream", ["orders", "tracks"])
def test_a_request_that_is_not_signed_is_refused(rig: Callable[[str], Rig], stream: str) -> None:
    one = rig(stream)
    show(one, 4)
    assert one.fetcher.check().ok
    secrets = {"orders": {"client_secret": "x", "sign_key": "y"}, "tracks": {"ak": "x", "sk": "y"}}[stream]
    spec = SPECS[FEEDS[stream]]
    place = Place(
        platform=spec.id, origin=one.voice.site.origin, drop_dir=Path("drop"), agreed=secrets_of(SEED)[spec.id]
    )
    stranger = build(spec.feeds[0].connector, spec.feeds[0].config(place), secrets)
    assert isinstance(stranger, Fetcher)
    refused = Rig(voice=one.voice, fetcher=stranger, told="").read(account=accounts(one)[0] or "bd-1")
    assert refused[0] == []
    assert isinstance(refused[1], Stop | SetAside)


def test_a_token_that_ends_in_the_middle_is_fetched_again(rig: Callable[[str], Rig]) -> None:
    one = rig("orders")
    show(one, 4)
    source = one.fetcher.fetch(None, None, now=datetime.now(UTC))
    pages = [next(source)]
    one.voice.expire_tokens()
    pages += source
    assert seen(pages) == one.bodies()


def test_hours_of_the_month_are_told_and_no_others(rig: Callable[[str], Rig], town: Town) -> None:
    one = rig("trips")
    token = {"authorization": f"Bearer {one.voice.site.secrets['mds_token']}"}
    accept = {"accept": "application/vnd.mds+json;version=2.0"}

    def ask(instant: datetime | None, headers: dict[str, str]) -> int:
        query = {} if instant is None else {"end_time": f"{instant:%Y-%m-%dT%H}"}
        return httpx.get(
            f"{one.voice.site.origin}/mds/trips", params=query, headers=headers, trust_env=False, timeout=60
        ).status_code

    opens = opens_at(town)
    assert ask(opens, token | accept) == 202
    show(one, 1)
    assert ask(opens, token | accept) == 200
    assert ask(opens - timedelta(hours=1), token | accept) == 404
    assert ask(town.ends_at + timedelta(hours=2), token | accept) == 200
    assert ask(datetime.now(UTC) + timedelta(hours=2), token | accept) == 404
    assert ask(None, token | accept) == 400
    assert ask(opens, token | {"accept": "application/json"}) == 406


def test_each_format_tells_with_what_real_platforms_do(reports: Reports) -> None:
    def notes(platform: str, stream: str) -> set[Note]:
        return {row.note for row in reports.told_by(platform, stream=stream)}

    assert {Note.PLAIN, Note.CANCELLATION, Note.REPLAY, Note.MALFORMED} <= notes(KUAIDIAN, "cdrs")
    assert notes(HELLO_BIKE, "") == {Note.PLAIN, Note.DIRTY, Note.MALFORMED}
    assert {Note.PLAIN, Note.CORRECTION, Note.CANCELLATION, Note.DIRTY, Note.MALFORMED} <= notes(DIDI, "")
    assert {Note.PLAIN, Note.CORRECTION, Note.LATE, Note.DIRTY, Note.MALFORMED} <= notes(BAIDU, "")


def test_a_charge_has_one_number_in_both_of_its_standards(reports: Reports) -> None:
    orders = {row.act_id: row.source_id for row in reports.told_by(KUAIDIAN, stream="") if row.act_id}
    cdrs = {
        row.act_id: json.loads(row.body)["session_id"] for row in reports.told_by(KUAIDIAN, stream="cdrs") if row.act_id
    }
    both = orders.keys() & cdrs.keys()
    assert len(both) > 10
    assert all(orders[act] == cdrs[act] for act in both)


def test_nobody_is_named_where_the_standard_names_nobody(reports: Reports, town: Town) -> None:
    text = "".join(row.body for row in reports.told_by(HELLO_BIKE))
    assert not [account for person in town.people for account in person.accounts.values() if f'"{account}"' in text]
    assert {row.account for row in reports.told_by(HELLO_BIKE)} == {""}


def test_voices_are_asked_by_time(rig: Callable[[str], Rig]) -> None:
    assert all(isinstance(rig(stream).voice, ByTimeVoice) for stream in FEEDS)
