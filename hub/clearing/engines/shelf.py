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

from hub.clearing.compiled import compiled_entry
from hub.clearing.encode import bucket_keys
from hub.clearing.rows import I64, ROW, Table
from standards.canonical import BUCKETS

ROWS_IN_RANGE = 1 << 18
ROWS_IN_MEMORY = 1 << 21
TRAY_BYTES = 1 << 26
"""What one thread gathers before it writes."""
MOST_ROWS_IN_TRAY = 1 << 13
"""Of one range; larger pieces are not written any faster."""


class Shelf:
    """Ranges of buckets, each with its rows."""

    def __init__(self, folder: Path, rows: int, kind: np.dtype[Any] = ROW) -> None:
        """Prepare for about so many rows; the number decides how they are kept, never what they are."""
        ranges = 1
        while ranges < BUCKETS and ranges * ROWS_IN_RANGE < rows:
            ranges *= 2
        self.ranges = ranges
        self._kind = kind
        self._folder = folder if rows > ROWS_IN_MEMORY else None
        self._held: list[list[Table]] = [[] for _ in range(ranges)]
        self._locks = [Lock() for _ in range(ranges)]
        self._own = local()
        self._trays: list[tuple[Table, I64]] = []
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
        begin = 0
        while begin < len(rows):
            begin = deal(rows, ranges, begin, tray, filled)
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
        if self._folder:
            path = self._path(number)
            return np.fromfile(path, self._kind) if path.exists() else np.zeros(0, self._kind)
        return np.concatenate([np.zeros(0, self._kind), *self._held[number]])

    def replace(self, number: int, rows: Table) -> None:
        """Keep these rows in place of those of a range, which are as many."""
        if not self._folder:
            self._held[number] = [rows]
        elif len(rows):
            # Over the old ones, not into a new file: the pages are there already.
            with self._path(number).open("r+b") as file:
                file.write(rows.data)

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

    def _tray(self) -> tuple[Table, I64]:
        """Return this thread's own: rows by range, and how many there are."""
        own: tuple[Table, I64] | None = getattr(self._own, "tray", None)
        if own is None:
            size = max(1, min(MOST_ROWS_IN_TRAY, TRAY_BYTES // (self.ranges * self._kind.itemsize)))
            own = np.empty((self.ranges, size), self._kind), np.zeros(self.ranges, np.int64)
            self._own.tray = own
            self._trays.append(own)
        return own

    def _put(self, number: int, tray: Table, filled: I64) -> None:
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


@compiled_entry
def deal(rows: Table, ranges: I64, begin: int, tray: Table, filled: I64) -> int:
    """Lay rows from `begin` on in their places of a tray; return the first for which there is no room, or their number."""
    for i in range(begin, len(rows)):
        place = ranges[i]
        if filled[place] == tray.shape[1]:
            return i
        tray[place, filled[place]] = rows[i]
        filled[place] += 1
    return len(rows)
