"""What versions, withdrawals and consent mean for clearing. Pure.

The kernel sees only records that stand: the newest version known in the window, not withdrawn by its platform, allowed
to be cleared. Everything else still gets exactly one decision, made here.
"""

from dataclasses import dataclass

import polars as pl

from standards.schema import DECISION_SCHEMA, QUANTIFIED_SCHEMA, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A window's records before the kernel.

    `standing` (QUANTIFIED) goes to the kernel. `withdrawn` and `refused` are finished DECISION rows. `outdated` has
    record_id and superseded_by. `reversals` has event_id, by_record_id, reason: events of earlier windows whose canonical
    record got a new version; `live` is what is left of the earlier windows' records.
    """

    standing: pl.DataFrame
    withdrawn: pl.DataFrame
    refused: pl.DataFrame
    outdated: pl.DataFrame
    reversals: pl.DataFrame
    live: pl.DataFrame


def prepare(
    records: pl.DataFrame,
    *,
    last_seq: int,
    live: pl.DataFrame,
    predecessors: pl.DataFrame,
    refused: pl.DataFrame,
) -> Prepared:
    """Sort a window's records for clearing.

    Args:
        records: QUANTIFIED plus superseded_by, cancelled.
        last_seq: the window's last number; a version that came later belongs to a later window and does not count yet.
        live: QUANTIFIED plus event_id, verdict, counted_mg, canonical_record_id of earlier windows.
        predecessors: by_record_id, record_id, event_id, verdict: cleared decisions whose record has a newer version here.
        refused: record_id, reason: what consent does not allow to be cleared.
    """
    outdated = pl.col("superseded_by").is_not_null() & (pl.col("superseded_by") <= last_seq)
    newest = records.filter(~outdated)
    withdrawn = newest.filter("cancelled")
    asked = newest.filter(~pl.col("cancelled"))
    allowed = asked.join(refused, on="record_id", how="anti")
    # Also where the newer version was itself superseded in this window: the old event does not count any more, and only
    # the first of the later versions names it.
    reversals = predecessors.filter(pl.col("verdict") == Verdict.COUNTED).select(
        "event_id", "by_record_id", reason=pl.lit("superseded_version")
    )
    still = live.join(reversals, on="event_id", how="anti")
    return Prepared(
        standing=allowed.select(list(QUANTIFIED_SCHEMA)),
        withdrawn=_decisions(withdrawn, rule="T1", reason=pl.lit("withdrawn_by_platform")),
        refused=_decisions(asked.join(refused, on="record_id"), rule="consent", reason=pl.col("reason")),
        outdated=records.filter(outdated).select("record_id", "superseded_by"),
        reversals=reversals,
        live=still,
    )


def complete(prepared: Prepared, decisions: pl.DataFrame) -> pl.DataFrame:
    """Return the kernel's decisions with those of outdated, withdrawn and refused records (DECISION columns)."""
    decided = pl.concat([decisions.select(list(DECISION_SCHEMA)), prepared.withdrawn, prepared.refused])
    heirs = decided.select("record_id", "event_id", heir=pl.col("canonical_record_id"))
    rows = prepared.outdated.join(heirs, left_on="superseded_by", right_on="record_id", how="left")
    outdated = rows.select(
        "record_id",
        "event_id",
        verdict=pl.when(pl.col("event_id").is_null()).then(pl.lit("rejected")).otherwise(pl.lit("duplicate")),
        rule=pl.lit("T1"),
        reason=pl.lit("superseded_version"),
        counted_mg=pl.lit(0, pl.Int64),
        canonical_record_id=pl.col("heir"),
    )
    return pl.concat([decided, outdated.select(list(DECISION_SCHEMA)).cast(DECISION_SCHEMA)])


def _decisions(rows: pl.DataFrame, *, rule: str, reason: pl.Expr) -> pl.DataFrame:
    return rows.select(
        "record_id",
        event_id=pl.lit(None, pl.Int64),
        verdict=pl.lit(str(Verdict.REJECTED)),
        rule=pl.lit(rule),
        reason=reason,
        counted_mg=pl.lit(0, pl.Int64),
        canonical_record_id=pl.lit(None, pl.Int64),
    ).cast(DECISION_SCHEMA)
