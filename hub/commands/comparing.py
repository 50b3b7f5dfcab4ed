"""standards compare, standards points: everybody's values beside the hub's, and what platforms pay. I/O: terminal, files."""

from datetime import datetime
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from hub.clock import system_clock
from hub.commands.console import AS_JSON, out, print_json, table
from hub.commands.standards import METHODOLOGY, open_methodology
from hub.errors import NotFound, UsageProblem
from standards.compare import Standing, Told, UnitTable
from standards.compare import compare as compare_behaviour
from standards.comparison_svg import comparison_svg, times_text, value_text
from standards.differences import Why
from standards.exchanges import Exchange, load_exchanges
from standards.explain import NotValuedError
from standards.methodology import CURRENT_METHODOLOGY
from standards.points import Reward, decimal_text, load_reward_rules
from standards.rates import day_of
from standards.regions import RegionError, place_name
from standards.schema import Role
from standards.schemes import NoFigureError, Scheme, find_scheme, load_schemes

_BAR = 40
_EIGHTHS = " ▏▎▍▌▋▊▉"
# They are the same for all figures of a table, so the table says them once.
_OF_THE_HUB = frozenset({Why.HUB_CHOICE, Why.HUB_FORMULA})


def compare(
    behaviour: Annotated[str, typer.Argument(help="A behaviour code, such as MOB-BIKE.")],
    region: Annotated[int | None, typer.Option(help="GB/T 2260 code of the place, such as 420100.")] = None,
    unit: Annotated[str | None, typer.Option(help="Only figures in this unit; by default all.")] = None,
    on: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Day of the act; today.")] = None,
    role: Annotated[Role, typer.Option(help="The reporting platform's part in the act.")] = Role.OPERATOR,
    methodology: Annotated[str, METHODOLOGY] = CURRENT_METHODOLOGY,
    svg: Annotated[Path | None, typer.Option(help="Also write the picture to this file.")] = None,
    as_json: bool = AS_JSON,
) -> None:
    """Compare every issuer's value of a behaviour with the hub's, and say why they differ."""
    version = open_methodology(methodology)
    day = on.date() if on else day_of(int(system_clock().timestamp() * 1_000_000))
    try:
        comparison = compare_behaviour(behaviour, region=region, unit=unit, day=day, role=role, methodology=version)
    except (NotValuedError, RegionError) as problem:
        raise UsageProblem(str(problem)) from problem
    if svg is not None:
        svg.write_text(comparison_svg(comparison), encoding="utf-8")
    if as_json:
        print_json(comparison.to_dict())
        return
    known = comparison.behaviour
    out.print(
        f"[bold]{known.code}[/bold] {known.zh} / {known.en} on {day} in {comparison.place}, told as {role}; "
        f"methodology {comparison.methodology}"
    )
    for of_unit in comparison.tables:
        _print_unit(of_unit)
    for note in comparison.notes:
        out.print(note)
    if svg is not None:
        out.print(f"The picture is in {svg}.")


def points(
    issuer: Annotated[str | None, typer.Argument(help="Id of a scheme, such as luzhou-green-bud.")] = None,
    as_json: bool = AS_JSON,
) -> None:
    """Show what platforms pay for acts, and what points and grams are exchanged for there; none of it is grams."""
    try:
        schemes = [find_scheme(issuer)] if issuer is not None else list(load_schemes().values())
    except NoFigureError as problem:
        raise NotFound(str(problem)) from problem
    ids = {scheme.id for scheme in schemes}
    rewards = [reward for reward in load_reward_rules() if reward.issuer in ids]
    exchanges = [exchange for exchange in load_exchanges().values() if exchange.issuer in ids]
    if as_json:
        rules = {"rewards": [_reward(one) for one in rewards], "exchanges": [_exchange(one) for one in exchanges]}
        print_json({"schemes": [_scheme(one) for one in schemes]} | rules if issuer is not None else rules)
        return
    if issuer is not None:
        _print_scheme(schemes[0])
    if rewards:
        _print_rewards(rewards)
    if exchanges:
        table(
            "What grams and points are exchanged for",
            ["issuer", "kind", "gives", "gets", "rule", "reduction", "sources"],
            [
                [e.issuer, e.kind, e.gives or "", e.gets or "", e.rule, e.ownership or "", ", ".join(e.sources) or "none found"]
                for e in exchanges
            ],
        )  # fmt: skip
    if not rewards and not exchanges:
        out.print(f"No rule of points is known of {issuer}.")


def bar_of(value: Fraction, most: Fraction, width: int) -> str:
    """Return a bar of unicode blocks, to an eighth of a character; what is not nothing shows."""
    eighths = max(1, round(value / most * width * 8)) if value > 0 else 0
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


def _print_unit(of_unit: UnitTable) -> None:
    hub = of_unit.hub
    if hub is None and not of_unit.told:
        return
    rows = [["The hub 碳联", decimal_text(hub.exact_mg / 1000), "×1", "", "", ""]] if hub is not None else []
    rows += [
        [
            f"{told.scheme.en} {told.scheme.zh}", value_text(told), times_text(told), _validity(told),
            place_name(told.figure.place), "; ".join(reason.text for reason in told.reasons if reason.why not in _OF_THE_HUB),
        ]
        for told in of_unit.told
    ]  # fmt: skip
    table(
        f"Grams of CO2e per {of_unit.unit}",
        ["issuer", "grams", "of the hub's", "validity", "place", "why it differs"],
        rows,
        numbers=frozenset({1, 2}),
    )
    _print_bars(of_unit)
    if hub is not None:
        used = "; ".join(f"{used.figure.id} ({used.figure.said}), because {used.why}" for used in hub.used)
        out.print(f"The hub: {hub.method.formula.text}, with {used}.", highlight=False)
    if of_unit.told:
        table(
            "Where they stand",
            ["figure", "evidence", "gases", "baseline", "source"],
            [
                [
                    told.factor_id, told.evidence, told.gas_scope, told.baseline,
                    f"{told.figure.source} {told.source_title}: {told.figure.source_place}",
                ]
                for told in of_unit.told
            ],
        )  # fmt: skip


def _print_bars(of_unit: UnitTable) -> None:
    bars = [
        (told.factor_id, told.figure.value, f"{value_text(told)} g", "")
        if told.here
        else (told.factor_id, told.figure.value, f"{value_text(told)} g (another place or time)", "dim")
        for told in of_unit.told
    ]
    if of_unit.hub is not None:
        value = of_unit.hub.exact_mg
        bars.insert(0, ("the hub", value, f"{decimal_text(value / 1000)} g", "bold green"))
    most = max(value for _, value, _, _ in bars)
    grid = Table.grid(padding=(0, 1))
    for name, value, text, style in bars:
        grid.add_row(Text(name, style), Text(bar_of(value, most, _BAR), style), Text(text, style))
    out.print(grid)


def _validity(told: Told) -> str:
    figure = told.figure
    if figure.valid_from is None:
        return str(told.standing)
    until = f" until {figure.valid_until}" if figure.valid_until else ""
    mark = "" if told.standing is Standing.HOLDS else f"{told.standing}: "
    return f"{mark}from {figure.valid_from}{until}"


def _print_scheme(scheme: Scheme) -> None:
    out.print(f"[bold]{scheme.id}[/bold] {scheme.zh} / {scheme.en}; {scheme.kind}; {scheme.methods}")
    for name, text in (("formula", scheme.formula), ("boundary", scheme.boundary), ("rule", scheme.rule)):
        if text is not None:
            out.print(f"  {name}: {text}", highlight=False)
    out.print(f"  not found: {'; '.join(scheme.not_found)}", highlight=False)


def _print_rewards(rewards: list[Reward]) -> None:
    table(
        "What acts earn, in each issuer's own unit (never grams)",
        ["issuer", "behaviour", "earns", "from", "behind one (derived)", "note", "source"],
        [
            [
                r.issuer, r.behaviour, f"{decimal_text(r.pays.amount)} {r.pays.kind} for {r.per:,} {r.unit}",
                r.valid_from or "", r.implied() or "", _condition(r),
                r.source if r.status == "published" else f"{r.source} {r.status}",
            ]
            for r in rewards
        ],
    )  # fmt: skip


def _condition(reward: Reward) -> str:
    parts = {"whole": f"only whole {reward.unit}s", "proportional": "in proportion", "unstated": ""}[reward.rounding]
    unsaid = f"part of {reward.per:,}: not said" if reward.per > 1 and reward.rounding == "unstated" else ""
    return "; ".join(word for word in (reward.note, parts, unsaid) if word)


def _reward(reward: Reward) -> dict[str, Any]:
    implied = reward.implied()
    return {
        "issuer": reward.issuer, "behaviour": reward.behaviour, "unit": reward.unit, "per": reward.per,
        "amount": decimal_text(reward.pays.amount), "kind": reward.pays.kind, "rounding": reward.rounding,
        "day_most": decimal_text(reward.day_most.amount) if reward.day_most else None, "note": reward.note,
        "valid_from": reward.valid_from, "valid_until": reward.valid_until, "dated": reward.dated,
        "source": reward.source, "status": reward.status,
        "derived": implied and {"mg_per_point": decimal_text(implied.mg), "factor": implied.factor},
    }  # fmt: skip


def _exchange(exchange: Exchange) -> dict[str, Any]:
    return {
        "id": exchange.id, "issuer": exchange.issuer, "kind": exchange.kind, "gives": exchange.gives, "gets": exchange.gets,
        "rule": exchange.rule, "ownership": exchange.ownership, "valid_from": exchange.valid_from,
        "valid_until": exchange.valid_until, "dated": exchange.dated, "sources": exchange.sources, "status": exchange.status,
    }  # fmt: skip


def _scheme(scheme: Scheme) -> dict[str, Any]:
    return {
        "id": scheme.id, "zh": scheme.zh, "en": scheme.en, "kind": scheme.kind, "region": scheme.region,
        "since": scheme.since, "methods": scheme.methods, "formula": scheme.formula, "boundary": scheme.boundary,
        "rule": scheme.rule, "not_found": scheme.not_found, "sources": scheme.sources,
    }  # fmt: skip
