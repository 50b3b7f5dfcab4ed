"""Formats that name nobody, JSON booleans in conditions, versions that are times, and times without an offset."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest

from mappings import MappingError, Translation, kept_payloads, parse_mapping
from mappings.model import IsFlag, Nobody, OffsetTime

Apply = Callable[..., Translation]
NAME = "bare-platform.acts.v1"
FILE = b"""
mapping = "bare-platform.acts.v1"
about = "a format for tests"
sources = ["made up"]
keep = ["id", "who", "back", "at", "seen"]

[fields]
source_id = { path = "id" }
version = { path = "seen", time = "offset", zone = "UTC" }
account = { nobody = true }
cancelled = [
  { when = { path = "back", flag = true }, constant = true },
  { when = { path = "back", flag = false }, constant = false },
]
behaviour = { constant = "MOB-BIKE" }
role = { constant = "operator" }
start_at = { path = "at", time = "offset", zone = "UTC" }
end_at = { path = "at", time = "offset", zone = "Asia/Shanghai" }
precision = { constant = "second" }
"""
ROW = {"id": "1", "who": "SECRET", "back": False, "at": "2026-10-05T08:00:00Z", "seen": "2026-10-05T08:00:01.5Z"}


def changed(old: str, new: str) -> bytes:
    assert FILE.count(old.encode()) == 1
    return FILE.replace(old.encode(), new.encode())


def test_a_format_that_names_nobody_gives_records_without_an_account(apply: Apply) -> None:
    mapping = parse_mapping(NAME, FILE)
    assert mapping.corroborates
    assert not mapping.needs_link
    assert isinstance(mapping.fields["account"][0].transform, Nobody)
    translation = apply(mapping, ROW, {**ROW, "id": None}, {**ROW, "id": "3"})
    assert translation.records["account"].to_list() == [None, None]
    assert translation.records["account"].dtype == pl.String
    assert translation.quarantined.select("row", "reason").rows() == [(1, "missing_source_id")]
    assert apply(mapping).records.schema == translation.records.schema


def test_a_format_that_names_people_does_not_corroborate(apply: Apply) -> None:
    mapping = parse_mapping(NAME, changed("account = { nobody = true }", 'account = { path = "who" }'))
    assert not mapping.corroborates
    translation = apply(mapping, ROW, {**ROW, "who": None})
    assert translation.records["account"].to_list() == ["SECRET"]
    assert translation.quarantined["reason"].to_list() == ["missing_account"]


@pytest.mark.parametrize(
    ("account", "told"),
    [
        ("{ nobody = false }", "fields.account.nobody: can only be true"),
        ('{ nobody = true, path = "who" }', "fields.account: unknown key: path"),
        ('[{ when = { path = "who", absent = false }, path = "who" }, { nobody = true }]', "names people or nobody"),
        ('{ when = { path = "who", absent = true }, nobody = true }', "names people or nobody"),
    ],
)
def test_a_format_names_people_or_nobody(account: str, told: str) -> None:
    with pytest.raises(MappingError, match=told):
        parse_mapping(NAME, changed("account = { nobody = true }", f"account = {account}"))


@pytest.mark.parametrize(
    ("back", "expected"),
    [
        (True, True), (False, False),
        # Nothing but a boolean is one.
        ("true", None), ("false", None), (1, None), (0, None), (None, None), ([True], None), ({"a": True}, None),
    ],
)  # fmt: skip
def test_a_flag_is_a_boolean_and_nothing_that_looks_like_one(apply: Apply, back: Any, expected: bool | None) -> None:
    mapping = parse_mapping(NAME, FILE)
    condition = mapping.fields["cancelled"][0].when
    assert condition == IsFlag(paths=(("back",),), expected=True)
    translation = apply(mapping, {**ROW, "back": back}, ROW)
    if expected is None:
        assert translation.quarantined.select("row", "reason").rows() == [(0, "missing_status")]
    else:
        assert translation.records["cancelled"].to_list() == [expected, False]


def test_a_flag_survives_in_what_is_kept(apply: Apply) -> None:
    mapping = parse_mapping(NAME, FILE)
    rows = pl.Series(['{"id":"1","back": true ,"at":"2026-10-05T08:00:00Z","seen":"2026-10-05T08:00:01Z"}'])
    kept = kept_payloads(mapping, rows)
    assert b'"back":true' in kept[0]
    assert apply(mapping, kept[0]).records["cancelled"].to_list() == [True]


def test_a_flag_is_said_as_true_or_false() -> None:
    with pytest.raises(MappingError, match=r"when.flag: must be true or false"):
        parse_mapping(NAME, changed("flag = true", 'flag = "true"'))


def test_only_a_case_can_say_that_every_act_is_taken_back() -> None:
    whole = FILE.replace(
        FILE[FILE.index(b"cancelled =") : FILE.index(b"behaviour =")], b"cancelled = { constant = true }\n"
    )
    with pytest.raises(MappingError, match="every act is taken back makes no sense"):
        parse_mapping(NAME, whole)


def test_a_time_can_be_the_version(apply: Apply) -> None:
    mapping = parse_mapping(NAME, FILE)
    later = {**ROW, "seen": "2026-10-05T16:00:02+08:00"}
    versions = apply(mapping, ROW, later).records["version"].to_list()
    assert versions == [1_791_187_201_500_000, 1_791_187_202_000_000]
    refused = apply(mapping, {**ROW, "seen": "soon"}, {**ROW, "seen": None}).quarantined
    assert refused["reason"].to_list() == ["bad_time", "missing_version"]


def test_a_time_without_an_offset_is_on_the_clock_that_the_format_names(apply: Apply) -> None:
    mapping = parse_mapping(NAME, FILE)
    assert mapping.fields["start_at"][0].transform == OffsetTime(paths=(("at",),), zone="UTC")
    utc = apply(mapping, {**ROW, "at": "2026-10-05T08:00:00+00:00"}).records
    assert (utc["start_at"][0], utc["end_at"][0]) == (datetime(2026, 10, 5, 8, tzinfo=UTC),) * 2
    bare = apply(mapping, {**ROW, "at": "2026-10-05T16:00:00"})
    # 16:00 in UTC begins after 16:00 in China ends: both readings are used, each for its field.
    assert bare.quarantined["reason"].to_list() == ["end_before_start"]
    other = parse_mapping(NAME, changed('end_at = { path = "at", time = "offset", zone = "Asia/Shanghai" }',
                                        'end_at = { path = "at", time = "offset", zone = "UTC" }'))  # fmt: skip
    record = apply(other, {**ROW, "at": "2026-10-05T16:00:00.25"}).records.row(0, named=True)
    assert record["start_at"] == record["end_at"] == datetime(2026, 10, 5, 16, 0, 0, 250_000, tzinfo=UTC)


@pytest.mark.parametrize(("written", "reason"), [("2026-10-05", "bad_time"), ("2026-13-05T08:00:00", "bad_time"),
                                                ("1999-10-05T08:00:00", "time_out_of_range")])  # fmt: skip
def test_a_bad_time_stays_bad_whatever_clock_the_format_names(apply: Apply, written: str, reason: str) -> None:
    refused = apply(parse_mapping(NAME, FILE), {**ROW, "at": written}).quarantined
    assert refused["reason"].to_list() == [reason]
