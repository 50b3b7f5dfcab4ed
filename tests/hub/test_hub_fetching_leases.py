"""Leases: one worker has a link at a time, and whoever comes late changes nothing."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from threading import Barrier

import pytest
import structlog
from tests_support.deliveries import delivery
from tests_support.fetching import LEASE, NOW, STORES, Clock, Feed, bill, state_of, states
from tests_support.town import (
    document_of,
)  # fmt: skip
from tests_support.web import count

from connectors.base import Cursor
from hub.context import Hub
from hub.db import reading, writing
from hub.errors import Conflict
from hub.participants import (
    ParticipantDocument,
    add_participant,
    open_platform,
)
from hub.pipeline import take_delivery
from hub.sandbox.people import CITIC, SHENZHEN
from hub.sync.cursors import Held, Result, ensure_state, lease_due, release
from hub.sync.fetching import PAUSED, POLL, fetch_next
from hub.sync.tables import SyncState


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
                due = lease_due(session, ticking.ring, name, now=NOW, lease=LEASE, most=2)
            if not due:
                return held
            held += [one.link_id for one in due]

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
        if not due:
            return held
        held += [one.link_id for one in due]


def test_a_lease_ends_and_its_late_holder_can_neither_store_nor_give_back(feed: Feed):
    hub, clock = feed.hub, feed.clock
    with writing(hub.engine) as session:
        (first,) = lease_due(session, hub.ring, "w1", now=clock.now, lease=LEASE)
        assert lease_due(session, hub.ring, "w2", now=clock.now, lease=LEASE) == []
    clock.pass_by(seconds=61)
    with writing(hub.engine) as session:
        assert len(lease_due(session, hub.ring, "w2", now=clock.now, lease=LEASE)) == 1
    with reading(hub.engine) as session:
        platform = open_platform(session, hub.ring, CITIC)
    before = count(hub, *STORES)
    late = Held(due=first, worker="w1", cursor=Cursor(cursor="9"), lease_until=clock.now + LEASE)
    with pytest.raises(Conflict, match="another worker"):
        take_delivery(hub, platform, delivery("p1", bill(1)), now=clock.now, held=late)
    with writing(hub.engine) as session:
        release(session, "w1", [(first, Result(next_in=POLL, error="late"))], now=clock.now)
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
