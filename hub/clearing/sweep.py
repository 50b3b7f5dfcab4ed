"""One pass over sorted rows, subject by subject: join, weigh, resolve. Pure, compiled."""

import numpy as np

from hub.clearing.amounts import weigh_acts
from hub.clearing.clusters import open_group
from hub.clearing.compiled import ZERO, compiled, compiled_entry
from hub.clearing.days import join_days
from hub.clearing.keys import join_certain
from hub.clearing.match import join_scored
from hub.clearing.overlap import resolve_overlaps
from hub.clearing.rows import I8, I64, Rules, Table


@compiled_entry
def clear_rows(rows: Table, rules: Rules, clusters: Table, events: Table, tiers: I8) -> None:
    """Decide all acts of rows that hold all records of their subjects.

    Args:
        tiers: the tier of every reason by which a record can join an act.
    """
    size = len(rows)
    keys, places = np.empty(size, np.int64), np.empty(size, np.int64)
    bounds = np.empty(len(rules.window) + 1, np.int64)
    low = ZERO
    while low < size:
        families, high = ZERO, low
        while high < size and rows[high].subject == rows[low].subject:
            begin = high
            while high < size and rows[high].subject == rows[low].subject and rows[high].family == rows[begin].family:
                high += 1
            bounds[families] = begin
            families += 1
            _clear_family(rows, rules, clusters, events, tiers, begin, high, keys, places)
        bounds[families] = high
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
    keys: I64,
    places: I64,
) -> None:
    open_group(rows, clusters, low, high)
    if high - low > 1:
        join_certain(rows, rules, clusters, low, high, keys, places)
        join_scored(rows, rules, clusters, low, high)
        join_days(rows, rules, clusters, low, high)
    weigh_acts(rows, rules, clusters, events, tiers, low, high)
