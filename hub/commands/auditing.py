"""audit: the invariants on the live database. I/O: the database, terminal."""

from typing import Annotated

import typer

from hub.audit import audit
from hub.commands.console import AS_JSON, opened_hub, out, print_json, progress_bars, table


def check(
    jobs: Annotated[
        int | None,
        typer.Option(min=1, max=64, help="Processes that check at once; by default as the ledger's size is worth."),
    ] = None,
    as_json: bool = AS_JSON,
) -> None:
    """Check the invariants on the live database; exit 1 if any fails."""
    with opened_hub() as hub, progress_bars(quiet=as_json) as bars:
        made = bars.add_task("audit", total=None)
        report = audit(hub, jobs=jobs, tell=lambda done, of: bars.update(made, completed=done, total=of))
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
