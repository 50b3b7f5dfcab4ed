"""Times are read strictly: no guessed zone, no impossible date, nothing that happened twice."""

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mappings.reader import build_tree, read_documents
from mappings.reasons import NONE, Reason
from mappings.texts import Texts
from mappings.times import EARLIEST_US, parse_days, parse_local_times, parse_offset_times, parse_unix_times

TREE = build_tree([("a",)])
UNTIMED = settings(deadline=None)  # the first call compiles
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MOMENTS = st.datetimes(datetime(2000, 1, 3), datetime(9999, 12, 28))


def parse(parser: Callable[..., Any], *written: Any, **options: Any) -> list[datetime | Reason]:
    documents = pl.Series([json.dumps({"a": text}) for text in written])
    texts: Texts = read_documents(documents, TREE).field((("a",),)).texts
    values, faults = parser(texts, **options)
    return [
        EPOCH + timedelta(microseconds=us) if fault == NONE else list(Reason)[fault - 1]
        for us, fault in zip(values.tolist(), faults.tolist(), strict=True)
    ]


@UNTIMED
@given(MOMENTS, st.integers(-720, 840), st.sampled_from(["T", " ", "t"]))
def test_a_time_with_its_offset_is_the_instant_that_the_standard_library_reads(
    moment: datetime, minutes: int, sign: str
) -> None:
    written = moment.replace(tzinfo=timezone(timedelta(minutes=minutes))).isoformat(sep=sign)
    assert parse(parse_offset_times, written) == [datetime.fromisoformat(written).astimezone(UTC)]


@UNTIMED
@given(MOMENTS)
def test_a_local_time_is_the_wall_clock_of_its_zone(moment: datetime) -> None:
    expected = moment.replace(tzinfo=ZoneInfo("Asia/Shanghai")).astimezone(UTC)
    assert parse(parse_local_times, moment.isoformat(sep=" "), zone="Asia/Shanghai") == [expected]


@UNTIMED
@given(st.dates(date(2000, 1, 3), date(9999, 12, 28)))
def test_a_service_day_runs_from_midnight_to_midnight_of_its_zone(day: date) -> None:
    zone = ZoneInfo("Asia/Shanghai")
    start = datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)
    assert parse(parse_days, day.isoformat(), zone="Asia/Shanghai", end=False) == [start]
    assert parse(parse_days, day.isoformat(), zone="Asia/Shanghai", end=True) == [start + timedelta(days=1)]


@UNTIMED
@given(st.integers(EARLIEST_US, 4_102_444_800_000_000))
def test_a_unix_time_is_read_in_each_unit(us: int) -> None:
    moment = EPOCH + timedelta(microseconds=us)
    assert parse(parse_unix_times, str(us), unit="us") == [moment]
    assert parse(parse_unix_times, f"{us // 1000}.{us % 1000:03d}", unit="ms") == [moment]
    assert parse(parse_unix_times, f"{us // 10**6}.{us % 10**6:06d}", unit="s") == [moment]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("2026-10-05T08:12:03+08:00", datetime(2026, 10, 5, 0, 12, 3, tzinfo=UTC)),
        ("2026-10-05T00:12:03Z", datetime(2026, 10, 5, 0, 12, 3, tzinfo=UTC)),
        ("2026-10-05T00:12:03.1234569z", datetime(2026, 10, 5, 0, 12, 3, 123456, tzinfo=UTC)),
        ("2024-02-29T00:00:00Z", datetime(2024, 2, 29, tzinfo=UTC)),
        ("2026-10-05T08:12:03", Reason.MISSING_ZONE),
        ("2026-10-05T08:12:03.5", Reason.MISSING_ZONE),
        ("2026-02-29T00:00:00Z", Reason.BAD_TIME),
        ("2100-02-29T00:00:00Z", Reason.BAD_TIME),
        ("2026-04-31T00:00:00Z", Reason.BAD_TIME),
        ("2026-13-01T00:00:00Z", Reason.BAD_TIME),
        ("2026-10-05T24:00:00Z", Reason.BAD_TIME),
        ("2026-10-05T08:60:00Z", Reason.BAD_TIME),
        ("2026-10-05T08:12:60Z", Reason.BAD_TIME),
        ("2026-10-05T08:12Z", Reason.BAD_TIME),
        ("2026-10-05T08:12:03.Z", Reason.BAD_TIME),
        ("2026-10-05T08:12:03+0800", Reason.BAD_TIME),
        ("2026-10-05T08:12:03+08", Reason.BAD_TIME),
        ("2026-10-05T08:12:03+15:00", Reason.BAD_TIME),
        ("2026-10-05T08:12:03-13:00", Reason.BAD_TIME),
        ("2026-10-05T08:12:03+08:60", Reason.BAD_TIME),
        ("2026-10-05T08:12:03 Asia/Shanghai", Reason.BAD_TIME),
        ("2026-10-05", Reason.BAD_TIME),
        ("26-10-05T08:12:03Z", Reason.BAD_TIME),
        ("+2026-10-05T08:12:03Z", Reason.BAD_TIME),
        (" 2026-10-05T08:12:03Z", Reason.BAD_TIME),
        ("２０２６-10-05T08:12:03Z", Reason.BAD_TIME),
        ("0000-01-01T00:00:00Z", Reason.BAD_TIME),
        ("yesterday", Reason.BAD_TIME),
        ("1970-01-01T00:00:00Z", Reason.TIME_OUT_OF_RANGE),
        ("1999-12-31T23:59:59Z", Reason.TIME_OUT_OF_RANGE),
        ("9999-12-31T23:59:59-12:00", Reason.TIME_OUT_OF_RANGE),
    ],
)
def test_each_writing_with_an_offset_has_one_result(written: str, expected: datetime | Reason) -> None:
    assert parse(parse_offset_times, written) == [expected]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("2026-10-05 08:31:10", datetime(2026, 10, 5, 6, 31, 10, tzinfo=UTC)),
        ("2026-03-29 02:30:00", Reason.NONEXISTENT_TIME),
        ("2026-10-25 02:30:00", Reason.AMBIGUOUS_TIME),
        ("2026-10-25 03:00:00", datetime(2026, 10, 25, 2, 0, tzinfo=UTC)),
        ("2026-02-30 08:00:00", Reason.BAD_TIME),
        ("2026-10-05 08:31:10Z", Reason.BAD_TIME),
        ("2026-10-05 08:31:10+02:00", Reason.BAD_TIME),
    ],
)
def test_a_local_time_that_was_skipped_or_came_twice_is_refused(written: str, expected: datetime | Reason) -> None:
    assert parse(parse_local_times, written, zone="Europe/Berlin") == [expected]


def test_a_day_whose_midnight_was_skipped_is_refused() -> None:
    assert parse(parse_days, "2018-11-04", zone="America/Sao_Paulo", end=False) == [Reason.NONEXISTENT_TIME]


@pytest.mark.parametrize("written", ["2026-02-29", "2026-10-5", "2026-10-05T00:00:00", "20261005"])
def test_an_impossible_day_is_refused(written: str) -> None:
    assert parse(parse_days, written, zone="Asia/Shanghai", end=False) == [Reason.BAD_TIME]


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        (1759593600000, Reason.TIME_OUT_OF_RANGE),  # milliseconds where seconds belong
        (0, Reason.TIME_OUT_OF_RANGE),
        (-1, Reason.BAD_TIME),
        ("1759593600.0000001", Reason.BAD_TIME),
        ("soon", Reason.BAD_TIME),
    ],
)
def test_a_unix_time_in_the_wrong_unit_is_refused(written: Any, reason: Reason) -> None:
    assert parse(parse_unix_times, written, unit="s") == [reason]
