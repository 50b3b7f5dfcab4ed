"""A row of a window's reconciliation, and rows as CSV. Pure."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from hub.reconcile.lines import BreakKind

NO_STATEMENT = "no_statement"
SETTLED = "settled"
OF_DELIVERIES = "(deliveries)"
COLUMNS = (
    "window", "platform", "stream", "state", "ours_count", "theirs_count", "ours_mg", "theirs_mg", "same_digest",
    "matched_mg", "broken_mg", "live_breaks", *(str(kind) for kind in BreakKind), "signed", "oldest_s", "compared_at",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Both sides of one stream, or of a platform's deliveries (counted in rows).

    `state` is matched, breaks, settled (both sides signed all that differs), lines_wanted or no_statement. `breaks` counts
    what is not closed, by kind; `oldest_s` is the age of the oldest of them. What nobody knows is None.
    """

    window: int
    platform: str
    stream: str
    state: str
    ours_count: int
    theirs_count: int | None = None
    ours_mg: int | None = None
    theirs_mg: int | None = None
    same_digest: bool | None = None
    matched_mg: int | None = None
    broken_mg: int = 0
    breaks: dict[str, int]
    signed: int = 0
    oldest_s: int | None = None
    compared_at: datetime | None = None

    def document(self) -> dict[str, Any]:
        """Return the row for JSON and CSV, in the order of COLUMNS."""
        told = {name: getattr(self, name) for name in COLUMNS if hasattr(self, name)}
        told |= {str(kind): self.breaks.get(str(kind), 0) for kind in BreakKind}
        told |= {"live_breaks": sum(self.breaks.values())}
        told["compared_at"] = None if self.compared_at is None else self.compared_at.isoformat()
        return {name: told[name] for name in COLUMNS}


def format_csv(rows: Sequence[Row]) -> str:
    """Return rows as CSV with a header (RFC 4180), times as RFC 3339, masses as whole milligrams."""
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, COLUMNS)
    writer.writeheader()
    writer.writerows(row.document() for row in rows)
    return out.getvalue()
