"""What an act is worth: the methodology's amount of its canonical record, never above the claim. Pure, compiled."""

import numpy as np

from hub.clearing.kernel.clusters import is_better, root_of
from hub.clearing.kernel.compiled import compiled, number
from hub.clearing.kernel.rows import I8, NEW, UNTOLD, US, Rules, Table
from hub.clearing.kernel.vocabulary import COUNTED, HELD, OVERLAPPED, Reason, Rule

MICRO = 1_000_000
MOST_MG = 1 << 62
DAY_US = 86_400 * US
NO_QUANTITY = number(Reason.NO_QUANTITY)
NO_RATE = number(Reason.NO_RATE)
FIRST = number(Reason.FIRST_IN_ROLE_ORDER)
ONLY = number(Reason.ONLY_REPORT)
DECLARED_ONLY = number(Reason.DECLARED_ONLY)
SINGLE = number(Rule.SINGLE)
T4 = number(Rule.T4)


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
    undecided = np.zeros(1, EVENT)
    for name, value in (("quantity", UNTOLD), ("by", -1), ("donor", -1), ("tier", SINGLE), ("rule", SINGLE)):
        undecided[name] = value
    undecided["verdict"], undecided["reason"] = COUNTED, ONLY
    return np.repeat(undecided, size)


@compiled
def weigh_acts(rows: Table, rules: Rules, clusters: Table, events: Table, tiers: I8, low: int, high: int) -> None:
    """Fill in the amounts of the acts of one subject and family, and hold what was tied or uncertain.

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
        # What a reviewer released is an act of its own, whatever it resembles.
        if clusters[i].held >= 0 and rows[i].waived == 0:
            hold_act(events, i, T4, clusters[i].held)
        elif not rules.roles[rows[i].rank].alone:
            hold_act(events, i, events[i].tier, DECLARED_ONLY)


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
