"""Attacks by sending again: at once, in another order, in other portions, by another name. Each act is there once."""

import json
import random
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from threading import Barrier
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests_support.deliveries import BEIJING, KUAIDIAN, act, join
from tests_support.people import link_person
from tests_support.pushes import DOOR, push
from tests_support.web import Caller, count, look_up

from hub.context import Hub
from hub.pipeline import clear_dirty

NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
SENDERS = 6


@pytest.fixture
def door(hub: Hub) -> Caller:
    join(hub, BEIJING)
    link_person(hub, "li", {"beijing-green-life": "bj-1"}, set(BEIJING["behaviours"]), NOW)
    return Caller(hub)


def ride(number: int, **changes: Any) -> dict[str, Any]:
    begin = f"2026-11-{number % 18 + 1:02d}T{8 + number // 18:02d}"
    return act(str(number), beginTime=f"{begin}:00:00+08:00", endTime=f"{begin}:12:00+08:00", **changes)


def at_once(hub: Hub, messages: list[dict[str, Any]]) -> list[tuple[int, Any]]:
    """Post all messages at the same moment."""
    barrier, caller = Barrier(len(messages)), Caller(hub)

    def one(message: dict[str, Any]) -> tuple[int, Any]:
        barrier.wait(timeout=60)
        answer = caller.post(DOOR, **message)
        return answer.status_code, answer.json()

    with ThreadPoolExecutor(len(messages)) as pool:
        return list(pool.map(one, messages))


def test_one_message_sent_many_times_at_once_is_answered_alike_and_stored_once(door: Caller):
    rows = [ride(1), ride(2), ride(3, memberId="nobody"), ride(4, scene="UNICYCLE")]
    answers = at_once(door.hub, [push("m1", *rows, now=NOW)] * SENDERS)
    assert answers == [answers[0]] * SENDERS
    assert answers[0][0] == 200
    assert answers[0][1]["accepted"] == 2
    assert count(door.hub, "source_record", "quarantined", "batch") == {
        "source_record": 2, "quarantined": 2, "batch": 1,
    }  # fmt: skip


def test_the_same_rows_under_many_names_at_once_are_stored_once(door: Caller):
    rows = [ride(number) for number in range(5)] + [ride(6, memberId="nobody")]
    messages = [push(f"m{sender}", *random.Random(sender).sample(rows, 6), now=NOW) for sender in range(SENDERS)]
    answers = at_once(door.hub, messages)
    assert [status for status, _ in answers] == [200] * SENDERS
    assert sum(told["accepted"] for _, told in answers) == 5
    assert sum(told["replayed"] for _, told in answers) == 5 * (SENDERS - 1)
    assert count(door.hub, "source_record", "quarantined") == {"source_record": 5, "quarantined": 1}


def test_two_messages_of_one_name_at_once_never_both_count(door: Caller):
    answers = at_once(door.hub, [push("m1", ride(sender), now=NOW) for sender in range(SENDERS)])
    assert sorted(status for status, _ in answers) == [200] + [409] * (SENDERS - 1)
    assert count(door.hub, "source_record", "batch") == {"source_record": 1, "batch": 1}


def test_any_order_and_any_portions_leave_the_same_records_and_the_same_grams(door: Caller):
    rows = [ride(number, distance=1000 + number) for number in range(24)]
    rows += [ride(number, ver=2, distance=900) for number in range(0, 24, 5)]
    dice = random.Random(7)
    seen = set()
    for turn in range(4):
        dice.shuffle(rows)
        cuts = sorted(dice.sample(range(1, len(rows)), 3))
        portions = [rows[start:end] for start, end in zip([0, *cuts], [*cuts, len(rows)], strict=True)]
        for number, portion in enumerate(portions):
            assert door.post(DOOR, **push(f"m{turn}-{number}", *portion, now=NOW)).status_code == 200
        clear_dirty(door.hub, now=NOW)
        counted = look_up(
            door.hub,
            "SELECT s.source_id, s.version, d.counted_mg FROM decision d JOIN source_record s USING (record_id) "
            "WHERE d.verdict = 'counted' ORDER BY s.source_id",
        )
        seen.add(tuple(counted))
        assert count(door.hub, "source_record") == {"source_record": len(rows)}
    assert len(seen) == 1
    assert len(next(iter(seen))) == 24


def test_what_one_platform_delivered_cannot_be_answered_for_another(door: Caller):
    """A message signed for one door is nothing at another one, and an id taken there is free here."""
    second = BEIJING | {"id": "other-city", "secrets": {"webhook_secrets": "whsec_" + "AAAA" * 8}}
    join(door.hub, second)
    join(door.hub, KUAIDIAN)
    message = push("m1", ride(1), now=NOW)
    assert door.post("/in/other-city", **message).status_code == 401
    assert door.post("/in/kuaidian", **message).status_code == 404
    assert door.post(DOOR, **message).status_code == 200
    assert look_up(door.hub, "SELECT DISTINCT platform FROM source_record") == [("beijing-green-life",)]


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40)
VALUES = SCALARS | st.lists(SCALARS, max_size=3) | st.dictionaries(st.text(max_size=5), SCALARS, max_size=3)
NUMBERS = iter(range(10**9))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.dictionaries(st.sampled_from(sorted(act("1"))), VALUES, min_size=1, max_size=4))
def test_whatever_stands_in_a_row_the_rows_beside_it_are_taken(door: Caller, changes: dict[str, Any]):
    number = next(NUMBERS)
    before = count(door.hub, "source_record", "batch")
    beside = act(f"good{number}", ver=number)
    hostile = json.dumps(act(f"x{number}") | changes, ensure_ascii=True)
    answer = door.post(DOOR, **push(f"fuzz{number}", beside, hostile, now=NOW))
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert told["accepted"] + told["refused"] + told["replayed"] + told["quarantined"] == 2
    assert told["accepted"] >= 1
    after = count(door.hub, "source_record", "batch")
    assert after["source_record"] - before["source_record"] == told["accepted"]
    assert after["batch"] - before["batch"] == 1
