"""The worker: every job in turn, as many workers as one likes, and a stop that finishes the step in hand."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
from tests_support.deliveries import BEIJING, act, delivery, join
from tests_support.people import link_person
from tests_support.portal import visitor
from tests_support.town import document_of, inhabitant, link_inhabitant, served_platform, token_for
from tests_support.web import count, look_up

from hub.context import Hub
from hub.db import writing
from hub.errors import Busy
from hub.pipeline import take_delivery
from hub.sandbox.people import CITIC
from hub.sandbox.platforms.citic import CiticCarbon
from hub.sync.cursors import ensure_state
from hub.worker import Job, Worker

NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
ROUNDS = 60


def work_off(*workers: Worker) -> None:
    """Let workers go round until none of them finds work, all at the same time."""

    def one(worker: Worker) -> None:
        for _ in range(ROUNDS):
            if not worker.round():
                return
        raise AssertionError("the worker finds work for ever")

    with ThreadPoolExecutor(len(workers)) as pool:
        list(pool.map(one, workers))


@dataclass
class Town:
    """A hub that pulls from the bank and was pushed to by the city."""

    hub: Hub
    people: int


@pytest.fixture
def town(hub: Hub) -> Iterator[Town]:
    with served_platform(CiticCarbon, CITIC, hub) as (bank, origin):
        bank.delivered_part = 4
        city = join(hub, BEIJING)
        join(hub, document_of(CITIC, origin=origin))
        people = [inhabitant(number) for number in range(1, 7) if CITIC in inhabitant(number).accounts]
        for person in people:
            tokens = token_for(hub, CITIC, person.accounts[CITIC])
            _, _, link = link_inhabitant(hub, CITIC, person, tokens)
            with writing(hub.engine) as session:
                ensure_state(session, CITIC, link, NOW)
        link_person(hub, "li", {"beijing-green-life": "bj-1"}, set(BEIJING["behaviours"]), NOW)
        take_delivery(hub, city, delivery("d1", act("1")), now=NOW)
        yield Town(hub, len(people))


def outcome(hub: Hub) -> dict[str, object]:
    records = look_up(hub, "SELECT source_id, version FROM source_record ORDER BY source_id, version")
    counted = look_up(hub, "SELECT COALESCE(SUM(counted_mg), 0) FROM decision WHERE verdict = 'counted'")
    return {"records": records, "counted_mg": int(counted[0][0])}


def test_one_worker_fetches_clears_and_signs_everything(town: Town):
    work_off(Worker(town.hub))
    counts = count(town.hub, "source_record", "decision", "dirty_subject")
    assert counts["source_record"] == counts["decision"] > 20
    assert counts["dirty_subject"] == 0
    assert look_up(town.hub, "SELECT COUNT(*) FROM log_leaf WHERE first_index IS NULL") == [(0,)]
    leaves = look_up(town.hub, "SELECT SUM(count) FROM log_leaf")[0][0]
    assert look_up(town.hub, "SELECT size FROM log_head") == [(leaves,)]
    assert leaves >= count(town.hub, "change_leaf")["change_leaf"]


def test_three_workers_at_once_do_what_one_does(town: Town):
    work_off(*(Worker(town.hub) for _ in range(3)))
    work_off(Worker(town.hub))  # whatever one of them had to leave to another
    together = outcome(town.hub)
    assert len(together["records"]) == len(set(together["records"])) > 20  # type: ignore[arg-type, call-overload]
    assert look_up(town.hub, "SELECT COUNT(*), MAX(failures) FROM sync_state WHERE last_error IS NULL") == [
        (town.people, 0)
    ]
    assert count(town.hub, "dirty_subject") == {"dirty_subject": 0}
    assert look_up(town.hub, "SELECT COUNT(*) FROM decision WHERE event_id IS NULL AND verdict = 'counted'") == [(0,)]
    before = count(town.hub, "batch", "source_record", "quarantined")
    later = replace(town.hub, clock=lambda: NOW + timedelta(minutes=20))
    work_off(Worker(later))
    assert count(town.hub, "batch", "source_record", "quarantined") == before


def test_a_window_is_sealed_and_cleared_when_its_time_is_over_and_not_before(town: Town):
    work_off(Worker(town.hub))
    assert look_up(town.hub, "SELECT window_id, state FROM clearing_window") == [(1, "open")]
    tomorrow = replace(town.hub, clock=lambda: NOW + timedelta(hours=25))
    work_off(Worker(tomorrow))
    windows = look_up(town.hub, "SELECT window_id, state, cleared_at IS NULL FROM clearing_window ORDER BY window_id")
    assert [(number, state, bool(uncleared)) for number, state, uncleared in windows] == [
        (1, "sealed", False), (2, "open", True),
    ]  # fmt: skip
    assert look_up(town.hub, "SELECT COUNT(*) FROM decision WHERE provisional = :yes", yes=True) == [(0,)]
    assert count(town.hub, "journal_entry")["journal_entry"] > 0


def test_a_consent_that_is_over_is_recorded_with_its_links(hub: Hub):
    link_person(hub, "li", {"beijing-green-life": "bj-1"}, set(BEIJING["behaviours"]), NOW)
    before = count(hub, "change_leaf")["change_leaf"]
    day_before = replace(hub, clock=lambda: NOW + timedelta(days=364))
    work_off(Worker(day_before))
    assert look_up(hub, "SELECT state FROM link") == [("active",)]
    after = replace(hub, clock=lambda: NOW + timedelta(days=366))
    work_off(Worker(after))
    assert look_up(hub, "SELECT state FROM link") == [("revoked",)]
    assert look_up(hub, "SELECT state FROM grant_current") == [("expired",)]
    kinds = look_up(hub, "SELECT kind FROM change_leaf ORDER BY leaf_id")
    assert [kind for (kind,) in kinds][before:].count("consent.changed") == 1
    assert [kind for (kind,) in kinds][before:].count("link.changed") == 1


def test_sessions_that_are_over_are_swept_away(hub: Hub):
    visitor(hub)
    assert count(hub, "web_session")["web_session"] == 1
    work_off(Worker(replace(hub, clock=lambda: NOW + timedelta(hours=13))))
    assert count(hub, "web_session") == {"web_session": 0}


def test_a_job_that_finds_somebody_else_at_work_does_not_keep_the_others_waiting(hub: Hub):
    done: list[str] = []

    def busy() -> bool:
        done.append("busy")
        raise Busy("held by another worker")

    def work() -> bool:
        done.append("work")
        return len(done) < 4

    worker = Worker(hub)
    worker.jobs = (Job(name="busy", run=busy), Job(name="work", run=work))
    assert worker.round()
    assert not worker.round()
    assert done == ["busy", "work", "busy", "work"]


def test_a_stop_finishes_the_step_in_hand_and_begins_no_other(hub: Hub):
    worker, done = Worker(hub), []

    def last() -> bool:
        worker.stopping.set()
        done.append("last")
        return True

    worker.jobs = (Job(name="last", run=last), Job(name="never", run=lambda: bool(done.append("never"))))
    thread = threading.Thread(target=worker.run, daemon=True)
    thread.start()
    thread.join(timeout=30)
    assert not thread.is_alive()
    assert done == ["last"]
