"""The manifest of a window: what it decided, in numbers and in roots that anyone can recompute. I/O: the database.

leaf of a decision = SHA-256 of "record|event|verdict|rule|counted|canonical" in decimal, in order of record
root = the interconnection log's Merkle tree (RFC 6962) over those digests, chained to the window before

Beside it the manifest names the window's range of records, the roots over its counted events (by key) and over the events
that it took back, and the serials of blocks that were pooled since the window before (ADR 0039). `hub/log/window_proof.py`
checks all of it from files.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from sqlalchemy import func
from sqlalchemy.orm import Session
from sqlmodel import col, select

from consent.keyring import KeyRing
from hub.clearing.event_keys import keep_event_keys, read_decision_lines, read_event_lines, read_reversal_lines
from hub.clearing.store import load_positions
from hub.clearing.tables import ClearingWindow, DecisionRow
from hub.clearing.windows import WindowState
from hub.errors import Conflict
from hub.log.merkle import commit_lines
from hub.market.serials import load_issued
from standards.canonical import canonical_bytes

MANIFEST = "tanlian-window/2"


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


def make_manifest(session: Session, ring: KeyRing, window_id: int) -> Manifest:
    """Read a cleared window back, keep the keys of its counted events, and commit to all of it."""
    positions = load_positions(session, window_id)
    sums = {"records_count": int(positions["records"].sum()), "counted_mg": _counted_mg(session, window_id)}
    keep_event_keys(session, ring, window_id)
    before = _manifest_of(session, window_id - 1)
    decisions_root = _decisions_root(session, window_id)
    previous_root = _previous_root(session, window_id)
    root = sha256(previous_root + decisions_root).digest()
    document = {
        "v": MANIFEST,
        "window": window_id,
        **_range(session, window_id),
        "records": sums["records_count"],
        "counted_mg": str(sums["counted_mg"]),
        "positions": [{k: str(v) for k, v in row.items()} for row in positions.iter_rows(named=True)],
        "decisions_root": decisions_root.hex(),
        "events": _committed(read_event_lines(session, window_id)),
        "reversals": _committed(read_reversal_lines(session, window_id)),
        "serials": load_issued(session, {one["market"]: one["last"] for one in before.get("serials", [])}),
        "root": root.hex(),
        "previous_root": previous_root.hex(),
    }
    text = canonical_bytes(document).decode()
    return Manifest(window_id=window_id, text=text, root=root, sums=sums)


def window_root(session: Session, window_id: int) -> bytes:
    """Recompute the root of a window from its decisions and the root before."""
    return sha256(_previous_root(session, window_id) + _decisions_root(session, window_id)).digest()


def _decisions_root(session: Session, window_id: int) -> bytes:
    return commit_lines(line for _, line in read_decision_lines(session, window_id)).root()


def _committed(lines: Iterable[str]) -> dict[str, Any]:
    """Commit to lines whose last part is an amount; none of them is held."""
    total = 0

    def summed() -> Iterator[str]:
        nonlocal total
        for line in lines:
            total += int(line.rpartition("|")[2])
            yield line

    tree = commit_lines(summed())
    return {"count": tree.size, "mg": str(total), "root": tree.root().hex()}


def _range(session: Session, window_id: int) -> dict[str, int | None]:
    wanted = select(col(ClearingWindow.first_seq), col(ClearingWindow.last_seq))
    first, last = session.execute(wanted.where(col(ClearingWindow.window_id) == window_id)).one()
    return {"first_seq": first, "last_seq": last}


def _manifest_of(session: Session, window_id: int) -> dict[str, Any]:
    wanted = select(col(ClearingWindow.manifest)).where(col(ClearingWindow.window_id) == window_id)
    found = session.execute(wanted).scalar_one_or_none()
    return dict(json.loads(found)) if found else {}


def _counted_mg(session: Session, window_id: int) -> int:
    wanted = select(func.coalesce(func.sum(col(DecisionRow.counted_mg)), 0))
    mine = wanted.where(col(DecisionRow.window_id) == window_id, col(DecisionRow.provisional).is_(False))
    return int(session.execute(mine).scalar_one())


def _previous_root(session: Session, window_id: int) -> bytes:
    wanted = select(col(ClearingWindow.root)).where(col(ClearingWindow.window_id) == window_id - 1)
    return session.execute(wanted).scalar_one_or_none() or bytes(32)
