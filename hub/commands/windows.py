"""window: clearing windows and their states. I/O: the database, terminal."""

from typing import Annotated, Any

import typer

from hub.clearing.windows import load_windows
from hub.commands.console import AS_JSON, opened_hub, out, print_json, table
from hub.db import reading
from hub.pipeline import clear_sealed, finalise_window, seal_window
from hub.sync.statements import reconcile_window
from hub.totals.telling import update_totals

window = typer.Typer(help="Clearing windows.", no_args_is_help=True)
WindowId = Annotated[int, typer.Argument(max=2**31 - 1, help="The window's number.")]


@window.command("list")
def list_windows(as_json: bool = AS_JSON) -> None:
    """List the windows with their states."""
    with opened_hub() as hub, reading(hub.engine) as session:
        rows: list[dict[str, Any]] = [
            {
                "window": w.window_id, "state": w.state, "first": w.first_seq, "last": w.last_seq,
                "cleared": w.cleared_at is not None, "root": w.root.hex() if w.root else None,
            }
            for w in load_windows(session)
        ]  # fmt: skip
    if as_json:
        print_json(rows)
        return
    cells = [
        [r["window"], r["state"], r["first"], r["last"] or "", "yes" if r["cleared"] else "no", (r["root"] or "")[:16]]
        for r in rows
    ]
    table("Windows", ["window", "state", "first", "last", "cleared", "root"], cells, numbers=frozenset({0, 2, 3}))


@window.command("seal")
def seal(as_json: bool = AS_JSON) -> None:
    """Seal the open window, open the next, and clear what was sealed."""
    with opened_hub() as hub:
        sealed = seal_window(hub, now=hub.clock())
        while clear_sealed(hub, now=hub.clock()) is not None:
            pass
    if as_json:
        print_json({"window": sealed.window_id, "last": sealed.last_seq, "numbers": sealed.size})
        return
    out.print(f"window {sealed.window_id} is sealed at number {sealed.last_seq} and cleared")


@window.command("reconcile")
def reconcile(window_id: WindowId, as_json: bool = AS_JSON) -> None:
    """Compare a cleared window with every platform's own statement; the challenge period begins."""
    with opened_hub() as hub:
        report = reconcile_window(hub, window_id, now=hub.clock())
    if as_json:
        print_json(report)
        return
    rows = [
        [name, one["state"], one.get("deliveries", ""), one.get("rows", ""), len(one.get("breaks", []))]
        for name, one in report.items()
    ]
    table(f"Reconciliation of window {window_id}", ["platform", "result", "deliveries", "rows", "breaks"], rows)
    out.print(f"streams, record by record: tanlian window report {window_id}")


@window.command("finalize")
def finalize(
    window_id: WindowId,
    waive: Annotated[bool, typer.Option("--waive-challenge", help="End the challenge period early.")] = False,
) -> None:
    """Make a provisional window final; its pending grams are held from then on."""
    with opened_hub() as hub:
        manifest = finalise_window(hub, window_id, now=hub.clock(), waive_challenge=waive)
        update_totals(hub, now=hub.clock())
    out.print(f"window {window_id} is final, root {manifest.root.hex()}")
