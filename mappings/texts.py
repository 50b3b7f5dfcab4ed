"""A column of texts as bytes, and the few questions that mappings ask of it. Pure.

Polars answers the same questions, but each costs it some 0.1 ms of planning, and a mapping asks about a hundred: for
the one record of a push, and for batches of 500, that would be most of the time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from mappings.compiled import inlined, kernel
from mappings.scan import Bytes, Offsets, Spans
from standards.schema import UTC_US

Mask: TypeAlias = NDArray[np.bool_]

MAX_ID_CHARACTERS = 128


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Texts:
    """Row i is data[starts[i]:ends[i]], UTF-8, and counts only where `told`."""

    data: Bytes
    starts: Offsets
    ends: Offsets
    told: Mask

    def __len__(self) -> int:
        return len(self.told)

    def to_series(self) -> pl.Series:
        """Return a String series, null where nothing is told."""
        bounds = np.zeros(len(self) + 1, np.int64)
        np.cumsum(np.where(self.told, self.ends - self.starts, 0), out=bounds[1:])
        packed = np.empty(max(1, bounds[-1]), np.uint8)
        _pack(self.data, self.starts, bounds, packed)
        buffers = [_validity(self.told), pa.py_buffer(bounds), pa.py_buffer(packed)]
        # The scanner has checked that it is UTF-8, so Arrow may take the buffers as they are.
        return pl.Series(pa.Array.from_buffers(pa.large_string(), len(self), buffers))

    def find(self, words: Sequence[str]) -> Spans:
        """Return per row the place of the text among `words`, -1 where it is not there or nothing is told."""
        found = np.full(len(self), -1, np.int32)
        encoded = [word.encode() for word in words]
        stops = np.cumsum([0, *(len(word) for word in encoded)])
        letters = np.frombuffer(b"".join(encoded) or b"\0", np.uint8)
        _find(self.data, self.starts, self.ends, self.told, letters, stops, found)
        return found

    def has_ids(self) -> Mask:
        """Return where the text is 1 to 128 printable ASCII characters without a space at either end.

        Look-alikes, invisible characters and spaces at the ends make two ids of one, and databases differ on which.
        """
        good = np.zeros(len(self), np.bool_)
        _find_ids(self.data, self.starts, self.ends, self.told, good)
        return good

    def equals(self, other: "Texts") -> Mask:
        """Return where both are told and the same."""
        shift, data = 0, self.data
        if data is not other.data:
            shift, data = len(data), np.concatenate([data, other.data])
        same = same_bytes(data, self.starts, self.ends, other.starts + shift, other.ends + shift)
        return same & self.told & other.told


def join_texts(parts: Sequence[Texts], separator: str) -> tuple[Texts, Mask]:
    """Return the texts side by side, told where every part is, and where a told part contains the separator.

    Such a part would let two different rows have one id, so the caller must refuse it.
    """
    told = np.logical_and.reduce([part.told for part in parts])
    pieces = [part.to_series().fill_null("") for part in parts]
    blurred = np.logical_or.reduce([piece.str.contains(separator, literal=True).to_numpy() for piece in pieces])
    bounds, data = byte_buffers(pl.select(pl.concat_str(pieces, separator=separator)).to_series())
    return Texts(data=data, starts=bounds[:-1], ends=bounds[1:], told=told), blurred


def byte_buffers(series: pl.Series) -> tuple[Offsets, Bytes]:
    """Return the bytes of a String or Binary series, and where each row's begin and end; null has none."""
    array = series.rechunk().cast(pl.Binary).to_arrow(compat_level=pl.CompatLevel.oldest()).cast(pa.large_binary())
    _, offsets, data = array.buffers()
    bounds: Offsets = np.frombuffer(offsets, np.int64)[array.offset : array.offset + len(array) + 1]
    return bounds, np.frombuffer(data, np.uint8) if data is not None and data.size else np.zeros(1, np.uint8)


def same_bytes(data: Bytes, starts: Offsets, ends: Offsets, other_starts: Offsets, other_ends: Offsets) -> Mask:
    """Return per row whether two spans of `data` hold the same bytes."""
    same = np.zeros(len(starts), np.bool_)
    _compare(data, starts, ends, other_starts, other_ends, same)
    return same


def nullable(values: NDArray[np.int64], told: Mask, dtype: pl.DataType) -> pl.Series:
    """Return a series of 64-bit values, null where nothing is told; times are microseconds, unsigned numbers bits."""
    arrow: dict[pl.DataType, pa.DataType] = {pl.UInt64(): pa.uint64(), UTC_US: pa.timestamp("us", tz="UTC")}
    buffers = [_validity(told), pa.py_buffer(np.ascontiguousarray(values))]
    series = pl.Series(pa.Array.from_buffers(arrow.get(dtype, pa.int64()), len(told), buffers))
    return series if series.dtype == dtype else series.cast(dtype, strict=False)


def _validity(told: Mask) -> pa.Buffer:
    return pa.py_buffer(np.packbits(told, bitorder="little"))


@inlined
def _is_same(a: Bytes, a_start: int, a_end: int, b: Bytes, b_start: int, b_end: int) -> bool:
    if a_end - a_start != b_end - b_start:
        return False
    for i in range(a_end - a_start):  # noqa: SIM110 (compiled: a generator would not be)
        if a[a_start + i] != b[b_start + i]:
            return False
    return True


@kernel
def _compare(data: Bytes, starts: Offsets, ends: Offsets, others: Offsets, other_ends: Offsets, same: Mask) -> None:
    for row in range(len(starts)):
        same[row] = _is_same(data, starts[row], ends[row], data, others[row], other_ends[row])


@kernel
def _pack(data: Bytes, starts: Offsets, bounds: Offsets, packed: Bytes) -> None:
    for row in range(len(starts)):
        shift = starts[row] - bounds[row]
        for i in range(bounds[row], bounds[row + 1]):
            packed[i] = data[i + shift]


@kernel
def _find(data: Bytes, starts: Offsets, ends: Offsets, told: Mask, words: Bytes, stops: Offsets, found: Spans) -> None:
    for row in range(len(told)):
        if told[row]:
            for word in range(len(stops) - 1):
                if _is_same(data, starts[row], ends[row], words, stops[word], stops[word + 1]):
                    found[row] = word
                    break


@kernel
def _find_ids(data: Bytes, starts: Offsets, ends: Offsets, told: Mask, good: Mask) -> None:
    for row in range(len(told)):
        start, end = starts[row], ends[row]
        if not told[row] or end - start > MAX_ID_CHARACTERS or data[start] == 0x20 or data[end - 1] == 0x20:
            continue
        good[row] = True
        for i in range(start, end):
            if data[i] < 0x20 or data[i] > 0x7E:
                good[row] = False
                break
