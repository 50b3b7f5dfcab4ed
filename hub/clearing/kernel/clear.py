"""Clear one frame of quantified records: which are one act, which record of it counts, and how much. Pure.

The frame holds all records of its people; nothing crosses to other people but by `facts`. The same function serves one
pushed record, an open window, the bulk engine and every executor of a cluster, and its result does not depend on the
order of the rows.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from hub.clearing.kernel.amounts import new_events
from hub.clearing.kernel.apply import apply_facts
from hub.clearing.kernel.clusters import new_clusters
from hub.clearing.kernel.codes import Catalogue, build_catalogue
from hub.clearing.kernel.customs import Customs, new_customs, watch_customs
from hub.clearing.kernel.encode import PlatformNames, encode_records, sorted_rows
from hub.clearing.kernel.facts import Evidence, Facts, conclude, count_keys, find_rides, name_customs
from hub.clearing.kernel.outcome import (
    TIERS,
    decision_columns,
    decision_frame,
    event_columns,
    event_frame,
    rejected_columns,
)
from hub.clearing.kernel.rows import Rules, Table
from hub.clearing.kernel.rules import build_rules
from hub.clearing.kernel.sweep import clear_rows
from hub.clearing.kernel.waivers import mark_waived
from standards.methodology import Methodology, load_methodology
from standards.policy import ClearingPolicy
from standards.schema import QUANTIFIED_SCHEMA

RECORD_COLUMNS = [name for name in QUANTIFIED_SCHEMA if name != "factor_id"]
LIVE_COLUMNS = [*RECORD_COLUMNS, "event_id", "verdict", "counted_mg"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleared:
    """What clearing decided: one decision per new record, and the events that began with them."""

    decisions: pl.DataFrame
    """DECISION."""
    events: pl.DataFrame
    """EVENT."""


def clear(
    new: pl.DataFrame,
    live: pl.DataFrame | None,
    policy: ClearingPolicy,
    facts: Facts | None = None,
    *,
    methodology: Methodology | None = None,
    waived: pl.DataFrame | None = None,
) -> Cleared:
    """Decide about every new record.

    Args:
        new: QUANTIFIED; all pending records of their people, in any order.
        live: QUANTIFIED plus `event_id`, `verdict`, `counted_mg`: the records of these people that were cleared in
            earlier windows, rejected ones left out or not. Their decisions stay and get no rows here.
        facts: what was learnt over all records; by default what these frames alone can teach.
        methodology: what `reference_mg` was made with; by default the current one.
        waived: record_id and act (any number): new records of acts that a reviewer released. They are not held again for
            being implausible, tied or uncertain; records of one number are one act. All other rules hold for them.

    Returns:
        Decisions and events, sorted by their ids. A record that is the same act as a live event becomes its duplicate.
    """
    if facts is None:
        facts = conclude(observe(new, live, policy), policy)
    catalogue = build_catalogue(policy.role_order)
    rows, bad, platforms = encoded(new, live, catalogue)
    rules = build_rules(policy, catalogue, platforms, facts)
    apply_facts(rows, facts, rules)
    if waived is not None and len(waived):
        rules = mark_waived(rows, waived, rules)
    clusters, events = decide(rows, rules)
    decisions = decision_frame(decision_columns(rows, clusters, events), policy)
    begun = event_frame(event_columns(rows, clusters, events), catalogue, policy, methodology or load_methodology())
    return Cleared(
        decisions=pl.concat([decisions, decision_frame(rejected_columns(bad), policy)]).sort("record_id"),
        events=begun.sort("event_id"),
    )


def decide(rows: Table, rules: Rules) -> tuple[Table, Table]:
    """Return CLUSTER and EVENT of sorted ROW to which facts were applied: the kernel of every engine."""
    clusters, events = new_clusters(len(rows)), new_events(len(rows))
    clear_rows(rows, rules, clusters, events, TIERS)
    return clusters, events


def observe(new: pl.DataFrame, live: pl.DataFrame | None, policy: ClearingPolicy) -> Evidence:
    """Return the evidence that these records hold; arguments as for `clear`."""
    catalogue = build_catalogue(policy.role_order)
    rows, _, platforms = encoded(new, live, catalogue)
    rules = build_rules(policy, catalogue, platforms, None)
    shared = catalogue.shared(policy)
    customs = watch(rows, rules, platforms, catalogue)
    by_behaviour, partners = name_customs(customs, platforms, catalogue.behaviours)
    return Evidence(
        keys=count_keys(rows, shared),
        rides=find_rides(rows, shared),
        customs=by_behaviour,
        partners=partners,
        slots=tuple(customs.slots.tolist()),
    )


def watch(rows: Table, rules: Rules, platforms: tuple[str, ...], catalogue: Catalogue) -> Customs:
    """Return the customs that keys show in sorted ROW."""
    customs = new_customs(len(platforms), len(catalogue.behaviours))
    watch_customs(rows, rules, new_clusters(len(rows)), customs)
    return customs


def encoded(new: pl.DataFrame, live: pl.DataFrame | None, catalogue: Catalogue) -> tuple[Table, Table, tuple[str, ...]]:
    """Return sorted ROW of all records, BAD of the new ones that are none, and the platforms."""
    names = PlatformNames()
    rows, bad = encode_records(new.select(RECORD_COLUMNS).to_arrow(), catalogue, names)
    if live is not None:
        decided = live.filter(pl.col("event_id").is_not_null()).select(LIVE_COLUMNS)
        rows = np.concatenate([rows, encode_records(decided.to_arrow(), catalogue, names)[0]])
    rows["platform"] = names.ranks()[rows["platform"]]
    return sorted_rows(rows), bad, names.sorted()
