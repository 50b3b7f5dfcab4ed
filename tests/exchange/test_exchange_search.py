"""Search: filters agree with a look at every leaf, pages hold while leaves come, nothing asked becomes a statement."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
from sqlalchemy import text
from tests_support.deliveries import act, delivery
from tests_support.regulating import CITY, NOW, SEARCH, leaves, problem, sign
from tests_support.tokens import Machine

from hub.changes import log_change
from hub.context import Hub
from hub.db import reading, writing
from hub.exchange.rebuilding import rebuild_entries, rebuild_missing_entries
from hub.exchange.search import Filters, search
from hub.log.leaves import Kind
from hub.participants import open_platform
from hub.pipeline import take_delivery


def find(gu: Machine, **filters: Any) -> dict[str, Any]:
    answer = gu.get(SEARCH, params=filters)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def expected(hub: Hub, fits: Callable[[dict[str, Any]], bool]) -> set[int]:
    return {index for index, leaf in enumerate(leaves(hub)) if fits(leaf)}


def test_each_filter_and_any_of_them_together_find_what_a_look_at_every_leaf_finds(town: Hub, gu: Machine):
    sign(town)
    size = len(leaves(town))
    cases: list[tuple[dict[str, Any], Callable[[dict[str, Any]], bool]]] = [
        ({}, lambda _: True),
        ({"participant": CITY}, lambda leaf: leaf.get("participant") == CITY),
        ({"kind": "batch.received"}, lambda leaf: leaf["kind"] == "batch.received"),
        ({"purpose": "collect"}, lambda leaf: leaf["kind"] == "batch.received"),
        ({"outcome": "partly"}, lambda leaf: leaf.get("outcome") == "partly"),
        ({"outcome": "opened"}, lambda leaf: leaf["kind"] == "window.opened" or leaf.get("what") == "link.opened"),
        ({"window": 1}, lambda leaf: leaf.get("window") == 1),
        ({"batch": 2}, lambda leaf: leaf.get("batch") == 2),
        ({"since": NOW.isoformat()}, lambda leaf: True),
        ({"until": NOW.isoformat()}, lambda leaf: False),
        (
            {"participant": CITY, "kind": "batch.received", "window": 2, "outcome": "taken", "purpose": "collect"},
            lambda leaf: (leaf["kind"], leaf.get("window"), leaf.get("participant")) == ("batch.received", 2, CITY),
        ),
        ({"participant": "kuaidian", "outcome": "partly"}, lambda leaf: False),
    ]
    for filters, fits in cases:
        told = find(gu, limit=1000, **filters)
        # The search's own access is not signed yet, so it is not in it.
        found = {one["index"] for one in told["entries"]}
        assert (told["size"], found) == (size, expected(town, fits)), filters
        assert all(one["leaf"] == leaves(town)[one["index"]] for one in told["entries"])
    assert expected(town, cases[4][1])
    assert len(expected(town, cases[10][1])) == 1


def test_pages_are_whole_while_leaves_are_added(town: Hub, gu: Machine):
    for number in range(40):
        with writing(town.engine) as session:
            fields = {"participant": CITY, "asked_count": number, "claimed_count": 0}
            # Many leaves of one second, and of seconds before and after it.
            at = NOW + timedelta(seconds=number % 3)
            log_change(session, Kind.PRECHECK_ANSWERED, f"{CITY}:{number}", at, fields)
    sign(town)
    with reading(town.engine) as session:
        city = open_platform(session, town.ring, CITY)
    before = {one["index"] for one in find(gu, participant=CITY, limit=1000)["entries"]}
    assert len(before) > 40
    seen: list[int] = []
    page, cursor, added = {}, None, 0
    while not page or cursor is not None:
        page = find(gu, participant=CITY, limit=7, **({"cursor": cursor} if cursor else {}))
        seen += [one["index"] for one in page["entries"]]
        cursor = page["next"]
        # Newer and older ones come between any two pages, and are signed.
        added += 1
        take_delivery(town, city, delivery(f"m{added}", act(f"9{added}")), now=NOW - timedelta(days=1) * (added % 2))
        sign(town)
    assert (len(seen), set(seen)) == (len(before), before)
    assert len(find(gu, participant=CITY, limit=1000)["entries"]) == len(before) + added


def test_leaves_that_nobody_signed_yet_are_not_found(town: Hub, gu: Machine):
    with reading(town.engine) as session:
        city = open_platform(session, town.ring, CITY)
    take_delivery(town, city, delivery("d3", act("4")), now=NOW)
    assert find(gu, batch=4)["entries"] == []
    sign(town)
    assert [one["batch"] for one in find(gu, batch=4)["entries"]] == [4]


@pytest.mark.parametrize(
    "word",
    [
        "' OR 1=1 --", "x'; DROP TABLE log_entry; --", "beijing%", "%", "_", "\x00", "🚲", "a" * 65, "BEIJING", "",
        "beijing-green-life' UNION SELECT data FROM log_body --", "../../etc", "{{7*7}}", "*",
    ],
)  # fmt: skip
def test_what_is_no_word_is_refused_and_not_repeated(town: Hub, gu: Machine, word: str):
    before = len(leaves(town))
    for name in ("participant", "kind", "purpose", "outcome"):
        answer = gu.get(f"{SEARCH}?{name}={quote(word)}")
        assert problem(answer)[0] == 422, (name, word)
        assert len(word) < 4 or word not in answer.text, name
    with reading(town.engine) as session:
        assert session.execute(text("SELECT COUNT(*) FROM log_entry")).scalar_one() >= before


def test_filters_that_are_none_are_refused(gu: Machine):
    cases = [
        "window=-1", "window=x", "window=2147483648", "batch=9223372036854775808", "since=yesterday",
        "since=2026-11-20T08:00:00", "until=2026-11-20", "since=2026-11-21T00:00:00Z&until=2026-11-20T00:00:00Z",
        "participant=a&participant=b", "platform=beijing-green-life", "subject=1", "limit=0", "limit=1001", "kind=all",
    ]  # fmt: skip
    for query in cases:
        assert problem(gu.get(f"{SEARCH}?{query}"))[0] == 422, query


def test_a_cursor_leads_on_in_its_own_search_only(gu: Machine):
    first = find(gu, limit=2)
    cursor = first["next"]
    assert [one["index"] for one in find(gu, limit=2, cursor=cursor)["entries"]] != [
        e["index"] for e in first["entries"]
    ]
    told = json.loads(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))

    def packed(changed: object) -> str:
        return urlsafe_b64encode(json.dumps(changed).encode()).rstrip(b"=").decode()

    for wrong in (
        "x", "", "????", packed([]), packed([*told[:3], "0" * 16]), packed([-1, *told[1:]]), packed(["1", *told[1:]]),
        packed([told[0], 2**62, *told[2:]]), packed({"size": 1}), packed([True, *told[1:]]), "é",
    ):  # fmt: skip
        assert problem(gu.get(SEARCH, params={"cursor": wrong}))[0] == 422, wrong
    assert problem(gu.get(SEARCH, params={"cursor": cursor, "kind": "batch.received"}))[0] == 422
    # Who makes up a place in the right search only moves within what everybody with this right may see.
    assert gu.get(SEARCH, params={"cursor": packed([told[0], told[1], 0, told[3]])}).status_code == 200


def test_what_is_found_can_be_made_anew_from_the_leaves(town: Hub):
    def rows() -> list[Any]:
        with reading(town.engine) as session:
            return list(session.execute(text("SELECT * FROM log_entry ORDER BY leaf_id")).all())

    before = rows()
    with writing(town.engine) as session:
        assert rebuild_missing_entries(session.connection()) == 0
        session.execute(text("UPDATE log_entry SET participant = 'forged', window_id = 77"))
        assert rebuild_entries(session.connection()) == len(before)
    assert rows() == before
    with writing(town.engine) as session:
        session.execute(text("DELETE FROM log_entry"))
        assert rebuild_missing_entries(session.connection()) == len(before)
    assert rows() == before


def test_an_empty_log_has_nothing_to_find(hub: Hub):
    with reading(hub.engine) as session:
        page = search(session, Filters())
    assert (page.entries, page.size, page.next) == ((), 0, None)


def test_leaves_of_batches_tell_who_asked_whom_and_by_what(town: Hub):
    told = {leaf["batch"]: leaf for leaf in leaves(town) if leaf["kind"] == "batch.received"}
    first = told[1]
    assert (first["direction"], first["side"], first["purpose"], first["outcome"]) == (
        "in",
        "producer",
        "collect",
        "partly",
    )
    assert first["connector"].startswith("signed_push/")
    assert (first["rows_count"], first["accepted_count"], first["refused_count"] + first["aside_count"]) == (2, 1, 1)
    assert (told[2]["outcome"], told[2]["stream"], told[3]["window"]) == ("taken", "charge_orders", 2)
    opened = [leaf for leaf in leaves(town) if leaf["kind"] == "window.opened"]
    assert [(leaf["window"], leaf["methodology"]) for leaf in opened] == [(2, town.settings.methodology)]


def test_times_are_read_in_any_zone(town: Hub, gu: Machine):
    china = NOW.astimezone(datetime.fromisoformat("2026-11-20T08:00:00+08:00").tzinfo)
    in_utc = find(gu, since=NOW.isoformat(), limit=1000)["entries"]
    assert [one["index"] for one in find(gu, since=china.isoformat(), limit=1000)["entries"]] == [
        e["index"] for e in in_utc
    ]
    later = replace(Filters(), since=NOW + timedelta(seconds=1))
    with reading(town.engine) as session:
        assert search(session, later).entries == ()
