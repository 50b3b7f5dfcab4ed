"""How right a clearing result is, held against the truth. Pure.

**Pairs.** Of two records that the result puts into one event, are both of one act (precision); of two records of one act,
are both in one event (recall). Pairs are made within a family of behaviours only. They are never listed, only counted by
groups, so that a result that puts everything into one event costs no more than a sound one.

**Tiers.** A pair belongs to the tier whose evidence it has: T1 the same platform and content, T2 a common event or payment
key, T4 neither. So the same pairs are in a tier whoever decided, and peers can be compared by tier. T3 (two trips at
once), T5 (overlaps), plausibility and input decide about single records and units and are told as that.

**Grams.** Methodology decides what a kilometre is worth, so amounts are never compared with the truth's: a counted record
stands for its whole act. Only where a part may count, its share is what was counted beside what that platform's undisputed
records of the behaviour usually get. What is counted above the range of a unit is double counted; what is missing below it
is wrongly removed, or held if one of the unit's records waits for review. Both are per million true milligrams.
"""

from dataclasses import asdict, dataclass, field

import polars as pl

from hub.bench.clearing.labels import CONTESTED
from standards.behaviours import accepted_behaviours, default_unit
from standards.schema import Precision

PPM = 1_000_000
ENOUGH = 20
"""So many undisputed records make a platform's usual amount; fewer teach nothing."""
CONTENT = [
    "subject_id", "platform", "behaviour", "start_at", "end_at", "precision", "quantity", "unit", "event_key", "payment_key",
    "claimed_mg",
]  # fmt: skip
USUAL_BY = ["platform", "behaviour", "unit", "region"]
_TRAVEL_HOLD = "T3"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Hits among what was said, and among what is true."""

    hits: int
    said: int
    true: int
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """How right one result is."""

    records: int
    pairs: Rates
    double_ppm: float
    removed_ppm: float
    held_ppm: float
    plain_double_ppm: float
    """Double counted in units that nothing else contests: what a matcher without overlap rules is to be measured by."""
    implausible_ppm: float
    """Counted although it cannot have been."""
    overlap_accuracy: float
    held_share: float
    held_needlessly: int
    """Held records that are no implausible act."""
    bad_not_rejected: int
    good_rejected: int
    trips_held: int
    """T3: units with a trip held because the person was on another."""
    trips_rightly_held: int
    """Of these: units that count in full without it."""
    by_behaviour: dict[str, Rates] = field(default_factory=dict)
    by_tier: dict[str, Rates] = field(default_factory=dict)
    overlaps: dict[str, tuple[int, float]] = field(default_factory=dict)
    """By kind: units, and the share whose total is acceptable."""

    def as_document(self) -> dict[str, object]:
        """Return the score as JSON can hold it."""
        return asdict(self)


def score(records: pl.DataFrame, truth: pl.DataFrame, decisions: pl.DataFrame) -> Score:
    """Hold decisions against the truth.

    Args:
        records: the public record columns.
        truth: TRUTH_SCHEMA, a row for every record.
        decisions: DECISION; a record that has none is taken as decided by nobody: in no event, nothing counted.
    """
    told = _told(records, truth, decisions)
    units = _units(told)
    contested = units.filter("contested").group_by("overlap").agg(pl.len(), pl.col("acceptable").mean())
    good = units.filter("contested")["acceptable"]
    is_held, expected = pl.col("verdict") == "held", pl.col("expected")
    bad = expected == "rejected"
    plain = units.filter(~pl.col("contested") & ~pl.col("fake"))
    return Score(
        records=len(told),
        pairs=_pair_rates(told.filter("pairable")),
        double_ppm=_ppm(units, units["double"]),
        removed_ppm=_ppm(units, units["removed"]),
        held_ppm=_ppm(units, units["waiting"]),
        plain_double_ppm=_ppm(units, plain["double"]),
        implausible_ppm=_ppm(units, units.filter("fake")["total"]),
        overlap_accuracy=round(int(good.sum()) / len(good), 6) if len(good) else 1.0,
        held_share=round(told.filter(is_held).height / max(1, len(told)), 6),
        held_needlessly=told.filter(is_held & (expected != "set_aside")).height,
        bad_not_rejected=told.filter(bad & pl.col("verdict").ne_missing("rejected")).height,
        good_rejected=told.filter(~bad & (expected != "set_aside") & (pl.col("verdict") == "rejected")).height,
        trips_held=units.filter("trips_held").height,
        trips_rightly_held=units.filter(pl.col("trips_held") & (pl.col("total") >= pl.col("lo"))).height,
        by_behaviour=_by_behaviour(told.filter("pairable")),
        by_tier=_by_tier(told, units),
        overlaps={kind: (count, round(share, 6)) for kind, count, share in contested.sort("overlap").rows()},
    )


def _told(records: pl.DataFrame, truth: pl.DataFrame, decisions: pl.DataFrame) -> pl.DataFrame:
    """Return the truth with what was told and what was decided; `said` is the event that the result names."""
    decided = decisions.unique("record_id", keep="first", maintain_order=True).select(
        "record_id", pl.col("event_id").alias("said"), "verdict", "rule", "counted_mg"
    )
    joined = (
        truth.join(records.select("record_id", "region", *CONTENT), on="record_id", how="left")
        .join(decided, on="record_id", how="left")
        .join(_default_units(), on=["behaviour", "precision"], how="left")
    )
    return joined.with_columns(content=pl.struct(CONTENT).hash(), unit=pl.col("unit").fill_null(pl.col("default")))


def rates(hits: int, said: int, true: int) -> Rates:
    """Return precision, recall and F1; where nothing was said or nothing is true, nothing was missed."""
    precision, recall = hits / said if said else 1.0, hits / true if true else 1.0
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return Rates(
        hits=hits, said=said, true=true, precision=round(precision, 6), recall=round(recall, 6), f1=round(f1, 6)
    )


# --- pairs ------------------------------------------------------------------------------------------------------------


def _pairs(told: pl.DataFrame, *by: str) -> int:
    """Count the pairs of rows that agree in all these columns, none of which is null."""
    sizes = told.drop_nulls(by).group_by(by).len()["len"].cast(pl.Int64)
    return int((sizes * (sizes - 1) // 2).sum())


def _pair_rates(told: pl.DataFrame, *evidence: str) -> Rates:
    """Return rates of the pairs that agree in the evidence as well."""
    return rates(
        _pairs(told, "said", "event_id", *evidence),
        _pairs(told, "said", "family", *evidence),
        _pairs(told, "event_id", *evidence),
    )


def _by_behaviour(told: pl.DataFrame) -> dict[str, Rates]:
    """Return rates by what really happened; a said pair belongs to the behaviour of either side."""
    placed = told.drop_nulls("said")
    whole = placed.group_by("said", "family").len("whole")
    mine, all_of = pl.col("mine").cast(pl.Int64), pl.col("whole").cast(pl.Int64)
    touching = all_of * (all_of - 1) - (all_of - mine) * (all_of - mine - 1)
    own_shares = placed.group_by("said", "family", "act").len("mine").join(whole, on=["said", "family"])
    said = own_shares.group_by("act").agg((touching // 2).sum().alias("said"))
    found: dict[str, Rates] = {}
    said_of = dict(said.rows())
    for (act,), own in sorted(told.partition_by("act", as_dict=True).items()):
        true = _pairs(own, "event_id")
        if true:
            found[str(act)] = rates(_pairs(own, "said", "event_id"), said_of.get(act, 0), true)
    return found


# --- grams ------------------------------------------------------------------------------------------------------------


def _usual(told: pl.DataFrame) -> pl.DataFrame:
    """Return what undisputed records get per true milligram, by platform, behaviour, unit and region.

    A region may have figures of its own, so it counts; where too few records teach it, wider groups do.
    """
    ratio = told.filter(pl.col("alone") & (pl.col("verdict") == "counted") & (pl.col("mg") > 0)).select(
        *USUAL_BY, ratio=pl.col("counted_mg") / pl.col("mg")
    )
    usual = told.select(USUAL_BY).unique()
    for place, by in enumerate((USUAL_BY, USUAL_BY[1:], USUAL_BY[1:3])):
        seen = ratio.group_by(by).agg(pl.col("ratio").median().alias(f"usual{place}"), pl.len().alias("n"))
        enough = seen.filter(pl.col("n") >= ENOUGH) if place < 2 else seen
        usual = usual.join(enough.drop("n"), on=by, how="left", nulls_equal=True)
    return usual.select(*USUAL_BY, usual=pl.coalesce("usual0", "usual1", "usual2"))


def _default_units() -> pl.DataFrame:
    """Return the unit that a record has if it names none."""
    rows = [
        (code, str(grain), default_unit(code, grain)) for code in sorted(accepted_behaviours()) for grain in Precision
    ]
    return pl.DataFrame(rows, ["behaviour", "precision", "default"], orient="row")


def _units(told: pl.DataFrame) -> pl.DataFrame:
    """Return every unit with its total, its range, and what of it is wrong."""
    usual = _usual(told)
    part = (pl.col("counted_mg") / pl.col("mg") / pl.col("usual")).clip(upper_bound=1.0)
    measurable = pl.col("divisible") & (pl.col("usual") > 0) & (pl.col("mg") > 0)
    share = pl.when(pl.col("counted_mg").fill_null(0) == 0).then(0.0).when(measurable).then(part).otherwise(1.0)
    shares = told.join(usual, on=USUAL_BY, how="left", nulls_equal=True).with_columns(share=share)
    units = shares.filter((pl.col("expected") != "rejected") | (pl.col("share") > 0)).group_by("unit_id").agg(
        pl.col("overlap").first(), contested=(pl.col("expected") == "overlapped").any(),
        lo=pl.col("unit_lo_mg").max(), hi=pl.col("unit_hi_mg").max(), total=(pl.col("share") * pl.col("mg")).sum(),
        waits=(pl.col("verdict") == "held").any(), fake=(pl.col("expected") == "set_aside").any(),
        overlapped=(pl.col("verdict") == "overlapped").any(),
        trips_held=((pl.col("verdict") == "held") & (pl.col("rule") == _TRAVEL_HOLD)).any(),
    )  # fmt: skip
    short = (pl.col("lo") - pl.col("total")).clip(lower_bound=0)
    return units.with_columns(
        double=(pl.col("total") - pl.col("hi")).clip(lower_bound=0),
        removed=pl.when("waits").then(0.0).otherwise(short),
        waiting=pl.when("waits").then(short).otherwise(0.0),
        enough=pl.col("total") >= pl.col("lo") * 0.95 - 1,
        not_more=pl.col("total") <= pl.col("hi") * 1.01 + 1,
    ).with_columns(acceptable=pl.col("enough") & pl.col("not_more"))


def _ppm(units: pl.DataFrame, wrong: pl.Series) -> float:
    whole = int(units["hi"].sum())
    return round(PPM * float(wrong.sum()) / whole, 2) if whole else 0.0


# --- tiers ------------------------------------------------------------------------------------------------------------


def _by_tier(told: pl.DataFrame, units: pl.DataFrame) -> dict[str, Rates]:
    tiers = _pair_tiers(told.filter("pairable"))
    contested = units.filter(pl.col("contested") & pl.col("overlap").is_in(CONTESTED))
    given_way = units.filter("overlapped")
    good, right = contested.filter("acceptable"), given_way.filter(pl.col("enough") | pl.col("waits"))
    # What T5 says is a unit with a record that gave way; what is true is a unit whose acts claim the same grams.
    tiers["T5"] = _mixed(len(right), len(given_way), len(good), len(contested))
    # Of an implausible act told twice one record is held, and the other is its duplicate: neither counts.
    rows = {"plausibility": ("held", "set_aside"), "input": ("rejected", "rejected")}
    for rule, (verdict, expected) in rows.items():
        said = told.filter((pl.col("verdict") == verdict) & (pl.col("rule") == rule))
        true = told.filter(pl.col("expected") == expected)
        caught = true.filter(pl.col("verdict").is_not_null() & (pl.col("counted_mg") == 0))
        found = caught.filter(pl.col("verdict") == verdict) if rule == "input" else caught
        tiers[rule] = _mixed(said.filter(pl.col("expected") == expected).height, len(said), len(found), len(true))
    return tiers


def _mixed(right: int, said: int, found: int, true: int) -> Rates:
    """Return rates whose precision and recall count different things."""
    precision, recall = right / said if said else 1.0, found / true if true else 1.0
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return Rates(
        hits=found, said=said, true=true, precision=round(precision, 6), recall=round(recall, 6), f1=round(f1, 6)
    )


def _pair_tiers(told: pl.DataFrame) -> dict[str, Rates]:
    """Return rates of the pairs with the evidence of T1, T2 and T4; the three add up to all pairs."""
    keyed = told.filter(pl.col("event_key").is_not_null() | pl.col("payment_key").is_not_null())
    every, same = _pair_rates(told), _pair_rates(told, "content")
    # With a common event key, or payment key, less those with both, less those that T1 has.
    common = [
        (1, _pair_rates(told, "event_key")),
        (1, _pair_rates(told, "payment_key")),
        (-1, _pair_rates(told, "event_key", "payment_key")),
        (-1, _pair_rates(keyed, "content")),
    ]
    sums = {name: sum(sign * getattr(found, name) for sign, found in common) for name in ("hits", "said", "true")}
    rest = {name: getattr(every, name) - getattr(same, name) - sums[name] for name in sums}
    return {"T1": same, "T2": rates(**sums), "T4": rates(**rest)}
