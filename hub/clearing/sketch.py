"""Which keys are carried by more people than one act has: first by a small table for all, then exactly for few. Pure.

Counting people for every key would need all keys in memory. A table of counters, each shared by many keys, can only
count too much; keys whose counter stays low are certainly sound, and only the rest is counted exactly.
"""

import numpy as np
import numpy.typing as npt

from hub.clearing.clusters import sort_pairs
from hub.clearing.compiled import ZERO, compiled, compiled_entry
from hub.clearing.rows import I64, Table

Counters = npt.NDArray[np.uint8]
FULL = 255
SMALLEST_BITS, LARGEST_BITS = 12, 26


def new_counters(rows: int) -> Counters:
    """Return counters for about so many rows."""
    bits = min(max(int(rows).bit_length(), SMALLEST_BITS), LARGEST_BITS)
    return np.zeros(1 << bits, np.uint8)


def add_counters(into: Counters, more: Counters) -> None:
    """Add counters; a full one stays full, so the order of adding does not matter."""
    np.minimum(into.astype(np.uint16) + more, FULL, out=into, casting="unsafe")


def suspected(rows: Table, counters: Counters, most: int) -> Table:
    """Return the rows of which a key may be carried by more than `most` people."""
    hit = np.zeros(len(rows), bool)
    for name in ("event_key", "payment_key"):
        keys = rows[name]
        hit |= (keys != 0) & (counters[_slots(keys, len(counters))] > most)
    return rows[hit]


def _slots(keys: npt.NDArray[np.uint64], size: int) -> I64:
    # Keys are keyed hashes already, but a platform's own small numbers are not.
    mixed = keys * np.uint64(0x9E3779B97F4A7C15)
    return (mixed >> np.uint64(65 - size.bit_length())).astype(np.int64)


@compiled_entry
def count_people(rows: Table, counters: Counters) -> None:
    """Count each key of ROW, sorted by person, once per person."""
    size = len(rows)
    keys, places = np.empty(2 * size, np.int64), np.empty(2 * size, np.int64)
    shift = np.uint64(0)
    while (np.int64(1) << np.int64(shift)) < len(counters):
        shift += np.uint64(1)
    shift = np.uint64(64) - shift
    low = 0
    while low < size:
        high = low
        told = ZERO
        while high < size and rows[high].subject == rows[low].subject:
            if rows[high].event_key != 0:
                keys[told], places[told] = np.int64(rows[high].event_key), 0
                told += 1
            if rows[high].payment_key != 0:
                keys[told], places[told] = np.int64(rows[high].payment_key), 0
                told += 1
            high += 1
        sort_pairs(keys, places, told)
        for k in range(told):
            if k == 0 or keys[k] != keys[k - 1]:
                _count(counters, np.uint64(keys[k]), shift)
        low = high


@compiled
def _count(counters: Counters, key: np.uint64, shift: np.uint64) -> None:
    slot = np.int64((key * np.uint64(0x9E3779B97F4A7C15)) >> shift)
    if counters[slot] < FULL:
        counters[slot] += np.uint8(1)
