"""anomalies: what was held and why, in figures, and which platforms drift. I/O: terminal, the database."""

from typing import Annotated, Any

import polars as pl
import typer
from sqlalchemy.orm import Session

from hub.clearing.reviews.anomalies import figures_of, summarise
from hub.clearing.reviews.drift import DRIFT, find_drift, measure_window
from hub.clearing.reviews.holds import load_acts, load_open_holds, load_window
from hub.clearing.windows import load_windows
from hub.commands.access import leaves_a_trace
from hub.commands.console import AS_JSON, opened_hub, out, print_json, table
from hub.db import reading
from hub.errors import NotFound
from hub.staff.rights import AccessPurpose
from standards.policy import ClearingPolicy, load_policy


@leaves_a_trace("staff.anomalies", AccessPurpose.REVIEW)
def anomalies(
    window: Annotated[
        int | None,
        typer.Option("--window", metavar="ID", max=2**31 - 1, help="A cleared window; the newest if not given."),
    ] = None,
    as_json: bool = AS_JSON,
) -> None:
    """Say what a window held, by reason and with figures, and which platforms' figures are not what theirs were.

    A platform is compared with its own earlier windows only. Drift holds nothing: it says where to look.
    """
    policy = load_policy()
    with opened_hub() as hub, reading(hub.engine) as session:
        cleared = [row.window_id for row in load_windows(session) if row.cleared_at is not None]
        if not cleared or (window is not None and window not in cleared):
            raise NotFound("no window is cleared yet" if window is None else f"window {window} is not cleared")
        window_id = cleared[-1] if window is None else window
        held = load_open_holds(session, window_id)
        acts = load_acts(session, held["subject_id"].unique().to_list())
        drifting = _drift(session, policy, [one for one in cleared if one <= window_id])
    reasons = summarise(held, figures_of(held, acts, policy))
    if as_json:
        print_json({"window": window_id, "holds": reasons.to_dicts(), "drift": drifting.to_dicts()})
        return
    _tell(window_id, reasons, drifting)


def _drift(session: Session, policy: ClearingPolicy, windows: list[int]) -> pl.DataFrame:
    """Measure window by window, so that no more than one is in memory."""
    rules = policy.doubts.drift
    if rules is None:
        return pl.DataFrame(schema=DRIFT)
    looked_at = windows[-(rules.history + 1) :]
    parts = [measure_window(load_window(session, one), one, policy) for one in looked_at]
    return find_drift(parts, windows[-1], rules)


def _tell(window_id: int, reasons: pl.DataFrame, drifting: pl.DataFrame) -> None:
    cells = [
        [
            row["rule"], row["reason"], f"{row['holds']:,}", f"{row['people']:,}", _number(row["median"]),
            _number(row["most"]), _number(row["limit"]), row["measure"] or "", f"{row['reference_mg'] or 0:,}",
        ]
        for row in reasons.iter_rows(named=True)
    ]  # fmt: skip
    columns = ["rule", "reason", "holds", "people", "median", "most", "limit", "of", "mg held"]
    table(
        f"Holds of window {window_id} that wait for a decision", columns, cells, numbers=frozenset({2, 3, 4, 5, 6, 8})
    )
    rows: list[list[Any]] = [
        [
            row["platform"], row["measure"], row["behaviour"] or "", _number(row["from_value"]), _number(row["to_value"]),
            "never moved" if row["deviations"] is None else f"{row['deviations']:,.1f}", row["windows"],
        ]
        for row in drifting.iter_rows(named=True)
    ]  # fmt: skip
    columns = ["platform", "figure", "behaviour", "from", "to", "deviations", "windows before"]
    table("Platforms that drift", columns, rows, numbers=frozenset({3, 4, 5, 6}))
    out.print(f"{int(reasons['holds'].sum()):,} holds, {drifting['platform'].n_unique():,} platforms drift")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.4g}" if abs(value) < 1_000 else f"{value:,.0f}"
