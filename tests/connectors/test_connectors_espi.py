"""Green Button: sums and units of a feed, what a hostile file comes to, and reading a subscription over real HTTP."""

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests_support.link_pulls import ACCESS, DAY, FEED, NOW, Feed, answer_meter, block, meter, query_of, reading
from tests_support.pulling import pages

from connectors.base import LinkAccess, RetryLater, SetAside, Window
from connectors.config import ConfigError
from connectors.formats import espi_feed
from connectors.formats.espi import EspiError, parse_config, parse_espi

# The first reading of the public test feed: 282 Wh from 1330578000 on, cost 974 in 1/100000.
FIRST_START, FIRST_WH = 1_330_578_000, 282


def quarters(start: int, values: list[int]) -> list[str]:
    return [reading(start + 900 * i, value) for i, value in enumerate(values)]


def only(data: bytes) -> dict[str, Any]:
    rows, unreadable = parse_espi(data)
    assert (len(rows), unreadable) == (1, ())
    row: dict[str, Any] = json.loads(rows[0])
    return row


def fault_of(data: bytes) -> str:
    rows, unreadable = parse_espi(data)
    assert rows == ()
    assert [bad.position for bad in unreadable] == [0]
    return unreadable[0].reason


def test_a_block_becomes_one_row_with_the_sum_of_its_readings() -> None:
    row = only(Feed(blocks=(block(FIRST_START, quarters(FIRST_START, [FIRST_WH, 718, 0, 500])),)).write())
    assert row == {
        "block": "urn:uuid:b1", "updated": "2026-10-06T00:00:00Z", "start": FIRST_START, "end": FIRST_START + 3600,
        "flow": "1", "multiplier": 0, "interval_s": "900", "tz_offset_s": "28800", "readings": 4, "value": 1500,
        "kwh": "1.500", "complete": True,
    }  # fmt: skip


def test_sums_of_the_blocks_are_the_sum_of_the_feed() -> None:
    # As the public feed is made: 14 daily blocks of 96 quarter hours, the last one cut short: 1,340 readings.
    days = [[(7 * d + 13 * q) % 1500 for q in range(96 if d < 13 else 92)] for d in range(14)]
    blocks = tuple(
        block(FIRST_START + d * 86_400, quarters(FIRST_START + d * 86_400, values)) for d, values in enumerate(days)
    )
    rows = [json.loads(row) for row in parse_espi(Feed(blocks=blocks).write())[0]]
    assert sum(row["readings"] for row in rows) == 1340
    assert sum(row["value"] for row in rows) == sum(map(sum, days))
    assert sum(Decimal(row["kwh"]) for row in rows) == Decimal(sum(map(sum, days))) / 1000
    assert rows[-1]["end"] - 900 == FIRST_START + 13 * 86_400 + 91 * 900


@pytest.mark.parametrize(
    ("multiplier", "value", "kwh"),
    [
        ("0", 1391666, "1391.666"), ("3", 30, "30"), ("-3", 1500, "0.001500"), ("2", 50, "5.0"), ("6", 2, "2000"),
        ("-12", 1, "0.000000000000001"), ("12", 1, "1000000000"), ("0", 0, "0.000"), ("0", -40, "-0.040"),
    ],
)  # fmt: skip
def test_kilowatt_hours_are_value_times_the_power_of_ten(multiplier: str, value: int, kwh: str) -> None:
    feed = Feed(blocks=(block(DAY, [reading(DAY, value)]),), multiplier=multiplier)
    row = only(feed.write())
    assert Decimal(row["kwh"]) == Decimal(kwh)
    assert "E" not in row["kwh"]


def test_a_settled_baseline_shows_what_was_saved_and_never_less_than_nothing() -> None:
    saved = only(Feed(blocks=(block(DAY, quarters(DAY, [200, 300]), baseline=1700),)).write())
    assert (saved["kwh"], saved["baseline_kwh"], saved["saved_kwh"]) == ("0.500", "1.700", "1.200")
    wasted = only(Feed(blocks=(block(DAY, quarters(DAY, [900, 900]), baseline=1700),)).write())
    assert wasted["saved_kwh"] == "0.000"
    assert "saved_kwh" not in only(FEED)


@pytest.mark.parametrize(
    "feed",
    [
        Feed(blocks=(block(DAY, quarters(DAY, [200, 300]), duration=3600, baseline=1700),)),  # half an hour is missing
        Feed(blocks=(block(DAY, [], duration=900, baseline=1700),)),
        Feed(blocks=(block(DAY, quarters(DAY, [200, 300]), baseline=1700),), flow="19"),  # into the grid
    ],
)
def test_what_is_not_there_is_not_saved(feed: Feed) -> None:
    assert "saved_kwh" not in only(feed.write())


@pytest.mark.parametrize(
    ("feed", "reason"),
    [
        (Feed(blocks=(block(DAY, [reading(DAY, 1)]),), uom="169"), "unit_unknown"),
        (Feed(blocks=(block(DAY, [reading(DAY, 1)]),), uom=""), "unit_unknown"),
        (Feed(blocks=(block(DAY, [reading(DAY, 1)]),), accumulation="3"), "not_interval_data"),
        (Feed(blocks=(block(DAY, [reading(DAY, 1)]),), service="1"), "not_electricity"),
        (Feed(blocks=(block(DAY, [reading(DAY, 1)]),), multiplier="13"), "multiplier_unreadable"),
        (Feed(blocks=(block(DAY, [reading(DAY, 1)]),), multiplier="1e3"), "multiplier_unreadable"),
        (Feed(blocks=(block(DAY, [reading(DAY, "1.5")]),)), "reading_unreadable"),
        (Feed(blocks=(block(DAY, [reading(DAY, "")]),)), "reading_unreadable"),
        (Feed(blocks=(block(DAY, [reading(DAY, "9" * 400)]),)), "reading_unreadable"),
        (Feed(blocks=(block(DAY, [reading(DAY, "٣")]),)), "reading_unreadable"),
        (Feed(blocks=(block(DAY, [reading(DAY, 1, duration=0)]),)), "reading_unreadable"),
        (Feed(blocks=(block(DAY, [reading(DAY, 1), reading(DAY, 1)]),)), "readings_overlap"),
        (Feed(blocks=(block(DAY, [reading(DAY, 1), reading(DAY + 899, 1)]),)), "readings_overlap"),
        (Feed(blocks=(block(DAY, [reading(DAY - 900, 1)]),)), "reading_outside"),
        (Feed(blocks=(block(DAY, [reading(DAY + 900, 1)]),)), "reading_outside"),
        (Feed(blocks=(block(DAY, [reading(DAY, 1)], duration=0),)), "interval_unreadable"),
        (Feed(blocks=(block(DAY, [reading(DAY, 1)], duration="long"),)), "interval_unreadable"),
        (Feed(blocks=(block(DAY, [reading(DAY, 1)], baseline="-5"),)), "baseline_unreadable"),
        (Feed(blocks=(block(DAY, [reading(DAY, 1)], baseline=""),)), "baseline_unreadable"),
    ],
)
def test_a_block_that_cannot_be_understood_is_unreadable_by_itself(feed: Feed, reason: str) -> None:
    assert fault_of(feed.write()) == reason
    good = block(DAY + 86_400, [reading(DAY + 86_400, 5)])
    if feed.uom == "72" and feed.accumulation == "4" and feed.service == "0" and feed.multiplier == "0":
        rows, unreadable = parse_espi(replace(feed, blocks=(*feed.blocks, good)).write())
        assert (len(rows), len(unreadable)) == (1, 1)


def test_a_block_whose_type_cannot_be_told_is_not_guessed() -> None:
    second = (
        '<entry><id>t2</id><link rel="self" href="/ReadingType/08"/><content>'
        '<ReadingType xmlns="http://naesb.org/espi"><uom>72</uom><powerOfTenMultiplier>3</powerOfTenMultiplier>'
        "<accumulationBehaviour>4</accumulationBehaviour></ReadingType></content></entry>"
    )
    blocks = (block(DAY, [reading(DAY, 1)]),)
    assert fault_of(Feed(blocks=blocks, related="/ReadingType/99", extra=second).write()) == "reading_type_unknown"
    assert only(Feed(blocks=blocks, related="/ReadingType/07", extra=second).write())["kwh"] == "0.001"
    assert only(Feed(blocks=blocks, related="https://c.example/ReadingType/08", extra=second).write())["kwh"] == "1"
    assert only(Feed(blocks=blocks, related="/ReadingType/99").write())["kwh"] == "0.001"  # there is only one


LAUGHS = b'<!DOCTYPE feed [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]>'
OUTSIDE = b'<!DOCTYPE feed [<!ENTITY x SYSTEM "file:///etc/passwd">]>'


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (LAUGHS + b'<feed xmlns="http://www.w3.org/2005/Atom"><entry><id>&b;</id></entry></feed>', "feed_dtd"),
        (OUTSIDE + b'<feed xmlns="http://www.w3.org/2005/Atom"><entry><id>&x;</id></entry></feed>', "feed_dtd"),
        (b'<!DOCTYPE feed SYSTEM "http://evil.example/x.dtd"><feed xmlns="http://www.w3.org/2005/Atom"/>', "feed_dtd"),
        (b'<feed xmlns="http://www.w3.org/2005/Atom">' + b"<a>" * 100_000, "feed_too_deep"),
        (b"<rss/>", "not_a_feed"),
        (b"<feed/>", "not_a_feed"),
        (b"", "not_xml"),
        (b"{}", "not_xml"),
        (FEED[:-30], "not_xml"),
        (FEED + b"<x/>", "not_xml"),
        (b'<?xml version="1.0" encoding="klingon"?><feed xmlns="http://www.w3.org/2005/Atom"/>', "not_xml"),
        (b"\x00" * 50, "not_xml"),
        (b" " * (espi_feed.MAX_BYTES + 1), "feed_too_large"),
    ],
)
def test_a_hostile_file_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(EspiError) as refused:
        parse_espi(data)
    assert refused.value.reason == reason
    assert refused.value.is_cut is (reason == "not_xml" and b"klingon" not in data)


def test_more_elements_or_blocks_than_any_honest_feed_has_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    two = Feed(blocks=tuple(block(DAY + 900 * i, [reading(DAY + 900 * i, 1)]) for i in range(2))).write()
    monkeypatch.setattr(espi_feed, "MAX_BLOCKS", 1)
    with pytest.raises(EspiError, match="feed_too_many_blocks"):
        parse_espi(two)
    monkeypatch.setattr(espi_feed, "MAX_ELEMENTS", 20)
    with pytest.raises(EspiError, match="feed_too_large"):
        parse_espi(two)


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(0, len(FEED)), put=st.binary(max_size=8))
def test_no_damage_to_a_feed_ends_in_another_error(cut: int, put: bytes) -> None:
    with suppress(EspiError):
        parse_espi(FEED[:cut] + put + FEED[cut + len(put) :])


def test_customers_and_costs_go_nowhere() -> None:
    customer = (
        '<entry><id>c</id><content><Customer xmlns="http://naesb.org/espi/customer"><name>canary</name>'
        "</Customer></content></entry>"
    )
    rows, _ = parse_espi(Feed(blocks=(block(DAY, [reading(DAY, 1)]),), extra=customer).write())
    assert b"canary" not in b"".join(rows)
    assert b"974" not in b"".join(rows)


def test_what_was_published_in_a_time_is_asked_for_of_the_links_subscription(serve: Callable) -> None:
    platform = serve(answer_meter)
    window = Window(since=datetime(2026, 10, 1, 1, 2, 3, tzinfo=UTC))
    taken, error = pages(meter(platform.url).fetch(ACCESS, None, now=NOW, window=window))
    assert (error, len(taken)) == (None, 1)
    ask = platform.asked[0]
    assert ask.path.partition("?")[0] == "/espi/1_1/resource/Batch/Subscription/acc-000123"
    assert query_of(ask.path) == {"published-min": "2026-10-01T01:02:03Z", "published-max": "2026-10-06T01:30:00Z"}
    assert (ask.headers["accept"], ask.headers["authorization"]) == ("application/atom+xml", "Bearer canary-token")
    assert taken[0].delivery.rows == parse_espi(FEED)[0]


def test_long_times_are_asked_for_piece_by_piece(serve: Callable) -> None:
    platform = serve(answer_meter)
    taken, error = pages(meter(platform.url, span_days=31, first_days=93).fetch(ACCESS, None, now=NOW))
    assert (error, len(taken)) == (None, 3)
    spans = [query_of(ask.path) for ask in platform.asked]
    assert [one["published-min"] for one in spans[1:]] == [one["published-max"] for one in spans[:-1]]


def test_a_custodian_that_is_still_gathering_is_asked_again(serve: Callable) -> None:
    _, error = pages(meter(serve(lambda ask: ask.reply_bytes(202, b"")).url).fetch(ACCESS, None, now=NOW))
    assert (type(error), error.after_s) == (RetryLater, 300)  # type: ignore[union-attr]


def test_an_account_is_a_part_of_the_path_and_never_more(serve: Callable) -> None:
    platform = serve(answer_meter)
    for account in ("", "..", "a b", "长", "x\n"):
        access = LinkAccess(link_id="7", account=account, access_token="t")
        _, error = pages(meter(platform.url).fetch(access, None, now=NOW))
        assert (type(error), platform.asked) == (SetAside, [])
    access = LinkAccess(link_id="7", account="../1?x=/y", access_token="t")
    pages(meter(platform.url).fetch(access, None, now=NOW))
    assert platform.asked[0].path.startswith("/espi/1_1/resource/Batch/Subscription/..%2F1%3Fx%3D%2Fy?published-min")


@pytest.mark.parametrize(
    "url",
    [
        "https://c.example/espi/Batch/Subscription", "https://c.example/{account}/{account}", "https://{account}.example/x",
        "https://c.example/x?id={account}", "https://c.example/x-{account}",
    ],
)  # fmt: skip
def test_an_address_names_the_account_once_in_its_path(url: str) -> None:
    with pytest.raises(ConfigError, match="resource_url"):
        parse_config({"resource_url": url}, {})
