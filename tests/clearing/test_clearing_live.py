"""Records of earlier windows: their decisions stay, and what comes later gives way to them."""

from typing import Any

import polars as pl


def test_a_late_report_of_a_live_event_is_its_duplicate(kit: Any) -> None:
    live = kit.live(kit.record(1, "aggregator-b", km=2))
    cleared = kit.clear(kit.record(2, "operator-a", km=2, minute=0.5), live=live)
    assert kit.outcome(cleared) == {2: ("duplicate", "T4", "same_time_and_amount")}
    assert cleared.decisions.select("event_id", "canonical_record_id", "counted_mg").row(0) == (1, 1, 0)
    assert cleared.events.is_empty()


def test_live_records_get_no_decision_and_no_event(kit: Any) -> None:
    live = kit.live(kit.record(1, km=2), kit.record(2, "navigation-b", km=2))
    cleared = kit.clear(kit.record(3, km=2, minute=60), live=live)
    assert cleared.decisions["record_id"].to_list() == [3]
    assert cleared.events["event_id"].to_list() == [3]


def test_a_new_record_never_joins_two_live_events(kit: Any) -> None:
    live = kit.live(kit.record(1, km=2, event_key=7), kit.record(2, km=2, minute=60, payment_key=8))
    assert kit.counted(kit.clear(live=live)) == {}
    cleared = kit.clear(kit.record(3, "payment-b", minute=30, lasts=0, event_key=7, payment_key=8), live=live)
    assert cleared.decisions.select("verdict", "event_id").row(0) == ("duplicate", 1)


def test_a_redelivery_in_a_later_window_is_a_duplicate(kit: Any) -> None:
    live = kit.live(kit.record(1, km=2))
    assert kit.outcome(kit.clear(kit.record(2, km=2), live=live)) == {2: ("duplicate", "T1", "same_content")}


def test_a_trip_gives_way_to_a_live_day_without_a_car(kit: Any) -> None:
    live = kit.live(kit.day(1, "operator-b", "MOB-NODRIVE"))
    cleared = kit.clear(kit.record(2, behaviour="MOB-METRO"), live=live)
    assert kit.outcome(cleared) == {2: ("overlapped", "no-drive-day", "displaced")}
    assert cleared.decisions["canonical_record_id"].to_list() == [1]


def test_a_walk_gives_way_to_the_live_steps_of_its_day(kit: Any) -> None:
    live = kit.live(kit.day(1, "self_report-b", "MOB-WALK", 8000))
    cleared = kit.clear(kit.record(2, "navigation-a", behaviour="MOB-WALK", unit="km", km=1, lasts=14), live=live)
    assert kit.outcome(cleared) == {2: ("overlapped", "steps-and-walk", "contained")}


def test_a_ride_gives_way_to_a_live_day_total(kit: Any) -> None:
    live = kit.live(kit.day(1, "aggregator-b", "MOB-BIKE", 5))
    assert kit.outcome(kit.clear(kit.record(2, km=2), live=live)) == {2: ("overlapped", "day-total", "told_one_by_one")}


def test_a_once_only_act_counts_in_the_window_that_saw_it_first(kit: Any) -> None:
    live = kit.live(kit.record(1, behaviour="FIN-ECARD", minute=1440, lasts=0))
    earlier = kit.record(2, "payment-b", behaviour="FIN-ECARD", lasts=0)
    assert kit.outcome(kit.clear(earlier, live=live)) == {2: ("overlapped", "once", "counted_once_before")}


def test_a_shared_ride_stays_with_the_person_it_counted_for(kit: Any) -> None:
    ride = {"behaviour": "MOB-CARPOOL", "km": 11, "lasts": 25, "event_key": 7}
    live = kit.live(kit.record(5, subject_id=2, **ride))
    cleared = kit.clear(kit.record(1, subject_id=1, **ride), live=live)
    assert kit.outcome(cleared) == {1: ("overlapped", "shared-ride", "counted_for_other_person")}


def test_a_report_of_a_held_live_event_does_not_count_instead_of_it(kit: Any) -> None:
    live = kit.live(kit.record(1, km=400, lasts=600))
    assert live["verdict"].to_list() == ["held"]
    cleared = kit.clear(kit.record(2, "navigation-b", km=400, lasts=600), live=live)
    assert kit.outcome(cleared) == {2: ("duplicate", "T4", "same_time_and_amount")}


def test_a_live_rejected_record_takes_no_part(kit: Any) -> None:
    live = kit.live(kit.record(1, km=-2))
    assert live["event_id"].to_list() == [None]
    assert kit.outcome(kit.clear(kit.record(2, km=2), live=live)) == {2: ("counted", "single", "only_report")}


def test_nothing_new_gives_nothing(kit: Any) -> None:
    cleared = kit.clear(live=kit.live(kit.record(1, km=2)))
    assert cleared.decisions.is_empty()
    assert cleared.events.is_empty()
    assert isinstance(cleared.decisions, pl.DataFrame)
