"""Platforms that are read with one link's token: what their simulators say, to the connectors and to bad callers."""

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest

from connectors.base import ConnectorError, Cursor, Fetcher, LinkAccess, Page, Reauthorise, RetryLater, SetAside
from connectors.registry import build
from hub.sandbox.config import secrets_of
from hub.sandbox.platforms.by_time import ByTimeVoice
from hub.sandbox.platforms.faults import Fault
from hub.sandbox.platforms.site import Front, Site
from hub.sandbox.platforms.spec import Feed, Place, Spec
from hub.sandbox.platforms.tokens import Sealer
from hub.sandbox.registers import ALIPAY, CITIC, GREEN_BUTTON, TOYOTA
from hub.sandbox.reports import Note, Report, Reports
from hub.sandbox.specs import SPECS
from mappings import load_mapping, translate

FEEDS = [
    (ALIPAY, "behaviours"),
    (ALIPAY, "green_actions"),
    (CITIC, "card_transactions"),
    (TOYOTA, "trips"),
    (GREEN_BUTTON, "readings"),
]
NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)


@dataclass
class Bench:
    """One feed, served, with the connector that the hub would build for it."""

    spec: Spec
    feed: Feed
    voice: ByTimeVoice
    origin: str
    reports: Reports
    settings: dict[str, Any]

    @property
    def stream(self) -> str:
        return "" if self.feed is self.spec.feeds[0] else self.feed.stream

    def rows(self, account: str, upto: int = 4) -> list[Report]:
        told = self.reports.told_by(self.spec.id, stream=self.stream)
        return [row for row in told if row.account == account and row.part <= upto]

    def busiest(self) -> str:
        accounts = [row.account for row in self.reports.told_by(self.spec.id, stream=self.stream)]
        return max(sorted(set(accounts)), key=accounts.count)

    def connector(self) -> Fetcher:
        agreed = secrets_of(self.reports.town.seed)[self.spec.id]
        place = Place(platform=self.spec.id, origin=self.origin, drop_dir=Path(), agreed=agreed)
        config = {**self.feed.config(place), **self.settings}
        made = build(self.feed.connector, config, self.feed.secrets(agreed))
        assert isinstance(made, Fetcher)
        return made

    def access(self, account: str) -> LinkAccess:
        claims = {"sub": account, "scope": "records:read", "grant": "g", "jti": "j"}
        sealer = Sealer(self.voice.site.secrets["seal_key"].encode())
        token = sealer.seal("access", claims, now=datetime.now(UTC), lives=timedelta(minutes=5))
        return LinkAccess(link_id="1", account=account, access_token=token)

    def read(self, account: str, cursor: Cursor | None = None) -> tuple[list[Page], ConnectorError | None]:
        pages: list[Page] = []
        try:
            for page in self.connector().fetch(self.access(account), cursor, now=datetime.now(UTC)):
                pages.append(page)
                assert len(pages) < 100, "the feed does not end"
        except ConnectorError as error:
            return pages, error
        return pages, None


@pytest.fixture
def bench(
    request: pytest.FixtureRequest, make_site: Callable[..., Site], serve: Callable[..., str], reports: Reports
) -> Bench:
    platform, stream = request.param
    spec = SPECS[platform]
    feed = next(one for one in spec.feeds if one.stream == stream)
    front = Front(make_site(platform))
    voice = feed.voice(front, "" if feed is spec.feeds[0] else stream)
    assert isinstance(voice, ByTimeVoice)
    return Bench(spec=spec, feed=feed, voice=voice, origin=serve(front.app), reports=reports, settings={})


every = pytest.mark.parametrize("bench", FEEDS, ids=lambda feed: f"{feed[0]}/{feed[1]}", indirect=True)


async def _deliver(bench: Bench, part: int) -> None:
    await bench.voice.deliver(part)


def deliver(bench: Bench, part: int = 4) -> None:
    """`deliver` of these voices waits for nobody: it only has to be started."""
    work = _deliver(bench, part)
    with pytest.raises(StopIteration):
        work.send(None)


def ids(bench: Bench, pages: list[Page], account: str) -> set[str]:
    rows = [row for page in pages for row in page.delivery.rows]
    found = translate(
        load_mapping(f"{bench.spec.id}.{bench.feed.stream}.v1"), pl.Series(rows, dtype=pl.Binary), token_key=b"k" * 32,
        now=NOW, accounts=pl.Series([account] * len(rows), dtype=pl.String),
    )  # fmt: skip
    return set(found.records["source_id"].to_list())


def readable(rows: list[Report]) -> set[str]:
    return {row.source_id for row in rows if row.trouble is None}


@every
def test_the_connector_reads_what_the_platform_tells(bench: Bench) -> None:
    account = bench.busiest()
    deliver(bench)
    pages, error = bench.read(account)
    assert error is None
    told = bench.rows(account)
    bodies = {json.dumps(json.loads(row.body), sort_keys=True) for row in told}
    found = [json.dumps(json.loads(row), sort_keys=True) for page in pages for row in page.delivery.rows]
    assert len(found) > 5
    assert set(found) <= bodies
    assert ids(bench, pages, account) == readable(told)
    assert not any(page.delivery.unreadable for page in pages)


@every
def test_a_part_shows_once_it_is_delivered_and_nothing_is_missed_between_two(bench: Bench) -> None:
    account = bench.busiest()
    pages, error = bench.read(account)
    assert (error, [row for page in pages for row in page.delivery.rows]) == (None, [])
    found: set[str] = set()
    for part in range(1, 5):
        deliver(bench, part)
        pages, error = bench.read(account, pages[-1].cursor)
        assert error is None
        found |= ids(bench, pages, account)
        assert found == readable(bench.rows(account, part))


@every
def test_the_town_is_understood_row_by_row(bench: Bench) -> None:
    told = bench.reports.told_by(bench.spec.id, stream=bench.stream)
    mapping = load_mapping(f"{bench.spec.id}.{bench.feed.stream}.v1")
    accounts = pl.Series([row.account for row in told])
    bodies = pl.Series([row.body.encode() for row in told])
    translation = translate(mapping, bodies, token_key=b"k" * 32, now=NOW, accounts=accounts)
    refused = dict(translation.quarantined.select("row", "reason").rows())
    assert refused == {i: row.trouble for i, row in enumerate(told) if row.trouble is not None}
    assert len(set(refused.values())) >= 2
    for record in translation.records.iter_rows(named=True):
        row = told[record["row"]]
        assert (record["source_id"], record["account"]) == (row.source_id, row.account)
        assert record["claimed_mg"] is None
        assert row.claimed_mg == 0
        assert record["cancelled"] == (row.note is Note.CANCELLATION)
    assert {record["behaviour"] for record in translation.records.iter_rows(named=True)} <= set(bench.spec.behaviours)


@every
def test_another_persons_rows_are_not_told(bench: Bench) -> None:
    deliver(bench)
    accounts = sorted({row.account for row in bench.reports.told_by(bench.spec.id, stream=bench.stream)})[:2]
    first, second = (ids(bench, bench.read(account)[0], account) for account in accounts)
    assert first
    assert not first & second


@every
def test_a_token_that_is_none_is_refused_by_the_platforms_own_words(bench: Bench) -> None:
    deliver(bench)
    access = LinkAccess(link_id="1", account=bench.busiest(), access_token="nonsense")
    with pytest.raises(Reauthorise, match="token_refused"):
        list(bench.connector().fetch(access, None, now=datetime.now(UTC)))
    assert bench.connector().check().ok


@every
def test_what_the_platform_gave_is_what_the_hub_was_given(bench: Bench) -> None:
    account = bench.busiest()
    deliver(bench)
    pages, _ = bench.read(account)
    noted = {one["delivery_id"]: one["rows"] for one in bench.voice.book.statement()["deliveries"]}
    assert noted == {page.delivery.delivery_id: len(page.delivery.rows) for page in pages}


@every
@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Fault.RATE_LIMITED, RetryLater), (Fault.SERVER_ERROR, RetryLater), (Fault.GARBAGE, RetryLater),
        (Fault.TRUNCATED_PAGE, RetryLater), (Fault.DUPLICATES, None),
    ],
)  # fmt: skip
def test_faults_show_and_the_next_reading_has_everything(
    bench: Bench, fault: Fault, expected: type[ConnectorError] | None
) -> None:
    account = bench.busiest()
    deliver(bench)
    bench.voice.faults.arm(fault, 1)
    pages, error = bench.read(account)
    assert (type(error) if error else None) is expected
    again, error = bench.read(account, pages[-1].cursor if pages else None)
    assert error is None
    assert ids(bench, pages + again, account) == readable(bench.rows(account))


@pytest.mark.parametrize("bench", [FEEDS[0]], ids=str, indirect=True)
@pytest.mark.parametrize("fault", [Fault.WRONG_SIGNATURE, Fault.TAMPERED])
def test_the_gateways_signature_is_for_what_was_written(bench: Bench, fault: Fault) -> None:
    deliver(bench)
    bench.voice.faults.arm(fault, 1)
    _, error = bench.read(bench.busiest())
    assert (type(error), str(error)) == (SetAside, "answer_signature")


@pytest.mark.parametrize("bench", [FEEDS[0]], ids=str, indirect=True)
def test_the_gateway_answers_nobody_who_cannot_sign(bench: Bench) -> None:
    forged = base64.b64encode(b"x" * 256).decode()
    for form in ({}, {"app_id": "1"}, {"app_id": "2021004100000001"}, {"app_id": "2021004100000001", "sign": forged}):
        with httpx.Client(trust_env=False, timeout=60) as http:
            answer = http.post(f"{bench.origin}/gateway.do", data=form).json()
        assert answer["error_response"]["code"] == "40002"
        assert answer["sign"]


@pytest.mark.parametrize("bench", [FEEDS[2]], ids=str, indirect=True)
def test_a_terminated_consent_ends_reading(bench: Bench) -> None:
    account = bench.busiest()
    deliver(bench)
    source, access = bench.connector(), bench.access(account)
    assert list(source.fetch(access, None, now=datetime.now(UTC)))
    source.revoke(access, now=datetime.now(UTC))
    with pytest.raises(Reauthorise, match="consent_expired"):
        list(source.fetch(access, None, now=datetime.now(UTC)))
    source.revoke(access, now=datetime.now(UTC))  # told again: it is over already


@pytest.mark.parametrize("bench", [FEEDS[2], FEEDS[3]], ids=str, indirect=True)
def test_a_page_that_leads_to_itself_ends_the_reading(bench: Bench) -> None:
    deliver(bench)
    bench.settings = {"limit": 3} if bench.spec.id == TOYOTA else {}
    bench.voice.faults.arm(Fault.REPEATED_PAGE, 50)
    _, error = bench.read(bench.busiest())
    assert type(error) is SetAside


@pytest.mark.parametrize("bench", [FEEDS[2]], ids=str, indirect=True)
def test_what_the_card_tells_the_banks_other_feed_does_not(bench: Bench, reports: Reports) -> None:
    others = {row.act_id for row in reports.told_by(CITIC, stream="")} - {None}
    cards = {row.act_id for row in reports.told_by(CITIC, stream="card_transactions")} - {None}
    assert len(cards) > 50
    assert not others & cards


@every
def test_a_request_that_cannot_be_read_is_refused(bench: Bench) -> None:
    access = bench.access(bench.busiest())
    headers = {"authorization": f"Bearer {access.access_token}", "consent-id": access.account}
    paths = {
        CITIC: f"/psd2/v1/card-accounts/{access.account}/transactions",
        TOYOTA: "/v1/trips",
        GREEN_BUTTON: f"/espi/1_1/resource/Batch/Subscription/{access.account}",
    }
    if bench.spec.id not in paths:
        assert httpx.get(f"{bench.origin}/gateway.do", trust_env=False, timeout=60).status_code == 405
        return
    for query in ("", "?dateFrom=x&dateTo=y&from=x&to=y&limit=1&offset=0&published-min=x&published-max=y"):
        answer = httpx.get(f"{bench.origin}{paths[bench.spec.id]}{query}", headers=headers, trust_env=False, timeout=60)
        assert answer.status_code == 400
