"""Everything that the town's platforms deliver over the month, in order, and the truth to judge it by. Pure."""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property

from hub.sandbox.acts import Act
from hub.sandbox.people import PLATFORMS
from hub.sandbox.telling.report import Note, Report
from hub.sandbox.telling.tellers import TELLERS
from hub.sandbox.town import Town

__all__ = ["Note", "Oracle", "Report", "Reports"]


class Reports:
    """Every row of every platform of a town, ordered by platform and by when it is delivered."""

    def __init__(self, town: Town) -> None:
        self.town = town
        told = [report for person in town.people for teller in TELLERS for report in teller(town, person)]
        self.rows: tuple[Report, ...] = tuple(sorted(told, key=_delivery_order))

    def told_by(self, platform: str, part: int | None = None, stream: str | None = None) -> tuple[Report, ...]:
        """Return a platform's rows (of one part, of one feed) in the order of delivery."""
        rows = self._by_part[platform, part] if part is not None else self._by_platform[platform]
        return rows if stream is None else tuple(row for row in rows if row.stream == stream)

    @cached_property
    def _by_part(self) -> Mapping[tuple[str, int], tuple[Report, ...]]:
        found: dict[tuple[str, int], list[Report]] = defaultdict(list)
        for row in self.rows:
            found[row.platform, row.part].append(row)
        keys = [(platform, part) for platform in PLATFORMS for part in range(1, self.town.parts + 1)]
        return {key: tuple(found[key]) for key in keys}

    @cached_property
    def _by_platform(self) -> Mapping[str, tuple[Report, ...]]:
        return {platform: tuple(row for row in self.rows if row.platform == platform) for platform in PLATFORMS}


def _delivery_order(row: Report) -> tuple[int, object, str, str, int, bool]:
    # A row comes before its own copy, and a correction after what it corrects, even at one and the same instant.
    return (
        PLATFORMS.index(row.platform),
        row.delivered_at,
        row.stream,
        row.source_id,
        row.version,
        row.note is Note.REPLAY,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What one real act came to: the live rows that tell of it, at most one for each source record."""

    act: Act
    rows: tuple[Report, ...]

    @property
    def platforms(self) -> frozenset[str]:
        return frozenset(row.platform for row in self.rows)


class Oracle:
    """The truth about a town, for judging a hub that has seen the reports.

    `parts` says up to which part the platforms have delivered. Rows of accounts that nobody links are part of what is
    delivered; methods with `linked` leave them out.
    """

    def __init__(self, reports: Reports, parts: int | None = None) -> None:
        self.town, self.parts = reports.town, reports.town.parts if parts is None else parts
        self.rows = tuple(row for row in reports.rows if row.part <= self.parts)

    @cached_property
    def linked(self) -> frozenset[tuple[int, str]]:
        """(person, platform) of every link that is made, whether or not it is withdrawn later."""
        return frozenset((person.index, platform) for person in self.town.people for platform in person.links)

    @cached_property
    def live_rows(self) -> tuple[Report, ...]:
        """The last readable version of every source record, without those that their platform took back."""
        last: dict[tuple[str, str, str], Report] = {}
        for row in self.rows:
            key = (row.platform, row.stream, row.source_id)
            if row.trouble is None and (key not in last or last[key].version <= row.version):
                last[key] = row
        return tuple(row for row in last.values() if row.note is not Note.CANCELLATION)

    def acts_told(self, links: Collection[tuple[int, str]] | None = None) -> dict[int, Told]:
        """Return, by act id, each act that a live row of these links (default: of every account) tells of."""
        by_act: dict[int, list[Report]] = defaultdict(list)
        for row in self.live_rows:
            if row.act_id is not None and (links is None or (row.person, row.platform) in links):
                by_act[row.act_id].append(row)
        acts = {act.act_id: act for act in self.town.acts}
        return {act_id: Told(act=acts[act_id], rows=tuple(rows)) for act_id, rows in by_act.items()}

    def quarantines(self) -> dict[tuple[str, int], Counter[str]]:
        """Return how many rows nobody can read, by (platform, part) and reason; all are of accounts that are linked."""
        found: dict[tuple[str, int], Counter[str]] = defaultdict(Counter)
        for row in self.rows:
            if row.trouble is not None:
                found[row.platform, row.part][row.trouble] += 1
        return dict(found)

    def notes(self, platform: str) -> Counter[Note]:
        """Return how many delivered rows of a platform are of which kind."""
        return Counter(row.note for row in self.rows if row.platform == platform)

    def unlinked_rows(self, platform: str) -> int:
        """Return how many delivered rows belong to people who never linked this platform."""
        return sum(row.platform == platform and (row.person, platform) not in self.linked for row in self.rows)

    def summary(self) -> dict[str, object]:
        """Return the figures at a glance, JSON-ready."""
        told, seen = self.acts_told(), self.acts_told(self.linked)
        return {
            "people": len(self.town.people),
            "acts": len(self.town.acts),
            "acts_told": len(told),
            "acts_told_to_hub": len(seen),
            "acts_told_to_hub_twice_or_more": sum(len(one.platforms) > 1 for one in seen.values()),
            "rows": {platform: sum(row.platform == platform for row in self.rows) for platform in PLATFORMS},
            "notes": {platform: dict(self.notes(platform)) for platform in PLATFORMS},
            "unlinked_rows": {platform: self.unlinked_rows(platform) for platform in PLATFORMS},
            "quarantines": {
                f"{platform}/{part}": dict(reasons) for (platform, part), reasons in sorted(self.quarantines().items())
            },
        }
