"""Fetching while the log is too far behind: nothing is stored, no link is blamed, and it goes on by itself."""

from datetime import timedelta

from tests_support.fetching import Feed, state_of, stored

from hub.context import make_watch
from hub.log.sequencer import Sequencer
from hub.log.watch import watch_log
from hub.log_signing import log_signer
from hub.sync.cursors import back_off
from hub.sync.fetching import fetch_next


def test_a_page_that_meets_a_stopped_log_is_asked_for_again_soon(feed: Feed) -> None:
    hub, settings = feed.hub, feed.hub.settings
    bounds = settings.model_copy(update={"log_alarm_after": timedelta(0), "log_stop_after": timedelta(minutes=1)})
    watch_log(hub.engine, make_watch(bounds, look_again_s=0))
    feed.bank.delivered_part = 4
    feed.clock.pass_by(minutes=2)
    assert fetch_next(hub, "one")
    state = state_of(hub)
    assert (stored(hub), state.last_error, state.failures) == (0, "hub_busy", 1)
    assert state.due_at <= feed.clock() + back_off(1), "not set aside for hours as by a mistake of ours"
    Sequencer(hub.engine, log_signer(hub), settings.log_head_file).run_until_current(feed.clock())
    feed.clock.now = state.due_at
    assert fetch_next(hub, "one")
    assert stored(hub) > 0
    assert (state_of(hub).last_error, state_of(hub).failures) == (None, 0)
