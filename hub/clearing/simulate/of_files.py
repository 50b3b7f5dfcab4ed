"""A change of methodology or policy, tried out on files before it is adopted: both cleared, and what moves.

I/O: reads record files; clears them twice into a working folder.

What counts is decided after clearing (a claim caps an amount, an overlap goes to one side), so both sides are whole runs
of the bulk engine. Their decisions are compared in passes over a part of the records each, so that memory does not grow
with their number.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from hub.clearing.engines.local import Progress, clear_files
from hub.clearing.engines.reading import BATCH_ROWS, find_files
from hub.clearing.engines.writing import whole_folder
from hub.clearing.errors import ClearingInputError
from hub.clearing.simulate.moved import Moved, add_up, compare, percent
from standards.methodology import Methodology
from standards.policy import ClearingPolicy

ROWS_IN_PASS = 1 << 22
LARGEST = 10
MARK = "simulation.json"
TOLD = pa.schema(
    [("record_id", pa.int64()), ("platform", pa.string()), ("region", pa.int32()), ("behaviour", pa.string())]
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Side:
    """What one of the two clearings goes by."""

    methodology: Methodology
    policy: ClearingPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """What a change of methodology or policy would do to these records."""

    what: str
    """`methodology` or `policy`: which of them is changed."""
    version: str
    """The version that it is changed from."""
    other: str
    """The one that it is changed to."""
    kept: str
    """The version of the one that stays; several, with commas, where records pin several."""
    moved: Moved
    left_out: int = 0
    """Records that were not looked at, because their people do not allow clearing now."""

    @property
    def verdicts_changed(self) -> int:
        """The number of records that clearing decides otherwise."""
        return int(self.moved.verdicts.filter(pl.col("from_verdict") != pl.col("to_verdict"))["records"].sum())


def simulate_change(
    records: Path, work: Path, what: str, *, before: Side, after: Side, progress: Progress | None = None
) -> Simulation:
    """Clear all record files below a folder by two methodologies or two policies, and compare what counts.

    Args:
        records: folder of Parquet files, as for `clear_files`.
        work: an empty folder for what is needed on the way; the caller throws it away.
        what: `methodology` or `policy`: in which of them the sides may differ.
        before: what it would be changed from; `after`, to.
        progress: called from time to time.

    Raises:
        ClearingInputError: an input file cannot be used.
    """
    report = progress or (lambda step, done, whole: None)
    sizes = []
    for name, side in (("from", before), ("to", after)):
        versions = (name, getattr(side, what).version)

        def told(step: str, done: int, whole: int, label: str = " ".join(versions)) -> None:
            report(f"{label}: {step}", done, whole)

        cleared = clear_files(records, work / name, methodology=side.methodology, policy=side.policy, progress=told)
        sizes.append(cleared["records"])
    _write_told(records, work / "told.parquet")
    passes = 1
    while passes * ROWS_IN_PASS < sizes[0]:
        passes *= 2
    parts = []
    for number in range(passes):
        sides = (_part(work / name, number, passes) for name in ("told.parquet", "from/decisions", "to/decisions"))
        parts.append(compare(*sides, largest=LARGEST))
        report("compare", number + 1, passes)
    moved = add_up(parts, largest=LARGEST)
    if {*sizes, moved.total("records")} != {sizes[0]}:
        # Each run decides about every record; files that change in between would make the comparison a lie.
        raise ClearingInputError(f"{records}: the files changed while they were compared")
    kept = before.policy if what == "methodology" else before.methodology
    return Simulation(
        what=what, version=getattr(before, what).version, other=getattr(after, what).version, kept=kept.version,
        moved=moved,
    )  # fmt: skip


@contextmanager
def simulation_folder(out: Path, records: Path | None) -> Iterator[Path]:
    """Give a folder to write into that becomes `out` when the block ends well, and vanishes otherwise.

    Raises:
        ClearingInputError: `out` lies among the records, or holds something else than an earlier simulation.
    """
    if records is not None and records.resolve() in (out.resolve(), *out.resolve().parents):
        raise ClearingInputError(f"{out} lies among the records")
    with whole_folder(out, mark=MARK, made_by="a simulation") as folder:
        yield folder


def _part(path: Path, number: int, passes: int) -> pl.LazyFrame:
    files = path / "*.parquet" if path.is_dir() else path
    return pl.scan_parquet(files).filter(pl.col("record_id").hash() % passes == number)


def _write_told(records: Path, path: Path) -> None:
    """Write the columns by which is summed up into one file: in the platforms' files their types may differ."""
    with pq.ParquetWriter(path, TOLD, compression="zstd", compression_level=1) as target:
        for file in find_files(records):
            for table in _told(file, file.relative_to(records).as_posix()):
                target.write_table(table)


def _told(path: Path, name: str) -> Iterator[pa.Table]:
    try:
        with pq.ParquetFile(path) as source:
            for batch in source.iter_batches(BATCH_ROWS, columns=TOLD.names):
                yield pa.Table.from_batches([batch]).select(TOLD.names).cast(TOLD)
    except (pa.ArrowException, OSError) as cause:
        raise ClearingInputError(f"{name}: not a readable Parquet file") from cause


def describe(simulation: Simulation) -> dict[str, Any]:
    """Return a simulation as a JSON document."""
    moved = simulation.moved
    from_mg, to_mg = moved.total("from_mg"), moved.total("to_mg")
    other = moved.verdicts.filter(pl.col("from_verdict") != pl.col("to_verdict"))
    return {
        "what": simulation.what,
        "from": simulation.version,
        "to": simulation.other,
        "policy" if simulation.what == "methodology" else "methodology": simulation.kept,
        "records": moved.total("records"),
        "left_out": simulation.left_out,
        "changed": moved.total("changed"),
        "verdicts_changed": simulation.verdicts_changed,
        **_difference(from_mg, to_mg),
        "platforms": _described(moved, "platform"),
        "regions": _described(moved, "region"),
        "behaviours": _described(moved, "behaviour"),
        "verdicts": other.sort("records", "from_verdict", "to_verdict", descending=[True, False, False]).to_dicts(),
        "largest": moved.largest.to_dicts(),
    }


def write_simulation(simulation: Simulation, folder: Path) -> None:
    """Write `moved.parquet`, and the rest as JSON: the last file of a simulation."""
    simulation.moved.groups.drop("changed").write_parquet(folder / "moved.parquet")
    document = json.dumps(describe(simulation), indent=1, ensure_ascii=False)
    (folder / MARK).write_text(document + "\n", encoding="utf-8")


def _described(moved: Moved, column: str) -> list[dict[str, Any]]:
    names = (column, "records", "changed")
    turned: dict[Any, list[dict[str, Any]]] = {}
    if column in moved.turns.columns:
        for row in moved.turns_by(column).iter_rows(named=True):
            turned.setdefault(row.pop(column), []).append(row)
    return [
        {name: row[name] for name in names}
        | _difference(row["from_mg"], row["to_mg"])
        | ({"verdicts": turned[row[column]]} if turned else {})
        for row in moved.by(column).iter_rows(named=True)
    ]


def _difference(from_mg: int, to_mg: int) -> dict[str, Any]:
    return {
        "from_mg": from_mg,
        "to_mg": to_mg,
        "difference_mg": to_mg - from_mg,
        "percent": percent(from_mg, to_mg),
    }
