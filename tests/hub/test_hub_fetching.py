"""Fetching: nothing lost and nothing twice, whatever the platform, the link or the consent does meanwhile."""

from dataclasses import replace
from datetime import timedelta

import pytest
from tests_support.fetching import NOW, STORES, Feed, state_of, stored
from tests_support.town import (
    inhabitant,
    token_for,
)  # fmt: skip
from tests_support.web import count, look_up

from consent.platform_client import Attempt, Linked, complete_link
from consent.seal import place
from consent.terms import Sensitive
from consent.withdraw import withdraw_grant
from hub.db import reading, writing
from hub.participants import (
    Status,
    load_participants,
    open_platform,
    set_status,
)
from hub.portal.cards import load_cards
from hub.portal.terms import draft_terms
from hub.sandbox.people import CITIC
from hub.sandbox.platforms.faults import Fault
from hub.sync.cursors import ensure_state, make_due
from hub.sync.fetching import PAUSED, POLL
from hub.sync.tables import SyncState


def test_a_feed_is_read_to_its_end_and_the_next_time_only_what_is_new(feed: Feed):
    assert feed.rows()[0] > 10
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
    assert cards[0].state == "broken"
    assert cards[0].last_error == "The platform no longer renews the permission: please link again. (refresh_refused)"
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
        state = session.get_one(SyncState, (CITIC, feed.link, "", "feed"))
        sealed = feed.hub.ring.seal(b'{"cursor": 7}', place("sync_state", "cursor", f"{CITIC}/{feed.link}", None))
        state.cursor = sealed
    feed.fetch()
    assert state_of(feed.hub).last_error == "cursor_of_another_connector"
