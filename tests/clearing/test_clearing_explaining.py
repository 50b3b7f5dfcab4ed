"""An explanation says what was decided, with the kernel's own figures."""

import importlib.util
import random
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests_support.explaining import crowd, explained, frame_of, meters, ride

from hub.clearing.explain.explaining import explain_records
from hub.clearing.explain.explanation import Explanation
from hub.clearing.explain.sentences import LANGUAGES, contest, notes, sentence
from hub.clearing.kernel.clear import clear
from standards.policy import load_policy
from standards.schema import DECISION_SCHEMA

POLICY = load_policy()
MATCH = POLICY.match
relaxed = settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


def any_records() -> Any:
    """The strategy of the kernel's own properties."""
    spec = importlib.util.spec_from_file_location("properties", Path(__file__).with_name("test_clearing_properties.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.records()


def require_true(told: Explanation, decided: dict[str, Any], reports: pl.DataFrame) -> None:
    """Hold one explanation to what `clear` decided."""
    report, reason = told.report, decided["reason"]
    assert told.reproduced
    said = ("event_id", "verdict", "rule", "reason", "counted_mg")
    assert [getattr(report, name) for name in said] == [decided[name] for name in said]
    assert told.canonical_record_id == decided["canonical_record_id"]
    match told.match, reason:
        case None, "same_time_and_amount" | "uncertain":
            raise AssertionError(f"no comparison for {reason}")
        case match, "same_time_and_amount":
            assert match.points >= MATCH.accept
        case match, "uncertain":
            assert MATCH.hold <= match.points < MATCH.accept
        case None, _:
            pass
        case _:
            raise AssertionError(f"a comparison for {reason}")
    for one in (*told.candidates, *([told.match] if told.match else [])):
        parts = one.time_points + one.quantity_points + one.duration_points + one.behaviour_points + one.key_points
        assert parts == one.points
        assert one.behaviour_points in (0, MATCH.behaviour_points)
        assert one.key_points in {count * each for count in (0, 1, 2) for each in (MATCH.key_conflict, MATCH.key_doubt)}
        assert one.apart_s >= 0
    if reason == "same_time_and_amount":
        act = {report.record_id, *(other.record_id for other in told.others)}
        assert told.match is not None
        assert {told.match.record_id, told.match.other_record_id} <= act
    if reason == "tie":
        assert len(told.candidates) > 1 or len(told.candidate_days) > 1
    if reason in ("two_trips_at_once", "displaced", "contained", "told_one_by_one", "counted_once_before"):
        assert told.other_act is not None
    if reason in ("same_event_key", "same_payment_key"):
        key = reason.removeprefix("same_")
        keys = dict(reports.select("record_id", key).iter_rows())
        assert all(keys[one] == keys[report.record_id] for one in told.same_key)
    if reason.startswith("implausible_"):
        assert told.limit is not None
    if decided["verdict"] == "counted":
        assert told.amount is not None
        assert told.amount.counted_mg == decided["counted_mg"]
    if decided["rule"] in {rule.id for rule in POLICY.overlaps}:
        assert told.why


def require_all_true(frame: pl.DataFrame, live: pl.DataFrame | None = None) -> pl.DataFrame:
    decisions = clear(frame, live, POLICY).decisions
    found = explain_records(frame, live, POLICY, record_ids=frame["record_id"].to_list())
    assert sorted(found) == decisions["record_id"].to_list()
    reports = frame if live is None else pl.concat([frame, live.select(frame.columns)])
    for decided in decisions.iter_rows(named=True):
        require_true(found[decided["record_id"]], decided, reports)
        for language in LANGUAGES:
            told = found[decided["record_id"]]
            said = [sentence(told, language), *notes(told, language), contest(told, language)]
            assert not [one for one in said if "{" in one or "None" in one]
    return decisions


@relaxed
@given(any_records())
def test_every_decision_about_any_records_is_explained(frame: pl.DataFrame) -> None:
    require_all_true(frame)


@relaxed
@given(st.integers(0, 2**32))
def test_every_decision_in_a_crowd_is_explained_and_so_is_what_comes_later(seed: int) -> None:
    dice = random.Random(seed)
    frame = crowd(dice)
    decided = require_all_true(frame)
    require_all_true(crowd(dice).with_columns(pl.col("record_id") + 1), frame.join(decided, on="record_id"))


def test_a_crowd_meets_every_tier() -> None:
    """So that the test above is one of matches, ties and overlaps, and not of single reports."""
    seen: Counter[str] = Counter()
    for seed in range(60):
        seen.update(clear(crowd(random.Random(seed)), None, POLICY).decisions["reason"])
    wanted = {"same_time_and_amount", "tie", "two_trips_at_once", "same_event_key", "displaced", "same_day_act"}
    assert {reason for reason in wanted if seen[reason] >= 5} == wanted


def test_a_stored_decision_stays_what_it_was_and_its_figures_are_left_out() -> None:
    frame = frame_of([ride(1, "operator-a"), ride(2, "aggregator-a", second=70)])
    stored = pl.DataFrame(
        [(1, 1, "counted", "single", "only_report", 50_000, 1), (2, 2, "held", "T4", "uncertain", 0, 2)],
        schema=DECISION_SCHEMA, orient="row",
    )  # fmt: skip
    found = explain_records(frame, None, POLICY, record_ids=[1, 2], decided=stored)
    assert not found[1].reproduced
    assert not found[2].reproduced
    assert (found[2].report.reason, found[2].match, found[2].candidates) == ("uncertain", None, ())
    assert sentence(found[2], "en").endswith("it is held for review and counts nothing until then.")
    assert notes(found[2], "en")[-1].startswith("The decision stands as it was made")
    assert found[1].event_mg == 50_000


def test_what_was_decided_before_the_kernel_is_explained_by_its_reason() -> None:
    frame = frame_of([ride(1, "operator-a"), ride(2, "aggregator-a", minute=60)])
    stored = pl.DataFrame(
        [(1, 1, "counted", "single", "only_report", 67_760, 1), (2, None, "rejected", "consent", "paused", 0, None)],
        schema=DECISION_SCHEMA, orient="row",
    )  # fmt: skip
    told = explain_records(
        frame.head(1), None, POLICY, record_ids=[1, 2], decided=stored, set_aside=frame.tail(1)
    )  # fmt: skip
    assert told[1].reproduced
    assert told[2].reproduced
    assert sentence(told[2], "en").endswith("because you had paused your consent.")


@pytest.mark.parametrize(
    ("first", "second", "why"),
    [
        ({"platform": "aggregator-a"}, {"platform": "operator-a"}, "role"),
        ({"platform": "aggregator-a"}, {"platform": "aggregator-b", "second": -20}, "start"),
        ({"platform": "aggregator-b"}, {"platform": "aggregator-a"}, "platform"),
        ({"platform": "aggregator-a"}, {"platform": "aggregator-a"}, "record"),
    ],
)
def test_it_says_by_what_the_canonical_record_is_before_the_next(
    first: dict[str, Any], second: dict[str, Any], why: str
) -> None:
    told = explained(frame_of([ride(1, **first), ride(2, **second)]), 1)
    assert told.canonical_why == why
    assert told.canonical is not None
    assert told.canonical.record_id == (1 if why == "record" else 2)


def test_a_later_report_of_a_final_act_is_explained_by_it() -> None:
    first = frame_of([ride(1, "aggregator-a")])
    live = first.join(clear(first, None, POLICY).decisions, on="record_id")
    told = explained(frame_of([ride(2, "operator-a", second=30)]), 2, live)
    assert (told.canonical_why, told.report.event_id, told.event_mg) == ("earlier", 1, 67_760)
    assert [one.window for one in told.others] == ["earlier"]
    assert sentence(told, "en").endswith("it counts once, 67.76 g, from aggregator-a.")


def test_a_quantity_that_another_report_lent_is_named() -> None:
    frame = frame_of(
        [ride(1, "operator-a", quantity_micro=None, event_key=5), ride(2, "navigation-a", event_key=5, second=10)]
    )
    told = explained(frame, 1)
    assert told.amount is not None
    assert (told.amount.quantity_from, told.amount.reference_mg) == (2, 67_760)
    assert notes(told, "en")[0].endswith("with the quantity that navigation-a told.")


def test_parts_of_a_payment_name_the_part_that_counts() -> None:
    parts = [ride(n, "payment-a", second=n, lasts=0, behaviour="FOOD-NOTABLEWARE", quantity_micro=None) for n in (1, 2)]
    told = explained(frame_of(parts), 2)
    assert (told.key, told.same_key, told.report.reason) == ("part", (1,), "part_of_payment")


def test_a_speed_is_told_with_its_limit() -> None:
    told = explained(frame_of([ride(1, "operator-a", quantity_micro=meters(40_000), lasts=20)]), 1)
    assert told.limit is not None
    assert (told.limit.value, told.limit.limit, told.limit.unit) == ("120", "60", "km/h")
    assert "120 km per hour, faster than the 60 km per hour" in sentence(told, "en")
    assert "每小时120公里" in sentence(told, "zh-CN")
