"""winter-olympics-2022: one signed drop at the end of the programme, and nothing before or after it. I/O: files."""

from collections.abc import Sequence
from datetime import datetime, time, timedelta

from hub.sandbox.acts import BEIJING_TIME
from hub.sandbox.platforms.profile_drop import DropVoice, drop_agreed, drop_feed
from hub.sandbox.platforms.site import Tally
from hub.sandbox.platforms.spec import Spec
from hub.sandbox.registers import OLYMPICS
from hub.sandbox.reports import Report
from hub.sandbox.telling.olympics import EVENT
from hub.sandbox.town import DAYS, FIRST_DAY

_SINCE = datetime.combine(FIRST_DAY, time(), BEIJING_TIME)


class WinterOlympics(DropVoice):
    """The programme's side: JSON lines, sequence 1, when the last part is over."""

    numbers_versions = False
    told_stream = "acts"
    file_name = "acts.jsonl"
    tampering = (b'"credits":1', b'"credits":9')

    def lines(self, rows: tuple[Report, ...]) -> list[str]:
        return [row.body for row in rows]

    def count(self, lines: Sequence[str]) -> int:
        return len(lines)

    async def deliver(self, part: int) -> Tally:
        """Write the one drop in the last part; until then the programme is running."""
        if part < self.site.reports.town.parts:
            return Tally()
        return await super().deliver(part)

    def sequence_of(self, part: int) -> int:
        return 1


SPEC = Spec(
    id=OLYMPICS,
    name_zh="低碳冬奥（模拟）",
    name_en="Low-carbon Winter Olympics 2022 (simulated)",
    kind="event",
    behaviours=("MOB-METRO", "MOB-BUS", "MOB-BIKE", "MOB-WALK", "FOOD-CLEANPLATE", "FOOD-OWNCUP"),
    agreed=drop_agreed("olympics"),
    feeds=(
        drop_feed(
            WinterOlympics,
            connector="event_file",
            role="aggregator",
            drops=["name", "phone", "openid", "photo", "ticket_no", "venue", "credits"],
            event=EVENT,
            event_since=_SINCE.isoformat(),
            event_until=(_SINCE + timedelta(days=DAYS)).isoformat(),
        ),
    ),
)
