"""Rows laid aside by bucket until all of a person's records are there. I/O: files in a folder of its own.

Small sets stay in memory. Large ones go to one file per range of buckets, so that memory depends on the size of a range
and not on the number of records; a crash leaves the folder behind, and nothing in it is ever an input.
"""

import shutil
from pathlib import Path
from threading import Lock

import numpy as np

from hub.clearing.encode import bucket_keys
from hub.clearing.rows import ROW, Table
from standards.canonical import BUCKETS

ROWS_IN_RANGE = 1 << 18
ROWS_IN_MEMORY = 1 << 21


class Shelf:
    """Ranges of buckets, each with its rows."""

    def __init__(self, folder: Path, rows: int) -> None:
        """Prepare for about so many rows; the number decides how they are kept, never what they are."""
        ranges = 1
        while ranges < BUCKETS and ranges * ROWS_IN_RANGE < rows:
            ranges *= 2
        self.ranges = ranges
        self._folder = folder if rows > ROWS_IN_MEMORY else None
        self._held: list[list[Table]] = [[] for _ in range(ranges)]
        self._locks = [Lock() for _ in range(ranges)]
        if self._folder:
            self._folder.mkdir(parents=True)

    def add(self, rows: Table) -> None:
        """Lay rows of any people aside. May be called from several threads."""
        if self.ranges == 1:
            self._put(0, rows)
            return
        # The highest bits of the key are the bucket's.
        place = (bucket_keys(rows) >> np.uint64(64 - self.ranges.bit_length() + 1)).astype(np.int16)
        order = np.argsort(place, kind="stable")
        ends = np.cumsum(np.bincount(place, minlength=self.ranges))
        scattered = rows[order]
        for number in range(self.ranges):
            begin = int(ends[number - 1]) if number else 0
            if ends[number] > begin:
                self._put(number, scattered[begin : ends[number]])

    def take(self, number: int) -> Table:
        """Return all rows of a range, in no particular order."""
        if self._folder:
            path = self._path(number)
            return np.fromfile(path, ROW) if path.exists() else np.zeros(0, ROW)
        parts = self._held[number]
        return np.concatenate(parts) if parts else np.zeros(0, ROW)

    def replace(self, number: int, rows: Table) -> None:
        """Keep these rows in place of those of a range."""
        if self._folder:
            rows.tofile(self._path(number))
        else:
            self._held[number] = [rows]

    def clear(self) -> None:
        """Let all rows go."""
        self._held = [[] for _ in range(self.ranges)]
        if self._folder:
            shutil.rmtree(self._folder)

    def _put(self, number: int, rows: Table) -> None:
        with self._locks[number]:
            if self._folder:
                with self._path(number).open("ab") as file:
                    file.write(np.ascontiguousarray(rows).data)
            else:
                self._held[number].append(rows)

    def _path(self, number: int) -> Path:
        if self._folder is None:
            raise RuntimeError("this shelf is in memory")
        return self._folder / f"range-{number:04d}.rows"
