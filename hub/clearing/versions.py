"""What versions, withdrawals and consent mean for clearing. Pure.

    reopen   which events of earlier windows fall, and whose reports of them are decided anew
    prepare  which records stand: the newest version known in the window, not withdrawn by its platform, allowed to be cleared

The kernel sees only what stands. Everything else still gets exactly one decision of this window, made here. ADR 0005.
"""

from dataclasses import dataclass

import polars as pl

from standards.schema import DECISION_SCHEMA, QUANTIFIED_SCHEMA, Verdict

CONTENT = [
    "subject_id", "platform", "behaviour", "start_at", "end_at", "precision", "quantity_micro", "unit", "event_key",
    "payment_key", "claimed_mg",
]  # fmt: skip
"""What two records of one platform have in common when they tell the same thing twice (T1, `hub/clearing/kernel/keys.py`)."""
TAKEN_BACK = "taken_back"
"""Why a newer version of an act that staff took back does not count: its platform cannot bring it back (ADR 0035)."""
_REVERSALS = {
    "event_id": pl.Int64(), "by_record_id": pl.Int64(), "reason": pl.String(), "decided_anew": pl.Int64(),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Reopened:
    """What a window has to decide, and what stays decided.

    `records` are the window's and those of earlier windows whose events fall. `superseded_by` is set where another
    record has taken a record's place by the end of the window. `reversals` has event_id, by_record_id, reason,
    decided_anew. `live` is what earlier windows decided and what stands beside (QUANTIFIED plus event_id, verdict,
    counted_mg, canonical_record_id). `barred` has the record_id of newer versions of acts that staff took back.
    """

    records: pl.DataFrame
    reversals: pl.DataFrame
    live: pl.DataFrame
    barred: pl.DataFrame


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """Records before the kernel.

    `standing` (QUANTIFIED) goes to the kernel. `withdrawn`, `barred` and `refused` are finished DECISION rows. `outdated` has
    record_id and superseded_by.
    """

    standing: pl.DataFrame
    withdrawn: pl.DataFrame
    barred: pl.DataFrame
    refused: pl.DataFrame
    outdated: pl.DataFrame


def reopen(records: pl.DataFrame, earlier: pl.DataFrame, *, first_seq: int, last_seq: int) -> Reopened:
    """Find the events that fall with the versions that this window brought, and add their other reports to its records.

    An event falls with the record that it is named by: the other reports of it were decided by that record, and say on
    their own what becomes of the act. One platform may tell an act twice, under two names (in two feeds, say); when it
    corrects one, the other, told alike, is superseded with it.

    Args:
        records: the window's records of some people: QUANTIFIED plus stream, superseded_by, cancelled, methodology.
        earlier: the same of earlier windows, plus event_id, verdict, reason, counted_mg, canonical_record_id, taken_back.
        first_seq, last_seq: the window's first and last number; a version that came later does not count yet.
    """
    names = records.columns
    known = (pl.col("superseded_by") <= last_seq).fill_null(value=False)
    records = records.with_columns(superseded_by=pl.when(known).then("superseded_by"))
    gone, stands = earlier.filter(known), earlier.filter(~known)
    # What only a person's own document told claims nothing: who tells of the act now may count.
    stands = stands.filter(pl.col("reason") != "declared_only").with_columns(superseded_by=pl.lit(None, pl.Int64))
    told = pl.concat([records.select(names), stands.select(names)])
    twins = _told_alike(told, pl.concat([gone.select(names), records.filter(known).select(names)]))
    records, stands = _retired(records, twins), _retired(stands, twins.filter(pl.col("by") >= first_seq))
    own = pl.col("event_id") == pl.col("record_id")
    fallen = pl.concat(
        [
            gone.filter(own & ~pl.col("taken_back") & (pl.col("superseded_by") >= first_seq)).select(
                "event_id", by_record_id="superseded_by"
            ),
            stands.filter(own & pl.col("superseded_by").is_not_null()).select("event_id", by_record_id="superseded_by"),
        ]
    )
    anew = stands.join(fallen, on="event_id", how="semi")
    counts = anew.group_by("event_id").agg(decided_anew=pl.len().cast(pl.Int64))
    reversals = fallen.join(counts, on="event_id", how="left").with_columns(
        pl.col("decided_anew").fill_null(0), reason=pl.lit("superseded_version")
    )
    live = stands.join(fallen, on="event_id", how="anti")
    return Reopened(
        records=pl.concat([records.select(names), anew.select(names)]),
        reversals=reversals.select(list(_REVERSALS)).cast(_REVERSALS).sort("event_id"),  # type: ignore[arg-type]
        live=live.select(*QUANTIFIED_SCHEMA, "event_id", "verdict", "counted_mg", "canonical_record_id"),
        barred=_barred(gone, first_seq),
    )


def prepare(records: pl.DataFrame, refused: pl.DataFrame, barred: pl.DataFrame) -> Prepared:
    """Sort the records of `reopen` for clearing.

    Args:
        barred: record_id, of `reopen`; those superseded in their turn bar the version that took their place.
        refused: record_id, reason: what consent does not allow to be cleared.
    """
    outdated = pl.col("superseded_by").is_not_null()
    newest = records.filter(~outdated)
    withdrawn = newest.filter("cancelled")
    heirs = _last_heirs(records.filter(outdated).select("record_id", "superseded_by"))
    heirs = barred.join(heirs, on="record_id", how="left").select(record_id=pl.coalesce("superseded_by", "record_id"))
    stopped = newest.filter(~pl.col("cancelled")).join(heirs, on="record_id", how="semi")
    asked = newest.filter(~pl.col("cancelled")).join(heirs, on="record_id", how="anti")
    allowed = asked.join(refused, on="record_id", how="anti")
    return Prepared(
        standing=allowed.select(list(QUANTIFIED_SCHEMA)),
        withdrawn=_decisions(withdrawn, rule="T1", reason=pl.lit("withdrawn_by_platform")),
        barred=_decisions(stopped, rule="T1", reason=pl.lit(TAKEN_BACK)),
        refused=_decisions(asked.join(refused, on="record_id"), rule="consent", reason=pl.col("reason")),
        outdated=records.filter(outdated).select("record_id", "superseded_by"),
    )


def complete(prepared: Prepared, decisions: pl.DataFrame, live: pl.DataFrame) -> pl.DataFrame:
    """Return the kernel's decisions with those of outdated, withdrawn and refused records (DECISION columns)."""
    decided = pl.concat(
        [decisions.select(list(DECISION_SCHEMA)), prepared.withdrawn, prepared.barred, prepared.refused]
    )
    told = ["record_id", "event_id", "canonical_record_id"]
    heirs = pl.concat([decided.select(told), live.select(told)]).rename(
        {"record_id": "superseded_by", "canonical_record_id": "heir"}
    )
    rows = _last_heirs(prepared.outdated).join(heirs, on="superseded_by", how="left")
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


def _barred(gone: pl.DataFrame, first_seq: int) -> pl.DataFrame:
    """Return record_id of the versions that came after staff had taken an act back, and of those that came after such ones."""
    own = (pl.col("event_id") == pl.col("record_id")) & pl.col("taken_back")
    again = (own | (pl.col("reason") == TAKEN_BACK)) & (pl.col("superseded_by") >= first_seq)
    return gone.filter(again).select(record_id="superseded_by")


def _told_alike(told: pl.DataFrame, gone: pl.DataFrame) -> pl.DataFrame:
    """Return record_id and `by`: standing records that say what their platform has since corrected under another name.

    Without an origin key, two ids of one feed are two records, and correcting one says nothing about the other. And a
    correction of what clearing does not look at says the same as before: what is told like it stays.
    """
    heirs = _last_heirs(gone.select("record_id", "superseded_by").unique("record_id"))
    said = gone.unique("record_id").join(heirs.rename({"superseded_by": "heir"}), on="record_id")
    corrected = said.select(*CONTENT, gone="record_id", corrected="stream", by="superseded_by", heir="heir")
    stands = told.filter(pl.col("superseded_by").is_null() & ~pl.col("cancelled"))
    pairs = stands.join(corrected, on=CONTENT, how="inner", nulls_equal=True).filter(
        (pl.col("stream") != pl.col("corrected")) | pl.col("event_key").is_not_null()
    )
    same = stands.select(*CONTENT, heir="record_id")
    pairs = pairs.join(same, on=[*CONTENT, "heir"], how="anti", nulls_equal=True)
    return pairs.group_by("record_id").agg(pl.col("by").max())


def _retired(records: pl.DataFrame, twins: pl.DataFrame) -> pl.DataFrame:
    marked = records.join(twins, on="record_id", how="left", maintain_order="left")
    return marked.with_columns(superseded_by=pl.coalesce("superseded_by", "by")).drop("by")


def _last_heirs(outdated: pl.DataFrame) -> pl.DataFrame:
    """Follow versions that were superseded in their turn: the last one says what became of the act."""
    further = outdated.rename({"record_id": "superseded_by", "superseded_by": "next"})
    for _ in range(len(outdated)):
        step = outdated.join(further, on="superseded_by", how="left", maintain_order="left")
        if step["next"].null_count() == len(step):
            break
        outdated = step.select("record_id", superseded_by=pl.coalesce("next", "superseded_by"))
    return outdated


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
