"""Platforms whose figures of a window are not what their own earlier windows were. Pure.

A platform is only ever compared with itself, so a large or a careful one is no anomaly. The middle of its earlier windows
and the spread around it are the median and the median absolute deviation: one bad window among them moves neither. A
figure has drifted when it is further off than the policy's number of robust standard deviations and than its floor.
Drift holds nothing; it says where to look. Sources: Hampel (1974); Iglewicz and Hoaglin (1993), 3.5 deviations.
"""

from collections.abc import Sequence
from typing import Any

import polars as pl

from standards.plausibility import DriftRules
from standards.policy import ClearingPolicy

MEASURES: dict[str, Any] = {
    "window_id": pl.Int64(),
    "platform": pl.String(),
    "measure": pl.String(),
    "behaviour": pl.String(),
    "value": pl.Float64(),
    "records": pl.Int64(),
}
"""One figure of one platform and window; `behaviour` is null where it is about all."""
DRIFT: dict[str, Any] = {
    "platform": pl.String(),
    "measure": pl.String(),
    "behaviour": pl.String(),
    "from_value": pl.Float64(),
    "to_value": pl.Float64(),
    "deviations": pl.Float64(),
    "windows": pl.Int64(),
    "records": pl.Int64(),
}
"""A figure that drifted: from the median of so many earlier windows to the window's own, so many deviations away.

`deviations` is null where the earlier windows were all alike, so that any step is infinitely many.
"""
SHARES = ("duplicate", "held", "rejected")
# Of a normal distribution the standard deviation is so many median absolute deviations.
SIGMA = 1.4826
_MICRO = 1_000_000
_DAY_US = 86_400_000_000


def measure_window(records: pl.DataFrame, window_id: int, policy: ClearingPolicy) -> pl.DataFrame:
    """Return MEASURES of every platform in one window.

    Args:
        records: platform, behaviour, unit, subject_id, start_us, quantity_micro, reference_mg, verdict (store order does
            not matter).
        window_id: the window that they came in.
        policy: says where a service day begins.
    """
    day = (pl.col("start_us") + policy.zone_offset_s * 1_000_000) // _DAY_US
    told = records.lazy().with_columns(day=day)
    by_platform = told.group_by("platform").agg(
        pl.len().cast(pl.Int64).alias("records"),
        (pl.len() / pl.struct("subject_id", "day").n_unique()).alias("records_per_person_day"),
        *[((pl.col("verdict") == name).sum() * 1000 / pl.len()).alias(f"{name}_permille") for name in SHARES],
    )
    by_behaviour = told.group_by("platform", "behaviour").agg(
        pl.len().cast(pl.Int64).alias("records"),
        (pl.col("quantity_micro").median() / _MICRO).alias("median_quantity"),
        pl.col("reference_mg").median().alias("median_mg"),
    )
    wide, split = pl.collect_all([by_platform, by_behaviour])
    return pl.concat([_long(wide.with_columns(behaviour=pl.lit(None, pl.String)), window_id), _long(split, window_id)])


def _long(wide: pl.DataFrame, window_id: int) -> pl.DataFrame:
    keys = ["platform", "behaviour", "records"]
    long = wide.unpivot(index=keys, variable_name="measure", value_name="value").drop_nulls("value")
    return long.with_columns(window_id=pl.lit(window_id, pl.Int64)).select(list(MEASURES)).cast(MEASURES)  # type: ignore[arg-type]


def find_drift(parts: Sequence[pl.DataFrame], window_id: int, rules: DriftRules) -> pl.DataFrame:
    """Return DRIFT of one window against the windows before it, the furthest off first.

    Args:
        parts: MEASURES of that window and of earlier ones, in any order; later windows are not looked at.
    """
    measures = pl.concat([pl.DataFrame(schema=MEASURES), *parts]).filter(pl.col("records") >= rules.min_records)
    key = ["platform", "measure", "behaviour"]
    earlier = measures.filter(pl.col("window_id") < window_id).sort("window_id")
    recent = earlier.group_by(key).tail(rules.history)
    usual = recent.group_by(key).agg(
        from_value=pl.col("value").median(),
        spread=(pl.col("value") - pl.col("value").median()).abs().median(),
        windows=pl.len().cast(pl.Int64),
    )
    now = measures.filter(pl.col("window_id") == window_id).select(*key, "records", to_value="value")
    both = now.join(usual.filter(pl.col("windows") >= rules.min_windows), on=key, nulls_equal=True)
    off = (pl.col("to_value") - pl.col("from_value")).abs()
    floor = (
        pl.when(pl.col("measure").str.ends_with("_permille"))
        .then(pl.lit(float(rules.floor_share_permille)))
        .otherwise(pl.col("from_value").abs() * rules.floor_permille / 1000)
    )
    sigma = pl.col("spread") * SIGMA
    told = both.with_columns(off=off, deviations=pl.when(sigma > 0).then(off / sigma)).filter(
        (pl.col("off") > floor) & (pl.col("off") * 1000 > sigma * rules.deviations_permille)
    )
    ranked = told.sort(
        pl.col("deviations").fill_null(float("inf")), *key, descending=[True, False, False, False], nulls_last=False
    )
    return ranked.select(list(DRIFT)).cast(DRIFT)  # type: ignore[arg-type]
