"""standards: behaviours, figures, methodologies, and why an act is worth what it is worth. I/O: terminal, database."""

from datetime import date, datetime
from typing import Annotated, Any

import polars as pl
import typer
from rich.panel import Panel

from hub.clock import system_clock
from hub.commands.console import AS_JSON, opened_hub, out, print_json, table
from hub.db import load_frame, reading
from hub.errors import UsageProblem
from standards.behaviours import Behaviour, accepted_behaviours, load_behaviours
from standards.choice import format_grams
from standards.datafile import DataError
from standards.explain import Act, Explanation, NotValuedError, explain, text_of
from standards.factors import load_factors
from standards.methodology import CURRENT_METHODOLOGY, Methodology, load_methodology, methodology_versions
from standards.rates import day_of
from standards.regions import RegionError, place_name
from standards.schema import Role
from standards.units import UnitError, format_micro, parse_decimal_micro

standards = typer.Typer(help="Behaviours, factors, methodology.", no_args_is_help=True)

SUPPORT = {"C": "named by a source", "c": "recorded by platforms", "U": "unverified"}
METHODOLOGY = typer.Option("--methodology", help="Version of the methodology.")
_RECORD = {
    "behaviour": pl.String(), "quantity_micro": pl.Int64(), "unit": pl.String(), "region": pl.Int32(),
    "start_us": pl.Int64(), "role": pl.String(), "precision": pl.String(), "claimed_mg": pl.Int64(),
    "reference_mg": pl.Int64(), "methodology": pl.String(),
}  # fmt: skip


@standards.command("show")
def show(
    behaviour: Annotated[str | None, typer.Argument(help="A behaviour code, such as MOB-BIKE.")] = None,
    methodology: Annotated[str, METHODOLOGY] = CURRENT_METHODOLOGY,
    as_json: bool = AS_JSON,
) -> None:
    """Show the behaviour list, or one behaviour with its methods and every published figure."""
    version = open_methodology(methodology)
    if behaviour is None:
        _show_list(version, as_json=as_json)
        return
    known = find_behaviour(behaviour)
    factors = load_factors().filter(pl.col("behaviour") == behaviour)
    if as_json:
        print_json(_described(known, version) | {"factors": factors.to_dicts()})
        return
    out.print(
        f"[bold]{known.code}[/bold] {known.zh} / {known.en}; units {', '.join(known.units)}; {SUPPORT[known.support]}"
    )
    table(
        f"The hub's methodology {version.version}",
        ["method", "unit", "formula", "mg per unit", "figures for places", "founded on"],
        [
            [m.id, m.unit, m.formula.text, text_of(m.fallback_rate()), _places(m.inputs), m.status]
            for m in version.of_behaviour(known.code)
        ],
        numbers=frozenset({3}),
    )
    rows = [
        [
            f["issuer"], f["unit"], ("≥ " if f["bound"] == "floor" else "") + _grams(f), f["region"] or "", f["evidence"],
            f["valid_from"] or "", f["valid_until"] or "", f["source"],
        ]
        for f in factors.to_dicts()
    ]  # fmt: skip
    table(
        "Published figures",
        ["issuer", "unit", "grams", "region", "evidence", "from", "until", "source"],
        rows,
        numbers=frozenset({2}),
    )


@standards.command("explain")
def explain_act(
    behaviour: Annotated[str | None, typer.Argument(help="A behaviour code, such as MOB-BIKE.")] = None,
    quantity: Annotated[str | None, typer.Option(help="In the unit, such as 4.2.")] = None,
    unit: Annotated[str | None, typer.Option(help="By default the behaviour's own.")] = None,
    region: Annotated[int | None, typer.Option(help="GB/T 2260 code, such as 420100.")] = None,
    on: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Day of the act; today.")] = None,
    role: Annotated[Role, typer.Option(help="The platform's part in the act.")] = Role.OPERATOR,
    claimed: Annotated[str | None, typer.Option(help="Grams that the platform claims.")] = None,
    record: Annotated[int | None, typer.Option(help="A record of the hub's database instead.")] = None,
    methodology: Annotated[str | None, typer.Option(help="Version; the record's own, or the current one.")] = None,
    as_json: bool = AS_JSON,
) -> None:
    """Say how many milligrams an act is worth, by which figures, from which sources, step by step."""
    if (record is None) == (behaviour is None):
        raise UsageProblem("give a behaviour, or --record with the number of a record")
    try:
        if record is not None:
            act, pinned = _stored_act(record)
        else:
            act, pinned = _told_act(str(behaviour), quantity, unit, region, on, role, claimed), CURRENT_METHODOLOGY
        explained = explain(act, open_methodology(methodology or pinned))
    except (NotValuedError, RegionError, UnitError) as problem:
        raise UsageProblem(str(problem)) from problem
    if as_json:
        print_json(explained.to_dict())
    else:
        print_explanation(explained)


def print_explanation(explained: Explanation) -> None:
    """Print how an act came to its amount."""
    act = explained.act
    place = "an unknown place" if act.region is None else str(act.region)
    out.print(
        f"[bold]{act.behaviour}[/bold] {format_micro(explained.quantity_micro)} {explained.unit} on {act.day} in {place}, "
        f"told as {act.role}; methodology {explained.methodology}, method [bold]{explained.method.id}[/bold]"
    )
    out.print(f"  {explained.method.boundary}", style="dim")
    table(
        explained.method.formula.text,
        ["input", "figure", "says", "place", "source", "why this one"],
        [
            [
                u.name,
                u.figure.id,
                u.figure.said,
                place_name(u.figure.place),
                f"{u.figure.source} {u.source_title}",
                u.why,
            ]
            for u in explained.used
        ],
    )
    others = [[used.name, name, why] for used in explained.used for name, why in used.others]
    elsewhere = [
        [used.name, f"{used.elsewhere} others", "hold in other places"] for used in explained.used if used.elsewhere
    ]
    if others or elsewhere:
        table("Not chosen", ["input", "figure", "because"], others + elsewhere)
    table(
        "Step by step",
        ["expression", "value", "unit"],
        [[step.expression, text_of(step.value), str(step.measure)] for step in explained.steps],
        numbers=frozenset({1}),
    )
    for note in explained.notes:
        out.print(f"  note: {note}")
    out.print(
        Panel(
            f"{explained.counted_mg:,} mg = [bold]{format_grams(explained.counted_mg)} g[/bold] of CO2e "
            "(rounded half-even to the milligram, once)",
            expand=False,
        )
    )


def open_methodology(version: str) -> Methodology:
    """Return a methodology, or say which there are.

    Raises:
        UsageProblem: there is no such version, or its file is wrong.
    """
    try:
        return load_methodology(version)
    except DataError as problem:
        raise UsageProblem(str(problem)) from problem


def find_behaviour(code: str) -> Behaviour:
    """Return a behaviour, or say which there are.

    Raises:
        UsageProblem: there is no such behaviour.
    """
    known = load_behaviours().get(code)
    if known is None:
        raise UsageProblem(f"there is no behaviour {code!r}; there are {', '.join(load_behaviours())}")
    return known


def _told_act(
    behaviour: str,
    quantity: str | None,
    unit: str | None,
    region: int | None,
    on: datetime | None,
    role: Role,
    claimed: str | None,
) -> Act:
    return Act(
        behaviour=behaviour,
        quantity_micro=None if quantity is None else parse_decimal_micro(quantity),
        unit=unit,
        region=region,
        day=on.date() if on else _today(),
        role=role,
        claimed_mg=None if claimed is None else parse_decimal_micro(claimed) // 1000,
    )


def _today() -> date:
    return day_of(int(system_clock().timestamp() * 1_000_000))


def _stored_act(record: int) -> tuple[Act, str]:
    columns = ", ".join(_RECORD)
    with opened_hub() as hub, reading(hub.engine) as session:
        rows = load_frame(session, f"SELECT {columns} FROM reduction_record WHERE record_id = :r", _RECORD, r=record)
    if rows.is_empty():
        raise UsageProblem(f"there is no record {record}")
    row = rows.row(0, named=True)
    act = Act(
        behaviour=row["behaviour"],
        quantity_micro=row["quantity_micro"],
        unit=row["unit"],
        region=row["region"],
        day=day_of(row["start_us"]),
        role=row["role"],
        precision=row["precision"],
        claimed_mg=row["claimed_mg"],
    )
    return act, row["methodology"]


def _described(known: Behaviour, version: Methodology) -> dict[str, Any]:
    return {
        "code": known.code,
        "category": known.category,
        "zh": known.zh,
        "en": known.en,
        "aliases": known.aliases,
        "units": known.units,
        "group": known.group,
        "accepted": known.accepted,
        "support": SUPPORT[known.support],
        "sources": known.sources,
        "methodology": version.version,
        "methods": [
            {
                "id": m.id,
                "unit": m.unit,
                "formula": m.formula.text,
                "mg_per_unit": text_of(m.fallback_rate()),
                "status": m.status,
                "additive": m.additive,
                "boundary": m.boundary,
                "assumption": m.assumption,
                "inputs": {i.name: [figure.id for figure in i.figures] for i in m.inputs},
                "not_taken": {left.factor: left.why for left in m.not_taken},
            }
            for m in version.of_behaviour(known.code)
        ],
    }


def _places(inputs: Any) -> str:
    places = [place_name(figure.place) for choice in inputs for figure in choice.local]
    return ", ".join(dict.fromkeys(places)) if len(set(places)) <= 6 else f"{len(set(places))} places"


def _grams(factor: dict[str, Any]) -> str:
    per = f" per {factor['per']}" if factor["per"] > 1 else ""
    return format_grams(factor["amount_mg"]) + per


def _show_list(version: Methodology, *, as_json: bool) -> None:
    rows = [_described(behaviour, version) for behaviour in load_behaviours().values()]
    if as_json:
        print_json(rows)
        return
    cells = [
        [
            r["code"], r["zh"], r["en"], ", ".join(r["units"]),
            "; ".join(m["mg_per_unit"] for m in r["methods"]) or "-", r["group"] or "", r["support"],
        ]
        for r in rows
    ]  # fmt: skip
    table(
        f"Behaviours under {version.version}: {len(accepted_behaviours())} of {len(rows)} accepted; "
        f"versions: {', '.join(methodology_versions())}",
        ["code", "中文", "English", "units", "mg per unit", "excludes within", "support"],
        cells,
        numbers=frozenset({4}),
    )
