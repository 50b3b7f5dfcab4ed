"""T1 and T2: the same content told twice, and records that carry the same origin or payment key. Pure, compiled."""

import numpy as np

from hub.clearing.kernel.clusters import has_own_keys, keys_conflict, root_of, sort_pairs, unite
from hub.clearing.kernel.compiled import ZERO, compiled, number
from hub.clearing.kernel.rows import DAY, I64, NEW, US, Rules, Table
from hub.clearing.kernel.score import is_acceptable, is_moment
from hub.clearing.kernel.vocabulary import Reason

SAME_CONTENT = number(Reason.SAME_CONTENT)
SAME_EVENT_KEY = number(Reason.SAME_EVENT_KEY)
SAME_PAYMENT_KEY = number(Reason.SAME_PAYMENT_KEY)
PART_OF_PAYMENT = number(Reason.PART_OF_PAYMENT)
PLATFORM_SALT = number(0x2545F4914F6CDD1D)


@compiled
def join_certain(rows: Table, rules: Rules, clusters: Table, low: int, high: int, keys: I64, places: I64) -> None:
    """Join what needs no scoring in one subject and family: live events, same content, keys, parts of a payment."""
    _join_live(rows, clusters, low, high, keys, places)
    _join_same_content(rows, rules, clusters, low, high)
    size = ZERO
    for i in range(low, high):
        if rows[i].event_key != 0:
            # Two platforms that count their own rows will come to the same number one day: that joins nothing.
            salt = (rows[i].platform + 1) * PLATFORM_SALT if has_own_keys(rows, rules, i) else ZERO
            keys[size], places[size] = np.int64(rows[i].event_key) ^ salt, i
            size += 1
    if size > 1:
        sort_pairs(keys, places, size)
        _join_event_keys(rows, rules, clusters, keys, places, size)
    size = ZERO
    for i in range(low, high):
        if rows[i].payment_key != 0:
            keys[size], places[size] = np.int64(rows[i].payment_key), i
            size += 1
    if size > 1:
        sort_pairs(keys, places, size)
        _join_payment_keys(rows, rules, clusters, keys, places, size)
    _join_parts(rows, rules, clusters, low, high)


@compiled
def _join_live(rows: Table, clusters: Table, low: int, high: int, keys: I64, places: I64) -> None:
    size = ZERO
    for i in range(low, high):
        if rows[i].live != NEW:
            keys[size], places[size] = rows[i].event, i
            size += 1
    sort_pairs(keys, places, size)
    for k in range(1, size):
        if keys[k] == keys[k - 1]:
            # Both are live, and `unite` refuses that; here they are known to be one event.
            a, b = root_of(clusters, places[k - 1]), root_of(clusters, places[k])
            if rows[b].record == rows[b].event:
                a, b = b, a
            clusters[b].parent = a
            clusters[a].platforms |= clusters[b].platforms
            if clusters[a].precise < 0:
                clusters[a].precise = clusters[b].precise
            if clusters[a].event_key == 0:
                clusters[a].event_key = clusters[b].event_key
            if clusters[a].payment_key == 0:
                clusters[a].payment_key = clusters[b].payment_key


@compiled
def _is_same_content(rows: Table, i: int, j: int) -> bool:
    return bool(
        rows[i].platform == rows[j].platform
        and rows[i].end == rows[j].end
        and rows[i].behaviour == rows[j].behaviour
        and rows[i].grain == rows[j].grain
        and rows[i].quantity == rows[j].quantity
        and rows[i].unit == rows[j].unit
        and rows[i].event_key == rows[j].event_key
        and rows[i].payment_key == rows[j].payment_key
        # Nobody does the same thing twice in one span of time; of two things done at one moment the claims may tell.
        and (rows[i].claim == rows[j].claim or not is_moment(rows, i))
    )


@compiled
def _join_same_content(rows: Table, rules: Rules, clusters: Table, low: int, high: int) -> None:
    for i in range(low + 1, high):
        # The nearest twin is enough, and the bound keeps a flood of different records at one instant affordable.
        for j in range(i - 1, max(low, i - rules.settings[0].component) - 1, -1):
            if rows[j].start != rows[i].start:
                break
            if _is_same_content(rows, i, j) and unite(rows, clusters, i, j, SAME_CONTENT):
                clusters[i].twin = 1
                break


@compiled
def _join_event_keys(rows: Table, rules: Rules, clusters: Table, keys: I64, places: I64, size: int) -> None:
    for k in range(1, size):
        i, j = places[k - 1], places[k]
        if keys[k] == keys[k - 1] and rows[j].start - rows[i].start <= rules.settings[0].key_span:
            unite(rows, clusters, i, j, SAME_EVENT_KEY)


@compiled
def _join_payment_keys(rows: Table, rules: Rules, clusters: Table, keys: I64, places: I64, size: int) -> None:
    for k in range(1, size):
        i = places[k]
        for m in range(k - 1, max(0, k - rules.settings[0].component) - 1, -1):
            j = places[m]
            if keys[m] != keys[k] or rows[i].start - rows[j].start > rules.settings[0].key_span:
                break
            if _may_share_payment(rows, rules, clusters, i, j) and unite(rows, clusters, i, j, SAME_PAYMENT_KEY):
                break


@compiled
def _may_share_payment(rows: Table, rules: Rules, clusters: Table, i: int, j: int) -> bool:
    """One payment can cover a return ride: with two order numbers it is one act only if times and amounts agree too."""
    one, other = clusters[root_of(clusters, i)].event_key, clusters[root_of(clusters, j)].event_key
    if one == 0 or other == 0 or one == other:
        return True
    if rows[i].platform == rows[j].platform or not _touch(rows, i, j):
        return False
    return bool(rows[i].grain != DAY and rows[j].grain != DAY and is_acceptable(rows, rules, i, j))


@compiled
def _touch(rows: Table, i: int, j: int) -> bool:
    """Say whether two acts have a moment in common, as far as both tell more than a moment."""
    apart = rows[i].end <= rows[j].start or rows[j].end <= rows[i].start
    return bool(is_moment(rows, i) or is_moment(rows, j) or not apart)


@compiled
def _join_parts(rows: Table, rules: Rules, clusters: Table, low: int, high: int) -> None:
    for i in range(low + 1, high):
        if rules.roles[rows[i].rank].payment == 0 or rows[i].end != rows[i].start:
            continue
        for j in range(i - 1, max(low, i - rules.settings[0].component) - 1, -1):
            if rows[i].start - rows[j].start > rules.settings[0].parts * US:
                break
            if rows[j].platform == rows[i].platform and rows[j].end == rows[j].start and _keys_agree(clusters, i, j):
                unite(rows, clusters, i, j, PART_OF_PAYMENT)


@compiled
def _keys_agree(clusters: Table, i: int, j: int) -> bool:
    return keys_conflict(clusters, root_of(clusters, i), root_of(clusters, j)) == 0
