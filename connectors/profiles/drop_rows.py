"""The rows of a dropped file: JSON lines or CSV, plain or gzip, as JSON documents. Pure.

A JSON line is handed on as it is written. A CSV row becomes an object of texts named by the header, because CSV knows
only text; nothing is trimmed or converted. A row that cannot be read keeps its place and does not disturb the others.
"""

import csv
import io
import json
from collections.abc import Iterator

from connectors.base import SetAside, Unreadable
from connectors.net.inflate import BrokenGzipError, TooLargeError, inflate
from connectors.strict_json import MalformedJsonError, parse_object

Entry = bytes | Unreadable
"""A row as a JSON document, or why it is none; its index is its position in the drop."""

_MAX_LINE_BYTES = 64 * 1024


def parse_rows(name: str, data: bytes, *, encoding: str, first: int, most_bytes: int) -> Iterator[Entry]:
    """Read the rows of one file whose digest has been checked.

    Args:
        encoding: of CSV files (`utf-8` or `gb18030`); JSON is always UTF-8.
        first: position of the file's first row in the drop.
        most_bytes: bound of the inflated file.

    Raises:
        SetAside: the file as a whole cannot be read.
    """
    if name.endswith(".gz"):
        data, name = _inflated(data, most_bytes), name.removesuffix(".gz")
    if len(data) > most_bytes:
        raise SetAside("file_too_large")
    return _csv_rows(data, encoding, first) if name.endswith(".csv") else _json_rows(data, first)


def _inflated(data: bytes, most_bytes: int) -> bytes:
    try:
        return inflate([data], most=most_bytes)
    except TooLargeError:
        raise SetAside("file_too_large") from None
    except BrokenGzipError:
        raise SetAside("file_gzip_damaged") from None


def _json_rows(data: bytes, first: int) -> Iterator[Entry]:
    lines = (line for line in data.split(b"\n") if line.strip())
    for position, line in enumerate(lines, first):
        try:
            if len(line) > _MAX_LINE_BYTES:
                raise MalformedJsonError("too_long")
            parse_object(line)
        except MalformedJsonError as malformed:
            yield Unreadable(position=position, reason=malformed.reason, detail="The line is not strict JSON.")
        else:
            yield line.strip()


def _csv_rows(data: bytes, encoding: str, first: int) -> Iterator[Entry]:
    try:
        text = data.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError:
        raise SetAside("file_encoding") from None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(reader, None)
        if header is None or not all(header) or len(set(header)) != len(header):
            raise SetAside("file_header")
        for position, cells in enumerate((cells for cells in reader if cells), first):
            if len(cells) != len(header):
                detail = f"The row has {len(cells)} fields, the header {len(header)}."
                yield Unreadable(position=position, reason="field_count", detail=detail)
                continue
            row = dict(zip(header, cells, strict=True))
            yield json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode()
    except csv.Error:
        raise SetAside("file_csv") from None
