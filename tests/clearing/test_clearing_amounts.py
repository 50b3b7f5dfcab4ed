"""What a counted act is worth."""

from typing import Any

import numpy as np
import pytest

from hub.clearing.kernel.clear import RECORD_COLUMNS
from hub.clearing.kernel.codes import build_catalogue
from hub.clearing.kernel.encode import PlatformNames, encode_records
from hub.clearing.kernel.valuing import Valuer
from standards.methodology import load_methodology
from standards.policy import load_policy


def test_the_amount_is_the_methodologys_on_the_canonical_record(kit: Any, rate: Any) -> None:
    cleared = kit.clear(kit.record(1, "operator-a", km=2), kit.record(2, "navigation-b", km=2.08))
    assert kit.counted(cleared) == {1: 2 * rate("MOB-BIKE", "km")}


def test_a_countable_act_without_a_quantity_counts_one(kit: Any, rate: Any) -> None:
    cleared = kit.clear(kit.record(1, "operator-a", behaviour="MOB-METRO"))
    assert kit.counted(cleared) == {1: rate("MOB-METRO", "trip")}


def test_a_bus_told_in_kilometres_without_a_quantity_is_not_one_kilometre(kit: Any) -> None:
    assert kit.counted(kit.clear(kit.record(1, "operator-a", behaviour="MOB-BUS", unit="km"))) == {1: 0}


def test_the_next_ranked_record_gives_the_quantity_that_the_canonical_one_does_not_tell(kit: Any, rate: Any) -> None:
    cleared = kit.clear(
        kit.record(1, "operator-a"),
        kit.record(2, "navigation-b", km=2, event_key=None),
        kit.record(3, "aggregator-c", km=9, minute=0.1, lasts=10),
    )
    assert kit.counted(cleared)[1] == 2 * rate("MOB-BIKE", "km")


def test_never_more_than_the_platform_claimed(kit: Any, rate: Any) -> None:
    most = 2 * rate("MOB-BIKE", "km")
    assert kit.counted(kit.clear(kit.record(1, "operator-a", km=2, claimed_mg=1000))) == {1: 1000}
    assert kit.counted(kit.clear(kit.record(1, "operator-a", km=2, claimed_mg=most + 1))) == {1: most}


def test_the_claims_of_a_split_payment_add_up_but_those_of_a_repeated_delivery_do_not(kit: Any) -> None:
    ride = {"behaviour": "MOB-METRO", "lasts": 0, "payment_key": 9, "claimed_mg": 100}
    parts = kit.clear(kit.record(1, "payment-a", **ride), kit.record(2, "payment-a", minute=0.03, **ride))
    again = kit.clear(kit.record(1, "payment-a", **ride), kit.record(2, "payment-a", **ride))
    assert kit.counted(parts) == {1: 200}
    assert kit.counted(again) == {1: 100}


def test_a_part_without_a_claim_sets_no_limit(kit: Any, rate: Any) -> None:
    ride = {"behaviour": "MOB-METRO", "lasts": 0, "payment_key": 9}
    cleared = kit.clear(
        kit.record(1, "payment-a", claimed_mg=100, **ride), kit.record(2, "payment-a", minute=0.03, **ride)
    )
    assert kit.counted(cleared) == {1: rate("MOB-METRO", "trip")}


def test_the_rest_of_a_day_is_what_the_trips_leave(kit: Any, rate: Any) -> None:
    cleared = kit.clear(
        kit.record(1, "navigation-a", behaviour="MOB-WALK", unit="km", km=1, lasts=14),
        kit.day(2, "self_report-b", "MOB-WALK", 8000),
    )
    assert kit.counted(cleared) == {1: rate("MOB-WALK", "km"), 2: 6600 * rate("MOB-WALK", "steps")}


@pytest.mark.parametrize("quantity_micro", [0, 1, 4_395_000, 500_000, 1_500_000, 123_456_789, 99_999_999_999])
def test_the_bulk_engines_amounts_are_those_of_quantification(kit: Any, quantity_micro: int) -> None:
    policy = load_policy()
    catalogue, names = build_catalogue(policy.role_order), PlatformNames()
    frame = kit.frame(
        *(kit.record(b, behaviour=code, quantity_micro=quantity_micro) for b, code in enumerate(catalogue.behaviours))
    )
    known, _ = encode_records(frame.select(RECORD_COLUMNS).to_arrow(), catalogue, names)
    untold = frame.drop("reference_mg").to_arrow()
    rows, _ = encode_records(untold, catalogue, names)
    Valuer(catalogue, load_methodology()).fill(rows)
    assert np.array_equal(rows["reference"], known["reference"])


def test_a_flood_of_acts_in_one_day_is_held_beyond_the_limit(kit: Any) -> None:
    limit = load_policy().max_day_acts
    flood = [kit.record(n, behaviour="MOB-METRO", minute=10 * n, lasts=5) for n in range(limit + 5)]
    outcomes = kit.outcome(kit.clear(*flood))
    held = {number for number, outcome in outcomes.items() if outcome == ("held", "plausibility", "implausible_day")}
    assert held == set(range(limit, limit + 5))


def test_more_candidates_at_once_than_anyone_can_have_are_held_and_do_not_stop_the_rest(kit: Any) -> None:
    most = load_policy().match.component
    meal = {"behaviour": "USE-EWAYBILL", "lasts": 0}
    crowd = [kit.record(n, "operator-a", minute=n / 600, event_key=n + 1, **meal) for n in range(most + 10)]
    late = kit.record(9999, "aggregator-b", minute=1, **meal)
    outcomes = kit.outcome(kit.clear(*crowd, late, kit.record(10000, km=2, subject_id=2)))
    assert outcomes[9999] == ("held", "T4", "too_many_candidates")
    assert outcomes[10000] == ("counted", "single", "only_report")
