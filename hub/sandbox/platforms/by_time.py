"""What a platform that is asked for stretches of time has to say: rows by when it came to know of them. Pure, but for HTTP.

The town's month is told long after it was lived. So a stretch of time selects what became known in it, which is when the
part was delivered, and not when it happened: a real platform selects by the same moments, because for it they are one.
"""

from collections import defaultdict
from datetime import datetime, timedelta

from hub.sandbox.platforms.faults import Fault
from hub.sandbox.platforms.site import Front, Tally, Voice
from hub.sandbox.reports import Report


class ByTimeVoice(Voice):
    """Rows of a part show once the part is delivered, as known from that second on."""

    keeps_editions = False
    """Whether an older edition of a record stays beside the newer one."""

    known_before = timedelta(0)
    """How long before its delivery a part was known, for formats that are not asked for what is very young."""

    def __init__(self, front: Front, stream: str = "") -> None:
        super().__init__(front, stream)
        self.known_from: dict[int, datetime] = {}
        self._rows: dict[str, list[Report]] = defaultdict(list)
        for row in self.site.reports.told_by(self.site.platform, stream=stream):
            self._rows[row.account].append(row)

    @property
    def delivered_part(self) -> int:
        return max(self.known_from, default=0)

    async def deliver(self, part: int) -> Tally:
        """Make the rows up to a part known; the hub fetches them when it wants."""
        fresh = [one for one in range(1, part + 1) if one not in self.known_from]
        self.known_from |= dict.fromkeys(fresh, self.site.clock().replace(microsecond=0) - self.known_before)
        return Tally(rows=sum(len(self.rows(one)) for one in fresh))

    def told(self, account: str, since: datetime, until: datetime) -> tuple[Report, ...]:
        """Return what became known of an account in a stretch of time, both ends included, in the order of telling."""
        shown = [row for row in self._rows[account] if row.part in self.known_from]
        if not self.keeps_editions:
            shown = list({row.source_id: row for row in shown}.values())
        return tuple(row for row in shown if since <= self.known_from[row.part] <= until)

    def note(self, request_id: str, rows: tuple[Report, ...]) -> tuple[Report, ...]:
        """Write down what goes out, and return it: twice, if the platform is to stutter."""
        if self.faults.take(Fault.DUPLICATES):
            rows = tuple(row for row in rows for _ in range(2))
        if request_id:
            self.book.note(request_id, self.delivered_part, rows)
        return rows
