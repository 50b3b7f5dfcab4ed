"""What is learnt over all records, and that the layout of the records does not matter for it."""

from datetime import timedelta
from typing import Any

import polars as pl
import pytest

from hub.clearing.kernel.clear import observe
from hub.clearing.kernel.facts import Facts, conclude, merge_evidence
from standards.policy import load_policy

DUMMY = 999_999_999


def learn(frame: pl.DataFrame) -> Facts:
    return conclude(observe(frame, None, load_policy()), load_policy())


def town(kit: Any, people: int) -> pl.DataFrame:
    """People whose bank pays bike rides at the begin, calls trams buses, and sends a dummy order number."""
    records = []
    for person in range(people):
        ride, tram = 10 * person, 10 * person + 5
        who = {"subject_id": person}
        records += [
            kit.record(ride, "operator-a", km=8, lasts=40, payment_key=ride + 1, **who),
            kit.record(ride + 1, "payment-b", lasts=0, payment_key=ride + 1, event_key=DUMMY, **who),
            kit.record(tram, "operator-c", minute=90, behaviour="MOB-METRO", event_key=tram + 1, **who),
            kit.record(tram + 1, "aggregator-d", minute=90, behaviour="MOB-BUS", event_key=tram + 1, **who),
        ]
    return kit.frame(*records)


def test_a_key_of_many_people_is_no_key(kit: Any) -> None:
    facts = learn(town(kit, 6))
    assert facts.junk_event_keys.to_list() == [DUMMY]
    two = [kit.record(n, "operator-a", km=2, minute=300 * n, subject_id=3, event_key=DUMMY) for n in (1, 2)]
    assert set(kit.outcome(kit.clear(*two, facts=facts)).values()) == {("counted", "single", "only_report")}


def test_three_people_may_carry_one_key(kit: Any) -> None:
    assert learn(town(kit, 3)).junk_event_keys.to_list() == []


def test_where_keys_show_that_a_platform_tells_the_begin_its_role_does_not_matter(kit: Any) -> None:
    facts = learn(town(kit, 6))
    assert facts.ends["payment-b", "MOB-BIKE"] == 0
    paid = [kit.record(1, "operator-a", km=8, lasts=40), kit.record(2, "payment-b", lasts=0, minute=0.2)]
    assert kit.outcome(kit.clear(*paid, facts=facts))[2][0] == "duplicate"
    assert kit.outcome(kit.clear(*paid))[2][0] == "counted"


def test_where_keys_show_that_a_platform_mixes_behaviours_up_it_is_forgiven(kit: Any) -> None:
    facts = learn(town(kit, 6))
    assert facts.mixes["aggregator-d", "MOB-BUS"] is True
    told = [
        kit.record(1, "operator-c", behaviour="MOB-METRO"),
        kit.record(2, "aggregator-d", behaviour="MOB-BUS", minute=2.5),
    ]
    assert kit.outcome(kit.clear(*told, facts=facts))[2][0] == "duplicate"
    assert kit.outcome(kit.clear(*told))[2] == ("held", "T4", "uncertain")


def test_two_operators_that_are_seen_to_report_the_same_acts_match_without_keys(kit: Any) -> None:
    shared = [
        kit.record(2 * n + k, f"operator-{'ab'[k]}", km=2, subject_id=n, event_key=n + 1)
        for n in range(6)
        for k in (0, 1)
    ]
    told = [kit.record(1, "operator-a", km=2), kit.record(2, "operator-b", km=2, minute=0.3)]
    facts = learn(kit.frame(*shared))
    assert facts.together == {("operator-a", "operator-b")}
    assert kit.outcome(kit.clear(*told, facts=facts))[2][0] == "duplicate"
    # Without that knowledge the two rides at once are a conflict.
    assert kit.outcome(kit.clear(*told))[2] == ("held", "T3", "two_trips_at_once")


def test_the_service_day_begins_where_most_day_records_do(kit: Any) -> None:
    days = [kit.day(n, "operator-a", "MOB-NODRIVE", subject_id=n) for n in range(4)]
    moved = [d | {k: d[k] + timedelta(hours=8) for k in ("start_at", "end_at")} for d in days]
    assert learn(kit.frame(*days)).day_offset_us == 16 * 3_600_000_000
    assert learn(kit.frame(*moved)).day_offset_us == 0
    assert learn(kit.frame(kit.record(1, km=2))).day_offset_us == 16 * 3_600_000_000


def test_a_full_car_may_share_one_key_and_a_bus_may_not(kit: Any) -> None:
    def riders(people: int) -> pl.DataFrame:
        return kit.frame(
            *(kit.record(n, behaviour="MOB-CARPOOL", km=9, lasts=20, subject_id=n, event_key=5) for n in range(people))
        )

    assert learn(riders(6)).owners.rows() == [(5, 0)]
    assert learn(riders(7)).owners.rows() == []


@pytest.mark.parametrize("parts", [1, 2, 5])
def test_any_split_by_people_teaches_the_same(kit: Any, parts: int) -> None:
    whole = town(kit, 9)
    pieces = [whole.filter(pl.col("subject_id") % parts == part) for part in range(parts)]
    policy = load_policy()
    merged = conclude(merge_evidence([observe(piece, None, policy) for piece in pieces]), policy)
    facts = learn(whole)
    assert merged.junk_event_keys.to_list() == facts.junk_event_keys.to_list()
    assert (merged.ends, merged.mixes, merged.own) == (facts.ends, facts.mixes, facts.own)
    assert merged.together == facts.together
    assert merged.owners.equals(facts.owners)
