"""GB/T 32960 frames: the public vectors byte for byte, damage, and no-drive days from odometers."""

import base64
import json
import struct
from datetime import UTC, datetime, timedelta
from functools import reduce
from operator import xor
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from connectors.base import ConnectorError, Cursor, Page, SetAside
from connectors.clients.drop_writer import DropWriter, csv_file
from connectors.config import ConfigError
from connectors.formats.gbt32960 import build_gbt32960, hash_vin, parse_config
from connectors.formats.gbt32960_frame import Frame, FrameFault, bcc, parse_frame, split_frames
from connectors.profiles.file_drop import FileDrop

# Public sample frames (real VIN-like texts of documents, not of vehicles): both with their check byte.
LOCATED = bytes.fromhex("232302FE31373036303647423036435A4830303435010010110715111F270500069BD42001F13C685A")
BATTERY = bytes.fromhex(
    "232302fe4f563230323630303031000000000000000100211a09110c1e00080101025a26dd00040001040ccc0cd00cc10cc7"
    "0901010002474b65"
)
UNIT_01 = bytes.fromhex("010301004000000352" + "0F2827811C") + bytes(6)  # the public bytes, filled to 20
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
VIN_KEY = "a key for tests, agreed with BAIC"
VIN = "LTEST000000000001"


def frame(
    vin: str, at: str, odometer: int | None = None, *, command: int = 2, start: bytes = b"##", **change: Any
) -> bytes:
    """Build a frame by the standard's tables, not with the connector's code."""
    moment = datetime.fromisoformat(at)
    stamp = bytes([moment.year - 2000, moment.month, moment.day, moment.hour, moment.minute, moment.second])
    units = b""
    if odometer is not None:
        units = b"\x01" + struct.pack(">BBBHIHHBBBHBB", 1, 3, 1, 64, odometer, 3880, 10113, 28, 1, 0, 1000, 0, 0)
    data = change.get("data", stamp + change.get("before", b"") + units)
    head = bytes([command, 0xFE]) + vin.encode().ljust(17, b"\0") + bytes([change.get("encryption", 1)])
    body = head + struct.pack(">H", len(data)) + data
    return start + body + bytes([reduce(xor, body)])


def test_the_first_vector_byte_for_byte() -> None:
    assert len(LOCATED) == 41
    assert bcc(LOCATED[2:-1]) == LOCATED[-1] == 0x5A
    read = parse_frame(LOCATED)
    assert read == Frame(command=2, vin="170606GB06CZH0045", at=datetime(2017, 7, 21, 17, 31, 39), odometer_hm=None)
    place = LOCATED[30:-1]
    assert (place[0], struct.unpack(">II", place[2:])) == (5, (110_875_680, 32_586_856))


def test_the_second_vector_byte_for_byte() -> None:
    assert len(BATTERY) == 58
    assert bcc(BATTERY[2:-1]) == BATTERY[-1] == 0x65
    assert parse_frame(BATTERY) == Frame(
        command=2, vin="OV20260001", at=datetime(2026, 9, 17, 12, 30), odometer_hm=None
    )


def test_the_whole_vehicle_unit_of_the_public_bytes_says_85_km() -> None:
    data = bytes.fromhex("1a0a05080000") + b"\x01" + UNIT_01
    read = parse_frame(frame(VIN, "2026-10-05 08:00:00", data=data))
    assert isinstance(read, Frame)
    assert read.odometer_hm == 850


@pytest.mark.parametrize("vector", [LOCATED, BATTERY])
def test_a_frame_with_any_byte_changed_is_refused(vector: bytes) -> None:
    for at in range(2, len(vector)):
        changed = vector[:at] + bytes([vector[at] ^ 0x01]) + vector[at + 1 :]
        assert all(isinstance(each, FrameFault) for each in split_frames(changed))


@pytest.mark.parametrize("value", [0xFFFFFFFF, 0xFFFFFFFE, 10_000_000])
def test_an_odometer_that_is_marked_invalid_or_out_of_range_is_no_reading(value: int) -> None:
    read = parse_frame(frame(VIN, "2026-10-05 08:00:00", value))
    assert isinstance(read, Frame)
    assert read.odometer_hm is None


UNITS_BEFORE = [
    bytes.fromhex("02" + "02" + "01" * 24),  # two motors
    bytes.fromhex("03" + "000000000000" + "0003" + "010203" + "00" * 10),  # fuel cell with three probes
    bytes.fromhex("04" + "00" * 5),
    bytes.fromhex("0500069BD42001F13C68"),
    bytes.fromhex("06" + "00" * 14),
    bytes.fromhex("07" + "00" + "00000000" + "01" + "00000001" + "00" + "02" + "00" * 8 + "00"),
    BATTERY[30:-1],
    bytes.fromhex("80" + "0003" + "010203"),
]


@pytest.mark.parametrize("before", UNITS_BEFORE, ids=lambda unit: f"{unit[0]:02x}")
def test_the_odometer_is_found_behind_every_other_unit(before: bytes) -> None:
    read = parse_frame(frame(VIN, "2026-10-05 08:00:00", 850, before=before))
    assert isinstance(read, Frame)
    assert read.odometer_hm == 850


FAULTS = [
    (frame(VIN, "2026-10-05 08:00:00", 850, before=b"\x0a\x01"), "units"),
    (frame(VIN, "2026-10-05 08:00:00", 850, encryption=3), "encrypted"),
    (frame(VIN, "2026-10-05 08:00:00", data=bytes([26, 13, 1, 0, 0, 0])), "time"),
    (frame(VIN, "2026-10-05 08:00:00", data=b""), "time"),
    (frame(VIN, "2026-10-05 08:00:00", data=bytes([26, 10, 5, 8, 0, 0]) + b"\x01" + UNIT_01[:-1]), "units"),
    (frame(VIN, "2026-10-05 08:00:00", 850, start=b"$$"), "start_bytes"),
    (frame(VIN, "2026-10-05 08:00:00", 850)[:-4], "bcc"),
    (b"\x00\x01\x02", "start_bytes"),
    (frame(VIN, "2026-10-05 08:00:00", 850, command=0x40), "cut_off"),
]


@pytest.mark.parametrize(("bad", "reason"), FAULTS, ids=[reason for _, reason in FAULTS])
def test_one_bad_frame_does_not_disturb_its_neighbours(bad: bytes, reason: str) -> None:
    good = frame(VIN, "2026-10-05 09:00:00", 851)
    first, found, last = split_frames(good + bad + good)
    assert isinstance(found, FrameFault)
    assert found.reason == reason
    assert first == last == parse_frame(good)


def test_frames_of_another_edition_are_refused_one_by_one() -> None:
    foreign = frame(VIN, "2026-10-05 08:00:00", 850, start=b"$$")
    assert [type(each) for each in split_frames(foreign * 3 + LOCATED)] == [FrameFault] * 3 + [Frame]


def test_a_file_made_to_be_searched_for_ever_is_set_aside() -> None:
    head = b"##\x02\xfe" + bytes(17) + b"\x01" + b"\x00\x10"
    with pytest.raises(SetAside, match="file_frames"):
        list(split_frames(b"x" + head * 3000))


def fetcher(root: Path, **config: Any) -> FileDrop:
    public = base64.b64encode(KEY.public_key().public_bytes_raw()).decode()
    settings = {"root": str(root), "platform": "baic-weilan", "public_keys": public} | config
    return build_gbt32960(parse_config(settings, {"vin_key": VIN_KEY}))


def write(root: Path, written: str, frames: list[bytes], declared: list[tuple[str, str]] = []) -> None:  # noqa: B006
    writer = DropWriter(root=root, platform="baic-weilan", stream="odometer", key=KEY)
    files = {"frames.bin": (b"".join(frames), len(frames))}
    rows = [{"vin": vin, "date": day} for vin, day in declared]
    writer.write(files | {"declared.csv": csv_file(rows, ["vin", "date"])}, created_at=datetime.fromisoformat(written))


def fetched(root: Path, cursor: Cursor | None = None, **config: Any) -> list[Page]:
    return list(fetcher(root, **config).fetch(None, cursor, now=datetime(2026, 10, 20, tzinfo=UTC)))


def rows_of(pages: list[Page]) -> list[dict[str, Any]]:
    return [json.loads(row) for page in pages for row in page.delivery.rows]


def test_a_declared_day_is_proved_by_the_readings_around_it(tmp_path: Path) -> None:
    write(tmp_path, "2026-10-05T03:00:00+08:00", [frame(VIN, "2026-10-04 19:00:00", 850)], [(VIN, "2026-10-05")])
    write(tmp_path, "2026-10-06T12:00:00+08:00", [frame(VIN, "2026-10-06 08:00:00", 850)])
    pages = fetched(tmp_path)
    assert rows_of(pages) == [
        {
            "vin_hash": hash_vin(VIN_KEY.encode(), VIN), "date": "2026-10-05", "odometer_first": 850,
            "odometer_last": 850, "read_first": "2026-10-04 19:00:00", "read_last": "2026-10-06 08:00:00", "frames": 0,
            "steady": "yes",
        }
    ]  # fmt: skip
    for page in pages:
        assert VIN.encode() not in b"".join(page.delivery.rows)
        assert VIN not in json.dumps(page.cursor)


def proved(root: Path, readings: list[tuple[str, int]]) -> dict[str, Any]:
    frames = [frame(VIN, at, odometer) for at, odometer in readings]
    write(root, "2026-10-09T03:00:00+08:00", frames, [(VIN, "2026-10-05")])
    (row,) = rows_of(fetched(root))
    return {name: row[name] for name in ("odometer_first", "odometer_last", "frames", "steady")}


@pytest.mark.parametrize(
    ("readings", "first", "last", "frames", "steady"),
    [
        ([("2026-10-04 19:00:00", 850), ("2026-10-06 08:00:00", 853)], 850, 853, 0, "no"),
        ([("2026-10-06 08:00:00", 850), ("2026-10-04 19:00:00", 850)], 850, 850, 0, "yes"),  # out of order
        ([("2026-10-05 00:00:00", 850), ("2026-10-06 00:00:00", 850)], 850, 850, 1, "yes"),
        ([("2026-10-05 00:00:01", 850), ("2026-10-06 00:00:00", 850)], None, 850, 1, "yes"),
        ([("2026-10-04 23:00:00", 850), ("2026-10-05 23:59:59", 850)], 850, None, 1, "yes"),
        # Out and back, and an odometer that goes backwards.
        ([("2026-10-04 1" + "9:00:00", 850), ("2026-10-05 12:00:00", 900), ("2026-10-06 08:00:00", 850)], 850, 850, 1, "no"),
        ([("2026-10-04 19:00:00", 850), ("2026-10-06 08:00:00", 840)], 850, 840, 0, "no"),
        ([], None, None, 0, "no"),
    ],
)  # fmt: skip
def test_what_the_readings_say_of_a_day(
    tmp_path: Path,
    readings: list[tuple[str, int]],
    first: int | None,
    last: int | None,
    frames: int,
    steady: str,
) -> None:
    told = {"odometer_first": first, "odometer_last": last, "frames": frames, "steady": steady}
    assert proved(tmp_path, readings) == told


def test_a_day_waits_for_its_reading_and_not_for_ever(tmp_path: Path) -> None:
    write(tmp_path, "2026-10-05T03:00:00+08:00", [frame(VIN, "2026-10-04 19:00:00", 850)], [(VIN, "2026-10-05")])
    write(tmp_path, "2026-10-08T03:00:00+08:00", [])
    assert rows_of(fetched(tmp_path)) == []
    write(tmp_path, "2026-10-09T03:00:00+08:00", [])
    (row,) = rows_of(fetched(tmp_path))
    assert (row["odometer_first"], row["odometer_last"]) == (850, None)


def test_a_car_that_reports_every_ten_seconds_leaves_a_line_a_day_in_the_cursor(tmp_path: Path) -> None:
    start = datetime(2026, 10, 4)
    frames = [frame(VIN, str(start + timedelta(seconds=30 * step)), 850 + step // 500) for step in range(2880)]
    write(tmp_path, "2026-10-05T01:00:00+08:00", frames)
    write(tmp_path, "2026-10-05T02:00:00+08:00", frames, [(VIN, "2026-10-04")])  # all of it a second time
    write(tmp_path, "2026-10-05T09:00:00+08:00", [frame(VIN, "2026-10-05 08:00:00", 855)])
    pages = fetched(tmp_path)
    assert len(json.dumps(pages[0].cursor)) < 600
    (row,) = rows_of(pages)
    assert (row["odometer_first"], row["odometer_last"], row["steady"]) == (850, 855, "no")


def test_nobody_learns_of_days_that_were_not_declared(tmp_path: Path) -> None:
    write(
        tmp_path,
        "2026-10-09T03:00:00+08:00",
        [frame(VIN, f"2026-10-0{day} 08:00:00", 850 + day) for day in range(1, 8)],
    )
    assert rows_of(fetched(tmp_path)) == []


def test_a_clock_that_is_ahead_or_was_never_set_is_told(tmp_path: Path) -> None:
    frames = [
        frame(VIN, "2026-10-09 04:00:00", 850),
        frame(VIN, "2010-01-01 00:00:00", 850),
        frame("在", "2026-10-01", 1),
    ]
    write(tmp_path, "2026-10-09T03:00:00+08:00", frames)
    (page,) = fetched(tmp_path)
    assert sorted((row.position, row.reason) for row in page.delivery.unreadable) == [
        (0, "time_ahead"), (1, "time"), (2, "vin"),
    ]  # fmt: skip


def test_many_days_across_drops_and_after_a_stop_between_any_two_pages(tmp_path: Path) -> None:
    vins = [f"LTEST{number:012}" for number in range(3)]
    for day in range(1, 9):
        moment = datetime(2026, 10, day, 7) + timedelta(minutes=day)
        frames = [frame(vin, str(moment), 800 + 10 * index * day) for index, vin in enumerate(vins)]
        declared = [(vin, f"2026-10-{day:02}") for vin in vins]
        write(tmp_path, f"2026-10-{day:02}T22:00:00+08:00", frames * 2, declared)
    whole = fetched(tmp_path, page_rows=1)
    rows = rows_of(whole)
    still = hash_vin(VIN_KEY.encode(), vins[0])
    assert len(rows) == 3 * 7
    assert {row["date"] for row in rows if row["vin_hash"] == still and row["steady"] == "yes"} == {
        f"2026-10-{day:02}" for day in range(1, 8)
    }
    for index, page in enumerate(whole):
        stored = Cursor(json.loads(json.dumps(page.cursor)))
        assert fetched(tmp_path, stored, page_rows=1) == whole[index + 1 :]


@pytest.mark.parametrize(
    ("text", "reason"), [("vin;date\n", "file_header"), ("vin,date,name\na,2026-10-05,x\n", "file_header")]
)
def test_declared_days_with_more_than_is_agreed_are_set_aside(tmp_path: Path, text: str, reason: str) -> None:
    writer = DropWriter(root=tmp_path, platform="baic-weilan", stream="odometer", key=KEY)
    writer.write(
        {"declared.csv": (text.encode() + b"x\n", text.count("\n"))}, created_at=datetime(2026, 10, 9, tzinfo=UTC)
    )
    with pytest.raises(ConnectorError) as refused:
        fetched(tmp_path)
    assert refused.value.reason in (reason, "file_row_count")


def test_a_declared_day_that_is_none_is_unreadable_alone(tmp_path: Path) -> None:
    write(tmp_path, "2026-10-09T03:00:00+08:00", [], [(VIN, "2026-02-30"), ("a b", "2026-10-05"), (VIN, "20261005")])
    (page,) = fetched(tmp_path)
    assert [row.reason for row in page.delivery.unreadable] == ["declared_day"] * 3


def test_the_key_is_a_secret_of_some_length() -> None:
    with pytest.raises(ConfigError, match="vin_key"):
        parse_config({}, {"vin_key": "short"})
    assert hash_vin(b"k", "ltest") == hash_vin(b"k", "LTEST") != hash_vin(b"l", "LTEST")
