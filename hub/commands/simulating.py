"""standards simulate: what another methodology would count for given records. I/O: files, terminal."""

from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer

from hub.clearing.simulate import describe, simulate_change, simulation_folder, write_simulation
from hub.commands.console import AS_JSON, out, print_json, progress_bars, table
from hub.commands.standards import open_methodology
from standards.regions import place_name

SHOWN = 40


def simulate(
    version: Annotated[str, typer.Option("--from", help="The methodology that counts now.")],
    other: Annotated[str, typer.Option("--to", help="The methodology to try out.")],
    records: Annotated[Path, typer.Option(help="Folder with Parquet files of reduction records.")],
    output: Annotated[
        Path | None, typer.Option("--out", help="Folder to write; must not exist or be an earlier simulation.")
    ] = None,
    as_json: bool = AS_JSON,
) -> None:
    """Clear files under two methodologies and show the grams that a change would move. No database."""
    before, after = open_methodology(version), open_methodology(other)
    with ExitStack() as stack:
        folder = stack.enter_context(simulation_folder(output, records)) if output else None
        # Beside the result, if there is one: what is needed on the way is as large as the records.
        beside = output.parent if output else None
        work = stack.enter_context(TemporaryDirectory(prefix=".tanlian-simulate-", dir=beside))
        bars = stack.enter_context(progress_bars(quiet=as_json))
        tasks: dict[str, Any] = {}

        def report(step: str, done: int, total: int) -> None:
            if step not in tasks:
                tasks[step] = bars.add_task(step, total=total)
            bars.update(tasks[step], completed=done, total=total)

        simulation = simulate_change(records, Path(work), before=before, after=after, progress=report)
        if folder:
            write_simulation(simulation, folder)
    document = describe(simulation)
    if as_json:
        print_json(document)
    else:
        _show(document)


def _show(told: dict[str, Any]) -> None:
    out.print(
        f"[bold]{told['from']}[/bold] to [bold]{told['to']}[/bold], policy {told['policy']}: {told['records']:,} records, "
        f"{told['changed']:,} count otherwise, {told['verdicts_changed']:,} are decided otherwise"
    )
    out.print(
        f"{_grams(told['from_mg'])} g to {_grams(told['to_mg'])} g: "
        f"[bold]{_signed(told['difference_mg'])} g ({_percent(told['percent'])})[/bold]"
    )
    for title, column in (("Platforms", "platform"), ("Provinces", "region"), ("Behaviours", "behaviour")):
        rows = told[f"{column}s"]
        table(
            title if len(rows) <= SHOWN else f"{title}: the {SHOWN} of {len(rows)} with the largest difference",
            [column, "records", "changed", "from g", "to g", "difference g", "percent"],
            [
                [
                    _name(column, row[column]), f"{row['records']:,}", f"{row['changed']:,}", _grams(row["from_mg"]),
                    _grams(row["to_mg"]), _signed(row["difference_mg"]), _percent(row["percent"]),
                ]
                for row in rows[:SHOWN]
            ],
            numbers=frozenset(range(1, 7)),
        )  # fmt: skip
    if told["verdicts"]:
        table(
            "Decided otherwise",
            ["from", "to", "records"],
            [[row["from_verdict"], row["to_verdict"], f"{row['records']:,}"] for row in told["verdicts"]],
            numbers=frozenset({2}),
        )
    if told["largest"]:
        table(
            "Largest changes",
            ["record", "platform", "region", "behaviour", "from g", "to g", "from", "to"],
            [
                [
                    row["record_id"], _name("platform", row["platform"]), _name("region", row["region"]),
                    _name("behaviour", row["behaviour"]), _grams(row["from_mg"]), _grams(row["to_mg"]),
                    row["from_verdict"], row["to_verdict"],
                ]
                for row in told["largest"]
            ],
            numbers=frozenset({0, 4, 5}),
        )  # fmt: skip


def _name(column: str, value: Any) -> str:
    if value is None:
        return "unknown"
    return place_name(value) if column == "region" else str(value)


def _grams(mg: int) -> str:
    return f"{Decimal(mg).scaleb(-3):,.3f}"


def _signed(mg: int) -> str:
    return f"{Decimal(mg).scaleb(-3):+,.3f}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:+.2f} %"
