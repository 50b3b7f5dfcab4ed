"""How fast files are cleared, beside sorting and writing the same files. I/O: a temporary folder, processes of its own.

Sorting by person, behaviour and time is the least that any way of clearing must do. DuckDB does it where it is installed,
Polars where it is not; each side runs in a process of its own, in turn, so that memory is told of each alone and a busy
machine slows both.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from shutil import rmtree
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import polars as pl

from hub.clearing.engines.local import clear_files
from standards.canonical import splitmix64_array
from standards.units import MICRO

ROWS_IN_FILE = 1 << 18
RECORDS_OF_PERSON = 40
DAYS = 30
FIRST_US = 1_772_294_400 * MICRO
"""1 March 2026, 00:00 in Beijing."""
WARM_UP = 20_000
SORT = ["subject_id", "behaviour", "start_at"]
# behaviour, platform and role of who carries it out, share, usual quantity (0 if one act is one), usual minutes.
ACTS = (
    ("MOB-BUS", "bus", "operator", 0.24, 0.0, 22.0),
    ("MOB-METRO", "metro", "operator", 0.20, 0.0, 28.0),
    ("MOB-BIKE", "bikes", "operator", 0.26, 2.0, 10.0),
    ("FOOD-NOTABLEWARE", "meals", "operator", 0.14, 0.0, 0.0),
    ("USE-EWAYBILL", "parcels", "operator", 0.10, 0.0, 0.0),
    ("HOME-WASTESORT", "bins", "meter", 0.06, 1.5, 0.0),
)
SECOND_REPORTS = (("city-app", "aggregator", 0.12), ("map-app", "navigation", 0.05))


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """What one side took, by round."""

    name: str
    seconds: tuple[float, ...]
    processor_s: tuple[float, ...]
    records_per_s: int
    """In the best round."""
    peak_mib: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedFigure:
    """Both sides for one number of records; the lower the ratios, the faster is clearing."""

    records: int
    ratio: float
    """Best time of clearing to best time of sorting."""
    ratio_of_medians: float
    ratio_of_processor: float
    """The same of processor time, which other work on the machine disturbs less."""
    growth: float | None
    """Processor time for a record, to that of the smallest number of records; none where it is the only one."""
    root: str
    ours: Side
    peer: Side


def peer_name() -> str:
    """Return who sorts and writes on this machine."""
    return "duckdb" if find_spec("duckdb") else "polars"


def measure_sizes(
    folder: Path, *, sizes: list[int], rounds: int, seed: int, told: Callable[[SpeedFigure], None]
) -> list[SpeedFigure]:
    """Make records, clear them, sort and write them, for every size, the smallest first.

    Args:
        folder: an empty one; at most one size's records and results lie in it at a time.
        sizes: numbers of records, about.
        rounds: how often both sides run, in turn.
        told: called with each figure as soon as it is known.
    """
    # Compiling and loading are no part of the work; they are done once on a machine.
    write_records(folder / "warm", WARM_UP, seed)
    _side("ours", folder / "warm", folder / "out")
    figures: list[SpeedFigure] = []
    for size in sorted(sizes):
        place = folder / str(size)
        records = write_records(place, size, seed)
        figures.append(_measure(place, folder / "out", records, rounds, figures[0] if figures else None))
        rmtree(place)
        told(figures[-1])
    return figures


def _measure(place: Path, out: Path, records: int, rounds: int, smallest: SpeedFigure | None) -> SpeedFigure:
    turns: dict[str, list[dict[str, Any]]] = {"ours": [], "peer": []}
    for _ in range(rounds):
        for side, done in turns.items():
            rmtree(out, ignore_errors=True)
            done.append(_side(side, place, out))
    ours = _side_of("clear_files", turns["ours"], records)
    peer = _side_of(turns["peer"][0]["name"], turns["peer"], records)
    roots = {turn["root"] for turn in turns["ours"]}
    if len(roots) != 1:
        raise RuntimeError("two rounds over the same records decided differently")
    each = min(ours.processor_s) / records
    return SpeedFigure(
        records=records,
        ratio=round(min(ours.seconds) / min(peer.seconds), 3),
        ratio_of_medians=round(median(ours.seconds) / median(peer.seconds), 3),
        ratio_of_processor=round(min(ours.processor_s) / min(peer.processor_s), 3),
        growth=round(each / (min(smallest.ours.processor_s) / smallest.records), 3) if smallest else None,
        root=roots.pop(),
        ours=ours,
        peer=peer,
    )


def _side_of(name: str, turns: list[dict[str, Any]], records: int) -> Side:
    return Side(
        name=name,
        seconds=tuple(turn["seconds"] for turn in turns),
        processor_s=tuple(turn["processor_s"] for turn in turns),
        records_per_s=round(records / min(turn["seconds"] for turn in turns)),
        peak_mib=max(turn["peak_mib"] for turn in turns),
    )


# --- records ----------------------------------------------------------------------------------------------------------


def write_records(folder: Path, records: int, seed: int) -> int:
    """Write about so many plausible records below a folder, a day's part to a file; return how many.

    People act at random; some acts are told a second time, by another platform with a worse clock. The same numbers
    give the same records.
    """
    folder.mkdir(parents=True)
    people = max(1, records // RECORDS_OF_PERSON)
    twice = sum(share for _, _, share in SECOND_REPORTS)
    written = number = 0
    while written < records:
        acts = max(1, round(min(ROWS_IN_FILE, records - written) / (1 + twice)))
        frame = _one_file(acts, people, number, seed)
        frame.write_parquet(folder / f"{number:05d}.parquet", compression="zstd", compression_level=1)
        written += len(frame)
        number += 1
    return written


def _one_file(acts: int, people: int, number: int, seed: int) -> pl.DataFrame:
    dice = np.random.default_rng((seed, number))
    kind = dice.choice(len(ACTS), acts, p=[act[3] for act in ACTS])
    day = FIRST_US + number % DAYS * 86_400 * MICRO
    start = day + dice.integers(6 * 3600, 22 * 3600, acts) * MICRO
    minutes = np.array([act[5] for act in ACTS])[kind] * dice.lognormal(0, 0.4, acts)
    usual = np.array([act[4] for act in ACTS])[kind]
    # Tokens spread over all 64 bits, as keyed ones do.
    tokens = splitmix64_array(np.arange(acts, dtype=np.int64) + ((number + 1) << 32) + (seed << 56))
    told = pl.DataFrame(
        {
            "subject_id": splitmix64_array(dice.integers(0, people, acts)).view(np.int64),
            "platform": pl.Series([act[1] for act in ACTS]).gather(kind),
            "role": pl.Series([act[2] for act in ACTS]).gather(kind),
            "behaviour": pl.Series([act[0] for act in ACTS]).gather(kind),
            "start_at": start,
            "end_at": start + (minutes * 60).astype(np.int64) * MICRO,
            "precision": "second",
            "quantity": np.where(usual > 0, usual * dice.lognormal(0, 0.4, acts), np.nan),
            "event_key": np.where(dice.random(acts) < 0.9, tokens, 0),
            "payment_key": np.where(dice.random(acts) < 0.4, splitmix64_array(tokens), 0),
            "region": dice.choice(np.array([110105, 310104, 440305, 420102], np.int32), acts),
            "claimed_mg": dice.integers(10_000, 400_000, acts),
        }
    )
    again = [_second_report(told, dice, *report) for report in SECOND_REPORTS]
    frame = pl.concat([told, *again])
    numbers = splitmix64_array(np.arange(len(frame), dtype=np.int64) + ((number + 1) << 24) + (seed << 56) + (1 << 55))
    nulls = [pl.col(key).replace(0, None) for key in ("event_key", "payment_key")]
    moments = [pl.col(name).cast(pl.Datetime("us", "UTC")) for name in ("start_at", "end_at")]
    numbered = pl.Series("record_id", numbers.view(np.int64))
    frame = frame.with_columns(*nulls, *moments, pl.col("quantity").fill_nan(None), numbered)
    return frame.sample(fraction=1.0, shuffle=True, seed=seed + number)


def _second_report(
    told: pl.DataFrame, dice: np.random.Generator, platform: str, role: str, share: float
) -> pl.DataFrame:
    at = np.flatnonzero(dice.random(len(told)) < share)
    late = dice.normal(20, 25, len(at)).astype(np.int64) * MICRO
    return told[at].with_columns(
        pl.lit(platform).alias("platform"),
        pl.lit(role).alias("role"),
        pl.col("start_at") + late,
        pl.col("end_at") + late,
        pl.col("quantity") * dice.normal(1, 0.03, len(at)),
        event_key=pl.when(pl.Series(dice.random(len(at)) < 0.5)).then("event_key").otherwise(0),
        payment_key=pl.lit(0, pl.UInt64),
    )


# --- one side, in a process of its own ----------------------------------------------------------------------------------


def _side(side: str, records: Path, out: Path) -> dict[str, Any]:
    """Run one side in a process of its own; return its seconds, processor time, peak memory, and what it tells."""
    command = [sys.executable, "-m", "hub.bench.clearing_speed", side, str(records), str(out)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    if finished.returncode:
        raise RuntimeError(f"{side} failed: {finished.stderr.strip().rpartition(chr(10))[2]}")
    answer: dict[str, Any] = json.loads(finished.stdout)
    return answer


def _clear(records: Path, out: Path) -> dict[str, Any]:
    return {"name": "clear_files", "root": clear_files(records, out)["root"]}


def _sort_and_write(records: Path, out: Path) -> dict[str, Any]:
    out.mkdir(parents=True)
    if peer_name() == "polars":
        frame = pl.read_parquet(records / "*.parquet").sort(SORT)
        frame.write_parquet(out / "sorted.parquet", compression="zstd", compression_level=1)
        return {"name": f"polars {pl.__version__}"}
    import duckdb

    with duckdb.connect() as database:
        database.execute(f"SET memory_limit = '8GB'; SET temp_directory = '{out / 'spill'}'; SET TimeZone = 'UTC'")
        database.execute("SET preserve_insertion_order = false")
        database.execute(
            f"COPY (FROM read_parquet('{records}/*.parquet') ORDER BY {', '.join(SORT)}) TO '{out / 'sorted.parquet'}' "
            "(FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1)"
        )
    return {"name": f"duckdb {duckdb.__version__}"}


def _peak_mib() -> int:
    """Return the most memory that this process had; not what the one had that began it."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) >> 10
    return 0


def main() -> None:
    """Run one side and print what it took as a line of JSON."""
    side, records, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    before, began = os.times(), perf_counter()
    told = {"ours": _clear, "peer": _sort_and_write}[side](records, out)
    seconds, after = perf_counter() - began, os.times()
    processor = after.user + after.system - before.user - before.system
    figures = {"seconds": round(seconds, 3), "processor_s": round(processor, 3), "peak_mib": _peak_mib()}
    sys.stdout.write(json.dumps(told | figures) + "\n")


if __name__ == "__main__":
    main()
