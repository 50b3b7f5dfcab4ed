"""Chains of overlapping trips, and second reports of what counts: made on purpose, because dice seldom make them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from hub.clearing.kernel.clear import clear, observe
from hub.clearing.kernel.facts import conclude
from standards.methodology import load_methodology
from standards.policy import load_policy
from standards.quantify import quantify
from standards.schema import RECORD_SCHEMA

POLICY = load_policy()
MORNING = datetime(2026, 10, 5, 0, 0, tzinfo=UTC)
MODES = ["MOB-BIKE", "MOB-METRO", "MOB-BUS", "MOB-CARPOOL"]
relaxed = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def told(number: int, platform: str, start: datetime, minutes: float, **more: Any) -> dict[str, Any]:
    usual = {
        "record_id": number,
        "subject_id": 1,
        "platform": platform,
        "role": platform.split("-")[0],
        "behaviour": "MOB-BIKE",
        "start_at": start,
        "end_at": start + timedelta(minutes=minutes),
        "precision": "second",
        "quantity_micro": 1_500_000,
        "unit": None,
        "event_key": None,
        "payment_key": None,
        "region": None,
        "claimed_mg": None,
    }
    return usual | more


def frame_of(rows: list[dict[str, Any]]) -> pl.DataFrame:
    return quantify(pl.DataFrame(rows, schema=RECORD_SCHEMA, orient="row"), load_methodology())


@st.composite
def chains(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Trips of which each begins before the one before has ended: by a lot, by a little, or just touching it."""
    rows = []
    start = MORNING
    for number in range(draw(st.integers(2, 12))):
        minutes = draw(st.sampled_from([6, 10, 25, 60]))
        role = draw(st.sampled_from(["operator", "navigation", "aggregator", "self_report"]))
        mode = draw(st.sampled_from(MODES))
        rows.append(
            told(number, f"{role}-{number % 4}", start, minutes, behaviour=mode, quantity_micro=minutes * 150_000)
        )
        overlap = draw(st.sampled_from([0, 1, 2.5, minutes / 2, minutes * 0.9]))
        start += timedelta(minutes=minutes - overlap)
    return rows


@relaxed
@given(chains())
def test_of_a_chain_no_two_trips_at_once_count(rows: list[dict[str, Any]]) -> None:
    decided = clear(frame_of(rows), None, POLICY).decisions
    counted = [rows[number] for number in decided.filter(pl.col("verdict") == "counted")["record_id"]]
    for one in counted:
        for other in counted:
            common = min(one["end_at"], other["end_at"]) - max(one["start_at"], other["start_at"])
            shorter = min(row["end_at"] - row["start_at"] for row in (one, other))
            both = one is not other and common > timedelta(seconds=POLICY.exclusive_slack_s)
            assert not both or common * 1000 <= shorter * (POLICY.exclusive_permille + 1)


@relaxed
@given(chains())
def test_who_is_held_for_two_trips_at_once_meets_a_better_witness(rows: list[dict[str, Any]]) -> None:
    """The better witness may be held for a third one in turn: what was held then waits for a reviewer, and is not revived."""
    decided = clear(frame_of(rows), None, POLICY).decisions
    order = {role: place for place, role in enumerate(POLICY.role_order)}
    for number in decided.filter(pl.col("reason") == "two_trips_at_once")["record_id"]:
        mine = rows[number]
        assert any(
            min(row["end_at"], mine["end_at"]) > max(row["start_at"], mine["start_at"])
            and order[row["role"]] <= order[mine["role"]]
            for row in rows
            if row is not mine
        )


@relaxed
@given(chains(), st.randoms(use_true_random=False))
def test_a_chain_may_arrive_in_any_order(rows: list[dict[str, Any]], random: Any) -> None:
    shuffled = list(rows)
    random.shuffle(shuffled)
    assert clear(frame_of(rows), None, POLICY).decisions.equals(clear(frame_of(shuffled), None, POLICY).decisions)


@relaxed
@given(chains(), st.integers(0, 11), st.sampled_from([0, 5, 20]), st.booleans())
def test_a_second_report_of_what_counts_never_raises_the_sum(
    rows: list[dict[str, Any]], place: int, late_s: int, keyed: bool
) -> None:
    key = {"event_key": 77} if keyed else {}
    first = [row | (key if n == place % len(rows) else {}) for n, row in enumerate(rows)]
    before = clear(frame_of(first), None, POLICY)
    counts = before.decisions.filter(pl.col("verdict") == "counted")["record_id"].to_list()
    assume(place % len(rows) in counts)
    mine = first[place % len(rows)]
    start = mine["start_at"] + timedelta(seconds=late_s)
    length = (mine["end_at"] - mine["start_at"]).total_seconds() / 60
    again = told(
        1000, "aggregator-z", start, length, behaviour=mine["behaviour"], quantity_micro=mine["quantity_micro"], **key
    )
    facts = conclude(observe(frame_of(first), None, POLICY), POLICY)
    after = clear(frame_of([*first, again]), None, POLICY, facts)
    same = clear(frame_of(first), None, POLICY, facts)
    assert after.decisions["counted_mg"].sum() <= same.decisions["counted_mg"].sum()
