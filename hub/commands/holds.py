"""holds: what clearing set aside, and what a reviewer decides about it. I/O: terminal, the database."""

from typing import Annotated, Any

import polars as pl
import typer

from hub.clearing.reviews.anomalies import figures_of
from hub.clearing.reviews.holds import load_acts, load_open_holds, load_standing
from hub.clearing.reviews.reviews import Outcome
from hub.clock import from_micros
from hub.commands.access import leaves_a_trace
from hub.commands.console import AS_JSON, opened_hub, out, print_json, table
from hub.db import reading
from hub.errors import NotFound
from hub.records.release import decide_hold
from hub.staff.rights import AccessPurpose
from standards.policy import load_policy

holds = typer.Typer(help="Acts that clearing holds, and what a reviewer decides about them.", no_args_is_help=True)
RecordId = Annotated[int, typer.Argument(max=2**63 - 1, help="The held record's number, from `holds list`.")]
By = Annotated[str, typer.Option("--by", metavar="NAME", help="The member of staff who decides; see `staff list`.")]
Why = Annotated[
    str, typer.Option("--why", help="Why, in one line without anybody's name; kept, and logged as a digest.")
]


@holds.command("list")
@leaves_a_trace("staff.holds_list", AccessPurpose.REVIEW)
def list_all(
    reason: Annotated[str | None, typer.Option(help="Only holds of this reason, such as implausible_speed.")] = None,
    platform: Annotated[str | None, typer.Option(help="Only acts that this participant's record stands for.")] = None,
    window: Annotated[int | None, typer.Option(max=2**31 - 1, help="Only what this window held.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="How many at most, the oldest first.")] = 50,
    as_json: bool = AS_JSON,
) -> None:
    """List the holds that nobody has decided about, with what was measured and how much there may be."""
    with opened_hub() as hub, reading(hub.engine) as session:
        found = load_open_holds(session, window)
        for name, wanted in (("reason", reason), ("platform", platform)):
            found = found if wanted is None else found.filter(pl.col(name) == wanted)
        shown = found.head(limit)
        acts = load_acts(session, shown["subject_id"].unique().to_list())
    rows = shown.join(figures_of(shown, acts, load_policy()), on="record_id", how="left", maintain_order="left")
    told = [_document(row) for row in rows.iter_rows(named=True)]
    if as_json:
        print_json({"open": len(found), "holds": told})
        return
    cells = [
        [*(row[n] for n in ("record", "window", "platform", "behaviour", "at", "reason")), _figure(row)] for row in told
    ]
    table(
        "Holds",
        ["record", "window", "platform", "behaviour", "at", "reason", "measured"],
        cells,
        numbers=frozenset({0, 1}),
    )
    out.print(f"{len(found):,} holds wait for a decision")


@holds.command("show")
@leaves_a_trace("staff.holds_show", AccessPurpose.REVIEW)
def show(record_id: RecordId, as_json: bool = AS_JSON) -> None:
    """Show one hold: its figures, and the reports of the act."""
    with opened_hub() as hub, reading(hub.engine) as session:
        standing = load_standing(session, record_id)
        if standing is None or standing.verdict is None:
            raise NotFound(f"there is no decision about a record {record_id}")
        acts = load_acts(session, [standing.subject_id])
    mine = acts.filter(pl.col("event_id") == standing.event_id).sort("record_id")
    held = mine.filter(pl.col("record_id") == pl.col("event_id"), pl.col("verdict") == "held")
    figures = held.join(figures_of(held, acts, load_policy()), on="record_id", how="left")
    document: dict[str, Any] = {
        "record": record_id, "verdict": standing.verdict, "rule": standing.rule, "reason": standing.reason,
        "provisional": standing.provisional, "reviewed": standing.reviewed,
        "hold": _document(figures.row(0, named=True)) if len(figures) else None,
        "reports": [_report(row) for row in mine.iter_rows(named=True)],
    }  # fmt: skip
    if as_json:
        print_json(document)
        return
    out.print(
        f"record {record_id}: {standing.verdict}, {standing.rule}, {standing.reason}; review: {standing.reviewed or 'none'}"
    )
    if document["hold"]:
        out.print(f"measured: {_figure(document['hold']) or 'nothing that has a figure'}")
    cells = [list(row.values()) for row in document["reports"]]
    table("Reports of the act", list(document["reports"][0]) if cells else ["record"], cells, numbers=frozenset({0}))


@holds.command("release")
def release(record_id: RecordId, by: By, why: Why, as_json: bool = AS_JSON) -> None:
    """Let a held act count: it is cleared again in the open window, and is not doubted again; logged."""
    _decide(record_id, Outcome.RELEASED, by, why, as_json=as_json)


@holds.command("reject")
def reject(record_id: RecordId, by: By, why: Why, as_json: bool = AS_JSON) -> None:
    """Say that a held act never counts; logged."""
    _decide(record_id, Outcome.REJECTED, by, why, as_json=as_json)


def _decide(record_id: int, outcome: Outcome, by: str, why: str, *, as_json: bool) -> None:
    with opened_hub() as hub:
        done = decide_hold(hub, record_id, outcome, by=by, why=why, now=hub.clock())
    if as_json:
        print_json(
            {
                "record": record_id, "outcome": str(done.outcome), "rule": done.rule, "reason": done.reason,
                "window": done.window_id, "new_record": done.record_id, "review": done.digest.hex(),
            }
        )  # fmt: skip
        return
    further = f"; record {done.record_id} is cleared with window {done.window_id}" if done.record_id else ""
    out.print(f"record {record_id} ({done.reason}): {done.outcome}{further}; review {done.digest.hex()[:16]}")


def _document(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "record": row["record_id"], "window": row["window_id"], "platform": row["platform"],
        "behaviour": row["behaviour"], "at": f"{from_micros(row['start_us']):%Y-%m-%d %H:%M}Z", "rule": row["rule"],
        "reason": row["reason"], "value": row["value"], "limit": row["limit"], "measure": row["measure"],
        "other_record": row["other_record_id"], "reference_mg": row["reference_mg"],
    }  # fmt: skip


def _report(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "record": row["record_id"], "platform": row["platform"], "role": row["role"], "behaviour": row["behaviour"],
        "begin": f"{from_micros(row['start_us']):%Y-%m-%d %H:%M:%S}Z", "end": f"{from_micros(row['end_us']):%H:%M:%S}Z",
        "quantity": None if row["quantity_micro"] is None else row["quantity_micro"] / 1_000_000, "unit": row["unit"],
        "verdict": row["verdict"], "reason": row["reason"],
    }  # fmt: skip


def _figure(row: dict[str, Any]) -> str:
    if row["value"] is None:
        return ""
    return f"{row['value']:,.1f} {row['measure']}, at most {row['limit']:,.0f}"
