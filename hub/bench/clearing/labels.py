"""The truth about every record, in the layout that a labelled folder has: what it tells of, and what may count. Pure.

A unit is one physical reduction: one act, or acts that claim the same grams. What may count for it is a range, because
the design leaves open which side of an overlap counts:

| Unit | May count |
|---|---|
| one act, however often told | once |
| no-drive day and its trips; charge and the kilometres driven with it | one side |
| day of steps and the walks in it | 0.75 to 1.08 of the day |
| day total and the rides in it | the rides of the day, give or take a tenth |
| ride shared by two people | one ride, give or take a tenth; both, where a record leaves the ride's key out |
| once-only act, claimed again | once |
| implausible act, bad row | nothing |
"""

from dataclasses import dataclass

import polars as pl

from hub.bench.clearing.acts import KINDS

TRUTH_SCHEMA = pl.Schema({
    "record_id": pl.Int64(),
    "event_id": pl.Int64(),
    "unit_id": pl.Int64(),
    "expected": pl.String(),
    "act": pl.String(),
    "family": pl.String(),
    "overlap": pl.String(),
    "pairable": pl.Boolean(),
    "alone": pl.Boolean(),
    "divisible": pl.Boolean(),
    "mg": pl.Int64(),
    "unit_lo_mg": pl.Int64(),
    "unit_hi_mg": pl.Int64(),
})  # fmt: skip
TRUTH_MEANING = {
    "record_id": "the record",
    "event_id": "the real act that it tells of",
    "unit_id": "the physical reduction: acts that claim the same grams share it",
    "expected": "once, overlapped, set_aside (implausible) or rejected (a bad row)",
    "act": "the behaviour that really happened",
    "family": "behaviours that platforms mix up share one",
    "overlap": "why the unit has several acts, or none",
    "pairable": "takes part in precision and recall of pairs",
    "alone": "nothing else claims these grams: teaches what a platform's amounts usually are",
    "divisible": "a part of it may count",
    "mg": "what the whole act is worth",
    "unit_lo_mg": "the least that may count for the unit",
    "unit_hi_mg": "the most",
}
EXPECTED = ("once", "overlapped", "set_aside", "rejected")
CONTESTED = ("nodrive", "steps", "charge", "aggregate", "carpool", "once")


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """Records with their truth."""

    records: pl.DataFrame
    """The public record columns."""
    truth: pl.DataFrame
    """TRUTH_SCHEMA."""


def label(told: pl.DataFrame) -> pl.DataFrame:
    """Add what may count.

    Args:
        told: one row per record: record_id, event_id, unit_id, act, family, kind (into KINDS), side, mg, fake, bad,
            day (the act itself is a whole day), told (a quantity can be known), origin (carries the act's own key).

    Returns:
        TRUTH_SCHEMA, in the rows' order.
    """
    units = _units(told.filter(~pl.col("bad")))
    joined = told.join(units, on="unit_id", how="left", maintain_order="left")
    contested = pl.col("contested").fill_null(False)
    kind = pl.col("kind").replace_strict(dict(enumerate(KINDS)), return_dtype=pl.String)
    day_total = (kind == "aggregate") & pl.col("day")
    return joined.select(
        "record_id", "event_id", "unit_id",
        pl.when("bad").then(pl.lit("rejected")).when("fake").then(pl.lit("set_aside"))
        .when(contested).then(pl.lit("overlapped")).otherwise(pl.lit("once")).alias("expected"),
        "act", "family", kind.alias("overlap"),
        (~pl.col("bad") & ~pl.col("fake") & ~day_total & ~(contested & (kind == "once"))).alias("pairable"),
        (~pl.col("bad") & ~pl.col("fake") & ~contested & (kind != "once") & ~day_total).alias("alone"),
        (contested & (kind != "once") & ((pl.col("side") == 1) | (kind == "carpool"))).alias("divisible"),
        pl.when("bad").then(0).otherwise("mg").alias("mg"),
        pl.when("bad").then(0).otherwise("unit_lo_mg").alias("unit_lo_mg"),
        pl.when("bad").then(0).otherwise("unit_hi_mg").alias("unit_hi_mg"),
    ).cast(TRUTH_SCHEMA)  # fmt: skip


def _units(told: pl.DataFrame) -> pl.DataFrame:
    """Return unit_id, contested and the range of what may count."""
    # Where nobody told how much it was, nobody can demand an amount.
    acts = told.group_by("unit_id", "event_id").agg(
        pl.col("kind", "side", "mg", "fake").first(), pl.col("origin").any(),
        least=pl.when(pl.col("told").any()).then(pl.col("mg").first()).otherwise(0),
    )  # fmt: skip
    first, second = pl.col("side") == 0, pl.col("side") == 1
    sums = acts.group_by("unit_id").agg(
        pl.col("kind", "fake").first(), both=first.any() & second.any(), total=second.any(), acts=pl.len(),
        keyed=pl.col("origin").all(), lo0=pl.col("least").filter(first).sum(), hi0=pl.col("mg").filter(first).sum(),
        lo1=pl.col("least").filter(second).sum(), hi1=pl.col("mg").filter(second).sum(),
        one_lo=pl.col("least").min(), one_hi=pl.col("mg").max(),
    )  # fmt: skip
    col = pl.col
    is_kind = {name: col("kind") == place for place, name in enumerate(KINDS)}
    contested = (
        pl.when(is_kind["none"]).then(False)
        .when(is_kind["once"]).then(col("acts") > 1)
        .when(is_kind["aggregate"]).then(col("total"))
        .otherwise("both")
    )  # fmt: skip
    low = (
        pl.when("fake").then(0.0)
        .when(is_kind["once"]).then("one_lo")
        .when(~col("contested")).then(col("lo0") + col("lo1"))
        .when(is_kind["aggregate"]).then(col("lo1") * 0.9)
        .when(is_kind["steps"]).then(col("lo1") * 0.75)
        .when(is_kind["carpool"]).then(col("one_lo") * 0.9)
        .otherwise(pl.min_horizontal("lo0", "lo1"))
    )  # fmt: skip
    high = (
        pl.when("fake").then(0.0)
        .when(is_kind["once"]).then("one_hi")
        .when(~col("contested")).then(col("hi0") + col("hi1"))
        .when(is_kind["aggregate"]).then(col("hi1") * 1.1)
        .when(is_kind["steps"]).then(pl.max_horizontal(col("hi1") * 1.08, "hi0"))
        .when(is_kind["carpool"] & col("keyed")).then(col("one_hi") * 1.1)
        .when(is_kind["carpool"]).then(col("hi0") + col("hi1"))
        .otherwise(pl.max_horizontal("hi0", "hi1"))
    )  # fmt: skip
    ranged = sums.with_columns(contested=contested).with_columns(
        unit_lo_mg=low.cast(pl.Int64), unit_hi_mg=high.cast(pl.Int64)
    )
    return ranged.select("unit_id", "contested", "unit_lo_mg", "unit_hi_mg")
