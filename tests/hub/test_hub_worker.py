"""The worker: every job in turn, as many workers as one likes, and a stop that finishes the step in hand."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from threading import Barrier

import pytest
from tests_support.deliveries import BEIJING, act, delivery, join
from tests_support.people import link_person
from tests_support.portal import visitor
from tests_support.town import document_of, inhabitant, link_inhabitant, served_platform, token_for
from tests_support.web import count, look_up

from hub.context import Hub
from hub.db import writing
from hub.errors import Busy
from hub.pipeline import seal_window, take_delivery
from hub.sandbox.people import CITIC
from hub.sandbox.platforms.citic import CiticCarbon
from hub.sync.cursors import ensure_state
from hub.worker import Job, Worker

NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
ROUNDS = 60


class Clock:
    """Goes on with every round: a worker's jobs have their shortest times between two runs."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


def work_off(hub: Hub, *, workers: int = 1) -> None:
    """Let workers go round, all at the same time, until each has found nothing to do twice in a row."""
    clock = hub.clock
    assert isinstance(clock, Clock)

    def one(worker: Worker) -> None:
        idle = 0
        for _ in range(ROUNDS):
            idle = 0 if worker.round() else idle + 1
            clock.now += timedelta(seconds=2)
            if idle == 2:
                return
        raise AssertionError("the worker finds work for ever")

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(one, [Worker(hub) for _ in range(workers)]))


@pytest.fixture
def hub(hub: Hub) -> Hub:
    return replace(hub, clock=Clock())


def jump(hub: Hub, **passed: float) -> None:
    clock = hub.clock
    assert isinstance(clock, Clock)
    clock.now = NOW + timedelta(**passed)


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
    work_off(town.hub)
    counts = count(town.hub, "source_record", "decision", "dirty_subject")
    assert counts["source_record"] == counts["decision"] > 20
    assert counts["dirty_subject"] == 0
    assert look_up(town.hub, "SELECT COUNT(*) FROM log_leaf WHERE first_index IS NULL") == [(0,)]
    leaves = look_up(town.hub, "SELECT SUM(count) FROM log_leaf")[0][0]
    assert look_up(town.hub, "SELECT size FROM log_head") == [(leaves,)]
    assert leaves >= count(town.hub, "change_leaf")["change_leaf"]


def test_three_workers_at_once_do_what_one_does(town: Town):
    work_off(town.hub, workers=3)
    work_off(town.hub)  # whatever one of them had to leave to another
    together = outcome(town.hub)
    assert len(together["records"]) == len(set(together["records"])) > 20  # type: ignore[arg-type, call-overload]
    assert look_up(town.hub, "SELECT COUNT(*), MAX(failures) FROM sync_state WHERE last_error IS NULL") == [
        (town.people, 0)
    ]
    assert count(town.hub, "dirty_subject") == {"dirty_subject": 0}
    assert look_up(town.hub, "SELECT COUNT(*) FROM decision WHERE event_id IS NULL AND verdict = 'counted'") == [(0,)]
    before = count(town.hub, "batch", "source_record", "quarantined")
    jump(town.hub, minutes=30)
    work_off(town.hub)
    assert count(town.hub, "batch", "source_record", "quarantined") == before


def test_a_window_is_sealed_and_cleared_when_its_time_is_over_and_not_before(town: Town):
    work_off(town.hub)
    assert look_up(town.hub, "SELECT window_id, state FROM clearing_window") == [(1, "open")]
    jump(town.hub, hours=25)
    work_off(town.hub, workers=3)
    windows = look_up(town.hub, "SELECT window_id, state, cleared_at IS NULL FROM clearing_window ORDER BY window_id")
    assert [(number, state, bool(uncleared)) for number, state, uncleared in windows] == [
        (1, "sealed", False), (2, "open", True),
    ]  # fmt: skip
    assert look_up(town.hub, "SELECT COUNT(*) FROM decision WHERE provisional = :yes", yes=True) == [(0,)]
    assert count(town.hub, "journal_entry")["journal_entry"] > 0


def test_sealings_at_the_same_moment_each_seal_a_window_of_their_own(hub: Hub):
    """An operator and the worker, say: both succeed, the numbers are dense, and one window is open."""
    at_once = 4
    barrier = Barrier(at_once)

    def one(_: int) -> int:
        barrier.wait(timeout=60)
        return seal_window(hub, now=NOW).window_id

    with ThreadPoolExecutor(at_once) as pool:
        assert sorted(pool.map(one, range(at_once))) == [1, 2, 3, 4]
    assert look_up(hub, "SELECT window_id FROM clearing_window WHERE state = 'open'") == [(5,)]
    ranges = look_up(hub, "SELECT first_seq, last_seq FROM clearing_window WHERE state = 'sealed' ORDER BY window_id")
    assert ranges == [(1, 0)] * 4


def test_a_consent_that_is_over_is_recorded_with_its_links(hub: Hub):
    link_person(hub, "li", {"beijing-green-life": "bj-1"}, set(BEIJING["behaviours"]), NOW)
    before = count(hub, "change_leaf")["change_leaf"]
    jump(hub, days=364)
    work_off(hub)
    assert look_up(hub, "SELECT state FROM link") == [("active",)]
    jump(hub, days=366)
    work_off(hub)
    assert look_up(hub, "SELECT state FROM link") == [("revoked",)]
    assert look_up(hub, "SELECT state FROM grant_current") == [("expired",)]
    kinds = look_up(hub, "SELECT kind FROM change_leaf ORDER BY leaf_id")
    assert [kind for (kind,) in kinds][before:].count("consent.changed") == 1
    assert [kind for (kind,) in kinds][before:].count("link.changed") == 1


def test_sessions_that_are_over_are_swept_away(hub: Hub):
    visitor(hub)
    assert count(hub, "web_session")["web_session"] == 1
    jump(hub, hours=13)
    work_off(hub)
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
    worker.jobs = (Job(name="fetch", run=busy), Job(name="clear_sealed", run=work))
    assert worker.round()
    assert not worker.round()
    assert done == ["busy", "work", "busy", "work"]


def test_a_stop_finishes_the_step_in_hand_and_begins_no_other(hub: Hub):
    worker, done = Worker(hub), []

    def last() -> bool:
        worker.stopping.set()
        done.append("last")
        return True

    worker.jobs = (Job(name="fetch", run=last), Job(name="clear", run=lambda: bool(done.append("never"))))
    thread = threading.Thread(target=worker.run, daemon=True)
    thread.start()
    thread.join(timeout=30)
    assert not thread.is_alive()
    assert done == ["last"]
