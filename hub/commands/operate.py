"""migrate, serve, worker, window, audit, log: running the hub. I/O: everything the hub has."""

import logging
import sys
from pathlib import Path
from typing import Annotated, Any

import structlog
import typer
import uvicorn

from hub.app import create_app
from hub.audit import CHECKS, audit
from hub.clearing.windows import load_windows
from hub.commands.console import AS_JSON, opened_hub, out, print_json, progress_bars, table
from hub.context import check_data, open_hub
from hub.db import reading
from hub.errors import UsageProblem
from hub.log.export import export_log
from hub.log.note import NoteError
from hub.log.source import open_source
from hub.log.verify import verify_log
from hub.log_signing import log_signer
from hub.migrate import head_revision, prepare
from hub.pipeline import clear_sealed, finalise_window, seal_window
from hub.settings import Settings
from hub.sync.statements import reconcile_window
from hub.totals.telling import update_totals
from hub.worker import run_worker

window = typer.Typer(help="Clearing windows.", no_args_is_help=True)
log = typer.Typer(help="The interconnection log.", no_args_is_help=True)
WindowId = Annotated[int, typer.Argument(max=2**31 - 1, help="The window's number.")]


def migrate() -> None:
    """Create or upgrade the database of TANLIAN_DATABASE_URL."""
    with opened_hub() as hub:
        prepare(hub.engine, hub.clock())
    out.print(f"the database is at revision {head_revision()}")


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Number of processes.")] = 1,
) -> None:
    """Serve the API, the authorization server, the portal and the log."""
    settings = Settings()
    check_data(settings)
    _quiet_logs()
    uvicorn.run(
        "hub.commands.operate:application", factory=True, host=host or settings.host, port=port or settings.port,
        workers=workers, access_log=False, log_level="warning", proxy_headers=False, server_header=False,
    )  # fmt: skip


def application() -> object:
    """Build the application in the serving process."""
    _quiet_logs()
    hub = open_hub()
    check_data(hub.settings)
    return create_app(hub)


def worker() -> None:
    """Fetch, clear, seal, sign and tidy up, until stopped."""
    _quiet_logs()
    with opened_hub() as hub:
        check_data(hub.settings)
        run_worker(hub)


def check(
    jobs: Annotated[
        int | None,
        typer.Option(min=1, max=64, help="Processes that check at once; by default as the ledger's size is worth."),
    ] = None,
    as_json: bool = AS_JSON,
) -> None:
    """Check the invariants on the live database; exit 1 if any fails."""
    with opened_hub() as hub, progress_bars(quiet=as_json) as bars:
        made = bars.add_task("checks", total=len(CHECKS))
        report = audit(hub, jobs=jobs, tell=lambda one: bars.advance(made))
    if as_json:
        print_json(
            {
                "passed": report.passed,
                "failed": report.failed,
                "checks": [
                    {"invariant": c.invariant, "name": c.name, "ok": c.ok, "figure": c.figure, "offenders": c.offenders}
                    for c in report.checks
                ],
            }
        )
    else:
        rows = [[c.invariant, c.name, "ok" if c.ok else "[red]FAILED[/red]", c.figure] for c in report.checks]
        table("Audit", ["#", "invariant", "result", "figure"], rows, numbers=frozenset({0}))
        for broken in [c for c in report.checks if not c.ok]:
            out.print(f"[red]{broken.name}[/red]: {', '.join(broken.offenders)}")
        out.print(f"{report.passed} passed, {report.failed} failed")
    if report.failed:
        raise SystemExit(1)


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


@log.command("verify")
def verify(
    url: Annotated[str | None, typer.Option(help="Address of a log, for example https://hub.example/log.")] = None,
    directory: Annotated[Path | None, typer.Option("--dir", help="Folder with an exported log.")] = None,
    key: Annotated[str | None, typer.Option(help="The log's verifier key; by default this hub's own.")] = None,
    as_json: bool = AS_JSON,
) -> None:
    """Recompute the whole log from its published files and check the signature; needs no database but for the key."""
    if (url is None) == (directory is None):
        raise typer.BadParameter("say where the log is, once", param_hint="--url or --dir")
    source = url if url is not None else directory or Path()
    if key is None:
        with opened_hub() as hub:
            # Just after a rotation the newest key has not signed yet, and an older one of ours vouches.
            key = log_signer(hub).vkey_for(open_source(source)("checkpoint") or b"")
    try:
        report = verify_log(source, key)
    except NoteError as error:
        raise UsageProblem(str(error)) from None
    if as_json:
        print_json(report.to_json())
    else:
        out.print(f"{'verified' if report.holds else 'NOT VERIFIED'}: {report.size} entries, root {report.root}")
        if report.fault is not None:
            out.print(f"  {report.fault.place}: {report.fault.reason}: {report.fault.detail}")
    if not report.holds:
        raise SystemExit(1)


@log.command("export")
def export(directory: Annotated[Path, typer.Option("--dir", help="Folder to write to.")]) -> None:
    """Write the log as static tlog-tiles files, for any web server or verifier."""
    with opened_hub() as hub:
        exported = export_log(hub.engine, directory)
    out.print(f"{exported.size} entries in {exported.files} files below {directory}")


@log.command("key")
def show_key(
    every: Annotated[bool, typer.Option("--all", help="All keys that sign now, newest first.")] = False,
) -> None:
    """Print the log's verifier key (vkey line): the newest, for whoever begins to verify now."""
    with opened_hub() as hub:
        keys = [key.to_vkey() for key in log_signer(hub).verifiers]
    print("\n".join(keys if every else keys[:1]))


def _quiet_logs() -> None:
    """JSON lines on stderr. Libraries that would write addresses with their queries say warnings only."""
    for name in ("httpx", "httpcore", "authlib", "uvicorn.access"):
        logging.getLogger(name).setLevel(logging.WARNING)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    )
