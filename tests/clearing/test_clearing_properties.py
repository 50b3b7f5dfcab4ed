"""What must hold for any records at all."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hub.clearing.kernel.clear import Cleared, clear, observe
from hub.clearing.kernel.facts import conclude
from standards.methodology import load_methodology
from standards.policy import load_policy
from standards.quantify import quantify
from standards.schema import RECORD_SCHEMA, Verdict

POLICY = load_policy()
MORNING = datetime(2026, 10, 5, 0, 0, tzinfo=UTC)
BEHAVIOURS = ["MOB-BIKE", "MOB-EBIKE", "MOB-METRO", "MOB-BUS", "MOB-WALK", "MOB-NODRIVE", "MOB-CARPOOL", "MOB-EV"]
BEHAVIOURS += ["MOB-EVCHARGE", "FOOD-NOTABLEWARE", "FIN-ECARD", "MOB-X"]
relaxed: Callable[[Any], Any] = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@st.composite
def records(draw: st.DrawFn) -> pl.DataFrame:
    """Few people, few platforms and few moments, so that records meet each other often."""
    rows = []
    for number in range(draw(st.integers(1, 14))):
        is_day = draw(st.sampled_from([False, False, False, True]))
        start = MORNING + timedelta(days=draw(st.integers(0, 1)))
        start += (
            timedelta(hours=-8)
            if is_day
            else timedelta(seconds=draw(st.sampled_from([0, 20, 60, 300, 640, 1200, 3600])))
        )
        lasts = timedelta(days=1) if is_day else timedelta(seconds=draw(st.sampled_from([0, 0, 600, 640, 1500, -60])))
        role = draw(st.sampled_from(["operator", "payment", "navigation", "aggregator", "self_report"]))
        rows.append(
            {
                "record_id": 1000 + 7 * number,
                "subject_id": draw(st.integers(1, 2)),
                "platform": role + draw(st.sampled_from(["-a", "-b"])),
                "role": role,
                "behaviour": draw(st.sampled_from(BEHAVIOURS)),
                "start_at": start,
                "end_at": start + lasts,
                "precision": "day" if is_day else draw(st.sampled_from(["second", "minute"])),
                "quantity_micro": draw(st.sampled_from([None, 1_000_000, 2_000_000, 2_050_000, 9_000_000_000])),
                "unit": None,
                "event_key": draw(st.sampled_from([None, None, 1, 2])),
                "payment_key": draw(st.sampled_from([None, None, 3, 4])),
                "region": None,
                "claimed_mg": draw(st.sampled_from([None, 0, 50_000, 10**9])),
            }
        )
    return quantify(pl.DataFrame(rows, schema=RECORD_SCHEMA, orient="row"), load_methodology())


def total(cleared: Cleared) -> int:
    return int(cleared.decisions["counted_mg"].sum())


@relaxed
@given(records(), st.randoms(use_true_random=False))
def test_the_order_of_records_does_not_matter(frame: pl.DataFrame, random: Any) -> None:
    order = list(range(len(frame)))
    random.shuffle(order)
    one, other = clear(frame, None, POLICY), clear(frame[order], None, POLICY)
    assert one.decisions.equals(other.decisions)
    assert one.events.equals(other.events)


@relaxed
@given(records())
def test_every_record_has_one_decision_and_every_event_counts_at_most_once(frame: pl.DataFrame) -> None:
    cleared = clear(frame, None, POLICY)
    decisions = cleared.decisions
    assert decisions["record_id"].to_list() == sorted(frame["record_id"])
    assert set(decisions["verdict"]) <= set(Verdict)
    assert decisions.filter((pl.col("verdict") == "rejected") != pl.col("event_id").is_null()).is_empty()
    assert decisions.filter((pl.col("verdict") != "counted") & (pl.col("counted_mg") != 0)).is_empty()
    counted = decisions.filter(pl.col("verdict") == "counted")
    assert counted["event_id"].is_unique().all()
    assert (counted["record_id"] == counted["event_id"]).all()
    assert (decisions["counted_mg"] >= 0).all()


@relaxed
@given(records())
def test_events_and_decisions_agree(frame: pl.DataFrame) -> None:
    cleared = clear(frame, None, POLICY)
    told = cleared.decisions.drop_nulls("event_id").group_by("event_id")
    sums = told.agg(mg=pl.col("counted_mg").sum(), records=pl.len().cast(pl.Int32)).sort("event_id")
    assert sums.equals(cleared.events.select("event_id", "mg", "records"))


@relaxed
@given(records())
def test_no_act_counts_more_than_its_platform_claimed(frame: pl.DataFrame) -> None:
    decided = clear(frame, None, POLICY).decisions.join(frame, on="record_id")
    claims = decided.group_by("event_id", "platform").agg(
        claimed=pl.col("claimed_mg").sum(), silent=pl.col("claimed_mg").is_null().any()
    )
    counted = decided.filter(pl.col("verdict") == "counted").join(claims, on=["event_id", "platform"])
    assert counted.filter(~pl.col("silent") & (pl.col("counted_mg") > pl.col("claimed"))).is_empty()


@relaxed
@given(records())
def test_delivering_everything_again_changes_no_sum(frame: pl.DataFrame) -> None:
    facts = conclude(observe(frame, None, POLICY), POLICY)
    again = pl.concat([frame, frame.with_columns(pl.col("record_id") + 1)])
    assert total(clear(again, None, POLICY, facts)) == total(clear(frame, None, POLICY, facts))


@relaxed
@given(records())
def test_delivering_everything_again_in_a_later_window_counts_nothing(frame: pl.DataFrame) -> None:
    first = clear(frame, None, POLICY).decisions
    live = frame.join(first, on="record_id")
    later = clear(frame.with_columns(pl.col("record_id") + 1), live, POLICY)
    assert total(later) == 0


@relaxed
@given(records())
def test_people_can_be_cleared_apart(frame: pl.DataFrame) -> None:
    facts = conclude(observe(frame, None, POLICY), POLICY)
    whole = clear(frame, None, POLICY, facts)
    parts = [clear(frame.filter(pl.col("subject_id") == person), None, POLICY, facts) for person in (1, 2)]
    assert pl.concat([part.decisions for part in parts]).sort("record_id").equals(whole.decisions)
    assert pl.concat([part.events for part in parts]).sort("event_id").equals(whole.events)


@relaxed
@given(records())
def test_no_two_counted_trips_of_one_person_overlap_for_long(frame: pl.DataFrame) -> None:
    decided = clear(frame, None, POLICY).decisions.filter(pl.col("verdict") == "counted").join(frame, on="record_id")
    trips = decided.filter(
        pl.col("behaviour").is_in(["MOB-BIKE", "MOB-EBIKE", "MOB-METRO", "MOB-BUS", "MOB-WALK", "MOB-CARPOOL"])
        & (pl.col("precision") != "day")
        & (pl.col("end_at") > pl.col("start_at"))
    )
    pairs = trips.join(trips, on="subject_id").filter(pl.col("record_id") < pl.col("record_id_right"))
    common = pl.min_horizontal("end_at", "end_at_right") - pl.max_horizontal("start_at", "start_at_right")
    shorter = pl.min_horizontal(
        pl.col("end_at") - pl.col("start_at"), pl.col("end_at_right") - pl.col("start_at_right")
    )
    slack = timedelta(seconds=POLICY.exclusive_slack_s)
    assert pairs.filter((common > slack) & (common * 1000 > shorter * (POLICY.exclusive_permille + 1))).is_empty()
