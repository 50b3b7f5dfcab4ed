"""Small files that would become more than a gigabyte: every reader ends within its bounds, and its memory stays small.

Each is read in a process of its own, so that its peak is that of the reader, native memory included.
"""

import io
import json
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from connectors.base import SetAside
from connectors.profiles.drop_parquet import parse_parquet
from connectors.profiles.parquet_pages import Chunk, PagesError, unpressed_sizes

GIGABYTE = 1 << 30
BIG = GIGABYTE + (1 << 20)
SMALL_FILE, SMALL_MEMORY = 4 << 20, 150 << 20
READERS = {
    "bill": "from connectors.formats.bill_csv import BillConfig, parse_bill\n"
    "read = lambda data: list(parse_bill(data, BillConfig(inflated_bytes=8 << 20)))",
    "gzip": "from connectors.net.inflate import inflate\nread = lambda data: inflate([data], most=8 << 20)",
    "dropped": "from connectors.profiles.drop_rows import DroppedFile, parse_rows\n"
    "read = lambda data: list(parse_rows(DroppedFile(name='a.jsonl.gz', data=data, first=0, encoding='utf-8', "
    "most_bytes=8 << 20, most_rows=10)))",
    "parquet": "from connectors.profiles.drop_parquet import parse_parquet\n"
    "read = lambda data: sum(1 for _ in parse_parquet(data, first=0, most_bytes=8 << 20, most_rows=1 << 16))",
}
PROBE = """
import json, re, sys
{reader}
data = open(sys.argv[1], "rb").read()
peak = lambda: 1024 * int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1])
before, ended = peak(), None
try:
    read(data)
except Exception as error:
    ended = [type(error).__name__, str(getattr(error, "reason", ""))]
print(json.dumps({{"grown": peak() - before, "ended": ended}}))
"""


def read_apart(tmp_path: Path, reader: str, data: bytes) -> tuple[str | None, str | None]:
    """Read a bomb in another process; returns how that ended, after looking at what it took."""
    assert len(data) < SMALL_FILE
    (tmp_path / "bomb").write_bytes(data)
    command = [sys.executable, "-c", PROBE.format(reader=READERS[reader]), str(tmp_path / "bomb")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    told = json.loads(done.stdout)
    assert told["grown"] < SMALL_MEMORY, told
    kind, reason = told["ended"] or (None, None)
    return kind, reason


# zip and gzip.


@cache
def pressed(size: int, *, window: int = 31, unit: bytes = b"\n", first: bytes = b"") -> bytes:
    """So many bytes, pressed block by block, so that they are never here in one piece."""
    press = zlib.compressobj(9, zlib.DEFLATED, window)
    blocks = [press.compress(first), *(press.compress(unit * (1 << 20)) for _ in range(size >> 20))]
    return b"".join(blocks) + press.flush()


@cache
def zipped(size: int) -> bytes:
    """A zip with one CSV of that size."""
    file = io.BytesIO()
    with (
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive,
        archive.open("a.csv", "w") as entry,
    ):
        for _ in range(size >> 20):
            entry.write(b"\n" * (1 << 20))
    return file.getvalue()


def lying(data: bytes, told: int) -> bytes:
    """A zip whose directory says another size."""
    size = data.rindex(b"PK\x01\x02") + 24
    return data[:size] + struct.pack("<I", told) + data[size + 4 :]


@pytest.mark.parametrize("told", [None, 1000, 200_000], ids=["as it is", "small", "within the ratio"])
def test_a_zip_is_bounded_by_what_comes_out_whatever_it_says(tmp_path: Path, told: int | None) -> None:
    data = zipped(BIG)
    kind, reason = read_apart(tmp_path, "bill", data if told is None else lying(data, told))
    assert (kind, reason) == ("BillError", "file_too_large" if told is None else "zip_damaged")


def test_a_zip_within_its_size_but_beyond_the_ratio_is_refused(tmp_path: Path) -> None:
    assert read_apart(tmp_path, "bill", zipped(4 << 20)) == ("BillError", "file_too_large")


def test_a_zip_in_a_zip_is_not_opened(tmp_path: Path) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.zip", zipped(64 << 20))
    assert read_apart(tmp_path, "bill", file.getvalue()) == ("BillError", "zip_content")


@pytest.mark.parametrize("reader", ["gzip", "dropped"])
@pytest.mark.parametrize("members", [1, 8])
def test_gzip_is_bounded_by_what_comes_out_of_all_members(tmp_path: Path, reader: str, members: int) -> None:
    data = pressed(BIG if members == 1 else GIGABYTE // members) * members
    expected = {"gzip": ("TooLargeError", ""), "dropped": ("SetAside", "file_too_large")}
    assert read_apart(tmp_path, reader, data) == expected[reader]


def test_gzip_of_nothing_over_and_over_is_read_once_through(tmp_path: Path) -> None:
    assert read_apart(tmp_path, "gzip", pressed(0) * 50_000) == (None, None)


# Parquet: files written by hand, because no writer lies.

I32, I64, BINARY, LIST, STRUCT = 5, 6, 8, 9, 12
Field = tuple[int, int, Any]
TEXT: Sequence[Field] = ((1, I32, 6), (6, I32, 0))


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def written(kind: int, value: Any) -> bytes:
    """A value in Thrift's compact protocol; a list is (type of its elements, elements), a struct a list of fields."""
    if kind in (I32, I64):
        return varint(value << 1 if value >= 0 else (-value << 1) - 1)
    if kind == BINARY:
        return varint(len(value)) + bytes(value)
    if kind == LIST:
        inner, elements = value
        return bytes([len(elements) << 4 | inner]) + b"".join(written(inner, one) for one in elements)
    out, last = b"", 0
    for number, inner, content in value:
        out += bytes([(number - last) << 4 | inner]) + written(inner, content)
        last = number
    return out + b"\0"


def page(kind: int, values: int, unpressed: int, data: bytes) -> bytes:
    """A page with its header: kind 0 is data, 2 is a dictionary."""
    own = [(1, I32, values), (2, I32, 0)] + ([(3, I32, 3), (4, I32, 3)] if kind == 0 else [])
    header: list[Field] = [
        (1, I32, kind),
        (2, I32, unpressed),
        (3, I32, len(data)),
        (5 if kind == 0 else 7, STRUCT, own),
    ]
    return written(STRUCT, header) + data


def parquet(pages: Sequence[bytes], values: int, *, column: Sequence[Field] = TEXT, told: int = 1000) -> bytes:
    """A file with one required column `a` in pages pressed with gzip; `told` is the size that its footer admits."""
    chunk = b"".join(pages)
    meta: list[Field] = [
        (1, I32, column[0][2]), (2, LIST, (I32, [0, 3])), (3, LIST, (BINARY, [b"a"])), (4, I32, 2), (5, I64, values),
        (6, I64, told), (7, I64, len(chunk)), (9, I64, 4),
    ]  # fmt: skip
    names = {number: (number, kind, value) for number, kind, value in column} | {3: (3, I32, 0), 4: (4, BINARY, b"a")}
    schema = [[(4, BINARY, b"schema"), (5, I32, 1)], [names[number] for number in sorted(names)]]
    group = [(1, LIST, (STRUCT, [[(2, I64, 4), (3, STRUCT, meta)]])), (2, I64, told), (3, I64, values)]
    footer = written(STRUCT, [(1, I32, 1), (2, LIST, (STRUCT, schema)), (3, I64, values), (4, LIST, (STRUCT, [group]))])
    return b"PAR1" + chunk + footer + struct.pack("<I", len(footer)) + b"PAR1"


def text_page(size: int, told: int | None = None) -> bytes:
    """One text of that size in one page; `told` is the size that its own header admits."""
    data = pressed(size, unit=b"x", first=struct.pack("<I", size))
    return page(0, 1, size + 4 if told is None else told, data)


def test_a_file_written_by_hand_is_read_like_any_other() -> None:
    data = parquet([page(0, 1, 7, pressed(0, first=b"\3\0\0\0abc"))], 1)
    assert list(parse_parquet(data, first=0, most_bytes=1 << 20, most_rows=10)) == [b'{"a":"abc"}']
    assert pq.read_table(io.BytesIO(data)).to_pylist() == [{"a": "abc"}]


PARQUET: dict[str, tuple[Callable[[], bytes], str]] = {
    "the footer lies, the page does not": (lambda: parquet([text_page(BIG)], 1), "file_too_large"),
    "the page lies too": (lambda: parquet([text_page(BIG, told=1000)], 1), "file_parquet"),
    "many pages": (lambda: parquet([text_page(64 << 20)] * 17, 17), "file_too_large"),
    "pages beyond those that are read": (lambda: parquet([text_page(BIG)] * 2, 1), "file_too_large"),
    "a page that is none": (lambda: parquet([page(0, 1, 1 << 31, b"x")], 1), "file_parquet"),
    "a negative page": (lambda: parquet([page(0, 1, -1, b"x")], 1), "file_parquet"),
    "a dictionary of two thousand million": (
        lambda: parquet([page(2, (1 << 31) - 1, 7, pressed(0, first=b"\3\0\0\0abc"))], 1), "file_parquet",
    ),
    "more values than pages": (lambda: parquet([text_page(1 << 20)], 1000), "file_parquet"),
    "decimals of a megabyte, each in the dictionary once": (
        lambda: parquet([text_page(1 << 20)], 1, column=[(1, I32, 7), (2, I32, 1 << 20), (6, I32, 5), (7, I32, 0), (8, I32, 9)]),
        "file_column_type",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PARQUET)
def test_parquet_is_bounded_by_what_its_pages_become(tmp_path: Path, name: str) -> None:
    write, reason = PARQUET[name]
    assert read_apart(tmp_path, "parquet", write()) == ("SetAside", reason)


def stored(table: pa.Table, **options: Any) -> bytes:
    file = io.BytesIO()
    pq.write_table(table, file, **options)
    return file.getvalue()


def repeated(text: str, rows: int) -> pa.Table:
    """One text, stored once and used in every row."""
    return pa.table({"a": pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array([text]))})


def test_a_long_text_in_every_row_is_bounded_by_the_rows_written(tmp_path: Path) -> None:
    data = stored(repeated("x" * 60_000, 60_000))
    assert read_apart(tmp_path, "parquet", data) == ("SetAside", "file_too_large")


def test_a_text_too_long_for_any_row_is_not_written_out_in_every_row(tmp_path: Path) -> None:
    data = stored(repeated("x" * (3 << 20), 60_000))
    assert read_apart(tmp_path, "parquet", data) == (
        None,
        None,
    )  # 60,000 rows that cannot be read, 180 GB if they could


def test_texts_made_of_the_texts_before_them_are_refused(tmp_path: Path) -> None:
    table = pa.table({"a": ["x" * 50_000] * 1000})
    data = stored(table, use_dictionary=False, column_encoding={"a": "DELTA_BYTE_ARRAY"})
    assert read_apart(tmp_path, "parquet", data) == ("SetAside", "file_parquet")


@pytest.mark.parametrize("codec", ["NONE", "SNAPPY", "GZIP", "ZSTD", "BROTLI", "LZ4"])
@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_honest_pages_of_every_codec_are_walked_as_they_are_read(codec: str, version: str) -> None:
    table = pa.table(
        {"n": range(50_000), "t": [f"{number % 7}" for number in range(50_000)], "f": [0.5, None] * 25_000}
    )
    data = stored(table, compression=codec, data_page_version=version, data_page_size=4096, row_group_size=20_000)
    rows = list(parse_parquet(data, first=0, most_bytes=1 << 24, most_rows=1 << 20))
    assert json.loads(rows[-2]) == {"n": 49_998, "t": "4", "f": 0.5}  # type: ignore[arg-type]
    told = pq.read_metadata(io.BytesIO(data)).row_group(0).column(0)
    first = told.dictionary_page_offset if told.has_dictionary_page else told.data_page_offset
    chunk = Chunk(start=first, length=told.total_compressed_size, values=told.num_values)
    sizes = list(unpressed_sizes(data, chunk))
    assert len(sizes) > 5
    assert 0 < sum(sizes) <= told.total_uncompressed_size


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\0", b"\x15", b"\x15\0", b"\x15\0\x15\0", b"\xff" * 40, b"\x15" + b"\xff" * 12, b"\x1b\x05" * 9,
        b"\x19\xff\xff\xff\xff\x0f", b"\x1c" * 30, b"\x19\x19" * 30, b"\x05\x02\x00" * 3, b"\x18\xff\xff\x03ab",
        b"\x15\x00\x15\x80\x80\x80\x80\x20\x15\x02\x2c\x15\x02\x00\x00",
    ],
)  # fmt: skip
def test_a_header_that_is_none_is_refused(data: bytes) -> None:
    with pytest.raises(PagesError):
        list(unpressed_sizes(data, Chunk(start=0, length=len(data), values=1)))


@pytest.mark.parametrize("chunk", [(-1, 5, 1), (0, 6, 1), (4, -1, 1), (6, 0, 1)])
def test_a_chunk_outside_the_file_is_refused(chunk: tuple[int, int, int]) -> None:
    start, length, values = chunk
    with pytest.raises(PagesError):
        list(unpressed_sizes(b"\0" * 5, Chunk(start=start, length=length, values=values)))


def test_rows_and_pages_have_bounds_of_their_own() -> None:
    data = stored(pa.table({"a": [1, 2, 3]}))
    with pytest.raises(SetAside, match="file_row_count"):
        list(parse_parquet(data, first=0, most_bytes=1 << 20, most_rows=2))
