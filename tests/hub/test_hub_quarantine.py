"""Rows set aside: translated anew with a corrected mapping, or given up; nothing lost, nothing twice. On both databases."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests_support.deliveries import BEIJING, act, delivery, join
from tests_support.people import LinkedPerson, link_person
from tests_support.web import count, look_up

from consent.seal import SealError
from consent.withdraw import withdraw_grant
from hub.audit import audit
from hub.audit.bodies import leaf_bodies
from hub.audit.books import Books
from hub.audit.readers import SessionReader
from hub.changes import log_consent_change
from hub.context import Hub
from hub.db import reading, writing
from hub.errors import Conflict, NotFound
from hub.participants import Platform
from hub.pipeline import (
    Replayed,
    clear_dirty,
    clear_sealed,
    discard_quarantined,
    replay_quarantined,
    seal_window,
    take_delivery,
)
from hub.reconcile.deliveries import load_statement
from hub.records.quarantine import RowState, list_open, summarise

NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
CITY = "beijing-green-life"


def ride(number: str, **changes: Any) -> dict[str, Any]:
    return act(number, scene="RIDE", **changes)


def person(hub: Hub, name: str = "li", account: str = "bj-1") -> LinkedPerson:
    return link_person(hub, name, {CITY: account}, set(BEIJING["behaviours"]), NOW)


def corrected_platform(hub: Hub) -> Platform:
    return join(hub, BEIJING | {"mapping": f"{CITY}.acts.v2"})


def replayed(hub: Hub, platform: Platform, *, tried_too: bool = False, now: datetime = NOW) -> Replayed:
    done = replay_quarantined(hub, platform, tried_too=tried_too, now=now)
    assert done is not None
    assert replay_quarantined(hub, platform, after=done.last, tried_too=tried_too, now=now) is None
    return done


def states(hub: Hub) -> list[tuple[str, str, bool]]:
    rows = look_up(hub, "SELECT reason, state, payload IS NOT NULL FROM quarantined ORDER BY quarantine_id")
    return [(reason, state, bool(kept)) for reason, state, kept in rows]


def test_rows_that_the_corrected_mapping_translates_are_taken_and_counted_once(hub: Hub, corrected: str):
    platform, _ = join(hub, BEIJING), person(hub)
    first = take_delivery(hub, platform, delivery("d1", ride("1"), act("2"), ride("3", beginTime="soon")), now=NOW)
    assert (first.accepted, first.quarantined) == (1, 2)
    done = replayed(hub, corrected_platform(hub))
    assert (done.rows, done.translated, done.outcome.accepted) == (2, 1, 1)
    assert [state for _, state, _ in states(hub)] == ["replayed", "open"]
    assert [kept for _, _, kept in states(hub)] == [False, True]
    assert look_up(hub, "SELECT mapping FROM reduction_record ORDER BY record_id") == [
        (f"{CITY}.acts.v1",),
        (corrected,),
    ]
    clear_dirty(hub, now=NOW)
    assert count(hub, "event") == {"event": 2}
    # The same row once more, from the platform this time, is there already.
    again = take_delivery(hub, corrected_platform(hub), delivery("d2", ride("1")), now=NOW)
    assert (again.accepted, again.replayed) == (0, 1)
    assert audit(hub).failed == 0


def test_a_replay_is_no_delivery_of_the_platform_but_has_its_batch_leaf_and_window(hub: Hub, corrected: str):
    platform, _ = join(hub, BEIJING), person(hub)
    take_delivery(hub, platform, delivery("d1", ride("1")), now=NOW)
    replayed(hub, corrected_platform(hub))
    assert look_up(hub, "SELECT origin, rows, accepted FROM batch ORDER BY batch_id") == [
        ("received", 1, 0),
        ("replayed", 1, 1),
    ]
    kinds = look_up(hub, "SELECT kind FROM change_leaf WHERE kind LIKE 'batch.%' ORDER BY kind")
    assert kinds == [("batch.received",), ("batch.replayed",)]
    window = seal_window(hub, now=NOW).window_id
    clear_sealed(hub, now=NOW)
    with reading(hub.engine) as session:
        assert load_statement(session, window, CITY)["delivery_id"].to_list() == ["d1"]
    assert audit(hub).failed == 0


def test_what_today_s_mapping_refused_is_tried_again_only_on_request(hub: Hub, corrected: str):
    platform, _ = join(hub, BEIJING), person(hub)
    tomorrow = act("1", beginTime="2026-11-21T08:12:03+08:00", endTime="2026-11-21T08:24:03+08:00")
    assert take_delivery(hub, platform, delivery("d1", tomorrow), now=NOW).quarantined == 1
    assert replay_quarantined(hub, platform, now=NOW) is None  # the mapping is the same, and has said no
    assert replayed(hub, platform, tried_too=True).translated == 0
    later = replayed(hub, platform, tried_too=True, now=NOW + timedelta(days=2))
    assert (later.translated, later.outcome.accepted) == (1, 1)
    mended = corrected_platform(hub)
    assert take_delivery(hub, mended, delivery("d2", act("2", scene="ROCKET")), now=NOW).quarantined == 1
    assert replay_quarantined(hub, mended, now=NOW) is None


def test_a_mapping_that_does_not_help_either_is_remembered_and_nothing_is_lost(hub: Hub, corrected: str):
    platform, _ = join(hub, BEIJING), person(hub)
    take_delivery(hub, platform, delivery("d1", act("1", scene="ROCKET")), now=NOW)
    mended = corrected_platform(hub)
    done = replayed(hub, mended)
    assert (done.translated, count(hub, "batch")) == (0, {"batch": 1})
    assert look_up(hub, "SELECT mapping, state, payload IS NOT NULL FROM quarantined") == [(corrected, "open", True)]
    assert replay_quarantined(hub, mended, now=NOW) is None


def test_consent_is_asked_for_anew(hub: Hub, corrected: str):
    platform, li = join(hub, BEIJING), person(hub)
    person(hub, "wang", "bj-2")
    take_delivery(
        hub, platform, delivery("d1", ride("1"), ride("2", memberId="bj-2"), ride("3", memberId="bj-9")), now=NOW
    )
    with writing(hub.engine) as session:
        for change in withdraw_grant(session, grant_id=li.grant_id, subject_id=li.subject_id, now=NOW):
            log_consent_change(session, change, NOW, hub=hub)
    done = replayed(hub, corrected_platform(hub), now=NOW + timedelta(seconds=1))
    assert (done.translated, done.outcome.accepted, done.outcome.refused) == (3, 1, 2)
    assert count(hub, "source_record") == {"source_record": 1}
    kept = look_up(hub, "SELECT COUNT(*) FROM quarantined WHERE payload IS NOT NULL")
    assert kept == [(0,)]  # nothing of what nobody allows is kept, now that this is known
    assert audit(hub).failed == 0


def test_a_row_in_conflict_stays_open_with_its_bytes_however_often_it_is_tried(hub: Hub, corrected: str):
    platform, _ = join(hub, BEIJING), person(hub)
    take_delivery(hub, platform, delivery("d1", act("1")), now=NOW)
    assert take_delivery(hub, platform, delivery("d2", act("1", distance=9000)), now=NOW).quarantined == 1
    for mended in (corrected_platform(hub), corrected_platform(hub)):
        done = replayed(hub, mended, tried_too=True)
        assert (done.translated, done.outcome.accepted, done.outcome.quarantined) == (1, 0, 1)
        assert states(hub) == [("version_conflict", "open", True)]
    assert audit(hub).failed == 0


def test_many_rows_go_in_bounded_steps_and_none_twice(hub: Hub, corrected: str):
    platform, _ = join(hub, BEIJING), person(hub)
    take_delivery(hub, platform, delivery("d1", *[ride(f"{n}") for n in range(25)]), now=NOW)
    mended, last, sizes = corrected_platform(hub), 0, []
    while done := replay_quarantined(hub, mended, after=last, limit=10, now=NOW):
        last = done.last
        sizes.append(done.outcome.accepted)
    assert sizes == [10, 10, 5]
    assert count(hub, "source_record") == {"source_record": 25}


def test_a_replay_that_fails_changes_nothing(hub: Hub, corrected: str, monkeypatch: pytest.MonkeyPatch):
    platform, _ = join(hub, BEIJING), person(hub)
    take_delivery(hub, platform, delivery("d1", ride("1")), now=NOW)
    mended, before = corrected_platform(hub), states(hub)

    def power_cut(_name: str) -> None:
        raise OSError("power cut")

    monkeypatch.setattr("hub.pipeline.failpoint", power_cut)
    with pytest.raises(OSError, match="power cut"):
        replay_quarantined(hub, mended, now=NOW)
    assert states(hub) == before
    monkeypatch.undo()


def test_bytes_that_were_moved_to_another_row_are_not_opened(hub: Hub, corrected: str):
    platform, _ = join(hub, BEIJING), person(hub)
    take_delivery(hub, platform, delivery("d1", ride("1"), ride("2")), now=NOW)
    with writing(hub.engine) as session:
        session.connection().exec_driver_sql(
            "UPDATE quarantined SET payload = (SELECT payload FROM quarantined ORDER BY quarantine_id DESC LIMIT 1)"
        )
    with pytest.raises(SealError):
        replay_quarantined(hub, corrected_platform(hub), now=NOW)


def test_what_is_given_up_keeps_its_reason_and_loses_its_bytes_and_the_log_tells(hub: Hub, corrected: str):
    platform, _ = join(hub, BEIJING), person(hub)
    take_delivery(hub, platform, delivery("d1", ride("1"), ride("2"), act("3", beginTime="soon")), now=NOW)
    with reading(hub.engine) as session:
        rows = [row["row"] for row in list_open(session, CITY, limit=10)]
    with pytest.raises(NotFound, match="9999"):
        discard_quarantined(hub, [rows[0], 9999], now=NOW)
    assert {state for _, state, _ in states(hub)} == {"open"}
    discard_quarantined(hub, rows[1:], now=NOW)
    assert [(state, kept) for _, state, kept in states(hub)] == [
        ("open", True),
        ("discarded", False),
        ("discarded", False),
    ]
    with pytest.raises(Conflict, match="discarded already"):
        discard_quarantined(hub, rows, now=NOW)
    with reading(hub.engine) as session:
        told = leaf_bodies(Books(hub=hub, reader=SessionReader(session)), "rows.discarded").values()
    assert sorted((body["reason"], body["rows_count"]) for body in told) == [("bad_time", 1), ("unknown_scene", 1)]
    # The same row from the platform again is still given up.
    take_delivery(hub, platform, delivery("d2", ride("2")), now=NOW)
    assert [state for _, state, _ in states(hub)] == ["open", "discarded", "discarded"]
    done = replayed(hub, corrected_platform(hub))
    assert done.outcome.accepted == 1


def test_the_summary_counts_by_reason_and_state(hub: Hub, corrected: str):
    platform, _ = join(hub, BEIJING), person(hub)
    take_delivery(hub, platform, delivery("d1", ride("1"), ride("2"), act("3", memberId="bj-9")), now=NOW)
    with reading(hub.engine) as session:
        found = {(row["reason"], row["state"]): (row["rows"], row["kept"], row["oldest"]) for row in summarise(session)}
    assert found == {
        ("unknown_account", RowState.OPEN): (1, 0, NOW),
        ("unknown_scene", RowState.OPEN): (2, 2, NOW),
    }


def test_rows_of_another_stream_are_not_touched(hub: Hub, corrected: str):
    second = BEIJING
    again = {name: second[name] for name in ("connector", "connector_config", "secrets", "mapping")} | {
        "stream": "elsewhere"
    }
    again["connector_config"] = again["connector_config"] | {"stream": "elsewhere"}
    platform, _ = join(hub, second | {"more_feeds": [again]}), person(hub)
    take_delivery(hub, platform, replace(delivery("d1", ride("1")), stream="elsewhere"), now=NOW)
    assert replay_quarantined(hub, corrected_platform(hub), now=NOW) is None
