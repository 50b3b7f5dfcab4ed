"""bench clearing-speed: how fast files are cleared, beside sorting them. I/O: a folder, processes."""

from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from hub.bench.clearing_speed import SpeedFigure, measure_sizes, peer_name
from hub.commands.console import err, print_line


def clearing_speed(
    records: Annotated[
        list[int] | None,
        typer.Option("--records", "-n", min=1_000, max=1_000_000_000, help="Records; several times for the growth."),
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, max=50, help="How often both sides run, in turn.")] = 3,
    seed: Annotated[int, typer.Option(min=0, max=100, help="Another seed, other records.")] = 1,
    folder: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="Where there is room; by default the system's.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The lines only, no words beside them.")] = False,
) -> None:
    """Clear made records, and read, sort and write the same files with DuckDB, or with Polars where that is absent."""
    if peer_name() == "polars":
        err.print("DuckDB is not installed: Polars sorts and writes instead, and wants all records in memory")

    def told(figure: SpeedFigure) -> None:
        print_line({"bench": "clearing-speed", **asdict(figure)})
        if not as_json:
            err.print(
                f"{figure.records:,} records: {figure.ours.records_per_s:,}/s, {figure.ratio:.2f} of the time of "
                f"{figure.peer.name} ({figure.ratio_of_processor:.2f} of the processor's); "
                f"{figure.ours.peak_mib:,} MiB beside {figure.peer.peak_mib:,} MiB"
            )

    with TemporaryDirectory(prefix="tanlian-bench-", dir=folder) as place:
        measure_sizes(Path(place), sizes=records or [1_000_000], rounds=rounds, seed=seed, told=told)
