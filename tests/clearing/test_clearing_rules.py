"""What clearing decides, case by case: one row per outcome, in the order of the tiers."""

from datetime import timedelta
from typing import Any

import pytest

from hub.clearing.kernel.vocabulary import Reason
from standards.schema import Verdict

ORDER, OTHER_ORDER, PAYMENT = 101, 102, 900
# Those that a whole day, two places or many days make: test_clearing_doubts.py.
IN_DOUBTS = {
    "implausible_power", "implausible_energy", "implausible_day_total", "impossible_travel", "same_steps_every_day",
    "steady_steps", "full_steps_every_day", "released_together",
}  # fmt: skip
TRIP = {"behaviour": "MOB-METRO", "lasts": 20}
MEAL = {"behaviour": "FOOD-NOTABLEWARE", "lasts": 0}


def seconds(n: float) -> float:
    return n / 60


# name, records as (method, number, platform, arguments), outcome by record number
CASES: list[tuple[str, list[tuple[str, int, str, dict[str, Any]]], dict[int, tuple[str, str, str]]]] = [
    (
        "a lone record counts",
        [("record", 1, "operator-a", {"km": 2})],
        {1: ("counted", "single", "only_report")},
    ),
    (
        "the same content under another number is a duplicate",
        [("record", 1, "operator-a", {"km": 2}), ("record", 2, "operator-a", {"km": 2})],
        {1: ("counted", "T1", "first_in_role_order"), 2: ("duplicate", "T1", "same_content")},
    ),
    (
        "one order number is one act, whatever the clocks say",
        [
            ("record", 1, "aggregator-b", {"km": 2, "minute": 480, "event_key": ORDER}),
            ("record", 2, "operator-a", {"km": 2, "event_key": ORDER}),
        ],
        {1: ("duplicate", "T2", "same_event_key"), 2: ("counted", "T2", "first_in_role_order")},
    ),
    (
        "one order number a week apart is two acts: somebody reuses numbers",
        [
            ("record", 1, "operator-a", {"km": 2, "event_key": ORDER}),
            ("record", 2, "operator-a", {"km": 2, "minute": 7 * 1440, "event_key": ORDER}),
        ],
        {1: ("counted", "single", "only_report"), 2: ("counted", "single", "only_report")},
    ),
    (
        "one payment number is one act",
        [
            ("record", 1, "operator-a", {"km": 2, "payment_key": PAYMENT}),
            ("record", 2, "payment-b", {"minute": 30, "lasts": 0, "payment_key": PAYMENT}),
        ],
        {1: ("counted", "T2", "first_in_role_order"), 2: ("duplicate", "T2", "same_payment_key")},
    ),
    (
        "one payment for the way there and back does not make two orders one act",
        [
            ("record", 1, "operator-a", {"km": 2, "event_key": ORDER, "payment_key": PAYMENT}),
            ("record", 2, "operator-a", {"km": 2, "minute": 60, "event_key": OTHER_ORDER, "payment_key": PAYMENT}),
        ],
        {1: ("counted", "single", "only_report"), 2: ("counted", "single", "only_report")},
    ),
    (
        "parts of one payment are one act",
        [
            ("record", 1, "payment-a", TRIP | {"lasts": 0}),
            ("record", 2, "payment-a", TRIP | {"lasts": 0, "minute": seconds(2)}),
        ],
        {1: ("counted", "T2", "first_in_role_order"), 2: ("duplicate", "T2", "part_of_payment")},
    ),
    (
        "a second platform's report at nearly the same time is a duplicate",
        [
            ("record", 1, "operator-a", {"km": 2}),
            ("record", 2, "navigation-b", {"km": 2.05, "minute": seconds(40)}),
        ],
        {1: ("counted", "T4", "first_in_role_order"), 2: ("duplicate", "T4", "same_time_and_amount")},
    ),
    (
        "a payment for a bike comes at the end of the ride",
        [
            ("record", 1, "operator-a", {"km": 8, "lasts": 40}),
            ("record", 2, "payment-b", {"minute": 40.3, "lasts": 0}),
        ],
        {1: ("counted", "T4", "first_in_role_order"), 2: ("duplicate", "T4", "same_time_and_amount")},
    ),
    (
        "a bank that calls the metro a bus reports the same ride",
        [
            ("record", 1, "operator-a", TRIP),
            ("record", 2, "payment-b", {"behaviour": "MOB-BUS", "lasts": 0, "minute": seconds(20)}),
        ],
        {1: ("counted", "T4", "first_in_role_order"), 2: ("duplicate", "T4", "same_time_and_amount")},
    ),
    (
        "two order numbers never become one act",
        [
            ("record", 1, "operator-a", MEAL | {"event_key": ORDER}),
            ("record", 2, "aggregator-b", MEAL | {"event_key": OTHER_ORDER, "minute": seconds(5)}),
        ],
        {1: ("counted", "single", "only_report"), 2: ("counted", "single", "only_report")},
    ),
    (
        "two operators do not report one ride",
        [
            ("record", 1, "operator-a", {"km": 2}),
            ("record", 2, "operator-b", {"km": 2, "minute": 10.5}),
        ],
        {1: ("counted", "single", "only_report"), 2: ("counted", "single", "only_report")},
    ),
    (
        "a transfer is a second trip",
        [
            ("record", 1, "operator-a", TRIP),
            ("record", 2, "operator-a", {"behaviour": "MOB-BUS", "minute": 22, "lasts": 15}),
        ],
        {1: ("counted", "single", "only_report"), 2: ("counted", "single", "only_report")},
    ),
    (
        "two orders and two late reports match in the order of time",
        [
            ("record", 1, "operator-a", MEAL),
            ("record", 2, "operator-a", MEAL | {"minute": seconds(90)}),
            ("record", 3, "aggregator-b", MEAL | {"minute": seconds(60)}),
            ("record", 4, "aggregator-b", MEAL | {"minute": seconds(150)}),
        ],
        {
            1: ("counted", "T4", "first_in_role_order"),
            2: ("counted", "T4", "first_in_role_order"),
            3: ("duplicate", "T4", "same_time_and_amount"),
            4: ("duplicate", "T4", "same_time_and_amount"),
        },
    ),
    (
        "a report halfway between two orders is a tie and held",
        [
            ("record", 1, "operator-a", MEAL),
            ("record", 2, "operator-a", MEAL | {"minute": 2}),
            ("record", 3, "aggregator-b", MEAL | {"minute": 1}),
        ],
        {
            1: ("counted", "single", "only_report"),
            2: ("counted", "single", "only_report"),
            3: ("held", "T4", "tie"),
        },
    ),
    (
        "a report between the thresholds is held",
        [
            ("record", 1, "operator-a", MEAL),
            ("record", 2, "aggregator-b", MEAL | {"minute": seconds(650)}),
        ],
        {1: ("counted", "single", "only_report"), 2: ("held", "T4", "uncertain")},
    ),
    (
        "a booking by day joins the only act of its day",
        [
            ("record", 1, "operator-a", TRIP),
            ("day", 2, "payment-b", {"behaviour": "MOB-METRO", "payment_key": PAYMENT}),
        ],
        {1: ("counted", "T4", "first_in_role_order"), 2: ("duplicate", "T4", "only_candidate_of_day")},
    ),
    (
        "a booking by day that fits two acts is held",
        [
            ("record", 1, "operator-a", TRIP),
            ("record", 2, "operator-a", TRIP | {"minute": 60}),
            ("day", 3, "payment-b", {"behaviour": "MOB-METRO", "payment_key": PAYMENT}),
        ],
        {
            1: ("counted", "single", "only_report"),
            2: ("counted", "single", "only_report"),
            3: ("held", "T4", "tie"),
        },
    ),
    (
        "a day has one number of steps, also when one platform is in the wrong zone",
        [
            ("day", 1, "navigation-a", {"behaviour": "MOB-WALK", "amount": 8000}),
            ("day", 2, "self_report-b", {"behaviour": "MOB-WALK", "amount": 7600, "hours": 8}),
        ],
        {1: ("counted", "T4", "first_in_role_order"), 2: ("duplicate", "T4", "same_day_act")},
    ),
    (
        "of two trips at once the weaker witness is held",
        [
            ("record", 1, "operator-a", TRIP),
            ("record", 2, "navigation-b", {"km": 3, "minute": 4, "lasts": 12}),
        ],
        {1: ("counted", "single", "only_report"), 2: ("held", "T3", "two_trips_at_once")},
    ),
    (
        "a day without a car does not count beside a trip",
        [
            ("record", 1, "operator-a", TRIP),
            ("day", 2, "operator-b", {"behaviour": "MOB-NODRIVE"}),
        ],
        {1: ("counted", "single", "only_report"), 2: ("overlapped", "no-drive-day", "displaced")},
    ),
    (
        "a day's driving does not count beside its charge",
        [
            ("record", 1, "meter-a", {"behaviour": "MOB-EVCHARGE", "km": 24, "lasts": 60}),
            ("day", 2, "meter-b", {"behaviour": "MOB-EV", "amount": 150}),
        ],
        {1: ("counted", "single", "only_report"), 2: ("overlapped", "charge-and-drive", "displaced")},
    ),
    (
        "a navigated walk is taken off the day's steps",
        [
            ("record", 1, "navigation-a", {"behaviour": "MOB-WALK", "unit": "km", "km": 1, "lasts": 14}),
            ("day", 2, "self_report-b", {"behaviour": "MOB-WALK", "amount": 8000}),
        ],
        {1: ("counted", "single", "only_report"), 2: ("counted", "steps-and-walk", "rest_of_day")},
    ),
    (
        "steps that the walk has all are contained",
        [
            ("record", 1, "navigation-a", {"behaviour": "MOB-WALK", "unit": "km", "km": 6, "lasts": 80}),
            ("day", 2, "self_report-b", {"behaviour": "MOB-WALK", "amount": 8000}),
        ],
        {1: ("counted", "single", "only_report"), 2: ("overlapped", "steps-and-walk", "contained")},
    ),
    (
        "a day's total of rides that were all told does not count",
        [
            ("record", 1, "operator-a", {"km": 2}),
            ("record", 2, "operator-a", {"km": 3, "minute": 60, "lasts": 15}),
            ("day", 3, "aggregator-b", {"behaviour": "MOB-BIKE", "amount": 5.02}),
        ],
        {
            1: ("counted", "single", "only_report"),
            2: ("counted", "single", "only_report"),
            3: ("overlapped", "day-total", "told_one_by_one"),
        },
    ),
    (
        "a day's total counts for the rides that nobody else told",
        [
            ("record", 1, "operator-a", {"km": 2}),
            ("day", 2, "aggregator-b", {"behaviour": "MOB-BIKE", "amount": 5}),
        ],
        {1: ("counted", "single", "only_report"), 2: ("counted", "day-total", "rest_of_day")},
    ),
    (
        "an e-card counts once in a life",
        [
            ("record", 1, "operator-a", {"behaviour": "FIN-ECARD", "lasts": 0}),
            ("record", 2, "payment-b", {"behaviour": "FIN-ECARD", "lasts": 0, "minute": 3 * 1440}),
        ],
        {1: ("counted", "single", "only_report"), 2: ("overlapped", "once", "counted_once_before")},
    ),
    (
        "a ride that two people share counts for one of them",
        [
            ("record", 1, "operator-a", {"behaviour": "MOB-CARPOOL", "km": 11, "lasts": 25, "event_key": ORDER}),
            (
                "record",
                2,
                "operator-a",
                {"behaviour": "MOB-CARPOOL", "km": 11, "lasts": 25, "event_key": ORDER, "subject_id": 2},
            ),
        ],
        {1: ("counted", "single", "only_report"), 2: ("overlapped", "shared-ride", "counted_for_other_person")},
    ),
    (
        "too far for a bike is held",
        [("record", 1, "operator-a", {"km": 400, "lasts": 600})],
        {1: ("held", "plausibility", "implausible_quantity")},
    ),
    (
        "too fast for a bike is held",
        [("record", 1, "operator-a", {"km": 80, "lasts": 20})],
        {1: ("held", "plausibility", "implausible_speed")},
    ),
    (
        "too long for a ride is held",
        [("record", 1, "operator-a", {"km": 80, "lasts": 3 * 1440})],
        {1: ("held", "plausibility", "implausible_duration")},
    ),
    (
        "no quantity from anybody counts nothing",
        [("record", 1, "payment-a", {"lasts": 0})],
        {1: ("counted", "single", "no_quantity")},
    ),
    (
        "unknown behaviour",
        [("record", 1, "operator-a", {"behaviour": "MOB-X"})],
        {1: ("rejected", "input", "unknown_behaviour")},
    ),
    ("unknown role", [("record", 1, "witness-a", {"km": 2})], {1: ("rejected", "input", "unknown_role")}),
    (
        "unknown precision",
        [("record", 1, "operator-a", {"precision": "week"})],
        {1: ("rejected", "input", "unknown_precision")},
    ),
    ("unknown unit", [("record", 1, "operator-a", {"unit": "mile"})], {1: ("rejected", "input", "unknown_unit")}),
    ("missing value", [("record", 1, "operator-a", {"subject_id": None})], {1: ("rejected", "input", "missing_value")}),
    (
        "a document of one's own counts for nothing by itself",
        [("record", 1, "declared-bills", {"km": 2})],
        {1: ("held", "single", "declared_only")},
    ),
    ("end before start", [("record", 1, "operator-a", {"lasts": -1})], {1: ("rejected", "input", "end_before_start")}),
    ("bad quantity", [("record", 1, "operator-a", {"km": -1})], {1: ("rejected", "input", "bad_quantity")}),
    ("bad claim", [("record", 1, "operator-a", {"claimed_mg": -1})], {1: ("rejected", "input", "bad_claim")}),
    (
        "far future",
        [("record", 1, "operator-a", {"minute": 100_000_000})],
        {1: ("rejected", "input", "time_out_of_range")},
    ),
]


def build(kit: Any, method: str, number: int, platform: str, told: dict[str, Any]) -> Any:
    told = dict(told)
    if method == "record":
        return kit.record(number, platform, **told)
    hours, behaviour = told.pop("hours", 0), told.pop("behaviour")
    record = kit.day(number, platform, behaviour, told.pop("amount", None), **told)
    shift = timedelta(hours=hours)
    return record | {"start_at": record["start_at"] + shift, "end_at": record["end_at"] + shift}


@pytest.mark.parametrize(("name", "told", "expected"), CASES, ids=[case[0] for case in CASES])
def test_each_case_has_its_outcome(kit: Any, name: str, told: list[Any], expected: dict[int, Any]) -> None:
    records = [build(kit, *record) for record in told]
    assert kit.outcome(kit.clear(*records)) == expected
    assert kit.outcome(kit.clear(*reversed(records))) == expected


def test_the_table_covers_every_verdict_and_reason() -> None:
    outcomes = [outcome for _, _, expected in CASES for outcome in expected.values()]
    assert {verdict for verdict, _, _ in outcomes} == set(Verdict)
    elsewhere = {"implausible_day", "too_many_candidates", "no_rate"} | IN_DOUBTS
    assert {reason for _, _, reason in outcomes} == {r.name.lower() for r in Reason} - elsewhere


def test_a_held_trip_does_not_hide_an_earlier_one_from_the_next(kit):
    told = [
        kit.record(1, "operator-a", 0, lasts=100, behaviour="MOB-METRO"),
        kit.record(2, "aggregator-b", 30, lasts=170, behaviour="MOB-CARPOOL", km=20),
        kit.record(3, "operator-c", 60, lasts=20, km=3),
    ]
    outcome = kit.outcome(kit.clear(*told))
    assert outcome[1][0] == "counted"
    assert [outcome[number][0] for number in (2, 3)] == ["held", "held"]
