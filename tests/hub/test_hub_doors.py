"""What may come through the doors of platforms, over the real application, on both databases.

Every wrong message is one clear answer that changes nothing; every wrong row is set aside and disturbs no other.
"""

import json
from dataclasses import replace
from typing import Any

import pytest
from tests_support.deliveries import BEIJING, KUAIDIAN, act, join
from tests_support.doors import BODY, NOW, STORES, is_problem
from tests_support.people import link_person
from tests_support.pushes import DOOR, WRONG_SECRET, body_of, push, signed
from tests_support.town import document_of
from tests_support.web import Caller, count, look_up

from hub.context import Hub
from hub.db import writing
from hub.participants import Status, set_status
from hub.pipeline import clear_dirty
from hub.sandbox.people import CITIC


@pytest.fixture
def door(hub: Hub) -> Caller:
    """A hub that knows Beijing, and one person there: bj-1."""
    join(hub, BEIJING)
    link_person(hub, "li", {"beijing-green-life": "bj-1"}, set(BEIJING["behaviours"]), NOW)
    return Caller(hub)


def without(headers: dict[str, str], name: str) -> dict[str, str]:
    return {key: value for key, value in headers.items() if key != name}


def flipped(body: bytes) -> bytes:
    return body.replace(b'"distance": 2000', b'"distance": 9000', 1)


def wrapped(text: bytes) -> tuple[dict[str, str], bytes]:
    """A message that is signed as it is, whatever it is."""
    return signed("w", text, NOW), text


WRONG_MESSAGES: dict[str, tuple[dict[str, str], bytes, int, str]] = {
    "truncated on the way": (signed("a", BODY, NOW), BODY[:-40], 401, "signature_invalid"),
    "a byte changed on the way": (signed("b", BODY, NOW), flipped(BODY), 401, "signature_invalid"),
    "signed with another secret": (signed("c", BODY, NOW, secret=WRONG_SECRET), BODY, 401, "signature_invalid"),
    "signed under another id": (signed("d", BODY, NOW) | {"webhook-id": "e"}, BODY, 401, "signature_invalid"),
    "without its id": (without(signed("f", BODY, NOW), "webhook-id"), BODY, 400, "webhook_headers"),
    "without its time": (without(signed("g", BODY, NOW), "webhook-timestamp"), BODY, 400, "webhook_headers"),
    "without a signature": (without(signed("h", BODY, NOW), "webhook-signature"), BODY, 401, "signature_invalid"),
    "an id with a dot": (signed("i.1", BODY, NOW), BODY, 400, "webhook_headers"),
    "signed six minutes ago": (signed("j", BODY, NOW, age_s=360), BODY, 401, "timestamp_stale"),
    "signed six minutes ahead": (signed("k", BODY, NOW, age_s=-360), BODY, 401, "timestamp_stale"),
    "an empty body": (*wrapped(b""), 400, "not_json"),
    "truncated and signed so": (*wrapped(BODY[:-40]), 400, "not_json"),
    "not an object": (*wrapped(b"[]"), 400, "not_json"),
    "no list of records": (*wrapped(b'{"record":[]}'), 400, "no_records"),
    "the list twice": (*wrapped(b'{"records":[],"records":[]}'), 400, "duplicate_key"),
    "NaN beside the list": (*wrapped(b'{"records":[],"total":NaN}'), 400, "not_a_number"),
    "not UTF-8": (*wrapped(b'{"records":["\xff"]}'), 400, "not_utf8"),
    "more than 16 MB": (*wrapped(b" " * (17 << 20)), 413, "message_too_large"),
    "more rows than agreed": (*wrapped(body_of(*["{}"] * 5001)), 413, "too_many_records"),
}  # fmt: skip


def test_a_wrong_message_is_one_clear_error_and_changes_nothing(door: Caller):
    before = count(door.hub, *STORES)
    answers = {
        name: door.post(DOOR, headers=headers, content=body) for name, (headers, body, _, _) in WRONG_MESSAGES.items()
    }
    wrong = {
        name: (answers[name].status_code, answers[name].text)
        for name, (_, _, status, reason) in WRONG_MESSAGES.items()
        if not is_problem(answers[name], status, reason)
    }
    assert wrong == {}
    assert count(door.hub, *STORES) == before


def test_no_error_answer_repeats_what_was_sent(door: Caller):
    secret = act("1", mobile="13800000001", nickname="Li Lei")
    body = body_of(secret)
    texts = [
        door.post(DOOR, headers=signed("a", body, NOW, secret=WRONG_SECRET), content=body).text,
        door.post(DOOR, headers=signed("b", body, NOW, age_s=999), content=body).text,
        door.post(DOOR, headers=signed("c", body[:-5], NOW), content=body[:-5]).text,
    ]
    assert not any(word in text for text in texts for word in ("13800000001", "Li Lei", "bj-1", "BJ1"))


def bad(number: int, **changes: Any) -> dict[str, Any]:
    return act(f"bad{number}", **changes)


def raw(number: int, old: str, new: str) -> str:
    text = json.dumps(bad(number))
    assert old in text
    return text.replace(old, new)


# What stands between two good rows -> where it ends: (refused, quarantined) and the reason.
BAD_ROWS: dict[str, tuple[dict[str, Any] | str, tuple[int, int], str]] = {
    "duplicate keys": (raw(1, '"ver": 1', '"ver": 1, "ver": 2'), (0, 1), "duplicate_key"),
    "NaN": (raw(2, '"distance": 2000', '"distance": NaN'), (0, 1), "not_a_number"),
    "minus infinity": (raw(3, '"distance": 2000', '"distance": -Infinity'), (0, 1), "not_a_number"),
    "1e999": (raw(4, '"distance": 2000', '"distance": 1e999'), (0, 1), "number_too_large"),
    "half a character": (raw(5, '"Li"', '"\\ud800"'), (0, 1), "half_character"),
    "not an object": ("[1, 2]", (0, 1), "not_an_object"),
    "too deep": (raw(6, '"ver": 1', '"ver": 1, "x": ' + "[" * 40 + "]" * 40), (0, 1), "too_deep"),
    "unknown behaviour": (bad(7, scene="UNICYCLE"), (0, 1), "unknown_scene"),
    "no zone": (bad(8, beginTime="2026-11-18T08:12:03"), (0, 1), "missing_zone"),
    "no such day": (bad(9, beginTime="2026-02-30T08:12:03+08:00"), (0, 1), "bad_time"),
    "a clock in the future": (
        bad(10, beginTime="2026-11-20T16:02:00+08:00", endTime="2026-11-20T16:12:00+08:00"), (0, 1), "time_ahead",
    ),
    "the end before the start": (bad(11, endTime="2026-11-18T08:00:00+08:00"), (0, 1), "end_before_start"),
    "a negative quantity": (bad(12, distance=-1), (0, 1), "negative_quantity"),
    "an enormous quantity": (bad(13, distance=10**300), (0, 1), "quantity_out_of_range"),
    "an unknown person": (bad(14, memberId="nobody"), (1, 0), "unknown_account"),
    "an act before the consent": (
        bad(15, beginTime="2025-01-01T08:00:00+08:00", endTime="2025-01-01T08:10:00+08:00"),
        (1, 0), "unknown_account",
    ),
    "no account": (raw(16, '"memberId": "bj-1", ', ""), (0, 1), "missing_account"),
}  # fmt: skip


def test_a_wrong_row_is_set_aside_and_the_rows_around_it_are_taken(door: Caller):
    found = {}
    for number, (name, (row, _, _)) in enumerate(BAD_ROWS.items()):
        before = count(door.hub, "source_record", "quarantined", "batch")
        good = [
            act(f"{number}-{side}", beginTime=f"2026-11-{number + 1:02d}T{hour}:00:00+08:00",
                endTime=f"2026-11-{number + 1:02d}T{hour}:10:00+08:00")
            for side, hour in (("a", "08"), ("b", "18"))
        ]  # fmt: skip
        answer = door.post(DOOR, **push(f"m{number}", good[0], row, good[1], now=NOW))
        after = count(door.hub, "source_record", "quarantined", "batch")
        newest = look_up(door.hub, "SELECT reason FROM quarantined ORDER BY quarantine_id DESC LIMIT 1")
        told = answer.json()
        grown = tuple(after[table] - before[table] for table in after)
        found[name] = (
            answer.status_code, told.get("accepted"), (told.get("refused"), told.get("quarantined")), newest, grown,
        )  # fmt: skip
    expected = {name: (200, 2, split, [(reason,)], (2, 1, 1)) for name, (_, split, reason) in BAD_ROWS.items()}
    assert found == expected
    clear_dirty(door.hub, now=NOW)
    assert look_up(door.hub, "SELECT verdict, COUNT(*) FROM decision GROUP BY verdict") == [
        ("counted", 2 * len(BAD_ROWS))
    ]


# Values that a strict JSON parser lets through and that a column of the database could choke on.
LARGE = {
    "a source id with a zero byte": {"tradeNo": "BJ\0 1"},
    "a source id of 300 characters": {"tradeNo": "B" * 300},
    "a version beyond 32 bits": {"ver": 2**40},
    "a version beyond 64 bits": {"ver": 2**70},
    "a version that is true": {"ver": True},
    "a claim beyond 64 bits": {"carbonReduction": "9" * 30},
    "a claim near 64 bits": {"carbonReduction": "9" * 15},
    "a region beyond 32 bits": {"cityCode": "9" * 12},
    "a region that is none": {"cityCode": "Beijing"},
    "the year 9999": {"beginTime": "9999-12-31T23:59:59+08:00", "endTime": "9999-12-31T23:59:59+08:00"},
    "the year 1": {"beginTime": "0001-01-01T00:00:00+08:00"},
    "an account of 10000 characters": {"memberId": "b" * 10_000},
    "an order number with a zero byte": {"orderNo": "a\0b"},
    "an order number of 10000 characters": {"orderNo": "o" * 10_000},
    "a distance with 40 digits after the point": {"distance": 0.1234567890123456789012345678901234567890},
    "a distance of 300 digits as text": {"distance": "9" * 300},
    "an object where a text stands": {"tradeNo": {"a": 1}},
    "a list where a time stands": {"beginTime": [1]},
    "a null for everything": dict.fromkeys(act("1"), None),
}


def test_a_value_too_large_for_the_store_never_costs_the_batch(door: Caller):
    """Each wrong row stands between two good ones; whatever becomes of it, they are taken."""
    for number, (name, changes) in enumerate(LARGE.items()):
        day = f"2026-10-{number + 1:02d}"
        good = [
            act(f"{number}-{hour}", beginTime=f"{day}T{hour}:00:00+08:00", endTime=f"{day}T{hour}:10:00+08:00")
            for hour in ("08", "18")
        ]
        wrong = act(f"{number}-x", beginTime=f"{day}T12:00:00+08:00", endTime=f"{day}T12:10:00+08:00") | changes
        before = count(door.hub, "source_record")["source_record"]
        answer = door.post(DOOR, **push(f"m{number}", good[0], wrong, good[1], now=NOW))
        assert answer.status_code == 200, (name, answer.text)
        told = answer.json()
        assert told["accepted"] + told["refused"] + told["quarantined"] == 3, name
        assert told["accepted"] >= 2, name
        assert count(door.hub, "source_record")["source_record"] == before + told["accepted"], name
    assert clear_dirty(door.hub, now=NOW) == 1


def test_the_same_message_again_gets_the_same_answer_and_no_new_row(door: Caller):
    first = door.post(DOOR, **push("m1", act("1"), act("2", "nobody"), act("3", scene="X"), now=NOW))
    assert first.status_code == 200
    assert first.json()["accepted"] == first.json()["refused"] == first.json()["quarantined"] == 1
    before = count(door.hub, *STORES)
    again = door.post(DOOR, **push("m1", act("1"), act("2", "nobody"), act("3", scene="X"), now=NOW, age_s=20))
    assert (again.status_code, again.json()) == (200, first.json())
    assert count(door.hub, *STORES) == before


def test_the_same_id_with_another_body_is_a_conflict_and_changes_nothing(door: Caller):
    door.post(DOOR, **push("m1", act("1"), now=NOW))
    before = count(door.hub, *STORES)
    answer = door.post(DOOR, **push("m1", act("1"), act("2"), now=NOW))
    assert is_problem(answer, 409, "delivery_conflict")
    assert count(door.hub, *STORES) == before


def test_a_message_without_rows_is_taken_and_remembered(door: Caller):
    first = door.post(DOOR, **push("m1", now=NOW))
    assert (first.status_code, first.json()["accepted"]) == (200, 0)
    assert is_problem(door.post(DOOR, **push("m1", act("1"), now=NOW)), 409, "delivery_conflict")


def test_an_unknown_a_suspended_and_a_fetched_participant_have_the_same_door(door: Caller):
    join(door.hub, KUAIDIAN)
    join(door.hub, document_of(CITIC))
    with writing(door.hub.engine) as session:
        set_status(session, "kuaidian", Status.SUSPENDED, NOW)
    message = push("m1", act("1"), now=NOW)
    for rest in ("", "/", "/evcs/v20161110/query_token", "/%00", "/" + "x" * 3000):
        answers = [door.post(f"/in/{name}{rest}", **message) for name in ("nobody", "kuaidian", CITIC)]
        assert is_problem(answers[0], 404, "no_door"), rest
        assert answers[0].content == answers[1].content == answers[2].content, rest
        assert answers[0].headers == answers[1].headers == answers[2].headers, rest


def test_a_strange_name_is_a_door_that_is_not_there(door: Caller):
    for name in ("%00", "a%00b", "%F0%9F%98%80", "x" * 3000, "..%2f..%2fetc", "%ff%fe"):
        answer = door.post(f"/in/{name}", **push("m1", act("1"), now=NOW))
        assert is_problem(answer, 404, "no_door"), name


def test_a_suspension_is_in_force_for_the_next_message_and_ends_with_it(door: Caller):
    for status, expected in ((Status.SUSPENDED, 404), (Status.ACTIVE, 200)):
        with writing(door.hub.engine) as session:
            set_status(session, "beijing-green-life", status, NOW)
        assert door.post(DOOR, **push("m1", act("1"), now=NOW)).status_code == expected
    assert count(door.hub, "source_record") == {"source_record": 1}


def test_a_door_is_for_posting_only(door: Caller):
    for method in ("GET", "PUT", "PATCH", "DELETE", "OPTIONS"):
        answer = door.call(method, DOOR)
        assert is_problem(answer, 405, "method_not_allowed"), method
        assert "POST" in answer.headers["allow"], method


def test_rows_beyond_the_hub_s_own_bound_are_refused_whole(door: Caller):
    narrow = replace(door.hub, settings=door.hub.settings.model_copy(update={"max_rows_per_delivery": 1}))
    before = count(door.hub, *STORES)
    answer = Caller(narrow).post(DOOR, **push("m1", act("1"), act("2"), now=NOW))
    assert is_problem(answer, 413, "too_many_rows")
    assert count(door.hub, *STORES) == before


def test_unreadable_rows_count_against_the_hub_s_bound_too(door: Caller):
    narrow = replace(door.hub, settings=door.hub.settings.model_copy(update={"max_rows_per_delivery": 1}))
    before = count(door.hub, *STORES)
    answer = Caller(narrow).post(DOOR, **push("m1", act("1"), '{"a":NaN}', now=NOW))
    assert is_problem(answer, 413, "too_many_rows")
    assert count(door.hub, *STORES) == before
