"""How the kernel came to a decision: its own comparisons, made again for one person's records of one family. Pure, compiled.

Nothing is decided here and no rule is written a second time. What the kernel joined is joined again in the kernel's order,
and just before each join the kernel's own functions are asked for their points; so an explanation cannot disagree with
the decision that it explains.
"""

from dataclasses import dataclass

import numpy as np

from hub.clearing.kernel.clusters import new_clusters, open_group, root_of, unite
from hub.clearing.kernel.compiled import ZERO, compiled, compiled_entry
from hub.clearing.kernel.days import can_be, is_booking
from hub.clearing.kernel.doubts import cannot_be_both, join_released
from hub.clearing.kernel.keys import join_certain
from hub.clearing.kernel.match import SAME_TIME_AND_AMOUNT, can_match, level_of
from hub.clearing.kernel.outcome import final_roots
from hub.clearing.kernel.overlap import MOST, excludes, share_of, unit_of
from hub.clearing.kernel.rows import DAY, I8, I64, US, Rules, Table
from hub.clearing.kernel.score import (
    NEVER,
    _duration_points,
    _moment_points,
    is_moment,
    pair_points,
    quantity_points,
    record_points,
    time_points,
    us_apart,
)
from hub.clearing.kernel.vocabulary import COUNTED

PART_NAMES = ("one", "other", "apart_s", "lag", "time", "quantity", "duration", "behaviour", "keys", "points")
"""One comparison: the two records that were laid beside each other, how far apart they are, and the points of each part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """One comparison of T4. Records by their place in ROW; points in thousandths."""

    one: int
    other: int
    apart_s: int
    lag: bool
    """One report tells the begin of the act and the other its end; `apart_s` is then how long it took."""
    time: int
    quantity: int
    duration: int
    behaviour: int
    keys: int
    points: int
    """The sum, by which the kernel decided."""


class Family:
    """The records of one subject and family, with what became of them.

    Args:
        rows: ROW of all subjects, facts applied; `clusters` is what the kernel made of them.
        low: the family's first record; `high` is the place after its last.
    """

    def __init__(self, rows: Table, rules: Rules, clusters: Table, low: int, high: int) -> None:
        self.low = low
        self.rows, self.rules = rows[low:high], rules
        self._groups: I64 = np.ascontiguousarray(final_roots(clusters)[low:high]) - low
        sure = new_clusters(high - low)
        join_sure(self.rows, rules, sure)
        acts, levels = np.empty(high - low, np.int64), np.empty(high - low, np.int64)
        size = list_acts(self.rows, rules, sure, acts, levels)
        order = np.argsort(levels[:size], kind="stable")
        self._acts: I64 = np.ascontiguousarray(acts[:size][order])
        self._levels: I64 = levels[:size][order]

    def matches(self) -> dict[int, Parts]:
        """Return the comparison by which each record joined its act on points, by the record's place in ROW."""
        parts, _ = self._follow(self._acts)
        return {self.low + int(i): self._told(parts[i]) for i in np.flatnonzero(parts[:, 0] >= 0)}

    def candidates(self, act: int) -> list[Parts]:
        """Return what a held act could have been: comparisons of at least the holding points, the best first.

        Args:
            act: place in ROW of the act's canonical record.
        """
        mine = act - self.low
        if mine not in self._acts:
            return []
        level = self._levels[self._acts == mine][0]
        _, clusters = self._follow(self._acts[self._levels < level])
        known = np.unique([root_of_act(clusters, int(a)) for a in self._acts[self._levels < level]]).astype(np.int64)
        beside = self._acts[(self._levels == level) & (self._acts != mine)]
        found = self._weighed(clusters, known, mine)
        if len(found) == 1:
            # Nobody else for this report: then another report of the platform was as good for that act.
            best = int(root_of_act(clusters, found[0].other - self.low))
            found += [p for other in beside for p in self._weighed(clusters, np.array([best]), int(other))]
        return found

    def days(self, booking: int) -> list[int]:
        """Return the acts of its day that a booking could be, by place in ROW."""
        _, clusters = self._follow(self._acts)
        found = np.zeros(len(self.rows), np.int8)
        find_bookable(self.rows, self.rules, clusters, booking - self.low, found)
        return [self.low + int(i) for i in np.flatnonzero(found)]

    def is_listed(self, act: int) -> bool:
        """Say whether an act was matched on points at all."""
        return bool(act - self.low in self._acts)

    def _weighed(self, clusters: Table, known: I64, act: int) -> list[Parts]:
        parts = np.full((len(known), len(PART_NAMES)), -1, np.int64)
        weigh_all(self.rows, self.rules, clusters, known, act, parts)
        hold = int(self.rules.settings[0]["hold"])
        told = [self._told(row) for row in parts if row[-1] != NEVER and row[-1] >= hold]
        return sorted(told, key=lambda p: (-p.points, p.other))

    def _follow(self, acts: I64) -> tuple[I64, Table]:
        clusters = new_clusters(len(self.rows))
        join_sure(self.rows, self.rules, clusters)
        parts = np.full((len(self.rows), len(PART_NAMES)), -1, np.int64)
        follow_matches(self.rows, self.rules, clusters, np.ascontiguousarray(acts), self._groups, parts)
        return parts, clusters

    def _told(self, parts: I64) -> Parts:
        one, other, apart, lag, *points = (int(value) for value in parts)
        names = PART_NAMES[4:]
        told = dict(zip(names, points, strict=True))
        return Parts(one=self.low + one, other=self.low + other, apart_s=apart, lag=bool(lag), **told)


def root_of_act(clusters: Table, i: int) -> int:
    """Return the canonical record of the act of record i, without changing the table."""
    while clusters[i]["parent"] != i:
        i = int(clusters[i]["parent"])
    return i


@compiled_entry
def join_sure(rows: Table, rules: Rules, clusters: Table) -> None:
    """Join what needs no scoring, as the kernel does."""
    size = len(rows)
    keys, places = np.empty(size, np.int64), np.empty(size, np.int64)
    open_group(rows, rules, clusters, ZERO, size)
    if size > 1:
        join_released(rows, rules, clusters, ZERO, size)
        join_certain(rows, rules, clusters, ZERO, size, keys, places)


@compiled_entry
def list_acts(rows: Table, rules: Rules, clusters: Table, acts: I64, levels: I64) -> int:
    """List the acts that are matched on points, in order of time, and when each has its turn; returns how many."""
    size = 0
    for i in range(len(rows)):
        root = root_of(clusters, i)
        if can_match(rows, rules, clusters, root, i):
            acts[size], levels[size] = root, level_of(rows, root)
            size += 1
    return size


@compiled_entry
def follow_matches(rows: Table, rules: Rules, clusters: Table, acts: I64, groups: I64, parts: I64) -> None:
    """Join the acts that ended in one group, in order, and note the points of each pair just before it is joined."""
    last = np.full(len(rows), -1, np.int64)
    for act in acts:
        before = last[groups[act]]
        last[groups[act]] = act
        if before < 0:
            continue
        a, b = root_of(clusters, before), root_of(clusters, act)
        told = np.empty(parts.shape[1], np.int64)
        _weigh(rows, rules, clusters, a, b, told)
        if unite(rows, clusters, a, b, SAME_TIME_AND_AMOUNT):
            loser = b if root_of(clusters, a) == a else a
            parts[loser] = told
            if loser == a:
                parts[loser, 0], parts[loser, 1] = told[1], told[0]


@compiled_entry
def weigh_all(rows: Table, rules: Rules, clusters: Table, known: I64, act: int, parts: I64) -> None:
    """Note the points of an act beside each of the known ones."""
    for k in range(len(known)):
        _weigh(rows, rules, clusters, known[k], act, parts[k])


@compiled
def _weigh(rows: Table, rules: Rules, clusters: Table, a: int, b: int, parts: I64) -> None:
    """Note one comparison; `other` is of act a, `one` of act b."""
    i, j = clusters[a].precise, clusters[b].precise
    parts[0], parts[1] = j, i
    parts[2] = us_apart(rows, rules, i, j) // US
    parts[3] = 0
    parts[9] = pair_points(rows, rules, clusters, a, b)
    if parts[9] == NEVER:
        return
    parts[4] = time_points(rows, rules, i, j)
    # Other points than two reports of one moment would have: as begin and end of the act they fit better.
    parts[3] = is_moment(rows, i) and is_moment(rows, j) and parts[4] != _moment_points(rows, rules, i, j)
    parts[5] = quantity_points(rows, rules, i, j)
    parts[6] = _duration_points(rows, rules, i, j)
    whole = record_points(rows, rules, i, j)
    parts[7] = whole - parts[4] - parts[5] - parts[6]
    parts[8] = parts[9] - whole


@compiled_entry
def find_bookable(rows: Table, rules: Rules, clusters: Table, booking: int, found: I8) -> None:
    """Mark the acts of its day that a booking can be."""
    root = root_of(clusters, booking)
    for i in range(len(rows)):
        other = root_of(clusters, i)
        if clusters[other].precise == i and rows[i].day == rows[root].day:
            found[i] = can_be(rows, rules, clusters, root, other, i)


@compiled_entry
def find_rivals(rows: Table, rules: Rules, trip: int, others: I64, found: I8) -> None:
    """Mark which of the other trips cannot be made beside this one."""
    for k in range(len(others)):
        found[k] = excludes(rows, rules, trip, others[k])


@compiled_entry
def find_elsewhere(rows: Table, rules: Rules, act: int, others: I64, found: I8) -> None:
    """Mark which of the other acts are too far away for the time between them and this one."""
    for k in range(len(others)):
        first, second = (act, others[k]) if rows[act].start <= rows[others[k]].start else (others[k], act)
        found[k] = cannot_be_both(rows, rules, first, second)


@compiled_entry
def take_off(
    rows: Table, rules: Rules, clusters: Table, events: Table, day: int, whole_mg: int, low: int, told: I64
) -> bool:
    """Note how much each act took off a day's sum, in millionths of the day's unit.

    Args:
        whole_mg: what the day would have counted.
        low: place of the first of the family's records; `told` has a place for each of them.

    Returns:
        Whether this is what the kernel took off: an act may have lost its own grams since.
    """
    contained = rules.behaviours[rows[day].behaviour].contained
    taken = 0
    for k in range(len(told)):
        i = low + k
        if clusters[i].parent != i or rows[i].day != rows[day].day or events[i].verdict != COUNTED:
            continue
        if i == day or (rows[i].grain == DAY and not is_booking(clusters, i)):
            continue
        if events[i].quantity < 0 or events[i].mg <= 0:
            continue
        same_unit = unit_of(rows, events, i) == unit_of(rows, events, day)
        each = 1 if same_unit or contained == 0 else rules.behaviours[rows[day].behaviour].per_unit
        told[k] = min(events[i].quantity, MOST) * each
        taken += told[k]
    whole = events[day].quantity
    return bool(taken > 0 and taken < whole and share_of(whole_mg, whole - taken, whole) == events[day].mg)
