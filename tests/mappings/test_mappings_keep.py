"""Only what the allow-list names survives, in one canonical form, and it translates as the full document."""

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from mappings import Mapping, Translation, kept_payloads, load_mapping, parse_mapping, translate
from mappings.load import FILES
from standards.canonical import canonical_bytes

Apply = Callable[..., Translation]
Series = Callable[[list[Any]], pl.Series]
BEIJING, CITIC, KUAIDIAN = "beijing-green-life.acts.v1", "citic-carbon.acts.v1", "kuaidian.charge_orders.v1"
SHENZHEN, WECHAT = "shenzhen-transit.trips.v1", "wechat-sports.steps.v1"
# Sorted by UTF-16 code units the smiling face comes before the ligature; sorted by characters it would not.
NAMES = ["plain", "é", "键", "\U0001f600", "ﬀ", 'a"b\\c\n', "A"]
SCALARS = st.none() | st.booleans() | st.integers(-(2**52), 2**52) | st.text()
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def keep(mapping: str | Mapping, series: Series, *documents: Any) -> list[bytes | None]:
    chosen = load_mapping(mapping) if isinstance(mapping, str) else mapping
    return kept_payloads(chosen, series(list(documents))).to_list()


def test_what_is_kept_is_the_canonical_document_without_the_personal_fields(
    series: Series, good: dict[str, dict[str, Any]]
) -> None:
    kept = (
        b'{"beginTime":"2026-10-05T08:12:03+08:00","carbonReduction":"780.00","cityCode":"110000","distance":3120,'
        b'"endTime":"2026-10-05T08:31:40+08:00","memberId":"bj-000123","orderNo":"MB7788990011","payNo":"PAY-55",'
        b'"scene":"BIKE","status":"FINISHED","tradeNo":"BJ202610050001","updateTime":"2026-10-06T01:00:00+08:00","ver":1}'
    )
    assert keep(BEIJING, series, good[BEIJING]) == [kept]


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        (BEIJING, ["mobile", "nickname"]),
        (CITIC, ["maskedPan", "amount"]),
        (KUAIDIAN, ["TotalMoney", "totalMoney", "ChargeDetails"]),
        (WECHAT, ["nickName", "phoneNumber", "avatarUrl"]),
        (SHENZHEN, ["passenger"]),
    ],
)
def test_a_personal_field_never_survives_wherever_it_hides(
    series: Series, good: dict[str, dict[str, Any]], name: str, fields: list[str]
) -> None:
    secret = "SECRET-13800138000"
    document = good[name]
    kept_names = [path[0] for path in load_mapping(name).keep]
    hidden = [{**document, field: secret} for field in fields]
    hidden += [{**document, f"new_{field}": {"inside": [secret]}} for field in fields]
    # Inside a field that is kept, where the mapping expects a text, a number or another object.
    hidden += [{**document, field: {fields[0]: secret}} for field in kept_names]
    hidden += [{**document, field: [secret]} for field in kept_names]
    if name == SHENZHEN:
        hidden += [{**document, "tap": secret}, {**document, "tap": {**document["tap"], "name": secret}}]
    for kept in keep(name, series, *hidden):
        assert kept is not None
        assert secret.encode() not in kept


@pytest.mark.parametrize("name", [BEIJING, CITIC, KUAIDIAN, SHENZHEN, WECHAT])
def test_the_names_of_dropped_fields_do_not_survive(series: Series, good: dict[str, dict[str, Any]], name: str) -> None:
    dropped = [path[0] for path in load_mapping(name).drop]
    kept = keep(name, series, {**good[name], **dict.fromkeys(dropped, "x")})[0]
    assert kept is not None
    assert not set(dropped) & set(json.loads(kept))


@settings(deadline=None)
@given(st.data())
def test_a_kept_document_translates_exactly_as_the_full_one(
    apply: Apply, series: Series, good: dict[str, dict[str, Any]], data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(sorted(good)))
    document = dict(good[name])
    for _ in range(data.draw(st.integers(0, 3))):
        document[data.draw(st.sampled_from(sorted(document)))] = data.draw(VALUES | st.sampled_from(["", "0", "BIKE"]))
    if "tap" in document and isinstance(document["tap"], dict):
        document["tap"] = {
            **document["tap"],
            data.draw(st.sampled_from(["card_no", "deal_date", "x"])): data.draw(VALUES),
        }
    kept = keep(name, series, document)[0]
    full, replayed = apply(name, document), apply(name, kept)
    assert_frame_equal(full.records, replayed.records)
    assert_frame_equal(full.quarantined, replayed.quarantined)
    assert keep(name, series, kept) == [kept]


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(NAMES), SCALARS, max_size=7), st.booleans(), st.sampled_from([None, 2]))
def test_the_form_is_that_of_rfc_8785(
    odd_file: bytes, document: dict[str, Any], ascii_only: bool, indent: int | None
) -> None:
    listed = ", ".join(json.dumps(name, ensure_ascii=False) for name in NAMES)
    content = odd_file.decode().replace('keep = ["id"', f'keep = [{listed}, "id"')
    mapping = parse_mapping("odd-platform.acts.v3", content.encode())
    written = json.dumps(document, ensure_ascii=ascii_only, indent=indent)
    assert kept_payloads(mapping, pl.Series([written]))[0] == canonical_bytes(document)


def test_a_number_keeps_the_text_in_which_it_was_written(series: Series) -> None:
    written = b'{ "TotalPower" : 6.00, "totalPower" : 12345678901234567890.10 , "StopReason": 1E+2}'
    assert keep(KUAIDIAN, series, written) == [
        b'{"StopReason":1E+2,"TotalPower":6.00,"totalPower":12345678901234567890.10}'
    ]


def test_a_document_that_cannot_be_read_is_not_kept(series: Series, good: dict[str, dict[str, Any]]) -> None:
    documents = [b"{", b"[]", b'{"ver":1,"ver":2}', b"", good[BEIJING], b'{"mobile":"13800138000"}']
    kept = keep(BEIJING, series, *documents)
    assert [None if row is None else len(row) > 2 for row in kept] == [None, None, None, None, True, False]
    assert kept[5] == b"{}"


def test_order_and_spaces_and_personal_fields_do_not_make_another_document(
    series: Series, good: dict[str, dict[str, Any]]
) -> None:
    document = good[BEIJING]
    other = {name: document[name] for name in reversed(document)} | {"nickname": "小红", "avatar": "x.png"}
    assert keep(BEIJING, series, document) == keep(BEIJING, series, json.dumps(other, indent=3))
    assert keep(BEIJING, series, document) != keep(BEIJING, series, {**document, "ver": 2})


def test_what_one_mapping_could_not_read_the_corrected_one_reads_from_the_kept_bytes(
    series: Series, good: dict[str, dict[str, Any]], now: datetime, key: bytes
) -> None:
    content = (FILES / f"{BEIJING}.toml").read_text()
    old = parse_mapping(BEIJING, content.replace('CLEAN_PLATE = "FOOD-CLEANPLATE"\n', "").encode())
    corrected = load_mapping(BEIJING)
    assert old.digest != corrected.digest
    document = {**good[BEIJING], "scene": "CLEAN_PLATE", "distance": None, "endTime": good[BEIJING]["beginTime"]}
    stored = kept_payloads(old, series([document]))
    before = translate(old, stored, token_key=key, now=now)
    assert before.quarantined["reason"].to_list() == ["unknown_scene"]
    after = translate(corrected, stored, token_key=key, now=now)
    assert after.records.select("behaviour", "quantity_micro", "unit").rows() == [
        ("FOOD-CLEANPLATE", 1_000_000, "meal")
    ]
    assert_frame_equal(after.records, translate(corrected, series([document]), token_key=key, now=now).records)
