"""bench: how fast, as ratios within one run. I/O: everything that is measured, below a temporary folder."""

from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from hub.bench.guard import measure_guard
from hub.bench.ledger import measure_ledger
from hub.bench.quantify import batch_sizes, measure_quantify
from hub.bench.sync import measure_sync
from hub.bench.token import TokenFigure, measure_tokens
from hub.commands.bench_clearing import clearing
from hub.commands.bench_clearing_speed import clearing_speed
from hub.commands.bench_log import log
from hub.commands.console import err, print_line

bench = typer.Typer(help="Benchmarks; each prints one JSON line with both sides and their ratio.", no_args_is_help=True)
bench.command("clearing")(clearing)
bench.command("clearing-speed")(clearing_speed)
bench.command("log")(log)
FLOWS = ("client_credentials", "authorization_code")
DatabaseUrl = Annotated[
    str | None, typer.Option(help="An empty PostgreSQL database; without it SQLite in a temporary folder.")
]


@bench.command("token")
def token(
    requests: Annotated[int, typer.Option("--requests", "-n", min=10, max=100_000, help="Requests in a round.")] = 1000,
    rounds: Annotated[int, typer.Option(min=1, max=50, help="Rounds that count; one more warms up.")] = 3,
    connections: Annotated[int, typer.Option(min=1, max=256, help="Requests under way at once.")] = 16,
    peer: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="Folder with peer.mjs, a server to stand beside.")
    ] = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Ask the token endpoint with private_key_jwt and DPoP, for both flows, beside a bare application and a peer."""
    for flow in FLOWS:
        with TemporaryDirectory(prefix="tanlian-bench-") as folder:
            figure = measure_tokens(
                Path(folder), flow=flow, requests=requests, rounds=rounds, connections=connections, peer=peer,
                database_url=database_url,
            )  # fmt: skip
        tell(figure)


@bench.command("guard")
def guard(
    rows: Annotated[int, typer.Option(min=1, max=100_000, help="Rows in a delivery.")] = 500,
    people: Annotated[int, typer.Option(min=2, max=1_000_000, help="People whom the rows are about.")] = 5_000,
    deliveries: Annotated[int, typer.Option(min=1, max=1_000, help="Deliveries that count; one more warms up.")] = 20,
    database_url: DatabaseUrl = None,
) -> None:
    """Take deliveries and tell the consent guard's share of the time."""
    with TemporaryDirectory(prefix="tanlian-bench-") as folder:
        figure = measure_guard(
            Path(folder), rows=rows, people=people, deliveries=deliveries, database_url=database_url
        )  # fmt: skip
    print_line({"bench": "guard", **asdict(figure)})
    err.print(
        f"{figure.rows:,} rows: guard {figure.guard_ms:.1f} ms beside {figure.rest_ms:.1f} ms, {figure.ratio:.1%}"
    )


@bench.command("quantify")
def quantify(
    rows: Annotated[int, typer.Option(min=500, max=100_000_000, help="Records of a round.")] = 1_000_000,
    rounds: Annotated[int, typer.Option(min=1, max=50, help="Rounds that count; one more warms up.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="The lines only, no words beside them.")] = False,
) -> None:
    """Value records on one core in batches of three sizes, beside a plain join with a table of rates."""
    for batch in batch_sizes(rows):
        figure = measure_quantify(rows=rows, batch=batch, rounds=rounds)
        print_line({"bench": "quantify", **asdict(figure)})
        if not as_json:
            words = f"batches of {batch:,}: {figure.quantified_per_s:,.0f} records/s of one core"
            err.print(f"{words}, {figure.ratio:.2f} of a plain join")


@bench.command("ledger")
def ledger(
    records: Annotated[
        int, typer.Option("--records", "-n", min=1_000, max=100_000_000, help="Records of the window.")
    ] = 100_000,
    people: Annotated[int, typer.Option(min=2, max=10_000_000, help="People whose acts they are.")] = 5_000,
    years: Annotated[int, typer.Option(min=100, max=100_000, help="Statements of a year to ask for.")] = 500,
    database_url: DatabaseUrl = None,
) -> None:
    """Close a window and tell entries per second beside pgbench, sealing, statements of a year, and the audit."""
    with TemporaryDirectory(prefix="tanlian-bench-") as folder:
        figure = measure_ledger(
            Path(folder), records=records, people=people, years=years, database_url=database_url,
            tell=lambda words: err.print(f"[dim]{words}[/dim]") if err.is_terminal else None,
        )  # fmt: skip
    print_line({"bench": "ledger", **asdict(figure)})
    beside = "" if figure.ratio is None else f", {figure.ratio:.1f} of pgbench's {figure.pgbench_tps:,.0f}/s"
    err.print(
        f"{figure.entries:,} entries: {figure.posted_per_s:,}/s{beside}; sealed in {figure.seal_ms:.0f} ms; "
        f"a year's statement p99 {figure.year_p99_ms:.0f} ms; audit {figure.audit_s:.0f} s"
    )


@bench.command("sync")
def sync(
    links: Annotated[int, typer.Option(min=1, max=1_000_000, help="Linked accounts.")] = 2_000,
    records: Annotated[int, typer.Option(min=1, max=100, help="Records of each account, on one page.")] = 30,
    at_once: Annotated[int, typer.Option(min=1, max=64, help="Requests under way at one moment.")] = 4,
    group: Annotated[int, typer.Option(min=1, max=1_000, help="Links that are read together.")] = 64,
    database_url: DatabaseUrl = None,
) -> None:
    """Read many links from a platform in a process of its own, beside the raw rate of its pages."""
    with TemporaryDirectory(prefix="tanlian-bench-") as folder:
        figure = measure_sync(
            Path(folder), links=links, records=records, at_once=at_once, group=group, database_url=database_url
        )  # fmt: skip
    print_line({"bench": "sync", **asdict(figure)})
    err.print(
        f"{figure.links:,} links: {figure.records_per_s:,} records/s, {figure.ratio:.1%} of the platform's raw rate; "
        f"memory {figure.memory_mib[0]:,} to {figure.memory_mib[-1]:,} MiB"
    )


def tell(figure: TokenFigure) -> None:
    """Print the figure as one line, and for a reader at the terminal in words."""
    print_line({"bench": "token", **asdict(figure)})
    words = f"{figure.flow}: {figure.ours['rate_per_s']:,.0f}/s, p99 {figure.ours['p99_ms']:.0f} ms; "
    words += f"{figure.ratio_to_hello:.2f} of a bare application"
    err.print(words + (f", {figure.ratio:.2f} of the peer" if figure.ratio is not None else ""))
