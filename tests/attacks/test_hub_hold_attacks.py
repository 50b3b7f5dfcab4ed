"""Named attacks on the review of holds: deciding twice, at once, for others, for what was never held, for who is gone."""

from collections.abc import Callable
from threading import Barrier, Thread
from typing import Any

import pytest
from tests_support.deliveries import act
from tests_support.holding import CITY, held_record, hire, person, reject, release, told, too_fast
from tests_support.restating import (
    NOW,
    allow_only,
    balances,
    close_window,
    everything,
    install_halves,
    run,
)
from tests_support.web import look_up

from consent.terms import Purpose
from hub.audit import audit, format_report
from hub.clearing.reviews.holds import load_open_holds
from hub.clearing.reviews.reviews import Outcome
from hub.context import Hub
from hub.db import reading, writing
from hub.errors import Conflict, NotFound, TanlianError, UsageProblem
from hub.records.release import decide_hold
from hub.rights.erase import erase_person
from hub.staff.accounts import disable_staff
from hub.staff.rights import Role

TABLES = ("hold_review", "source_record", "reduction_record", "batch", "decision", "event", "journal_entry", "log_leaf")


def require_sound(hub: Hub) -> None:
    report = audit(hub)
    assert report.failed == 0, format_report(report)


def refused(hub: Hub, attempt: Callable[[], object], error: type[Exception], match: str) -> None:
    before = everything(hub, *TABLES)
    with pytest.raises(error, match=match):
        attempt()
    assert everything(hub, *TABLES) == before


@pytest.mark.parametrize("first", [release, reject])
@pytest.mark.parametrize("second", [release, reject])
def test_a_hold_is_decided_about_once(hub: Hub, first: Any, second: Any) -> None:
    hire(hub)
    li = person(hub)
    told(hub, too_fast())
    held = held_record(hub)
    first(hub, held)
    refused(hub, lambda: second(hub, held), Conflict, "reviewed before")
    close_window(hub)
    refused(hub, lambda: second(hub, held), Conflict, "reviewed before")
    assert (balances(hub, li.subject_id)["held"] > 0) == (first is release)
    require_sound(hub)


def test_of_two_reviewers_at_once_one_decides(hub: Hub) -> None:
    hire(hub)
    hire(hub, "wu")
    li = person(hub)
    told(hub, too_fast())
    held, barrier, outcomes = held_record(hub), Barrier(4), []

    def decide(name: str, outcome: Outcome) -> None:
        barrier.wait()
        try:
            outcomes.append(decide_hold(hub, held, outcome, by=name, why="seen", now=NOW).outcome)
        except TanlianError as error:
            outcomes.append(type(error))

    asked = [("chen", Outcome.RELEASED), ("wu", Outcome.RELEASED), ("chen", Outcome.REJECTED), ("wu", Outcome.REJECTED)]
    threads = [Thread(target=decide, args=one) for one in asked]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert outcomes.count(Conflict) == 3
    (won,) = [one for one in outcomes if one is not Conflict]
    assert look_up(hub, "SELECT outcome, event_id FROM hold_review") == [(str(won), held)]
    close_window(hub)
    assert (balances(hub, li.subject_id)["held"] > 0) == (won is Outcome.RELEASED)
    require_sound(hub)


def test_what_was_never_held_is_not_released(hub: Hub) -> None:
    hire(hub)
    person(hub)
    told(hub, act("1"), act("2", orderNo="ORD1"))
    ((counted,), (duplicate,)) = look_up(hub, "SELECT record_id FROM decision ORDER BY verdict")
    refused(hub, lambda: release(hub, counted), Conflict, "is not held but counted")
    refused(hub, lambda: release(hub, duplicate), Conflict, f"act of record {counted}")
    refused(hub, lambda: release(hub, 999_999), NotFound, "no record")
    refused(hub, lambda: reject(hub, counted), Conflict, "is not held but counted")


def test_a_report_of_a_held_act_is_not_released_in_its_stead(hub: Hub) -> None:
    hire(hub)
    person(hub)
    told(hub, too_fast("1"), too_fast("2", orderNo="ORD1"))
    held = held_record(hub)
    ((report,),) = look_up(hub, "SELECT record_id FROM decision WHERE verdict = 'duplicate'")
    refused(hub, lambda: release(hub, report), Conflict, f"report of the act of record {held}")


def test_a_hold_of_an_open_window_is_not_decided_about(hub: Hub) -> None:
    hire(hub)
    person(hub)
    told(hub, too_fast(), final=False)
    ((record,),) = look_up(hub, "SELECT record_id FROM source_record")
    refused(hub, lambda: release(hub, record), Conflict, "is not decided yet")


def test_only_operators_of_the_hub_decide(hub: Hub) -> None:
    person(hub)
    told(hub, too_fast())
    held = held_record(hub)
    hire(hub, "staff-of-platform", Role.PLATFORM)
    hire(hub, "inspector", Role.REGULATOR)
    hire(hub, "gone")
    with writing(hub.engine) as session:
        disable_staff(session, "gone", now=NOW)
    refused(hub, lambda: release(hub, held, by="nobody"), NotFound, "no member of staff")
    refused(hub, lambda: release(hub, held, by="gone"), Conflict, "disabled")
    for name in ("staff-of-platform", "inspector"):
        refused(hub, lambda name=name: release(hub, held, by=name), Conflict, "may not decide")  # type: ignore[misc]


@pytest.mark.parametrize("why", ["", "   ", "two\nlines", "x" * 201])
def test_a_decision_needs_a_line_that_can_be_kept(hub: Hub, why: str) -> None:
    hire(hub)
    person(hub)
    told(hub, too_fast())
    held = held_record(hub)
    refused(hub, lambda: release(hub, held, why=why), UsageProblem, "say why")


def test_nothing_of_who_was_erased_is_released_and_what_was_written_goes(hub: Hub) -> None:
    hire(hub)
    li, wang = person(hub), person(hub, "wang", "2")
    told(hub, too_fast(), too_fast("2", "bj-2"))
    (of_li,), (of_wang,) = look_up(hub, "SELECT record_id FROM decision ORDER BY subject_id = :s DESC", s=li.subject_id)
    release(hub, of_wang)
    erase_person(hub, li.subject_id, now=NOW)
    refused(hub, lambda: release(hub, of_li), Conflict, "erased")
    with reading(hub.engine) as session:
        assert load_open_holds(session).is_empty()
    close_window(hub)
    assert balances(hub, wang.subject_id)["held"] > 0
    erase_person(hub, wang.subject_id, now=NOW)
    assert look_up(hub, "SELECT event_id, outcome, why FROM hold_review") == [(of_wang, "released", "")]
    refused(hub, lambda: release(hub, of_wang), Conflict, "erased")
    require_sound(hub)


def test_an_erasure_between_release_and_clearing_leaves_nothing_that_counts(hub: Hub) -> None:
    hire(hub)
    li = person(hub)
    told(hub, too_fast())
    release(hub, held_record(hub))
    erase_person(hub, li.subject_id, now=NOW)
    close_window(hub)
    assert look_up(hub, "SELECT COUNT(*) FROM journal_entry WHERE kind = 'issue'") == [(0,)]
    require_sound(hub)


@pytest.mark.parametrize("purposes", [(Purpose.COLLECT, Purpose.CLEAR), (Purpose.COLLECT,)])
def test_what_its_person_does_not_allow_any_more_is_not_released(hub: Hub, purposes: tuple[Purpose, ...]) -> None:
    hire(hub)
    li = person(hub)
    told(hub, too_fast())
    held = held_record(hub)
    ((grant,),) = look_up(hub, "SELECT grant_id FROM link WHERE platform = :p", p=CITY)
    allow_only(hub, li.subject_id, grant, *purposes)
    refused(hub, lambda: release(hub, held), Conflict, "does not allow now")
    reject(hub, held)
    require_sound(hub)


def test_what_its_platform_corrected_or_withdrew_is_not_released(hub: Hub) -> None:
    hire(hub)
    person(hub)
    told(hub, too_fast("1"), too_fast("2", beginTime="2026-11-18T18:12:03+08:00", endTime="2026-11-18T18:24:03+08:00"))
    first, second = (row[0] for row in look_up(hub, "SELECT record_id FROM decision ORDER BY record_id"))
    told(hub, too_fast("1", ver=2, distance=2000), too_fast("2", ver=2, status="CANCELLED"), name="d2", final=False)
    for record in (first, second):
        refused(hub, lambda record=record: release(hub, record), Conflict, "does not stand any more")  # type: ignore[misc]
    close_window(hub)
    for record in (first, second):
        refused(hub, lambda record=record: release(hub, record), Conflict, "does not stand any more")  # type: ignore[misc]
    require_sound(hub)


def test_two_trips_at_once_stay_so_whatever_a_reviewer_says(hub: Hub) -> None:
    hire(hub)
    li = person(hub)
    at_once = {"beginTime": "2026-11-18T08:13:03+08:00", "endTime": "2026-11-18T08:23:03+08:00"}
    told(hub, act("1"), act("2", scene="METRO", **at_once))
    ((held,),) = look_up(hub, "SELECT record_id FROM decision WHERE reason = 'two_trips_at_once'")
    before = balances(hub, li.subject_id)
    release(hub, held)
    close_window(hub)
    assert balances(hub, li.subject_id) == before
    newest = look_up(hub, "SELECT verdict, reason FROM decision ORDER BY window_id DESC, record_id DESC")
    assert newest[0] == ("held", "two_trips_at_once")
    require_sound(hub)


def test_a_restatement_of_a_released_act_keeps_the_release(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    install_halves(monkeypatch)
    hire(hub)
    li = person(hub)
    told(hub, too_fast(carbonReduction="9000.00"))
    release(hub, held_record(hub))
    close_window(hub)
    whole = balances(hub, li.subject_id)["held"]
    run(hub)
    close_window(hub)
    assert 0 < balances(hub, li.subject_id)["held"] < whole
    require_sound(hub)


def test_a_review_that_cannot_be_logged_is_not_made(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hire(hub)
    person(hub)
    told(hub, too_fast())
    held = held_record(hub)

    def broken(*_: object, **__: object) -> None:
        raise OSError("the log is away")

    monkeypatch.setattr("hub.records.release.append_action", broken)
    refused(hub, lambda: release(hub, held), OSError, "away")
    refused(hub, lambda: reject(hub, held), OSError, "away")
