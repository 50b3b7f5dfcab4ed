"""A platform's record of its messages beside the hub's: planted orphans are found, on the right side, and nothing else."""

import json
from datetime import timedelta
from hashlib import sha256
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests_support.deliveries import act, delivery
from tests_support.regulating import CITY, NOW, SEARCH, leaves, problem, sign
from tests_support.terminal import Terminal
from tests_support.tokens import Machine

from hub.context import Hub
from hub.errors import UsageProblem
from hub.exchange.pairing import OURS_SCHEMA, THEIRS_SCHEMA, pair, parse_entries

APART = timedelta(minutes=5)
PAIRS = f"{SEARCH}/pairs/{CITY}"
D1 = delivery("d1", act("1"), act("2", "nobody"))
D2 = delivery("d2", act("3", scene="METRO"))


def line(message: str = "d1", **more: Any) -> bytes:
    return json.dumps({"message_id": message, **more}).encode()


def whole() -> list[bytes]:
    """What the platform knows of both of its messages."""
    return [
        line("d1", at=NOW.isoformat(), rows=2, digest=D1.digest.hex(), stream="acts", outcome="partly"),
        line("d2", at=(NOW + timedelta(minutes=4)).isoformat(), rows=1, digest=D2.digest.hex(), outcome="taken"),
    ]


def pairs(gu: Machine, *lines: bytes, **query: str) -> dict[str, Any]:
    answer = gu.call("POST", PAIRS, content=b"\n".join(lines), params=query)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def test_both_sides_agree(town: Hub, gu: Machine):
    told = pairs(gu, *whole(), b"")
    assert (told["outcome"], told["pairs"], told["different"], told["ours_alone"], told["theirs_alone"]) == (
        "matched", 2, 0, 0, 0,
    )  # fmt: skip
    sign(town)
    (leaf,) = [one for one in leaves(town) if one["kind"] == "exchange.paired"]
    assert (leaf["participant"], leaf["outcome"], leaf["pairs_count"]) == (CITY, "matched", 2)
    assert leaf["theirs"] == sha256(b"\n".join([*whole(), b""])).hexdigest()


def test_planted_orphans_are_found_on_their_side(town: Hub, gu: Machine):
    first, _ = whole()
    told = pairs(gu, first, line("d77", rows=3), line("c1"))
    assert (told["outcome"], told["pairs"], told["ours_alone"], told["theirs_alone"]) == ("different", 1, 1, 2)
    # The other platform's message of that id is not this platform's.
    assert [one["line"] for one in told["only_theirs"]] == [2, 3]
    (ours,) = told["only_ours"]
    assert (ours["batch"], ours["rows"], ours["digest"], ours["window"]) == (3, 1, D2.digest.hex(), 2)
    assert leaves(town)[ours["index"]]["batch"] == 3
    # A regulator is shown commitments: the platform's id of a message may say anything.
    shown = [str(value) for one in told["only_ours"] + told["only_theirs"] for value in one.values()]
    assert not {"d2", "d77"} & set(shown)


@pytest.mark.parametrize(
    ("changed", "differences"),
    [
        ({"rows": 3}, ["rows"]),
        ({"digest": "0" * 64}, ["digest"]),
        ({"outcome": "refused"}, ["taken"]),
        ({"outcome": False}, ["taken"]),
        ({"at": (NOW + APART + timedelta(seconds=1)).isoformat()}, ["at"]),
        ({"at": (NOW + APART).isoformat()}, []),
        ({"at": int(NOW.timestamp() * 1000)}, []),
        ({"rows": 3, "digest": "0" * 64, "outcome": False, "at": 0}, ["rows", "digest", "taken", "at"]),
        ({"stream": "acts"}, []),
    ],
)
def test_what_both_tell_and_tell_differently_is_named(gu: Machine, changed: dict[str, Any], differences: list[str]):
    told = pairs(gu, line("d1", **changed), line("d2"))
    assert [one["differences"] for one in told["differences"]] == ([differences] if differences else [])


def test_a_message_of_another_stream_and_one_told_twice_are_no_pairs(gu: Machine):
    told = pairs(gu, line("d1", stream="charge_orders"), line("d1"), line("d1"), line("d1", stream="acts"), line("d2"))
    assert (told["pairs"], told["theirs_alone"], told["ours_alone"], told["twice"]) == (2, 1, 0, 2)


def test_x_road_s_own_names_are_read(gu: Machine):
    ms = int(NOW.timestamp() * 1000)
    lines = [
        json.dumps({"messageId": name, "requestInTs": ms, "serviceCode": "acts", "succeeded": True}).encode()
        for name in ("d1", "d2")
    ]
    assert pairs(gu, *lines)["outcome"] == "matched"


def test_a_window_or_a_time_bounds_what_is_looked_for(gu: Machine):
    assert pairs(gu, line("d1"), window="1")["outcome"] == "matched"
    assert pairs(gu, line("d1"))["ours_alone"] == 1
    later = (NOW + timedelta(seconds=1)).isoformat()
    assert (pairs(gu, line("d1"), since=later)["theirs_alone"], pairs(gu, line("d1"), until=later)["pairs"]) == (1, 1)
    assert problem(gu.call("POST", PAIRS, content=line(), params={"since": "2026-11-20T08:00:00"}))[0] == 422


def test_a_statement_of_deliveries_is_paired_too(gu: Machine):
    statement = json.dumps(
        {"deliveries": [{"delivery_id": "d1", "rows": 2}, {"delivery_id": "d9", "rows": 1}]}
    ).encode()
    told = pairs(gu, statement)
    assert (told["pairs"], told["different"], told["ours_alone"], told["theirs_alone"]) == (1, 0, 1, 1)


@pytest.mark.parametrize(
    "body",
    [
        b"{", b"[]", b'"d1"', b'{"message_id": ""}', b'{"message_id": 1}', b'{"message_id": "a", "message_id": "b"}',
        b'{"message_id": "a", "messageId": "a"}', b'{"message_id": "a", "rows": -1}', b'{"message_id": "a", "rows": true}',
        b'{"message_id": "a", "rows": 1.5}', b'{"message_id": "a", "digest": "AB"}', b'{"message_id": "a", "at": "now"}',
        b'{"message_id": "a", "at": "2026-11-20T08:00:00"}', b'{"message_id": "a", "at": -1}',
        b'{"message_id": "a", "outcome": "fine"}', b'{"message_id": "a", "stream": "A B"}', b'{"at": 1}', b"\xff",
        b'{"message_id": "' + b"x" * 201 + b'"}', b'{"deliveries": "all"}', b'{"streams": []}',
    ],
)  # fmt: skip
def test_what_is_not_of_the_form_is_refused_by_line_and_member(gu: Machine, body: bytes):
    answer = gu.call("POST", PAIRS, content=b'{"message_id": "d1"}\n' + body if b"deliveries" not in body else body)
    assert problem(answer)[0] == 422
    assert b"deliveries" in body or "line 2" in answer.json()["title"]


def test_a_platform_that_is_none_is_not_found(gu: Machine):
    for name in ("nobody", "x-or-1=1", "beijing_green_life"):
        assert problem(gu.call("POST", f"{SEARCH}/pairs/{name}", content=line()))[0] == 404


def test_the_terminal_pairs_and_ends_with_one_if_anything_is_left_over(town: Hub, tanlian: Terminal):
    file = tanlian.write("log.ndjson", b"\n".join(whole()).decode())
    told = tanlian("log", "pair", file, "--participant", CITY, "--json")
    assert (told.code, told.json["outcome"], told.json["pairs"]) == (0, "matched", 2)
    part = tanlian.write("part.ndjson", line("d1", rows=9).decode())
    ran = tanlian("log", "pair", part, "--participant", CITY)
    assert (ran.code, "1 of them different" in ran.out, "Only ours" in ran.out) == (1, True, True)
    assert "no such" in tanlian("log", "pair", "gone.ndjson", "--participant", CITY).complaint.lower()


MESSAGES = st.lists(st.tuples(st.sampled_from("abcde"), st.sampled_from(["s", "t"])), unique=True)


@given(ours=MESSAGES, theirs=MESSAGES)
def test_every_message_is_in_a_pair_or_alone_on_its_side(ours: list[tuple[str, str]], theirs: list[tuple[str, str]]):
    left = pl.DataFrame(
        [(name, stream, 0, 1, "0" * 64, True, number, None, 1) for number, (name, stream) in enumerate(ours)],
        schema=OURS_SCHEMA, orient="row",
    )  # fmt: skip
    right = pl.DataFrame(
        [(name, stream, None, None, None, None, number) for number, (name, stream) in enumerate(theirs)],
        schema=THEIRS_SCHEMA, orient="row",
    )  # fmt: skip
    paired = pair(left, right, apart=APART)
    both = set(ours) & set(theirs)
    assert {(ours[b], theirs[n]) for b, n in paired.pairs.select("batch", "line").iter_rows()} == {(m, m) for m in both}
    assert {ours[b] for b in paired.ours_alone["batch"]} == set(ours) - both
    assert {theirs[n] for n in paired.theirs_alone["line"]} == set(theirs) - both
    assert (paired.twice, paired.different.is_empty()) == (0, True)


def test_too_many_messages_are_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("hub.exchange.pairing.MOST_ENTRIES", 2)
    assert len(parse_entries([line("a"), line("b"), b""])) == 2
    with pytest.raises(UsageProblem, match="at most 2"):
        parse_entries([line("a"), line("b"), line("c")])
