"""What platforms are seen to do: where keys prove that two records are one act, and where their moments meet. Pure, compiled.

Keys are the better witness, but some platforms give none that others know (a card's own number, a bin's own count). Then
it tells that their single moments fall, day after day, on the ends (or the begins) of what others report in full.
"""

from typing import NamedTuple

import numpy as np

from hub.clearing.kernel.clusters import open_group, root_of
from hub.clearing.kernel.compiled import ZERO, compiled, compiled_entry
from hub.clearing.kernel.keys import join_certain
from hub.clearing.kernel.rows import DAY, I64, US, Rules, Table

SLOTS = 96
"""Quarter hours of a day, in which service days are seen to begin."""
LONG_ENOUGH_US = 120 * US
"""Shorter acts do not tell their begin from their end."""
NEAR_US = 60 * US
"""Two moments this near meet."""
CROWD = 16
"""More records than this under one key are no single act; they teach nothing. Nor are more neighbours looked at."""


class Customs(NamedTuple):
    """Counts of evidence; they add up over buckets."""

    ends: I64
    """[platform, behaviour]: single moments nearer the end of the act."""
    starts: I64
    agree: I64
    """[platform, behaviour]: same behaviour as the platform that carried the act out."""
    differ: I64
    known: I64
    """[platform, behaviour]: records whose event key another platform gave for the same act."""
    own: I64
    """[platform, behaviour]: records that meet another platform's of the behaviour, under another event key."""
    together: I64
    """[platform, platform]: acts that two acting platforms both reported under one key."""
    slots: I64
    """Begins of day records by quarter of an hour, UTC."""


def new_customs(platforms: int, behaviours: int) -> Customs:
    """Return no evidence."""
    shape = (platforms, behaviours)
    return Customs(
        ends=np.zeros(shape, np.int64),
        starts=np.zeros(shape, np.int64),
        agree=np.zeros(shape, np.int64),
        differ=np.zeros(shape, np.int64),
        known=np.zeros(shape, np.int64),
        own=np.zeros(shape, np.int64),
        together=np.zeros((platforms, platforms), np.int64),
        slots=np.zeros(SLOTS, np.int64),
    )


@compiled_entry
def watch_customs(rows: Table, rules: Rules, clusters: Table, customs: Customs) -> None:
    """Count the evidence in sorted rows that hold all records of their subjects."""
    size = len(rows)
    keys, places = np.empty(size, np.int64), np.empty(size, np.int64)
    sizes = np.zeros(size, np.int64)
    low = ZERO
    while low < size:
        high = low + 1
        while high < size and rows[high].subject == rows[low].subject and rows[high].family == rows[low].family:
            high += 1
        for i in range(low, high):
            if rows[i].grain == DAY:
                customs.slots[rows[i].start // (900 * US) % SLOTS] += 1
        if high - low > 1:
            open_group(rows, rules, clusters, low, high)
            join_certain(rows, rules, clusters, low, high, keys, places)
            for i in range(low, high):
                sizes[root_of(clusters, i)] += 1
            for i in range(low, high):
                root = root_of(clusters, i)
                if root != i and sizes[root] <= CROWD and rows[i].platform != rows[root].platform:
                    _watch_act(rows, rules, clusters, customs, root, i)
                if rows[i].grain != DAY:
                    _watch_neighbours(rows, clusters, customs, i, high)
        low = high


@compiled
def _watch_act(rows: Table, rules: Rules, clusters: Table, customs: Customs, root: int, i: int) -> None:
    """Learn from two records of one act."""
    act = clusters[root].precise
    if act >= 0 and act != i:
        _vote(rows, customs, i, act)
        _vote(rows, customs, act, i)
    if rows[i].event_key != 0 and rows[i].event_key == rows[root].event_key:
        customs.known[rows[i].platform, rows[i].behaviour] += 1
        customs.known[rows[root].platform, rows[root].behaviour] += 1
    if rules.roles[rows[root].rank].acting:
        if rows[i].behaviour == rows[root].behaviour:
            customs.agree[rows[i].platform, rows[i].behaviour] += 1
        else:
            customs.differ[rows[i].platform, rows[i].behaviour] += 1
        if rules.roles[rows[i].rank].acting:
            one, other = rows[root].platform, rows[i].platform
            customs.together[min(one, other), max(one, other)] += 1


@compiled
def _vote(rows: Table, customs: Customs, moment: int, act: int) -> None:
    """Count whether a single moment is nearer the end of an act than its begin."""
    if rows[moment].grain == DAY or rows[moment].end != rows[moment].start or not _is_long(rows, act):
        return
    if abs(rows[moment].start - rows[act].end) < abs(rows[moment].start - rows[act].start):
        customs.ends[rows[moment].platform, rows[moment].behaviour] += 1
    else:
        customs.starts[rows[moment].platform, rows[moment].behaviour] += 1


@compiled
def _is_long(rows: Table, act: int) -> bool:
    return bool(rows[act].grain != DAY and rows[act].end - rows[act].start > LONG_ENOUGH_US)


@compiled
def _watch_neighbours(rows: Table, clusters: Table, customs: Customs, i: int, high: int) -> None:
    """Learn from records of other platforms whose moments meet record i's, and that no key has joined with it."""
    reach = rows[i].end + NEAR_US
    for j in range(i + 1, min(high, i + CROWD)):
        if rows[j].start > reach:
            return
        if rows[j].grain == DAY or rows[j].platform == rows[i].platform or root_of(clusters, j) == root_of(clusters, i):
            continue
        starts_meet = rows[j].start - rows[i].start <= NEAR_US
        ends_meet = abs(rows[j].end - rows[i].end) <= NEAR_US
        if starts_meet != ends_meet:
            _vote(rows, customs, j, i)
            _vote(rows, customs, i, j)
        elif (
            starts_meet and rows[i].behaviour == rows[j].behaviour and rows[i].event_key != 0 and rows[j].event_key != 0
        ):
            customs.own[rows[i].platform, rows[i].behaviour] += 1
            customs.own[rows[j].platform, rows[j].behaviour] += 1
