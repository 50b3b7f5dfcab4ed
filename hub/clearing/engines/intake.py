"""Taking record files in: each read once by one thread, its valued, and its rows laid aside by bucket. I/O: reads files."""

from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from hub.clearing.encode import PlatformNames, encode_records
from hub.clearing.engines.reading import RecordFile, digest_file, find_files, open_file, read_batches
from hub.clearing.engines.shelf import Shelf
from hub.clearing.errors import ClearingInputError
from hub.clearing.rows import I64, UNTOLD, Table
from hub.clearing.valuing import Valuer

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
    record_ids: list[I64] = field(default_factory=list)
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


def take_in(file: RecordFile, history: History | None, shelf: Shelf, valuer: Valuer, intake: Intake) -> None:
    """Read one file and lay its rows aside; those of an earlier run with what was decided about them.

    Raises:
        ClearingInputError: the file cannot be used.
    """
    digest = "" if history else digest_file(file.path)
    for table in read_batches(file):
        names = PlatformNames()
        record_ids = np.asarray(table["record_id"].to_numpy(), np.int64)
        told = _with_decisions(table, history, file) if history else table
        rows, bad = encode_records(told, valuer.catalogue, names, valuer)
        with intake.lock:
            # Each file meets the platforms in its own order; from here on they have one number in all files.
            numbers = np.array([*(intake.names.code(name) for name in names.codes), UNTOLD], np.int16)
            intake.record_ids.append(record_ids)
            if history is None:
                bad["platform"] = numbers[bad["platform"]]
                intake.bad.append(bad)
        rows["platform"] = numbers[rows["platform"]]
        shelf.add(rows)
    with intake.lock:
        intake.digests[file.path] = digest


def _with_decisions(table: pa.Table, history: History, file: RecordFile) -> pa.Table:
    frame = pl.DataFrame(pl.from_arrow(table))
    decided = frame.join(history.decisions, on="record_id", how="inner")
    left = len(frame) - len(decided)
    if left and left != frame["record_id"].is_in(history.rejected.implode()).sum():
        raise ClearingInputError(f"{history.folder}/records/{file.name}: holds records that out/ did not decide")
    return decided.to_arrow()


def find_repeated(files: list[RecordFile], intake: Intake) -> None:
    """Refuse records that share a number.

    Raises:
        ClearingInputError: a record_id occurs twice; names both files.
    """
    ids = np.concatenate([np.zeros(0, np.int64), *intake.record_ids])
    intake.record_ids.clear()
    ids.sort()
    again = np.flatnonzero(ids[1:] == ids[:-1])
    if not len(again):
        return
    repeated = int(ids[again[0]])
    places = []
    for file in files:
        column = pq.read_table(file.path, columns=["record_id"])["record_id"].to_numpy()
        places += [file.name] * int((column == repeated).sum())
    raise ClearingInputError(f"record_id {repeated} occurs twice: in {places[0]} and in {places[1]}")
