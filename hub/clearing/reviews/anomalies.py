"""Holds in figures: how much of what there was, and how much there may be. Pure.

What the kernel decided is not decided again here. A figure says what a reviewer would look up: the quantity, the speed, the
acts of that day, the minutes between two places, the days that are alike; and the policy's limit beside it.
"""

from typing import Any

import polars as pl

from standards.plausibility import borders_between
from standards.policy import ClearingPolicy
from standards.regions import province_of
from standards.schema import Precision

FIGURES: dict[str, Any] = {
    "record_id": pl.Int64(),
    "value": pl.Float64(),
    "limit": pl.Float64(),
    "measure": pl.String(),
    "other_record_id": pl.Int64(),
}
"""Of a hold: what was measured, against which limit, in which unit; the other act, where the hold is about two.

All but the record are null where the hold is not about a figure: a tie, two trips at once, a person's own document.
"""
SUMMARY: dict[str, Any] = {
    "rule": pl.String(),
    "reason": pl.String(),
    "holds": pl.Int64(),
    "people": pl.Int64(),
    "reference_mg": pl.Int64(),
    "measure": pl.String(),
    "limit": pl.Float64(),
    "median": pl.Float64(),
    "most": pl.Float64(),
}
_US, _HOUR_S, _DAY_US = 1_000_000, 3_600, 86_400_000_000
_STEPS = ("same_steps_every_day", "steady_steps", "full_steps_every_day")


def figures_of(holds: pl.DataFrame, acts: pl.DataFrame, policy: ClearingPolicy) -> pl.DataFrame:
    """Return FIGURES of open holds, one row each, in the order of the holds.

    Args:
        holds: holds.ACTS, one row an act.
        acts: holds.ACTS of all reports of these people that stand.
        policy: the policy whose limits are shown.
    """
    told = _with_days(_with_quantity(holds, acts), policy)
    roots = _with_days(_with_quantity(acts.filter(pl.col("record_id") == pl.col("event_id")), acts), policy)
    parts = [
        _of_one(told, policy),
        _of_days(told, roots, policy),
        _of_places(told, roots, policy),
        _of_steps(told, roots, policy),
    ]
    found = pl.concat([part.select(list(FIGURES)).cast(FIGURES) for part in parts])  # type: ignore[arg-type]
    return holds.select("record_id").join(found, on="record_id", how="left", maintain_order="left")


def summarise(holds: pl.DataFrame, figures: pl.DataFrame) -> pl.DataFrame:
    """Return SUMMARY: the holds by rule and reason, the most frequent first, with the middle and the largest figure."""
    both = holds.join(figures, on="record_id", how="left")
    sums = both.group_by("rule", "reason", "measure").agg(
        holds=pl.len().cast(pl.Int64),
        people=pl.col("subject_id").n_unique().cast(pl.Int64),
        reference_mg=pl.col("reference_mg").sum(),
        limit=pl.col("limit").min(),
        median=pl.col("value").median(),
        most=pl.col("value").max(),
    )
    return (
        sums.select(list(SUMMARY))
        .cast(SUMMARY)  # type: ignore[arg-type]
        .sort("holds", "rule", "reason", "measure", descending=[True, False, False, False])
    )


def _with_quantity(acts: pl.DataFrame, reports: pl.DataFrame) -> pl.DataFrame:
    """Add the quantity of the act: its own record's, else the largest that another report of it tells."""
    lent = reports.group_by("event_id").agg(lent=pl.col("quantity_micro").max())
    joined = acts.join(lent, on="event_id", how="left", maintain_order="left")
    return joined.with_columns(quantity=pl.coalesce("quantity_micro", "lent") / _US)


def _with_days(acts: pl.DataFrame, policy: ClearingPolicy) -> pl.DataFrame:
    """Add the number of the service day, in the zone where a day begins if nothing else is known, and the length."""
    is_day = pl.col("precision") == str(Precision.DAY)
    begin = pl.col("start_us") + policy.zone_offset_s * _US + pl.when(is_day).then(_DAY_US // 2).otherwise(0)
    return acts.with_columns(
        day=begin // _DAY_US, is_day=is_day, length_s=(pl.col("end_us") - pl.col("start_us")) / _US
    )


def _limits(policy: ClearingPolicy, name: str) -> dict[str, int | None]:
    return {code: getattr(limits, name) for code, limits in policy.plausible.items()}


def _limit(policy: ClearingPolicy, name: str) -> pl.Expr:
    return pl.col("behaviour").replace_strict(_limits(policy, name), default=None, return_dtype=pl.Float64)


def _of_one(holds: pl.DataFrame, policy: ClearingPolicy) -> pl.DataFrame:
    """Figures of an act by itself."""
    reason, energy = pl.col("reason"), policy.doubts.energy
    of_day = pl.coalesce(pl.when("is_day").then(_limit(policy, "max_day_quantity")), _limit(policy, "max_quantity"))
    power = float(energy.max_kw) if energy else None
    # A minute's grace, as the kernel gives to clocks that tell minutes.
    per_hour = pl.col("quantity") * _HOUR_S / (pl.col("length_s") + 60)
    longest = pl.when("is_day").then(2.0 * 24).otherwise(policy.match.longest_s / _HOUR_S)
    return holds.filter(
        reason.is_in(["implausible_quantity", "implausible_speed", "implausible_power", "implausible_duration"])
    ).select(
        "record_id",
        value=pl.when(reason == "implausible_quantity")
        .then("quantity")
        .when(reason == "implausible_duration")
        .then(pl.col("length_s") / _HOUR_S)
        .otherwise(per_hour),
        limit=pl.when(reason == "implausible_quantity")
        .then(of_day)
        .when(reason == "implausible_duration")
        .then(longest)
        .when(reason == "implausible_power")
        .then(pl.lit(power, pl.Float64))
        .otherwise(_limit(policy, "max_per_hour")),
        measure=pl.when(reason == "implausible_quantity")
        .then(pl.lit("quantity"))
        .when(reason == "implausible_duration")
        .then(pl.lit("hours"))
        .when(reason == "implausible_power")
        .then(pl.lit("kW"))
        .otherwise(pl.lit("per hour")),
        other_record_id=pl.lit(None, pl.Int64),
    )


def _of_days(holds: pl.DataFrame, roots: pl.DataFrame, policy: ClearingPolicy) -> pl.DataFrame:
    """Figures of a person's day of one behaviour: acts, or what they come to."""
    reasons = {"implausible_day": "acts a day", "implausible_day_total": "a day", "implausible_energy": "kWh a day"}
    key = ["subject_id", "behaviour", "day"]
    days = (
        roots.filter(~pl.col("is_day"))
        .group_by(key)
        .agg(acts=pl.len().cast(pl.Float64), total=pl.col("quantity").fill_null(1).sum())
    )
    asked = holds.filter(pl.col("reason").is_in(list(reasons))).join(days, on=key, how="left")
    energy = policy.doubts.energy
    most_acts = pl.coalesce(_limit(policy, "max_day_acts"), pl.lit(float(policy.max_day_acts)))
    of_acts = pl.col("reason") == "implausible_day"
    return asked.select(
        "record_id",
        value=pl.when(of_acts).then("acts").otherwise("total"),
        limit=pl.when(of_acts)
        .then(most_acts)
        .when(pl.col("reason") == "implausible_energy")
        .then(pl.lit(float(energy.max_day_kwh) if energy else None, pl.Float64))
        .otherwise(_limit(policy, "max_day_total")),
        measure=pl.col("reason").replace_strict(reasons, return_dtype=pl.String),
        other_record_id=pl.lit(None, pl.Int64),
    )


def _of_places(holds: pl.DataFrame, roots: pl.DataFrame, policy: ClearingPolicy) -> pl.DataFrame:
    """The speed that the road between two places would have taken, beside the fastest; and the act at the other place."""
    travel = policy.doubts.travel
    asked = holds.filter(pl.col("reason") == "impossible_travel")
    if travel is None or asked.is_empty():
        return pl.DataFrame(schema=FIGURES)
    there = roots.filter(
        ~pl.col("is_day")
        & pl.col("region").is_not_null()
        & pl.col("behaviour").is_in(list(travel.behaviours))
        & pl.col("role").is_in(list(travel.roles))
        & (pl.col("verdict") == "counted")
    ).select(
        "subject_id", other_record_id="record_id", at="region", from_us="start_us", until_us="end_us", took_s="length_s"
    )
    pairs = asked.join(there, on="subject_id").filter(pl.col("region") // 10_000 != pl.col("at") // 10_000)
    km = [_least_km(one, other, travel.km_by_borders) for one, other in pairs.select("region", "at").iter_rows()]
    between = pl.max_horizontal(
        pl.lit(0), pl.col("start_us") - pl.col("until_us"), pl.col("from_us") - pl.col("end_us")
    )
    during = pl.col("length_s") + pl.col("took_s")
    pairs = pairs.with_columns(pl.Series("km", km, dtype=pl.Float64)).with_columns(
        # The acts' own time counts as much as local transport gets on in it.
        hours=(between / _US + during * travel.local_kmh / travel.fastest_kmh) / _HOUR_S
    )
    fast = pairs.with_columns(value=pl.col("km") / pl.max_horizontal("hours", pl.lit(1 / 3600)))
    found = fast.filter(pl.col("km") > 0).sort("value", "other_record_id", descending=[True, False])
    return found.unique("record_id", keep="first", maintain_order=True).select(
        "record_id", "value", "other_record_id", limit=pl.lit(float(travel.fastest_kmh)), measure=pl.lit("km/h")
    )


def _least_km(one: int, other: int, km_by_borders: tuple[int, ...]) -> float:
    borders = borders_between(province_of(one), province_of(other))
    return float(km_by_borders[min(borders, len(km_by_borders) - 1)]) if borders >= 0 else 0.0


def _of_steps(holds: pl.DataFrame, roots: pl.DataFrame, policy: ClearingPolicy) -> pl.DataFrame:
    """How many days of a person's are alike, within the span around each held day."""
    rules = policy.doubts.steps
    asked = holds.filter(pl.col("reason").is_in(_STEPS))
    if rules is None or asked.is_empty():
        return pl.DataFrame(schema=FIGURES)
    days = roots.filter("is_day").select("subject_id", "behaviour", other="day", steps="quantity")
    pairs = asked.join(days, on=["subject_id", "behaviour"]).filter(
        (pl.col("day") - pl.col("other")).abs() < rules.span_days
    )
    most = _limit(policy, "max_day_quantity")
    near = (pl.col("steps") - pl.col("quantity")).abs() * 1000 <= rules.band_permille * pl.max_horizontal(
        "steps", "quantity"
    )
    alike = (
        pl.when(pl.col("reason") == "same_steps_every_day")
        .then(pl.col("steps") == pl.col("quantity"))
        .when(pl.col("reason") == "steady_steps")
        .then(near)
        .otherwise(pl.col("steps") * 1000 >= most * rules.full_permille)
    )
    needed = {_STEPS[0]: rules.same_days, _STEPS[1]: rules.band_days, _STEPS[2]: rules.full_days}
    counted = pairs.filter(alike).group_by("record_id", "reason").agg(value=pl.col("other").n_unique().cast(pl.Float64))
    return counted.select(
        "record_id",
        "value",
        limit=pl.col("reason").replace_strict(needed, return_dtype=pl.Float64) - 1,
        measure=pl.lit("days alike"),
        other_record_id=pl.lit(None, pl.Int64),
    )
