"""One pass over sorted rows, subject by subject: join, weigh, doubt, resolve. Pure, compiled."""

import numpy as np

from hub.clearing.kernel.amounts import weigh_acts
from hub.clearing.kernel.clusters import open_group
from hub.clearing.kernel.compiled import ZERO, compiled, compiled_entry
from hub.clearing.kernel.days import join_days
from hub.clearing.kernel.doubts import SEVERAL, doubt_acts, doubt_places, join_released, only_place
from hub.clearing.kernel.keys import join_certain
from hub.clearing.kernel.match import LISTS, join_scored
from hub.clearing.kernel.overlap import resolve_overlaps
from hub.clearing.kernel.rows import I8, I64, Rules, Table


@compiled_entry
def clear_rows(rows: Table, rules: Rules, clusters: Table, events: Table, tiers: I8) -> None:
    """Decide all acts of rows that hold all records of their subjects.

    Args:
        tiers: the tier of every reason by which a record can join an act.
    """
    size = len(rows)
    lists = np.empty((LISTS, size), np.int64)
    bounds = np.empty(len(rules.window) + 1, np.int64)
    low = ZERO
    while low < size:
        families, place, high = ZERO, ZERO, low
        while high < size and rows[high].subject == rows[low].subject:
            begin = high
            while high < size and rows[high].subject == rows[low].subject and rows[high].family == rows[begin].family:
                high += 1
            bounds[families] = begin
            families += 1
            told = _clear_family(rows, rules, clusters, events, tiers, begin, high, lists)
            place = only_place(place, told)
        bounds[families] = high
        if place == SEVERAL:
            doubt_places(rows, rules, clusters, events, low, high)
        resolve_overlaps(rows, rules, clusters, events, bounds[: families + 1])
        low = high


@compiled
def _clear_family(
    rows: Table,
    rules: Rules,
    clusters: Table,
    events: Table,
    tiers: I8,
    low: int,
    high: int,
    lists: I64,
) -> int:
    open_group(rows, rules, clusters, low, high)
    if high - low > 1:
        join_released(rows, rules, clusters, low, high)
        join_certain(rows, rules, clusters, low, high, lists[0], lists[1])
        join_scored(rows, rules, clusters, low, high, lists)
        join_days(rows, rules, clusters, low, high)
    weigh_acts(rows, rules, clusters, events, tiers, low, high)
    return doubt_acts(rows, rules, clusters, events, low, high)
