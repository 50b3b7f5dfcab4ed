"""What another methodology or policy would count, group by group: the sums of two clearings of the same records. Pure.

Everything is asked for lazily, so that the caller may give all records or a part of them; the parts add up.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from standards.behaviours import accepted_behaviours
from standards.regions import load_regions

GROUP = ("platform", "region", "behaviour")
MOVED_SCHEMA = pl.Schema(
    {
        "platform": pl.String(),
        "region": pl.Int32(),
        "behaviour": pl.String(),
        "records": pl.Int64(),
        "changed": pl.Int64(),
        "from_mg": pl.Int64(),
        "to_mg": pl.Int64(),
    }
)
TURN = ("platform", "behaviour", "from_verdict", "to_verdict")
TURNS_SCHEMA = pl.Schema({**dict.fromkeys(TURN, pl.String()), "records": pl.Int64()})
LARGEST_SCHEMA = pl.Schema(
    {
        "record_id": pl.Int64(),
        "platform": pl.String(),
        "region": pl.Int32(),
        "behaviour": pl.String(),
        "from_mg": pl.Int64(),
        "to_mg": pl.Int64(),
        "from_verdict": pl.String(),
        "to_verdict": pl.String(),
        "from_rule": pl.String(),
        "to_rule": pl.String(),
        "from_reason": pl.String(),
        "to_reason": pl.String(),
    }
)
_SUMS = ("records", "changed", "from_mg", "to_mg")


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """What two clearings of the same records counted."""

    groups: pl.DataFrame
    """MOVED_SCHEMA, by platform, province and behaviour, each null where it is not told or not known."""
    turns: pl.DataFrame
    """TURNS_SCHEMA: how many records of a platform and behaviour got which verdicts; equal ones too."""
    largest: pl.DataFrame
    """LARGEST_SCHEMA: the records whose milligrams changed most, the largest change first."""

    @property
    def verdicts(self) -> pl.DataFrame:
        """`from_verdict`, `to_verdict`, `records`: the same over all platforms and behaviours."""
        return self.turns_by()

    def turns_by(self, *columns: str) -> pl.DataFrame:
        """Return how many records got which verdicts, by `platform`, `behaviour`, both or neither."""
        names = [*columns, "from_verdict", "to_verdict"]
        return self.turns.group_by(names).agg(pl.col("records").sum()).sort(names)

    def total(self, column: str) -> int:
        """Return the sum of a column of `groups`."""
        return int(self.groups[column].sum())

    def by(self, column: str) -> pl.DataFrame:
        """Return the sums by platform, region or behaviour, the largest difference first."""
        sums = self.groups.group_by(column).agg(pl.col(_SUMS).sum())
        return sums.sort((pl.col("to_mg") - pl.col("from_mg")).abs(), column, descending=[True, False])


def compare(records: pl.LazyFrame, before: pl.LazyFrame, after: pl.LazyFrame, *, largest: int) -> Moved:
    """Sum up what was counted for the same records by two clearings.

    Args:
        records: `record_id`, `platform`, `region` and `behaviour` as the platforms told them.
        before: DECISION (`record_id`, `verdict`, `rule`, `reason`, `counted_mg` of it) of every record by the one clearing;
            `after` by the other.
        largest: how many single changes to name.
    """
    province = pl.col("region") // 10_000 * 10_000
    provinces = [code for code in load_regions() if code % 10_000 == 0]
    told = records.select(
        "record_id",
        "platform",
        pl.when(province.is_in(provinces)).then(province).alias("region"),
        pl.when(pl.col("behaviour").is_in(list(accepted_behaviours()))).then("behaviour").alias("behaviour"),
    )
    both = told.join(_decided(before, "from"), on="record_id").join(_decided(after, "to"), on="record_id")
    change = (pl.col("to_mg") - pl.col("from_mg")).abs()
    groups = both.group_by(GROUP).agg(
        records=pl.len().cast(pl.Int64),
        changed=(change > 0).sum().cast(pl.Int64),
        from_mg=pl.col("from_mg").sum(),
        to_mg=pl.col("to_mg").sum(),
    )
    turns = both.group_by(TURN).agg(records=pl.len().cast(pl.Int64))
    most = both.filter(change > 0).sort(change, "record_id", descending=[True, False]).head(largest)
    by_group, by_verdict, changes = pl.collect_all([groups, turns, most], engine="streaming")
    return _ordered(by_group, by_verdict, changes, largest)


def add_up(parts: Sequence[Moved], *, largest: int) -> Moved:
    """Return what several parts of the records come to together."""
    return _ordered(
        pl.concat([MOVED_SCHEMA.to_frame(), *(part.groups for part in parts)]).group_by(GROUP).sum(),
        pl.concat([TURNS_SCHEMA.to_frame(), *(part.turns for part in parts)]).group_by(TURN).sum(),
        pl.concat([LARGEST_SCHEMA.to_frame(), *(part.largest for part in parts)]),
        largest,
    )


def percent(from_mg: int, to_mg: int) -> float | None:
    """Return the change in hundredths of a percent's precision; None if there was nothing to change."""
    return None if from_mg == 0 else round((to_mg - from_mg) * 10_000 / from_mg) / 100


def _decided(decisions: pl.LazyFrame, side: str) -> pl.LazyFrame:
    return decisions.select(
        "record_id",
        pl.col("counted_mg").alias(f"{side}_mg"),
        *(pl.col(name).cast(pl.String).alias(f"{side}_{name}") for name in ("verdict", "rule", "reason")),
    )


def _ordered(groups: pl.DataFrame, turns: pl.DataFrame, most: pl.DataFrame, largest: int) -> Moved:
    change = (pl.col("to_mg") - pl.col("from_mg")).abs()
    return Moved(
        groups=groups.select(list(MOVED_SCHEMA)).cast(MOVED_SCHEMA).sort(GROUP),
        turns=turns.select(list(TURNS_SCHEMA)).cast(TURNS_SCHEMA).sort(TURN),
        largest=most.select(list(LARGEST_SCHEMA))
        .cast(LARGEST_SCHEMA)
        .sort(change, "record_id", descending=[True, False])
        .head(largest),
    )
