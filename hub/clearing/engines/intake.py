"""Taking record files in: each piece read once by one thread and laid aside by bucket. I/O: reads files."""

from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from hub.clearing.engines.reading import RecordFile, digest_file, find_files, open_file, read_batches
from hub.clearing.engines.shelf import Shelf
from hub.clearing.errors import ClearingInputError
from hub.clearing.kernel.codes import Catalogue
from hub.clearing.kernel.encode import PlatformNames, encode_records
from hub.clearing.kernel.rows import I64, UNTOLD, Table
from standards.canonical import splitmix64_array

DECIDED = ["record_id", "event_id", "verdict", "counted_mg", "reason"]


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """An earlier run: its record files, and what was decided about the records that were not rejected."""

    folder: Path
    files: list[RecordFile]
    decisions: pl.DataFrame
    """record_id, event_id, verdict, counted_mg."""
    rejected: pl.Series


@dataclass(slots=True)
class Intake:
    """What all threads add to while they read; `lock` guards it."""

    names: PlatformNames = field(default_factory=PlatformNames)
    bad: list[Table] = field(default_factory=list)
    """BAD of new records; platforms by order of appearance."""
    digests: dict[Path, str] = field(default_factory=dict)
    lock: Lock = field(default_factory=Lock)


def load_history(folder: Path) -> History:
    """Read what an earlier run decided.

    Raises:
        ClearingInputError: the folder does not hold `records/` and a finished `out/`.
    """
    records, out = folder / "records", folder / "out"
    if not (out / "manifest.json").is_file():
        raise ClearingInputError(f"{folder}: no result of a clearing run in out/")
    try:
        decisions = pl.read_parquet(out / "decisions" / "*.parquet", columns=DECIDED)
    except (pl.exceptions.PolarsError, OSError) as cause:
        raise ClearingInputError(f"{out / 'decisions'}: not readable") from cause
    # What only a person's own document told stands in nobody's way: who tells of the act now may count.
    lives = pl.col("event_id").is_not_null() & (pl.col("reason") != "declared_only")
    return History(
        folder=folder,
        files=[open_file(path, records) for path in find_files(records)],
        decisions=decisions.filter(lives).drop("reason"),
        rejected=decisions.filter(~lives)["record_id"],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Some row groups of a file, read by one thread; none: the file's bytes, for its digest."""

    file: RecordFile
    history: History | None
    groups: tuple[int, ...] | None

    @property
    def rows(self) -> int:
        """Return the number of records that it holds."""
        return sum(self.file.groups[number] for number in self.groups or ())


def pieces_of(files: list[RecordFile], past: list[History]) -> list[Piece]:
    """Return all that is to be read, files of this run and of earlier ones."""
    pieces = []
    for file in files:
        pieces.append(Piece(file=file, history=None, groups=None))
        pieces += [Piece(file=file, history=None, groups=groups) for groups in file.pieces()]
    for run in past:
        pieces += [Piece(file=file, history=run, groups=groups) for file in run.files for groups in file.pieces()]
    return pieces


def take_in(piece: Piece, shelf: Shelf, numbers: Shelf, catalogue: Catalogue, intake: Intake) -> None:
    """Read a piece and lay its rows aside; those of an earlier run with what was decided about them.

    Args:
        numbers: a shelf for the numbers of records.

    Raises:
        ClearingInputError: the file cannot be used.
    """
    if piece.groups is None:
        digest = digest_file(piece.file.path)
        with intake.lock:
            intake.digests[piece.file.path] = digest
        return
    for table in read_batches(piece.file, piece.groups):
        names = PlatformNames()
        record_ids = np.asarray(table["record_id"].to_numpy(), np.int64)
        numbers.add_at(record_ids, numbers.ranges_of(splitmix64_array(record_ids)))
        told = _with_decisions(table, piece.history, piece.file) if piece.history else table
        rows, bad = encode_records(told, catalogue, names)
        with intake.lock:
            # Each batch meets the platforms in its own order; from here on they have one number in all.
            known = np.array([*(intake.names.code(name) for name in names.codes), UNTOLD], np.int16)
            if piece.history is None and len(bad):
                bad["platform"] = known[bad["platform"]]
                intake.bad.append(bad)
        rows["platform"] = known[rows["platform"]]
        shelf.add(rows)


def _with_decisions(table: pa.Table, history: History, file: RecordFile) -> pa.Table:
    frame = pl.DataFrame(pl.from_arrow(table))
    decided = frame.join(history.decisions, on="record_id", how="inner")
    left = len(frame) - len(decided)
    if left and left != frame["record_id"].is_in(history.rejected.implode()).sum():
        raise ClearingInputError(f"{history.folder}/records/{file.name}: holds records that out/ did not decide")
    return decided.to_arrow()


def find_repeated(numbers: I64) -> int | None:
    """Return the least number that occurs twice."""
    numbers.sort()
    again = np.flatnonzero(numbers[1:] == numbers[:-1])
    return int(numbers[again[0]]) if len(again) else None


def repeated_record(repeated: int, files: list[RecordFile]) -> ClearingInputError:
    """Return what to say of records that share a number; names both files."""
    places = []
    for file in files:
        column = pq.read_table(file.path, columns=["record_id"])["record_id"].to_numpy()
        places += [file.name] * int((column == repeated).sum())
    return ClearingInputError(f"record_id {repeated} occurs twice: in {places[0]} and in {places[1]}")
