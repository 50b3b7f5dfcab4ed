"""The file of one event: once, and only what lies inside it."""

import base64
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from connectors.base import Cursor, Page, SetAside
from connectors.clients.drop_writer import DropWriter, File, csv_file, jsonl_file
from connectors.config import ConfigError
from connectors.formats.event_file import build_event_file, parse_config

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
NOW = datetime(2026, 10, 6, 1, 0, tzinfo=UTC)
ROW = {
    "event_id": "BJ2022", "row_no": "000001", "participant": "wo-1", "act": "地铁",
    "begin_at": "2022-02-04T19:00:00+08:00", "end_at": "2022-02-04T19:31:00+08:00", "check_mode": "接入",
}  # fmt: skip
SETTINGS = {
    "platform": "winter-olympics-2022", "event": "BJ2022", "event_since": "2022-01-01T00:00:00+08:00",
    "event_until": "2022-04-01T00:00:00+08:00",
    "public_keys": base64.b64encode(KEY.public_key().public_bytes_raw()).decode(),
}  # fmt: skip


def write(root: Path, file: File, name: str = "acts.jsonl") -> None:
    writer = DropWriter(root=root, platform="winter-olympics-2022", stream="acts", key=KEY)
    writer.write({name: file}, created_at=NOW)


def fetched(root: Path, cursor: Cursor | None = None, **config: Any) -> list[Page]:
    source = build_event_file(parse_config(SETTINGS | {"root": str(root)} | config, {}))
    return list(source.fetch(None, cursor, now=NOW))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, None),
        ({"begin_at": "2021-12-31T16:00:00Z", "end_at": "2021-12-31T16:00:00Z"}, None),  # midnight in Beijing
        ({"begin_at": "2022-03-31T00:00:00+08:00", "end_at": "2022-04-01T00:00:00+08:00"}, None),  # a whole last day
        ({"begin_at": "2021-12-31T23:59:59+08:00"}, "outside_event"),
        ({"end_at": "2022-04-01T00:00:01+08:00"}, "outside_event"),
        ({"begin_at": "2022-04-01T00:00:00+08:00", "end_at": "2022-04-01T00:00:00+08:00"}, "outside_event"),
        ({"begin_at": "2022-02-05T19:00:00+08:00"}, "outside_event"),  # ends before it begins
        ({"begin_at": "2026-02-04T19:00:00+08:00", "end_at": "2026-02-04T19:31:00+08:00"}, "outside_event"),
        ({"event_id": "XA2021"}, "other_event"),
        ({"event_id": None}, "other_event"),
        ({"event_id": ["BJ2022"]}, "other_event"),
        ({"begin_at": "2022-02-04T19:00:00"}, "event_time"),
        ({"begin_at": 1643972400}, "event_time"),
        ({"end_at": None}, "event_time"),
        ({"end_at": "soon"}, "event_time"),
    ],
)
def test_only_acts_of_the_event_and_inside_its_period_are_handed_on(
    tmp_path: Path, change: dict[str, Any], reason: str | None
) -> None:
    write(tmp_path, jsonl_file([ROW, ROW | change]))
    (page,) = fetched(tmp_path)
    assert [(row.position, row.reason) for row in page.delivery.unreadable] == ([(1, reason)] if reason else [])
    assert [json.loads(row) for row in page.delivery.rows] == ([ROW] if reason else [ROW, ROW | change])


def test_the_file_may_be_csv(tmp_path: Path) -> None:
    write(tmp_path, csv_file([ROW], list(ROW), press=True), "acts.csv.gz")
    (page,) = fetched(tmp_path)
    assert [json.loads(row) for row in page.delivery.rows] == [ROW]


def test_an_event_is_told_once(tmp_path: Path) -> None:
    write(tmp_path, jsonl_file([ROW]))
    (page,) = fetched(tmp_path)
    assert fetched(tmp_path, page.cursor) == []
    write(tmp_path, jsonl_file([ROW | {"row_no": "000002"}]))
    with pytest.raises(SetAside, match="drop_after_the_last"):
        fetched(tmp_path, page.cursor)


@pytest.mark.parametrize(
    "change",
    [
        {"event_since": "2022-01-01"},
        {"event_until": "2022-01-01T00:00:00+08:00"},
        {"event": ""},
        {"event_period": "2022"},
    ],
)
def test_an_event_without_a_clear_period_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        fetched(tmp_path, **change)
