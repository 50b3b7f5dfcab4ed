"""What platforms are seen to do where keys prove that two records are one act. Pure, compiled."""

from typing import NamedTuple

import numpy as np

from hub.clearing.clusters import open_group, root_of
from hub.clearing.compiled import ZERO, compiled, compiled_entry
from hub.clearing.keys import join_certain
from hub.clearing.rows import DAY, I64, US, Rules, Table

SLOTS = 96
"""Quarter hours of a day, in which service days are seen to begin."""
LONG_ENOUGH_US = 120 * US
"""Shorter acts do not tell their begin from their end."""
CROWD = 16
"""More records than this under one key are no single act; they teach nothing."""


class Customs(NamedTuple):
    """Counts of evidence; they add up over buckets."""

    ends: I64
    """[platform, family]: single moments nearer the end of the act."""
    starts: I64
    agree: I64
    """[platform, family]: same behaviour as the platform that carried the act out."""
    differ: I64
    together: I64
    """[platform, platform]: acts that two acting platforms both reported under one key."""
    slots: I64
    """Begins of day records by quarter of an hour, UTC."""


def new_customs(platforms: int, families: int) -> Customs:
    """Return no evidence."""
    shape = (platforms, families)
    return Customs(
        ends=np.zeros(shape, np.int64),
        starts=np.zeros(shape, np.int64),
        agree=np.zeros(shape, np.int64),
        differ=np.zeros(shape, np.int64),
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
            open_group(rows, clusters, low, high)
            join_certain(rows, rules, clusters, low, high, keys, places)
            for i in range(low, high):
                sizes[root_of(clusters, i)] += 1
            for i in range(low, high):
                root = root_of(clusters, i)
                if root != i and sizes[root] <= CROWD and rows[i].platform != rows[root].platform:
                    _watch(rows, rules, clusters, customs, root, i)
        low = high


@compiled
def _watch(rows: Table, rules: Rules, clusters: Table, customs: Customs, root: int, i: int) -> None:
    platform, family = rows[i].platform, rows[i].family
    act = clusters[root].precise
    if (
        rows[i].grain != DAY
        and rows[i].end == rows[i].start
        and act >= 0
        and rows[act].end - rows[act].start > LONG_ENOUGH_US
    ):
        if abs(rows[i].start - rows[act].end) < abs(rows[i].start - rows[act].start):
            customs.ends[platform, family] += 1
        else:
            customs.starts[platform, family] += 1
    if rules.roles[rows[root].rank].acting:
        if rows[i].behaviour == rows[root].behaviour:
            customs.agree[platform, family] += 1
        else:
            customs.differ[platform, family] += 1
        if rules.roles[rows[i].rank].acting:
            one, other = rows[root].platform, platform
            customs.together[min(one, other), max(one, other)] += 1
