"""Many links of one feed read together: what goes wrong with one is no other's matter, and nothing is taken twice."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from tests_support.deliveries import join
from tests_support.fetching import NOW, Clock, states, stored
from tests_support.web import count, free_port, look_up, served

from connectors.base import RetryLater
from connectors.net.egress import SafeClient
from consent.withdraw import withdraw_grant
from hub.bench.people import settle
from hub.bench.sync import page_of
from hub.context import Hub
from hub.db import writing
from hub.sync import fetching
from hub.sync.cursors import ask_for, ensure_state
from hub.sync.fetching import PAUSED, fetch_next

BANK = "bench-bank"
ROWS = 3


@dataclass
class Bank:
    """Answers each account's one page; `odd` answers otherwise for some."""

    odd: dict[int, Response] = field(default_factory=dict)
    asked: list[int] = field(default_factory=list)
    under_way: int = 0
    most_under_way: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    before: Any = lambda place: None

    def app(self) -> FastAPI:
        app = FastAPI()

        @app.get("/records")
        def records(request: Request) -> Response:
            place = int(request.headers["authorization"].rpartition("-")[2])
            with self.lock:
                self.asked.append(place)
                self.under_way += 1
                self.most_under_way = max(self.most_under_way, self.under_way)
            self.before(place)
            with self.lock:
                self.under_way -= 1
            return self.odd.get(place) or Response(page_of(place, ROWS), media_type="application/json")

        return app


@contextmanager
def linked(hub: Hub, bank: Bank, people: int, **pace: int) -> Iterator[list[str]]:
    """So many accounts at the bank, each linked by somebody; yields the links."""
    with free_port() as (bound, origin), served(bank.app(), bound):
        join(
            hub,
            {
                "id": BANK, "name_zh": "测试银行", "name_en": "Bench Bank", "kind": "bank", "connector": "cursor_pull",
                "connector_config": {"records_url": f"{origin}/records", "allow_loopback": True, "drops": ["maskedPan"]},
                "stream": "acts", "mapping": "citic-carbon.acts.v1", "behaviours": ["FIN-BILLPAY"],
                "allow_loopback": True, "pace": {"requests_per_minute": 600_000, "at_once": 4} | pace,
                "oauth": {"issuer": origin, "client_id": "c", "client_secret": "s", "scopes": ["records:read"]},
            },
        )  # fmt: skip
        links = settle(hub, BANK, ("FIN-BILLPAY",), people, hub.clock(), token_of=lambda place: f"t-{place}")
        with writing(hub.engine) as session:
            for link in links:
                ensure_state(session, BANK, link, NOW)
        yield links


def test_a_group_is_read_at_once_and_committed_together(ticking: Hub):
    bank = Bank(before=lambda place: threading.Event().wait(0.05))
    with linked(ticking, bank, 8):
        assert fetch_next(ticking, "w1", most=8)
        assert not fetch_next(ticking, "w1", most=8)
    assert sorted(bank.asked) == list(range(8))
    assert 1 < bank.most_under_way <= 4
    assert stored(ticking) == 8 * ROWS
    assert [state.rows_read for state in states(ticking)] == [ROWS] * 8
    # Each account's page is a delivery of its own, with its own leaf.
    assert count(ticking, "batch") == {"batch": 8}
    assert look_up(ticking, "SELECT COUNT(*) FROM change_leaf WHERE kind = 'batch.fetched'") == [(8,)]
    assert look_up(ticking, "SELECT MIN(accepted), MAX(accepted), SUM(claimed_mg) FROM batch") == [
        (3, 3, 8 * 3 * 89_000)
    ]


def test_what_goes_wrong_with_one_link_is_no_other_s_matter(ticking: Hub):
    odd = {
        1: Response(status_code=500),
        2: JSONResponse({"records": "none", "next_cursor": None}),
        3: Response(b'{"records":[', media_type="application/json"),
        4: Response(status_code=401),
    }
    with linked(ticking, Bank(odd=odd), 6) as links:
        fetch_next(ticking, "w1", most=6)
    problems = {state.link_id: state.last_error for state in states(ticking)}
    assert [problems[link] for link in links] == [
        None, "answered_500", "page_no_records", "page_unreadable", "refresh_refused", None,
    ]  # fmt: skip
    assert stored(ticking) == 2 * ROWS
    assert look_up(ticking, "SELECT COUNT(*) FROM link WHERE state = 'broken'") == [(1,)]


def test_consent_withdrawn_while_the_group_is_read_stops_that_link_only(ticking: Hub):
    bank = Bank()
    with linked(ticking, bank, 4) as links:
        (_, grant, subject) = look_up(
            ticking, f"SELECT link_id, grant_id, subject_id FROM link WHERE link_id = '{links[2]}'"
        )[0]

        def withdraw(place: int) -> None:
            if place == 2:
                with writing(ticking.engine) as session:
                    withdraw_grant(session, grant_id=grant, subject_id=subject, now=NOW)

        bank.before = withdraw
        fetch_next(ticking, "w1", most=4)
    problems = {state.link_id: (state.last_error, state.due_at) for state in states(ticking)}
    assert problems[links[2]] == ("link_inactive", NOW + PAUSED)
    assert [problems[link][0] for link in links] == [None, None, "link_inactive", None]
    assert stored(ticking) == 3 * ROWS
    assert look_up(ticking, f"SELECT COUNT(*) FROM source_record WHERE subject_id = {subject}") == [(0,)]


def test_a_page_that_cannot_be_stored_ends_its_own_link_and_the_others_are_stored(
    ticking: Hub, monkeypatch: pytest.MonkeyPatch
):
    real = fetching.take_deliveries

    def refuse_some(hub: Hub, platform: Any, deliveries: Any, **named: Any) -> Any:
        if any(one.account == "1" for one in deliveries):
            raise ZeroDivisionError
        return real(hub, platform, deliveries, **named)

    monkeypatch.setattr(fetching, "take_deliveries", refuse_some)
    with linked(ticking, Bank(), 3) as links:
        fetch_next(ticking, "w1", most=3)
    problems = {state.link_id: state.last_error for state in states(ticking)}
    assert [problems[link] for link in links] == [None, "hub_error_ZeroDivisionError", None]
    assert stored(ticking) == 2 * ROWS


def test_a_link_that_another_worker_took_over_is_left_out_of_the_group(ticking: Hub):
    bank = Bank()
    with linked(ticking, bank, 3) as links:

        def steal(place: int) -> None:
            if place == 1:
                with writing(ticking.engine) as session:
                    session.connection().exec_driver_sql(
                        f"UPDATE sync_state SET lease_holder = 'w2' WHERE link_id = '{links[1]}'"
                    )

        bank.before = steal
        fetch_next(ticking, "w1", most=3)
    holders = {state.link_id: (state.lease_holder, state.rows_read) for state in states(ticking)}
    assert [holders[link] for link in links] == [(None, ROWS), ("w2", 0), (None, ROWS)]
    assert stored(ticking) == 2 * ROWS


def test_a_platform_that_asks_for_a_pause_is_left_alone_by_every_link(ticking: Hub, clock: Clock):
    refusal = Response(status_code=429, headers={"retry-after": "120"})
    bank = Bank(odd=dict.fromkeys(range(3), refusal))
    with linked(ticking, bank, 3):
        fetch_next(ticking, "w1", most=1)
        assert len(bank.asked) == 1
        assert fetch_next(ticking, "w1", most=2)  # it takes the others, sees the pause, and gives them back
        assert len(bank.asked) == 1
        problems = sorted((state.last_error or "", state.due_at) for state in states(ticking))
        assert problems == [
            ("answered_429", NOW + timedelta(seconds=120)),
            ("platform_allowance", NOW + timedelta(seconds=120)),
            ("platform_allowance", NOW + timedelta(seconds=120)),
        ]
        clock.pass_by(seconds=121)
        bank.odd.clear()
        while fetch_next(ticking, "w1", most=3):
            pass
    assert sorted(bank.asked[1:]) == [0, 1, 2]
    assert stored(ticking) == 3 * ROWS


def test_an_allowance_is_shared_by_all_and_never_overdrawn(ticking: Hub, clock: Clock):
    bank = Bank()
    with linked(ticking, bank, 5, requests_per_minute=2, at_once=1):
        times: list[datetime] = []
        bank.before = lambda place: times.append(clock.now)
        for _ in range(40):
            fetch_next(ticking, "w1")
            clock.pass_by(seconds=10)
    assert len(times) == 5
    assert all((later - earlier).total_seconds() >= 29 for earlier, later in pairwise(times))


def test_what_was_asked_for_comes_before_what_waits_longer(ticking: Hub, clock: Clock):
    bank = Bank()
    with linked(ticking, bank, 4) as links:
        clock.pass_by(seconds=5)
        with writing(ticking.engine) as session:
            assert ask_for(session, BANK, [links[3]], clock.now, stream=None) == 1
        for _ in range(4):
            fetch_next(ticking, "w1")
    assert bank.asked[0] == 3
    assert sorted(bank.asked) == [0, 1, 2, 3]


def test_a_row_that_two_pages_of_a_group_tell_is_taken_once(ticking: Hub):
    """Two links, one page: the rows say whose they are, and the second page is a replay of the first."""
    bank = Bank(odd={1: Response(page_of(0, ROWS), media_type="application/json")})
    with linked(ticking, bank, 2):
        fetch_next(ticking, "w1", most=2)
    assert stored(ticking) == ROWS
    told = look_up(ticking, "SELECT accepted, replayed FROM batch ORDER BY batch_id")
    assert told == [(ROWS, 0)]  # the second brought nothing new, and is no batch


def test_the_cursor_of_each_link_is_its_own(ticking: Hub):
    page = json.loads(page_of(1, ROWS)) | {"next_cursor": "one-more"}
    bank = Bank(odd={1: JSONResponse(page)})
    with linked(ticking, bank, 3) as links:
        fetch_next(ticking, "w1", most=3)
    found = {state.link_id: state for state in states(ticking)}
    assert found[links[1]].last_error in ("cursor_loop", "repeated_pages")
    assert [found[link].last_error for link in (links[0], links[2])] == [None, None]


def test_a_connection_that_breaks_once_is_tried_again_in_the_same_run(ticking: Hub, monkeypatch: pytest.MonkeyPatch):
    """From the last stored page: a blip costs no quarter of an hour and takes nothing twice."""
    real, broken = SafeClient.fetch, []

    def break_once(self: SafeClient, url: str, **named: Any) -> Any:
        if not broken:
            broken.append(url)
            raise RetryLater("unreachable", after_s=30)
        return real(self, url, **named)

    monkeypatch.setattr(SafeClient, "fetch", break_once)
    with linked(ticking, Bank(), 1):
        fetch_next(ticking, "w1")
    assert len(broken) == 1
    assert [(state.last_error, state.rows_read) for state in states(ticking)] == [(None, ROWS)]


def test_a_platform_that_stays_away_is_left_for_later_after_a_few_tries(ticking: Hub, monkeypatch: pytest.MonkeyPatch):
    tries: list[str] = []

    def away(self: SafeClient, url: str, **named: Any) -> Any:
        tries.append(url)
        raise RetryLater("unreachable", after_s=30)

    monkeypatch.setattr(SafeClient, "fetch", away)
    with linked(ticking, Bank(), 1):
        fetch_next(ticking, "w1")
    assert len(tries) == 3
    (state,) = states(ticking)
    assert (state.last_error, state.failures) == ("unreachable", 1)
    assert state.due_at == NOW + timedelta(seconds=30)
