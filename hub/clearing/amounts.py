"""What an act is worth: the methodology's amount of its canonical record, never above the claim. Pure, compiled."""

import numpy as np

from hub.clearing.clusters import is_better, root_of
from hub.clearing.compiled import compiled, number
from hub.clearing.rows import DAY, I8, NEW, UNTOLD, US, Rules, Table
from hub.clearing.vocabulary import COUNTED, HELD, OVERLAPPED, Reason, Rule

MICRO = 1_000_000
MOST_MG = 1 << 62
DAY_US = 86_400 * US
NO_QUANTITY = number(Reason.NO_QUANTITY)
NO_RATE = number(Reason.NO_RATE)
FIRST = number(Reason.FIRST_IN_ROLE_ORDER)
ONLY = number(Reason.ONLY_REPORT)
IMPLAUSIBLE_QUANTITY = number(Reason.IMPLAUSIBLE_QUANTITY)
IMPLAUSIBLE_SPEED = number(Reason.IMPLAUSIBLE_SPEED)
IMPLAUSIBLE_DURATION = number(Reason.IMPLAUSIBLE_DURATION)
IMPLAUSIBLE_DAY = number(Reason.IMPLAUSIBLE_DAY)
DECLARED_ONLY = number(Reason.DECLARED_ONLY)
SINGLE = number(Rule.SINGLE)
T4 = number(Rule.T4)
PLAUSIBILITY = number(Rule.PLAUSIBILITY)


# Per record, with meaning at roots: what was decided about the act. `quantity`: what the amount was made of, -1 if
# there is none; `by`: the record that counts instead, or -1; `tier`: the highest by which a record joined, SINGLE if
# none did; `claimed`: sum of the canonical platform's claims, -1 if one of its records claims nothing; `donor`: the
# best-ranked record that tells a quantity, or -1.
EVENT = np.dtype(
    [
        ("mg", "i8"),
        ("quantity", "i8"),
        ("by", "i8"),
        ("claimed", "i8"),
        ("donor", "i8"),
        ("records", "i4"),
        ("verdict", "i1"),
        ("rule", "i1"),
        ("reason", "i1"),
        ("tier", "i1"),
    ],
    align=True,
)


def new_events(size: int) -> Table:
    """Return EVENT with an undecided act for every record."""
    events = np.zeros(size, EVENT)
    for name, value in (("quantity", UNTOLD), ("by", -1), ("donor", -1), ("tier", SINGLE), ("rule", SINGLE)):
        events[name] = value
    events["verdict"], events["reason"] = COUNTED, ONLY
    return events


@compiled
def weigh_acts(rows: Table, rules: Rules, clusters: Table, events: Table, tiers: I8, low: int, high: int) -> None:
    """Fill in the amounts of the acts of one subject and family, and hold what was tied, uncertain or implausible.

    Args:
        tiers: the tier of every reason by which a record can join an act.
    """
    for i in range(low, high):
        _gather(rows, rules, clusters, events, tiers, root_of(clusters, i), i)
    for i in range(low, high):
        if clusters[i].parent != i:
            continue
        if rows[i].live != NEW:
            events[i].verdict = COUNTED if rows[i].counted >= 0 else OVERLAPPED
            events[i].mg = max(rows[i].counted, 0)
            events[i].quantity = rows[i].quantity
            continue
        events[i].rule = events[i].tier
        events[i].reason = ONLY if events[i].records == 1 else FIRST
        _weigh(rows, rules, events, i)
        if clusters[i].held >= 0:
            hold_act(events, i, T4, clusters[i].held)
        elif not rules.roles[rows[i].rank].alone:
            hold_act(events, i, events[i].tier, DECLARED_ONLY)
        else:
            _doubt(rows, rules, clusters, events, i)
    _limit_days(rows, rules, clusters, events, low, high)


@compiled
def hold_act(events: Table, root: int, rule: int, reason: int) -> None:
    """Set an act aside for review: it counts nothing."""
    events[root].verdict = HELD
    events[root].rule = rule
    events[root].reason = reason
    events[root].mg = 0


@compiled
def _gather(rows: Table, rules: Rules, clusters: Table, events: Table, tiers: I8, root: int, i: int) -> None:
    events[root].records += 1
    if i != root:
        events[root].tier = max(events[root].tier, tiers[clusters[i].joined])
    if rows[i].platform == rows[root].platform and not clusters[i].twin:
        claim = rows[i].claim
        if claim < 0 or events[root].claimed < 0:
            events[root].claimed = UNTOLD
        else:
            events[root].claimed = min(events[root].claimed + min(claim, MOST_MG), MOST_MG)
    # A document that proves nothing by itself lends no quantity either.
    lends = rules.roles[rows[i].rank].alone and rows[i].quantity >= 0
    if lends and (events[root].donor < 0 or is_better(rows, i, events[root].donor)):
        events[root].donor = i


@compiled
def _weigh(rows: Table, rules: Rules, events: Table, i: int) -> None:
    """The canonical record's amount, which is that of one if such acts are counted; else the next-ranked record's."""
    donor = events[i].donor
    mg, reason = UNTOLD, NO_RATE
    if rows[i].quantity >= 0 or rules.counts_one[rows[i].behaviour, rows[i].unit]:
        events[i].quantity = rows[i].quantity if rows[i].quantity >= 0 else MICRO
        mg = rows[i].reference
    elif donor >= 0:
        events[i].quantity = rows[donor].quantity
        mg = rows[donor].reference
    else:
        reason = NO_QUANTITY
    if mg < 0:
        events[i].reason = reason
        mg = 0
    if events[i].claimed >= 0:
        mg = min(mg, events[i].claimed)
    events[i].mg = mg


@compiled
def _doubt(rows: Table, rules: Rules, clusters: Table, events: Table, i: int) -> None:
    """Hold what cannot be: too much, too fast, too long."""
    behaviour, quantity = rows[i].behaviour, events[i].quantity
    teller = clusters[i].precise
    length = rows[teller].end - rows[teller].start if teller >= 0 else 0
    most = (
        rules.behaviours[behaviour].max_day
        if rows[i].grain == DAY and rules.behaviours[behaviour].max_day >= 0
        else rules.behaviours[behaviour].max_quantity
    )
    if length > rules.settings[0].longest * US or (teller < 0 and rows[i].end - rows[i].start > 2 * DAY_US):
        hold_act(events, i, PLAUSIBILITY, IMPLAUSIBLE_DURATION)
    elif most >= 0 and quantity > most * MICRO:
        hold_act(events, i, PLAUSIBILITY, IMPLAUSIBLE_QUANTITY)
    elif length > 0 and _is_too_fast(rules.behaviours[behaviour].max_per_hour, quantity, length):
        hold_act(events, i, PLAUSIBILITY, IMPLAUSIBLE_SPEED)


@compiled
def _is_too_fast(limit: int, quantity: int, length_us: int) -> bool:
    """Say whether quantity per hour is above a limit; clocks told to the minute get a minute's grace."""
    return bool(limit >= 0 and quantity // MICRO * 3600 > limit * (length_us // US + 60))


@compiled
def _limit_days(rows: Table, rules: Rules, clusters: Table, events: Table, low: int, high: int) -> None:
    """Hold a flood: acts of one behaviour beyond the number that one person can do in a day."""
    if high - low <= rules.settings[0].max_day_acts:
        return
    counts = np.zeros(len(rules.behaviours), np.int64)
    day = rows[low].day
    for i in range(low, high):
        if rows[i].grain == DAY:
            continue
        if rows[i].day != day:
            counts[:] = 0
            day = rows[i].day
        if clusters[i].parent == i and events[i].verdict == COUNTED:
            counts[rows[i].behaviour] += 1
            if counts[rows[i].behaviour] > rules.settings[0].max_day_acts and rows[i].live == NEW:
                hold_act(events, i, PLAUSIBILITY, IMPLAUSIBLE_DAY)
