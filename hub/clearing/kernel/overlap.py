"""T3 and T5: two trips at once, and acts of different kinds that claim the same grams. Pure, compiled.

All of one subject's acts are here, family by family, each family in order of time. What was decided in earlier windows
stays; a new act then gives way to a live one, whichever side the rule would have preferred.
"""

import numpy as np

from hub.clearing.kernel.amounts import MICRO, hold_act
from hub.clearing.kernel.clusters import is_better, root_of, sort_pairs
from hub.clearing.kernel.compiled import NONE, ZERO, compiled, compiled_with_memory, number
from hub.clearing.kernel.days import is_booking
from hub.clearing.kernel.rows import DAY, I64, NEW, US, Rules, Table
from hub.clearing.kernel.vocabulary import COUNTED, OVERLAPPED, Reason, Rule

MOST = 1_000_000_000_000
T3 = number(Rule.T3)
FIRST_OVERLAP = number(len(Rule) - 1)
TWO_TRIPS = number(Reason.TWO_TRIPS_AT_ONCE)
REST_OF_DAY = number(Reason.REST_OF_DAY)
DISPLACED = number(Reason.DISPLACED)
CONTAINED = number(Reason.CONTAINED)
ONE_BY_ONE = number(Reason.TOLD_ONE_BY_ONE)
BEFORE = number(Reason.COUNTED_ONCE_BEFORE)
OTHER_PERSON = number(Reason.COUNTED_FOR_OTHER_PERSON)


@compiled
def resolve_overlaps(rows: Table, rules: Rules, clusters: Table, events: Table, bounds: I64) -> None:
    """Decide which acts of one subject claim grams that another already has.

    Args:
        bounds: begin of each family's records, and the end of the last.
    """
    low, high = bounds[0], bounds[-1]
    if high - low < 2 and rows[low].elsewhere == 0:
        return
    _resolve_trips(rows, rules, clusters, events, low, high)
    for k in range(len(bounds) - 1):
        _resolve_family(rows, rules, clusters, events, bounds[k], bounds[k + 1])
    for i in range(low, high):
        if clusters[i].parent == i and rows[i].grain == DAY and events[i].verdict == COUNTED:
            _displace(rows, rules, clusters, events, bounds, i)


@compiled
def _overlapped(events: Table, root: int, rule: int, reason: int, by: int) -> None:
    events[root].verdict = OVERLAPPED
    events[root].rule = FIRST_OVERLAP + rule
    events[root].reason = reason
    events[root].mg = 0
    events[root].by = by


# --- T3 -------------------------------------------------------------------------------------------------------------


@compiled_with_memory
def _resolve_trips(rows: Table, rules: Rules, clusters: Table, events: Table, low: int, high: int) -> None:
    """Nobody makes two trips at once: of two that overlap for long, the weaker witness is held."""
    trips = np.empty(high - low, np.int64)
    starts = np.empty(high - low, np.int64)
    size = ZERO
    for i in range(low, high):
        is_trip = (
            rules.behaviours[rows[i].behaviour].exclusive != 0 and rows[i].grain != DAY and rows[i].end > rows[i].start
        )
        if is_trip and clusters[i].parent == i and events[i].verdict == COUNTED:
            trips[size], starts[size] = i, rows[i].start
            size += 1
    if size < 2:
        return
    sort_pairs(starts, trips, size)
    # The trips so far that stand and reach to the one in hand: a trip that was held says nothing about later ones.
    standing = np.empty(size, np.int64)
    count = ZERO
    for k in range(size):
        i = trips[k]
        kept = ZERO
        for n in range(count):
            if rows[standing[n]].end > rows[i].start and events[standing[n]].verdict == COUNTED:
                standing[kept] = standing[n]
                kept += 1
        count = kept
        if rows[i].live == NEW and _loses(rows, rules, standing, count, i):
            hold_act(events, i, T3, TWO_TRIPS)
            continue
        for n in range(count):
            j = standing[n]
            if rows[j].live == NEW and excludes(rows, rules, j, i):
                hold_act(events, j, T3, TWO_TRIPS)
        standing[count] = i
        count += 1


@compiled
def _loses(rows: Table, rules: Rules, standing: Table, count: int, i: int) -> bool:
    """Say whether a trip conflicts with a standing one that is cleared already or the better witness."""
    for n in range(count):
        j = standing[n]
        if excludes(rows, rules, j, i) and (rows[j].live != NEW or not is_better(rows, i, j)):
            return True
    return False


@compiled
def excludes(rows: Table, rules: Rules, i: int, j: int) -> bool:
    """Say whether nobody can have done both acts, since each takes the whole person and they overlap in time."""
    same = rules.behaviours[rows[i].behaviour].exclusive == rules.behaviours[rows[j].behaviour].exclusive
    return bool(same and _is_conflict(rows, rules, i, j))


@compiled
def _is_conflict(rows: Table, rules: Rules, i: int, j: int) -> bool:
    common = min(rows[i].end, rows[j].end) - max(rows[i].start, rows[j].start)
    shorter = min(rows[i].end - rows[i].start, rows[j].end - rows[j].start)
    return bool(
        common > rules.settings[0].slack * US and common // 1000 * 1000 > shorter // 1000 * rules.settings[0].share
    )


# --- T5 within a family -----------------------------------------------------------------------------------------------


@compiled
def _resolve_family(rows: Table, rules: Rules, clusters: Table, events: Table, low: int, high: int) -> None:
    once = NONE
    for i in range(low, high):
        if rows[i].elsewhere:
            root = root_of(clusters, i)
            if rows[root].live == NEW and events[root].verdict == COUNTED:
                _overlapped(events, root, rules.behaviours[rows[root].behaviour].shared, OTHER_PERSON, NONE)
        if rules.behaviours[rows[i].behaviour].once and clusters[i].parent == i and events[i].verdict == COUNTED:
            once = _first_once(rows, events, once, i)
    for i in range(low, high):
        if clusters[i].parent != i:
            continue
        rule = rules.behaviours[rows[i].behaviour].once
        if rule and i != once and once >= 0 and rows[i].live == NEW and events[i].verdict == COUNTED:
            _overlapped(events, i, rule, BEFORE, once)
        elif rows[i].grain == DAY and events[i].verdict == COUNTED and clusters[i].precise < 0:
            _take_off(rows, rules, clusters, events, low, high, i)


@compiled
def _first_once(rows: Table, events: Table, once: int, i: int) -> int:
    """A live claim comes first, then the earliest; the rows are in order of time."""
    if once < 0 or (rows[i].live != NEW and rows[once].live == NEW):
        return i
    return once


@compiled
def _take_off(rows: Table, rules: Rules, clusters: Table, events: Table, low: int, high: int, day: int) -> None:
    """Take off a day's record what was told one by one on that day: walks off steps, rides off a sum of rides."""
    behaviour = rows[day].behaviour
    contained = rules.behaviours[behaviour].contained
    rule = contained if contained else rules.settings[0].total
    if rule == 0 or is_booking(clusters, day):
        return
    told, largest = ZERO, NONE
    comparable = True
    for i in range(low, high):
        if clusters[i].parent != i or rows[i].day != rows[day].day or events[i].verdict != COUNTED:
            continue
        if rows[i].grain == DAY and not is_booking(clusters, i):
            continue
        if rows[day].live != NEW:
            if rows[i].live == NEW:
                _overlapped(events, i, rule, CONTAINED if contained else ONE_BY_ONE, day)
            continue
        if events[i].quantity >= 0 and events[i].mg > 0:
            same_unit = unit_of(rows, events, i) == unit_of(rows, events, day)
            told += min(events[i].quantity, MOST) * (
                1 if same_unit or contained == 0 else rules.behaviours[behaviour].per_unit
            )
            comparable = comparable and (contained != 0 or same_unit)
            largest = i if largest < 0 or events[i].mg > events[largest].mg else largest
    if largest < 0 or rows[day].live != NEW:
        return
    whole = events[day].quantity
    rest = whole - told
    if not comparable or rest <= 0 or rest * 1000 <= whole * (0 if contained else rules.settings[0].negligible):
        _overlapped(events, day, rule, CONTAINED if contained else ONE_BY_ONE, largest)
        return
    events[day].rule = FIRST_OVERLAP + rule
    events[day].reason = REST_OF_DAY
    events[day].mg = share_of(events[day].mg, rest, whole)


@compiled
def share_of(mg: int, part: int, whole: int) -> int:
    """Return mg * part / whole, rounded down, the careful side; shares are cut to six digits so that it fits."""
    while whole >= MICRO:
        whole, part = whole // 10, part // 10
    return int(min(mg, MOST) * part // whole)


@compiled
def unit_of(rows: Table, events: Table, i: int) -> int:
    """The unit in which an act's quantity was told."""
    donor = events[i].donor
    return int(rows[i].unit if rows[i].quantity >= 0 or donor < 0 else rows[donor].unit)


# --- T5 across families -----------------------------------------------------------------------------------------------


@compiled
def _displace(rows: Table, rules: Rules, clusters: Table, events: Table, bounds: I64, day: int) -> None:
    """A day does not count beside acts of the same day that claim its grams."""
    behaviour = rows[day].behaviour
    if rules.behaviours[behaviour].displaces == 0:
        return
    for k in range(len(bounds) - 1):
        for i in range(bounds[k], bounds[k + 1]):
            if clusters[i].parent != i or rows[i].day != rows[day].day:
                continue
            rule = rules.displaced[behaviour, rows[i].behaviour]
            if rule == 0 or events[i].verdict != COUNTED or events[i].mg == 0:
                continue
            if rows[day].live == NEW:
                _overlapped(events, day, rule, DISPLACED, i)
                return
            if rows[i].live == NEW:
                _overlapped(events, i, rule, DISPLACED, day)
