"""Compare what a platform says it delivered with what the hub took. I/O: the database; `compare` alone is pure.

Deliveries are paired by their id, as X-Road pairs the two sides' logs by message id. Every difference gets a type:
`missing_here` (they sent, we have nothing), `missing_there` (we have it, they deny it), `rows` (other number of rows).
"""

import json
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

import polars as pl
from sqlalchemy.orm import Session

from hub.clearing.tables import Reconciliation
from hub.db import load_frame
from hub.reconcile.lines import BREAK_SCHEMA, BreakKind

STATEMENT_SCHEMA = {"delivery_id": pl.String(), "rows": pl.Int64()}
MATCHED, BREAKS, LINES_WANTED = "matched", "breaks", "lines_wanted"
"""What a comparison comes to; lines are wanted where two totals differ and nobody can tell yet where."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """Both sides of one platform and window, and the typed breaks (delivery_id, kind, ours, theirs)."""

    ours: pl.DataFrame
    theirs: pl.DataFrame
    breaks: pl.DataFrame


def compare(ours: pl.DataFrame, theirs: pl.DataFrame) -> Compared:
    """Pair two statements (STATEMENT_SCHEMA); a delivery that brought the hub nothing new may be missing here."""
    paired = ours.join(theirs, on="delivery_id", how="full", suffix="_theirs", coalesce=True)
    kind = (
        pl.when(pl.col("rows").is_null())
        .then(pl.lit(str(BreakKind.MISSING_HERE)))
        .when(pl.col("rows_theirs").is_null())
        .then(pl.lit(str(BreakKind.MISSING_THERE)))
        .when(pl.col("rows") != pl.col("rows_theirs"))
        .then(pl.lit(str(BreakKind.ROWS)))
    )
    breaks = paired.select("delivery_id", kind=kind, ours="rows", theirs="rows_theirs").drop_nulls("kind")
    return Compared(ours=ours, theirs=theirs, breaks=breaks.sort("delivery_id"))


def load_statement(session: Session, window_id: int, platform: str) -> pl.DataFrame:
    """Load our side: a platform's deliveries that fell into a window; replays, restatements and releases are ours alone."""
    sql = (
        "SELECT delivery_id, rows FROM batch WHERE window_id = :w AND platform = :p "
        "AND origin NOT IN ('replayed', 'restated', 'released') ORDER BY delivery_id"
    )
    return load_frame(session, sql, STATEMENT_SCHEMA, w=window_id, p=platform)


def load_restated(session: Session, window_id: int, platform: str) -> pl.DataFrame:
    """Load what the hub restated or released of a platform's records in a window: nobody sent it, so it is not compared."""
    sql = (
        "SELECT delivery_id, rows FROM batch WHERE window_id = :w AND platform = :p AND origin IN ('restated', 'released') "
        "ORDER BY batch_id"
    )
    return load_frame(session, sql, STATEMENT_SCHEMA, w=window_id, p=platform)


def load_elsewhere_deliveries(session: Session, window_id: int, platform: str) -> pl.DataFrame:
    """Load the delivery ids of the platform in other windows: theirs may overlap at the border, which is no break."""
    sql = "SELECT delivery_id FROM batch WHERE window_id <> :w AND platform = :p"
    return load_frame(session, sql, {"delivery_id": pl.String()}, w=window_id, p=platform)


def as_breaks(compared: Compared) -> pl.DataFrame:
    """Return the breaks of deliveries as BREAK_SCHEMA; nobody knows how many grams are in a delivery that is not there."""
    lacking = {name: kind for name, kind in BREAK_SCHEMA.items() if name not in compared.breaks.columns}
    empty = [pl.lit(0 if name == "mg" else None, kind).alias(name) for name, kind in lacking.items()]
    return compared.breaks.with_columns(empty).select(list(BREAK_SCHEMA)).cast(BREAK_SCHEMA)


def store_comparison(
    session: Session,
    window_id: int,
    platform: str,
    compared: Compared | None,
    *,
    streams: Collection[str],
    now: datetime,
) -> Reconciliation:
    """Keep the newest comparison of a platform and window.

    Args:
        compared: None where the statement named no deliveries: what was found of them before stays.
        streams: the states of all its streams that were ever compared for this window; the worst state is the row's.
    """
    row = session.get(Reconciliation, (window_id, platform))
    if row is None:
        row = Reconciliation(
            window_id=window_id, platform=platform, state="", ours_deliveries=0, ours_rows=0, compared_at=now
        )
        session.add(row)
    ours = load_statement(session, window_id, platform) if compared is None else compared.ours
    row.ours_deliveries, row.ours_rows = len(ours), int(ours["rows"].sum())
    if compared is not None:
        row.theirs_deliveries, row.theirs_rows = len(compared.theirs), int(compared.theirs["rows"].sum())
        row.breaks = json.dumps(compared.breaks.to_dicts())
    states = {*streams, MATCHED if json.loads(row.breaks) == [] else BREAKS}
    row.state = next(state for state in (BREAKS, LINES_WANTED, MATCHED) if state in states)
    row.compared_at = now
    session.flush()
    return row
