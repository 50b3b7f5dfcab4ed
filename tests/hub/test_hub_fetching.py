"""Fetching: nothing lost and nothing twice, whatever the platform, the link, the consent or another worker does meanwhile."""

import json
from base64 import b64decode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from tests_support.deliveries import delivery, join
from tests_support.town import (
    SEED,
    document_of,
    inhabitant,
    link_inhabitant,
    reports,
    served_platform,
    site_of,
    token_for,
)  # fmt: skip
from tests_support.web import count, free_port, look_up, served

from connectors.base import Cursor
from connectors.drop_folder import DropSource, write_drop
from consent.platform_client import Attempt, Linked, complete_link
from consent.seal import place
from consent.terms import Sensitive
from consent.withdraw import withdraw_grant
from hub.context import Hub
from hub.db import reading, writing
from hub.errors import Conflict
from hub.participants import (
    ParticipantDocument,
    Status,
    add_participant,
    load_participants,
    open_platform,
    set_status,
)
from hub.pipeline import take_delivery
from hub.portal.cards import load_cards
from hub.portal.terms import draft_terms
from hub.sandbox.config import secrets_of
from hub.sandbox.people import CITIC, SHENZHEN
from hub.sandbox.platforms.citic import CiticCarbon
from hub.sandbox.platforms.faults import Fault
from hub.sandbox.platforms.shenzhen import ShenzhenTransit
from hub.sync.cursors import Held, ensure_state, lease_due, make_due, release
from hub.sync.fetching import PAUSED, POLL, fetch_next
from hub.sync.tables import SyncState

NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
STORES = ("source_record", "reduction_record", "quarantined", "batch", "change_leaf")
LEASE = timedelta(seconds=60)


class Clock:
    """Time stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now

    def pass_by(self, **passed: float) -> None:
        self.now += timedelta(**passed)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ticking(hub: Hub, clock: Clock) -> Hub:
    return replace(hub, clock=clock)


def states(hub: Hub) -> list[SyncState]:
    with reading(hub.engine) as session:
        return list(session.query(SyncState).order_by(SyncState.platform, SyncState.link_id))


def state_of(hub: Hub) -> SyncState:
    return states(hub)[0]


def stored(hub: Hub) -> int:
    return count(hub, "source_record")["source_record"]


# The bank's feed, from the sandbox.


@dataclass
class Feed:
    """One person's account at the simulated bank, and a hub that follows it in pages of five."""

    hub: Hub
    clock: Clock
    bank: CiticCarbon
    subject: int
    grant: str
    link: str

    def show(self, part: int = 4) -> None:
        self.bank.delivered_part = part

    def fetch(self) -> bool:
        return fetch_next(self.hub, "w1")

    def fetch_when_due(self) -> bool:
        self.clock.now = max(self.clock.now, state_of(self.hub).due_at)
        return self.fetch()

    def rows(self, part: int = 4) -> tuple[int, int]:
        """How many rows of the account are readable and how many are not, each version once."""
        mine = [row for row in reports().told_by(CITIC) if row.person == 1 and row.part <= part]
        readable = {(row.source_id, row.version, row.body) for row in mine if row.trouble is None}
        return len(readable), len({row.body for row in mine if row.trouble is not None})

    def taken(self) -> tuple[int, int]:
        counts = count(self.hub, "source_record", "quarantined")
        return counts["source_record"], counts["quarantined"]


@pytest.fixture
def feed(ticking: Hub, clock: Clock) -> Iterator[Feed]:
    with served_platform(CiticCarbon, CITIC, ticking) as (bank, origin):
        join(ticking, document_of(CITIC, origin=origin, connector_config={"limit": 5}))
        tokens = token_for(ticking, CITIC, inhabitant(1).accounts[CITIC])
        subject, grant, link = link_inhabitant(ticking, CITIC, inhabitant(1), tokens)
        with writing(ticking.engine) as session:
            ensure_state(session, CITIC, link, NOW)
        yield Feed(ticking, clock, bank, subject, grant, link)


def test_a_feed_is_read_to_its_end_and_the_next_time_only_what_is_new(feed: Feed):
    assert feed.rows()[0] > 20
    for part in (1, 2, 3, 4):
        feed.show(part)
        assert feed.fetch_when_due()
        assert feed.taken() == feed.rows(part)
        state = state_of(feed.hub)
        assert (state.failures, state.last_error, state.last_success_at) == (0, None, feed.clock.now)
        assert (state.lease_holder, state.due_at) == (None, feed.clock.now + POLL)
    before = count(feed.hub, *STORES)
    assert not feed.fetch()  # not due
    assert feed.fetch_when_due()
    assert count(feed.hub, *STORES) == before  # reading the last page again leaves no trace


@pytest.mark.parametrize(
    ("fault", "told", "waits_s"),
    [
        (Fault.RATE_LIMITED, "answered_429", (1, 60)),
        (Fault.SERVER_ERROR, "answered_500", (30, 60)),
        (Fault.TRUNCATED_PAGE, "page_unreadable", (30, 60)),
        (Fault.REPEATED_PAGE, "cursor_loop", (PAUSED.total_seconds(), PAUSED.total_seconds())),
        (Fault.DUPLICATES, None, (POLL.total_seconds(), POLL.total_seconds())),
    ],
)
def test_a_fault_in_the_middle_of_a_feed_loses_nothing_and_takes_nothing_twice(
    feed: Feed, fault: Fault, told: str | None, waits_s: tuple[float, float]
):
    feed.show()
    whole = feed.hub
    feed.hub = replace(whole, settings=whole.settings.model_copy(update={"max_pages_per_fetch": 1}))
    assert feed.fetch()  # the first page only
    first = feed.taken()
    assert sum(first) == 5
    feed.hub = whole
    feed.bank.faults.arm(fault)
    feed.fetch_when_due()
    state = state_of(feed.hub)
    assert state.last_error == told
    assert (state.failures, state.lease_holder) == (int(told is not None), None)
    assert waits_s[0] <= (state.due_at - feed.clock.now).total_seconds() <= waits_s[1]
    assert not feed.fetch()  # not before its time
    if fault in (Fault.RATE_LIMITED, Fault.SERVER_ERROR, Fault.TRUNCATED_PAGE):
        assert feed.taken() == first
    for _ in range(3):
        feed.fetch_when_due()
    assert feed.taken() == feed.rows()
    assert state_of(feed.hub).last_error is None
    versions = look_up(
        feed.hub, "SELECT source_id, digest, COUNT(*) FROM source_record GROUP BY source_id, digest HAVING COUNT(*) > 1"
    )
    assert versions == []


def test_failures_in_a_row_wait_longer_and_a_success_forgets_them(feed: Feed):
    feed.show()
    feed.bank.faults.arm(Fault.SERVER_ERROR, 8)
    waits = []
    for failures in range(1, 9):
        feed.fetch_when_due()
        state = state_of(feed.hub)
        assert state.failures == failures
        waits.append((state.due_at - feed.clock.now).total_seconds())
    assert waits[0] >= 30  # what the connector asks for at least
    assert waits[-1] > 100
    feed.fetch_when_due()
    assert state_of(feed.hub).failures == 0
    assert feed.taken() == feed.rows()


def test_a_token_near_its_end_is_renewed_and_the_feed_goes_on(feed: Feed):
    feed.show()
    feed.clock.pass_by(hours=2)
    feed.fetch()
    assert state_of(feed.hub).last_error is None
    assert feed.taken() == feed.rows()
    assert look_up(feed.hub, "SELECT token_version FROM link")[0][0] > 0


def test_a_platform_that_cannot_renew_a_token_now_is_asked_again_later(feed: Feed):
    feed.show()
    feed.clock.pass_by(hours=2)
    feed.bank.faults.arm(Fault.SERVER_ERROR)
    feed.fetch()
    assert state_of(feed.hub).last_error == "token_busy"
    assert look_up(feed.hub, "SELECT state FROM link") == [("active",)]
    feed.fetch_when_due()
    assert feed.taken() == feed.rows()


def test_a_refused_renewal_breaks_the_link_says_so_to_the_person_and_is_logged(feed: Feed):
    feed.show()
    feed.clock.pass_by(days=181)  # the refresh token has ended, the consent has not
    before = count(feed.hub, "change_leaf")["change_leaf"]
    feed.fetch()
    state = state_of(feed.hub)
    assert (state.last_error, state.due_at) == ("refresh_refused", feed.clock.now + PAUSED)
    assert look_up(feed.hub, "SELECT state FROM link") == [("broken",)]
    assert count(feed.hub, "change_leaf")["change_leaf"] == before + 1
    with reading(feed.hub.engine) as session:
        cards = load_cards(session, feed.subject, load_participants(session))
    assert (cards[0].state, cards[0].last_error) == ("broken", "refresh_refused")
    assert stored(feed.hub) == 0


def test_linking_a_broken_link_anew_goes_on_at_once_where_it_stopped(feed: Feed):
    feed.show(2)
    feed.fetch()
    feed.clock.pass_by(days=181)
    feed.fetch_when_due()
    feed.clock.pass_by(minutes=1)
    feed.show(4)
    with reading(feed.hub.engine) as session:
        platform = open_platform(session, feed.hub.ring, CITIC)
    terms = draft_terms(platform, feed.clock.now, look_back=timedelta(days=92), agreed=frozenset(Sensitive))
    attempt = Attempt(subject_id=feed.subject, platform=CITIC, redirect_uri="", verifier="", code="", terms=terms)
    account = inhabitant(1).accounts[CITIC]
    linked = Linked(account=account, tokens=token_for(feed.hub, CITIC, account), scope="records:read")
    with writing(feed.hub.engine) as session:
        link, _, _ = complete_link(session, feed.hub.ring, attempt=attempt, linked=linked, now=feed.clock.now)
        ensure_state(session, CITIC, link.link_id, feed.clock.now)
    assert link.link_id == feed.link
    assert state_of(feed.hub).due_at <= feed.clock.now
    assert feed.fetch()
    assert state_of(feed.hub).last_error is None


def test_a_suspended_platform_is_not_even_asked(feed: Feed):
    feed.show()
    with writing(feed.hub.engine) as session:
        set_status(session, CITIC, Status.SUSPENDED, NOW)
    feed.bank.faults.arm(Fault.SERVER_ERROR)
    feed.fetch()
    state = state_of(feed.hub)
    assert (state.last_error, state.due_at) == ("suspended", NOW + PAUSED)
    assert feed.bank.faults.armed() == {"server_error": 1}
    assert stored(feed.hub) == 0


def test_after_a_withdrawal_the_platform_is_not_even_asked(feed: Feed):
    feed.show()
    with writing(feed.hub.engine) as session:
        withdraw_grant(session, grant_id=feed.grant, subject_id=feed.subject, now=NOW)
    feed.bank.faults.arm(Fault.SERVER_ERROR)
    feed.fetch()
    assert state_of(feed.hub).last_error == "link_inactive"
    assert feed.bank.faults.armed() == {"server_error": 1}
    assert stored(feed.hub) == 0


def test_asking_for_everything_now_makes_it_due(feed: Feed):
    feed.show()
    feed.fetch()
    assert not feed.fetch()
    with writing(feed.hub.engine) as session:
        make_due(session, NOW)
    assert feed.fetch()
    assert not feed.fetch()


def test_a_link_whose_cursor_is_another_connector_s_is_put_aside(feed: Feed):
    feed.show()
    with writing(feed.hub.engine) as session:
        state = session.get_one(SyncState, (CITIC, feed.link))
        sealed = feed.hub.ring.seal(b'{"cursor": 7}', place("sync_state", "cursor", f"{CITIC}/{feed.link}", None))
        state.cursor = sealed
    feed.fetch()
    assert state_of(feed.hub).last_error == "cursor_of_another_connector"


# A platform that does something while it is asked: what happens between two pages.


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


def bill(number: int) -> dict[str, Any]:
    return {
        "cardTransactionId": f"C{number}", "version": 1, "accountId": inhabitant(1).accounts[CITIC], "type": "BILL_PAY",
        "transactionTime": f"2026-10-{number % 28 + 1:02d} 08:31:10", "amount": "3.00", "merchantOrderNo": None,
        "payNo": None, "carbonG": "89", "status": "BOOKED", "updatedAt": "2026-11-06T01:00:00Z",
    }  # fmt: skip


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
                taken = lease_due(session, ticking.ring, "w2", now=clock.now, lease=LEASE)
            assert taken is not None
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
        assert met == [None] * 4
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


# Leases.


def test_two_workers_never_hold_one_link(ticking: Hub):
    links, workers = 12, 6
    with writing(ticking.engine) as session:
        for number in range(links):
            ensure_state(session, CITIC, f"link-{number}", NOW)
    barrier = Barrier(workers)

    def work(name: str) -> list[str]:
        held = []
        barrier.wait(timeout=60)
        while True:
            with writing(ticking.engine) as session:
                due = lease_due(session, ticking.ring, name, now=NOW, lease=LEASE)
            if due is None:
                return held
            held.append(due.link_id)

    with ThreadPoolExecutor(workers) as pool:
        found = [link for held in pool.map(work, [f"w{number}" for number in range(workers)]) for link in held]
    # A worker may find nothing while others hold locks; what was taken was taken once, and nothing is lost.
    rest = work_alone(ticking)
    assert sorted([*found, *rest]) == sorted(f"link-{number}" for number in range(links))


def work_alone(hub: Hub) -> list[str]:
    held = []
    while True:
        with writing(hub.engine) as session:
            due = lease_due(session, hub.ring, "last", now=NOW, lease=LEASE)
        if due is None:
            return held
        held.append(due.link_id)


def test_a_lease_ends_and_its_late_holder_can_neither_store_nor_give_back(feed: Feed):
    hub, clock = feed.hub, feed.clock
    with writing(hub.engine) as session:
        first = lease_due(session, hub.ring, "w1", now=clock.now, lease=LEASE)
        assert lease_due(session, hub.ring, "w2", now=clock.now, lease=LEASE) is None
    clock.pass_by(seconds=61)
    with writing(hub.engine) as session:
        second = lease_due(session, hub.ring, "w2", now=clock.now, lease=LEASE)
    assert first is not None
    assert second is not None
    with reading(hub.engine) as session:
        platform = open_platform(session, hub.ring, CITIC)
    before = count(hub, *STORES)
    late = Held(due=first, worker="w1", cursor=Cursor(cursor="9"), lease_until=clock.now + LEASE)
    with pytest.raises(Conflict, match="another worker"):
        take_delivery(hub, platform, delivery("p1", bill(1)), now=clock.now, held=late)
    with writing(hub.engine) as session:
        release(session, first, "w1", now=clock.now, next_in=POLL, error="late")
    assert count(hub, *STORES) == before
    state = state_of(hub)
    assert (state.lease_holder, state.last_error, state.cursor) == ("w2", None, None)


def test_the_longest_waiting_link_comes_first(ticking: Hub, clock: Clock):
    with writing(ticking.engine) as session:
        for minutes, name in ((5, "b"), (0, "c"), (9, "a"), (-1, "later")):
            session.add(SyncState(platform=CITIC, link_id=name, due_at=NOW - timedelta(minutes=minutes)))
    assert work_alone(ticking) == ["a", "b", "c"]
    assert not fetch_next(ticking, "w1")


def test_a_platform_that_the_hub_cannot_serve_any_more_stops_nobody_else(feed: Feed):
    """Its mapping is gone: a mistake of the hub's operator, in the log with its traceback; every other link is read."""
    feed.show()
    with writing(feed.hub.engine) as session:
        document = document_of(SHENZHEN, drop=Path("/nonexistent")) | {"connector": "gone", "connector_config": {}}
        add_participant(session, feed.hub.ring, ParticipantDocument.model_validate(document), NOW)
        session.add(SyncState(platform=SHENZHEN, link_id="", due_at=NOW - timedelta(days=1)))
    with structlog.testing.capture_logs() as logs:
        assert feed.fetch()
        assert feed.fetch()
    assert feed.taken() == feed.rows()
    broken = next(state for state in states(feed.hub) if state.platform == SHENZHEN)
    assert (broken.lease_holder, broken.due_at) == (None, NOW + PAUSED)
    assert broken.last_error is not None
    assert broken.last_error.startswith("hub_error_")
    assert [entry["event"] for entry in logs] == ["fetch_failed"]


# Signed file drops.


@pytest.fixture
def city(ticking: Hub, tmp_path: Path) -> ShenzhenTransit:
    (tmp_path / "drop").mkdir()
    join(ticking, document_of(SHENZHEN, drop=tmp_path / "drop"))
    link_inhabitant(ticking, SHENZHEN, inhabitant(1))
    with writing(ticking.engine) as session:
        ensure_state(session, SHENZHEN, "", NOW)
    return ShenzhenTransit(site_of(SHENZHEN, ticking), tmp_path / "drop")


def drop(city: ShenzhenTransit, part: int) -> None:
    city._write(part, city.site.rows(part))  # what `deliver` does, without its thread


def read_when_due(hub: Hub, clock: Clock) -> str | None:
    clock.now = max(clock.now, state_of(hub).due_at)
    assert fetch_next(hub, "w1")
    return state_of(hub).last_error


def test_drops_are_read_in_order_each_once(ticking: Hub, clock: Clock, city: ShenzhenTransit):
    assert read_when_due(ticking, clock) is None  # nothing is there yet
    grown = [stored(ticking)]
    for part in (1, 2, 3):
        drop(city, part)
        assert read_when_due(ticking, clock) is None
        grown.append(stored(ticking))
    assert grown[0] == 0
    assert grown == sorted(set(grown))
    before = count(ticking, *STORES)
    assert read_when_due(ticking, clock) is None
    assert count(ticking, *STORES) == before
    refused = look_up(
        ticking, "SELECT COUNT(*) FROM quarantined WHERE reason = 'unknown_account' AND payload IS NOT NULL"
    )
    assert refused == [(0,)]


@pytest.mark.parametrize("fault", [Fault.TAMPERED, Fault.WRONG_SIGNATURE, Fault.SKIPPED_SEQUENCE])
def test_a_drop_that_was_changed_wrongly_signed_or_skipped_waits_for_an_operator(
    ticking: Hub, clock: Clock, city: ShenzhenTransit, fault: Fault
):
    drop(city, 1)
    assert read_when_due(ticking, clock) is None
    before = count(ticking, *STORES)
    city.faults.arm(fault)
    drop(city, 2)
    told = read_when_due(ticking, clock)
    assert told
    assert state_of(ticking).due_at == clock.now + PAUSED
    assert count(ticking, *STORES) == before
    for folder in (city.root / "000002", city.root / "000003"):  # the platform mends it
        for file in folder.glob("*") if folder.exists() else ():
            file.unlink()
        if folder.exists():
            (folder / ".ok").unlink(missing_ok=True)
            folder.rmdir()
    drop(city, 2)
    assert read_when_due(ticking, clock) is None
    assert stored(ticking) > before["source_record"]


def tap(card: str, at: str, kind: str) -> dict[str, str]:
    return {
        "deal_date": at, "close_date": "2026-10-05 00:00:00", "card_no": card, "deal_value": "380", "deal_type": kind,
        "company_name": "地铁五号线", "car_no": "OGT-101", "station": "长龙" if "入" in kind else "大学城",
        "conn_mark": "0", "deal_money": "380", "equ_no": "263031101",
    }  # fmt: skip


def test_an_entry_waits_sealed_in_the_cursor_for_its_exit_in_the_next_drop(
    ticking: Hub, clock: Clock, city: ShenzhenTransit
):
    card, key = inhabitant(1).accounts[SHENZHEN], secrets_of(SEED)[SHENZHEN]["signing_key"]
    signing = Ed25519PrivateKey.from_private_bytes(b64decode(key))
    source = DropSource(root=city.root, platform=SHENZHEN, stream="trips", keys=())
    previous = None
    taps = [tap(card, "2026-10-05 23:50:00", "地铁入站")], [tap(card, "2026-10-06 00:20:00", "地铁出站")]
    for sequence, records in enumerate(taps, start=1):
        data = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records).encode()
        files = {"cards.jsonl": (data, len(records))}
        previous = write_drop(
            source, sequence, files, previous=previous, created_at=NOW - timedelta(days=9 - sequence), key=signing
        )  # fmt: skip
        assert read_when_due(ticking, clock) is None
        raw = state_of(ticking).cursor
        assert raw is not None
        assert card.encode() not in raw
        opened = ticking.ring.open(raw, place("sync_state", "cursor", f"{SHENZHEN}/", None))
        assert (card.encode() in opened) == (sequence == 1)  # so that there was something to hide
        assert stored(ticking) == sequence - 1
    assert look_up(ticking, "SELECT behaviour, end_us - start_us FROM reduction_record") == [
        ("MOB-METRO", 30 * 60 * 1_000_000)
    ]


def test_a_drop_s_page_is_one_transaction_and_a_run_goes_on_where_the_last_one_ended(
    ticking: Hub, clock: Clock, tmp_path: Path
):
    document = document_of(SHENZHEN, drop=tmp_path / "drop", connector_config={"page_rows": 3})
    join(ticking, document)
    link_inhabitant(ticking, SHENZHEN, inhabitant(1))
    with writing(ticking.engine) as session:
        ensure_state(session, SHENZHEN, "", NOW)
    drop(ShenzhenTransit(site_of(SHENZHEN, ticking), tmp_path / "drop"), 1)
    one_page = replace(ticking, settings=ticking.settings.model_copy(update={"max_pages_per_fetch": 1}))
    rows = [0]
    for _ in range(200):
        read_when_due(one_page, clock)
        rows.append(look_up(ticking, "SELECT COALESCE(SUM(rows), 0) FROM batch")[0][0])
        if rows[-1] == rows[-2]:
            break
    assert len(rows) > 5
    assert all(after - before <= 3 for before, after in pairwise(rows))
    assert sum(count(ticking, "source_record", "quarantined").values()) == rows[-1]
