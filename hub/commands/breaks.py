"""breaks and window report: where statements differ, and what both sides make of it. I/O: terminal, the database, files."""

from pathlib import Path
from typing import Annotated, Any

import typer

from hub.clock import Clock
from hub.commands.access import leaves_a_trace
from hub.commands.console import AS_JSON, opened_hub, out, print_json, table
from hub.context import Hub
from hub.db import reading, writing
from hub.errors import Conflict
from hub.reconcile.breaks import Wanted, load_breaks, propose, require_break, sign
from hub.reconcile.lines import BreakKind
from hub.reconcile.report import age_s, load_report
from hub.reconcile.report_rows import Row, format_csv
from hub.reconcile.report_svg import report_svg
from hub.reconcile.rules import MEANING, Proposal, Side, State, choices_of
from hub.reconcile.tables import StatementBreak
from hub.staff.accounts import member_of, require_member
from hub.staff.actions import append_action
from hub.staff.rights import NO_SCOPE, AccessPurpose, Member, Right, What, find_refusal

breaks = typer.Typer(help="Differences between platforms' statements and ours.", no_args_is_help=True)
BreakId = Annotated[int, typer.Argument(max=2**63 - 1, help="The break's number, from `breaks list`.")]
By = Annotated[str, typer.Option("--by", metavar="NAME", help="The member of staff who acts; see `staff list`.")]
Window = Annotated[int | None, typer.Option(max=2**31 - 1, help="Only breaks of this window.")]
Platform = Annotated[str | None, typer.Option(help="Only breaks of this participant.")]
OfState = Annotated[State | None, typer.Option("--state", help="Only breaks of this state; else all that live.")]
_MOST = 1_000_000


@breaks.command("list")
@leaves_a_trace("staff.breaks_list", AccessPurpose.SETTLEMENT)
def list_all(
    window: Window = None,
    platform: Platform = None,
    state: OfState = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="How many at most, the oldest first.")] = 50,
    as_json: bool = AS_JSON,
) -> None:
    """List breaks with their age, owner and proposal."""
    with opened_hub() as hub:
        documents = _load(hub, _wanted(window, platform, state), limit)
    if as_json:
        print_json(documents)
        return
    names = ["break", "window", "platform", "stream", "kind", "ours", "theirs", "state", "owner", "proposal"]
    cells = [[*("" if one[n] is None else one[n] for n in names), _age(one["age_s"])] for one in documents]
    table("Breaks", [*names, "age"], cells, numbers=frozenset({0, 1, 5, 6, 10}))


@breaks.command("show")
@leaves_a_trace("staff.breaks_show", AccessPurpose.SETTLEMENT)
def show(break_id: BreakId, as_json: bool = AS_JSON) -> None:
    """Show one break: both sides, what may be proposed, who signed."""
    with opened_hub() as hub, reading(hub.engine) as session:
        row = require_break(session, break_id)
        told = _document(row, hub.clock)
    told |= {"choices": {str(one): MEANING[one] for one in choices_of(BreakKind(row.kind))}}
    if as_json:
        print_json(told)
        return
    choices = told.pop("choices")
    table(f"Break {break_id}", ["what", "is"], [[name, "" if one is None else one] for name, one in told.items()])
    table("May be proposed", ["proposal", "means"], [list(one) for one in choices.items()])


@breaks.command("propose")
def propose_one(
    break_id: BreakId,
    proposal: Annotated[Proposal, typer.Argument(help="What should become of it; see `breaks show`.")],
    by: By,
    note: Annotated[str, typer.Option(help="One line without anybody's name; kept, never logged.")] = "",
    as_json: bool = AS_JSON,
) -> None:
    """Propose for the hub what becomes of a break; takes back what was signed; logged."""
    with opened_hub() as hub, writing(hub.engine) as session:
        now, member = hub.clock(), _require_settler(session, by)
        row = require_break(session, break_id, hold=True)
        propose(session, row, proposal, note=note, by=member.staff_id, side=Side.HUB, now=now)
        _note_action(session, member, row, What.BREAK_PROPOSED, now)
        told = _document(row, hub.clock)
    _tell(told, as_json=as_json)


@breaks.command("sign")
def sign_one(
    break_id: BreakId,
    proposal: Annotated[Proposal, typer.Argument(help="What is signed: what is proposed for it now.")],
    by: By,
    as_json: bool = AS_JSON,
) -> None:
    """Sign for the hub what is proposed; with the platform's signature the break is closed; logged."""
    with opened_hub() as hub, writing(hub.engine) as session:
        now, member = hub.clock(), _require_settler(session, by)
        row = require_break(session, break_id, hold=True)
        sign(session, row, proposal, by=member.staff_id, side=Side.HUB, now=now)
        _note_action(session, member, row, What.BREAK_SIGNED, now)
        told = _document(row, hub.clock)
    _tell(told, as_json=as_json)


@breaks.command("export")
@leaves_a_trace("staff.breaks_export", AccessPurpose.SETTLEMENT)
def export(
    file: Annotated[Path, typer.Argument(help="CSV file to write.")],
    window: Window = None,
    platform: Platform = None,
    every: Annotated[bool, typer.Option("--all", help="Closed ones too.")] = False,
) -> None:
    """Write breaks as CSV, one on each line; records by the hub's number, never by the platform's id."""
    import polars as pl

    with opened_hub() as hub:
        wanted = Wanted(window_id=window, platform=platform, live=not every)
        documents = _load(hub, wanted, _MOST)
    pl.DataFrame(documents, schema=dict.fromkeys(_COLUMNS, pl.String), strict=False).write_csv(file)
    out.print(f"{len(documents):,} breaks are in {file}")


def report(
    window_id: Annotated[int, typer.Argument(max=2**31 - 1, help="The window's number.")],
    csv: Annotated[Path | None, typer.Option(help="Write the rows to this file, as CSV.")] = None,
    chart: Annotated[Path | None, typer.Option(help="Draw agreed and broken claims into this SVG file.")] = None,
    as_json: bool = AS_JSON,
) -> None:
    """Report a window's reconciliation: both sides of each platform and stream, what is agreed and what is broken."""
    with opened_hub() as hub, reading(hub.engine) as session:
        rows = load_report(session, window_id, hub.clock())
    if csv is not None:
        csv.write_text(format_csv(rows), encoding="utf-8", newline="")
    if chart is not None:
        chart.write_text(report_svg(rows, window_id=window_id), encoding="utf-8")
    if as_json:
        print_json([row.document() for row in rows])
        return
    columns = ["platform", "stream", "state", "ours", "theirs", "our mg", "their mg", "digest", "breaks", "oldest"]
    table(f"Statements of window {window_id}", columns, [_cells(row) for row in rows], numbers=frozenset(range(3, 7)))
    for file in (csv, chart):
        if file is not None:
            out.print(f"written: {file}")


_COLUMNS = (
    "break", "window", "platform", "stream", "kind", "record", "delivery_id", "ours", "theirs", "mg", "state", "owner",
    "proposal", "note", "age_s", "opened_at", "proposed_by", "proposed_at", "platform_signed_by", "platform_signed_at",
    "hub_signed_by", "hub_signed_at", "closed_at", "closed_why",
)  # fmt: skip


def _wanted(window: int | None, platform: str | None, state: State | None) -> Wanted:
    return Wanted(window_id=window, platform=platform, state=state, live=state is None)


def _load(hub: Hub, wanted: Wanted, limit: int) -> list[dict[str, Any]]:
    with reading(hub.engine) as session:
        return [_document(row, hub.clock) for row in load_breaks(session, wanted, limit=limit)]


def _document(row: StatementBreak, clock: Clock) -> dict[str, Any]:
    told = {
        **row.model_dump(exclude={"source_id", "source_sealed"}),
        "break": row.break_id, "window": row.window_id, "record": row.record_id, "stream": row.stream or None,
        "age_s": age_s(row, clock()),
    }  # fmt: skip
    return {name: told[name].isoformat() if hasattr(told[name], "isoformat") else told[name] for name in _COLUMNS}


def _tell(told: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(told)
        return
    out.print(f"break {told['break']} ({told['kind']}, {told['platform']}): {told['state']}, {told['proposal']}")


def _require_settler(session: Any, name: str) -> Member:
    row = require_member(session, name)
    if row.disabled_at is not None:
        raise Conflict("this member of staff is disabled")
    member = member_of(row)
    refusal = find_refusal(member, Right.SETTLE_BREAKS, NO_SCOPE)
    if refusal is not None:
        raise Conflict(f"staff of the role {member.role} may not settle breaks ({refusal})")
    return member


def _note_action(session: Any, member: Member, row: StatementBreak, what: What, now: Any) -> None:
    ids = {"participant": row.platform, "window": str(row.window_id)}
    append_action(session, member, right=Right.SETTLE_BREAKS, what=what, now=now, ids=ids)


def _cells(row: Row) -> list[str]:
    def number(value: int | None) -> str:
        return "" if value is None else f"{value:,}"

    same = {None: "", True: "equal", False: "differs"}[row.same_digest]
    live = ", ".join(f"{count} {kind}" for kind, count in sorted(row.breaks.items()))
    return [
        row.platform, row.stream, row.state, number(row.ours_count), number(row.theirs_count), number(row.ours_mg),
        number(row.theirs_mg), same, live, "" if row.oldest_s is None else _age(row.oldest_s),
    ]  # fmt: skip


def _age(seconds: int) -> str:
    """Return an age in the largest whole unit: 59 s, 3 min, 5 h, 12 d."""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
