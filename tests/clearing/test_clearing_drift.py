"""Drift of a platform against its own past: found where there is one, and not where there is none."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.clearing.reviews.drift import DRIFT, MEASURES, find_drift, measure_window
from standards.plausibility import DriftRules
from standards.policy import load_policy

POLICY = load_policy()
DAY_US = 86_400_000_000


def rules(**changes: int) -> DriftRules:
    assert POLICY.doubts.drift is not None
    return replace(POLICY.doubts.drift, **changes)


def window(
    number: int, *, people: int = 60, a_day: int = 2, km: float = 3.0, platform: str = "city", **shares: float
) -> pl.DataFrame:
    """Records of one window; `duplicate`, `held` are shares of them. Every window is a little different."""
    rng = np.random.default_rng(number)
    size = people * a_day
    who = np.repeat(np.arange(people), a_day)
    verdict = np.full(size, "counted", object)
    at = 0
    for name, share in shares.items():
        verdict[at : at + round(share * size)] = name
        at += round(share * size)
    quantity = np.rint(km * 1e6 * rng.normal(1, 0.02, size)).astype(np.int64)
    return pl.DataFrame(
        {
            "platform": [platform] * size,
            "behaviour": ["MOB-BIKE"] * size,
            "unit": ["km"] * size,
            "subject_id": who,
            "start_us": number * DAY_US + rng.integers(0, DAY_US // 4, size),
            "quantity_micro": quantity,
            "reference_mg": quantity // 20,
            "verdict": verdict.tolist(),
        },
        schema_overrides={"verdict": pl.String},
    )


def measured(*windows: pl.DataFrame, first: int = 1) -> list[pl.DataFrame]:
    return [measure_window(records, number, POLICY) for number, records in enumerate(windows, first)]


def drifting(*windows: pl.DataFrame, **changes: int) -> dict[str, tuple[float, float]]:
    found = find_drift(measured(*windows), len(windows), rules(**changes))
    assert found.schema == pl.Schema(DRIFT)
    return {row["measure"]: (row["from_value"], row["to_value"]) for row in found.iter_rows(named=True)}


def steady(count: int, **told: float) -> list[pl.DataFrame]:
    return [window(number, **told) for number in range(1, count + 1)]  # type: ignore[arg-type]


def test_a_window_is_measured_by_platform_and_behaviour():
    (found,) = measured(window(1, duplicate=0.25, held=0.1))
    told = {(row["measure"], row["behaviour"]): row["value"] for row in found.iter_rows(named=True)}
    assert found.schema == pl.Schema(MEASURES)
    assert told["records_per_person_day", None] == 2
    assert told["duplicate_permille", None] == 250
    assert told["held_permille", None] == 100
    assert told["rejected_permille", None] == 0
    assert told["median_quantity", "MOB-BIKE"] == pytest.approx(3.0, rel=0.02)
    assert told["median_mg", "MOB-BIKE"] == pytest.approx(150_000, rel=0.02)
    assert set(found["records"]) == {120}


def test_a_platform_that_goes_on_as_before_does_not_drift():
    assert drifting(*steady(8)) == {}


def test_longer_rides_are_drift_with_the_figures_before_and_now():
    found = drifting(*steady(6), window(7, km=6))
    assert set(found) == {"median_quantity", "median_mg"}
    before, now = found["median_quantity"]
    assert before == pytest.approx(3.0, rel=0.02)
    assert now == pytest.approx(6.0, rel=0.02)


def test_more_records_a_person_and_more_duplicates_are_drift():
    found = drifting(*steady(6), window(7, a_day=4, duplicate=0.3))
    assert found["records_per_person_day"] == (2, 4)
    assert found["duplicate_permille"] == (0, 300)


def test_one_bad_window_among_the_earlier_ones_hides_nothing_and_shows_nothing():
    past = [*steady(3), window(4, km=30, held=0.5), *[window(n) for n in (5, 6)]]
    assert drifting(*past, window(7)) == {}
    assert "median_quantity" in drifting(*past, window(7, km=6))


def test_a_small_step_is_no_drift_however_steady_the_past_was():
    assert drifting(*steady(6, held=0.0), window(7, held=0.017)) == {}
    assert drifting(*steady(6), window(7, km=3.3)) == {}


def test_too_few_windows_or_records_say_nothing():
    assert drifting(*steady(3), window(4, km=9)) == {}
    assert set(drifting(*steady(4), window(5, km=9))) == {"median_quantity", "median_mg"}
    few = [window(n, people=20) for n in range(1, 7)]
    assert drifting(*few, window(7, people=20, km=9)) == {}


def test_only_the_newest_windows_before_are_the_past():
    past = [*[window(n, km=9) for n in range(1, 7)], *[window(n) for n in range(7, 13)]]
    assert drifting(*past, window(13), history=5) == {}
    assert "median_quantity" in drifting(*past, window(13, km=9), history=5)


def test_later_windows_are_not_looked_at():
    parts = measured(*steady(6), window(7), window(8, km=30))
    assert find_drift(parts, 7, rules()).is_empty()


def test_a_platform_is_compared_with_itself_only():
    city = [window(n) for n in range(1, 8)]
    rural = [window(n, platform="rural", km=20) for n in range(1, 8)]
    both = [pl.concat(pair) for pair in zip(city, rural, strict=True)]
    assert drifting(*both) == {}
    both[-1] = pl.concat([city[-1], window(7, platform="rural", km=3)])
    found = find_drift(measured(*both), 7, rules())
    assert found["platform"].unique().to_list() == ["rural"]


def test_the_furthest_off_comes_first_and_what_never_moved_before_all():
    found = find_drift(measured(*steady(6), window(7, km=30, duplicate=0.4)), 7, rules())
    deviations = found["deviations"].to_list()
    assert deviations[0] is None
    rest = [value for value in deviations if value is not None]
    assert rest == sorted(rest, reverse=True)


def test_no_records_are_no_drift():
    assert find_drift([], 1, rules()).is_empty()
    assert measure_window(window(1).clear(), 1, POLICY).is_empty()


@settings(max_examples=25, deadline=None)
@given(data=st.data(), factor=st.sampled_from([1.0, 2.0]))
def test_neither_the_order_of_records_nor_of_windows_matters(data, factor):
    windows = [*steady(5), window(6, km=3 * factor)]
    parts = measured(*windows)
    shuffled = [
        measure_window(records.sample(fraction=1, shuffle=True, seed=number), number, POLICY)
        for number, records in enumerate(windows, 1)
    ]
    order = data.draw(st.permutations(shuffled))
    assert find_drift(order, 6, rules()).equals(find_drift(parts, 6, rules()))
