"""The manifest of a window: what it decided, in numbers and in one root that anyone can recompute. I/O: reads the database.

leaf of a decision = SHA-256 of "record|event|verdict|rule|counted|canonical" in decimal, in order of record
root = the interconnection log's Merkle tree (RFC 6962) over those digests, chained to the window before
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

import polars as pl
from sqlalchemy.orm import Session
from sqlmodel import col, select

from hub.clearing.store import load_positions
from hub.clearing.tables import ClearingWindow
from hub.clearing.windows import WindowState
from hub.db import load_frame
from hub.errors import Conflict
from hub.log.merkle import commitment_root
from standards.canonical import canonical_bytes

ROOT_SCHEMA = {
    "record_id": pl.Int64(),
    "event_id": pl.Int64(),
    "verdict": pl.String(),
    "rule": pl.String(),
    "counted_mg": pl.Int64(),
    "canonical_record_id": pl.Int64(),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A final window's facts; `root` commits to every decision and to the window before."""

    window_id: int
    text: str
    root: bytes
    sums: dict[str, Any]

    def leaf_fields(self) -> dict[str, Any]:
        """Return what the log says of the final window."""
        return {
            "window": self.window_id,
            "root": self.root,
            "manifest": sha256(self.text.encode()).digest(),
            **self.sums,
        }


def require_finalisable(
    session: Session, window: ClearingWindow, *, now: datetime, period: timedelta, waived: bool
) -> None:
    """Raise Conflict unless the window may become final now; `waived` ends the challenge period early (sandbox, operator)."""
    if window.state != WindowState.PROVISIONAL or window.provisional_at is None:
        raise Conflict(f"window {window.window_id} is {window.state}; only a provisional window becomes final")
    if not waived and now < window.provisional_at + period:
        raise Conflict(
            f"window {window.window_id} can be challenged until {window.provisional_at + period:%Y-%m-%d %H:%M}Z"
        )
    earlier = select(col(ClearingWindow.window_id)).where(
        col(ClearingWindow.window_id) < window.window_id, col(ClearingWindow.state) != WindowState.FINAL
    )
    open_before = session.execute(earlier.limit(1)).scalar_one_or_none()
    if open_before is not None:
        raise Conflict(f"window {open_before} comes before and is not final yet")


def make_manifest(session: Session, window_id: int) -> Manifest:
    """Read a cleared window back and commit to it."""
    positions = load_positions(session, window_id)
    sums = {
        "records_count": int(positions["records"].sum()),
        "counted_mg": int(_decisions(session, window_id)["counted_mg"].sum() or 0),
    }
    root = window_root(session, window_id)
    document = {
        "window": window_id,
        "records": sums["records_count"],
        "counted_mg": str(sums["counted_mg"]),
        "positions": [{k: str(v) for k, v in row.items()} for row in positions.iter_rows(named=True)],
        "root": root.hex(),
        "previous_root": _previous_root(session, window_id).hex(),
    }
    text = canonical_bytes(document).decode()
    return Manifest(window_id=window_id, text=text, root=root, sums=sums)


def window_root(session: Session, window_id: int) -> bytes:
    """Recompute the root of a window from its decisions and the root before."""
    rows = _decisions(session, window_id).with_columns(pl.all().cast(pl.String).fill_null(""))
    lines = rows.select(pl.concat_str(list(ROOT_SCHEMA), separator="|")).to_series()
    digests = [sha256(line.encode()).digest() for line in lines]
    return sha256(_previous_root(session, window_id) + commitment_root(digests)).digest()


def _decisions(session: Session, window_id: int) -> pl.DataFrame:
    sql = (
        "SELECT record_id, event_id, verdict, rule, counted_mg, canonical_record_id FROM decision "
        "WHERE window_id = :w AND provisional = :no ORDER BY record_id"
    )
    return load_frame(session, sql, ROOT_SCHEMA, w=window_id, no=False)


def _previous_root(session: Session, window_id: int) -> bytes:
    wanted = select(col(ClearingWindow.root)).where(col(ClearingWindow.window_id) == window_id - 1)
    return session.execute(wanted).scalar_one_or_none() or bytes(32)
