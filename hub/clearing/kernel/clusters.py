"""Which records are one act so far: a union-find whose root is always the canonical record. Pure, compiled."""

import numpy as np

from hub.clearing.kernel.compiled import ZERO, compiled, compiled_with_memory
from hub.clearing.kernel.rows import DAY, I64, NEW, Rules, Table

# Per record; all but `parent`, `joined` and `twin` have meaning at roots only. `joined`: the reason by which the
# record joined its act; `twin`: an earlier record of its platform says exactly the same; `precise`: the best-ranked
# record that tells a moment, -1 if all tell a day; `platforms`: one bit per platform of the subject and family;
# `held`: the reason to hold the act, -1 if there is none.
CLUSTER = np.dtype(
    [
        ("parent", "i8"),
        ("precise", "i8"),
        ("platforms", "u8"),
        ("event_key", "u8"),
        ("payment_key", "u8"),
        ("joined", "i1"),
        ("twin", "i1"),
        ("held", "i1"),
    ],
    align=True,
)


def new_clusters(size: int) -> Table:
    """Return CLUSTER with every record as an act of its own."""
    clusters = np.zeros(size, CLUSTER)
    clusters["parent"] = np.arange(size, dtype=np.int64)
    clusters["precise"] = -1
    clusters["held"] = -1
    return clusters


@compiled
def root_of(clusters: Table, i: int) -> int:
    """Return the canonical record of the act of record i."""
    while clusters[i].parent != i:
        clusters[i].parent = clusters[clusters[i].parent].parent
        i = clusters[i].parent
    return i


@compiled
def is_better(rows: Table, i: int, j: int) -> bool:
    """Say whether record i counts rather than j: a live event first, then role, begin, platform, number.

    The number comes last: it is the order of arrival, and grams must not depend on which platform's message was faster.
    """
    if rows[i].live != rows[j].live:
        return bool(rows[i].live > rows[j].live)
    if rows[i].rank != rows[j].rank:
        return bool(rows[i].rank < rows[j].rank)
    if rows[i].start != rows[j].start:
        return bool(rows[i].start < rows[j].start)
    if rows[i].platform != rows[j].platform:
        return bool(rows[i].platform < rows[j].platform)
    return bool(rows[i].record < rows[j].record)


@compiled
def unite(rows: Table, clusters: Table, i: int, j: int, reason: int) -> bool:
    """Make the acts of two records one; two live events never become one, so that no decision changes."""
    a, b = root_of(clusters, i), root_of(clusters, j)
    if a == b:
        return True
    if rows[a].live != NEW and rows[b].live != NEW:
        return False
    if is_better(rows, b, a):
        a, b = b, a
    clusters[b].parent = a
    clusters[b].joined = reason
    if clusters[a].precise < 0:
        clusters[a].precise = clusters[b].precise
    clusters[a].platforms |= clusters[b].platforms
    if clusters[a].event_key == 0:
        clusters[a].event_key = clusters[b].event_key
    if clusters[a].payment_key == 0:
        clusters[a].payment_key = clusters[b].payment_key
    return True


@compiled_with_memory
def open_group(rows: Table, rules: Rules, clusters: Table, low: int, high: int) -> None:
    """Prepare the records low <= i < high of one subject and family."""
    # Bits go by first appearance within the group, so they do not depend on other people's platforms. Platforms beyond
    # the 63rd share a bit: they are then never taken for two witnesses of one act, which is the careful side.
    names = np.empty(64, np.int16)
    seen = 0
    for i in range(low, high):
        bit = 0
        while bit < seen and names[bit] != rows[i].platform:
            bit += 1
        if bit == seen and seen < 63:
            names[seen] = rows[i].platform
            seen += 1
        clusters[i].platforms = np.uint64(1) << np.uint64(bit)
        if rows[i].grain != DAY:
            clusters[i].precise = i
        # A platform's own count of its rows contradicts nobody's order number.
        clusters[i].event_key = 0 if has_own_keys(rows, rules, i) else rows[i].event_key
        clusters[i].payment_key = rows[i].payment_key


@compiled
def has_own_keys(rows: Table, rules: Rules, i: int) -> bool:
    """Say whether a record's event key is known to be of its platform's making, which no other platform gives."""
    return bool(rules.customs[rows[i].platform, rows[i].behaviour].own == 1)


@compiled
def keys_conflict(clusters: Table, a: int, b: int) -> int:
    """Return how many of the two kinds of keys both acts carry with different values."""
    one, other = clusters[a], clusters[b]
    conflicts = 0
    if one.event_key != 0 and other.event_key != 0 and one.event_key != other.event_key:
        conflicts += 1
    if one.payment_key != 0 and other.payment_key != 0 and one.payment_key != other.payment_key:
        conflicts += 1
    return conflicts


@compiled
def sort_pairs(keys: I64, places: I64, size: int) -> None:
    """Sort the first `size` pairs by key, then place."""
    if size > 24:
        _heap_sort(keys, places, size)
        return
    for i in range(1, size):
        key, place = keys[i], places[i]
        j = i - 1
        while j >= 0 and (keys[j] > key or (keys[j] == key and places[j] > place)):
            keys[j + 1], places[j + 1] = keys[j], places[j]
            j -= 1
        keys[j + 1], places[j + 1] = key, place


@compiled
def _heap_sort(keys: I64, places: I64, size: int) -> None:
    # In place and never quadratic, whatever the order: a flood of records must not stop a bucket.
    for begin in range(size // 2 - 1, -1, -1):
        _sift(keys, places, begin, size)
    for end in range(size - 1, 0, -1):
        keys[0], keys[end] = keys[end], keys[0]
        places[0], places[end] = places[end], places[0]
        _sift(keys, places, ZERO, end)


@compiled
def _sift(keys: I64, places: I64, i: int, size: int) -> None:
    while True:
        child = 2 * i + 1
        if child >= size:
            return
        right = child + 1
        if right < size and (
            keys[right] > keys[child] or (keys[right] == keys[child] and places[right] > places[child])
        ):
            child = right
        if keys[child] < keys[i] or (keys[child] == keys[i] and places[child] <= places[i]):
            return
        keys[i], keys[child] = keys[child], keys[i]
        places[i], places[child] = places[child], places[i]
        i = child
