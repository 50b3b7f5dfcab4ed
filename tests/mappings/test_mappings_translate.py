"""Every row ends in exactly one frame, for a stated reason, whatever stands beside it."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from mappings import Mapping, Reason, Translation, load_mapping, parse_mapping, translate
from standards.schema import QUARANTINED_SCHEMA, TRANSLATED_SCHEMA

Apply = Callable[..., Translation]
BEIJING, CITIC, KUAIDIAN = "beijing-green-life.acts.v1", "citic-carbon.acts.v1", "kuaidian.charge_orders.v1"
SHENZHEN, WECHAT = "shenzhen-transit.trips.v1", "wechat-sports.steps.v1"
ABSENT = object()
TAP = {"card_no": "A1", "deal_date": "2018-09-01 08:00:00", "station": "长龙", "deal_money": "0", "equ_no": "2"}

HUGE_ORDER = (
    '{"StartChargeSeq":"1","UserId":"k","StartTime":"2019-04-18 11:29:29","EndTime":"2019-04-18 11:39:30",'
    '"TotalPower":1e999}'
)


def with_change(document: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in {**document, **change}.items() if value is not ABSENT}


# mapping, what is changed in its good document (or another document), the reason.
REASONS: list[tuple[str, Any, Reason]] = [
    (BEIJING, {"nickname": "x" * 70_000}, Reason.JSON_TOO_LARGE),
    (BEIJING, b"{", Reason.NOT_JSON),
    (BEIJING, b'{"tradeNo":"\xff"}', Reason.NOT_JSON),
    (BEIJING, b'{"a":' * 40 + b"1" + b"}" * 40, Reason.JSON_TOO_DEEP),
    (BEIJING, b"[]", Reason.NOT_OBJECT),
    (BEIJING, {"distance": float("nan")}, Reason.NOT_FINITE),
    (BEIJING, {"distance": float("inf")}, Reason.NOT_FINITE),
    (BEIJING, b'{"ver":1,"ver":2}', Reason.DUPLICATE_KEY),
    (BEIJING, {"scene": ABSENT}, Reason.MISSING_SCENE),
    (BEIJING, {"scene": "HOVERBOARD"}, Reason.UNKNOWN_SCENE),
    (BEIJING, {"scene": "bike"}, Reason.UNKNOWN_SCENE),
    (SHENZHEN, {"kind": "ferry"}, Reason.UNKNOWN_SCENE),
    (SHENZHEN, {"kind": "bus", "tap": None}, Reason.UNPAIRED),
    (SHENZHEN, {"kind": "metro", "in": TAP, "out": None, "tap": ABSENT}, Reason.UNPAIRED),
    (SHENZHEN, {"kind": "metro", "in": None, "out": TAP, "tap": ABSENT}, Reason.UNPAIRED),
    (SHENZHEN, {"kind": "metro", "in": TAP, "out": {**TAP, "card_no": "B2"}, "tap": ABSENT}, Reason.UNPAIRED),
    (SHENZHEN, {"kind": "metro", "in": TAP, "out": TAP, "tap": ABSENT}, Reason.NO_TRIP),
    ("odd", {"state": "open"}, Reason.NOT_FINAL),
    (BEIJING, {"tradeNo": ABSENT}, Reason.MISSING_SOURCE_ID),
    (BEIJING, {"tradeNo": None}, Reason.MISSING_SOURCE_ID),
    (BEIJING, {"tradeNo": ""}, Reason.MISSING_SOURCE_ID),
    (WECHAT, {"date": ABSENT}, Reason.MISSING_SOURCE_ID),
    (WECHAT, {"openid": "o|2026"}, Reason.BAD_SOURCE_ID),
    (BEIJING, {"tradeNo": "BJ\u200b1"}, Reason.BAD_SOURCE_ID),
    (BEIJING, {"tradeNo": "BJ1\u0000"}, Reason.BAD_SOURCE_ID),
    (BEIJING, {"tradeNo": "BJ1\t"}, Reason.BAD_SOURCE_ID),
    (BEIJING, {"tradeNo": "BJ1 "}, Reason.BAD_SOURCE_ID),
    (BEIJING, {"tradeNo": "ＢＪ1"}, Reason.BAD_SOURCE_ID),
    (BEIJING, {"tradeNo": "BJ\u0430"}, Reason.BAD_SOURCE_ID),
    (BEIJING, {"tradeNo": "B" * 129}, Reason.BAD_SOURCE_ID),
    (BEIJING, {"memberId": ABSENT}, Reason.MISSING_ACCOUNT),
    (BEIJING, {"memberId": "bj\u202e1"}, Reason.BAD_ACCOUNT),
    (BEIJING, {"ver": ABSENT}, Reason.MISSING_VERSION),
    (BEIJING, {"ver": 1.5}, Reason.BAD_VERSION),
    (BEIJING, {"ver": -1}, Reason.BAD_VERSION),
    (BEIJING, {"ver": "two"}, Reason.BAD_VERSION),
    (BEIJING, {"ver": 10**30}, Reason.BAD_VERSION),
    (BEIJING, {"status": None}, Reason.MISSING_STATUS),
    (BEIJING, {"status": "LOST"}, Reason.UNKNOWN_STATUS),
    ("odd", {"who": ABSENT}, Reason.MISSING_ROLE),
    ("odd", {"who": "you"}, Reason.UNKNOWN_ROLE),
    ("odd", {"exact": None}, Reason.MISSING_PRECISION),
    ("odd", {"exact": "h"}, Reason.UNKNOWN_PRECISION),
    (BEIJING, {"beginTime": ABSENT}, Reason.MISSING_TIME),
    (BEIJING, {"endTime": None}, Reason.MISSING_TIME),
    (CITIC, {"transactionTime": ""}, Reason.MISSING_TIME),
    (CITIC, {"transactionTime": "2026-02-30 08:00:00"}, Reason.BAD_TIME),
    (CITIC, {"transactionTime": "2026-10-05 08:31:10Z"}, Reason.BAD_TIME),
    (CITIC, {"updatedAt": "soon"}, Reason.BAD_TIME),
    (BEIJING, {"beginTime": "2026-10-05T08:12:03"}, Reason.MISSING_ZONE),
    ("odd", {"from": "2026-03-29 02:30:00"}, Reason.NONEXISTENT_TIME),
    ("odd", {"from": "2026-10-25 02:30:00"}, Reason.AMBIGUOUS_TIME),
    (BEIJING, {"beginTime": "1970-01-01T08:00:00+08:00"}, Reason.TIME_OUT_OF_RANGE),
    (BEIJING, {"endTime": "2026-10-05T08:12:02+08:00"}, Reason.END_BEFORE_START),
    (BEIJING, {"endTime": "2026-11-21T10:01:01+08:00"}, Reason.TIME_AHEAD),
    (BEIJING, {"updateTime": "2090-01-01T00:00:00Z"}, Reason.TIME_AHEAD),
    (WECHAT, {"date": "2026-11-21"}, Reason.TIME_AHEAD),  # the day has not ended: its steps still grow
    (BEIJING, {"distance": "3 km"}, Reason.BAD_QUANTITY),
    (KUAIDIAN, {"TotalPower": "NaN"}, Reason.BAD_QUANTITY),
    (BEIJING, {"distance": -1}, Reason.NEGATIVE_QUANTITY),
    (BEIJING, {"distance": 10**15}, Reason.QUANTITY_OUT_OF_RANGE),
    (KUAIDIAN, HUGE_ORDER, Reason.QUANTITY_OUT_OF_RANGE),
    ("odd", {"act": "bill"}, Reason.UNIT_MISMATCH),
    (BEIJING, {"carbonReduction": "many"}, Reason.BAD_CLAIM),
    (BEIJING, {"carbonReduction": "-0.01"}, Reason.NEGATIVE_CLAIM),
    (BEIJING, {"carbonReduction": "1000000.001"}, Reason.CLAIM_OUT_OF_RANGE),
    (BEIJING, {"orderNo": "7" * 257}, Reason.BAD_KEY),
    ("odd", {"bill": "B/1"}, Reason.BAD_KEY),
    (BEIJING, {"cityCode": "1100"}, Reason.BAD_REGION),
    (BEIJING, {"cityCode": "beijing"}, Reason.BAD_REGION),
    (BEIJING, {"cityCode": "990000"}, Reason.BAD_REGION),
    ("odd", {"city": "west"}, Reason.BAD_REGION),
    (BEIJING, {"distance": True}, Reason.WRONG_TYPE),
    (BEIJING, {"carbonReduction": {"g": 1}}, Reason.WRONG_TYPE),
    (BEIJING, {"orderNo": [1]}, Reason.WRONG_TYPE),
    (KUAIDIAN, {"totalPower": 60}, Reason.CONFLICTING_FIELDS),
    (KUAIDIAN, {"startChargeSeq": "1"}, Reason.CONFLICTING_FIELDS),
    ("didi.orders.v1", {"is_carpool": "0"}, Reason.NO_REDUCTION),
]  # fmt: skip


@pytest.fixture(scope="module")
def cases(good: dict[str, dict[str, Any]], odd: tuple[Mapping, dict[str, Any]]) -> list[tuple[Mapping, Any, Reason]]:
    made = []
    for name, change, reason in REASONS:
        mapping, document = odd if name == "odd" else (load_mapping(name), good[name])
        made.append((mapping, with_change(document, change) if isinstance(change, dict) else change, reason))
    return made


@pytest.mark.parametrize("case", range(len(REASONS)))
def test_a_row_that_cannot_go_on_carries_its_reason(
    apply: Apply, cases: list[tuple[Mapping, Any, Reason]], case: int
) -> None:
    mapping, document, reason = cases[case]
    translation = apply(mapping, document)
    assert translation.quarantined["reason"].to_list() == [reason.value]
    assert translation.records.is_empty()


def test_the_table_has_every_reason() -> None:
    assert {reason for _, _, reason in REASONS} == set(Reason)


def test_a_good_document_of_every_platform_is_translated(
    apply: Apply, good: dict[str, dict[str, Any]], odd: tuple[Mapping, dict[str, Any]]
) -> None:
    for mapping, document in [*good.items(), odd]:
        translation = apply(mapping, document)
        assert translation.quarantined.is_empty(), translation.quarantined
        assert translation.records.schema == TRANSLATED_SCHEMA
        assert len(translation.records) == 1


def test_an_odd_format_is_translated_field_by_field(apply: Apply, odd: tuple[Mapping, dict[str, Any]]) -> None:
    assert apply(*odd).records.drop("event_key", "row").to_dicts() == [
        {
            "source_id": "r-1", "version": 2, "account": "linked", "cancelled": False, "posted_at": None,
            "role": "operator", "behaviour": "MOB-BIKE", "start_at": datetime(2026, 7, 1, 8, 0, tzinfo=UTC),
            "end_at": datetime(2026, 7, 1, 8, 30, tzinfo=UTC), "precision": "minute", "quantity_micro": 1_500_000,
            "unit": "km", "payment_key": None, "region": 110000, "claimed_mg": 12_500,
        }
    ]  # fmt: skip


def test_a_detail_names_the_field_and_never_the_content(apply: Apply, cases: list[tuple[Mapping, Any, Reason]]) -> None:
    for mapping, document, reason in cases:
        detail = apply(mapping, document).quarantined["detail"][0]
        assert detail.startswith(reason.sentence)
        assert detail.endswith(".")
        if isinstance(document, dict):
            told = [value for value in document.values() if isinstance(value, str) and len(value) > 4]
            assert not any(value in detail for value in told if value not in ("settled", "rental", "metro"))


def test_the_source_id_is_told_in_quarantine_where_it_is_good(apply: Apply, good: dict[str, dict[str, Any]]) -> None:
    document = good[BEIJING]
    unreadable = [b'{"tradeNo":"BJ1"', b'{"tradeNo":"BJ1","tradeNo":"BJ2"}', b'{"tradeNo":"BJ1","x":NaN}']
    rows = apply(BEIJING, {**document, "scene": "?"}, {**document, "tradeNo": "bad\n"}, *unreadable).quarantined
    assert rows["source_id"].to_list() == ["BJ202610050001", None, None, None, None]
    assert rows["row"].to_list() == [0, 1, 2, 3, 4]
    assert rows.schema == QUARANTINED_SCHEMA


def test_the_reason_that_comes_first_in_the_list_is_told(apply: Apply, good: dict[str, dict[str, Any]]) -> None:
    document = {**good[BEIJING], "status": "LOST", "distance": -1, "scene": "?"}
    reasons = []
    for name, value in (("scene", "BIKE"), ("status", "FINISHED"), ("distance", 1)):
        reasons += apply(BEIJING, document).quarantined["reason"].to_list()
        document = {**document, name: value}
    assert reasons == ["unknown_scene", "unknown_status", "negative_quantity"]
    assert apply(BEIJING, document).quarantined.is_empty()


@pytest.mark.parametrize(("seconds", "refused"), [(0, False), (60, False), (60.000001, True)])
def test_a_time_may_run_ahead_by_a_minute(
    good: dict[str, dict[str, Any]], now: datetime, key: bytes, seconds: float, refused: bool
) -> None:
    moment = (now + timedelta(seconds=seconds)).isoformat()
    document = json.dumps({**good[BEIJING], "beginTime": moment, "endTime": moment})
    translation = translate(load_mapping(BEIJING), pl.Series([document]), token_key=key, now=now)
    assert translation.quarantined["reason"].to_list() == (["time_ahead"] if refused else [])


def test_every_offset_of_one_instant_gives_one_record(apply: Apply, good: dict[str, dict[str, Any]]) -> None:
    instant = datetime(2026, 10, 5, 16, 30, tzinfo=UTC)
    written = []
    for hours in range(-12, 15):
        local = instant + timedelta(hours=hours)
        text = f"{local:%Y-%m-%dT%H:%M:%S}{'-' if hours < 0 else '+'}{abs(hours):02}:00"
        written.append({**good[BEIJING], "beginTime": text, "endTime": text})
    records = apply(BEIJING, *written).records
    assert len(records) == 27
    assert len(records.drop("row").unique()) == 1


def test_equal_values_under_two_names_of_a_field_are_no_conflict(apply: Apply, good: dict[str, dict[str, Any]]) -> None:
    document = good[KUAIDIAN]
    doubled = {**document, **{name[0].lower() + name[1:]: value for name, value in document.items()}}
    one, both = apply(KUAIDIAN, document).records, apply(KUAIDIAN, doubled).records
    assert_frame_equal(one, both)


def test_a_number_and_its_text_are_read_alike(apply: Apply, good: dict[str, dict[str, Any]]) -> None:
    document = {**good[BEIJING], "distance": 3120.5, "ver": 2, "carbonReduction": 780.25, "orderNo": 778899}
    as_text = {name: str(value) if isinstance(value, int | float) else value for name, value in document.items()}
    assert_frame_equal(apply(BEIJING, document).records, apply(BEIJING, as_text).records)


def test_digits_that_a_float_would_lose_are_kept(apply: Apply, good: dict[str, dict[str, Any]]) -> None:
    written = json.dumps(good[KUAIDIAN]).replace('"TotalPower": 6.5', '"TotalPower": 123456789012.123457')
    assert apply(KUAIDIAN, written).records["quantity_micro"].to_list() == [123_456_789_012_123_457]
    numbered = json.dumps(good[BEIJING]).replace('"BJ202610050001"', "5301890193521352345")
    assert apply(BEIJING, numbered).records["source_id"].to_list() == ["5301890193521352345"]


def test_one_order_has_one_token_at_two_platforms(apply: Apply, good: dict[str, dict[str, Any]]) -> None:
    city, bank = apply(BEIJING, good[BEIJING]).records, apply(CITIC, good[CITIC]).records
    assert city["event_key"][0] is not None
    assert city["event_key"].to_list() == bank["event_key"].to_list()
    assert city["payment_key"].to_list() == bank["payment_key"].to_list()
    assert city["event_key"].to_list() != city["payment_key"].to_list()


def test_a_dummy_order_number_is_no_key(apply: Apply, good: dict[str, dict[str, Any]]) -> None:
    documents = [{**good[BEIJING], "orderNo": dummy} for dummy in ("", "0", "999999999", 0, "null", None)]
    assert apply(BEIJING, *documents).records["event_key"].to_list() == [None] * len(documents)


GARBAGE = st.binary(max_size=60) | st.sampled_from(
    [b"{", b"[]", b'"', b"\x00", b'{"tradeNo":"x"}', b'{"scene":"BIKE","scene":"BUS"}', b"NaN", b'{"a":' * 50]
)


@settings(deadline=None)
@given(st.lists(st.none() | GARBAGE, max_size=12), st.sampled_from([BEIJING, CITIC, KUAIDIAN, SHENZHEN, WECHAT]))
def test_good_rows_are_translated_the_same_whatever_is_beside_them(
    apply: Apply, good: dict[str, dict[str, Any]], mixed: list[bytes | None], name: str
) -> None:
    """None stands for the good document."""
    rows = [good[name] if row is None else row for row in mixed]
    translation = apply(name, *rows)
    ended = sorted([*translation.records["row"].to_list(), *translation.quarantined["row"].to_list()])
    assert ended == list(range(len(rows)))
    alone = apply(name, good[name]).records.drop("row")
    for position in (i for i, row in enumerate(mixed) if row is None):
        assert_frame_equal(translation.records.filter(pl.col("row") == position).drop("row"), alone)
    for position in (i for i, row in enumerate(mixed) if row is not None):
        assert position in translation.quarantined["row"]


@settings(deadline=None)
@given(st.data())
def test_a_damaged_document_ends_in_exactly_one_frame_and_its_record_is_complete(
    apply: Apply, good: dict[str, dict[str, Any]], data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(sorted(good)))
    document = bytearray(json.dumps(good[name], ensure_ascii=False).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        document[data.draw(st.integers(0, len(document) - 1))] = data.draw(st.integers(0, 255))
    translation = apply(name, bytes(document))
    assert len(translation.records) + len(translation.quarantined) == 1
    nobody = ("account",) if load_mapping(name).corroborates else ()
    required = [n for n in TRANSLATED_SCHEMA if n not in (
        "posted_at", "quantity_micro", "unit", "event_key", "payment_key", "region", "claimed_mg", *nobody)]  # fmt: skip
    assert (
        sum(
            translation.records.select(required).null_count().row(0, named=True).values()
            if len(translation.records)
            else [0]
        )
        == 0
    )


def test_a_batch_longer_than_a_chunk_is_translated_in_order(
    good: dict[str, dict[str, Any]], now: datetime, key: bytes
) -> None:
    count = 140_000
    text = json.dumps(good[WECHAT]).replace('"step": 8123', '"step": #')
    payloads = pl.Series([text.replace("#", str(i)) if i % 1000 else "{" for i in range(count)])
    translation = translate(load_mapping(WECHAT), payloads, token_key=key, now=now)
    assert translation.quarantined["row"].to_list() == list(range(0, count, 1000))
    assert (translation.records["quantity_micro"] == translation.records["row"].cast(pl.Int64) * 10**6).all()
    assert len(translation.records) == count - count // 1000


def test_an_empty_batch_gives_empty_frames(apply: Apply, good: dict[str, dict[str, Any]]) -> None:
    for name in good:
        translation = apply(name)
        assert translation.records.schema == TRANSLATED_SCHEMA
        assert translation.quarantined.schema == QUARANTINED_SCHEMA
        assert len(translation.records) == len(translation.quarantined) == 0


def test_the_caller_must_give_a_clock_with_a_zone_a_key_and_the_accounts(
    odd: tuple[Mapping, dict[str, Any]], now: datetime, key: bytes
) -> None:
    mapping, document = odd
    payloads = pl.Series([json.dumps(document)])
    linked = pl.Series(["a"])
    with pytest.raises(ValueError, match="zone"):
        translate(mapping, payloads, token_key=key, now=now.replace(tzinfo=None), accounts=linked)
    with pytest.raises(ValueError, match="16 bytes"):
        translate(mapping, payloads, token_key=b"short", now=now, accounts=linked)
    with pytest.raises(ValueError, match="accounts"):
        translate(mapping, payloads, token_key=key, now=now)
    with pytest.raises(ValueError, match="length"):
        translate(mapping, payloads, token_key=key, now=now, accounts=pl.Series(["a", "b"]))


def test_a_row_without_an_account_of_its_link_is_set_aside(
    odd: tuple[Mapping, dict[str, Any]], now: datetime, key: bytes
) -> None:
    mapping, document = odd
    payloads, accounts = pl.Series([json.dumps(document)] * 2), pl.Series([None, "known"], dtype=pl.String)
    translation = translate(mapping, payloads, token_key=key, now=now, accounts=accounts)
    assert translation.quarantined["reason"].to_list() == ["missing_account"]
    assert translation.records["account"].to_list() == ["known"]


def test_the_first_case_whose_condition_holds_fills_the_field(
    apply: Apply, odd: tuple[Mapping, dict[str, Any]], odd_file: bytes
) -> None:
    quantity = (
        'quantity = [{ when = { path = "city", equals = "south" }, constant = "7", unit = "km" }, '
        '{ when = { all = [{ path = "amount", absent = false }, { any = [{ path = "bill", same_as = "period" }, '
        '{ not = { path = "g", equals_number = "12.500" } }] }] }, path = "amount", from = "m", unit = "km" }, '
        '{ path = "seen", from = "km", unit = "km" }]'
    )
    old = b'quantity = { path = "amount", from = "m", unit = "km" }'
    assert old in odd_file
    mapping = parse_mapping("odd-platform.acts.v3", odd_file.replace(old, quantity.encode()))
    document = odd[1]
    rows = [
        document,
        {**document, "city": "south"},
        {**document, "g": 13},
        {**document, "bill": "2026-07"},
        {**document, "g": 13, "amount": None},
    ]
    records = apply(mapping, *rows).records
    assert records["quantity_micro"].to_list() == [2_000_000, 7_000_000, 1_500_000, 1_500_000, 2_000_000]
