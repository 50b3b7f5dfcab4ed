"""What platforms are seen to do without any key in common, and what follows for records that tell little."""

from typing import Any

import polars as pl
import pytest

from hub.clearing.kernel.clear import observe
from hub.clearing.kernel.facts import Facts, conclude
from standards.policy import load_policy


def learn(frame: pl.DataFrame) -> Facts:
    return conclude(observe(frame, None, load_policy()), load_policy())


def metro(kit: Any, number: int, platform: str, **told: Any) -> Any:
    return kit.record(number, platform, behaviour="MOB-METRO", **{"lasts": 30} | told)


def gates(kit: Any, people: int = 6) -> list[Any]:
    """A gate tells a whole ride, a bank that it was paid when leaving, a city when it began; nobody gives keys."""
    records = []
    for person in range(people):
        who = {"subject_id": 100 + person}
        records += [
            metro(kit, 1000 + 10 * person, "operator-gate", **who),
            metro(kit, 1001 + 10 * person, "payment-bank", minute=30.1, lasts=0, **who),
            metro(kit, 1002 + 10 * person, "aggregator-city", minute=0.2, lasts=0, **who),
        ]
    return records


def test_moments_that_fall_on_the_ends_of_others_acts_are_ends(kit: Any) -> None:
    facts = learn(kit.frame(*gates(kit)))
    assert (facts.ends["payment-bank", "MOB-METRO"], facts.ends["aggregator-city", "MOB-METRO"]) == (1, 0)
    assert facts.ends["payment-bank", "MOB-BUS"] == 1, "of the rest of the family the same is believed"
    ride = [metro(kit, 1, "operator-gate"), metro(kit, 2, "payment-bank", minute=30.3, lasts=0)]
    assert kit.outcome(kit.clear(*ride, facts=facts))[2] == ("duplicate", "T4", "same_time_and_amount")
    assert kit.outcome(kit.clear(*ride))[2][0] == "counted", "a bank's moment is no end where nothing shows it"


def test_five_pairs_are_needed(kit: Any) -> None:
    assert learn(kit.frame(*gates(kit, 4))).ends == {}


def test_a_platform_that_tells_now_begins_and_now_ends_is_believed_either(kit: Any) -> None:
    """A bank whose word for bus stands for trams too, which are paid when leaving."""
    rides = []
    for person in range(12):
        behaviour, paid = (("MOB-METRO", 30.1), ("MOB-BUS", 0.1))[person % 2]
        who = {"subject_id": 100 + person}
        rides += [
            kit.record(1000 + 2 * person, "operator-gate", behaviour=behaviour, lasts=30, **who),
            kit.record(1001 + 2 * person, "payment-bank", behaviour="MOB-BUS", minute=paid, lasts=0, **who),
        ]
    facts = learn(kit.frame(*rides))
    assert facts.ends["payment-bank", "MOB-BUS"] == 2
    for paid in (0.1, 30.1):
        ride = [
            kit.record(1, "operator-gate", behaviour="MOB-BUS", lasts=30),
            kit.record(2, "payment-bank", behaviour="MOB-BUS", minute=paid, lasts=0),
        ]
        assert kit.outcome(kit.clear(*ride, facts=facts))[2][0] == "duplicate"


# --- a begin told by one platform, an end by another ------------------------------------------------------------------


def begin_and_end(kit: Any, minutes: float, **told: Any) -> list[Any]:
    return [
        metro(kit, 1, "payment-bank", minute=minutes, lasts=0, **told),
        metro(kit, 2, "aggregator-city", minute=0, lasts=0),
    ]


@pytest.mark.parametrize("minutes", [0.5, 25, 110])
def test_a_begin_and_an_end_are_one_act_if_it_could_have_lasted_so_long(kit: Any, minutes: float) -> None:
    outcome = kit.outcome(kit.clear(*begin_and_end(kit, minutes), facts=learn(kit.frame(*gates(kit)))))
    assert outcome[2] == ("duplicate", "T4", "same_time_and_amount")


@pytest.mark.parametrize("minutes", [-1, 125])
def test_an_end_before_the_begin_or_too_late_is_another_act(kit: Any, minutes: float) -> None:
    outcome = kit.outcome(kit.clear(*begin_and_end(kit, minutes), facts=learn(kit.frame(*gates(kit)))))
    assert outcome[2][0] == "counted"


def test_rides_one_after_the_other_keep_their_own_ends(kit: Any) -> None:
    """Begins at 0 and 31, ends at 30 and 60: the end at 30 lies next to the begin at 31, and is not its."""
    told = [
        metro(kit, 1, "payment-bank", minute=30, lasts=0),
        metro(kit, 2, "payment-bank", minute=60, lasts=0),
        metro(kit, 3, "aggregator-city", minute=0, lasts=0),
        metro(kit, 4, "aggregator-city", minute=31, lasts=0),
    ]
    decided = kit.clear(*told, facts=learn(kit.frame(*gates(kit)))).decisions
    events = dict(decided.select("record_id", "event_id").iter_rows())
    assert (events[3], events[4]) == (1, 2)


def test_where_two_begins_would_do_as_well_nobody_picks(kit: Any) -> None:
    told = [
        metro(kit, 1, "payment-bank", minute=60, lasts=0),
        metro(kit, 2, "aggregator-city", minute=20, lasts=0),
        metro(kit, 3, "aggregator-city", minute=26, lasts=0),
    ]
    outcome = kit.outcome(kit.clear(*told, facts=learn(kit.frame(*gates(kit)))))
    assert sorted(verdict for verdict, *_ in outcome.values()) == ["counted", "counted", "held"]
    assert ("held", "T4", "tie") in outcome.values()


# --- keys of a platform's own making ----------------------------------------------------------------------------------


def bins(kit: Any, people: int = 6, *, origin: bool = False) -> list[Any]:
    """A bin and a city tell of the same sorted waste, each under a number of its own (or both under the bin's)."""
    records = []
    for person in range(people):
        told = {"subject_id": 100 + person, "behaviour": "HOME-WASTESORT", "lasts": 0, "km": 1}
        records += [
            kit.record(1000 + 2 * person, "operator-bin", event_key=50 + person, **told),
            kit.record(
                1001 + 2 * person, "aggregator-city", minute=0.2, event_key=(50 if origin else 90) + person, **told
            ),
        ]
    return records


def test_numbers_that_never_agree_where_records_meet_contradict_nothing(kit: Any) -> None:
    facts = learn(kit.frame(*bins(kit)))
    assert facts.own["operator-bin", "HOME-WASTESORT"]
    assert facts.own["aggregator-city", "HOME-WASTESORT"]
    one = bins(kit, 1)
    assert kit.outcome(kit.clear(*one, facts=facts))[1001] == ("duplicate", "T4", "same_time_and_amount")
    assert kit.outcome(kit.clear(*one))[1001][0] == "counted", "two order numbers are two orders where nothing is known"


def test_numbers_that_agree_are_the_origins(kit: Any) -> None:
    facts = learn(kit.frame(*bins(kit, 6, origin=True)))
    assert not facts.own["operator-bin", "HOME-WASTESORT"]


def test_two_platforms_own_numbers_that_are_equal_by_chance_join_nothing(kit: Any) -> None:
    facts = learn(kit.frame(*bins(kit)))
    told = {"behaviour": "HOME-WASTESORT", "lasts": 0, "event_key": 7}
    apart = [
        kit.record(1, "operator-bin", km=1, **told),
        kit.record(2, "aggregator-city", minute=600, km=3, **told),
        kit.record(3, "operator-bin", minute=60, km=1, **told),
    ]
    outcome = kit.outcome(kit.clear(*apart, facts=facts))
    assert outcome[2][0] == "counted"
    assert outcome[3] == ("duplicate", "T2", "same_event_key"), "a platform still knows its own number again"


def orders(kit: Any, people: int = 40) -> list[Any]:
    """An app and a city tell of meals under the app's order number, but for one in ten that the city counts itself."""
    records = []
    for person in range(people):
        told = {"subject_id": 100 + person, "behaviour": "FOOD-NOTABLEWARE", "lasts": 0}
        odd = 5_000 if person % 10 == 0 else 0
        records += [
            kit.record(1000 + 2 * person, "operator-app", event_key=50 + person, **told),
            kit.record(1001 + 2 * person, "aggregator-city", minute=0.2, event_key=50 + person + odd, **told),
        ]
    return records


@pytest.mark.parametrize(("minute", "verdict"), [(0.3, "duplicate"), (3, "counted")])
def test_a_number_of_its_own_now_and_then_makes_numbers_say_less(kit: Any, minute: float, verdict: str) -> None:
    facts = learn(kit.frame(*orders(kit)))
    assert facts.own["aggregator-city", "FOOD-NOTABLEWARE"] == 2
    told = {"behaviour": "FOOD-NOTABLEWARE", "lasts": 0}
    meal = [
        kit.record(1, "operator-app", event_key=7, **told),
        kit.record(2, "aggregator-city", minute=minute, event_key=8, **told),
    ]
    assert kit.outcome(kit.clear(*meal, facts=facts))[2][0] == verdict
    assert kit.outcome(kit.clear(*meal))[2][0] == "counted"


# --- one payment, two orders ------------------------------------------------------------------------------------------


def test_a_return_ride_under_one_payment_is_two_rides_of_one_operator(kit: Any) -> None:
    rides = [
        kit.record(1, km=2, lasts=10, event_key=1, payment_key=9),
        kit.record(2, km=2, lasts=9.5, minute=13, event_key=2, payment_key=9),
    ]
    assert {verdict for verdict, *_ in kit.outcome(kit.clear(*rides)).values()} == {"counted"}


def test_two_order_numbers_of_one_payment_are_one_act_only_where_the_spans_meet(kit: Any) -> None:
    first = kit.record(1, km=2, lasts=10, event_key=1, payment_key=9)
    same = kit.record(2, "aggregator-city", km=2, lasts=10, minute=0.3, event_key=2, payment_key=9)
    later = same | kit.record(2, "aggregator-city", km=2, lasts=10, minute=12.5, event_key=2, payment_key=9)
    assert kit.outcome(kit.clear(first, same))[2] == ("duplicate", "T2", "same_payment_key")
    assert kit.outcome(kit.clear(first, later))[2][0] == "counted"


def test_two_order_numbers_of_one_payment_are_two_acts_where_the_amounts_differ(kit: Any) -> None:
    first = kit.record(1, km=2, lasts=10, event_key=1, payment_key=9)
    longer = kit.record(2, "aggregator-city", km=7, lasts=30, minute=5, event_key=2, payment_key=9)
    assert kit.outcome(kit.clear(first, longer))[2][1] != "T2"


def test_one_order_number_weeks_apart_is_two_acts(kit: Any) -> None:
    rides = [
        kit.record(1, km=2, event_key=1),
        kit.record(2, "aggregator-city", km=2, event_key=1, minute=21 * 24 * 60),
    ]
    assert {verdict for verdict, *_ in kit.outcome(kit.clear(*rides)).values()} == {"counted"}


def test_a_platform_is_one_witness_of_an_act(kit: Any) -> None:
    """The bank told of this ride under its payment; what it tells beside it, a minute off, is another one."""
    told = [
        kit.record(1, km=2, payment_key=5),
        kit.record(2, "aggregator-city", km=2, minute=0.2, payment_key=5),
        kit.record(3, "aggregator-city", km=2.02, minute=1),
    ]
    assert kit.outcome(kit.clear(*told))[3][1] != "T4"


def test_among_equals_the_name_decides_and_not_who_came_first(kit: Any) -> None:
    told = [
        kit.record(1, "aggregator-z", km=2, event_key=5),
        kit.record(2, "aggregator-a", km=2, event_key=5),
    ]
    assert kit.outcome(kit.clear(*told))[2] == ("counted", "T2", "first_in_role_order")


def test_a_ride_told_again_with_another_claim_is_the_same_ride(kit: Any) -> None:
    again = [kit.record(1, km=2, claimed_mg=90_000), kit.record(2, km=2, claimed_mg=70_000)]
    assert kit.outcome(kit.clear(*again))[2] == ("duplicate", "T1", "same_content")


def test_a_begin_and_an_end_of_what_has_no_usual_length_are_compared_as_moments(kit: Any) -> None:
    walks = []
    for person in range(6):
        told = {"subject_id": 100 + person, "behaviour": "MOB-WALK"}
        walks += [
            kit.record(1000 + 3 * person, "operator-map", lasts=30, **told),
            kit.record(1001 + 3 * person, "payment-shop", minute=30.1, lasts=0, **told),
            kit.record(1002 + 3 * person, "aggregator-city", minute=0.1, lasts=0, **told),
        ]
    facts = learn(kit.frame(*walks))
    assert facts.ends["payment-shop", "MOB-WALK"] == 1
    apart = [
        kit.record(1, "payment-shop", lasts=0, behaviour="MOB-WALK"),
        kit.record(2, "aggregator-city", lasts=0, behaviour="MOB-WALK"),
    ]
    assert kit.outcome(kit.clear(*apart, facts=facts))[2][0] == "duplicate"
