"""Which keys are carried by more people than one act has: first by a small table for all, then exactly for few. Pure.

Counting people for every key would need all keys in memory. A table of counters, each shared by many keys, can only
count too much; keys whose counter stays low are certainly sound, and only the rest is counted exactly.
"""

import numpy as np
import numpy.typing as npt

from hub.clearing.kernel.clusters import sort_pairs
from hub.clearing.kernel.compiled import ZERO, compiled, compiled_entry
from hub.clearing.kernel.encode import chosen_rows
from hub.clearing.kernel.rows import I64, Table

Counters = npt.NDArray[np.uint8]
FULL = 255
SMALLEST_BITS, LARGEST_BITS = 12, 28


def new_counters(rows: int) -> Counters:
    """Return counters for about so many rows: two for each, so that few sound keys share one with another."""
    bits = min(max(int(rows).bit_length() + 1, SMALLEST_BITS), LARGEST_BITS)
    return np.zeros(1 << bits, np.uint8)


def slots_of_people(rows: Table, counters: Counters) -> I64:
    """Return the slots of the keys of ROW, sorted by person: each key once per person."""
    slots = np.empty(2 * len(rows), np.int64)
    return slots[: fill_slots(rows, counters, slots)]


def suspected(rows: Table, counters: Counters, most: int) -> Table:
    """Return the rows of which a key may be carried by more than `most` people, without the keys that certainly are not."""
    hit = np.empty(len(rows), np.int64)
    chosen = chosen_rows(rows, hit[: find_suspected(rows, counters, most, hit)])
    forget_sound(chosen, counters, most)
    return chosen


@compiled_entry
def find_suspected(rows: Table, counters: Counters, most: int, hit: I64) -> int:
    """Fill in the places of the rows that `suspected` returns; return their number."""
    shift = _shift_for(counters)
    found = ZERO
    for i in range(len(rows)):
        event_key, payment_key = rows[i].event_key, rows[i].payment_key
        if (event_key != 0 and counters[_slot(event_key, shift)] > most) or (
            payment_key != 0 and counters[_slot(payment_key, shift)] > most
        ):
            hit[found] = i
            found += 1
    return found


@compiled_entry
def forget_sound(rows: Table, counters: Counters, most: int) -> None:
    """Take away the keys that no more than `most` people carry."""
    shift = _shift_for(counters)
    for i in range(len(rows)):
        if counters[_slot(rows[i].event_key, shift)] <= most:
            rows[i].event_key = 0
        if counters[_slot(rows[i].payment_key, shift)] <= most:
            rows[i].payment_key = 0


@compiled_entry
def fill_slots(rows: Table, counters: Counters, slots: I64) -> int:
    """Fill in what `slots_of_people` returns; return the number of slots."""
    size = len(rows)
    keys, places = np.empty(2 * size, np.int64), np.empty(2 * size, np.int64)
    shift = _shift_for(counters)
    filled, low = ZERO, ZERO
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
                slots[filled] = _slot(np.uint64(keys[k]), shift)
                filled += 1
        low = high
    return filled


@compiled_entry
def count_people(counters: Counters, slots: I64) -> None:
    """Count people in their slots. A full counter stays full, so the order of counting does not matter.

    One thread at a time: what two threads add to one counter at once could count as one.
    """
    for slot in slots:
        if counters[slot] < FULL:
            counters[slot] += np.uint8(1)


@compiled
def _shift_for(counters: Counters) -> np.uint64:
    bits = np.uint64(0)
    while (np.int64(1) << np.int64(bits)) < len(counters):
        bits += np.uint64(1)
    return np.uint64(np.uint64(64) - bits)


@compiled
def _slot(key: np.uint64, shift: np.uint64) -> int:
    # Keys are keyed hashes already, but a platform's own small numbers are not.
    return int(np.int64((key * np.uint64(0x9E3779B97F4A7C15)) >> shift))
