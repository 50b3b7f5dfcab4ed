"""What begins to be read when an account is linked: the present in one lane, the past in the other, and no gap between."""

from datetime import timedelta
from typing import Any

import pytest
from tests_support.deliveries import join
from tests_support.fetching import NOW, states
from tests_support.town import document_of

from connectors.base import Scope
from hub.context import Hub
from hub.db import writing
from hub.participants import Platform
from hub.sandbox.people import CITIC, KUAIDIAN
from hub.sandbox.registers import BAIDU, DIDI
from hub.sandbox.specs import SPECS
from hub.sync.cursors import Lane
from hub.sync.following import LEAST_OVERLAP, follow_link

SINCE = NOW - timedelta(days=92)


def followed(hub: Hub, document: dict[str, Any]) -> tuple[Platform, dict[tuple[str, str, str], Any]]:
    platform = join(hub, document)
    with writing(hub.engine) as session:
        follow_link(session, platform, "l1", SINCE, NOW)
    return platform, {(state.link_id, state.stream, state.lane): state for state in states(hub)}


@pytest.mark.parametrize("name", sorted(SPECS))
def test_every_platform_s_feeds_are_followed_without_a_gap(ticking: Hub, name: str):
    """Whatever the present does not reach back to, the past reaches up to."""
    platform, found = followed(ticking, document_of(name))
    for feed in platform.feeds:
        told, stream = feed.connector.describe(), platform.state_name(feed)
        if feed not in list(platform.fetched(told.scope)):
            assert not any(state.stream == stream for state in found.values())
            continue
        link = "l1" if told.scope is Scope.LINK else ""
        if told.windowed:
            past = found[link, stream, Lane.BACKFILL]
            assert (past.since, past.until) == (SINCE, NOW)
        if told.windowed and link:
            assert found[link, stream, Lane.FEED].since <= NOW - max(LEAST_OVERLAP, min(told.overlap, NOW - SINCE))
        elif link:
            assert found[link, stream, Lane.FEED].since is None  # it is read from its beginning


def test_a_feed_that_is_asked_by_time_has_both_lanes_and_one_by_cursor_has_one(ticking: Hub):
    _, found = followed(ticking, document_of(BAIDU))
    assert set(found) == {("l1", "", Lane.FEED), ("l1", "", Lane.BACKFILL)}


def test_a_bank_s_pages_are_read_from_the_beginning(ticking: Hub):
    _, found = followed(ticking, document_of(CITIC))
    assert set(found) == {("l1", "", Lane.FEED)}


def test_a_whole_platform_is_asked_again_for_the_time_of_a_new_link(ticking: Hub):
    _, found = followed(ticking, document_of(DIDI))
    assert set(found) == {("", "", Lane.BACKFILL)}


def test_a_platform_that_speaks_by_itself_is_not_read(ticking: Hub):
    _, found = followed(ticking, document_of(KUAIDIAN))
    assert found == {}
