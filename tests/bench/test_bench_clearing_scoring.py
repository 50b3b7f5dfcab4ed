"""The scorer, on cases small enough to be counted by hand, and on sound results that were damaged."""

from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import polars as pl
import pytest

from hub.bench.clearing.corpus import PUBLIC, make_corpus
from hub.bench.clearing.errors import find_errors
from hub.bench.clearing.labels import TRUTH_SCHEMA, Labelled
from hub.bench.clearing.profiles import PROFILES
from hub.bench.clearing.scoring import Score, score
from standards.schema import DECISION_SCHEMA

NOON = datetime(2026, 9, 7, 4, tzinfo=UTC)
Row = dict[str, Any]


def report(number: int, event: int, said: int | None, **told: Any) -> Row:
    """One record of a bike ride worth 1,000 mg with its truth and its decision: the first record of an event counts."""
    own = number == said
    unit_hi = told.get("mg", 1_000)
    usual: Row = {
        "record_id": number, "subject_id": 1, "platform": f"p{number}", "role": "operator", "behaviour": "MOB-BIKE",
        "start_at": NOON + timedelta(minutes=number), "end_at": NOON + timedelta(minutes=number + 9), "precision": "second",
        "quantity": 1.0, "unit": None, "event_key": None, "payment_key": None, "region": None, "claimed_mg": None,
        "event_id": event, "unit_id": event, "expected": "once", "act": "MOB-BIKE", "family": "cycle", "overlap": "none",
        "pairable": True, "alone": True, "divisible": False, "mg": 1_000, "unit_lo_mg": unit_hi, "unit_hi_mg": unit_hi,
        "said": said, "verdict": "counted" if own else "duplicate", "rule": "T4", "reason": "x",
        "counted_mg": 500 if own else 0, "canonical_record_id": said,
    }  # fmt: skip
    return usual | told


def scored(*rows: Row) -> Score:
    return score(*frames(*rows))


def frames(*rows: Row) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    records = pl.DataFrame([{name: row[name] for name in PUBLIC} for row in rows], schema=PUBLIC)
    truth = pl.DataFrame([{name: row[name] for name in TRUTH_SCHEMA} for row in rows], schema=TRUTH_SCHEMA)
    decided = [{name: row["said"] if name == "event_id" else row[name] for name in DECISION_SCHEMA} for row in rows]
    return records, truth, pl.DataFrame(decided, schema=DECISION_SCHEMA)


def test_pairs_are_counted_by_hand() -> None:
    """Acts a (1, 2, 3) and b (4, 5); said are {1, 2, 4} and {3}, {5}: one hit of three said and of four true pairs."""
    found = scored(report(1, 1, 1), report(2, 1, 1), report(3, 1, 3), report(4, 4, 1), report(5, 4, 5))
    assert (found.pairs.hits, found.pairs.said, found.pairs.true) == (1, 3, 4)
    assert found.pairs.precision == pytest.approx(1 / 3, abs=1e-6)
    assert found.pairs.recall == pytest.approx(1 / 4, abs=1e-6)
    assert found.pairs.f1 == pytest.approx(2 / 7, abs=1e-6)


def test_a_record_of_no_event_is_in_no_pair() -> None:
    assert scored(report(1, 1, 1), report(2, 1, None, counted_mg=0)).pairs.said == 0


def test_pairs_are_made_within_a_family_only() -> None:
    other = {"family": "MOB-NODRIVE", "act": "MOB-NODRIVE", "behaviour": "MOB-NODRIVE"}
    assert scored(report(1, 1, 1), report(2, 2, 1, **other)).pairs.said == 0


def test_what_is_not_pairable_is_in_no_pair() -> None:
    found = scored(report(1, 1, 1), report(2, 1, 1, pairable=False), report(3, 1, 1))
    assert (found.pairs.said, found.pairs.true) == (1, 1)


def test_a_said_pair_belongs_to_the_behaviours_of_both_sides() -> None:
    """Two e-bike rides and one bike ride in one event: three pairs touch an e-bike ride, two touch the bike ride."""
    ebike = {"act": "MOB-EBIKE"}
    found = scored(report(1, 1, 1, **ebike), report(2, 1, 1, **ebike), report(3, 3, 1), report(4, 3, 4)).by_behaviour
    assert (found["MOB-EBIKE"].hits, found["MOB-EBIKE"].said, found["MOB-EBIKE"].true) == (1, 3, 1)
    assert (found["MOB-BIKE"].hits, found["MOB-BIKE"].said, found["MOB-BIKE"].true) == (0, 2, 1)


def test_pairs_are_in_the_tier_of_their_evidence() -> None:
    """Records 1 and 2 share both keys, 3 shares the payment with them, 4 nothing; 5 is 4 once more under another id."""
    both = {"event_key": 7, "payment_key": 8}
    four = {"platform": "p4", "start_at": NOON, "end_at": NOON}
    found = scored(
        report(1, 1, 1, **both), report(2, 1, 1, **both), report(3, 1, 1, payment_key=8), report(4, 1, 1, **four),
        report(5, 1, 1, **four),
    ).by_tier  # fmt: skip
    assert [(found[tier].hits, found[tier].said, found[tier].true) for tier in ("T1", "T2", "T4")] == [
        (1, 1, 1), (3, 3, 3), (6, 6, 6),
    ]  # fmt: skip


def test_a_replay_with_keys_is_in_the_first_tier_only() -> None:
    twin = {"platform": "p", "event_key": 7, "payment_key": 8, "start_at": NOON, "end_at": NOON}
    found = scored(report(1, 1, 1, **twin), report(2, 1, 1, **twin)).by_tier
    assert [found[tier].true for tier in ("T1", "T2", "T4")] == [1, 0, 0]


def test_an_act_that_counts_twice_is_double_and_one_that_counts_never_is_removed() -> None:
    """Of four units of 1,000 mg one counts twice and one not at all."""
    twice = [report(1, 1, 1), report(2, 1, 2)]
    never = report(3, 3, 3, verdict="overlapped", counted_mg=0)
    found = scored(*twice, never, report(4, 4, 4), report(5, 5, 5))
    assert (found.double_ppm, found.removed_ppm, found.held_ppm) == (250_000, 250_000, 0)
    assert found.plain_double_ppm == 250_000


def test_what_waits_for_review_is_held_and_not_removed() -> None:
    found = scored(report(1, 1, 1, verdict="held", counted_mg=0), report(2, 2, 2))
    assert (found.removed_ppm, found.held_ppm, found.held_needlessly) == (0, 500_000, 1)


def test_the_hubs_own_amounts_do_not_matter_but_a_zero_does() -> None:
    """A counted record stands for its whole act, whatever the methodology gives for it."""
    assert scored(report(1, 1, 1, counted_mg=77), report(2, 2, 2, counted_mg=90_000)).removed_ppm == 0
    assert scored(report(1, 1, 1, counted_mg=0), report(2, 2, 2)).removed_ppm == 500_000


def contested(number: int, side: dict[str, Any]) -> Row:
    rest = {
        "unit_id": 900,
        "overlap": "steps",
        "expected": "overlapped",
        "alone": False,
        "unit_lo_mg": 7_500,
        "unit_hi_mg": 10_800,
    }
    return report(number, number, number, **rest | side)


@pytest.mark.parametrize(
    ("rest_mg", "right"),
    [(4_000, 1.0), (1_000, 0.0), (5_000, 0.0)],
    ids=["the rest", "too little", "the whole day too"],
)
def test_a_part_is_measured_by_what_the_platform_usually_gets(rest_mg: int, right: float) -> None:
    """A day of 10,000 mg, which the hub values at half, with a walk of 2,000 in it; alone, such days get 0.5 per mg."""
    day = {"precision": "day", "mg": 10_000, "platform": "band"}
    usual = [
        report(n, n, n, **day, unit_lo_mg=10_000, unit_hi_mg=10_000, counted_mg=5_000) for n in range(100, 121)
    ]  # fmt: skip
    found = scored(
        *usual,
        contested(1, {**day, "divisible": True, "counted_mg": rest_mg}),
        contested(2, {"mg": 2_000, "counted_mg": 1_000}),
    )
    assert found.overlap_accuracy == right
    assert found.overlaps == {"steps": (1, right)}


def test_implausible_acts_and_bad_rows_are_told_apart() -> None:
    fake = {"expected": "set_aside", "pairable": False, "alone": False, "unit_lo_mg": 0, "unit_hi_mg": 0}
    bad = fake | {"expected": "rejected", "mg": 0}
    found = scored(
        report(1, 1, 1, **fake, verdict="held", rule="plausibility", counted_mg=0), report(2, 2, 2, **fake),
        report(3, 3, None, **bad, verdict="rejected", rule="input", counted_mg=0), report(4, 4, 4, **bad, counted_mg=0),
        report(5, 5, 5), report(6, 6, None, verdict="rejected", rule="input", counted_mg=0),
    )  # fmt: skip
    assert (found.by_tier["plausibility"].precision, found.by_tier["plausibility"].recall) == (1.0, 0.5)
    assert (found.by_tier["input"].precision, found.by_tier["input"].recall) == (0.5, 0.5)
    assert (found.bad_not_rejected, found.good_rejected) == (1, 1)
    assert found.implausible_ppm == 500_000


def test_a_trip_held_for_another_is_right_if_the_act_counts_without_it() -> None:
    held = {"verdict": "held", "rule": "T3", "counted_mg": 0}
    found = scored(report(1, 1, 1), report(2, 1, 2, **held), report(3, 3, 3, **held))
    assert (found.trips_held, found.trips_rightly_held) == (2, 1)


def test_nothing_said_and_nothing_true_is_no_error() -> None:
    assert scored(report(1, 1, 1), report(2, 2, 2)).pairs.f1 == 1.0


# --- damaged results --------------------------------------------------------------------------------------------------


@cache
def sound() -> tuple[Labelled, pl.DataFrame]:
    """A corpus and the result that the truth itself would give, without overlaps: each act once."""
    (made,) = make_corpus(PROFILES["busy"], records=8_000, seed=21)
    bad, fake = pl.col("expected") == "rejected", pl.col("expected") == "set_aside"
    first = pl.col("record_id").first().over("event_id")
    own = pl.col("record_id") == first
    decisions = made.truth.select(
        "record_id",
        event_id=pl.when(~bad).then(first),
        verdict=pl.when(bad).then(pl.lit("rejected")).when(~own).then(pl.lit("duplicate")).when(fake).then(pl.lit("held"))
        .otherwise(pl.lit("counted")),
        rule=pl.lit("T4"), reason=pl.lit("x"), counted_mg=pl.when(own & ~fake & ~bad).then("mg").otherwise(0),
        canonical_record_id=pl.when(~bad).then(first),
    ).cast(DECISION_SCHEMA)  # fmt: skip
    return made, decisions


def test_a_sound_result_has_no_fault() -> None:
    made, decisions = sound()
    found = score(made.records, made.truth, decisions)
    assert found.pairs.f1 == 1.0
    assert (found.plain_double_ppm, found.removed_ppm, found.implausible_ppm) == (0, 0, 0)
    assert {rates.f1 for rates in found.by_behaviour.values()} == {1.0}
    assert find_errors(made.records, made.truth, decisions) == []


DAMAGES = {
    "everything is one event": lambda d: d.with_columns(
        event_id=pl.when(pl.col("event_id").is_not_null()).then(d["event_id"].drop_nulls()[0])
    ),
    "every record is an event": lambda d: d.with_columns(event_id="record_id"),
    "every duplicate counts as well": lambda d: d.with_columns(
        counted_mg=pl.when(pl.col("verdict") == "duplicate").then(1_000).otherwise("counted_mg"),
        verdict=pl.when(pl.col("verdict") == "duplicate").then(pl.lit("counted")).otherwise("verdict"),
    ),
    "nothing counts": lambda d: d.with_columns(counted_mg=pl.lit(0), verdict=pl.lit("overlapped")),
    "one act in fifty is lost": lambda d: d.with_columns(
        counted_mg=pl.when(pl.col("record_id") % 50 == 0).then(0).otherwise("counted_mg")
    ),
    "everything is held": lambda d: d.with_columns(counted_mg=pl.lit(0), verdict=pl.lit("held")),
    "a third of the decisions is missing": lambda d: d.filter(pl.col("record_id") % 3 != 0),
    "what cannot be counts": lambda d: d.with_columns(
        counted_mg=pl.when(pl.col("verdict") == "held").then(1_000).otherwise("counted_mg"),
        verdict=pl.when(pl.col("verdict") == "held").then(pl.lit("counted")).otherwise("verdict"),
    ),
    "bad rows are not rejected": lambda d: d.with_columns(verdict=pl.lit("counted")),
    "everything is rejected": lambda d: d.with_columns(verdict=pl.lit("rejected")),
}  # fmt: skip
NOTICES = {
    "everything is one event": lambda s: s.pairs.precision < 0.01 and s.pairs.recall == 1,
    "every record is an event": lambda s: s.pairs.recall == 0,
    "every duplicate counts as well": lambda s: s.plain_double_ppm > 50_000,
    "nothing counts": lambda s: s.removed_ppm > 900_000,
    "one act in fifty is lost": lambda s: 5_000 < s.removed_ppm < 50_000,
    "everything is held": lambda s: s.held_ppm > 900_000 and s.held_needlessly > 6_000,
    "a third of the decisions is missing": lambda s: s.pairs.recall < 0.7 and s.removed_ppm > 100_000,
    "what cannot be counts": lambda s: s.implausible_ppm > 0,
    "bad rows are not rejected": lambda s: s.bad_not_rejected > 0,
    "everything is rejected": lambda s: s.good_rejected > 7_000,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_result_is_noticed(damage: str) -> None:
    made, decisions = sound()
    assert NOTICES[damage](score(made.records, made.truth, DAMAGES[damage](decisions).cast(DECISION_SCHEMA)))


def test_wrong_pairs_are_sorted_into_classes_with_examples() -> None:
    found = find_errors(*frames(
        report(1, 1, 1, event_key=5), report(2, 1, 2, event_key=6), report(3, 3, 3, role="payment"),
        report(4, 4, 3, end_at=NOON + timedelta(minutes=4)), report(5, 5, 5),
    ))  # fmt: skip
    assert [(each.fault, each.evidence, each.tellers, each.examples) for each in found] == [
        ("joined", "T4", "operator moment + payment interval", ((3, 4),)),
        ("missed", "T4, keys differ", "operator interval + operator interval", ((1, 2),)),
    ]
