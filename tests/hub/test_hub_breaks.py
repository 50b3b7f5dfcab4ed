"""Statements of streams and breaks over HTTP: totals first, lines where they differ, both sides' word before it is over."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request, Response
from tests_support.deliveries import BEIJING, act, delivery, join
from tests_support.people import LinkedPerson, link_person
from tests_support.settling import settle
from tests_support.tokens import Machine
from tests_support.web import Caller, count, free_port, look_up, served

from hub.audit import audit, format_report
from hub.context import Hub
from hub.db import reading
from hub.participants import open_platform
from hub.pipeline import clear_sealed, seal_window, take_delivery
from hub.reconcile.lines import digest_of, totals_of
from hub.reconcile.rules import Proposal
from hub.rights.erase import erase_person
from hub.sync.statements import parse_lines, reconcile_window

NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
CITY = "beijing-green-life"
LINES = [
    {"source_id": "BJ1", "version": 1, "claimed_mg": 500_000},
    {"source_id": "BJ3", "version": 1, "claimed_mg": 500_000},
]
NDJSON = {"content-type": "application/x-ndjson"}


@pytest.fixture
def li(hub: Hub) -> LinkedPerson:
    return link_person(hub, "li", {CITY: "bj-1", "other-city": "oc-1"}, set(BEIJING["behaviours"]), NOW)


@pytest.fixture
def sealed(hub: Hub, li: LinkedPerson) -> Hub:
    """Window 1 has two records of Beijing (and one that nobody allowed) and one of another city; it is cleared."""
    city, other = join(hub, BEIJING), join(hub, BEIJING | {"id": "other-city"})
    take_delivery(hub, city, delivery("d1", act("1"), act("2", "nobody")), now=NOW)
    take_delivery(hub, city, delivery("d2", act("3", scene="METRO")), now=NOW)
    take_delivery(hub, other, delivery("o1", act("4", "oc-1", scene="METRO")), now=NOW)
    seal_window(hub, now=NOW)
    clear_sealed(hub, now=NOW)
    return hub


@pytest.fixture
def own(sealed: Hub) -> Machine:
    return Machine(sealed, CITY)


class Clock:
    """Every statement has a moment of its own."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


@pytest.fixture
def clocked(sealed: Hub) -> Machine:
    return Machine(replace(sealed, clock=Clock()), CITY)


def lines_text(*lines: dict[str, Any]) -> bytes:
    return "\n".join(json.dumps(line) for line in lines).encode()


def totals(*lines: dict[str, Any]) -> dict[str, Any]:
    told = totals_of(parse_lines(lines_text(*lines)))
    return {"records": told.records, "claimed_mg": told.claimed_mg, "digest": told.digest.hex()}


def send_lines(machine: Machine, *lines: dict[str, Any], query: str = "") -> httpx.Response:
    return machine.call("POST", f"/v1/statements/1{query}", content=lines_text(*lines), headers=NDJSON)


def write(machine: Machine, path: str, body: Any, key: str) -> httpx.Response:
    return machine.send_json(path, body, headers={"idempotency-key": key})


def problem(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return answer.status_code, answer.json()["type"].removeprefix("urn:tanlian:problem:")


def sound(hub: Hub) -> None:
    report = audit(hub)
    assert report.holds, format_report(report)


def test_our_side_is_told_by_count_sum_and_digest(own: Machine) -> None:
    told = own.get("/v1/statements/1").json()
    assert told["streams"] == [{"stream": "acts", "versions": True, **totals(*LINES)}]
    assert told["from"] <= told["until"]


def test_our_lines_come_in_pages_and_make_the_totals(own: Machine) -> None:
    first = own.get("/v1/statements/1?lines=true&limit=1").json()
    assert [line["source_id"] for line in first["lines"]] == ["BJ1"]
    second = own.get(f"/v1/statements/1?lines=true&stream=acts&limit=1&cursor={first['next']}").json()
    assert (second["lines"][0]["source_id"], second["next"]) == ("BJ3", None)
    whole = parse_lines(lines_text(*first["lines"], *second["lines"]))
    assert digest_of(whole).hex() == own.get("/v1/statements/1").json()["streams"][0]["digest"]
    assert problem(own.get("/v1/statements/1?lines=true&stream=nothing")) == (422, "usage_problem")


def test_equal_totals_are_agreed_without_a_line(own: Machine, sealed: Hub) -> None:
    body = {
        "deliveries": [{"delivery_id": "d1", "rows": 2}, {"delivery_id": "d2", "rows": 1}],
        "streams": [totals(*LINES)],
    }
    told = own.send_json("/v1/statements/1", body).json()
    assert (told["state"], told["breaks"], told["streams"][0]["state"]) == ("matched", [], "matched")
    assert told["streams"][0]["matched"] == 2
    assert count(sealed, "statement_break") == {"statement_break": 0}
    sound(sealed)


def test_other_totals_ask_for_lines_and_lines_say_where(clocked: Machine, sealed: Hub) -> None:
    theirs = [LINES[0] | {"claimed_mg": 400_000}, {"source_id": "BJ9", "version": 1, "claimed_mg": 7}]
    told = clocked.send_json("/v1/statements/1", {"streams": [{"stream": "acts", **totals(*theirs)}]}).json()
    assert (told["state"], told["streams"][0]["state"]) == ("lines_wanted", "lines_wanted")
    assert "breaks" not in told["streams"][0]
    told = send_lines(clocked, *theirs, query="?stream=acts").json()
    assert (told["state"], told["opened"], told["closed"]) == ("breaks", 3, 0)
    assert told["streams"][0]["breaks"] == [
        {"source_id": "BJ1", "kind": "amount", "ours": 500_000, "theirs": 400_000, "mg": 100_000},
        {"source_id": "BJ3", "kind": "missing_there", "ours": 500_000, "theirs": None, "mg": 500_000},
        {"source_id": "BJ9", "kind": "missing_here", "ours": None, "theirs": 7, "mg": 7},
    ]
    assert told["streams"][0]["ours"] == totals(*LINES)
    told = send_lines(clocked, *LINES).json()
    assert (told["state"], told["opened"], told["closed"]) == ("matched", 0, 3)
    assert clocked.get("/v1/breaks").json() == {"breaks": [], "next": None}
    assert {row["closed_why"] for row in clocked.get("/v1/breaks?state=closed").json()["breaks"]} == {"gone"}
    sound(sealed)


def test_a_break_that_returns_is_a_new_one_and_one_that_stays_is_the_same(clocked: Machine, sealed: Hub) -> None:
    for told, wanted in (([LINES[0]], (1, 0)), ([LINES[0]], (0, 0)), (LINES, (0, 1)), ([LINES[0]], (1, 0))):
        answer = send_lines(clocked, *told).json()
        assert (answer["opened"], answer["closed"]) == wanted
    assert look_up(sealed, "SELECT break_id, state, closed_why FROM statement_break ORDER BY break_id") == [
        (1, "closed", "gone"), (2, "open", None),
    ]  # fmt: skip
    # Another amount is another difference.
    assert send_lines(clocked, LINES[0] | {"claimed_mg": 1}, LINES[1]).json()["closed"] == 1
    sound(sealed)


def test_breaks_of_deliveries_are_kept_too(clocked: Machine, sealed: Hub) -> None:
    clocked.send_json("/v1/statements/1", {"deliveries": [{"delivery_id": "d1", "rows": 5}]})
    found = clocked.get("/v1/breaks?window=1").json()["breaks"]
    assert [(one["kind"], one["delivery_id"], one["ours"], one["theirs"], one["stream"]) for one in found] == [
        ("rows", "d1", 2, 5, None), ("missing_there", "d2", 1, None, None),
    ]  # fmt: skip
    # A statement of streams says nothing of deliveries, and the other way round.
    assert send_lines(clocked, *LINES).json()["closed"] == 0
    assert look_up(sealed, "SELECT state FROM reconciliation") == [("breaks",)]
    sound(sealed)


def test_a_break_is_closed_when_both_have_signed_the_same(clocked: Machine, sealed: Hub) -> None:
    send_lines(clocked, LINES[0])
    (found,) = clocked.get("/v1/breaks").json()["breaks"]
    assert (found["kind"], found["source_id"], found["state"], found["owner"]) == (
        "missing_there",
        "BJ3",
        "open",
        "platform",
    )
    assert (found["proposal"], found["choices"][0], found["age_s"] > 0) == (
        "platform_confirms",
        "platform_confirms",
        True,
    )
    path = f"/v1/breaks/{found['break']}"
    assert problem(write(clocked, f"{path}/sign", {"proposal": "platform_confirms"}, "k0")) == (409, "conflict")
    told = write(clocked, f"{path}/propose", {"proposal": "platform_withdraws", "note": "twice"}, "k1").json()
    assert (told["state"], told["proposal"], told["note"], "source_id" in told) == (
        "proposed",
        "platform_withdraws",
        "twice",
        False,
    )
    assert write(clocked, f"{path}/sign", {"proposal": "platform_withdraws"}, "k2").json()["state"] == "signed_platform"
    before = count(sealed, "change_leaf")
    again = write(clocked, f"{path}/sign", {"proposal": "platform_withdraws"}, "k2").json()
    assert again["state"] == write(clocked, f"{path}/sign", {"proposal": "platform_withdraws"}, "k3").json()["state"]
    assert count(sealed, "change_leaf") == before
    assert problem(write(clocked, f"{path}/sign", {"proposal": "platform_confirms"}, "k2")) == (409, "conflict")
    settle(clocked.hub, found["break"], Proposal.PLATFORM_CONFIRMS, clocked.hub.clock())
    told = clocked.get(path).json()
    assert (told["state"], told["closed_why"], told["source_id"]) == ("closed", "signed", None)
    assert problem(write(clocked, f"{path}/propose", {"proposal": "platform_confirms"}, "k4")) == (409, "conflict")
    # What both agreed on stays settled while the same difference shows.
    assert send_lines(clocked, LINES[0]).json()["opened"] == 0
    leaves = look_up(sealed, "SELECT reference FROM change_leaf WHERE kind = 'break.changed' ORDER BY reference")
    assert leaves == [(f"{found['break']}:{step}",) for step in range(1, 6)]
    sound(sealed)


def test_a_platform_sees_and_moves_its_own_breaks_only(clocked: Machine, sealed: Hub) -> None:
    send_lines(clocked)
    own = [one["break"] for one in clocked.get("/v1/breaks").json()["breaks"]]
    other = Machine(clocked.hub, "other-city")
    assert other.get("/v1/breaks").json()["breaks"] == []
    body = {"proposal": "platform_confirms"}
    for answer in (
        other.get(f"/v1/breaks/{own[0]}"),
        write(other, f"/v1/breaks/{own[0]}/propose", body, "k1"),
        write(other, f"/v1/breaks/{own[0]}/sign", body, "k2"),
        clocked.get("/v1/breaks/999"),
    ):
        assert problem(answer) == (404, "not_found")
    assert problem(Machine(clocked.hub, None).get("/v1/breaks")) == (403, "forbidden")
    assert problem(Machine(clocked.hub, CITY, "regulator").get("/v1/breaks")) == (403, "forbidden")
    assert look_up(sealed, "SELECT DISTINCT state FROM statement_break") == [("open",)]


def test_breaks_come_in_pages_and_by_window_and_state(clocked: Machine) -> None:
    send_lines(clocked, *({"source_id": f"X{number}"} for number in range(5)))
    first = clocked.get("/v1/breaks?limit=4").json()
    second = clocked.get(f"/v1/breaks?limit=4&cursor={first['next']}").json()
    assert [len(first["breaks"]), len(second["breaks"]), second["next"]] == [4, 3, None]
    assert clocked.get("/v1/breaks?window=2").json()["breaks"] == []
    assert clocked.get("/v1/breaks?state=proposed").json()["breaks"] == []
    assert problem(clocked.get("/v1/breaks?state=lost")) == (422, "invalid_request")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"proposal":1}',
        b'{"proposal":"x","proposal":"y"}',
        b'{"proposal":"no"}',
        b'{"proposal":"x","y":1}',
    ],
)
def test_a_wrong_body_moves_nothing(clocked: Machine, sealed: Hub, body: bytes) -> None:
    send_lines(clocked, LINES[0])
    for step in ("propose", "sign"):
        headers = {"idempotency-key": f"k-{step}", "content-type": "application/json"}
        answer = clocked.call("POST", f"/v1/breaks/1/{step}", content=body, headers=headers)
        assert problem(answer)[0] in (409, 422)
        assert answer.status_code == 422 or body == b'{"proposal":"no"}'
    assert problem(clocked.send_json("/v1/breaks/1/propose", {"proposal": "platform_confirms"})) == (
        422,
        "usage_problem",
    )
    assert look_up(sealed, "SELECT state, steps FROM statement_break") == [("open", 0)]


@pytest.mark.parametrize("query", ["?stream=nothing", "?stream=Not%20one", "?stream=points_ledger"])
def test_a_stream_that_the_platform_has_not_is_refused(clocked: Machine, sealed: Hub, query: str) -> None:
    assert problem(send_lines(clocked, *LINES, query=query)) == (422, "usage_problem")
    assert count(sealed, "reconciliation") == {"reconciliation": 0}


def test_a_stream_named_twice_under_two_names_is_refused(clocked: Machine) -> None:
    body = {"streams": [totals(*LINES), {"stream": "acts", **totals(*LINES)}]}
    assert problem(clocked.send_json("/v1/statements/1", body)) == (422, "usage_problem")


def test_a_window_that_is_open_or_is_not_there_is_not_compared(clocked: Machine) -> None:
    for window, wanted in ((2, (409, "conflict")), (9, (404, "not_found"))):
        answer = clocked.call("POST", f"/v1/statements/{window}", content=lines_text(*LINES), headers=NDJSON)
        assert problem(answer) == wanted


def test_lines_beyond_the_bound_are_refused(clocked: Machine) -> None:
    small = clocked.hub.settings.model_copy(update={"max_statement_bytes": 100})
    clocked.move(replace(clocked.hub, settings=small))
    assert problem(send_lines(clocked, *LINES)) == (413, "message_too_large")


def take(hub: Hub, name: str, *rows: dict[str, Any]) -> None:
    with reading(hub.engine) as session:
        city = open_platform(session, hub.ring, CITY)
    take_delivery(hub, city, delivery(name, *rows), now=NOW)


def test_what_arrives_in_the_next_window_is_late_here_and_not_denied_there(clocked: Machine, sealed: Hub) -> None:
    take(sealed, "d3", act("7", scene="BUS"))
    seal_window(sealed, now=NOW + timedelta(hours=1))
    clear_sealed(sealed, now=NOW + timedelta(hours=1))
    seventh = {"source_id": "BJ7", "version": 1, "claimed_mg": 500_000}
    (late,) = send_lines(clocked, *LINES, seventh).json()["streams"][0]["breaks"]
    assert late == {"source_id": "BJ7", "kind": "late", "ours": 2, "theirs": 1, "mg": 500_000}
    (found,) = clocked.get("/v1/breaks").json()["breaks"]
    assert (found["owner"], found["proposal"]) == ("hub", "counts_where_it_arrived")
    # Their statement of the next window need not name it again; and may reach back over the border.
    for lines in ((), LINES):
        answer = clocked.call("POST", "/v1/statements/2", content=lines_text(*lines), headers=NDJSON).json()
        assert answer["state"] == "matched"
    sound(sealed)


def test_only_the_last_version_in_the_window_is_compared(clocked: Machine, sealed: Hub) -> None:
    newer = (
        act("8", ver=1, scene="BUS"),
        act("8", ver=3, scene="BUS", carbonReduction="300.00"),
        act("1", ver=2, carbonReduction="1.00"),
    )
    for number, row in enumerate(newer):
        take(sealed, f"n{number}", row)
    seal_window(sealed, now=NOW + timedelta(hours=1))
    clear_sealed(sealed, now=NOW + timedelta(hours=1))
    told = clocked.get("/v1/statements/2?lines=true").json()["lines"]
    assert [(line["source_id"], line["version"], line["claimed_mg"]) for line in told] == [
        ("BJ8", 3, 300_000),
        ("BJ1", 2, 1_000),
    ]
    (first, second) = [{name: line[name] for name in ("source_id", "version", "claimed_mg")} for line in told]
    lost = clocked.call(
        "POST", "/v1/statements/2", content=lines_text(first, second | {"version": 3}), headers=NDJSON
    ).json()
    assert [(one["kind"], one["ours"], one["theirs"]) for one in lost["streams"][0]["breaks"]] == [("version", 2, 3)]
    assert clocked.get("/v1/statements/1").json()["streams"][0]["digest"] == totals(*LINES)["digest"]


def test_who_was_erased_is_on_neither_side_and_leaves_no_name(clocked: Machine, sealed: Hub, li: LinkedPerson) -> None:
    take(sealed, "d9", act("9", scene="METRO"))
    sent = [LINES[0], {"source_id": "BJ9", "version": 1, "claimed_mg": 5}, {"source_id": "BJ5"}]
    assert send_lines(clocked, *sent).json()["opened"] == 3  # BJ3 denied, BJ9 elsewhere otherwise, BJ5 unknown
    settle(clocked.hub, 1, Proposal.PLATFORM_CONFIRMS, clocked.hub.clock())
    sound(sealed)
    erase_person(sealed, li.subject_id, now=NOW + timedelta(hours=1))
    held = look_up(
        sealed, "SELECT COUNT(*) FROM statement_break WHERE source_id IS NOT NULL OR source_sealed IS NOT NULL"
    )
    assert held == [(1,)]  # of BJ5, which the hub never had
    assert look_up(sealed, "SELECT ours_digest, theirs_digest FROM stream_reconciliation") == [(None, None)]
    sound(sealed)
    told = clocked.get("/v1/statements/1").json()["streams"]
    assert (told[0]["records"], told[0]["claimed_mg"]) == (0, 0)
    after = send_lines(clocked, *sent).json()
    assert [one["source_id"] for one in after["streams"][0]["breaks"]] == ["BJ5"]
    sound(sealed)


def test_the_forms_are_in_the_description_of_the_api(clocked: Machine) -> None:
    paths = Caller(clocked.hub).get("/openapi.json").json()["paths"]
    content = paths["/v1/statements/{window}"]["post"]["requestBody"]["content"]
    stream = content["application/json"]["schema"]["properties"]["streams"]["items"]["properties"]
    assert set(stream) == {"stream", "records", "claimed_mg", "digest", "lines"}
    assert set(content) == {"application/json", "application/x-ndjson"}
    assert {
        "/v1/breaks",
        "/v1/breaks/{break_id}",
        "/v1/breaks/{break_id}/propose",
        "/v1/breaks/{break_id}/sign",
    } <= set(paths)


# What the hub asks platforms for by itself.


class Books:
    """A platform's address for statements of both forms."""

    def __init__(self, address: str) -> None:
        self.address, self.lines, self.asked = address, list(LINES), list[dict[str, str]]()
        self.app = FastAPI()
        self.app.add_api_route("/statement", self._answer, methods=["GET"], response_model=None)

    def _answer(self, request: Request) -> Response:
        self.asked.append(dict(request.query_params))
        if "lines" in request.query_params:
            return Response(lines_text(*self.lines), media_type="application/x-ndjson")
        deliveries = [{"delivery_id": "d1", "rows": 2}, {"delivery_id": "d2", "rows": 1}]
        body = {"platform": "x", "deliveries": deliveries, "streams": [totals(*self.lines)]}
        return Response(json.dumps(body), media_type="application/json")


@pytest.fixture
def books(sealed: Hub) -> Iterator[tuple[Hub, Books]]:
    with free_port() as (bound, origin):
        books = Books(f"{origin}/statement?key=7")
        with served(books.app, bound):
            join(sealed, BEIJING | {"statement_url": books.address, "allow_loopback": True, "statement_streams": True})
            yield sealed, books


def test_a_platform_is_asked_for_totals_and_for_lines_only_where_they_differ(books: tuple[Hub, Books]) -> None:
    hub, platform = books
    report = reconcile_window(hub, 1, now=NOW)[CITY]
    assert (report["state"], [one["state"] for one in report["streams"]]) == ("matched", ["matched"])
    (asked,) = platform.asked
    assert asked == {"key": "7", "window": "1", "from": asked["from"], "until": NOW.isoformat()}
    platform.lines = platform.lines[:1]
    report = reconcile_window(hub, 1, now=NOW + timedelta(seconds=1))[CITY]
    assert report["streams"][0]["breaks"] == {"missing_there": 1}
    assert platform.asked[-1] == asked | {"stream": "acts", "lines": "true"}
    assert len(platform.asked) == 3
    sound(hub)


def test_a_platform_without_the_second_form_is_asked_its_bare_address(books: tuple[Hub, Books]) -> None:
    hub, platform = books
    join(hub, BEIJING | {"statement_url": platform.address, "allow_loopback": True})
    platform.lines = platform.lines[:1]
    report = reconcile_window(hub, 1, now=NOW)[CITY]
    assert platform.asked == [{"key": "7"}]
    assert report["streams"][0]["state"] == "lines_wanted"
