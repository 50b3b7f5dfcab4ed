"""Worked examples: acts with the milligrams that a methodology must give them, written down beside it. Pure.

Reads `data/examples-*.toml`. Every method has at least one, and every figure of a place, those of the electricity tables
left out. What the engine says is compared with what is written here whenever a document is made, and in the tests.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from standards.datafile import DATA, DataError, Row, load_head, load_rows
from standards.explain import Act, Explanation, NotValuedError, explain
from standards.methodology import Method, Methodology, load_methodology
from standards.published import load_grid_factors
from standards.regions import RegionError
from standards.schema import Precision, Role
from standards.units import UnitError, parse_decimal_micro

# The name of a day record's unit decides nothing here, because examples always name the unit.
_PRECISION = Precision.SECOND


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """An act and what it is worth, with the figures that must be chosen for it."""

    place: str
    """File and line, for messages."""
    methodology: str
    method: str
    act: Act
    figures: tuple[str, ...]
    """In the order of the method's inputs."""
    mg: int
    why: str | None


@cache
def load_examples(version: str) -> tuple[Example, ...]:
    """Return the examples of a methodology.

    Raises:
        DataError: there are none, or their file breaks a rule.
    """
    return parse_examples(DATA / f"examples-{version}.toml")


def parse_examples(file: Path) -> tuple[Example, ...]:
    """Read and check a file of examples against its methodology.

    Raises:
        DataError: a row breaks a rule, a method or a figure of a place has no example, or there is no such methodology;
            the text names file and line. What an act is worth is looked at by `work_out`.
    """
    head = load_head(file, frozenset({"example"}))
    methodology = load_methodology(head.text("version"))
    head.finish()
    methods = {method.id: method for method in methodology.methods.values()}
    examples = tuple(_parse_example(row, methods, methodology.version) for row in load_rows(file, "example"))
    missing = without_example(methodology, examples)
    if missing:
        raise DataError(f"{file.name}: no example of {', '.join(missing)}")
    return examples


def without_example(methodology: Methodology, examples: Iterable[Example]) -> list[str]:
    """Return the methods, and as method/figure the figures of places, that no example shows."""
    known = list(examples)
    shown = {example.method for example in known} | {f"{e.method}/{name}" for e in known for name in e.figures}
    many = frozenset(load_grid_factors()["id"])
    wanted = [method.id for method in methodology.methods.values()]
    for method in methodology.methods.values():
        local = (figure.id for choice in method.inputs for figure in choice.local)
        wanted += [f"{method.id}/{name}" for name in local if name not in many]
    return [name for name in dict.fromkeys(wanted) if name not in shown]


def work_out(example: Example, methodology: Methodology) -> Explanation:
    """Return how the act comes to its amount.

    Raises:
        DataError: the amount or a figure is not the one that is written down, or the act is not valued at all.
    """
    try:
        explained = explain(example.act, methodology)
    except (NotValuedError, RegionError) as cause:
        raise DataError(f"{example.place}: {cause}") from cause
    chosen = tuple(used.figure.id for used in explained.used)
    if (explained.method.id, chosen) != (example.method, example.figures):
        raise DataError(f"{example.place}: {explained.method.id} chooses {chosen}, not {example.figures}")
    if explained.reference_mg != example.mg:
        raise DataError(f"{example.place}: {explained.reference_mg} mg, but {example.mg} are written down")
    return explained


def _parse_example(row: Row, methods: dict[str, Method], version: str) -> Example:
    method = methods[row.text("method", frozenset(methods))]
    text = row.text_or_none("quantity")
    try:
        quantity = None if text is None else parse_decimal_micro(text)
    except UnitError as cause:
        raise row.error(f"quantity: {cause}") from cause
    example = Example(
        place=f"{row.file}:{row.line}",
        methodology=version,
        method=method.id,
        act=Act(
            behaviour=method.behaviour,
            quantity_micro=quantity,
            unit=method.unit,
            region=row.whole_or_none("region"),
            day=row.day("day"),
            role=row.text("role", frozenset(Role)),
            precision=_PRECISION,
        ),
        figures=row.texts("figures", required=True),
        mg=row.whole("mg", minimum=0),
        why=row.text_or_none("why"),
    )
    row.finish()
    return example
