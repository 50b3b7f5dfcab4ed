"""How fast records are valued on one core, beside the plainest way to do it. I/O: none but the clock and the scheduler.

One side is `standards.quantify`: the figures of place, day and witness, caps, an exact product rounded half-even. The
other joins the same rows with a table of one rate for each behaviour and unit, and multiplies. Both are told per second
of the processor's time, so that what else the machine does matters little; the process is kept on one core all the same.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import process_time

import numpy as np
import polars as pl

from standards.behaviours import accepted_behaviours
from standards.methodology import Methodology, load_methodology
from standards.quantify import quantify
from standards.schema import RECORD_SCHEMA, Precision, Role
from standards.units import MICRO

BATCHES = (500, 65_536, 1_000_000)
MOST_BATCHES = 200
REGIONS = (110105, 310104, 420106, 420500, 440305, 510104, 140105, 620100, None)
DAY_US = 86_400 * MICRO
_FIRST_US = int(datetime(2025, 1, 1, tzinfo=UTC).timestamp()) * MICRO
_DAYS = 700


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantifyFigure:
    """Both sides, the best of the rounds, and their ratio; `valued` is the share of rows that got an amount."""

    rows: int
    batch: int
    rounds: int
    methodology: str
    valued: float
    quantified_per_s: float
    plain_per_s: float
    ratio: float


def batch_sizes(rows: int) -> list[int]:
    """Return the sizes of batches that so many rows fill."""
    return [size for size in BATCHES if size <= rows]


def measure_quantify(*, rows: int, batch: int, rounds: int) -> QuantifyFigure:
    """Value so many records in batches of one size, both ways in turn; no more than MOST_BATCHES of them."""
    methodology = load_methodology()
    records, rates = sample_records(batch), _rates(methodology)
    times = min(-(-rows // batch), MOST_BATCHES)
    with one_core():
        best = {"ours": float("inf"), "plain": float("inf")}
        for place in range(rounds + 1):
            ours = _seconds(lambda: quantify(records, methodology), times)
            plain = _seconds(lambda: plainly(records, rates), times)
            if place:  # the first one warms up
                best = {"ours": min(best["ours"], ours), "plain": min(best["plain"], plain)}
    amounts = quantify(records, methodology)["reference_mg"]
    return QuantifyFigure(
        rows=times * batch,
        batch=batch,
        rounds=rounds,
        methodology=methodology.version,
        valued=round(1 - amounts.null_count() / batch, 4),
        quantified_per_s=round(times * batch / best["ours"]),
        plain_per_s=round(times * batch / best["plain"]),
        ratio=round(best["plain"] / best["ours"], 4),
    )


def sample_records(rows: int) -> pl.DataFrame:
    """Return RECORD as platforms tell them: mixed acts, units told or not, places, roles, some without a quantity."""
    dice = np.random.default_rng(20260101)
    told = [(code, unit) for code, known in accepted_behaviours().items() for unit in (*known.units, None)]
    # One row in two hundred has words that the hub does not know.
    act = np.where(dice.random(rows) < 0.005, len(told), dice.integers(0, len(told), rows))
    start = _FIRST_US + dice.integers(0, _DAYS * DAY_US, rows)
    quantity = np.round(dice.lognormal(1.0, 0.8, rows) * MICRO).astype(np.int64)
    return pl.DataFrame(
        {
            "record_id": np.arange(rows),
            "subject_id": dice.integers(1, 2**62, rows),
            "platform": _words(["city-green", "bike-blue", "map-app", "union-bank"], dice.integers(0, 4, rows)),
            "role": _words(list(Role), dice.integers(0, len(Role), rows)),
            "behaviour": _words([*(code for code, _ in told), "MOB-UNKNOWN"], act),
            "start_at": start,
            "end_at": start + 900 * MICRO,
            "precision": _words(list(Precision), dice.choice(3, rows, p=[0.7, 0.2, 0.1])),
            "quantity_micro": pl.Series(quantity).set(pl.Series(dice.random(rows) < 0.15), None),
            "unit": _words([*(unit for _, unit in told), "furlong"], act),
            "event_key": dice.integers(1, 2**62, rows),
            "payment_key": [None] * rows,
            "region": pl.Series(REGIONS).gather(pl.Series(dice.integers(0, len(REGIONS), rows))),
            "claimed_mg": dice.integers(1, 10**6, rows),
        }
    ).cast(RECORD_SCHEMA)


def plainly(records: pl.DataFrame, rates: pl.DataFrame) -> pl.DataFrame:
    """Value records by a join: one rate for a behaviour and unit, rounded down."""
    joined = records.join(rates, on=["behaviour", "unit"], how="left", maintain_order="left")
    return joined.with_columns(reference_mg=pl.col("quantity_micro") * pl.col("rate_mg") // MICRO).drop("rate_mg")


@contextmanager
def one_core() -> Iterator[None]:
    """Keep every thread of this process on one core while the block lasts."""
    core, before = {min(os.sched_getaffinity(0))}, {}
    for thread in (int(path.name) for path in Path("/proc/self/task").iterdir()):
        with suppress(ProcessLookupError):
            before[thread] = os.sched_getaffinity(thread)
            os.sched_setaffinity(thread, core)
    try:
        yield
    finally:
        # Threads that began in the meantime inherited the one core.
        for thread in (int(path.name) for path in Path("/proc/self/task").iterdir()):
            with suppress(ProcessLookupError):
                os.sched_setaffinity(thread, before.get(thread, before[os.getpid()]))


def _rates(methodology: Methodology) -> pl.DataFrame:
    methods = methodology.methods.values()
    return pl.DataFrame(
        {
            "behaviour": [method.behaviour for method in methods],
            "unit": [method.unit for method in methods],
            "rate_mg": [int(method.fallback_rate()) for method in methods],
            "factor_id": [method.id for method in methods],
        }
    )


def _words(words: Sequence[str | None], places: np.ndarray[tuple[int], np.dtype[np.int64]]) -> pl.Series:
    return pl.Series(words, dtype=pl.String).gather(pl.Series(places))


def _seconds(work: Callable[[], object], times: int) -> float:
    begun = process_time()
    for _ in range(times):
        work()
    return process_time() - begun
