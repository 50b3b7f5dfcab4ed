"""totals: what people did together, by place, programme, behaviour and period. I/O: terminal, files, the database."""

from pathlib import Path
from typing import Annotated

import typer

from hub.commands.console import AS_JSON, opened_hub, out, print_json, table
from hub.db import reading
from hub.errors import UsageProblem
from hub.totals.asking import Answer, answer, line_name, load_told_months, parse_question, to_csv, to_document
from hub.totals.charts import Bar, bars_svg
from hub.totals.programmes import require_programme
from hub.totals.telling import update_totals

totals = typer.Typer(help="Totals of final windows, told so that nobody is found in them.", no_args_is_help=True)
KG = 1_000_000


@totals.command("show")
def show(
    by: Annotated[str, typer.Option(help="region, city, category, behaviour, day, month; with commas.")] = "region",
    period: Annotated[
        str | None, typer.Option(help="2026, 2026-11 or 2026-11-05; by default the newest month.")
    ] = None,
    programme: Annotated[str | None, typer.Option(help="Only this programme; see `programmes list`.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Write the lines to this CSV file.")] = None,
    chart: Annotated[Path | None, typer.Option(help="Write a chart to this SVG file.")] = None,
    as_json: bool = AS_JSON,
) -> None:
    """Show totals. What is of fewer people than k is told together with its neighbours, without its label."""
    with opened_hub() as hub, reading(hub.engine) as session:
        months = load_told_months(session)
        if period is None and not months:
            raise UsageProblem("nothing is told yet; totals come from final windows of enough people (`totals update`)")
        question = parse_question(by, period or f"{months[0] // 100}-{months[0] % 100:02d}", programme)
        if programme is not None:
            require_programme(session, programme)
        found = answer(session, question, k=hub.settings.totals_k)
    if csv is not None:
        csv.write_text(to_csv(found), encoding="utf-8")
    if chart is not None:
        chart.write_text(chart_of(found), encoding="utf-8")
    if as_json:
        print_json(to_document(found))
        return
    rows = [
        [line_name(line), _people(line.people_at_least), f"{line.acts:,}", _kg(line.counted_mg)]
        for line in (*found.lines, found.total)
    ]
    rows[-1][0] = "合计 total"
    table(f"Totals {question.period}", ["", "people", "acts", "counted kg"], rows, numbers=frozenset({1, 2, 3}))
    if found.total.taken_back_mg:
        out.print(f"taken back since: {_kg(found.total.taken_back_mg)} kg")
    used = ", ".join(f"{name} {_kg(mg)} kg" for name, mg in found.used_mg.items() if mg)
    out.print(f"{found.releases} releases up to window {found.last_window}; used: {used or 'nothing that can be told'}")


@totals.command("update")
def update(
    month: Annotated[
        list[str] | None, typer.Option("--month", help="A month under way to tell now, such as 2026-11.")
    ] = None,
    as_json: bool = AS_JSON,
) -> None:
    """Tell what became final since the last time; the worker does the same by itself."""
    asked = [parse_question("", one) for one in month or []]
    for one in asked:
        if one.first_month != one.last_month or one.day is not None:
            raise UsageProblem(f"--month {one.period}: name a month, such as 2026-11")
    with opened_hub() as hub:
        told = update_totals(hub, now=hub.clock(), months=frozenset(one.first_month for one in asked))
    if as_json:
        print_json([{name: getattr(one, name) for name in one.__slots__} for one in told])
        return
    for release in told:
        what = f"{release.cells:,} cells" if release.cells else "of too few people yet; waits"
        out.print(f"{release.facts} {release.month}, windows {release.first_window} to {release.last_window}: {what}")
    if not told:
        out.print("nothing new is final")


def chart_of(found: Answer) -> str:
    """Draw the lines of an answer as bars; without lines its total."""
    title = f"{found.question.period} 经清分的减排量"
    return bars_svg(
        title,
        [
            Bar(name=line_name(line), mg=line.counted_mg, people_at_least=line.people_at_least)
            for line in found.lines or (found.total,)
        ],
    )


def _people(least: int) -> str:
    return f"{least:,}+" if least else "–"


def _kg(mg: int) -> str:
    return f"{mg / KG:,.3f}"
