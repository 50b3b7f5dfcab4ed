"""Plausibility of one person's acts: what cannot be, or hardly so, is held for review and never counted. Pure, compiled.

    an act        too much, too fast or with too much power, too long
    a day         more acts, more kilometres, more kWh of one behaviour than a day has room for
    two places    acts in two provinces with less time between them than the road takes: the weaker witness is held
    step counts   one count on many days, days as alike as no person's are, the most that a day may have day after day

What was decided in earlier windows stays and is evidence; what a reviewer released (`waived`) is not doubted again. Which
acts are held does not depend on the order of the records, only on times, roles and amounts.
"""

import numpy as np

from hub.clearing.kernel.amounts import DAY_US, MICRO, hold_act
from hub.clearing.kernel.clusters import is_better, sort_pairs, unite
from hub.clearing.kernel.compiled import ZERO, compiled, compiled_with_memory, number
from hub.clearing.kernel.rows import DAY, I64, LIVE_CANONICAL, NEW, US, Rules, Table
from hub.clearing.kernel.vocabulary import COUNTED, Reason, Rule

PLAUSIBILITY = number(Rule.PLAUSIBILITY)
QUANTITY = number(Reason.IMPLAUSIBLE_QUANTITY)
SPEED = number(Reason.IMPLAUSIBLE_SPEED)
DURATION = number(Reason.IMPLAUSIBLE_DURATION)
DAY_ACTS = number(Reason.IMPLAUSIBLE_DAY)
POWER = number(Reason.IMPLAUSIBLE_POWER)
DAY_ENERGY = number(Reason.IMPLAUSIBLE_ENERGY)
DAY_TOTAL = number(Reason.IMPLAUSIBLE_DAY_TOTAL)
TRAVEL = number(Reason.IMPOSSIBLE_TRAVEL)
SAME_STEPS = number(Reason.SAME_STEPS_EVERY_DAY)
STEADY_STEPS = number(Reason.STEADY_STEPS)
FULL_STEPS = number(Reason.FULL_STEPS_EVERY_DAY)
RELEASED = number(Reason.RELEASED_TOGETHER)
MOST_STEPS = 1 << 40
DAY_BITS = 20
SEVERAL = number(-1)


@compiled
def join_released(rows: Table, rules: Rules, clusters: Table, low: int, high: int) -> None:
    """Make the reports that were one act when a reviewer released it one act again: apart they could count twice."""
    if rules.settings[0].waives == 0:
        return
    for i in range(low, high):
        if rows[i].waived == 0:
            continue
        for j in range(low, i):
            if rows[j].waived == rows[i].waived:
                unite(rows, clusters, i, j, RELEASED)
                break


@compiled
def doubt_acts(rows: Table, rules: Rules, clusters: Table, events: Table, low: int, high: int) -> int:
    """Hold implausible acts of one subject and family, each by itself and then the days of them.

    Returns:
        The province that the records tell of, 0 if none, SEVERAL if they tell of more: one pass sees to almost everybody.
    """
    fewest, least = rules.families[rows[low].family, 0], rules.families[rows[low].family, 1]
    total, region = ZERO, rows[low].region
    place = region // 10_000
    for i in range(low, high):
        if rows[i].grain != DAY:
            total += min(rows[i].quantity, least) if rows[i].quantity >= 0 else MICRO
        if rows[i].region != region:
            region = rows[i].region
            place = only_place(place, region // 10_000)
        if clusters[i].parent == i and _may_be_held(rows, events, i):
            _doubt(rows, rules, clusters, events, i)
    # Almost everybody's records of all days together stay below the limits of a single one.
    if high - low > fewest or total > least:
        _limit_days(rows, rules, clusters, events, low, high)
    if rules.families[rows[low].family, 2]:
        _doubt_steps(rows, rules, clusters, events, low, high)
    return int(place)


@compiled
def only_place(one: int, other: int) -> int:
    """Return the province of both, where 0 is none; SEVERAL if they differ."""
    if one == other or other == 0:
        return one
    return other if one == 0 else SEVERAL


@compiled
def _may_be_held(rows: Table, events: Table, i: int) -> bool:
    return bool(rows[i].live == NEW and rows[i].waived == 0 and events[i].verdict == COUNTED)


# --- an act -----------------------------------------------------------------------------------------------------------


@compiled
def _doubt(rows: Table, rules: Rules, clusters: Table, events: Table, i: int) -> None:
    """Hold what cannot be: too much, too fast, too long."""
    limits, quantity = rules.behaviours[rows[i].behaviour], events[i].quantity
    teller = clusters[i].precise
    length = rows[teller].end - rows[teller].start if teller >= 0 else 0
    most = limits.max_day if rows[i].grain == DAY and limits.max_day >= 0 else limits.max_quantity
    if length > rules.settings[0].longest * US or (teller < 0 and rows[i].end - rows[i].start > 2 * DAY_US):
        hold_act(events, i, PLAUSIBILITY, DURATION)
    elif most >= 0 and quantity > most * MICRO:
        hold_act(events, i, PLAUSIBILITY, QUANTITY)
    elif length > 0 and rows[i].grain != DAY and _is_too_fast(limits.max_per_hour, quantity, length):
        hold_act(events, i, PLAUSIBILITY, POWER if limits.energy else SPEED)


@compiled
def _is_too_fast(limit: int, quantity: int, length_us: int) -> bool:
    """Say whether quantity per hour is above a limit; clocks told to the minute get a minute's grace."""
    return bool(limit >= 0 and quantity // MICRO * 3600 > limit * (length_us // US + 60))


# --- a day ------------------------------------------------------------------------------------------------------------


@compiled_with_memory
def _limit_days(rows: Table, rules: Rules, clusters: Table, events: Table, low: int, high: int) -> None:
    """Hold what one person's day has no room for: acts of a behaviour beyond a number or an amount, in order of time."""
    counts, totals = np.zeros(len(rules.behaviours), np.int64), np.zeros(len(rules.behaviours), np.int64)
    begin = low
    while begin < high:
        if rows[begin].grain == DAY:
            begin += 1
            continue
        end = begin
        while end < high and (rows[end].grain == DAY or rows[end].day == rows[begin].day):
            end += 1
        _limit_day(rows, rules, clusters, events, begin, end, counts, totals)
        begin = end


@compiled
def _limit_day(
    rows: Table, rules: Rules, clusters: Table, events: Table, low: int, high: int, counts: I64, totals: I64
) -> None:
    counts[:], totals[:] = 0, 0
    # What was decided before, and what a reviewer released, is in the day already, whenever in it it was.
    for settled in (True, False):
        for i in range(low, high):
            if clusters[i].parent != i or rows[i].grain == DAY or events[i].verdict != COUNTED:
                continue
            if (rows[i].live != NEW or rows[i].waived != 0) != settled:
                continue
            behaviour = rows[i].behaviour
            limits = rules.behaviours[behaviour]
            most = limits.max_total * MICRO
            amount = max(min(events[i].quantity, MOST_STEPS * MICRO), 0)
            if not settled and counts[behaviour] >= limits.max_acts:
                hold_act(events, i, PLAUSIBILITY, DAY_ACTS)
            elif not settled and limits.max_total >= 0 and totals[behaviour] + amount > most:
                hold_act(events, i, PLAUSIBILITY, DAY_ENERGY if limits.energy else DAY_TOTAL)
            else:
                counts[behaviour] += 1
                totals[behaviour] += amount


# --- two places -------------------------------------------------------------------------------------------------------


@compiled_with_memory
def doubt_places(rows: Table, rules: Rules, clusters: Table, events: Table, low: int, high: int) -> None:
    """Of two acts of one subject, too far apart for the time between them, hold the one by the weaker witness."""
    settings = rules.settings[0]
    if settings.fastest == 0:
        return
    acts, starts = np.empty(high - low, np.int64), np.empty(high - low, np.int64)
    size = ZERO
    for i in range(low, high):
        if clusters[i].parent == i and events[i].verdict == COUNTED and _shows_place(rows, rules, i):
            acts[size], starts[size] = i, rows[i].start
            size += 1
    if size < 2:
        return
    sort_pairs(starts, acts, size)
    reach = settings.furthest * 3600 // settings.fastest * US
    standing = np.empty(size, np.int64)
    count = ZERO
    for k in range(size):
        i = acts[k]
        kept = ZERO
        for n in range(count):
            if rows[standing[n]].end + reach > rows[i].start and events[standing[n]].verdict == COUNTED:
                standing[kept] = standing[n]
                kept += 1
        count = kept
        if _may_be_held(rows, events, i) and _is_weaker(rows, rules, events, standing, count, i):
            hold_act(events, i, PLAUSIBILITY, TRAVEL)
            continue
        for n in range(count):
            j = standing[n]
            if _may_be_held(rows, events, j) and cannot_be_both(rows, rules, j, i):
                hold_act(events, j, PLAUSIBILITY, TRAVEL)
        standing[count] = i
        count += 1


@compiled
def _shows_place(rows: Table, rules: Rules, i: int) -> bool:
    """Say whether a record shows where its person was; a code of a whole province says where a platform sits."""
    there = rules.roles[rows[i].rank].there != 0 and rules.behaviours[rows[i].behaviour].located != 0
    region = rows[i].region
    return bool(there and rows[i].grain != DAY and region % 10_000 != 0 and 0 < region < 1_000_000)


@compiled
def _is_weaker(rows: Table, rules: Rules, events: Table, standing: I64, count: int, i: int) -> bool:
    for n in range(count):
        j = standing[n]
        if cannot_be_both(rows, rules, j, i) and (not _may_be_held(rows, events, j) or not is_better(rows, i, j)):
            return True
    return False


@compiled
def cannot_be_both(rows: Table, rules: Rules, first: int, second: int) -> bool:
    """Say whether the road between two places is longer than the time from the one act to the other allows."""
    km = rules.apart[rows[first].region // 10_000, rows[second].region // 10_000]
    if km == 0:
        return False
    between = max(rows[second].start - rows[first].end, 0) // US
    during = (rows[first].end - rows[first].start + rows[second].end - rows[second].start) // US
    return bool(km * 3600 > between * rules.settings[0].fastest + during * rules.settings[0].local)


# --- step counts ------------------------------------------------------------------------------------------------------


@compiled_with_memory
def _doubt_steps(rows: Table, rules: Rules, clusters: Table, events: Table, low: int, high: int) -> None:
    """Hold days of steps that show a device's or a program's hand: all days of the pattern, not only its last."""
    settings = rules.settings[0]
    if high - low < min(settings.same_days, settings.band_days, settings.full_days):
        return
    places, keys = np.empty(high - low, np.int64), np.empty(high - low, np.int64)
    size = ZERO
    for i in range(low, high):
        if _tells_steps(rows, rules, clusters, events, i):
            places[size], keys[size] = i, rows[i].day
            size += 1
    if size < min(settings.same_days, settings.band_days, settings.full_days):
        return
    sort_pairs(keys, places, size)
    marks = np.zeros(high - low, np.int64)
    _mark_full(rows, rules, events, places, size, marks, low)
    _mark_steady(rows, rules, events, places, size, marks, low)
    _mark_same(rows, rules, events, places, keys, size, marks, low)
    for i in range(low, high):
        if marks[i - low] and _may_be_held(rows, events, i):
            hold_act(events, i, PLAUSIBILITY, marks[i - low])


@compiled
def _tells_steps(rows: Table, rules: Rules, clusters: Table, events: Table, i: int) -> bool:
    """Say whether an act is a day's count of steps; one that was held before is evidence as much as one that counted."""
    if clusters[i].parent != i or rows[i].grain != DAY or clusters[i].precise >= 0:
        return False
    if not rules.behaviours[rows[i].behaviour].steps or events[i].quantity < rules.settings[0].min_steps * MICRO:
        return False
    donor = events[i].donor
    unit = rows[i].unit if rows[i].quantity >= 0 or donor < 0 else rows[donor].unit
    stands = events[i].verdict == COUNTED if rows[i].live == NEW else rows[i].live == LIVE_CANONICAL
    return bool(stands and unit == rules.settings[0].step_unit)


@compiled_with_memory
def _mark_full(rows: Table, rules: Rules, events: Table, places: I64, size: int, marks: I64, low: int) -> None:
    """Mark days near the most that a day may have, where there are too many of them within the span."""
    settings = rules.settings[0]
    full = np.empty(size, np.int64)
    count = ZERO
    for k in range(size):
        i = places[k]
        if events[i].quantity // MICRO * 1000 >= rules.behaviours[rows[i].behaviour].max_day * settings.full:
            full[count] = i
            count += 1
    _mark_runs(rows, full, count, settings.full_days, settings.span_days, marks, low, FULL_STEPS)


@compiled
def _mark_runs(rows: Table, places: I64, size: int, days: int, span: int, marks: I64, low: int, reason: int) -> None:
    """Mark every stretch of `days` acts, in order of their days, that lies within the span."""
    for k in range(size - days + 1):
        apart = rows[places[k + days - 1]].day - rows[places[k]].day
        if days - 1 <= apart < span:
            for n in range(k, k + days):
                marks[places[n] - low] = reason


@compiled_with_memory
def _mark_steady(rows: Table, rules: Rules, events: Table, places: I64, size: int, marks: I64, low: int) -> None:
    """Mark days running that are more alike than a person's are."""
    settings = rules.settings[0]
    odd = np.empty(size, np.int64)
    count = ZERO
    for k in range(size):
        if events[places[k]].quantity // MICRO % settings.round_steps != 0:
            odd[count] = places[k]
            count += 1
    for k in range(count - settings.band_days + 1):
        least = most = min(events[odd[k]].quantity // MICRO, MOST_STEPS)
        n = k + 1
        while n < count and rows[odd[n]].day - rows[odd[k]].day < settings.span_days:
            steps = min(events[odd[n]].quantity // MICRO, MOST_STEPS)
            least, most = min(least, steps), max(most, steps)
            if (most - least) * 1000 > most * settings.band:
                break
            n += 1
        if n - k >= settings.band_days:
            for m in range(k, n):
                marks[odd[m] - low] = STEADY_STEPS


@compiled
def _mark_same(
    rows: Table, rules: Rules, events: Table, places: I64, keys: I64, size: int, marks: I64, low: int
) -> None:
    """Mark days with one count, to the step."""
    settings = rules.settings[0]
    first = rows[places[0]].day
    count = ZERO
    for k in range(size):
        steps = events[places[k]].quantity // MICRO
        if steps % settings.round_steps != 0 and events[places[k]].quantity % MICRO == 0:
            places[count] = places[k]
            keys[count] = (min(steps, MOST_STEPS) << DAY_BITS) + min(rows[places[k]].day - first, (1 << DAY_BITS) - 1)
            count += 1
    sort_pairs(keys, places, count)
    begin = ZERO
    for k in range(1, count + 1):
        if k == count or keys[k] >> DAY_BITS != keys[begin] >> DAY_BITS:
            _mark_runs(rows, places[begin:k], k - begin, settings.same_days, settings.span_days, marks, low, SAME_STEPS)
            begin = k
