"""T4: acts without a common key, matched one to one between platforms by points. Pure, compiled.

Platforms join in the order of the policy's roles: the reports of the next platform are laid beside the acts known so
far, in the order of time, so that the points of all matches together are the most possible. (Taking the best pair first
goes wrong where somebody orders twice within minutes and one clock is late.) Nothing is picked among equals: a tie is
held, and so is a match whose points lie between the policy's two thresholds.
"""

import numpy as np

from hub.clearing.kernel.clusters import root_of, sort_pairs, unite
from hub.clearing.kernel.compiled import NONE, ZERO, compiled, compiled_with_memory, number
from hub.clearing.kernel.rows import I64, LIVE_CANONICAL, US, Rules, Table
from hub.clearing.kernel.score import END, NEVER, START, is_moment, pair_points, tells_end
from hub.clearing.kernel.vocabulary import Reason

SAME_TIME_AND_AMOUNT = number(Reason.SAME_TIME_AND_AMOUNT)
TIE = number(Reason.TIE)
UNCERTAIN = number(Reason.UNCERTAIN)
TOO_MANY = number(Reason.TOO_MANY_CANDIDATES)
LISTS = 6


@compiled
def join_scored(rows: Table, rules: Rules, clusters: Table, low: int, high: int, lists: I64) -> None:
    """Match the acts of one subject and family that tell a moment.

    Args:
        lists: LISTS rows of working memory, each as long as there are records.
    """
    size, longest = ZERO, ZERO
    first, several = NONE, False
    begins, ends = False, False
    for i in range(low, high):
        root = root_of(clusters, i)
        if not can_match(rows, rules, clusters, root, i):
            continue
        size += 1
        level = level_of(rows, root)
        first, several = (level, several) if size == 1 else (first, several or level != first)
        longest = max(longest, rows[i].end - rows[i].start)
        if is_moment(rows, i) and rules.usual[rows[i].family] > 0:
            told = tells_end(rows, rules, i)
            begins, ends = begins or told != END, ends or told != START
    if not several:
        return
    reach = rules.window[rows[low].family] * US
    if begins and ends:
        # One platform tells when the act began, another when it ended: they lie as far apart as the act is long.
        reach = max(reach, rules.usual[rows[low].family] * US)
    _match_levels(rows, rules, clusters, low, high, lists, reach, longest)


@compiled
def can_match(rows: Table, rules: Rules, clusters: Table, root: int, i: int) -> bool:
    """Say whether an act can still be matched, and whether record i stands for it in the order of time."""
    # By the place of each act's precise record, the acts are in order of time.
    return bool(clusters[root].precise == i and rows[i].end - rows[i].start <= rules.settings[0].longest * US)


@compiled
def level_of(rows: Table, root: int) -> int:
    """Return when an act's platform has its turn: what was cleared before first, then by role, then by platform."""
    if rows[root].live == LIVE_CANONICAL:
        return NONE
    return int(rows[root].rank) * 100_000 + int(rows[root].platform)


@compiled
def _match_levels(
    rows: Table, rules: Rules, clusters: Table, low: int, high: int, lists: I64, reach: int, longest: int
) -> None:
    roots, levels, order, told, known, merged = lists[0], lists[1], lists[2], lists[3], lists[4], lists[5]
    size, count = ZERO, ZERO
    for i in range(low, high):
        root = root_of(clusters, i)
        if can_match(rows, rules, clusters, root, i):
            roots[size], levels[size], order[size] = root, level_of(rows, root), size
            size += 1
    sort_pairs(levels, order, size)
    begin = 0
    while begin < size:
        end = begin
        while end < size and levels[end] == levels[begin]:
            told[end - begin] = roots[order[end]]
            end += 1
        if count:
            _match_lists(rows, rules, clusters, known[:count], told[: end - begin], reach, longest)
        count = _merge(rows, clusters, known[:count], told[: end - begin], merged)
        known, merged = merged, known
        begin = end


@compiled
def _merge(rows: Table, clusters: Table, known: I64, told: I64, merged: I64) -> int:
    """Write both lists in order of time, without the acts that were joined to another; returns how many are left."""
    size, a, b = ZERO, 0, 0
    while a < len(known) or b < len(told):
        first = b == len(told) or (a < len(known) and clusters[known[a]].precise <= clusters[told[b]].precise)
        root = known[a] if first else told[b]
        a, b = (a + 1, b) if first else (a, b + 1)
        if root_of(clusters, root) == root:
            merged[size] = root
            size += 1
    return size


@compiled
def _match_lists(rows: Table, rules: Rules, clusters: Table, known: I64, told: I64, reach: int, longest: int) -> None:
    """Split both lists where nothing reaches across, and match each part."""
    first, begin = 0, -1
    a_low, a_high = 0, 0
    for b in range(len(told)):
        i = clusters[told[b]].precise
        while first < len(known) and rows[clusters[known[first]].precise].start < rows[i].start - reach - longest:
            first += 1
        last = first
        while last < len(known) and rows[clusters[known[last]].precise].start <= rows[i].end + reach:
            last += 1
            if last - first > rules.settings[0].component:
                break
        if begin >= 0 and first >= a_high:
            _match_part(rows, rules, clusters, known[a_low:a_high], told[begin:b])
            begin = -1
        if last == first:
            continue
        if begin < 0:
            begin, a_low, a_high = b, first, last
        a_high = max(a_high, last)
    if begin >= 0:
        _match_part(rows, rules, clusters, known[a_low:a_high], told[begin:])


@compiled_with_memory
def _match_part(rows: Table, rules: Rules, clusters: Table, known: I64, told: I64) -> None:
    if len(known) > rules.settings[0].component or len(told) > rules.settings[0].component:
        for b in told:
            clusters[b].held = TOO_MANY
        return
    if len(known) == 1 and len(told) == 1:
        _join_or_hold(rows, rules, clusters, known[0], told[0], pair_points(rows, rules, clusters, known[0], told[0]))
        return
    points = np.empty((len(known), len(told)), np.int64)
    any_hit = False
    for a in range(len(known)):
        for b in range(len(told)):
            value = pair_points(rows, rules, clusters, known[a], told[b])
            points[a, b] = value if value >= rules.settings[0].hold else NEVER
            any_hit = any_hit or value >= rules.settings[0].hold
    if not any_hit:
        return
    partner = best_alignment(points, rules.settings[0].hold)
    for b in range(len(told)):
        a = partner[b]
        if a < 0:
            continue
        if _is_tie(points, partner, a, b, rules.settings[0].tie):
            clusters[told[b]].held = TIE
        else:
            _join_or_hold(rows, rules, clusters, known[a], told[b], points[a, b])


@compiled
def _join_or_hold(rows: Table, rules: Rules, clusters: Table, known: int, told: int, points: int) -> None:
    """Apply the two thresholds to the points of two acts."""
    if points >= rules.settings[0].accept:
        unite(rows, clusters, known, told, SAME_TIME_AND_AMOUNT)
    elif points >= rules.settings[0].hold:
        clusters[told].held = UNCERTAIN


@compiled_with_memory
def best_alignment(points: I64, hold: int) -> I64:
    """Return for each column its row, or -1: pairs in order of time whose points above `hold` sum to the most."""
    n, m = points.shape
    partner = np.full(m, -1, np.int64)
    if n == 1 and m == 1:
        partner[0] = 0
        return partner
    total = np.zeros((n + 1, m + 1), np.int64)
    for a in range(1, n + 1):
        for b in range(1, m + 1):
            best = max(total[a - 1, b], total[a, b - 1])
            value = points[a - 1, b - 1]
            if value != NEVER:
                best = max(best, total[a - 1, b - 1] + value - hold + 1)
            total[a, b] = best
    a, b = n, m
    while a > 0 and b > 0:
        if total[a, b] == total[a - 1, b]:
            a -= 1
        elif total[a, b] == total[a, b - 1]:
            b -= 1
        else:
            a, b = a - 1, b - 1
            partner[b] = a
    return partner


@compiled
def _is_tie(points: I64, partner: I64, a: int, b: int, margin: int) -> bool:
    """Say whether another act that stays without a match would have done as well."""
    least = points[a, b] - margin
    for other in range(points.shape[0]):
        if other != a and points[other, b] >= least and points[other, b] != NEVER:
            taken = False
            for column in range(len(partner)):
                taken = taken or partner[column] == other
            if not taken:
                return True
    for other in range(points.shape[1]):
        if other != b and partner[other] < 0 and points[a, other] >= least and points[a, other] != NEVER:
            return True
    return False
