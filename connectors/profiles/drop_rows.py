"""The rows of a dropped file: JSON lines, CSV or Parquet, as JSON documents. Pure.

A JSON line is handed on as it is written. A CSV row becomes an object of texts named by the header, because CSV knows
only text; nothing is trimmed or converted. A row that cannot be read keeps its place and does not disturb the others.
JSON lines and CSV may be pressed with gzip. Arrangements whose files are of another kind bring their own `Parse`.
"""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from connectors.base import SetAside, Unreadable
from connectors.net.inflate import BrokenGzipError, TooLargeError, inflate
from connectors.profiles.drop_parquet import parse_parquet
from connectors.strict_json import MalformedJsonError, parse_object

Entry = bytes | Unreadable
"""A row as a JSON document, or why it is none; its index is its position in the drop."""

_MAX_LINE_BYTES = 64 * 1024
_PRESSED = ".gz"


@dataclass(frozen=True, slots=True, kw_only=True)
class DroppedFile:
    """A file whose digest has been checked, and how much may come out of it.

    `first` is the position of its first row in the drop; `encoding` (`utf-8` or `gb18030`) is that of CSV files, JSON
    is always UTF-8; `most_bytes` bounds the inflated file.
    """

    name: str
    data: bytes = field(repr=False)
    first: int
    encoding: str
    most_bytes: int
    most_rows: int


Parse = Callable[[DroppedFile], Iterable[Entry]]
"""From a file to its rows, as many as the manifest says.

Raises:
    SetAside: the file as a whole cannot be read.
"""

ENDINGS = ("csv", "jsonl", "parquet")


def parse_rows(file: DroppedFile) -> Iterable[Entry]:
    """Read the rows of a file by the ending of its name."""
    name, data = inflated(file)
    if name.endswith(".parquet"):
        return parse_parquet(data, first=file.first, most_bytes=file.most_bytes, most_rows=file.most_rows)
    return _csv_rows(data, file.encoding, file.first) if name.endswith(".csv") else _json_rows(data, file.first)


def is_named(name: str, endings: tuple[str, ...]) -> bool:
    """Whether a file of this name belongs to an arrangement; Parquet is pressed inside, never outside."""
    plain = name.removesuffix(_PRESSED)
    ending = plain.rpartition(".")[2]
    return ending in endings and not (plain != name and ending == "parquet")


def inflated(file: DroppedFile) -> tuple[str, bytes]:
    """Return name and bytes without gzip, within the file's bound."""
    if not file.name.endswith(_PRESSED):
        if len(file.data) > file.most_bytes:
            raise SetAside("file_too_large")
        return file.name, file.data
    try:
        return file.name.removesuffix(_PRESSED), inflate([file.data], most=file.most_bytes)
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
