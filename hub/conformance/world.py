"""The town of the suite: what a feed's platform tells, cut down to a few accounts with as much trouble as possible. Pure."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import cache

from hub.sandbox.platforms.spec import Feed, Spec
from hub.sandbox.reports import Report, Reports
from hub.sandbox.specs import STAND_IN_TELLERS
from hub.sandbox.town import Town

SEED, PEOPLE = 7, 60
ACCOUNTS = 3
MOST_ROWS = 240
"""Of a feed that names nobody: enough for several pages."""

Edit = Callable[[tuple[Report, ...]], Sequence[Report]]


@cache
def town_reports() -> Reports:
    """Return everything that the town's platforms tell; made once in a process."""
    return Reports(Town(SEED, PEOPLE))


class ChosenReports(Reports):
    """What is left of a town's reports when only some rows are told, or other ones."""

    def __init__(self, town: Town, rows: Sequence[Report]) -> None:
        self.town, self.rows = town, tuple(rows)

    def told_by(self, platform: str, part: int | None = None, stream: str | None = None) -> tuple[Report, ...]:
        """Return a platform's rows, also of one that is not in the town."""
        return tuple(
            row
            for row in self.rows
            if row.platform == platform and part in (None, row.part) and stream in (None, row.stream)
        )


def stream_of(spec: Spec, feed: Feed) -> str:
    """Return the stream that the feed's reports carry: that of a platform's first feed is empty."""
    return "" if feed is spec.feeds[0] else feed.stream


def choose_rows(spec: Spec, feed: Feed, source: Reports | None = None) -> tuple[Report, ...]:
    """Return the rows of the accounts that show the most: corrections, late rows, troubles, and many of them."""
    told = _told_by(spec, feed, source or town_reports())
    by_account: dict[str, list[Report]] = defaultdict(list)
    for row in told:
        by_account[row.account].append(row)
    if set(by_account) <= {""}:
        return told[:MOST_ROWS]
    chosen: list[str] = []
    shown: set[object] = set()
    while len(chosen) < ACCOUNTS and len(chosen) < len(by_account):
        left = [account for account in by_account if account not in chosen]
        best = max(
            left, key=lambda account: (len(_shows(by_account[account]) - shown), len(by_account[account]), account)
        )
        chosen.append(best)
        shown |= _shows(by_account[best])
    return tuple(row for row in told if row.account in chosen)


def _told_by(spec: Spec, feed: Feed, source: Reports) -> tuple[Report, ...]:
    """Return what a feed's platform tells; one that stands in for a format is no teller of the town."""
    if spec.id in STAND_IN_TELLERS:
        return _told_by_stand_in(spec.id, source.town)
    return source.told_by(spec.id, stream=stream_of(spec, feed))


@cache
def _told_by_stand_in(platform: str, town: Town) -> tuple[Report, ...]:
    """Return what a whole town tells of a stand-in; made once, because every case asks for it."""
    told = [row for person in town.people for row in STAND_IN_TELLERS[platform](town, person)]
    return tuple(sorted(told, key=lambda row: (row.delivered_at, row.source_id, row.version)))


def _shows(rows: Sequence[Report]) -> set[object]:
    return {row.note for row in rows} | {row.trouble for row in rows} | {row.part for row in rows}
