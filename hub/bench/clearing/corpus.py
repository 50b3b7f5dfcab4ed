"""Labelled records: made from a profile and a seed, or read from a folder. I/O: reads and writes Parquet files.

People are made in groups, each with dice of its own, so that a corpus of any size needs the memory of one group. The same
profile, seed and size give the same records.

A labelled folder has `records/**/*.parquet`, which are public records, and `truth/**/*.parquet` with the columns of
`TRUTH_SCHEMA`, one row per record; further columns are not read.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl

from hub.bench.clearing.acts import CODES, FAMILIES, make_acts
from hub.bench.clearing.labels import TRUTH_SCHEMA, Labelled, label
from hub.bench.clearing.profiles import Profile
from hub.bench.clearing.telling import DAY, PRECISIONS, Reports, tell_acts
from hub.errors import UsageProblem
from standards.behaviours import accepted_behaviours, default_unit
from standards.schema import Precision

GROUP = 4_000
"""People who are made together."""
STRIDE = 1 << 40
"""Numbers of one group's records, acts and people lie below this, so that groups never meet."""
_SPREAD = 0x2545F4914F6CDD1D
_MODULUS = 1 << 62
PUBLIC = pl.Schema({
    "record_id": pl.Int64(), "subject_id": pl.Int64(), "platform": pl.String(), "role": pl.String(), "behaviour": pl.String(),
    "start_at": pl.Datetime("us", "UTC"), "end_at": pl.Datetime("us", "UTC"), "precision": pl.String(),
    "quantity": pl.Float64(), "unit": pl.String(), "event_key": pl.UInt64(), "payment_key": pl.UInt64(), "region": pl.Int32(),
    "claimed_mg": pl.Int64(),
})  # fmt: skip


def write_corpus(profile: Profile, *, records: int, seed: int, folder: Path) -> None:
    """Write a labelled folder of about so many records."""
    write_labelled(make_corpus(profile, records=records, seed=seed), folder)


def write_labelled(parts: Iterable[Labelled], folder: Path) -> None:
    """Write a labelled folder, one file of records and one of truth for each part."""
    for name in ("records", "truth"):
        (folder / name).mkdir(parents=True)
    for number, part in enumerate(parts):
        part.records.write_parquet(folder / "records" / f"part-{number:04}.parquet")
        part.truth.write_parquet(folder / "truth" / f"part-{number:04}.parquet")


def make_corpus(profile: Profile, *, records: int, seed: int) -> Iterator[Labelled]:
    """Yield groups of people with all their records, in no order, and the truth about them."""
    people = max(2, round(records / profile.records_per_person))
    for number, first in enumerate(range(0, people, GROUP)):
        dice = np.random.default_rng([seed, number])
        acts, habit = make_acts(profile, min(GROUP, people - first), dice)
        everything, reports = tell_acts(profile, acts, habit, dice)
        yield _as_frames(profile, everything, dice.permutation(reports), number)


def read_labelled(folder: Path) -> pl.DataFrame:
    """Return the truth of a labelled folder.

    Raises:
        UsageProblem: the folder has no records or no truth, or a column is missing.
    """
    for name in ("records", "truth"):
        if not any((folder / name).rglob("*.parquet")):
            raise UsageProblem(f"{folder} has no Parquet files below {name}/")
    truth = pl.scan_parquet(folder / "truth" / "**" / "*.parquet")
    missing = sorted(set(TRUTH_SCHEMA) - set(truth.collect_schema().names()))
    if missing:
        raise UsageProblem(f"the truth in {folder} has no column {missing[0]}")
    return truth.select(list(TRUTH_SCHEMA)).cast(TRUTH_SCHEMA).collect()


def read_records(folder: Path) -> pl.DataFrame:
    """Return the records of a labelled folder, with every public column."""
    frame = pl.scan_parquet(folder / "records" / "**" / "*.parquet", missing_columns="insert").collect()
    absent = [pl.lit(None, kind).alias(name) for name, kind in PUBLIC.items() if name not in frame.columns]
    return frame.with_columns(absent).select(list(PUBLIC)).cast(PUBLIC)


# --- frames -----------------------------------------------------------------------------------------------------------


def _as_frames(profile: Profile, acts: np.ndarray, reports: Reports, group: int) -> Labelled:
    bad = reports["act"] < 0
    told = acts[np.where(bad, 0, reports["act"])]
    number = group * STRIDE + np.arange(len(reports))
    # A bad row tells of nothing: an act of its own, numbered after all others.
    event = group * STRIDE + np.where(bad, len(acts) + np.arange(len(reports)), told["event"])
    unit = np.where(bad, event, group * STRIDE + told["unit"])
    records = _records(profile, reports, told, number, group)
    countable = np.array([accepted_behaviours()[code].countable for code in CODES])
    about = pl.DataFrame(
        {
            "record_id": records["record_id"], "event_id": event, "unit_id": unit, "act": _names(CODES, told["code"]),
            "family": _names(FAMILIES, told["code"]), "kind": told["kind"], "side": told["side"], "mg": told["mg"],
            "fake": told["fake"] & ~bad, "bad": bad, "day": told["day"],
            "told": reports["told"] | countable[told["code"]], "origin": reports["origin"],
        }
    )  # fmt: skip
    return Labelled(records=_damaged(records, reports["damage"]), truth=label(about))


def _records(profile: Profile, reports: Reports, told: np.ndarray, number: np.ndarray, group: int) -> pl.DataFrame:
    midnight_s = datetime(*profile.first_day.timetuple()[:3], tzinfo=UTC).timestamp() - profile.zone_s
    code, by_day = told["code"], reports["precision"] == DAY
    units = {
        grain: np.array([default_unit(each, grain) for each in CODES]) for grain in (Precision.SECOND, Precision.DAY)
    }
    # An act of a whole day has the unit of such acts; a trip that was booked by the day keeps its own.
    own_unit = np.where(told["day"], units[Precision.DAY][code], units[Precision.SECOND][code])
    usual_unit = np.where(by_day, units[Precision.DAY][code], units[Precision.SECOND][code])
    unit = np.where(reports["km"], "km", own_unit)
    homes = np.array(profile.regions)[told["person"] % len(profile.regions)]
    frame = pl.DataFrame(
        {
            "record_id": _spread(number), "subject_id": _spread(group * STRIDE + told["person"]),
            "platform": _names(tuple(teller.id for teller in profile.tellers), reports["teller"]),
            "role": _names(tuple(teller.role for teller in profile.tellers), reports["teller"]),
            "behaviour": _names(CODES, reports["code"]),
            "start_at": _micros(reports["start"] + midnight_s), "end_at": _micros(reports["end"] + midnight_s),
            "precision": _names(PRECISIONS, reports["precision"]), "quantity": reports["quantity"], "unit": unit,
            "event_key": reports["order"], "payment_key": reports["payment"], "region": homes,
            "claimed_mg": reports["claim"],
        }
    )  # fmt: skip
    return frame.with_columns(
        pl.when(pl.Series(reports["told"])).then("quantity").alias("quantity"),
        pl.when(pl.Series((unit != usual_unit) | ~reports["plain"])).then("unit").alias("unit"),
        pl.when(pl.col("event_key") != 0).then("event_key").alias("event_key"),
        pl.when(pl.col("payment_key") != 0).then("payment_key").alias("payment_key"),
        pl.when(pl.Series(~reports["placeless"])).then("region").alias("region"),
        pl.when(pl.Series(reports["claims"])).then("claimed_mg").alias("claimed_mg"),
    ).cast(PUBLIC)


def _damaged(records: pl.DataFrame, damage: np.ndarray) -> pl.DataFrame:
    """Break the rows that are to be bad."""
    is_kind = [pl.Series(damage == kind) for kind in range(9)]
    return records.with_columns(
        pl.when(is_kind[1]).then(pl.lit("MOB-TELEPORT")).when(is_kind[2]).then(None).otherwise("behaviour").alias("behaviour"),
        pl.when(is_kind[3]).then(-1.0).when(is_kind[4]).then(float("nan")).otherwise("quantity").alias("quantity"),
        pl.when(is_kind[5]).then(pl.col("start_at") - pl.duration(minutes=5)).otherwise("end_at").alias("end_at"),
        pl.when(is_kind[6]).then(pl.lit("fortnight")).otherwise("precision").alias("precision"),
        pl.when(is_kind[7]).then(pl.lit("bystander")).otherwise("role").alias("role"),
        pl.when(is_kind[8]).then(None).otherwise("subject_id").alias("subject_id"),
    )  # fmt: skip


def _spread(number: np.ndarray) -> np.ndarray:
    """Return numbers that look like chance, one for each: an odd factor is a bijection of 62 bits."""
    return ((number.astype(np.uint64) + np.uint64(1)) * np.uint64(_SPREAD) % np.uint64(_MODULUS)).astype(np.int64)


def _micros(seconds: np.ndarray) -> pl.Series:
    return pl.Series(np.floor(seconds).astype(np.int64) * 1_000_000).cast(pl.Datetime("us", "UTC"))


def _names(names: tuple[str, ...], places: np.ndarray) -> pl.Series:
    return pl.Series(list(names), dtype=pl.String).gather(pl.Series(places.astype(np.uint32)))
