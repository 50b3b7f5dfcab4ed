"""Acts of which every report names only the day: bookings of a keyed act, day acts, day totals. Pure, compiled."""

from hub.clearing.kernel.clusters import keys_conflict, root_of, unite
from hub.clearing.kernel.compiled import NONE, ZERO, compiled, number
from hub.clearing.kernel.rows import DAY, US, Rules, Table
from hub.clearing.kernel.score import mixes, quantity_points
from hub.clearing.kernel.vocabulary import Reason

SAME_DAY_ACT = number(Reason.SAME_DAY_ACT)
ONLY_CANDIDATE = number(Reason.ONLY_CANDIDATE_OF_DAY)
TIE = number(Reason.TIE)
TWO_DAYS_US = 2 * 86_400 * US


@compiled
def join_days(rows: Table, rules: Rules, clusters: Table, low: int, high: int) -> None:
    """Join the day records of one subject and family with each other and with the acts of their day."""
    for i in range(low, high):
        root = root_of(clusters, i)
        if clusters[root].precise >= 0 or root != i:
            continue
        if is_booking(clusters, root):
            _join_booking(rows, rules, clusters, root, low, high)
        else:
            _join_same_day(rows, rules, clusters, root, low)


@compiled
def is_booking(clusters: Table, root: int) -> bool:
    """Say whether an act told by day is one keyed act: a sum over a day has no order number and no payment."""
    return bool(clusters[root].event_key != 0 or clusters[root].payment_key != 0)


@compiled
def _join_booking(rows: Table, rules: Rules, clusters: Table, root: int, low: int, high: int) -> None:
    """A booking joins the one act of its day that it can be; among several nobody picks."""
    found, candidate = ZERO, NONE
    for i in range(low, high):
        other = root_of(clusters, i)
        if (
            clusters[other].precise == i
            and rows[i].day == rows[root].day
            and can_be(rows, rules, clusters, root, other, i)
        ):
            found, candidate = found + 1, other
    if found == 1:
        unite(rows, clusters, candidate, root, ONLY_CANDIDATE)
    elif found > 1:
        clusters[root].held = TIE


@compiled
def can_be(rows: Table, rules: Rules, clusters: Table, booking: int, other: int, precise: int) -> bool:
    """Say whether a booking of a day can be the other act, of which `precise` is the record that tells a moment."""
    if clusters[booking].platforms & clusters[other].platforms != 0:
        return False
    if keys_conflict(clusters, booking, other) != 0:
        return False
    mixed = mixes(rows, rules, booking) or mixes(rows, rules, precise)
    if rows[booking].behaviour != rows[precise].behaviour and not mixed:
        return False
    return quantity_points(rows, rules, booking, precise) >= 0


@compiled
def _join_same_day(rows: Table, rules: Rules, clusters: Table, root: int, low: int) -> None:
    """A person has one day of steps, one day without a car, and one sum of rides per day, whoever tells it."""
    single = rules.behaviours[rows[root].behaviour].day_act
    for j in range(root - 1, low - 1, -1):
        if rows[root].start - rows[j].start > TWO_DAYS_US:
            break
        if rows[j].grain != DAY or rows[j].day != rows[root].day or rows[j].unit != rows[root].unit:
            continue
        other = root_of(clusters, j)
        if other == root_of(clusters, root) or clusters[other].precise >= 0 or is_booking(clusters, other):
            continue
        if single != rules.behaviours[rows[other].behaviour].day_act:
            continue
        # Two sums of one platform for one day are two parts of it; two reports of a day act are one.
        if single or clusters[other].platforms & clusters[root].platforms == 0:
            unite(rows, clusters, root_of(clusters, root), other, SAME_DAY_ACT)
