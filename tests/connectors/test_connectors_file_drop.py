"""Signed file drop: a folder that anybody may have written to."""

import base64
import gzip
import hashlib
import json
import os
import zlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from connectors.base import ConnectorError, Cursor, Page, RetryLater, SetAside, Stop
from connectors.clients.drop_writer import write_drop
from connectors.config import ConfigError
from connectors.profiles.file_drop import FileDrop, parse_config

NOW = datetime(2026, 10, 6, 1, 0, tzinfo=UTC)
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))


def public(key: Ed25519PrivateKey) -> str:
    return base64.b64encode(key.public_key().public_bytes_raw()).decode()


def fetcher(root: Path, **config: Any) -> FileDrop:
    settings = {"root": str(root), "platform": "town", "stream": "acts", "public_keys": [public(KEY)]} | config
    return FileDrop(parse_config(settings, {}))


def lines(*numbers: int) -> bytes:
    return b"".join(b'{"id":%d}\n' % number for number in numbers)


def drop(
    root: Path, sequence: int, files: dict[str, tuple[bytes, int]], previous: str | None = None, **changes: Any
) -> str:
    settings = {"platform": "town", "stream": "acts", "created_at": NOW, "key": KEY} | changes
    return write_drop(root / str(sequence), files, sequence=sequence, previous=previous, **settings)


def resign(folder: Path, key: Ed25519PrivateKey = KEY, **changes: Any) -> None:
    """Change a manifest as its own platform could: the signature holds again."""
    document = json.loads((folder / "manifest.json").read_bytes()) | changes
    text = json.dumps({name: value for name, value in document.items() if value != "remove"}).encode()
    (folder / "manifest.json").write_bytes(text)
    (folder / "manifest.sig").write_bytes(base64.b64encode(key.sign(text)))


def pages(source: FileDrop, cursor: Cursor | None = None) -> tuple[list[Page], ConnectorError | None]:
    taken: list[Page] = []
    try:
        taken.extend(source.fetch(None, cursor, now=NOW))
    except ConnectorError as error:
        return taken, error
    return taken, None


def ids(taken: list[Page]) -> list[int]:
    return [json.loads(row)["id"] for page in taken for row in page.delivery.rows]


def test_a_chain_of_drops_is_read_in_order_and_once(tmp_path: Path) -> None:
    first = drop(tmp_path, 1, {"a.jsonl": (lines(1, 2), 2), "b.jsonl": (lines(3), 1)})
    drop(tmp_path, 2, {"a.jsonl": (lines(4), 1)}, first)
    source = fetcher(tmp_path)
    taken, error = pages(source)
    assert error is None
    assert ids(taken) == [1, 2, 3, 4]
    assert taken[0].delivery.digest.hex() == first
    assert pages(source, taken[-1].cursor) == ([], None)


def test_a_folder_without_its_ok_waits(tmp_path: Path) -> None:
    first = drop(tmp_path, 1, {"a.jsonl": (lines(1), 1)})
    drop(tmp_path, 2, {"a.jsonl": (lines(2), 1)}, first)
    (tmp_path / "2" / ".ok").unlink()
    taken, error = pages(fetcher(tmp_path))
    assert (ids(taken), error) == ([1], None)
    (tmp_path / "2" / ".ok").touch()
    more, _ = pages(fetcher(tmp_path), taken[-1].cursor)
    assert ids(more) == [2]


def test_a_day_without_rows_moves_the_cursor(tmp_path: Path) -> None:
    first = drop(tmp_path, 1, {})
    taken, error = pages(fetcher(tmp_path))
    assert error is None
    assert [(page.delivery.rows, page.cursor["sequence"], page.cursor["manifest"]) for page in taken] == [
        ((), 1, first)
    ]


def test_a_large_drop_comes_in_pages_and_each_can_be_reached_again(tmp_path: Path) -> None:
    first = drop(tmp_path, 1, {"a.jsonl": (lines(*range(7)) + b"{bad\n", 8), "b.jsonl": (lines(8, 9), 2)})
    drop(tmp_path, 2, {"a.jsonl": (lines(10), 1)}, first)
    source = fetcher(tmp_path, page_rows=3)
    whole, error = pages(source)
    assert error is None
    assert ids(whole) == [*range(7), 8, 9, 10]
    assert [row.position for page in whole for row in page.delivery.unreadable] == [7]
    assert len({page.delivery.delivery_id for page in whole}) == len(whole) == 5
    for index, page in enumerate(whole):
        rest, _ = pages(source, Cursor(json.loads(json.dumps(page.cursor))))
        assert rest == whole[index + 1 :]


def test_csv_and_gzip_become_json_documents(tmp_path: Path) -> None:
    table = '\ufeff单号,站\r\n"1","长,龙"\r\n2, x \r\n3\r\n'.encode()
    drop(
        tmp_path,
        1,
        {
            "a.csv.gz": (gzip.compress(table, mtime=0), 3),
            "b.jsonl.gz": (gzip.compress(b' {"id": 1.0} \n\n', mtime=0), 1),
        },
    )
    taken, error = pages(fetcher(tmp_path))
    assert error is None
    assert taken[0].delivery.rows == (
        '{"单号":"1","站":"长,龙"}'.encode(),
        '{"单号":"2","站":" x "}'.encode(),
        b'{"id": 1.0}',
    )
    assert [(row.position, row.reason) for row in taken[0].delivery.unreadable] == [(2, "field_count")]


def test_csv_of_a_bank_may_be_gb18030(tmp_path: Path) -> None:
    drop(tmp_path, 1, {"a.csv": ("单号,站\n1,长龙\n".encode("gb18030"), 1)})
    assert isinstance(pages(fetcher(tmp_path))[1], SetAside)
    taken, _ = pages(fetcher(tmp_path, encoding="gb18030"))
    assert taken[0].delivery.rows == ('{"单号":"1","站":"长龙"}'.encode(),)


def test_both_keys_are_good_while_one_is_rotated(tmp_path: Path) -> None:
    first = drop(tmp_path, 1, {"a.jsonl": (lines(1), 1)})
    drop(tmp_path, 2, {"a.jsonl": (lines(2), 1)}, first, key=OTHER_KEY)
    assert ids(pages(fetcher(tmp_path, public_keys=[public(OTHER_KEY), public(KEY)]))[0]) == [1, 2]


def change_byte(folder: Path) -> None:
    data = (folder / "a.jsonl").read_bytes()
    (folder / "a.jsonl").write_bytes(data.replace(b"1", b"7", 1))


def named(name: str) -> list[dict[str, Any]]:
    return [{"name": name, "sha256": hashlib.sha256(lines(1, 2)).hexdigest(), "rows": 2}]


def with_rows(rows: Any) -> list[dict[str, Any]]:
    return [{"name": "a.jsonl", "sha256": hashlib.sha256(lines(1, 2)).hexdigest(), "rows": rows}]


def replace_by_link(folder: Path) -> None:
    (folder.parent / "elsewhere.jsonl").write_bytes((folder / "a.jsonl").read_bytes())
    (folder / "a.jsonl").unlink()
    (folder / "a.jsonl").symlink_to(folder.parent / "elsewhere.jsonl")


def replace_by_pipe(folder: Path) -> None:
    (folder / "a.jsonl").unlink()
    os.mkfifo(folder / "a.jsonl")


def replace_by_folder(folder: Path) -> None:
    (folder / "a.jsonl").unlink()
    (folder / "a.jsonl").mkdir()


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (change_byte, "file_digest"),
        (lambda f: (f / "a.jsonl").write_bytes(lines(1, 2, 3)), "file_digest"),
        (lambda f: (f / "a.jsonl").write_bytes(b""), "file_digest"),
        (lambda f: (f / "a.jsonl").unlink(), "file_missing"),
        (replace_by_link, "file_not_regular"),
        (replace_by_pipe, "file_not_regular"),
        (replace_by_folder, "file_not_regular"),
        (lambda f: (f / "manifest.json").unlink(), "file_missing"),
        (lambda f: (f / "manifest.sig").unlink(), "file_missing"),
        (lambda f: (f / "manifest.sig").write_bytes(b""), "manifest_signature"),
        (lambda f: (f / "manifest.sig").write_bytes(b"\xff" * 88), "manifest_signature"),
        (lambda f: (f / "manifest.sig").write_bytes(base64.b64encode(bytes(64))), "manifest_signature"),
        (lambda f: (f / "manifest.json").write_bytes((f / "manifest.json").read_bytes() + b" "), "manifest_signature"),
        (lambda f: resign(f, OTHER_KEY), "manifest_signature"),
        (lambda f: (f / "manifest.json").write_bytes(b"x" * (1 << 20 | 1)), "file_too_large"),
        (lambda f: resign(f, sequence=2), "manifest_sequence"),
        (lambda f: resign(f, platform="village"), "manifest_of_another_stream"),
        (lambda f: resign(f, stream="trips"), "manifest_of_another_stream"),
        (lambda f: resign(f, prev_manifest_sha256="0" * 64), "chain_broken"),
        (lambda f: resign(f, created_at=(NOW + timedelta(minutes=2)).isoformat()), "manifest_time_ahead"),
        (lambda f: resign(f, created_at="2026-10-06T01:00:00"), "manifest_shape"),
        (lambda f: resign(f, created_at=5), "manifest_shape"),
        (lambda f: resign(f, more=1), "manifest_shape"),
        (lambda f: resign(f, files="remove"), "manifest_shape"),
        (lambda f: resign(f, files={}), "manifest_shape"),
        (lambda f: resign(f, files=[7]), "manifest_shape"),
        (lambda f: resign(f, sequence=True), "manifest_shape"),
        (lambda f: resign(f, sequence="1"), "manifest_shape"),
        (lambda f: resign(f, prev_manifest_sha256="x"), "manifest_shape"),
        (lambda f: resign(f, files=with_rows(1)), "file_row_count"),
        (lambda f: resign(f, files=with_rows(3)), "file_row_count"),
        (lambda f: resign(f, files=with_rows(-1)), "manifest_shape"),
        (lambda f: resign(f, files=with_rows(10**9)), "drop_too_many_rows"),
        (lambda f: resign(f, files=with_rows(2) * 2), "manifest_repeated_name"),
        (lambda f: resign(f, files=named("missing.jsonl")), "file_missing"),
        (lambda f: resign(f, files=named("../elsewhere.jsonl")), "manifest_file_name"),
        (lambda f: resign(f, files=named("/etc/passwd")), "manifest_file_name"),
        (lambda f: resign(f, files=named("/etc/passwd.csv")), "manifest_file_name"),
        (lambda f: resign(f, files=named("a/b.jsonl")), "manifest_file_name"),
        (lambda f: resign(f, files=named("a\\b.jsonl")), "manifest_file_name"),
        (lambda f: resign(f, files=named("..jsonl")), "manifest_file_name"),
        (lambda f: resign(f, files=named("a\u0000.jsonl")), "manifest_file_name"),
        (lambda f: resign(f, files=named("a.jsonl\n")), "manifest_file_name"),
        (lambda f: resign(f, files=named("a.xml")), "manifest_file_name"),
        (lambda f: resign(f, files=named("a.parquet.gz")), "manifest_file_name"),
        (lambda f: resign(f, files=named("manifest.json")), "manifest_file_name"),
        (lambda f: resign(f, files=named("x" * 300 + ".jsonl")), "manifest_file_name"),
    ],
)
def test_a_drop_that_is_not_as_it_was_signed_is_set_aside_whole(
    tmp_path: Path, spoil: Callable[[Path], Any], reason: str
) -> None:
    drop(tmp_path, 1, {"a.jsonl": (lines(1, 2), 2)})
    assert ids(pages(fetcher(tmp_path))[0]) == [1, 2]
    spoil(tmp_path / "1")
    taken, error = pages(fetcher(tmp_path))
    assert taken == []
    assert isinstance(error, SetAside)
    assert str(error) == reason


def test_the_last_file_is_checked_before_the_first_row_is_handed_on(tmp_path: Path) -> None:
    drop(tmp_path, 1, {"a.jsonl": (lines(1), 1), "z.jsonl": (lines(2), 1)})
    (tmp_path / "1" / "z.jsonl").write_bytes(lines(3))
    taken, error = pages(fetcher(tmp_path, page_rows=1))
    assert taken == []
    assert isinstance(error, SetAside)


@pytest.mark.parametrize(("make", "reason"), [("missing", "sequence_gap"), ("half", "drop_incomplete")])
def test_a_gap_in_the_sequence_is_noticed(tmp_path: Path, make: str, reason: str) -> None:
    first = drop(tmp_path, 1, {"a.jsonl": (lines(1), 1)})
    if make == "half":
        drop(tmp_path, 2, {}, first)
        (tmp_path / "2" / ".ok").unlink()
    drop(tmp_path, 3, {"a.jsonl": (lines(3), 1)}, first)
    taken, error = pages(fetcher(tmp_path))
    assert ids(taken) == [1]
    assert isinstance(error, SetAside)
    assert str(error) == reason


def test_a_drop_that_follows_another_history_breaks_the_chain(tmp_path: Path) -> None:
    drop(tmp_path, 1, {"a.jsonl": (lines(1), 1)})
    drop(tmp_path, 2, {"a.jsonl": (lines(2), 1)}, "0" * 64)
    taken, error = pages(fetcher(tmp_path))
    assert ids(taken) == [1]
    assert isinstance(error, SetAside)
    assert str(error) == "chain_broken"


def test_a_genuine_old_drop_under_a_new_number_is_refused(tmp_path: Path) -> None:
    drop(tmp_path, 1, {"a.jsonl": (lines(1), 1)})
    (tmp_path / "2").mkdir()
    for name in ("a.jsonl", "manifest.json", "manifest.sig", ".ok"):
        (tmp_path / "2" / name).write_bytes((tmp_path / "1" / name).read_bytes())
    taken, error = pages(fetcher(tmp_path))
    assert ids(taken) == [1]
    assert str(error) == "manifest_sequence"


def test_a_drop_that_changes_between_two_pages_is_set_aside(tmp_path: Path) -> None:
    drop(tmp_path, 1, {"a.jsonl": (lines(1, 2, 3, 4), 4)})
    source = fetcher(tmp_path, page_rows=2)
    first = next(iter(source.fetch(None, None, now=NOW)))
    resign(tmp_path / "1", created_at=(NOW - timedelta(days=1)).isoformat())
    taken, error = pages(source, first.cursor)
    assert taken == []
    assert str(error) == "drop_changed"


def test_two_folders_with_one_number_are_refused(tmp_path: Path) -> None:
    drop(tmp_path, 1, {})
    (tmp_path / "001").mkdir()
    assert str(pages(fetcher(tmp_path))[1]) == "sequence_twice"


def test_a_folder_that_is_a_link_is_not_entered(tmp_path: Path) -> None:
    drop(tmp_path / "elsewhere", 1, {"a.jsonl": (lines(1), 1)})
    root = tmp_path / "root"
    root.mkdir()
    (root / "1").symlink_to(tmp_path / "elsewhere" / "1")
    assert pages(fetcher(root)) == ([], None)


def test_other_things_in_the_root_do_not_matter(tmp_path: Path) -> None:
    drop(tmp_path, 1, {"a.jsonl": (lines(1), 1)})
    (tmp_path / "readme.txt").touch()
    (tmp_path / "1.tmp").mkdir()
    (tmp_path / "2").touch()
    assert ids(pages(fetcher(tmp_path))[0]) == [1]


def test_a_root_that_is_not_mounted_is_tried_again(tmp_path: Path) -> None:
    source = fetcher(tmp_path / "missing")
    assert isinstance(pages(source)[1], RetryLater)
    assert not source.check().ok
    assert fetcher(tmp_path).check().ok


def bomb(size_bytes: int) -> bytes:
    press = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join(press.compress(b"\n" * (1 << 20)) for _ in range(size_bytes >> 20)) + press.flush()


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("a.jsonl.gz", bomb(64 << 20), "file_too_large"),
        ("a.jsonl", b"\n" * 200_000, "file_too_large"),
        ("a.jsonl.gz", gzip.compress(lines(1), mtime=0)[:-4], "file_gzip_damaged"),
        ("a.jsonl.gz", lines(1), "file_gzip_damaged"),
        ("a.csv", b"\xff\xfe\n1\n", "file_encoding"),
        ("a.csv", b"a,a\n1,2\n", "file_header"),
        ("a.csv", b"a,\n1,2\n", "file_header"),
        ("a.csv", b"", "file_header"),
        ("a.csv", b'a,b\n"1"x,2\n', "file_csv"),
        ("a.csv", b'a,b\n"1,2\n', "file_csv"),
        ("a.csv", b"a\n" + b"x" * 140_000 + b"\n", "file_csv"),
    ],
)
def test_a_signed_file_that_cannot_be_read_is_set_aside(tmp_path: Path, name: str, data: bytes, reason: str) -> None:
    drop(tmp_path, 1, {name: (data, 1)})
    taken, error = pages(fetcher(tmp_path, file_bytes=150_000, inflated_bytes=150_000))
    assert taken == []
    assert isinstance(error, SetAside)
    assert str(error) == reason


def test_a_bad_line_is_unreadable_alone(tmp_path: Path) -> None:
    data = b'{"id":1}\n{"id":1,"id":2}\n[1]\n{"id":NaN}\n' + b'{"id":"' + b"x" * 70_000 + b'"}\n\xff\n{"id":2}'
    drop(tmp_path, 1, {"a.jsonl": (data, 7)})
    taken, error = pages(fetcher(tmp_path))
    assert error is None
    assert ids(taken) == [1, 2]
    assert [(row.position, row.reason) for row in taken[0].delivery.unreadable] == [
        (1, "duplicate_key"),
        (2, "not_an_object"),
        (3, "not_a_number"),
        (4, "too_long"),
        (5, "not_utf8"),
    ]


def test_a_cursor_of_another_connector_is_refused(tmp_path: Path) -> None:
    drop(tmp_path, 1, {})
    assert isinstance(pages(fetcher(tmp_path), Cursor(cursor="x"))[1], Stop)


@pytest.mark.parametrize(
    "change",
    [
        {"public_keys": []},
        {"public_keys": ["AAAA"]},
        {"public_keys": "not base64!"},
        {"encoding": "utf-7"},
        {"platform": " "},
        {"rows": 0},
        {"unknown": 1},
    ],
)
def test_wrong_settings_are_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        fetcher(tmp_path, **change)
