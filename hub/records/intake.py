"""Which rows of a delivery are new, replayed or in conflict, and which version each becomes. Pure.

PRODUCT, tiers T0 and T1: same id and same content is a replay; same id and other content is a new version where the
platform's way of correcting allows one, else a conflict. Nothing is overwritten: an older version stays and is marked
with the record that superseded it, in whatever order the two arrived.
"""

from dataclasses import dataclass
from enum import StrEnum

import polars as pl

KNOWN_SCHEMA = {
    "source_id": pl.String(),
    "digest": pl.Binary(),
    "version": pl.Int64(),
    "record_id": pl.Int64(),
    "superseded": pl.Boolean(),
}


class CorrectionMode(StrEnum):
    """How a platform corrects what it said before; part of each connector's description."""

    VERSION = "version"  # the row carries a version that rises
    REPLACE = "replace"  # the same id comes again with other content; the later arrival is the newer
    NONE = "none"  # a record never changes


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake:
    """A delivery's rows sorted by what happens to them.

    `fresh` has the translated columns plus `digest`, the final `version` and `newest` (no later version is known).
    `replayed` and `conflicting` have `row`, `delivery` and `source_id`. `standing` has the stored newest record of each
    source id.
    """

    fresh: pl.DataFrame
    replayed: pl.DataFrame
    conflicting: pl.DataFrame
    standing: pl.DataFrame


def sort_rows(rows: pl.DataFrame, known: pl.DataFrame, mode: CorrectionMode) -> Intake:
    """Sort translated rows against what is stored under the same source ids.

    Args:
        rows: TRANSLATED columns plus `digest` (Binary) and `delivery`, in the order of the delivery.
        known: KNOWN_SCHEMA, every stored version of the source ids in `rows`.
        mode: what the connector says about corrections.
    """
    rows = rows.sort("row")
    seen = rows.join(known.select("source_id", "digest", stored=pl.lit(True)), on=["source_id", "digest"], how="left")
    again = pl.col("stored").is_not_null() | (pl.int_range(pl.len()).over("source_id", "digest") > 0)
    replayed = seen.filter(again)
    other = seen.filter(~again).drop("stored")
    highest = known.group_by("source_id").agg(stored_version=pl.col("version").max())
    other = other.join(highest, on="source_id", how="left", maintain_order="left")
    clash = _clashes(other, known, mode)
    conflicting = other.filter(clash)
    fresh = other.filter(~clash)
    if mode is CorrectionMode.REPLACE:
        nth = pl.int_range(1, pl.len() + 1).over("source_id")
        fresh = fresh.with_columns(version=pl.col("stored_version").fill_null(0) + nth)
    fresh = fresh.with_columns(
        newest=(pl.col("version") == pl.col("version").max().over("source_id"))
        & (pl.col("version") > pl.col("stored_version").fill_null(0))
    ).drop("stored_version")
    names = ["row", "delivery", "source_id"]
    return Intake(
        fresh=fresh,
        replayed=replayed.select(names),
        conflicting=conflicting.select(names),
        standing=known.filter(~pl.col("superseded")).select("source_id", standing_id="record_id"),
    )


def _clashes(rows: pl.DataFrame, known: pl.DataFrame, mode: CorrectionMode) -> pl.Series:
    """Rows that say something else under an identity that is taken; the first to come keeps it."""
    if mode is CorrectionMode.REPLACE:
        return pl.repeat(False, len(rows), eager=True)
    key = ["source_id"] if mode is CorrectionMode.NONE else ["source_id", "version"]
    taken = known.select(key).unique().with_columns(taken=pl.lit(True))
    marked = rows.select(key).join(taken, on=key, how="left", maintain_order="left")
    repeated = pl.int_range(pl.len()).over(key) > 0
    return marked.select(pl.col("taken").is_not_null() | repeated).to_series()
