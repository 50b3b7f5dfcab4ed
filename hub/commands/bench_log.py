"""bench log: how fast leaves become durable and signed, and how fast one of many is proved. I/O: what is measured."""

from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.progress import Progress, TaskID
from sqlalchemy import Engine

from hub.clock import system_clock
from hub.commands.console import err, print_line, progress_bars
from hub.db import make_engine, reading
from hub.errors import UsageProblem
from hub.log.backlog import load_backlog
from hub.log.bench import AppendFigure, measure_append, new_signer
from hub.log.bench_proofs import ProofFigure, measure_proofs
from hub.log.store import load_head
from hub.migrate import prepare


def log(
    batches: Annotated[int, typer.Option(min=1, max=100_000, help="Transactions that append.")] = 200,
    batch: Annotated[
        int, typer.Option(min=1, max=100_000, help="Leaves of each, durable before the next begins.")
    ] = 1024,
    per_checkpoint: Annotated[
        int, typer.Option(min=1, max=1_000, help="Transactions that one signature finds waiting.")
    ] = 1,
    leaves: Annotated[
        int,
        typer.Option(min=0, max=1_000_000_000, help="Prove leaves of a log so large; 0 proves none. 251 bytes each."),
    ] = 1_000_000,
    proofs: Annotated[int, typer.Option(min=10, max=1_000_000, help="How many of them, drawn at random.")] = 10_000,
    folder: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="Where to measure; by default the system's own.")
    ] = None,
    database_url: Annotated[
        str | None, typer.Option(help="An empty PostgreSQL database; without it SQLite in a temporary folder.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The lines only, no words beside them.")] = False,
) -> None:
    """Append and sign beside raw SHA-256 of the same bytes; then prove and check leaves of a large log."""
    with TemporaryDirectory(prefix="tanlian-bench-", dir=folder) as place:
        engine = make_engine(database_url or f"sqlite:///{place}/log.db")
        try:
            prepare(engine, system_clock())
            _require_empty(engine)
            signer, head_file = new_signer(), Path(place) / "log-head"
            appended = measure_append(
                engine, head_file, signer=signer, batches=batches, batch=batch, batches_per_checkpoint=per_checkpoint
            )
            _tell_append(appended, engine.dialect.name, quiet=as_json)
            if leaves:
                with progress_bars(quiet=as_json) as bars:
                    bar: dict[str, TaskID] = {}
                    proved = measure_proofs(
                        engine, head_file, signer, leaves=leaves, proofs=proofs,
                        tell=lambda what, done, total: _advance(bars, bar, what, done, total),
                    )  # fmt: skip
                _tell_proofs(proved, engine.dialect.name, quiet=as_json)
        finally:
            engine.dispose()


def _require_empty(engine: Engine) -> None:
    with reading(engine) as session:
        if load_backlog(session).count or load_head(session) is not None:
            raise UsageProblem("the database holds a log already: name an empty one")


def _tell_append(figure: AppendFigure, database: str, *, quiet: bool) -> None:
    told = {key: round(value) for key, value in asdict(figure).items()}
    print_line({"bench": "log", "database": database, **told, "ratio": round(figure.ratio, 4)})
    if not quiet:
        err.print(
            f"{figure.leaves:,} leaves in batches of {figure.batch:,}: {figure.appended_per_s:,.0f}/s durable and signed, "
            f"{figure.ratio:.3f} of raw SHA-256 ({figure.hashed_per_s:,.0f}/s)"
        )


def _tell_proofs(figure: ProofFigure, database: str, *, quiet: bool) -> None:
    print_line({"bench": "log-proofs", "database": database, **asdict(figure)})
    if not quiet:
        err.print(
            f"{figure.leaves:,} leaves: an inclusion proof of {figure.hashes} hashes takes p99 "
            f"{figure.inclusion_p99_ms:.2f} ms, its check {figure.verify_p99_ms:.2f} ms with the signature and "
            f"{figure.hashing_only_p99_ms:.3f} ms without; growth is proved in p99 {figure.consistency_p99_ms:.2f} ms; "
            f"memory {figure.peak_memory_mib:,} MiB"
        )


def _advance(bars: Progress, bar: dict[str, TaskID], what: str, done: int, total: int) -> None:
    if what not in bar:
        bar[what] = bars.add_task(what, total=total)
    bars.update(bar[what], completed=done)
