"""Holds are released into the open window or rejected for good; what is sealed stays as it is. On both databases."""

from typing import Any

import pytest
from tests_support.deliveries import KUAIDIAN as KUAIDIAN_FILE
from tests_support.deliveries import charge, delivery, join
from tests_support.holding import (
    CITY,
    WHY,
    held_record,
    hire,
    person,
    reject,
    release,
    told,
    too_fast,
)
from tests_support.restating import NOW, balances, clear_window, close_window, everything
from tests_support.web import look_up

from hub.audit import audit, format_report
from hub.audit.bodies import leaf_bodies
from hub.audit.books import Books
from hub.audit.readers import SessionReader
from hub.clearing.final import window_root
from hub.clearing.reviews.holds import load_open_holds
from hub.context import Hub
from hub.db import reading
from hub.pipeline import clear_dirty, take_delivery
from hub.reconcile.deliveries import load_restated, load_statement

DECISIONS = (
    "SELECT window_id, record_id, event_id, verdict, reason, counted_mg > 0 FROM decision ORDER BY window_id, record_id"
)


def require_sound(hub: Hub) -> None:
    report = audit(hub)
    assert report.failed == 0, format_report(report)


def open_holds(hub: Hub) -> list[int]:
    with reading(hub.engine) as session:
        return load_open_holds(session)["record_id"].to_list()


def test_a_released_act_counts_in_the_open_window_and_the_final_one_stays(hub: Hub) -> None:
    hire(hub)
    li = person(hub)
    told(hub, too_fast())
    held = held_record(hub)
    assert balances(hub, li.subject_id) == {"pending": 0, "held": 0}
    final = everything(hub, "decision", "event", "journal_entry", "posting")
    done = release(hub, held)
    assert (done.rule, done.reason, done.window_id) == ("plausibility", "implausible_speed", 2)
    clear_dirty(hub, now=NOW)
    assert look_up(hub, "SELECT verdict, reason FROM decision WHERE window_id = 2 AND provisional") == [
        ("counted", "only_report")
    ]
    close_window(hub)
    counted = balances(hub, li.subject_id)
    assert counted["pending"] == 0
    assert counted["held"] > 0
    assert look_up(hub, DECISIONS) == [
        (1, held, held, "held", "implausible_speed", False),
        (2, done.record_id, done.record_id, "counted", "only_report", True),
    ]
    assert look_up(hub, "SELECT DISTINCT vintage FROM posting") == [(20261118,)]
    after = everything(hub, *final)
    assert all(row in after[name] for name, rows in final.items() for row in rows)
    require_sound(hub)


def test_a_final_window_stays_byte_for_byte(hub: Hub) -> None:
    hire(hub)
    person(hub)
    told(hub, too_fast())
    sql = "SELECT root, manifest, final_at, first_seq, last_seq FROM clearing_window WHERE window_id = 1"
    before = look_up(hub, sql)
    release(hub, held_record(hub))
    close_window(hub)
    assert look_up(hub, sql) == before
    with reading(hub.engine) as session:
        assert window_root(session, 1) == before[0][0]
    require_sound(hub)


def test_a_rejected_act_never_counts_and_waits_no_longer(hub: Hub) -> None:
    hire(hub)
    li = person(hub)
    told(hub, too_fast())
    held = held_record(hub)
    assert open_holds(hub) == [held]
    done = reject(hub, held)
    assert done.record_id is None
    assert open_holds(hub) == []
    close_window(hub)
    assert balances(hub, li.subject_id) == {"pending": 0, "held": 0}
    assert look_up(hub, DECISIONS) == [(1, held, held, "held", "implausible_speed", False)]
    require_sound(hub)


def test_what_was_told_of_a_held_act_meanwhile_is_one_act_with_it(hub: Hub) -> None:
    hire(hub)
    li = person(hub)
    told(hub, too_fast())
    held = held_record(hub)
    told(hub, too_fast("9", distance=2000, orderNo="ORD1"), name="d2")
    assert balances(hub, li.subject_id) == {"pending": 0, "held": 0}
    release(hub, held)
    close_window(hub)
    assert look_up(hub, "SELECT window_id, records FROM event WHERE mg > 0") == [(3, 2)]
    counted = balances(hub, li.subject_id)
    told(hub, too_fast("10", orderNo="ORD1"), name="d3")
    assert balances(hub, li.subject_id) == counted
    require_sound(hub)


def test_what_counts_by_another_record_already_is_a_duplicate_when_it_is_released(hub: Hub) -> None:
    hire(hub)
    li = person(hub)
    told(hub, too_fast())
    held = held_record(hub)
    release(hub, held)
    # In the same window the platform tells the ride again, under the same order, and that record is the better witness.
    told(hub, too_fast("9", distance=2000, orderNo="ORD1", beginTime="2026-11-18T08:12:01+08:00"), name="d2")
    assert look_up(hub, "SELECT verdict FROM decision WHERE window_id = 2 ORDER BY verdict") == [
        ("counted",),
        ("duplicate",),
    ]
    assert look_up(hub, "SELECT window_id, records FROM event WHERE mg > 0") == [(2, 2)]
    assert balances(hub, li.subject_id)["held"] > 0
    require_sound(hub)


def test_two_reports_of_a_held_act_are_released_as_one(hub: Hub) -> None:
    hire(hub)
    li = person(hub)
    told(hub, too_fast("1"), too_fast("2", orderNo="ORD1"))
    held = held_record(hub)
    release(hub, held)
    close_window(hub)
    verdicts = look_up(hub, "SELECT verdict FROM decision WHERE window_id = 2 ORDER BY verdict")
    assert verdicts == [("counted",), ("duplicate",)]
    assert look_up(hub, "SELECT COUNT(*) FROM event WHERE mg > 0") == [(1,)]
    assert balances(hub, li.subject_id)["held"] > 0
    require_sound(hub)


def test_a_released_act_is_not_doubted_again_when_others_come_beside_it(hub: Hub) -> None:
    hire(hub)
    li = person(hub)
    told(hub, too_fast())
    release(hub, held_record(hub))
    told(hub, too_fast("5", distance=300_000, beginTime="2026-11-17T08:12:03+08:00",
                       endTime="2026-11-17T08:24:03+08:00"), name="d2")  # fmt: skip
    verdicts = look_up(hub, "SELECT verdict, reason FROM decision WHERE window_id = 2 ORDER BY record_id")
    assert verdicts == [("counted", "only_report"), ("held", "implausible_quantity")]
    assert balances(hub, li.subject_id)["held"] > 0
    require_sound(hub)


def test_a_correction_after_a_release_is_doubted_anew(hub: Hub) -> None:
    hire(hub)
    li = person(hub)
    told(hub, too_fast())
    release(hub, held_record(hub))
    close_window(hub)
    assert balances(hub, li.subject_id)["held"] > 0
    told(hub, too_fast(ver=2, distance=50_000), name="d2")
    assert balances(hub, li.subject_id) == {"pending": 0, "held": 0}
    assert look_up(hub, "SELECT verdict, reason FROM decision WHERE window_id = 3") == [("held", "implausible_speed")]
    require_sound(hub)


def test_a_replay_after_a_release_changes_nothing(hub: Hub) -> None:
    hire(hub)
    li = person(hub)
    told(hub, too_fast())
    release(hub, held_record(hub))
    close_window(hub)
    before = balances(hub, li.subject_id)
    told(hub, too_fast(), name="d2")
    assert balances(hub, li.subject_id) == before
    assert look_up(hub, "SELECT COUNT(*) FROM decision WHERE window_id = 3") == [(0,)]
    require_sound(hub)


def test_who_and_why_are_kept_and_the_log_has_their_digest_only(hub: Hub) -> None:
    hire(hub)
    person(hub)
    told(hub, too_fast())
    held = held_record(hub)
    done = release(hub, held)
    ((review, why, name, action),) = look_up(
        hub,
        "SELECT h.review_id, h.why, s.name, a.what FROM hold_review h JOIN staff s ON s.staff_id = h.staff_id "
        "JOIN staff_action a ON a.staff_id = s.staff_id WHERE a.what <> 'staff.added'",
    )
    assert (why, name, action) == (WHY, "chen", "staff.hold_released")
    with reading(hub.engine) as session:
        leaf = leaf_bodies(Books(hub=hub, reader=SessionReader(session)), "review.decided")[review]
    assert leaf | {"at": ""} == {
        "v": "tanlian/1", "kind": "review.decided", "at": "", "what": "hold.released", "rule": "plausibility",
        "reason": "implausible_speed", "window": 2, "role": "staff.operator", "digest": done.digest.hex(),
    }  # fmt: skip
    assert not {"chen", str(held), WHY} & {str(value) for value in leaf.values()}


def test_the_platform_s_statement_does_not_have_the_hub_s_own_release(hub: Hub) -> None:
    hire(hub)
    person(hub)
    told(hub, too_fast())
    release(hub, held_record(hub))
    with reading(hub.engine) as session:
        assert load_statement(session, 2, CITY).is_empty()
        assert load_restated(session, 2, CITY)["rows"].to_list() == [1]


def test_a_charge_of_a_megawatt_is_held_by_its_power(hub: Hub) -> None:
    hire(hub)
    li = person(hub)
    platform = join(hub, KUAIDIAN_FILE)
    long: dict[str, Any] = {"TotalPower": 390.0, "StartTime": "2026-11-18 10:00:00", "EndTime": "2026-11-18 10:20:00"}
    take_delivery(hub, platform, delivery("c1", charge("1", **long), stream="charge_orders"), now=NOW)
    clear_window(hub)
    assert look_up(hub, "SELECT verdict, rule, reason FROM decision") == [("held", "plausibility", "implausible_power")]
    release(hub, held_record(hub))
    close_later = clear_window(hub)
    assert close_later == 2
    assert balances(hub, li.subject_id)["pending"] > 0
    require_sound(hub)


@pytest.mark.parametrize("outcome", ["released", "rejected"])
def test_an_audit_finds_a_review_that_nothing_was_held_for(hub: Hub, outcome: str) -> None:
    hire(hub)
    person(hub)
    told(hub, too_fast())
    held = held_record(hub)
    (release if outcome == "released" else reject)(hub, held)
    close_window(hub)
    require_sound(hub)
    with hub.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE hold_review SET reason = 'tie'")
    report = audit(hub)
    assert [check.id for check in report.checks if not check.ok] == ["one_version_stands"]
