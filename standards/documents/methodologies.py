"""A version of the methodology as data: head, rules, and every method with all its figures and worked examples. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

from standards.behaviours import load_behaviours
from standards.choice import Figure, Input, load_figures
from standards.datafile import DATA
from standards.documents.examples import Example, load_examples, work_out
from standards.documents.table import exact_text
from standards.explain import Explanation
from standards.factors import load_factors, load_sources
from standards.methodology import Method, Methodology, load_methodology
from standards.regions import place_name
from standards.units import format_micro

# What holds in every version, because the engine does it.
RULES = (
    "A method is found by the behaviour and the unit of the record. A record without a unit has the default one.",
    "A record of a counted act (a trip, an order, a meal) that tells no quantity stands for one.",
    "Each input is one figure. Of the figures of places the closest wins: city, province, area of the grid, country.",
    "In one place, a figure that presumes a witness wins over one that does not, if somebody else saw the act.",
    "Then the latest wins that held on the day of the act, in China Standard Time.",
    "Where no figure of the place holds, the fallback does: it is taken for every place and day.",
    "The formula is computed exactly, is never below zero, and is rounded half-even to the milligram once per record.",
    "What counts is never more than the platform itself claims in grams of reduction.",
    "Rewards in points, energy, credits or money are not grams and are no input of any formula.",
)
STATUSES = {
    "published": "the fallback is a published figure",
    "derived": "the fallback is arithmetic on published figures",
    "hub-assumption": "something in the fallback is assumed by the hub, or recalled without a source that could be shown",
}


def methodology_form(version: str) -> dict[str, Any]:
    """Return a methodology as JSON values; exact numbers are text.

    Raises:
        DataError: there is no such version, or an example does not come to what is written down.
    """
    methodology = load_methodology(version)
    examples = load_examples(version)
    return {
        "version": methodology.version,
        "valid_from": methodology.valid_from.isoformat(),
        "acts_from": methodology.acts_from.isoformat(),
        "supersedes": methodology.supersedes,
        "summary": methodology.summary,
        "rules": list(RULES),
        "notes": _notes(version),
        "methods": [_method(method, methodology, examples) for method in methodology.methods.values()],
    }


def _method(method: Method, methodology: Methodology, examples: tuple[Example, ...]) -> dict[str, Any]:
    behaviour, figures = load_behaviours()[method.behaviour], load_figures()
    return {
        "id": method.id,
        "behaviour": method.behaviour,
        "zh": behaviour.zh,
        "en": behaviour.en,
        "unit": method.unit,
        "formula": method.formula.text,
        "boundary": method.boundary,
        "assumption": method.assumption,
        "status": method.status,
        "status_in_words": STATUSES[method.status],
        "mg_per_unit": exact_text(method.fallback_rate()),
        "at_most_mg_per_unit": method.at_most_mg,
        "note": method.note,
        "cap": None if method.cap is None else _figure(method.cap, _evidence()),
        "additive": method.additive,
        "inputs": [_input(choice) for choice in method.inputs],
        "not_taken": [_figure(figures[left.factor], _evidence()) | {"why": left.why} for left in method.not_taken],
        "examples": [_example(e, work_out(e, methodology)) for e in examples if e.method == method.id],
    }


def _input(choice: Input) -> dict[str, Any]:
    evidence = _evidence()
    return {
        "name": choice.name,
        "measure": str(choice.measure),
        "fallback": choice.fallback.id,
        "figures": [_figure(figure, evidence) for figure in dict.fromkeys(choice.figures)],
    }


def _figure(figure: Figure, evidence: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    source = load_sources()[figure.source]
    factor = evidence.get(figure.id, {})
    return {
        "id": figure.id,
        "value": exact_text(figure.value),
        "measure": str(figure.measure),
        "said": figure.said,
        "place": figure.place,
        "place_name": place_name(figure.place),
        "valid_from": figure.valid_from and figure.valid_from.isoformat(),
        "valid_until": figure.valid_until and figure.valid_until.isoformat(),
        "bound": figure.bound,
        "issuer": factor.get("issuer"),
        "evidence": factor.get("evidence"),
        "presumes_a_witness": figure.witnessed,
        "gas_scope": factor.get("gas_scope"),
        "status": figure.status,
        "source": figure.source,
        "source_title": source.title,
        "source_address": source.address,
        "source_place": figure.source_place,
    }


def _evidence() -> dict[str, dict[str, Any]]:
    """What the factor table says of a figure beyond its value, by id."""
    return {row["factor_id"]: row for row in load_factors().iter_rows(named=True)}


def _example(example: Example, explained: Explanation) -> dict[str, Any]:
    act = explained.act
    return {
        "why": example.why,
        "quantity": None if act.quantity_micro is None else format_micro(act.quantity_micro),
        "unit": explained.unit,
        "region": act.region,
        "place_name": "an unknown place" if act.region is None else place_name(act.region),
        "day": act.day.isoformat(),
        "role": str(act.role),
        "quantity_counted": format_micro(explained.quantity_micro),
        "figures": {used.name: used.figure.id for used in explained.used},
        "reasons": {used.name: used.why for used in explained.used},
        "steps": [
            {"expression": step.expression, "value": exact_text(step.value), "measure": str(step.measure)}
            for step in explained.steps
        ],
        "exact_mg": exact_text(explained.exact_mg),
        "mg": example.mg,
        "notes": list(explained.notes),
    }


def _notes(version: str) -> str:
    """The words at the top of the version's own file, where its rules of choice stand."""
    text = (DATA / f"methodology-{version}.toml").read_text(encoding="utf-8")
    return "\n".join(line.removeprefix("#").removeprefix(" ") for line in _top(text))


def _top(text: str) -> Iterator[str]:
    for line in text.splitlines():
        if not line.startswith("#"):
            return
        yield line
