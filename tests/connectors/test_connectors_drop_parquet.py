"""Parquet in a signed drop: every value exactly as it was stored, and nothing without a bound."""

import datetime as dt
import io
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from connectors.base import SetAside, Unreadable
from connectors.clients.drop_writer import DropWriter, parquet_file
from connectors.profiles.drop_folder import DropSource
from connectors.profiles.drop_parquet import parse_parquet
from connectors.profiles.drop_place import LocalPlace
from connectors.profiles.file_drop import FileDrop, FileDropConfig

NOW = dt.datetime(2026, 10, 6, 1, 0, tzinfo=dt.UTC)
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def parsed(table: pa.Table, *, most_bytes: int = 1 << 24, most_rows: int = 1 << 20, **options: Any) -> list[Any]:
    data = io.BytesIO()
    pq.write_table(table, data, **options)
    return list(parse_parquet(data.getvalue(), first=5, most_bytes=most_bytes, most_rows=most_rows))


VALUES: list[tuple[pa.DataType, Any, str]] = [
    (pa.decimal128(18, 6), Decimal("45.720000"), '"45.720000"'),
    (pa.decimal128(4, 2), Decimal("0.10"), '"0.10"'),
    (pa.decimal256(60, 0), Decimal(10) ** 50, f'"{10**50}"'),
    (pa.int64(), 2**63 - 1, str(2**63 - 1)),
    (pa.uint64(), 2**64 - 1, str(2**64 - 1)),
    (pa.int8(), -7, "-7"),
    (pa.float64(), 0.1, "0.1"),
    (pa.float32(), 0.1, "0.1"),  # and not 0.10000000149011612
    (pa.float16(), np.float16(0.5), "0.5"),
    (pa.bool_(), True, "true"),
    (pa.string(), '绿"色\n', '"绿\\"色\\n"'),
    (pa.large_string(), "a", '"a"'),
    (pa.dictionary(pa.int32(), pa.string()), "bike", '"bike"'),
    (pa.date32(), dt.date(2026, 10, 5), '"2026-10-05"'),
    (pa.timestamp("us", tz="Asia/Shanghai"), NOW, '"2026-10-06T01:00:00+00:00"'),
    (pa.timestamp("ms"), dt.datetime(2026, 10, 5, 8, 12, 3, 500_000), '"2026-10-05 08:12:03.500000"'),
    (pa.null(), None, "null"),
    (pa.string(), None, "null"),
    (pa.float64(), None, "null"),
    (pa.decimal128(4, 2), None, "null"),
]


@pytest.mark.parametrize(("kind", "value", "text"), VALUES, ids=lambda value: str(value)[:30])
def test_every_value_is_written_as_exactly_as_it_was_stored(kind: pa.DataType, value: Any, text: str) -> None:
    array = pa.array(["bike"]).dictionary_encode() if pa.types.is_dictionary(kind) else pa.array([value], kind)
    assert parsed(pa.table({"值": array})) == [f'{{"值":{text}}}'.encode()]


def test_rows_of_several_groups_keep_their_order() -> None:
    table = pa.table({"id": list(range(10_000)), "word": ["a", None] * 5000})
    rows = [json.loads(row) for row in parsed(table, row_group_size=3000)]
    assert rows == [{"id": number, "word": None if number % 2 else "a"} for number in range(10_000)]


def test_what_is_no_number_makes_its_row_unreadable_alone() -> None:
    rows = parsed(pa.table({"a": [1.5, float("nan"), float("-inf"), 2.0]}))
    assert rows[0] == b'{"a":1.5}'
    assert [(row.position, row.reason) for row in rows if isinstance(row, Unreadable)] == [
        (6, "not_a_number"),
        (7, "not_a_number"),
    ]
    assert rows[3] == b'{"a":2.0}'


def test_a_row_that_is_too_long_is_unreadable_alone() -> None:
    rows = parsed(pa.table({"a": ["x" * 70_000, "y"]}))
    assert isinstance(rows[0], Unreadable)
    assert rows[1] == b'{"a":"y"}'


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        (pa.table({"a": [[1, 2]]}), "file_column_type"),
        (pa.table({"a": [{"b": 1}]}), "file_column_type"),
        (pa.table({"a": pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64()))}), "file_column_type"),
        (pa.table({"a": [b"\xff"]}), "file_column_type"),
        (pa.table({"a": pa.array([1], pa.duration("s"))}), "file_column_type"),
        (pa.table({"a": pa.array([1], pa.time64("us"))}), "file_column_type"),
        (pa.table({f"c{number}": [1] for number in range(300)}), "file_too_large"),
        (pa.table([[1], [2]], names=["a", "a"]), "file_header"),
        (pa.table([[1]], names=[""]), "file_header"),
        (pa.table({"a": pa.array([1_001], pa.timestamp("ns"))}), "file_parquet"),  # would be cut off
    ],
)
def test_what_has_no_agreed_meaning_is_refused_whole(table: pa.Table, reason: str) -> None:
    with pytest.raises(SetAside, match=reason):
        parsed(table)


def test_a_small_file_that_becomes_large_is_refused() -> None:
    same = pa.table({"a": ["x" * 30_000] * 50_000})  # stored once, 1.5 GB if every row had its own
    data = io.BytesIO()
    pq.write_table(same, data)
    assert len(data.getvalue()) < 200_000
    rows = parse_parquet(data.getvalue(), first=0, most_bytes=1 << 22, most_rows=50_000)
    with pytest.raises(SetAside, match="file_too_large"):
        list(rows)
    with pytest.raises(SetAside, match="file_too_large"):
        parsed(pa.table({"a": np.random.default_rng(1).random(100_000)}), most_bytes=100_000)
    with pytest.raises(SetAside, match="file_row_count"):
        parsed(pa.table({"a": [0] * 10}), most_rows=9)


def test_damaged_files_are_refused_wherever_they_are_damaged() -> None:
    data = io.BytesIO()
    pq.write_table(pa.table({"a": list(range(200)), "b": [str(number) for number in range(200)]}), data)
    whole = data.getvalue()
    spoilt = [b"", b"PAR1", b"PAR1PAR1", whole[:-1], whole[10:], b"{}" * 100]
    spoilt += [whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :] for at in range(4, len(whole), 37)]
    told = 0
    for text in spoilt:
        try:
            rows = list(parse_parquet(text, first=0, most_bytes=1 << 20, most_rows=200))
        except SetAside:
            told += 1
        else:
            assert all(isinstance(row, bytes | Unreadable) for row in rows)  # a changed value, which the digest shows
    assert told >= 6


def test_parquet_in_a_drop_is_read_like_the_other_files(tmp_path: Path) -> None:
    table = pa.table({"tradeNo": ["A1", "A2"], "distance": pa.array([Decimal("3.120"), None], pa.decimal128(9, 3))})
    writer = DropWriter(root=tmp_path, platform="town", stream="acts", key=KEY)
    writer.write({"acts.parquet": parquet_file(table)}, created_at=NOW)
    source = DropSource(place=LocalPlace(tmp_path), platform="town", stream="acts", keys=(KEY.public_key(),))
    (page,) = FileDrop(FileDropConfig(source=source)).fetch(None, None, now=NOW)
    assert page.delivery.rows == (b'{"tradeNo":"A1","distance":"3.120"}', b'{"tradeNo":"A2","distance":null}')
