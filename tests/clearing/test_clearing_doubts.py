"""Plausibility of a person's acts: power, days, places, step counts; each held, none without need, whatever the order."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.clearing.kernel.clear import clear
from standards.policy import load_policy

BEIJING, TIANJIN, SHANGHAI, SHENZHEN = 110105, 120101, 310101, 440305
ENERGY = {"behaviour": "MOB-EVCHARGE", "unit": "kWh"}
DAY = 24 * 60


def kwh(amount: float) -> int:
    return round(amount * 1_000_000)


def held(kit: Any, *records: Any, **more: Any) -> dict[int, str]:
    """Reason by held record; the same in the other order."""
    cleared = kit.clear(*records, **more)
    outcomes = kit.outcome(cleared)
    assert kit.outcome(kit.clear(*reversed(records), **more)) == outcomes
    assert all(rule in ("plausibility", "T3") for verdict, rule, _ in outcomes.values() if verdict == "held")
    assert cleared.decisions.filter(pl.col("verdict") == "held")["counted_mg"].sum() == 0
    return {number: reason for number, (verdict, _, reason) in outcomes.items() if verdict == "held"}


# Power and energy.


@pytest.mark.parametrize(
    ("minutes", "amount", "reason"),
    [
        (30, 390, None),  # 755 kW with a minute's grace: what the connector of GB/T 20234.3-2023 carries
        (20, 390, "implausible_power"),
        (20, 100, None),
        (600, 401, "implausible_quantity"),
        (0, 60, None),  # told as a moment: nothing is known of its power
    ],
)
def test_a_charge_cannot_have_more_power_than_a_connector(kit, minutes, amount, reason):
    charge = kit.record(1, "meter-a", lasts=minutes, quantity_micro=kwh(amount), **ENERGY)
    assert held(kit, charge) == ({1: reason} if reason else {})


def test_a_day_has_only_so_many_kilowatt_hours(kit):
    charges = [
        kit.record(n, "meter-a", 90 * n, lasts=60, quantity_micro=kwh(190), event_key=n, **ENERGY) for n in range(1, 6)
    ]
    assert held(kit, *charges) == {4: "implausible_energy", 5: "implausible_energy"}
    assert held(kit, *charges[:3]) == {}


def test_the_first_policy_knows_no_power_and_no_such_day(kit):
    old = load_policy("clearing-2026.1")
    charges = [
        kit.record(n, "meter-a", 90 * n, lasts=60, quantity_micro=kwh(190), event_key=n, **ENERGY) for n in range(1, 6)
    ]
    verdicts = clear(kit.frame(*charges), None, old).decisions["verdict"].unique().to_list()
    assert verdicts == ["counted"]


# A day.


def test_a_day_s_rides_come_to_no_more_than_anybody_rides(kit):
    rides = [kit.record(n, "operator-a", 130 * n, lasts=120, km=90, event_key=n) for n in range(1, 5)]
    assert held(kit, *rides) == {3: "implausible_day_total", 4: "implausible_day_total"}


def test_what_counted_before_is_in_the_day_wherever_in_it_it_was(kit):
    live = kit.live(*[kit.record(n, "operator-a", 130 * n, lasts=120, km=90, event_key=n) for n in (3, 4)])
    early = [kit.record(n, "operator-a", 130 * n, lasts=120, km=90, event_key=n) for n in (1, 2)]
    assert held(kit, *early, live=live) == {1: "implausible_day_total", 2: "implausible_day_total"}


def test_the_next_day_begins_anew(kit):
    rides = [kit.record(n, "operator-a", DAY * n, lasts=200, km=99, event_key=n) for n in range(1, 6)]
    assert held(kit, *rides) == {}


def test_nobody_cleans_thirteen_plates_a_day(kit):
    plates = [
        kit.record(n, "operator-a", 40 * n, lasts=0, behaviour="FOOD-CLEANPLATE", event_key=n) for n in range(1, 15)
    ]
    assert held(kit, *plates) == {13: "implausible_day", 14: "implausible_day"}


def test_records_of_whole_days_are_not_in_the_day_s_total(kit):
    days = [kit.day(n, f"aggregator-{n}", "MOB-BIKE", 90, event_key=n) for n in (1, 2)]
    rides = [kit.record(n, "operator-a", 130 * n, lasts=120, km=80, event_key=n) for n in (3, 4, 5)]
    assert held(kit, *days, *rides) == {}


# Two places.


def ride(kit: Any, number: int, region: int | None, minute: float, platform: str = "operator-a", **told: Any) -> Any:
    usual: dict[str, Any] = {"behaviour": "MOB-METRO", "lasts": 20, "event_key": number, "region": region}
    return kit.record(number, platform, minute, **(usual | told))


@pytest.mark.parametrize(
    ("name", "first", "second", "is_held"),
    [
        ("half an hour apart in two cities a thousand kilometres apart", BEIJING, SHANGHAI, True),
        ("provinces that touch have a border that a bus crosses", BEIJING, 130681, False),
        ("the same province", 440103, SHENZHEN, False),
        ("a code of a whole province says where a platform sits", BEIJING, 310000, False),
        ("a place that is not told", BEIJING, None, False),
        ("a place that is none", BEIJING, 999999, False),
        ("over the strait to the next province", 460105, SHENZHEN, False),
    ],
)
def test_nobody_rides_in_two_places_at_once(kit, name, first, second, is_held):
    rides = [ride(kit, 1, first, 0), ride(kit, 2, second, 30, "operator-b")]
    assert held(kit, *rides) == ({2: "impossible_travel"} if is_held else {}), name


def test_there_is_time_for_a_flight(kit):
    assert held(kit, ride(kit, 1, BEIJING, 0), ride(kit, 2, SHANGHAI, 20 + 40, "operator-b")) == {}
    assert held(kit, ride(kit, 1, BEIJING, 0), ride(kit, 2, SHANGHAI, 20 + 30, "operator-b")) == {
        2: "impossible_travel"
    }


def test_the_weaker_witness_is_held_whoever_was_first(kit):
    rides = [ride(kit, 1, SHENZHEN, 0, "navigation-a"), ride(kit, 2, BEIJING, 30, "operator-b")]
    assert held(kit, *rides) == {1: "impossible_travel"}


@pytest.mark.parametrize("platform", ["aggregator-b", "self_report-b", "payment-b"])
def test_who_was_not_there_says_nothing_of_places(kit, platform):
    assert held(kit, ride(kit, 1, BEIJING, 0), ride(kit, 2, SHENZHEN, 30, platform)) == {}


def test_what_one_can_do_from_elsewhere_says_nothing_of_places(kit):
    order = kit.record(2, "operator-b", 30, lasts=0, behaviour="FOOD-NOTABLEWARE", region=SHENZHEN)
    assert held(kit, ride(kit, 1, BEIJING, 0), order) == {}


def test_a_ride_that_was_held_says_nothing_about_later_ones(kit):
    rides = [
        ride(kit, 1, BEIJING, 0),
        ride(kit, 2, SHENZHEN, 25, "navigation-b"),
        ride(kit, 3, SHENZHEN, 110, "navigation-b"),
    ]
    assert held(kit, *rides) == {2: "impossible_travel"}


def test_a_ride_that_was_cleared_before_stays(kit):
    live = kit.live(ride(kit, 1, SHENZHEN, 30, "navigation-b"))
    assert held(kit, ride(kit, 2, BEIJING, 0), live=live) == {2: "impossible_travel"}


def test_two_people_are_not_one(kit):
    assert held(kit, ride(kit, 1, BEIJING, 0), ride(kit, 2, SHANGHAI, 5, subject_id=2)) == {}


# Step counts.


def steps(kit: Any, counts: dict[int, float], **told: Any) -> list[Any]:
    """Records by day: record number = day."""
    days = [
        kit.day(day, told.pop("platform", "navigation-a"), "MOB-WALK", count, **told) for day, count in counts.items()
    ]
    return [
        record
        | {"start_at": record["start_at"] + timedelta(days=day), "end_at": record["end_at"] + timedelta(days=day)}
        for day, record in zip(counts, days, strict=True)
    ]


HUMAN = {day: 4_000 + 613 * (day * day % 17) + day for day in range(1, 31)}


def test_days_of_a_person_differ(kit):
    assert held(kit, *steps(kit, HUMAN)) == {}


def test_one_count_on_five_days_is_held_on_all_of_them_and_on_no_other(kit):
    told = HUMAN | dict.fromkeys((2, 9, 11, 20, 27), 66_666)
    assert held(kit, *steps(kit, told)) == dict.fromkeys((2, 9, 11, 20, 27), "same_steps_every_day")
    four = HUMAN | dict.fromkeys((2, 9, 11, 20), 66_666)
    assert held(kit, *steps(kit, four)) == {}


def test_one_count_on_days_far_apart_is_chance(kit):
    assert held(kit, *steps(kit, dict.fromkeys((1, 40, 80, 120, 160), 8_347))) == {}


@pytest.mark.parametrize("count", [10_000, 6_000, 20_500])
def test_caps_and_goals_of_apps_are_round_and_show_nothing(kit, count):
    assert held(kit, *steps(kit, dict.fromkeys(range(1, 31), count))) == {}


def test_few_steps_show_nothing(kit):
    assert held(kit, *steps(kit, dict.fromkeys(range(1, 10), 1_234))) == {}


def test_ten_days_running_as_alike_as_a_machine_s_are_held(kit):
    machine = {day: 8_010 + day * 3 for day in range(5, 15)}
    assert held(kit, *steps(kit, HUMAN | machine)) == dict.fromkeys(machine, "steady_steps")
    nine = {day: 8_010 + day * 3 for day in range(5, 14)}
    assert held(kit, *steps(kit, HUMAN | nine)) == {}


def test_the_most_that_a_day_may_have_day_after_day_is_held(kit):
    full = {day: 91_001 + 31 * day for day in (3, 8, 12, 19, 25)}
    assert held(kit, *steps(kit, HUMAN | full)) == dict.fromkeys(full, "full_steps_every_day")
    assert held(kit, *steps(kit, HUMAN | dict.fromkeys(full, 98_800))) == dict.fromkeys(full, "same_steps_every_day")
    assert held(kit, *steps(kit, HUMAN | {day: full[day] for day in (3, 8, 12, 19)})) == {}


def test_days_of_earlier_windows_are_evidence_counted_or_held(kit):
    live = kit.live(*steps(kit, dict.fromkeys((2, 9, 11, 20), 66_666)))
    assert held(kit, *steps(kit, {27: 66_666}), live=live) == {27: "same_steps_every_day"}
    pattern = kit.live(*steps(kit, dict.fromkeys((2, 9, 11, 20, 21), 66_666)))
    assert pattern["verdict"].unique().to_list() == ["held"]
    assert held(kit, *steps(kit, {27: 66_666}), live=pattern) == {27: "same_steps_every_day"}


def test_the_same_days_told_by_two_platforms_are_one_person_s_days(kit):
    told = dict.fromkeys((2, 9), 66_666)
    more = [record | {"record_id": record["record_id"] + 100, "platform": "payment-b", "role": "payment"} for record in steps(kit, told)]  # fmt: skip  # noqa: E501
    assert held(kit, *steps(kit, told), *more) == {}


def test_walks_in_kilometres_are_no_step_counts(kit):
    walks = [kit.record(n, "navigation-a", DAY * n, lasts=60, km=4.001, behaviour="MOB-WALK") for n in range(1, 12)]
    assert held(kit, *walks) == {}


# What a reviewer released.


def released(kit: Any, *records: Any, acts: dict[int, int], live: pl.DataFrame | None = None) -> dict[int, Any]:
    waived = pl.DataFrame({"record_id": list(acts), "act": list(acts.values())})
    cleared = clear(kit.frame(*records), live, load_policy(), waived=waived)
    again = clear(kit.frame(*reversed(records)), live, load_policy(), waived=waived.reverse())
    assert again.decisions.equals(cleared.decisions)
    assert cleared.decisions["counted_mg"].sum() == cleared.events["mg"].sum()
    return kit.outcome(cleared)


def test_a_released_act_is_not_doubted_again_and_others_are(kit):
    fast = [kit.record(n, "operator-a", 90 * n, km=40, event_key=n) for n in (1, 2)]
    assert held(kit, *fast) == {1: "implausible_speed", 2: "implausible_speed"}
    outcomes = released(kit, *fast, acts={1: 7})
    assert outcomes == {1: ("counted", "single", "only_report"), 2: ("held", "plausibility", "implausible_speed")}


def test_released_reports_of_one_act_stay_one_act(kit):
    # By themselves these are two rides: hours apart, and without a key in common.
    two = [kit.record(1, "operator-a", 0, km=40), kit.record(2, "navigation-b", 300, km=41)]
    outcomes = released(kit, *two, acts={1: 7, 2: 7})
    assert outcomes[1] == ("counted", "T1", "first_in_role_order")
    assert outcomes[2] == ("duplicate", "T1", "released_together")
    apart = released(kit, *two, acts={1: 7, 2: 8})
    assert [verdict for verdict, _, _ in apart.values()] == ["counted", "counted"]


def test_a_released_act_that_counts_already_is_a_duplicate(kit):
    live = kit.live(kit.record(1, "operator-a", km=2, event_key=5))
    assert released(kit, kit.record(2, "operator-b", km=40, event_key=5), acts={2: 1}, live=live) == {
        2: ("duplicate", "T2", "same_event_key")
    }


def test_a_released_act_is_in_the_day_s_total_of_the_others(kit):
    rides = [kit.record(n, "operator-a", 130 * n, lasts=120, km=90, event_key=n) for n in range(1, 4)]
    assert held(kit, *rides) == {3: "implausible_day_total"}
    outcomes = released(kit, *rides, acts={3: 1})
    assert {number for number, (verdict, _, _) in outcomes.items() if verdict == "held"} == {2}


def test_numbers_of_released_acts_are_each_person_s_own(kit):
    rides = [kit.record(n, "operator-a", 300 * n, km=40, subject_id=n % 2 + 1) for n in range(1, 7)]
    outcomes = released(kit, *rides, acts={n: 1_000 + n for n in range(1, 7)})
    assert [verdict for verdict, _, _ in outcomes.values()] == ["counted"] * 6


# Whatever the order.

places = st.sampled_from([BEIJING, TIANJIN, SHANGHAI, SHENZHEN, 510104, 310000, None])
roles = st.sampled_from(["operator-a", "operator-b", "navigation-c", "meter-d", "aggregator-e"])


@settings(max_examples=60, deadline=None)
@given(told=st.lists(st.tuples(places, roles, st.integers(0, 240)), min_size=2, max_size=12), data=st.data())
def test_the_order_of_records_never_matters(kit, told, data):
    rides = [
        ride(kit, n, region, minute, platform, behaviour="MOB-BIKE", lasts=5, km=1.0 + n)
        for n, (region, platform, minute) in enumerate(told, 1)
    ]
    mixed = data.draw(st.permutations(rides))
    one, other = kit.clear(*rides), kit.clear(*mixed)
    assert one.decisions.equals(other.decisions)
    assert one.events.equals(other.events)


@settings(max_examples=60, deadline=None)
@given(
    counts=st.dictionaries(
        st.integers(1, 45), st.sampled_from([66_666, 8_011, 8_013, 8_040, 95_001, 98_800, 7_000]), min_size=5
    ),
    data=st.data(),
)
def test_every_day_of_a_pattern_is_held_in_any_order(kit, counts, data):
    days = steps(kit, counts)
    mixed = data.draw(st.permutations(days))
    assert kit.clear(*days).decisions.equals(kit.clear(*mixed).decisions)
    same = [day for day, count in counts.items() if count == 66_666]
    run = [d for d in same if sum(0 <= other - first < 31 for other in same for first in [d]) >= 5]
    reasons = held(kit, *days)
    assert {reasons.get(day) for day in run} <= {"same_steps_every_day"}


def test_without_its_sections_a_policy_holds_nothing_of_the_sort(kit):
    policy = load_policy()
    bare = replace(policy, doubts=replace(policy.doubts, energy=None, travel=None, steps=None))
    told = [
        *steps(kit, dict.fromkeys((2, 9, 11, 20, 27), 66_666)),
        ride(kit, 101, BEIJING, 0), ride(kit, 102, SHANGHAI, 25, "operator-b"),
        kit.record(103, "meter-a", 500, lasts=20, quantity_micro=kwh(390), **ENERGY),
    ]  # fmt: skip
    assert set(held(kit, *told).values()) == {"same_steps_every_day", "impossible_travel", "implausible_power"}
    decisions = clear(kit.frame(*told), None, bare).decisions
    assert decisions.filter(pl.col("verdict") == "held").is_empty()
