"""What was learnt, applied to the rows: keys that are none, service days, rides that count for another person. Pure."""

import numpy as np

from hub.clearing.kernel.facts import Facts
from hub.clearing.kernel.rows import DAY, US, Rules, Table

DAY_US = 86_400 * US


def apply_facts(rows: Table, facts: Facts, rules: Rules) -> None:
    """Change ROW in place; the order stays."""
    for field, junk in (("event_key", facts.junk_event_keys), ("payment_key", facts.junk_payment_keys)):
        if len(junk):
            rows[field][np.isin(rows[field], junk.to_numpy())] = 0
    start = rows["start"] - facts.day_offset_us
    # A day record belongs to the nearest service day: one that was sent in a wrong zone still finds its own.
    start[rows["grain"] == DAY] += DAY_US // 2
    rows["day"] = start // DAY_US
    _mark_elsewhere(rows, facts, rules)


def _mark_elsewhere(rows: Table, facts: Facts, rules: Rules) -> None:
    """Mark records of a shared act that counts for another person."""
    if not len(facts.owners):
        return
    keys, owners = facts.owners["event_key"].to_numpy(), facts.owners["owner"].to_numpy()
    at = np.flatnonzero((rules.behaviours["shared"][rows["behaviour"]] != 0) & (rows["event_key"] != 0))
    told = rows["event_key"][at]
    place = np.minimum(np.searchsorted(keys, told), len(keys) - 1)
    rows["elsewhere"][at] = (keys[place] == told) & (owners[place] != rows["subject"][at])
