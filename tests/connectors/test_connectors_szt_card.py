"""Card records of Shenzhen: taps to trips, with the dirty cases that the open data really has."""

import base64
import json
from datetime import UTC, datetime
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from connectors.base import Cursor, Page, Unreadable
from connectors.clients.drop_writer import write_drop
from connectors.formats.szt_card import FIELDS, build_szt_card, join_trips, parse_config
from connectors.profiles.drop_folder import Drop
from connectors.profiles.drop_manifest import Manifest

NOW = datetime(2018, 9, 3, 0, 0, tzinfo=UTC)
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def tap(card: str, at: str, kind: str, station: str = "长龙", paid: str = "0", **changes: Any) -> dict[str, Any]:
    """A record of the open data's shape: 11 texts, money in fen, Beijing time without a zone."""
    record = {
        "deal_date": at if len(at) > 8 else f"2018-09-01 {at}",
        "close_date": "2018-09-01 00:00:00",
        "card_no": card,
        "deal_value": paid,
        "deal_type": {"in": "地铁入站", "out": "地铁出站", "bus": "巴士"}.get(kind, kind),
        "company_name": "地铁五号线",
        "car_no": "OGT-101",
        "station": station,
        "conn_mark": "0",
        "deal_money": paid,
        "equ_no": "263031101",
    }
    return {name: value for name, value in (record | changes).items() if value is not None}


def joined(*records: dict[str, Any], carried: str | None = None, now: datetime = NOW) -> tuple[list[Any], str | None]:
    entries = tuple(json.dumps(record, ensure_ascii=False).encode() for record in records)
    manifest = Manifest(
        platform="p", stream="trips", sequence=1, files=(), prev_manifest_sha256=None, created_at=now, sha256="0" * 64
    )
    made, carry = join_trips(Drop(sequence=1, manifest=manifest, entries=entries), carried)
    return [entry if isinstance(entry, Unreadable) else json.loads(entry) for entry in made], carry


def sides(trips: list[Any]) -> list[tuple[str | None, ...]]:
    """Each trip as the times of its taps."""
    return [
        (trip["tap"]["deal_date"][11:],)
        if trip["kind"] == "bus"
        else tuple(trip[side]["deal_date"][11:] if trip[side] else None for side in ("in", "out"))
        for trip in trips
    ]


def test_entry_and_exit_of_one_card_are_one_trip() -> None:
    entry, leaving = tap("A", "08:00:00", "in"), tap("A", "08:30:00", "out", "大学城", "380")
    trips, carry = joined(leaving, entry)
    assert trips == [{"kind": "metro", "in": entry, "out": leaving}]
    assert set(trips[0]["in"]) == set(FIELDS)
    assert carry is None


def test_a_bus_trip_is_one_tap_as_it_was_written() -> None:
    record = {
        "deal_date": "2018-09-01 05:39:10",
        "close_date": "2018-09-01 00:00:00",
        "card_no": "CFBAJECDH",
        "deal_value": "800",
        "deal_money": "595",
        "deal_type": "巴士",
        "company_name": "金华南巴士",
        "car_no": "粤BU2313",
        "station": "332(观澜)",
        "conn_mark": "0",
        "equ_no": "263031101",
    }
    trips, _ = joined(record)
    assert trips == [{"kind": "bus", "tap": record}]


def test_leaving_where_one_entered_for_nothing_is_handed_on_as_a_trip() -> None:
    entry, leaving = tap("HHAAJHCEH", "05:57:58", "in", "塘尾"), tap("HHAAJHCEH", "06:03:14", "out", "塘尾", "0")
    trips, _ = joined(entry, leaving)
    assert trips == [{"kind": "metro", "in": entry, "out": leaving}]


def test_an_exit_without_an_entry_is_a_trip_with_one_side() -> None:
    trips, _ = joined(
        tap("HHJJAEIGB", "05:11:00", "out", "南山站"),
        tap("HHJJAEIGB", "06:02:00", "in", "南山站"),
        tap("HHJJAEIGB", "06:05:00", "out", "南山站"),
    )
    assert sides(trips) == [(None, "05:11:00"), ("06:02:00", "06:05:00")]


def test_an_entry_followed_by_an_entry_lost_its_exit() -> None:
    trips, _ = joined(tap("A", "08:00:00", "in"), tap("A", "09:00:00", "in"), tap("A", "09:20:00", "out"))
    assert sides(trips) == [("08:00:00", None), ("09:00:00", "09:20:00")]


def test_an_exit_after_more_hours_than_a_ride_takes_is_another_ride_s() -> None:
    trips, _ = joined(tap("A", "08:00:00", "in"), tap("A", "14:00:01", "out"))
    assert sides(trips) == [("08:00:00", None), (None, "14:00:01")]
    trips, _ = joined(tap("A", "08:00:00", "in"), tap("A", "14:00:00", "out"))
    assert sides(trips) == [("08:00:00", "14:00:00")]


def test_taps_of_different_cards_and_a_bus_between_do_not_mix() -> None:
    trips, _ = joined(
        tap("A", "08:00:00", "in"),
        tap("B", "08:01:00", "in"),
        tap("A", "08:05:00", "bus"),
        tap("B", "08:20:00", "out"),
        tap("A", "08:30:00", "out"),
    )
    assert sides(trips) == [("08:05:00",), ("08:01:00", "08:20:00"), ("08:00:00", "08:30:00")]


def test_the_order_of_the_file_does_not_matter() -> None:
    records = [tap("A", "08:00:00", "in"), tap("A", "08:30:00", "out"), tap("A", "08:30:00", "in"), tap("B", "8", "x")]
    records[3] = tap("B", "08:10:00", "out")
    results = {json.dumps(joined(*order)) for order in permutations(records)}
    assert len(results) == 1
    trips, carry = joined(*records)
    assert sides(trips) == [(None, "08:10:00"), ("08:00:00", "08:30:00")]
    assert carry is not None


def test_an_open_entry_is_carried_into_the_next_drop() -> None:
    late = tap("A", "23:50:00", "in", "长龙")
    trips, carry = joined(late, tap("B", "23:55:00", "bus"))
    assert sides(trips) == [("23:55:00",)]
    leaving = tap("A", "2018-09-02 00:20:00", "out", "大学城", "380")
    trips, carry = joined(leaving, carried=carry)
    assert trips == [{"kind": "metro", "in": late, "out": leaving}]
    assert carry is None


def test_an_entry_that_can_no_longer_find_its_exit_is_not_carried_on() -> None:
    _, carry = joined(tap("A", "23:50:00", "in"))
    trips, carry = joined(tap("B", "2018-09-02 08:00:00", "bus"), carried=carry)
    assert sides(trips) == [("08:00:00",), ("23:50:00", None)]
    assert carry is None


@pytest.mark.parametrize(("entered", "is_carried"), [("08:00:00", True), ("07:59:59", False)])
def test_an_entry_is_carried_exactly_as_long_as_a_ride_may_take(entered: str, is_carried: bool) -> None:
    _, carry = joined(tap("A", entered, "in"), tap("B", "14:00:00", "bus"))
    assert (carry is not None) is is_carried


def test_an_empty_drop_keeps_what_was_carried() -> None:
    _, carry = joined(tap("A", "23:50:00", "in"))
    assert joined(carried=carry) == ([], carry)


def test_a_record_with_nine_fields_is_unreadable_and_disturbs_no_other() -> None:
    nine = tap("A", "08:10:00", "out", car_no=None, station=None)
    assert len(nine) == 9
    trips, _ = joined(tap("A", "08:00:00", "in"), nine, tap("A", "08:30:00", "out"))
    assert trips[0] == Unreadable(position=1, reason="incomplete_record", detail="The record lacks car_no, station.")
    assert sides(trips[1:]) == [("08:00:00", "08:30:00")]


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (tap("A", "08:00:00", "in", station=""), "incomplete_record"),
        (tap("A", "08:00:00", "in", paid=380), "incomplete_record"),  # type: ignore[arg-type]
        (tap("A", "08:00:00", "充值"), "unknown_deal_type"),
        (tap("A B", "08:00:00", "in"), "card_no"),
        (tap("A" * 65, "08:00:00", "in"), "card_no"),
        (tap("A", "2018-09-01T08:00:00", "in"), "deal_date"),
        (tap("A", "2018-9-1 8:00:00", "in"), "deal_date"),
        (tap("A", "2018-09-31 08:00:00", "in"), "deal_date"),
        (tap("A", "2018-09-03 08:00:01", "in"), "time_ahead"),
        (tap("A", "08:00:00", "in", paid="3.80"), "money"),
        (tap("A", "08:00:00", "in", paid="-1"), "money"),
    ],
)
def test_a_record_that_is_not_of_the_format_is_unreadable(record: dict[str, Any], reason: str) -> None:
    trips, carry = joined(record)
    assert [(trip.position, trip.reason) for trip in trips] == [(0, reason)]
    assert carry is None


def test_a_record_told_twice_counts_once() -> None:
    entry, leaving = tap("A", "08:00:00", "in"), tap("A", "08:30:00", "out")
    trips, _ = joined(entry, entry, leaving, leaving)
    assert [trip.reason for trip in trips[:2]] == ["repeated_record", "repeated_record"]
    assert sides(trips[2:]) == [("08:00:00", "08:30:00")]


taps_of_a_day = st.lists(
    st.builds(
        lambda card, minute, kind: tap(card, f"{minute // 60:02d}:{minute % 60:02d}:00", kind),
        st.sampled_from("ABC"),
        st.integers(0, 1439),
        st.sampled_from(["in", "out", "bus"]),
    ),
    max_size=25,
    unique_by=lambda record: (record["card_no"], record["deal_date"], record["deal_type"]),
)


@given(records=taps_of_a_day)
def test_every_tap_ends_in_exactly_one_place(records: list[dict[str, Any]]) -> None:
    trips, carry = joined(*records)
    told = [trip[side] for trip in trips for side in ("in", "out", "tap") if trip.get(side)]
    told += json.loads(carry) if carry else []

    def key(record: dict[str, Any]) -> str:
        return json.dumps(record, sort_keys=True)

    assert sorted(map(key, told)) == sorted(map(key, records))
    for trip in trips:
        if trip["kind"] == "metro" and trip["in"] and trip["out"]:
            assert trip["in"]["card_no"] == trip["out"]["card_no"]
            assert trip["in"]["deal_date"] <= trip["out"]["deal_date"]


@given(records=taps_of_a_day, cut=st.integers(0, 1440))
def test_a_day_in_two_drops_gives_the_trips_of_the_day_in_one(records: list[dict[str, Any]], cut: int) -> None:
    border = f"2018-09-01 {min(cut, 1439) // 60:02d}:{min(cut, 1439) % 60:02d}:00"
    early = [record for record in records if record["deal_date"] < border]
    first, carry = joined(*early)
    second, _ = joined(*[record for record in records if record["deal_date"] >= border], carried=carry)
    whole, _ = joined(*records)

    def pairs(trips: list[Any]) -> list[str]:
        return sorted(json.dumps(trip, sort_keys=True) for trip in trips if trip.get("in") and trip.get("out"))

    assert pairs(first + second) == pairs(whole)


def fetched(root: Path, cursor: Cursor | None = None, **config: Any) -> list[Page]:
    public = base64.b64encode(KEY.public_key().public_bytes_raw()).decode()
    settings = {"root": str(root), "platform": "shenzhen-transit", "public_keys": [public]} | config
    source = build_szt_card(parse_config(settings, {}))
    assert source.describe().streams == ("trips",)
    return list(source.fetch(None, cursor, now=NOW))


def write_cards(root: Path, sequence: int, files: dict[str, tuple[bytes, int]], previous: str | None) -> str:
    told = {"platform": "shenzhen-transit", "stream": "trips", "created_at": NOW, "key": KEY}
    return write_drop(root / str(sequence), files, sequence=sequence, previous=previous, **told)


def test_trips_over_midnight_are_joined_across_drops_and_after_a_stop_between_any_two_pages(tmp_path: Path) -> None:
    days = [
        [tap("A", "08:00:00", "in"), tap("A", "08:30:00", "out"), tap("B", "23:50:00", "in"), tap("C", "9", "bus")],
        [tap("B", "2018-09-02 00:10:00", "out"), tap("D", "2018-09-02 07:00:00", "bus")],
    ]
    days[0][3] = tap("C", "09:00:00", "bus")
    previous = None
    for sequence, records in enumerate(days, 1):
        text = b"".join(json.dumps(record, ensure_ascii=False).encode() + b"\n" for record in records)
        files = {"cards.jsonl": (text, len(records))}
        previous = write_cards(tmp_path, sequence, files, previous)
    whole = fetched(tmp_path, page_rows=1)
    rows = [json.loads(row) for page in whole for row in page.delivery.rows]
    assert sides(rows) == [("08:00:00", "08:30:00"), ("09:00:00",), ("23:50:00", "00:10:00"), ("07:00:00",)]
    for index, page in enumerate(whole):
        stored = Cursor(json.loads(json.dumps(page.cursor)))
        assert fetched(tmp_path, stored, page_rows=1) == whole[index + 1 :]


def test_csv_of_card_records_gives_the_same_trips(tmp_path: Path) -> None:
    records = [tap("A", "08:00:00", "in"), tap("A", "08:30:00", "out")]
    text = "\n".join([",".join(FIELDS), *(",".join(record[name] for name in FIELDS) for record in records)])
    write_cards(tmp_path, 1, {"cards.csv": (text.encode(), 2)}, None)
    rows = [json.loads(row) for page in fetched(tmp_path) for row in page.delivery.rows]
    assert rows == [{"kind": "metro", "in": records[0], "out": records[1]}]
