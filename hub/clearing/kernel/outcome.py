"""The kernel's arrays as frames of decisions and events. Pure."""

from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from hub.clearing.kernel.clusters import root_of
from hub.clearing.kernel.codes import Catalogue
from hub.clearing.kernel.compiled import compiled, compiled_entry
from hub.clearing.kernel.rows import I8, I16, I64, NEW, Table
from hub.clearing.kernel.vocabulary import DUPLICATE, REASON_WORDS, REJECTED, RULE_WORDS, VERDICTS, Reason, Rule
from standards.methodology import Methodology
from standards.policy import ClearingPolicy
from standards.schema import DECISION_SCHEMA, EVENT_SCHEMA

Columns = dict[str, npt.NDArray[Any]]
JOINING = {
    Reason.SAME_CONTENT: Rule.T1,
    Reason.SAME_EVENT_KEY: Rule.T2,
    Reason.SAME_PAYMENT_KEY: Rule.T2,
    Reason.PART_OF_PAYMENT: Rule.T2,
    Reason.SAME_TIME_AND_AMOUNT: Rule.T4,
    Reason.SAME_DAY_ACT: Rule.T4,
    Reason.ONLY_CANDIDATE_OF_DAY: Rule.T4,
    Reason.RELEASED_TOGETHER: Rule.T1,
}
TIERS: I8 = np.array([JOINING.get(reason, Rule.SINGLE) for reason in Reason], np.int8)
"""The tier of every reason by which a record joins an act."""


def rule_words(policy: ClearingPolicy) -> tuple[str, ...]:
    """Return the names of rules by code: the tiers, then the policy's overlap rules."""
    return RULE_WORDS + tuple(rule.id for rule in policy.overlaps)


def final_roots(clusters: Table) -> I64:
    """Return the canonical record of every record; no path of the union-find is left to walk."""
    roots = clusters["parent"]
    while True:
        further = roots[roots]
        if np.array_equal(further, roots):
            return roots
        roots = further


def decision_columns(rows: Table, clusters: Table, events: Table) -> Columns:
    """Return DECISION of the new valid records, in the order of the rows; verdict, rule and reason as codes."""
    size = int((rows["live"] == NEW).sum())
    columns: Columns = {
        "record_id": np.empty(size, np.int64),
        "event_id": np.empty(size, np.int64),
        "verdict": np.empty(size, np.int8),
        "rule": np.empty(size, np.int8),
        "reason": np.empty(size, np.int8),
        "counted_mg": np.empty(size, np.int64),
        "canonical_record_id": np.empty(size, np.int64),
    }
    fill_decisions(rows, clusters, events, TIERS, *columns.values())
    return columns


@compiled_entry
def fill_decisions(
    rows: Table,
    clusters: Table,
    events: Table,
    tiers: I8,
    record: I64,
    event: I64,
    verdict: I8,
    rule: I8,
    reason: I8,
    counted: I64,
    canonical: I64,
) -> None:
    """Fill in DECISION, a column each."""
    k = 0
    for i in range(len(rows)):
        if rows[i].live != NEW:
            continue
        root = root_of(clusters, i)
        record[k], event[k] = rows[i].record, _event_of(rows, root)
        canonical[k] = event[k]
        if root == i:
            verdict[k], rule[k], reason[k] = events[i].verdict, events[i].rule, events[i].reason
            counted[k] = events[i].mg
            if events[i].by >= 0:
                # An overlapped act names the record that has its grams.
                canonical[k] = _event_of(rows, root_of(clusters, events[i].by))
        else:
            joined = clusters[i].joined
            verdict[k], rule[k], reason[k] = DUPLICATE, tiers[joined], joined
            counted[k] = 0
        k += 1


@compiled
def _event_of(rows: Table, root: int) -> int:
    """The event of a live record is known, even if its canonical record is not at hand."""
    return int(rows[root].record if rows[root].live == NEW else rows[root].event)


def event_columns(rows: Table, clusters: Table, events: Table) -> Columns:
    """Return EVENT of the acts that began with new records, in the rows' order; behaviour as code, no versions."""
    columns: Columns = {
        "event_id": np.empty(len(rows), np.int64),
        "subject_id": np.empty(len(rows), np.int64),
        "behaviour": np.empty(len(rows), np.int16),
        "start_at": np.empty(len(rows), np.int64),
        "end_at": np.empty(len(rows), np.int64),
        "mg": np.empty(len(rows), np.int64),
        "records": np.empty(len(rows), np.int32),
    }
    size = fill_events(rows, clusters, events, *columns.values())
    return {name: values[:size] for name, values in columns.items()}


@compiled_entry
def fill_events(
    rows: Table,
    clusters: Table,
    events: Table,
    event: I64,
    subject: I64,
    behaviour: I16,
    start: I64,
    end: I64,
    mg: I64,
    records: npt.NDArray[np.int32],
) -> int:
    """Fill in EVENT, a column each; return the number of events."""
    k = 0
    for i in range(len(rows)):
        if clusters[i].parent != i or rows[i].live != NEW:
            continue
        event[k], subject[k], behaviour[k] = rows[i].record, rows[i].subject, rows[i].behaviour
        start[k], end[k] = rows[i].start, rows[i].end
        mg[k], records[k] = events[i].mg, events[i].records
        k += 1
    return k


def decision_frame(columns: Columns, policy: ClearingPolicy) -> pl.DataFrame:
    """Return coded decisions as DECISION."""
    named = {"verdict": VERDICTS, "rule": rule_words(policy), "reason": REASON_WORDS}
    frame = {name: words(values, named[name]) if name in named else values for name, values in columns.items()}
    absent = [pl.lit(None, kind).alias(name) for name, kind in DECISION_SCHEMA.items() if name not in columns]
    return pl.DataFrame(frame).with_columns(absent).select(list(DECISION_SCHEMA)).cast(DECISION_SCHEMA)


def event_frame(
    columns: Columns, catalogue: Catalogue, policy: ClearingPolicy, methodology: Methodology
) -> pl.DataFrame:
    """Return coded events as EVENT."""
    frame = pl.DataFrame(columns).with_columns(
        behaviour=words(columns["behaviour"], catalogue.behaviours),
        policy=pl.lit(policy.version),
        methodology=pl.lit(methodology.version),
    )
    return frame.cast(EVENT_SCHEMA)


def rejected_columns(bad: Table) -> Columns:
    """Return BAD, the records that cannot be cleared, as DECISION without the columns that are null for them."""
    return {
        "record_id": bad["record"].copy(),
        "verdict": np.full(len(bad), REJECTED, np.int8),
        "rule": np.full(len(bad), Rule.INPUT, np.int8),
        "reason": bad["reason"].copy(),
        "counted_mg": np.zeros(len(bad), np.int64),
    }


def words(codes: npt.NDArray[Any], names: tuple[str, ...]) -> pl.Series:
    """Return codes as words of a closed list."""
    return pl.Series(list(names), dtype=pl.String).gather(pl.Series(codes.astype(np.uint32)))
