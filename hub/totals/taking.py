"""Which programme an act is told in, if any. Pure. ADR 0034.

An act is told in one programme: two that told the same gram would both claim it, and their totals could be subtracted from
one another. The programme that reported the act in its own file comes first; then the one that the person joined first.
"""

from datetime import date
from typing import Any

import polars as pl

from standards.regions import load_regions, province_of

UTC_US = pl.Datetime("us", "UTC")
MUNICIPALITIES = (11, 12, 31, 50)
"""First two digits of Beijing, Tianjin, Shanghai and Chongqing, which are their own city. Source: GB/T 2260."""

ACT_SCHEMA: dict[str, Any] = {
    "event_id": pl.Int64(), "subject_id": pl.Int64(), "start_us": pl.Int64(), "behaviour": pl.String(),
    "region": pl.Int64(),
}  # fmt: skip
PROGRAMME_SCHEMA: dict[str, Any] = {
    "programme": pl.String(), "since_day": pl.Int32(), "until_day": pl.Int32(), "regions": pl.List(pl.Int32()),
    "behaviours": pl.List(pl.String()), "own_file": pl.Boolean(), "participant": pl.String(),
    "closed_after": pl.Int64(),
}  # fmt: skip
MEMBERSHIP_SCHEMA: dict[str, Any] = {
    "membership_id": pl.String(), "programme": pl.String(), "subject_id": pl.Int64(), "joined_us": pl.Int64(),
    "joined_after": pl.Int64(), "left_after": pl.Int64(),
}  # fmt: skip
OWN_SCHEMA: dict[str, Any] = {"event_id": pl.Int64(), "participant": pl.String(), "reported_in": pl.Int64()}
_OWN, _JOINED = 0, 1


def label_places(acts: pl.DataFrame) -> pl.DataFrame:
    """Add `province`, `city` and `day` (yyyymmdd in Asia/Shanghai) to acts with `region` and `start_us`.

    A code of no known province gives 0 for both, a code of a whole province 0 for the city.
    """
    code = pl.col("region")
    province = code // 10_000 * 10_000
    known = province.is_in([one for one in load_regions() if one == province_of(one)])
    itself = (code // 10_000).is_in(MUNICIPALITIES)
    city = pl.when(itself).then(province).when(code % 10_000 >= 100).then(code // 100 * 100).otherwise(0)
    return acts.with_columns(
        province=pl.when(known).then(province).otherwise(0).cast(pl.Int32),
        city=pl.when(known).then(city).otherwise(0).cast(pl.Int32),
        day=day_number(),
    )


def day_number() -> pl.Expr:
    """Return the day of `start_us` in Asia/Shanghai as the number yyyymmdd."""
    local = pl.col("start_us").cast(UTC_US).dt.convert_time_zone("Asia/Shanghai")
    return (local.dt.year() * 10_000 + local.dt.month().cast(pl.Int32) * 100 + local.dt.day()).cast(pl.Int32)


def take(acts: pl.DataFrame, programmes: pl.DataFrame, memberships: pl.DataFrame, own: pl.DataFrame) -> pl.DataFrame:
    """Say of acts in which programme each is told.

    Args:
        acts: event_id, subject_id, start_us, behaviour, province, city, day, and of the release that tells them
            `release_id` and `last_window`.
        programmes: PROGRAMME_SCHEMA. memberships: MEMBERSHIP_SCHEMA, ended ones too.
        own: OWN_SCHEMA, which participants reported an act themselves, and in which window first.

    Returns:
        The acts with `programme`, "" for none. Who left before a release is in none of it, also not with earlier acts;
        who joined is in it with acts from then on.
    """
    kept = ["event_id", "release_id", "start_us", "behaviour", "province", "city", "day"]
    standing = (pl.col("joined_after") < pl.col("release_id")) & (
        pl.col("left_after").is_null() | (pl.col("left_after") >= pl.col("release_id"))
    )
    joined = (
        acts.select(*kept, "subject_id")
        .join(memberships.drop_nulls("subject_id"), on="subject_id", how="inner")
        .filter(standing & (pl.col("start_us") >= pl.col("joined_us")))
        .select(*kept, "programme", rank=pl.lit(_JOINED), since="joined_us")
    )
    reported = (
        acts.select(*kept, "last_window")
        .join(own, on="event_id", how="inner")
        .filter(pl.col("reported_in") <= pl.col("last_window"))
        .join(programmes.filter("own_file").select("programme", "participant"), on="participant", how="inner")
        .select(*kept, "programme", rank=pl.lit(_OWN), since=pl.lit(0, pl.Int64()))
    )
    candidates = pl.concat([joined, reported]).join(programmes, on="programme", how="inner").filter(_takes())
    first = candidates.sort("rank", "since", "programme").unique("event_id", keep="first", maintain_order=True)
    found = acts.join(first.select("event_id", "programme"), on="event_id", how="left")
    return found.with_columns(pl.col("programme").fill_null(""))


def number_of(day: date) -> int:
    """Return a day as the number yyyymmdd."""
    return day.year * 10_000 + day.month * 100 + day.day


def _takes() -> pl.Expr:
    """Whether a programme takes an act, beside whose it is."""
    everywhere, everything = pl.col("regions").list.len() == 0, pl.col("behaviours").list.len() == 0
    here = pl.col("regions").list.contains(pl.col("province")) | pl.col("regions").list.contains(pl.col("city"))
    open_then = pl.col("closed_after").is_null() | (pl.col("closed_after") >= pl.col("release_id"))
    return (
        (pl.col("day") >= pl.col("since_day"))
        & (pl.col("day") <= pl.col("until_day"))
        & (everywhere | here)
        & (everything | pl.col("behaviours").list.contains(pl.col("behaviour")))
        & open_then
    )
