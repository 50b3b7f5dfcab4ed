"""Fetching from a platform that does something while it is asked: what happens between two pages."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from tests_support.deliveries import join
from tests_support.fetching import LEASE, NOW, Clock, bill, state_of, stored
from tests_support.town import (
    document_of,
    inhabitant,
    link_inhabitant,
    token_for,
)  # fmt: skip
from tests_support.web import count, free_port, look_up, served

from connectors.base import Cursor
from consent.withdraw import withdraw_grant
from hub.context import Hub
from hub.db import writing
from hub.sandbox.people import CITIC
from hub.sync.cursors import ensure_state, lease_due, make_due
from hub.sync.fetching import PAUSED, fetch_next


@dataclass
class Script:
    """Serves pages of two rows each; before page n it does what `before` says of n (from 1)."""

    pages: int = 4
    before: dict[int, Callable[[], Any]] = field(default_factory=dict)
    asked: list[str | None] = field(default_factory=list)
    status: dict[int, int] = field(default_factory=dict)
    renewed: int = 0
    takes_renewed: bool = False  # a renewed token is taken where `status` refuses the first one

    @property
    def app(self) -> FastAPI:
        app = FastAPI()
        app.add_api_route("/records", self._answer, methods=["GET"], response_model=None)
        app.add_api_route("/.well-known/oauth-authorization-server", self._metadata, methods=["GET"])
        app.add_api_route("/token", self._token, methods=["POST"])
        return app

    def _metadata(self, request: Request) -> dict[str, str]:
        issuer = str(request.base_url).rstrip("/")
        return {"issuer": issuer, "authorization_endpoint": f"{issuer}/authorize", "token_endpoint": f"{issuer}/token"}

    def _token(self) -> dict[str, str]:
        self.renewed += 1
        return {"access_token": f"renewed-{self.renewed}", "token_type": "BEARER"}

    def _answer(self, request: Request) -> Response:
        cursor = request.query_params.get("cursor")
        number = int(cursor or "1")
        self.asked.append(cursor)
        self.before.pop(number, lambda: None)()
        told_renewed = "renewed-" in request.headers.get("authorization", "")
        if number in self.status and not (self.takes_renewed and told_renewed):
            return JSONResponse({}, self.status[number])
        rows = [bill(10 * number + place) for place in (0, 1)]
        following = str(number + 1) if number < self.pages else None
        return JSONResponse({"records": rows, "next_cursor": following})


@contextmanager
def scripted(hub: Hub, script: Script) -> Iterator[tuple[int, str, str]]:
    with free_port() as (bound, origin), served(script.app, bound):
        join(hub, document_of(CITIC, origin=origin))
        tokens = token_for(hub, CITIC, inhabitant(1).accounts[CITIC], lives=timedelta(days=1))
        linked = link_inhabitant(hub, CITIC, inhabitant(1), tokens)
        with writing(hub.engine) as session:
            ensure_state(session, CITIC, linked[2], NOW)
        yield linked


def test_consent_withdrawn_between_two_pages_stops_the_next_page(ticking: Hub):
    script = Script()
    with scripted(ticking, script) as (subject, grant, _):

        def withdraw() -> None:
            with writing(ticking.engine) as session:
                withdraw_grant(session, grant_id=grant, subject_id=subject, now=NOW)

        script.before[2] = withdraw  # while the hub waits for the second page
        fetch_next(ticking, "w1")
        assert script.asked == [None, "2"]
        assert stored(ticking) == 2
        state = state_of(ticking)
        assert (state.last_error, state.due_at) == ("link_inactive", NOW + PAUSED)


def test_a_token_refused_before_its_time_is_renewed_and_the_feed_goes_on(ticking: Hub):
    script = Script(status={3: 401}, takes_renewed=True)
    with scripted(ticking, script):
        fetch_next(ticking, "w1")
        assert (stored(ticking), script.renewed, state_of(ticking).last_error) == (8, 1, None)
        assert script.asked == [None, "2", "3", "3", "4"]


def test_a_token_refused_between_two_pages_and_a_new_one_too_breaks_the_link_and_keeps_what_was_read(ticking: Hub):
    script = Script(status={3: 401})
    with scripted(ticking, script):
        fetch_next(ticking, "w1")
        assert (stored(ticking), script.renewed) == (4, 1)
        assert look_up(ticking, "SELECT state FROM link") == [("broken",)]
        assert state_of(ticking).last_error == "token_refused"


def test_an_answer_that_no_time_heals_waits_for_an_operator(ticking: Hub):
    script = Script(status={2: 418})
    with scripted(ticking, script):
        fetch_next(ticking, "w1")
        state = state_of(ticking)
        assert (state.last_error, state.due_at, stored(ticking)) == ("answered_418", NOW + PAUSED, 2)
        assert look_up(ticking, "SELECT state FROM link") == [("active",)]


def test_a_worker_that_was_silent_too_long_stores_nothing_and_the_other_one_goes_on(ticking: Hub, clock: Clock):
    script = Script()
    with scripted(ticking, script):

        def oversleep() -> None:
            clock.pass_by(seconds=61)
            with writing(ticking.engine) as session:
                (taken,) = lease_due(session, ticking.ring, "w2", now=clock.now, lease=LEASE)
            assert taken.cursor == Cursor(cursor="2")

        script.before[2] = oversleep
        fetch_next(ticking, "w1")
        state = state_of(ticking)
        assert stored(ticking) == 2  # the first page only: the second was rolled back
        assert (state.lease_holder, state.failures) == ("w2", 0)  # and nothing of the other one's was touched
        clock.pass_by(seconds=61)
        assert fetch_next(ticking, "w3")
        assert (stored(ticking), state_of(ticking).last_error) == (8, None)
        assert count(ticking, "quarantined") == {"quarantined": 0}


def test_a_worker_that_is_heard_with_every_page_keeps_its_link_however_long_the_feed(ticking: Hub, clock: Clock):
    script = Script(pages=5)
    met = []
    with scripted(ticking, script):

        def pass_and_try() -> None:
            clock.pass_by(seconds=40)
            with writing(ticking.engine) as session:
                met.append(lease_due(session, ticking.ring, "w2", now=clock.now, lease=LEASE))

        script.before = dict.fromkeys(range(2, 6), pass_and_try)
        fetch_next(ticking, "w1")
        assert met == [[]] * 4
        assert (stored(ticking), state_of(ticking).last_error) == (10, None)


def test_who_asks_while_a_run_is_under_way_is_served_by_the_next_run(ticking: Hub, clock: Clock):
    script = Script()
    with scripted(ticking, script):

        def ask() -> None:
            clock.pass_by(seconds=1)
            with writing(ticking.engine) as session:
                make_due(session, clock.now)

        script.before[3] = ask
        assert fetch_next(ticking, "w1")
        assert state_of(ticking).due_at <= clock.now
        assert fetch_next(ticking, "w1")
        assert not fetch_next(ticking, "w1")


def test_a_feed_that_turns_in_a_circle_or_never_ends_is_left_in_time(ticking: Hub):
    script = Script(pages=10**6)
    bounded = replace(ticking, settings=ticking.settings.model_copy(update={"max_pages_per_fetch": 7}))
    with scripted(bounded, script):
        fetch_next(bounded, "w1")
        assert len(script.asked) == 7
        assert stored(bounded) == 14
