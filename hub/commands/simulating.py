"""standards simulate, policy simulate: what another methodology or policy would count. I/O: files, database, terminal."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer

from hub.clearing.adoption import policy_of_window
from hub.clearing.engines.local import Progress
from hub.clearing.simulate.moved_svg import moved_svg
from hub.clearing.simulate.of_files import (
    Side,
    Simulation,
    describe,
    simulate_change,
    simulation_folder,
    write_simulation,
)
from hub.clearing.simulate.of_windows import Chosen, last_closed_month, month_of_acts, simulate_stored
from hub.clearing.windows import find_open_window
from hub.commands.console import AS_JSON, opened_hub, out, print_json, progress_bars, table
from hub.commands.policy import open_policy
from hub.commands.standards import METHODOLOGY, open_methodology
from hub.context import Hub
from hub.db import reading
from hub.errors import NotFound, UsageProblem
from standards.methodology import CURRENT_METHODOLOGY
from standards.policy import ClearingPolicy, load_policy
from standards.regions import place_name

SHOWN = 40
_OUT = typer.Option("--out", help="Folder to write; must not exist or be an earlier simulation.")
_CHART = typer.Option("--chart", help="Also draw grams moved per platform into this SVG file.")


def simulate(
    version: Annotated[str, typer.Option("--from", help="The methodology that counts now.")],
    other: Annotated[str, typer.Option("--to", help="The methodology to try out.")],
    records: Annotated[Path, typer.Option(help="Folder with Parquet files of reduction records.")],
    output: Annotated[Path | None, _OUT] = None,
    chart: Annotated[Path | None, _CHART] = None,
    as_json: bool = AS_JSON,
) -> None:
    """Clear files under two methodologies and show the grams that a change would move. No database."""
    policy = load_policy()
    before, after = (Side(methodology=open_methodology(name), policy=policy) for name in (version, other))
    _tell(_from_files(records, "methodology", before, after, output, quiet=as_json), chart, as_json=as_json)


def simulate_policy(
    other: Annotated[str, typer.Option("--to", help="The policy to try out: a version, or the file of a draft.")],
    version: Annotated[str | None, typer.Option("--from", help="The policy to compare with; the one in force.")] = None,
    records: Annotated[
        Path | None, typer.Option(help="Folder with Parquet files of reduction records, instead of the database.")
    ] = None,
    window: Annotated[
        list[int] | None, typer.Option(max=2**31 - 1, help="Only records of this window; may be given several times.")
    ] = None,
    month: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m"], help="Acts of this month (China); the last one that is over.")
    ] = None,
    methodology: Annotated[str, METHODOLOGY] = CURRENT_METHODOLOGY,
    output: Annotated[Path | None, _OUT] = None,
    chart: Annotated[Path | None, _CHART] = None,
    as_json: bool = AS_JSON,
) -> None:
    """Clear the same records by two policies and show the grams that a change would move. Nothing is written to the hub.

    From the database, records keep the amounts that they pin and never leave the memory of this process; from files, they
    are valued by --methodology.
    """
    if sum(told is not None for told in (records, window or None, month)) > 1:
        raise UsageProblem("give one of --records, --window and --month")
    after = open_policy(other)
    if records is not None:
        valued = open_methodology(methodology)
        one, two = (
            Side(methodology=valued, policy=p) for p in (open_policy(version) if version else load_policy(), after)
        )
        _tell(_from_files(records, "policy", one, two, output, quiet=as_json), chart, as_json=as_json)
        return
    with opened_hub() as hub, ExitStack() as stack:
        folder = stack.enter_context(simulation_folder(output, None)) if output else None
        now = hub.clock()
        chosen = (
            Chosen(windows=tuple(sorted(set(window))))
            if window
            else month_of_acts(month.date() if month else last_closed_month(now))
        )
        before = open_policy(version) if version else _in_force(hub)
        with _bars(quiet=as_json) as report:
            simulation = simulate_stored(hub, chosen, before=before, after=after, now=now, progress=report)
        if folder:
            write_simulation(simulation, folder)
    _tell(simulation, chart, as_json=as_json)


def _in_force(hub: Hub) -> ClearingPolicy:
    """Return the policy by which the open window is decided."""
    with reading(hub.engine) as session:
        window = find_open_window(session)
        if window is None:
            raise NotFound("no clearing window is open; run `tanlian migrate`")
        return policy_of_window(session, window.window_id)


def _from_files(records: Path, what: str, before: Side, after: Side, output: Path | None, *, quiet: bool) -> Simulation:
    with ExitStack() as stack:
        folder = stack.enter_context(simulation_folder(output, records)) if output else None
        # Beside the result, if there is one: what is needed on the way is as large as the records.
        beside = output.parent if output else None
        work = stack.enter_context(TemporaryDirectory(prefix=".tanlian-simulate-", dir=beside))
        report = stack.enter_context(_bars(quiet=quiet))
        simulation = simulate_change(records, Path(work), what, before=before, after=after, progress=report)
        if folder:
            write_simulation(simulation, folder)
    return simulation


@contextmanager
def _bars(*, quiet: bool) -> Iterator[Progress]:
    """Give a function that shows how far each step is."""
    with progress_bars(quiet=quiet) as bars:
        tasks: dict[str, Any] = {}

        def report(step: str, done: int, total: int) -> None:
            if step not in tasks:
                tasks[step] = bars.add_task(step, total=total)
            bars.update(tasks[step], completed=done, total=total)

        yield report


def _tell(simulation: Simulation, chart: Path | None, *, as_json: bool) -> None:
    if chart is not None:
        chart.write_text(moved_svg(simulation), encoding="utf-8")
    document = describe(simulation)
    if as_json:
        print_json(document)
        return
    _show(document)
    if chart is not None:
        out.print(f"The picture is in {chart}.", soft_wrap=True)


def _show(told: dict[str, Any]) -> None:
    beside = next(f"{name} {told[name]}" for name in ("policy", "methodology") if name in told)
    out.print(
        f"[bold]{told['from']}[/bold] to [bold]{told['to']}[/bold], {beside}: {told['records']:,} records, "
        f"{told['changed']:,} count otherwise, {told['verdicts_changed']:,} are decided otherwise"
    )
    if told["left_out"]:
        out.print(f"{told['left_out']:,} records were left out: their people do not allow clearing now")
    out.print(
        f"{_grams(told['from_mg'])} g to {_grams(told['to_mg'])} g: "
        f"[bold]{_signed(told['difference_mg'])} g ({_percent(told['percent'])})[/bold]"
    )
    for title, column in (("Platforms", "platform"), ("Provinces", "region"), ("Behaviours", "behaviour")):
        _show_groups(title, column, told[f"{column}s"])
    if told["verdicts"]:
        table(
            "Decided otherwise",
            ["from", "to", "records"],
            [[row["from_verdict"], row["to_verdict"], f"{row['records']:,}"] for row in told["verdicts"]],
            numbers=frozenset({2}),
        )
        for title, column in (("platform", "platform"), ("behaviour", "behaviour")):
            _show_matrix(title, told[f"{column}s"], column)
    if told["largest"]:
        _show_largest(told["largest"])


def _show_groups(title: str, column: str, rows: list[dict[str, Any]]) -> None:
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


def _show_matrix(title: str, rows: list[dict[str, Any]], column: str) -> None:
    """Show how many records of each group went from which verdict to which; groups in which none did are left out."""
    cells = [
        [_name(column, row[column]), turn["from_verdict"], turn["to_verdict"], f"{turn['records']:,}"]
        for row in rows[:SHOWN]
        for turn in row["verdicts"]
        if turn["from_verdict"] != turn["to_verdict"]
    ]
    if cells:
        table(f"Decided otherwise, by {title}", [title, "from", "to", "records"], cells, numbers=frozenset({3}))


def _show_largest(rows: list[dict[str, Any]]) -> None:
    table(
        "Largest changes",
        ["record", "platform", "region", "behaviour", "from g", "to g", "from", "to"],
        [
            [
                row["record_id"], _name("platform", row["platform"]), _name("region", row["region"]),
                _name("behaviour", row["behaviour"]), _grams(row["from_mg"]), _grams(row["to_mg"]),
                *(f"{row[f'{side}_verdict']}: {row[f'{side}_reason']} ({row[f'{side}_rule']})" for side in ("from", "to")),
            ]
            for row in rows
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
