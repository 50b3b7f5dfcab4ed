"""Rows laid aside by bucket until all of a person's records are there. I/O: files in a folder of its own.

Small sets stay in memory. Large ones go to one file per range of buckets, so that memory depends on the size of a range
and not on the number of records; a crash leaves the folder behind, and nothing in it is ever an input.
"""

import shutil
from pathlib import Path
from threading import Lock, local
from typing import Any

import numpy as np
import numpy.typing as npt

from hub.clearing.kernel.compiled import compiled_entry
from hub.clearing.kernel.encode import bucket_keys
from hub.clearing.kernel.rows import I64, U64, Table
from standards.canonical import BUCKETS

ROWS_IN_RANGE = 1 << 18
ROWS_IN_MEMORY = 1 << 21
TRAY_BYTES = 1 << 26
"""What one thread gathers before it writes."""
MOST_ROWS_IN_TRAY = 1 << 13
"""Of one range; larger pieces are not written any faster."""
WORD = 8


class Shelf:
    """Ranges of buckets, each with its rows."""

    def __init__(self, folder: Path, rows: int, kind: np.dtype[Any], *, kept: np.dtype[Any] | None = None) -> None:
        """Prepare for about so many rows; the number decides how they are kept, never what they are.

        Args:
            kept: the first fields of `kind`, if the others are zero as long as rows lie here.
        """
        ranges = 1
        while ranges < BUCKETS and ranges * ROWS_IN_RANGE < rows:
            ranges *= 2
        self.ranges = ranges
        self._kind, self._kept = kind, kept or kind
        self._folder = folder if rows > ROWS_IN_MEMORY else None
        self._held: list[list[U64]] = [[] for _ in range(ranges)]
        self._locks = [Lock() for _ in range(ranges)]
        self._own = local()
        self._trays: list[tuple[U64, I64]] = []
        if self._folder:
            self._folder.mkdir(parents=True)

    def add(self, rows: Table) -> None:
        """Lay rows of any people aside. May be called from several threads."""
        self.add_at(rows, self.ranges_of(bucket_keys(rows)))

    def ranges_of(self, keys: npt.NDArray[np.uint64]) -> I64:
        """Return the range of every key; its highest bits are the bucket's."""
        return ((keys >> np.uint64(1)) >> np.uint64(64 - self.ranges.bit_length())).astype(np.int64)

    def add_at(self, rows: Table, ranges: I64) -> None:
        """Lay rows aside in these ranges. May be called from several threads."""
        tray, filled = self._tray()
        words, begin = words_of(rows), 0
        while begin < len(rows):
            begin = deal(words, ranges, begin, tray, filled)
            if begin < len(rows):
                self._put(int(ranges[begin]), tray, filled)

    def flush(self) -> None:
        """Lay down what threads still hold; after this no rows may be added."""
        for tray, filled in self._trays:
            for number in np.flatnonzero(filled):
                self._put(int(number), tray, filled)
        self._trays.clear()
        self._own = local()

    def take(self, number: int) -> Table:
        """Return all rows of a range, in no particular order."""
        parts = self.peek(number)
        rows = np.empty(sum(map(len, parts)), self._kind)
        begin = 0
        for part in parts:
            copy_words(words_of(part), words_of(rows[begin : begin + len(part)]))
            begin += len(part)
        return rows

    def peek(self, number: int) -> list[Table]:
        """Return a range's rows as they lie here, to be read and let go soon: only the fields that are kept."""
        if not self._folder:
            return [part.reshape(-1).view(self._kept) for part in self._held[number]]
        path = self._path(number)
        # Written over pages would be this reader's own; nobody writes, but compiled code knows arrays by that too.
        return [np.memmap(path, self._kept, "c").view(np.ndarray)] if path.exists() else []

    def replace(self, number: int, rows: Table) -> None:
        """Keep these rows in place of those of a range, which are as many."""
        kept = np.empty(len(rows), self._kept)
        copy_words(words_of(rows), words_of(kept))
        if not self._folder:
            self._held[number] = [words_of(kept)]
        elif len(rows):
            # Over the old ones, not into a new file: the pages are there already.
            with self._path(number).open("r+b") as file:
                file.write(kept.data)

    def drop(self, number: int) -> None:
        """Let the rows of a range go; what was not yet written to the disk then never is."""
        self._held[number] = []
        if self._folder:
            self._path(number).unlink(missing_ok=True)

    def clear(self) -> None:
        """Let all rows go."""
        self._held = [[] for _ in range(self.ranges)]
        if self._folder:
            shutil.rmtree(self._folder)

    def _tray(self) -> tuple[U64, I64]:
        """Return this thread's own: the words of rows by range, and how many there are."""
        own: tuple[U64, I64] | None = getattr(self._own, "tray", None)
        if own is None:
            size = max(1, min(MOST_ROWS_IN_TRAY, TRAY_BYTES // (self.ranges * self._kept.itemsize)))
            shape = self.ranges, size, self._kept.itemsize // WORD
            own = np.empty(shape, np.uint64), np.zeros(self.ranges, np.int64)
            self._own.tray = own
            self._trays.append(own)
        return own

    def _put(self, number: int, tray: U64, filled: I64) -> None:
        rows = tray[number, : filled[number]]
        filled[number] = 0
        with self._locks[number]:
            if self._folder:
                with self._path(number).open("ab") as file:
                    file.write(rows.data)
            else:
                self._held[number].append(rows.copy())

    def _path(self, number: int) -> Path:
        if self._folder is None:
            raise RuntimeError("this shelf is in memory")
        return self._folder / f"range-{number:04d}.rows"


def words_of(table: Table) -> U64:
    """Return the same memory as words of eight bytes, a row each."""
    return table.view(np.uint64).reshape(len(table), table.dtype.itemsize // WORD)


@compiled_entry
def copy_words(source: U64, target: U64) -> None:
    """Copy the first words of every row; further ones of the target become zero."""
    width = min(source.shape[1], target.shape[1])
    for i in range(len(source)):
        for word in range(width):
            target[i, word] = source[i, word]
        for word in range(width, target.shape[1]):
            target[i, word] = 0


@compiled_entry
def deal(rows: U64, ranges: I64, begin: int, tray: U64, filled: I64) -> int:
    """Lay rows from `begin` on in their places of a tray; return the first for which there is no room, or their number."""
    for i in range(begin, len(rows)):
        place = ranges[i]
        if filled[place] == tray.shape[1]:
            return i
        for word in range(tray.shape[2]):
            tray[place, filled[place], word] = rows[i, word]
        filled[place] += 1
    return len(rows)
