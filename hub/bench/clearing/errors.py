"""Which pairs a result got wrong, sorted into classes: what to mend first. Pure."""

from dataclasses import dataclass

import polars as pl

MOST_RECORDS = 40
"""Events with more records than this are not taken apart: a result that joins everything has no classes."""
SHOWN = ("platform", "role", "behaviour", "start_at", "end_at", "precision", "quantity", "event_key", "payment_key")


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorClass:
    """Wrong pairs of one kind."""

    fault: str
    """missed: one act in two events; joined: two acts in one event."""
    behaviours: str
    evidence: str
    """T1, T2 or T4: what the two records have in common; or that their keys contradict."""
    tellers: str
    """Both platforms, by role and by how they tell the time."""
    pairs: int
    examples: tuple[tuple[int, int], ...]
    """Record ids."""


def find_errors(
    records: pl.DataFrame, truth: pl.DataFrame, decisions: pl.DataFrame, *, examples: int = 3
) -> list[ErrorClass]:
    """Return the classes of wrong pairs, the largest first."""
    told = (
        truth.filter("pairable").select("record_id", "event_id", "family", "act")
        .join(records.select("record_id", *SHOWN), on="record_id")
        .join(decisions.select("record_id", said="event_id"), on="record_id", how="left")
        .with_columns(said=pl.coalesce("said", -pl.col("record_id")), manner=_manner())
    )  # fmt: skip
    missed = _pairs(told, "event_id").filter(pl.col("said") != pl.col("said_2"))
    joined = _pairs(told, "said").filter(
        (pl.col("event_id") != pl.col("event_id_2")) & (pl.col("family") == pl.col("family_2"))
    )
    wrong = pl.concat([missed.with_columns(fault=pl.lit("missed")), joined.with_columns(fault=pl.lit("joined"))])
    sorted_pair = {name: pl.concat_list(name, f"{name}_2").list.sort().list.join(" + ") for name in ("act", "manner")}
    classes = (
        wrong.with_columns(behaviours=sorted_pair["act"], tellers=sorted_pair["manner"], evidence=_evidence())
        .group_by("fault", "behaviours", "evidence", "tellers")
        .agg(pl.len().alias("pairs"), pl.struct("record_id", "record_id_2").sort().head(examples).alias("examples"))
        .sort("pairs", "fault", "behaviours", "evidence", "tellers", descending=[True, False, False, False, False])
    )
    return [
        ErrorClass(**(row | {"examples": tuple(tuple(pair.values()) for pair in row["examples"])}))
        for row in classes.iter_rows(named=True)
    ]


def _manner() -> pl.Expr:
    moment = pl.when(pl.col("start_at") == pl.col("end_at")).then(pl.lit("moment")).otherwise(pl.lit("interval"))
    grain = pl.when(pl.col("precision") == "second").then(moment).otherwise("precision")
    return pl.concat_str("role", grain, separator=" ")


def _pairs(told: pl.DataFrame, by: str) -> pl.DataFrame:
    """Return every pair of rows that agree in one column, once; columns of the second end in `_2`."""
    few = told.filter(pl.len().over(by).is_between(2, MOST_RECORDS))
    other = few.rename({name: f"{name}_2" for name in few.columns})
    return few.join(other, left_on=by, right_on=f"{by}_2", how="inner", coalesce=False).filter(
        pl.col("record_id") < pl.col("record_id_2")
    )


def _evidence() -> pl.Expr:
    keys = ("event_key", "payment_key")
    same = pl.any_horizontal(*((pl.col(key) == pl.col(f"{key}_2")).fill_null(False) for key in keys))
    differ = pl.any_horizontal(*((pl.col(key) != pl.col(f"{key}_2")).fill_null(False) for key in keys))
    content = pl.all_horizontal(*(pl.col(name).eq_missing(pl.col(f"{name}_2")) for name in SHOWN))
    return (
        pl.when(content).then(pl.lit("T1")).when(same).then(pl.lit("T2"))
        .when(differ).then(pl.lit("T4, keys differ")).otherwise(pl.lit("T4"))
    )  # fmt: skip
