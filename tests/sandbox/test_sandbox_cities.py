"""Cities, the aggregator, and platforms with two feeds: what they say is what their mapping reads, over the real wire."""

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import polars as pl
import pytest
from fastapi import FastAPI, Request, Response
from standardwebhooks import Webhook, WebhookVerificationError

from connectors.base import ConnectorError, Cursor, Fetcher, LinkAccess, Page, SetAside
from connectors.registry import build
from hub.sandbox import acts
from hub.sandbox.config import participants, secrets_of
from hub.sandbox.platforms.faults import Fault
from hub.sandbox.platforms.profile_drop import DropVoice, PartOutOfOrderError
from hub.sandbox.platforms.profile_push import PushVoice, push_agreed, secret_name
from hub.sandbox.platforms.site import Front, Platform, Site
from hub.sandbox.platforms.spec import Feed
from hub.sandbox.platforms.tokens import Sealer
from hub.sandbox.registers import BEIJING, CITIC, HARBIN, LUZHOU, PLANET, PUHUI, SHANXI, TOYOTA, ZHENHAI, town_secret
from hub.sandbox.reports import Note, Oracle, Report, Reports
from hub.sandbox.server import make_platform
from hub.sandbox.specs import SPECS
from mappings import Translation, load_mapping, translate

SEED = 7
MakeSite = Callable[..., Site]
FEEDS = [
    (platform, feed, "" if number == 0 else feed.stream)
    for platform in (BEIJING, CITIC, LUZHOU, HARBIN, PLANET, SHANXI, PUHUI, TOYOTA, ZHENHAI)
    for number, feed in enumerate(SPECS[platform].feeds)
    if feed.connector in ("signed_push", "cursor_pull", "file_drop")
]
SECOND = [(BEIJING, "points_ledger"), (CITIC, "daily"), (HARBIN, "daily"), (SHANXI, "daily")]
DROPS = [(CITIC, "daily"), (HARBIN, "daily"), (SHANXI, "daily"), (ZHENHAI, "passbook")]


def read(platform: str, stream: str, rows: list[Report]) -> Translation:
    mapping = load_mapping(f"{platform}.{stream or SPECS[platform].feeds[0].stream}.v1")
    bodies = pl.Series([row.body for row in rows], dtype=pl.String)
    return translate(mapping, bodies, token_key=b"k" * 32, now=datetime(2026, 11, 21, tzinfo=UTC))


@pytest.mark.parametrize(("platform", "feed", "stream"), FEEDS, ids=lambda value: getattr(value, "stream", str(value)))
def test_every_row_is_read_as_it_was_meant(reports: Reports, platform: str, feed: Feed, stream: str) -> None:
    # What is no JSON of finite numbers, the connector has set aside before.
    rows = [row for row in reports.told_by(platform, stream=stream) if row.trouble != "number_too_large"]
    translation = read(platform, stream, rows)
    assert {row["row"]: row["reason"] for row in translation.quarantined.iter_rows(named=True)} == {
        place: row.trouble for place, row in enumerate(rows) if row.trouble is not None
    }
    for record in translation.records.iter_rows(named=True):
        meant = rows[record["row"]]
        assert (record["account"], record["source_id"]) == (meant.account, meant.source_id)
        assert (record["claimed_mg"] or 0, record["cancelled"]) == (meant.claimed_mg, meant.note is Note.CANCELLATION)
    assert set() < set(translation.records["behaviour"]) <= set(SPECS[platform].behaviours)


@pytest.mark.parametrize(("platform", "stream"), SECOND)
def test_the_second_feed_tells_the_same_acts(reports: Reports, platform: str, stream: str) -> None:
    told = [row for row in reports.told_by(platform, stream="") if row.trouble is None and row.note is not Note.REPLAY]
    first = {(row.source_id, row.version): row for row in told}
    rows = list(reports.told_by(platform, stream=stream))
    assert {(row.source_id, row.version) for row in rows} == set(first)
    assert len(rows) == len(first)
    again = read(platform, stream, rows).records
    before = read(platform, "", [first[row.source_id, row.version] for row in rows]).records
    same = ["source_id", "version", "account", "cancelled", "role", "behaviour", "start_at", "end_at", "precision"]
    same += ["quantity_micro", "unit", "event_key", "payment_key", "region", "claimed_mg"]
    assert again.select(same).equals(before.select(same))
    assert all(row.delivered_at > first[row.source_id, row.version].delivered_at for row in rows)


def test_one_act_is_told_by_a_city_the_aggregator_and_who_carried_it_out(reports: Reports) -> None:
    told = [one for one in Oracle(reports).acts_told().values() if one.act.behaviour == acts.CHARGE]
    both = [one for one in told if one.platforms >= {SHANXI, PUHUI}]
    assert len(both) >= 3
    for one in both:
        origins = {json.loads(row.body).get("originTradeNo") for row in one.rows if row.platform == PUHUI}
        assert origins <= {one.act.order_no, None, "999999999"}


def test_a_correction_of_a_ride_lowers_what_is_claimed(reports: Reports) -> None:
    bikes = {act.act_id for act in reports.town.acts if act.behaviour == acts.BIKE}
    rows = [row for row in reports.told_by(SHANXI, stream="") if row.act_id in bikes]
    first = {row.source_id: row for row in rows if row.version == 1}
    corrected = [row for row in rows if row.note is Note.CORRECTION and first[row.source_id].claimed_mg]
    assert corrected
    assert all(0 < row.claimed_mg < first[row.source_id].claimed_mg for row in corrected)


# --- over the wire ----------------------------------------------------------------------------------------------------


@pytest.fixture
def town_documents(drop_dir: Path) -> dict[str, dict[str, Any]]:
    return {one["id"]: one for one in participants(8100, drop_dir, "http://127.0.0.1:1", SEED)}


def drop_fetcher(document: dict[str, Any], stream: str) -> Fetcher:
    feed = next(feed for feed in document["more_feeds"] if feed["stream"] == stream)
    return cast(Fetcher, build(feed["connector"], feed["connector_config"], feed["secrets"]))


def voice_of(platform: Platform, stream: str) -> DropVoice:
    return cast(DropVoice, next(voice for voice in platform.voices if voice.stream == stream))


def pages_of(fetcher: Fetcher, cursor: Cursor | None = None) -> Iterator[Page]:
    return fetcher.fetch(None, cursor, now=datetime.now(UTC))


@pytest.mark.parametrize(("platform", "stream"), DROPS)
def test_a_table_of_the_day_is_read_row_by_row(
    make_site: MakeSite,
    town_documents: dict[str, dict[str, Any]],
    drop_dir: Path,
    reports: Reports,
    platform: str,
    stream: str,
) -> None:
    made = make_platform(make_site(platform, drop_dir=drop_dir / platform))
    fetcher, cursor, voice = drop_fetcher(town_documents[platform], stream), None, voice_of(made, stream)
    for part in (1, 2, 3, 4):
        tally = asyncio.run(voice.deliver(part))
        pages = list(pages_of(fetcher, cursor))
        cursor = pages[-1].cursor
        told = [row.body for row in reports.told_by(platform, part, stream)]
        assert [row.decode() for page in pages for row in page.delivery.rows] == told
        assert tally.rows == len(told) > 0
        said = made.book.statement(part)["deliveries"]
        assert [(one["delivery_id"], one["rows"]) for one in said] == [
            (page.delivery.delivery_id, len(page.delivery.rows)) for page in pages
        ]


@pytest.mark.parametrize(("platform", "stream"), DROPS)
@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Fault.WRONG_SIGNATURE, "manifest_signature"),
        (Fault.TAMPERED, "file_digest"),
        (Fault.SKIPPED_SEQUENCE, "sequence_gap"),
    ],
)
def test_a_spoilt_table_is_set_aside(
    make_site: MakeSite,
    town_documents: dict[str, dict[str, Any]],
    drop_dir: Path,
    platform: str,
    stream: str,
    fault: Fault,
    reason: str,
) -> None:
    made = make_platform(make_site(platform, drop_dir=drop_dir / platform))
    made.faults.arm(fault)
    asyncio.run(voice_of(made, stream).deliver(1))
    with pytest.raises(SetAside, match=reason):
        list(pages_of(drop_fetcher(town_documents[platform], stream)))


def test_a_day_on_which_nothing_happened_is_a_header(make_site: MakeSite, drop_dir: Path) -> None:
    made = make_platform(make_site(HARBIN, drop_dir=drop_dir))
    (header,) = voice_of(made, "daily").lines(())
    assert header.startswith("流水号,版本号,")


def test_the_drops_of_a_feed_come_in_order(make_site: MakeSite, drop_dir: Path) -> None:
    made = make_platform(make_site(HARBIN, drop_dir=drop_dir))
    with pytest.raises(PartOutOfOrderError):
        asyncio.run(voice_of(made, "daily").deliver(2))


def test_a_ledger_is_pulled_beside_what_is_pushed(
    serve: Callable[..., str], make_site: MakeSite, reports: Reports
) -> None:
    made = make_platform(make_site(BEIJING))
    asyncio.run(made.voices[1].deliver(4))
    origin = serve(made.app)
    place = next(feed for feed in SPECS[BEIJING].feeds if feed.stream == "points_ledger")
    (document,) = [one for one in participants(8100, Path("drop"), "http://127.0.0.1:1", SEED) if one["id"] == BEIJING]
    config = document["more_feeds"][0]["connector_config"]
    fetcher = cast(
        Fetcher, build(place.connector, config | {"records_url": f"{origin}/points_ledger/records", "limit": 20}, {})
    )
    account = reports.town.people[0].accounts[BEIJING]
    now = datetime.now(UTC)
    claims = {"sub": account, "scope": "records:read", "grant": "g", "jti": "j"}
    sealer = Sealer(secrets_of(SEED)[BEIJING]["seal_key"].encode())
    token = sealer.seal("access", claims, now=now, lives=timedelta(minutes=5))
    pages = list(fetcher.fetch(LinkAccess(account=account, access_token=token, link_id="l"), None, now=now))
    told = [row.body for row in reports.told_by(BEIJING, stream="points_ledger") if row.account == account]
    assert sorted(row.decode() for page in pages for row in page.delivery.rows) == sorted(told)
    assert len(pages) > 1
    with pytest.raises(ConnectorError):
        list(fetcher.fetch(LinkAccess(account=account, access_token="wrong", link_id="l"), None, now=now))


class StaffVoice(PushVoice):
    """A second feed that has the rows of the first."""

    def rows(self, part: int) -> tuple[Report, ...]:
        return self.site.rows(part, "")


def test_a_second_pushed_feed_has_a_door_and_a_secret_of_its_own(
    serve: Callable[..., str], make_site: MakeSite
) -> None:
    agreed = push_agreed("test", "staff")(lambda name: town_secret(SEED, name))
    taken, refused, app = [], [], FastAPI()

    async def take(request: Request) -> Response:
        body = await request.body()
        try:
            Webhook(agreed[secret_name("staff")]).verify(body, dict(request.headers), json_parse=False)
        except WebhookVerificationError:
            refused.append(body)
            return Response(status_code=401)
        taken.append(body)
        return Response(status_code=200)

    app.add_api_route(f"/in/{LUZHOU}/staff", take, methods=["POST"], response_model=None)
    site = make_site(LUZHOU, hub_url=serve(app))
    front = Front(replace(site, secrets={**site.secrets, **agreed}))
    voice = StaffVoice(front, "staff")
    assert asyncio.run(voice.deliver(1)).failed == 0
    assert taken
    assert not refused
    front.faults.arm(Fault.TAMPERED)
    assert asyncio.run(voice.deliver(2)).refused == 1
    assert len(refused) == 1
