"""standards restate: value past records by another version of the methodology. I/O: terminal, the database."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from hub.commands.console import AS_JSON, opened_hub, out, print_json, progress_bars, table
from hub.context import Hub
from hub.db import reading
from hub.errors import NotFound
from hub.records.restate import Step, count_standing, preview, require_restatement
from hub.records.restate import restate as restate_step
from hub.records.restatement import Left, Restated, Restatement, add_up

_DAYS = ["%Y-%m-%d"]
_LEFT = {
    Left.REFUSED: "their people do not allow clearing and crediting now",
    Left.ERASED: "their people were erased",
    Left.UNREADABLE: "what was kept of them cannot be read",
    Left.ELSEWHERE: "their acts count by a record that stays, or brought no grams",
}


def restate(
    old: Annotated[str, typer.Option("--from", metavar="VERSION", help="The version that the records pin.")],
    new: Annotated[str, typer.Option("--to", metavar="VERSION", help="The version to value them by.")],
    why: Annotated[str, typer.Option(help="Why, in one line without anybody's name; kept, and logged as a digest.")],
    platform: Annotated[str | None, typer.Option(help="Only records of this participant.")] = None,
    behaviour: Annotated[str | None, typer.Option(help="Only this behaviour, such as MOB-BIKE.")] = None,
    window: Annotated[int | None, typer.Option(max=2**31 - 1, help="Only records of this window.")] = None,
    since: Annotated[
        datetime | None, typer.Option(formats=_DAYS, help="Only acts of this day (China) and later.")
    ] = None,
    until: Annotated[datetime | None, typer.Option(formats=_DAYS, help="Only acts before this day (China).")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would move, and change nothing.")] = False,
    as_json: bool = AS_JSON,
) -> None:
    """Value records of an old version of the methodology by another one: in the open window, by entries, never by edits.

    What the old version counted is taken back when the open window is cleared; final windows stay as they are. A run that
    was interrupted is run again; a repeated one finds nothing to do.
    """
    wanted = Restatement(
        old=old, new=new, why=why.strip(), platform=platform, behaviour=behaviour, window_id=window,
        since=since.date() if since else None, until=until.date() if until else None,
    )  # fmt: skip
    with opened_hub() as hub:
        with reading(hub.engine) as session:
            require_restatement(session, wanted)
            standing = count_standing(session, wanted)
        if not standing:
            raise NotFound(f"nothing to do: no record that pins {old} stands within these limits")
        with progress_bars(quiet=as_json) as bars:
            bar = bars.add_task(f"{old} to {new}", total=standing)
            parts: list[Restated] = []
            for step in _steps(hub, wanted, dry_run=dry_run):
                parts.append(step.restated)
                bars.advance(bar, step.seen)
    done = add_up(parts)
    if not done.records and not done.left:
        raise NotFound(f"nothing to do: {standing:,} records pin {old}, and {new} gives each the same amount")
    if as_json:
        print_json(_document(wanted, done, dry_run=dry_run))
    else:
        _tell(wanted, done, dry_run=dry_run)


def _steps(hub: Hub, wanted: Restatement, *, dry_run: bool) -> Iterator[Step]:
    last, one = 0, preview if dry_run else restate_step
    while (step := one(hub, wanted, after=last, now=hub.clock().astimezone(UTC))) is not None:
        yield step
        last = step.last


def _document(wanted: Restatement, done: Restated, *, dry_run: bool) -> dict[str, Any]:
    return {
        **wanted.fields(), "why": wanted.why, "decision": wanted.digest().hex(), "dry_run": dry_run,
        "moved": done.moved.to_dicts(), "records": done.records, "before_mg": int(done.moved["before_mg"].sum()),
        "after_mg": int(done.moved["after_mg"].sum()), "left": {str(one): done.left.get(one, 0) for one in Left},
    }  # fmt: skip


def _tell(wanted: Restatement, done: Restated, *, dry_run: bool) -> None:
    rows = [
        [row["platform"], row["behaviour"], *(f"{row[n]:,}" for n in ("records", "acts", "before_mg", "after_mg"))]
        for row in done.moved.iter_rows(named=True)
    ]
    columns = ["platform", "behaviour", "records", "acts", "mg before", "mg after"]
    title = f"{'Would be restated' if dry_run else 'Restated'} from {wanted.old} to {wanted.new}"
    table(title, columns, rows, numbers=frozenset({2, 3, 4, 5}))
    for reason, count in sorted(done.left.items()):
        out.print(f"{count:,} records stay as they are: {_LEFT[reason]}")
    before, after = int(done.moved["before_mg"].sum()), int(done.moved["after_mg"].sum())
    moved = f"{done.records:,} records, {before:,} mg before, {after:,} mg after ({after - before:+,})"
    if dry_run:
        out.print(f"{moved}; nothing was changed")
    else:
        out.print(f"{moved}; they count when the open window is cleared; decision {wanted.digest().hex()[:16]}")
