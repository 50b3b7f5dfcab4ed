"""Findings of the validator: all of them, with the hub's codes, and nothing of what was sent."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from connectors.clients.drop_writer import DropWriter, csv_file, jsonl_file
from connectors.validate import Finding, validate_drop, validate_page, validate_push
from connectors.webhook_signature import WebhookKeys, sign_message

NOW = datetime(2026, 10, 6, 1, 0, tzinfo=UTC)
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
SECRET = bytes(range(32))


def codes(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(finding.code, finding.where) for finding in findings]


def page(*rows: str, following: str = "null") -> bytes:
    return ('{"records":[' + ",".join(rows) + f'],"next_cursor":{following}}}').encode()


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (page('{"id":1}'), []),
        (page(), []),
        (page('{"id":1,"id":2}', "7", '{"id":3}'), [("duplicate_key", "records[0]"), ("not_an_object", "records[1]")]),
        (page('{"id":1}', '{"id":2}', '{"id":1}'), [("repeated_record", "records[0]")]),
        (page(json.dumps({"a": "x" * 70_000})), [("too_long", "records[0]")]),
        (page(following='""'), [("page_next_cursor", "page")]),
        (page(following="7"), [("page_next_cursor", "page")]),
        (b'{"records":[]}', [("page_no_next_cursor", "page")]),
        (b'{"rows":[]}', [("page_no_records", "page")]),
        (b"<html>", [("page_unreadable", "page")]),
        (page(*["{}"] * 5001), [("page_too_many_records", "page")]),
    ],
)
def test_a_page_is_told_everything_that_is_wrong_with_it(body: bytes, found: list[tuple[str, str]]) -> None:
    assert codes(validate_page(body)) == found


def signed(body: bytes, at: datetime = NOW, **changes: str) -> dict[str, str]:
    timestamp = int(at.timestamp())
    return {
        "Webhook-Id": "m-1",
        "Webhook-Timestamp": str(timestamp),
        "Webhook-Signature": sign_message(SECRET, message_id="m-1", timestamp=timestamp, body=body),
    } | changes


def test_a_message_is_judged_as_the_door_would() -> None:
    body, keys = b'{"records":[{"id":1},{"id":NaN}]}', WebhookKeys(shared=(SECRET,))
    assert codes(validate_push(body, signed(body), keys=keys, now=NOW)) == [("not_a_number", "records[1]")]
    stale = signed(body, NOW - timedelta(minutes=6))
    assert codes(validate_push(body, stale, keys=keys, now=NOW)) == [("timestamp_stale", "message")]
    assert codes(validate_push(body, {}, keys=keys, now=NOW)) == [("webhook_headers", "message")]
    cut = body[:-1]
    assert codes(validate_push(cut, signed(cut), keys=keys, now=NOW)) == [("not_json", "message")]


def test_without_a_key_everything_but_the_signature_is_looked_at() -> None:
    body = b'{"records":[{"id":NaN}]}'
    assert codes(validate_push(body, {}, keys=None, now=NOW)) == [("not_a_number", "records[0]")]
    assert codes(validate_push(body, {"webhook-id": "x"}, keys=None, now=NOW))[0] == ("webhook_headers", "headers")


@pytest.fixture
def chain(tmp_path: Path) -> Path:
    writer = DropWriter(root=tmp_path, platform="town", stream="acts", key=KEY)
    writer.write({"a.jsonl": jsonl_file([{"id": 1}])}, created_at=NOW)
    writer.write({"a.csv": csv_file([{"id": "2"}], ["id"], press=False)}, created_at=NOW)
    writer.write({}, created_at=NOW)
    return tmp_path


def drop(root: Path, key: Ed25519PrivateKey = KEY, **more: Any) -> list[tuple[str, str]]:
    return codes(validate_drop(root, keys=(key.public_key(),), now=NOW, **more))


def test_a_sound_chain_and_each_of_its_drops_have_no_findings(chain: Path) -> None:
    assert drop(chain) == []
    assert [drop(chain / name) for name in ("1", "2", "3")] == [[], [], []]
    assert drop(chain, platform="town", stream="acts") == []


def test_everything_is_told_at_once(chain: Path) -> None:
    (chain / "1" / "a.jsonl").write_bytes(b'{"id":1,"id":1}\n{}\n')
    (chain / "2" / ".ok").unlink()
    (chain / "3" / "manifest.sig").write_text("AAAA")
    assert drop(chain) == [
        ("file_digest", "1/a.jsonl"),
        ("file_row_count", "1/a.jsonl"),
        ("duplicate_key", "1/a.jsonl[0]"),
        ("drop_incomplete", "2"),
        ("manifest_signature", "3/manifest.sig"),
    ]


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (lambda root: (root / "2").rename(root / "7"), ("manifest_sequence", "7/manifest.json")),
        (lambda root: (root / "1" / "manifest.json").unlink(), ("file_missing", "1/manifest.json")),
        (lambda root: (root / "2" / "a.csv").unlink(), ("file_missing", "2/a.csv")),
        (lambda root: (root / "2" / "a.csv").write_bytes(b"a,a\n"), ("file_header", "2/a.csv")),
        (lambda root: (root / "003").mkdir(), ("sequence_twice", "")),
    ],
)
def test_each_fault_has_the_code_that_the_hub_would_give_it(
    chain: Path, spoil: Callable[[Path], Any], found: tuple[str, str]
) -> None:
    spoil(chain)
    told = drop(chain)
    assert found in told or (found[1] == "" and told[0][0] == found[0])


def test_a_chain_with_another_history_a_gap_or_another_owner_is_noticed(chain: Path) -> None:
    assert {code for code, _ in drop(chain, OTHER)} == {"manifest_signature"}
    assert drop(chain, stream="trips")[0] == ("manifest_of_another_stream", "1/manifest.json")
    again = DropWriter(root=chain / "other", platform="town", stream="acts", key=KEY)
    again.write({"a.jsonl": jsonl_file([{"id": 9}])}, created_at=NOW)
    (chain / "1").rename(chain / "old")
    (chain / "other" / "1").rename(chain / "1")
    assert drop(chain) == [("chain_broken", "2/manifest.json")]
    (chain / "2").rename(chain / "away")
    assert drop(chain)[0] == ("sequence_gap", "2")


def test_a_folder_without_drops_and_one_that_is_no_number_are_told(tmp_path: Path) -> None:
    assert drop(tmp_path)[0][0] == "root_empty"
    writer = DropWriter(root=tmp_path, platform="town", stream="acts", key=KEY)
    writer.write({}, created_at=NOW).rename(tmp_path / "monday")
    assert drop(tmp_path / "monday") == [("folder_name", "monday")]


def test_no_finding_has_anything_of_the_content(chain: Path) -> None:
    (chain / "1" / "a.jsonl").write_bytes(b'{"name":"canary","name":"canary"}\n')
    told = validate_drop(chain, keys=(), now=NOW) + validate_page(page('{"a":"canary","a":1}'))
    assert told
    assert "canary" not in repr(told)
