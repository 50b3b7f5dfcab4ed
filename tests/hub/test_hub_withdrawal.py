"""A withdrawal is in force for the very next act: with a fetch under way, inside a delivery, and before a push."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from tests_support.beside import PATIENCE_S, Gate, Running
from tests_support.deliveries import BEIJING, act, delivery, join
from tests_support.people import link_person
from tests_support.portal import give_password
from tests_support.pushes import push
from tests_support.town import document_of, inhabitant, link_inhabitant, reports, served_platform, token_for
from tests_support.web import Caller, count, look_up

from consent.withdraw import withdraw_grant
from hub.changes import log_consent_change
from hub.context import Hub
from hub.db import writing
from hub.pipeline import take_deliveries, take_delivery
from hub.portal.consent_acts import withdraw as withdraw_in_portal
from hub.records import collect
from hub.sandbox.people import CITIC
from hub.sandbox.platforms.citic import CiticCarbon
from hub.sync import fetching
from hub.sync.cursors import ensure_state

NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
LONG_ENOUGH_S = 1.0  # for a withdrawal that nothing holds up; it takes milliseconds
BIKES = set(BEIJING["behaviours"])


def stored(hub: Hub) -> int:
    return count(hub, "source_record")["source_record"]


def withdraw(hub: Hub, subject_id: int, grant_id: str) -> None:
    with writing(hub.engine) as session:
        for change in withdraw_grant(session, grant_id=grant_id, subject_id=subject_id, now=NOW):
            log_consent_change(session, change, NOW, hub=hub)


def stop_before_storing(monkeypatch: pytest.MonkeyPatch) -> Gate:
    """Let deliveries stop where consent was asked and given, and the rows are not written yet."""
    gate, append = Gate(), collect.append_records

    def stop_and_append(*args: Any, **named: Any) -> None:
        gate.hold()
        append(*args, **named)

    monkeypatch.setattr(collect, "append_records", stop_and_append)
    return gate


@pytest.fixture
def bank(hub: Hub) -> Iterator[tuple[CiticCarbon, int, str]]:
    """A linked account whose feed has many pages of five."""
    with served_platform(CiticCarbon, CITIC, hub) as (platform, origin):
        join(hub, document_of(CITIC, origin=origin, connector_config={"limit": 5}))
        tokens = token_for(hub, CITIC, inhabitant(1).accounts[CITIC])
        subject, grant, link = link_inhabitant(hub, CITIC, inhabitant(1), tokens)
        with writing(hub.engine) as session:
            ensure_state(session, CITIC, link, NOW)
        platform.delivered_part = 4
        yield platform, subject, grant


def test_a_fetch_under_way_stores_nothing_after_the_withdrawal(
    hub: Hub, bank: tuple[CiticCarbon, int, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, subject, grant = bank
    gate, pages = Gate(), 0

    def take_and_stop(*args: Any, **named: Any) -> Any:
        nonlocal pages
        taken = take_deliveries(*args, **named)
        pages += 1
        if pages == 2:
            gate.hold()
        return taken

    monkeypatch.setattr(fetching, "take_deliveries", take_and_stop)
    running = Running(lambda: fetching.fetch_next(hub, "w1"))
    assert gate.reached.wait(PATIENCE_S)
    withdraw(hub, subject, grant)
    at_withdrawal = stored(hub)
    gate.opened.set()
    running.end()
    mine = [row for row in reports().told_by(CITIC, stream="") if row.person == 1 and row.trouble is None]
    assert 0 < at_withdrawal < len(mine)  # there was more to come
    assert stored(hub) == at_withdrawal
    assert look_up(hub, "SELECT last_error FROM sync_state")[0][0] in ("link_inactive", "grant")


def test_a_withdrawal_inside_a_delivery_waits_for_it_and_nothing_is_stored_behind_it(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Consent was asked and given, the rows are not written yet: whose commit is first decides, and only it."""
    platform = join(hub, BEIJING)
    person = link_person(hub, "li", {"beijing-green-life": "bj-1"}, BIKES, NOW)
    gate, seen = stop_before_storing(monkeypatch), list[int]()

    def withdraw_and_look() -> None:
        withdraw(hub, person.subject_id, person.grant_id)
        seen.append(stored(hub))

    delivering = Running(lambda: take_delivery(hub, platform, delivery("d1", act("1"), act("2")), now=NOW))
    assert gate.reached.wait(PATIENCE_S)
    withdrawing = Running(withdraw_and_look)
    assert not withdrawing.done.wait(LONG_ENOUGH_S)
    gate.opened.set()
    delivering.end()
    withdrawing.end()
    assert seen == [stored(hub)] == [2]


def test_a_delivery_that_begins_while_a_withdrawal_is_under_way_is_refused(hub: Hub) -> None:
    platform = join(hub, BEIJING)
    person = link_person(hub, "li", {"beijing-green-life": "bj-1"}, BIKES, NOW)
    with writing(hub.engine) as session:
        for change in withdraw_grant(session, grant_id=person.grant_id, subject_id=person.subject_id, now=NOW):
            log_consent_change(session, change, NOW, hub=hub)
        delivering = Running(lambda: take_delivery(hub, platform, delivery("d1", act("1")), now=NOW))
        assert not delivering.done.wait(LONG_ENOUGH_S)
    delivering.end()
    assert stored(hub) == 0
    assert look_up(hub, "SELECT reason FROM quarantined") in (
        [("revoked",)],
        [("link_inactive",)],
        [("unknown_account",)],
    )


def test_two_people_s_withdrawals_do_not_wait_for_each_other_s_deliveries(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there are locks of rows; on SQLite every writer waits for every other."""
    platform = join(hub, BEIJING)
    link_person(hub, "li", {"beijing-green-life": "bj-1"}, BIKES, NOW)
    other = link_person(hub, "wang", {"beijing-green-life": "bj-2"}, BIKES, NOW)
    gate = stop_before_storing(monkeypatch)
    delivering = Running(lambda: take_delivery(hub, platform, delivery("d1", act("1")), now=NOW))
    assert gate.reached.wait(PATIENCE_S)
    withdrawing = Running(lambda: withdraw(hub, other.subject_id, other.grant_id))
    meanwhile = withdrawing.done.wait(LONG_ENOUGH_S if hub.engine.dialect.name == "sqlite" else PATIENCE_S)
    assert meanwhile == (hub.engine.dialect.name == "postgresql")
    gate.opened.set()
    delivering.end()
    withdrawing.end()
    assert stored(hub) == 1


def test_a_push_right_after_the_withdrawal_is_refused_and_keeps_nothing(hub: Hub) -> None:
    join(hub, BEIJING)
    person = link_person(hub, "li", {"beijing-green-life": "bj-1"}, BIKES, NOW)
    give_password(hub, "li")
    door = Caller(hub)
    before = door.post("/in/beijing-green-life", **push("m1", act("1"), now=NOW))
    assert before.json()["accepted"] == 1
    withdraw_in_portal(hub, person.subject_id, person.grant_id)
    after = door.post("/in/beijing-green-life", **push("m2", act("2"), now=NOW))
    assert (after.json()["accepted"], after.json()["refused"]) == (0, 1)
    assert stored(hub) == 1
    assert look_up(hub, "SELECT COUNT(*) FROM quarantined WHERE payload IS NOT NULL") == [(0,)]
