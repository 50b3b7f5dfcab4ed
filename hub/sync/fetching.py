"""Fetch what is due: some links of one feed together, each page by page. I/O: network, the database.

Leases are taken in one transaction, the platform is called in none, and the pages of a round commit together, each with its
cursor. Errors decide what happens to a link next by their class: try later, ask the person to link again, set aside for an
operator, or stop. What goes wrong with one link is no other's matter.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta

import structlog

from connectors.base import Page, Reauthorise, RetryLater, SetAside, Stop
from consent.link_access import Access, LinkUnusable, find_unusable, load_accesses
from consent.platforms import PlatformRefused
from hub.context import Hub
from hub.db import reading, writing
from hub.errors import Busy, Conflict
from hub.participants import Feed, Platform, Status, open_platform
from hub.pipeline import take_deliveries
from hub.records.races import DATABASE_ERRORS, lost_a_race
from hub.sync.cursors import Due, Held, Lane, Result, back_off, lease_due, release
from hub.sync.pace import hold_back, reserve
from hub.sync.readers import Reader, break_link

log = structlog.get_logger(__name__)

POLL = timedelta(minutes=15)
PAUSED = timedelta(hours=6)  # something that only an operator or the person can mend
LONGEST_WAIT = timedelta(seconds=5)  # for the platform's allowance; a longer wait is done without holding the links


def fetch_next(hub: Hub, worker: str, *, poll: timedelta = POLL, lane: Lane = Lane.FEED, most: int = 1) -> bool:
    """Lease what is due of one feed, read it to its end, give it back; False if nothing was due."""
    now = hub.clock()
    with writing(hub.engine) as session:
        held = lease_due(session, hub.ring, worker, now=now, lease=hub.settings.lease, lane=lane, most=most)
    if not held:
        return False
    try:
        results = _fetch(hub, worker, held, poll)
    except Exception as failure:
        results = [(due, _result_of(hub, due, failure)) for due in held]
    with writing(hub.engine) as session:
        release(session, worker, results, now=hub.clock())
    return True


def _fetch(hub: Hub, worker: str, held: Sequence[Due], poll: timedelta) -> list[tuple[Due, Result]]:
    with reading(hub.engine) as session:
        platform = open_platform(session, hub.ring, held[0].platform)
    if platform.status is not Status.ACTIVE:
        raise Stop("suspended")
    feed = platform.feed(held[0].stream)
    if feed.document.poll_minutes is not None:
        poll = timedelta(minutes=feed.document.poll_minutes)
    opened = _open_all(hub, held)
    readers = [Reader(hub, platform, feed, due, opened.get(due.link_id)) for due in held]
    active = readers
    with _hands(min(platform.document.pace.at_once, len(readers))) as each:
        while active := [reader for reader in active if reader.result is None]:
            if not _wait_for_turn(hub, platform, active):
                break
            found = each(lambda reader: _ask(hub, reader, poll), active)
            pages = [(reader, page) for reader, page in zip(active, found, strict=True) if page is not None]
            _store(hub, worker, platform, feed, pages)
            for reader, page in pages:
                if reader.result is None and page.last:
                    reader.result = Result(next_in=poll, error=None)
                elif reader.result is None and reader.pages_read >= hub.settings.max_pages_per_fetch:
                    reader.result = Result(next_in=timedelta(0), error=None)
    return [(reader.due, reader.result or Result(next_in=poll, error=None)) for reader in readers]


def _open_all(hub: Hub, held: Sequence[Due]) -> dict[str, Access | LinkUnusable]:
    """Open the links' tokens together, each only if consent allows reading it now."""
    wanted = [due.link_id for due in held if due.link_id]
    if not wanted:
        return {}
    with reading(hub.engine) as session:
        return load_accesses(session, hub.ring, link_ids=wanted, now=hub.clock())


Each = Callable[[Callable[[Reader], Page | None], Sequence[Reader]], list[Page | None]]


@contextmanager
def _hands(count: int) -> Iterator[Each]:
    """Give what asks for several links at once; a single one is asked in this very thread."""
    if count <= 1:
        yield lambda ask, readers: [ask(reader) for reader in readers]
        return
    with ThreadPoolExecutor(count, thread_name_prefix="fetch") as pool:
        yield lambda ask, readers: list(pool.map(ask, readers))


def _wait_for_turn(hub: Hub, platform: Platform, active: Sequence[Reader]) -> bool:
    """Wait for the platform's allowance; False if that would take too long: the links are given back until then."""
    with writing(hub.engine) as session:
        wait = reserve(
            session, platform.platform_id, len(active), platform.document.pace, hub.clock(), longest=LONGEST_WAIT
        )
    if wait > LONGEST_WAIT:
        for reader in active:
            reader.result = Result(next_in=wait, error="platform_allowance")
        return False
    time.sleep(wait.total_seconds())
    return True


def _ask(hub: Hub, reader: Reader, poll: timedelta) -> Page | None:
    """Ask for one link's next page; whatever goes wrong ends this link's reading and no other's."""
    try:
        page = reader.next_page()
    except Exception as failure:
        reader.result = _result_of(hub, reader.due, failure)
        return None
    if page is None:
        reader.result = Result(next_in=poll, error=None)
    return page


def _store(hub: Hub, worker: str, platform: Platform, feed: Feed, pages: Sequence[tuple[Reader, Page]]) -> None:
    """Take a round's pages in one transaction; if that fails, each in its own, so that only the guilty one ends.

    Consent is asked again, for each link here and for each row where it is stored: a withdrawal stops the next page.
    """
    now = hub.clock()
    pages = _allowed(hub, pages)
    if not pages:
        return
    held = [
        Held(
            due=reader.due, worker=worker, cursor=page.cursor, lease_until=now + hub.settings.lease,
            rows=len(page.delivery.rows),
        )
        for reader, page in pages
    ]  # fmt: skip
    try:
        answers = take_deliveries(hub, platform, [page.delivery for _, page in pages], now=now, held=held)
    except Exception as failure:
        if len(pages) == 1:
            pages[0][0].result = _result_of(hub, pages[0][0].due, failure)
            return
        for one in pages:
            _store(hub, worker, platform, feed, [one])
        return
    for (reader, page), answer in zip(pages, answers, strict=True):
        if answer is None:
            reader.result = _result_of(hub, reader.due, Conflict("another worker took this link over"))
        else:
            reader.stored(page)


def _allowed(hub: Hub, pages: Sequence[tuple[Reader, Page]]) -> list[tuple[Reader, Page]]:
    links = [reader.due.link_id for reader, _ in pages if reader.due.link_id]
    if not links:
        return list(pages)
    with reading(hub.engine) as session:
        unusable = find_unusable(session, link_ids=links, now=hub.clock())
    for reader, _ in pages:
        if reader.due.link_id in unusable:
            reader.result = _result_of(hub, reader.due, LinkUnusable(unusable[reader.due.link_id]))
    return [(reader, page) for reader, page in pages if reader.due.link_id not in unusable]


def _result_of(hub: Hub, due: Due, failure: Exception) -> Result:
    """Say when to try again, and why this try ended."""
    match failure:
        case RetryLater():
            after = timedelta(seconds=min(failure.after_s, 3600))
            if failure.reason == "answered_429":
                with writing(hub.engine) as session:
                    hold_back(session, due.platform, hub.clock() + after)
            return Result(next_in=max(back_off(due.failures), after), error=failure.reason)
        case Reauthorise():
            if due.link_id:
                break_link(hub, due.link_id, failure.reason)
            return Result(next_in=PAUSED, error=failure.reason)
        case SetAside() | Stop() | PlatformRefused():
            return Result(next_in=PAUSED, error=str(failure))
        case LinkUnusable():
            return Result(next_in=PAUSED, error=failure.reason)
        case Busy():
            return Result(next_in=back_off(due.failures), error="hub_busy")
        case Conflict():
            return Result(next_in=back_off(due.failures), error=str(failure))
    if isinstance(failure, DATABASE_ERRORS) and lost_a_race(failure):
        return Result(next_in=back_off(due.failures), error="met_another_delivery")  # nothing of this page is stored
    # One link that meets a mistake of ours must not stop all others: it is put aside, with its traceback in the log.
    log.error("fetch_failed", platform=due.platform, link=due.link_id, exc_info=failure)
    return Result(next_in=PAUSED, error=f"hub_error_{type(failure).__name__}")
