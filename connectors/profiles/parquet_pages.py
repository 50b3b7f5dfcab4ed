"""How much comes out of the pages of a Parquet file, told before any page is read. Pure.

The footer's sizes are only its writer's word: the reader makes room for what each page's own header says. So the headers
are walked first, along the same pages as the reader goes. A page cannot become more than its header says, because it is
unpressed into exactly that room.

Source: parquet-format 2.11 (`parquet.thrift`: PageHeader, DataPageHeader, DictionaryPageHeader, DataPageHeaderV2) and the
compact protocol of Apache Thrift.
"""

from collections.abc import Iterator
from dataclasses import dataclass

MAX_PAGES = 100_000
_MAX_DEPTH = 8
_MOST_VARINT_BYTES = 10
_STOP, _TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _STRUCT = (
    0,
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    8,
    9,
    10,
    12,
)
_WHOLE = (_I16, _I32, _I64)
_WIDTHS = {_TRUE: 0, _FALSE: 0, _BYTE: 1, _DOUBLE: 8}
_TYPE, _UNPRESSED, _PRESSED = 1, 2, 3
_DATA, _DICTIONARY, _DATA_V2 = 0, 2, 3
_HEADER_OF = {_DATA: 5, _DICTIONARY: 7, _DATA_V2: 8}
_VALUES = 1  # the first field of each of the three


class PagesError(ValueError):
    """The pages are not where the footer says, or not what they say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """One column of one row group, as the footer tells it."""

    start: int
    length: int
    values: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Page:
    kind: int
    values: int
    unpressed: int
    pressed: int


def unpressed_sizes(data: bytes, chunk: Chunk) -> Iterator[int]:
    """Give the size of each page of a chunk as the reader will make room for it.

    Raises:
        PagesError: a header is none, a page goes beyond its chunk, or pages are missing.
    """
    at, end, seen = chunk.start, chunk.start + chunk.length, 0
    if not 0 <= at <= end <= len(data):
        raise PagesError
    while seen < chunk.values:
        page, at = _read_page(data, at, end)
        at += page.pressed
        if at > end:
            raise PagesError
        if page.kind == _DICTIONARY and page.values > page.unpressed:
            raise PagesError  # room is made for this many values, and each takes a byte at least
        seen += page.values if page.kind in (_DATA, _DATA_V2) else 0
        yield page.unpressed


def _read_page(data: bytes, at: int, end: int) -> tuple[_Page, int]:
    reader = _Compact(data, at, end)
    told = reader.struct(0)
    kind, unpressed, pressed = (told.get(number) for number in (_TYPE, _UNPRESSED, _PRESSED))
    if not isinstance(kind, int) or not isinstance(unpressed, int) or not isinstance(pressed, int):
        raise PagesError
    if unpressed < 0 or pressed < 0:
        raise PagesError
    values: object = 0
    if kind in _HEADER_OF:
        own = told.get(_HEADER_OF[kind])
        values = own.get(_VALUES) if isinstance(own, dict) else None
    if not isinstance(values, int) or values < 0:
        raise PagesError
    return _Page(kind=kind, values=values, unpressed=unpressed, pressed=pressed), reader.at


class _Compact:
    """Reads whole numbers and structs; everything else is stepped over."""

    def __init__(self, data: bytes, at: int, end: int) -> None:
        self._data, self.at, self._end = data, at, end

    def struct(self, depth: int) -> dict[int, object]:
        if depth > _MAX_DEPTH:
            raise PagesError
        fields: dict[int, object] = {}
        number = 0
        while (head := self._byte()) != _STOP:
            number = number + (head >> 4) if head >> 4 else _signed(self._varint())
            if number in fields or not 0 < number < 1 << 15:
                raise PagesError  # two readers could take two different ones
            fields[number] = self._value(head & 15, depth)
        return fields

    def _value(self, kind: int, depth: int) -> object:
        if kind == _STRUCT:
            return self.struct(depth + 1)
        if kind in _WHOLE:
            whole = self._varint()
            if kind != _I64 and whole >= 1 << 32:
                raise PagesError  # other readers cut it to 32 bits
            return _signed(whole)
        self._skip(kind, depth)
        return None

    def _skip(self, kind: int, depth: int) -> None:
        if kind in (_LIST, _SET):
            self._list(depth)
        elif kind in _WIDTHS:
            self._step(_WIDTHS[kind])
        elif kind == _BINARY:
            self._step(self._varint())
        else:
            raise PagesError

    def _list(self, depth: int) -> None:
        if depth > _MAX_DEPTH:
            raise PagesError
        head = self._byte()
        count = head >> 4 if head >> 4 != 15 else self._varint()
        if count > self._end - self.at:
            raise PagesError  # each element takes a byte at least
        for _ in range(count):
            if head & 15 in (_TRUE, _FALSE):
                self._step(1)  # in a list a truth value has a byte of its own
            else:
                self._value(head & 15, depth + 1)

    def _varint(self) -> int:
        value = 0
        for place in range(_MOST_VARINT_BYTES):
            byte = self._byte()
            value |= (byte & 127) << (7 * place)
            if byte < 128:
                return value
        raise PagesError

    def _byte(self) -> int:
        if self.at >= self._end:
            raise PagesError
        self.at += 1
        return self._data[self.at - 1]

    def _step(self, count: int) -> None:
        if count > self._end - self.at:
            raise PagesError
        self.at += count


def _signed(value: int) -> int:
    """Undo zigzag."""
    return (value >> 1) ^ -(value & 1)
