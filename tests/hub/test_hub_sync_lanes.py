"""Two lanes: what is new, and a stretch of the past, read once and never before today's records."""

from datetime import timedelta
from typing import Any

from tests_support.fetching import NOW, Clock, states
from tests_support.web import look_up

from connectors.base import Cursor
from hub.context import Hub
from hub.db import writing
from hub.sync.cursors import Due, Held, Lane, Result, ensure_backfill, ensure_state, find_lost, lease_due, release
from hub.sync.tables import SyncState

LEASE = timedelta(seconds=60)
DAY = timedelta(days=1)


def taken(hub: Hub, lane: Lane, now: Any = NOW, most: int = 1) -> list[Due]:
    with writing(hub.engine) as session:
        return lease_due(session, hub.ring, "w", now=now, lease=LEASE, lane=lane, most=most)


def test_a_lane_gives_its_own_only(ticking: Hub):
    with writing(ticking.engine) as session:
        ensure_state(session, "bank", "l1", NOW)
        ensure_backfill(session, "bank", "l1", NOW, stream="", since=NOW - 30 * DAY, until=NOW)
    (new,), (old,) = taken(ticking, Lane.FEED), taken(ticking, Lane.BACKFILL)
    assert (new.lane, new.window.since, new.window.until) == (Lane.FEED, None, None)
    assert (old.lane, old.window.since, old.window.until) == (Lane.BACKFILL, NOW - 30 * DAY, NOW)
    assert taken(ticking, Lane.FEED) == taken(ticking, Lane.BACKFILL) == []


def test_the_past_is_read_once_and_then_is_due_no_more(ticking: Hub, clock: Clock):
    with writing(ticking.engine) as session:
        ensure_backfill(session, "bank", "l1", NOW, stream="", since=NOW - 30 * DAY, until=NOW)
    (due,) = taken(ticking, Lane.BACKFILL)
    with writing(ticking.engine) as session:
        release(session, "w", [(due, Result(next_in=timedelta(minutes=2), error="answered_500"))], now=NOW)
    assert taken(ticking, Lane.BACKFILL) == []
    (due,) = taken(ticking, Lane.BACKFILL, NOW + timedelta(minutes=2))
    assert due.failures == 1
    with writing(ticking.engine) as session:
        release(
            session, "w", [(due, Result(next_in=timedelta(minutes=15), error=None))], now=NOW + timedelta(minutes=2)
        )
    (state,) = states(ticking)
    assert (state.due_at, state.last_error, state.failures) == (None, None, 0)
    assert taken(ticking, Lane.BACKFILL, NOW + 400 * DAY) == []


def test_a_stretch_that_is_asked_for_meanwhile_becomes_part_of_the_one_that_waits(ticking: Hub):
    with writing(ticking.engine) as session:
        ensure_backfill(session, "bank", "", NOW, stream="s", since=NOW - 30 * DAY, until=NOW - 20 * DAY)
        ensure_backfill(session, "bank", "", NOW, stream="s", since=NOW - 40 * DAY, until=NOW - 35 * DAY)
    (due,) = taken(ticking, Lane.BACKFILL)
    assert (due.since, due.until) == (NOW - 40 * DAY, NOW - 20 * DAY)


def test_whoever_reads_the_old_stretch_loses_it_when_a_longer_one_is_asked_for(ticking: Hub):
    with writing(ticking.engine) as session:
        ensure_backfill(session, "bank", "", NOW, stream="", since=NOW - 30 * DAY, until=NOW)
    (due,) = taken(ticking, Lane.BACKFILL)
    with writing(ticking.engine) as session:
        ensure_backfill(session, "bank", "", NOW, stream="", since=NOW - 60 * DAY, until=NOW)
        held = Held(due=due, worker="w", cursor=Cursor(page=2), lease_until=NOW + LEASE)
        assert find_lost(session, [held]) == {0}
    (again,) = taken(ticking, Lane.BACKFILL)
    assert (again.since, again.cursor) == (NOW - 60 * DAY, None)


def test_a_stretch_that_was_read_is_read_anew_when_it_is_asked_for_again(ticking: Hub):
    with writing(ticking.engine) as session:
        ensure_backfill(session, "bank", "", NOW, stream="", since=NOW - 30 * DAY, until=NOW)
    (due,) = taken(ticking, Lane.BACKFILL)
    with writing(ticking.engine) as session:
        release(session, "w", [(due, Result(next_in=DAY, error=None))], now=NOW)
        ensure_backfill(session, "bank", "", NOW, stream="", since=NOW - 5 * DAY, until=NOW)
    (again,) = taken(ticking, Lane.BACKFILL)
    assert (again.since, again.until) == (NOW - 5 * DAY, NOW)


def test_a_group_is_of_one_feed(ticking: Hub):
    with writing(ticking.engine) as session:
        for platform, link, stream in (
            ("a", "1", ""),
            ("a", "2", ""),
            ("a", "1", "cards"),
            ("b", "3", ""),
            ("a", "", ""),
        ):
            session.add(SyncState(platform=platform, link_id=link, stream=stream, due_at=NOW))
    groups = []
    while group := taken(ticking, Lane.FEED, most=10):
        groups.append({(due.platform, due.link_id, due.stream) for due in group})
    assert {frozenset(group) for group in groups} == {
        frozenset({("a", "", "")}), frozenset({("a", "1", ""), ("a", "2", "")}), frozenset({("a", "1", "cards")}),
        frozenset({("b", "3", "")}),
    }  # fmt: skip


def test_a_state_of_the_older_form_is_the_first_feed_s(ticking: Hub):
    """The migration gives them the empty stream; it stays the name of the first feed."""
    with writing(ticking.engine) as session:
        ensure_state(session, "bank", "l1", NOW)
    assert look_up(ticking, "SELECT stream, lane, turn, rows_read FROM sync_state") == [("", "feed", 1, 0)]
