"""What happens at the same moment: versions of one record, a clearing and a withdrawal, a worker and another."""

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from threading import Barrier, BrokenBarrierError, local
from typing import Any

import psycopg
import pytest
from tests_support.beside import PATIENCE_S, Gate, Running
from tests_support.deliveries import BEIJING, act, delivery, join
from tests_support.people import LinkedPerson, link_person
from tests_support.windows import NOW, close_window, rows

from consent.withdraw import withdraw_grant
from hub import pipeline
from hub.audit import audit, format_report
from hub.changes import log_consent_change
from hub.context import Hub
from hub.db import reading, writing
from hub.ledger.store import load_balances
from hub.participants import Platform
from hub.pipeline import clear_sealed, seal_window, take_delivery
from hub.records import collect
from hub.records.races import try_again
from hub.worker import Worker

BIKES = set(BEIJING["behaviours"])
LONG_ENOUGH_S = 1.0


@pytest.fixture
def city(hub: Hub) -> Platform:
    return join(hub, BEIJING)


@pytest.fixture
def li(hub: Hub, city: Platform) -> LinkedPerson:
    return link_person(hub, "li", {"beijing-green-life": "bj-1"}, BIKES, NOW)


def meet_after_looking(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let two deliveries both look for what is stored before either stores anything, where the database lets them."""
    both, load, once = Barrier(2), collect.load_known, local()

    def load_and_wait(*args: Any) -> Any:
        found = load(*args)
        if not getattr(once, "waited", False):
            once.waited = True
            with suppress(BrokenBarrierError):  # SQLite lets one writer in at a time
                both.wait(LONG_ENOUGH_S)
        return found

    monkeypatch.setattr(collect, "load_known", load_and_wait)


def together(*works: Callable[[], Any]) -> None:
    for running in [Running(work) for work in works]:
        running.end()


@pytest.mark.parametrize("known", [True, False], ids=["of-a-known-record", "of-a-new-record"])
def test_of_two_newer_versions_at_one_moment_one_stands(
    hub: Hub, city: Platform, li: LinkedPerson, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    if known:
        take_delivery(hub, city, delivery("d1", act("1")), now=NOW)
    meet_after_looking(monkeypatch)

    def tell(version: int, distance: int) -> Callable[[], Any]:
        told = delivery(f"v{version}", act("1", ver=version, distance=distance))
        return lambda: try_again(lambda: take_delivery(hub, city, told, now=NOW))

    together(tell(2, 1_500), tell(3, 1_000))
    assert rows(hub, "SELECT version FROM source_record WHERE superseded_by IS NULL") == [(3,)]
    assert len(rows(hub, "SELECT 1 FROM source_record")) == 2 + known
    close_window(hub)
    with reading(hub.engine) as session:
        assert load_balances(session, li.subject_id)["held"] == 33_880  # one kilometre, once
    report = audit(hub)
    assert report.holds, format_report(report)


def withdraw(hub: Hub, person: LinkedPerson) -> None:
    with writing(hub.engine) as session:
        for change in withdraw_grant(session, grant_id=person.grant_id, subject_id=person.subject_id, now=NOW):
            log_consent_change(session, change, NOW, hub=hub)


def test_a_withdrawal_during_a_clearing_waits_for_it(
    hub: Hub, city: Platform, li: LinkedPerson, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Consent was asked and given, the decisions are not written yet: whose commit is first decides, and only it."""
    gate, credit, seen = Gate(), pipeline.credit, list[Any]()

    def stop_and_credit(*args: Any) -> int:
        gate.hold()
        return credit(*args)

    monkeypatch.setattr(pipeline, "credit", stop_and_credit)
    take_delivery(hub, city, delivery("d1", act("1")), now=NOW)
    seal_window(hub, now=NOW)
    clearing = Running(lambda: clear_sealed(hub, now=NOW))
    assert gate.reached.wait(PATIENCE_S)

    def withdraw_and_look() -> None:
        withdraw(hub, li)
        seen.extend(rows(hub, "SELECT verdict FROM decision"))

    withdrawing = Running(withdraw_and_look)
    assert not withdrawing.done.wait(LONG_ENOUGH_S)
    gate.opened.set()
    clearing.end()
    withdrawing.end()
    assert seen == [("counted",)]


def test_a_clearing_that_begins_while_a_withdrawal_is_under_way_rejects(
    hub: Hub, city: Platform, li: LinkedPerson
) -> None:
    take_delivery(hub, city, delivery("d1", act("1")), now=NOW)
    seal_window(hub, now=NOW)
    with writing(hub.engine) as session:
        for change in withdraw_grant(session, grant_id=li.grant_id, subject_id=li.subject_id, now=NOW):
            log_consent_change(session, change, NOW, hub=hub)
        clearing = Running(lambda: clear_sealed(hub, now=NOW))
        assert not clearing.done.wait(LONG_ENOUGH_S)
    clearing.end()
    assert rows(hub, "SELECT verdict, reason FROM decision") == [("rejected", "revoked")]


def test_a_worker_whose_step_another_was_faster_with_goes_on(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    worker, failures = Worker(hub, poll=timedelta(0)), [psycopg.errors.DeadlockDetected("two waited for each other")]

    def lose_once(*_: Any, **__: Any) -> int:
        if failures:
            raise failures.pop()
        return 0

    monkeypatch.setattr("hub.worker.clear_dirty", lose_once)
    worker.round()
    assert failures == []
    failures.append(psycopg.errors.UndefinedTable("our own mistake"))
    worker._next_run["clear"] = hub.clock()
    with pytest.raises(psycopg.errors.UndefinedTable):
        worker.round()
