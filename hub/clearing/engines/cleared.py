"""One range of buckets, cleared and written, and what all ranges come to: the same in every engine. I/O: writes files."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from hub.clearing.engines.writing import (
    DECISIONS,
    EVENTS,
    Words,
    digest_buckets,
    root_of_digests,
    write_columns,
)
from hub.clearing.kernel.apply import apply_facts
from hub.clearing.kernel.clear import decide
from hub.clearing.kernel.codes import Catalogue
from hub.clearing.kernel.compiled import compiled_entry
from hub.clearing.kernel.encode import bucket_keys
from hub.clearing.kernel.facts import Facts
from hub.clearing.kernel.outcome import Columns, decision_columns, event_columns, rejected_columns, rule_words
from hub.clearing.kernel.rows import I8, I16, I64, NEW, Rules, Table
from hub.clearing.kernel.valuing import Valuer
from hub.clearing.kernel.vocabulary import REASON_WORDS, VERDICTS
from standards.canonical import BUCKETS
from standards.methodology import Methodology
from standards.policy import ClearingPolicy

COUNTS = ("records", "claimed_mg", "counted_mg", *VERDICTS[1:])
POSITIONS = pl.Schema({"platform": pl.String()} | {name: pl.Int64() for name in COUNTS})


@dataclass(frozen=True, slots=True, kw_only=True)
class Naming:
    """What the codes of a run stand for."""

    catalogue: Catalogue
    platforms: tuple[str, ...]
    """All of the run, in alphabetical order."""
    policy: ClearingPolicy
    methodology: Methodology

    @property
    def decision_words(self) -> Words:
        """Return the words of a decision's coded columns."""
        return {"verdict": VERDICTS, "rule": rule_words(self.policy), "reason": REASON_WORDS}

    @property
    def event_words(self) -> Words:
        """Return the words of an event's coded columns."""
        return {
            "behaviour": self.catalogue.behaviours,
            "policy": (self.policy.version,),
            "methodology": (self.methodology.version,),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What one range came to."""

    events: int
    verdicts: Counter[str]
    positions: pl.DataFrame
    """POSITIONS."""
    digests: dict[int, bytes]
    """By bucket; the rejected records of the whole run stand for one more."""

    def document(self) -> dict[str, Any]:
        """Return the same in the types of JSON, for `from_document`."""
        return {
            "events": self.events,
            "verdicts": dict(self.verdicts),
            "positions": self.positions.select(list(POSITIONS)).rows(),
            "digests": {str(bucket): digest.hex() for bucket, digest in self.digests.items()},
        }

    @classmethod
    def from_document(cls, told: dict[str, Any]) -> "Written":
        """Return what `document` told."""
        return cls(
            events=told["events"],
            verdicts=Counter(told["verdicts"]),
            positions=pl.DataFrame(told["positions"], POSITIONS, orient="row"),
            digests={int(bucket): bytes.fromhex(digest) for bucket, digest in told["digests"].items()},
        )


def clear_range(
    rows: Table, facts: Facts, rules: Rules, valuer: Valuer, naming: Naming, *, decisions_to: Path, events_to: Path
) -> Written:
    """Value and clear sorted ROW of whole buckets, which is changed, and write decisions and events as Parquet files."""
    valuer.fill(rows)
    apply_facts(rows, facts, rules)
    clusters, events = decide(rows, rules)
    decisions, begun = decision_columns(rows, clusters, events), event_columns(rows, clusters, events)
    write_columns(decisions, DECISIONS, naming.decision_words, decisions_to)
    count = len(begun["event_id"])
    versions = {"policy": np.zeros(count, np.int8), "methodology": np.zeros(count, np.int8)}
    write_columns(begun | versions, EVENTS, naming.event_words, events_to)
    buckets = (bucket_keys(rows) >> np.uint64(64 - BUCKETS.bit_length() + 1)).astype(np.int16)
    platform, claim = rows["platform"], rows["claim"]
    if len(buckets) > len(decisions["record_id"]):
        is_new = rows["live"] == NEW
        buckets, platform, claim = buckets[is_new], platform[is_new], claim[is_new]
    return Written(
        events=count,
        verdicts=_count_verdicts(decisions),
        positions=_sum_positions(decisions, platform, claim, naming.platforms),
        digests=digest_buckets(decisions, buckets),
    )


def write_rejected(bad: Table, naming: Naming, *, decisions_to: Path) -> Written:
    """Write the decisions about all BAD of a run, platforms by alphabetical order or -1; no file if there are none.

    Such records may have no person, so they belong to no bucket.
    """
    bad = bad[np.argsort(bad["record"])]
    decisions = rejected_columns(bad)
    if len(bad):
        write_columns(decisions, DECISIONS, naming.decision_words, decisions_to)
    known = bad["platform"] >= 0
    of_known = {name: values[known] for name, values in decisions.items()}
    return Written(
        events=0,
        verdicts=_count_verdicts(decisions),
        positions=_sum_positions(of_known, bad["platform"][known], bad["claim"][known], naming.platforms),
        digests=digest_buckets(decisions, np.full(len(bad), BUCKETS, np.int16)),
    )


def total_positions(written: Iterable[Written]) -> pl.DataFrame:
    """Return POSITIONS of the run, by platform."""
    return pl.concat([part.positions for part in written]).group_by("platform").sum().sort("platform")


def sums_of(written: Iterable[Written]) -> dict[str, Any]:
    """Return the part of the manifest that the decisions alone determine."""
    parts = list(written)
    verdicts = sum((part.verdicts for part in parts), Counter[str]())
    digests = {bucket: digest for part in parts for bucket, digest in part.digests.items()}
    return {
        "events": sum(part.events for part in parts),
        "counted_mg": sum(int(part.positions["counted_mg"].sum()) for part in parts),
        "verdicts": {word: verdicts[word] for word in VERDICTS},
        "root": root_of_digests([digests[bucket] for bucket in sorted(digests)]),
    }


def _count_verdicts(decisions: Columns) -> Counter[str]:
    counts = np.bincount(decisions["verdict"], minlength=len(VERDICTS))
    return Counter(dict(zip(VERDICTS, counts.tolist(), strict=True)))


def _sum_positions(decisions: Columns, platform: I16, claim: I64, platforms: tuple[str, ...]) -> pl.DataFrame:
    """Return what each platform's records of a range came to."""
    sums = np.zeros((len(platforms), len(COUNTS)), np.int64)
    add_up(platform.astype(np.int16), claim.astype(np.int64), decisions["verdict"], decisions["counted_mg"], sums)
    columns = dict(zip(COUNTS, sums.T, strict=True))
    return pl.DataFrame({"platform": list(platforms)} | columns, POSITIONS).filter(pl.col("records") > 0)


@compiled_entry
def add_up(platform: I16, claim: I64, verdict: I8, counted: I64, sums: I64) -> None:
    """Add records to COUNTS of their platforms."""
    for i in range(len(platform)):
        place = platform[i]
        sums[place, 0] += 1
        sums[place, 1] += max(claim[i], 0)
        sums[place, 2] += counted[i]
        # The first verdict has no column: its records are those that are in no other.
        if verdict[i] > 0:
            sums[place, 2 + verdict[i]] += 1
