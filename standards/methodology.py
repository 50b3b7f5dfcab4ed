"""Methodologies: how the hub values an act, in versions that are never changed. Pure.

Reads `data/methodology-*.toml`: one file is one version. A method says, for one behaviour and unit, by which formula a
quantity becomes milligrams, and from which sourced figures each input of the formula is chosen.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fractions import Fraction
from functools import cache
from itertools import product
from pathlib import Path
from types import MappingProxyType

from standards.behaviours import load_behaviours
from standards.choice import Figure, Input, load_figures, undecided
from standards.datafile import DATA, DataError, Row, load_head, load_rows
from standards.formula import QUANTITY, Formula, FormulaError, parse_formula
from standards.measure import MASS, measure_of_quantity
from standards.published import GRID_BASES, load_grid_factors
from standards.regions import COUNTRY
from standards.units import MAX_INT64, MICRO

CURRENT_METHODOLOGY = "hub-2026.2"
# What the column of a record that keeps the chosen figures holds.
LONGEST_PIN = 120
# With a larger rate, the product with a remainder of the quantity would not fit 64 bits (`standards.rates`).
MAX_RATE_MG = 10**12
# An input of this name would hide the quantity, or a word of the language.
_TAKEN_NAMES = frozenset({QUANTITY, "min", "max"})


@dataclass(frozen=True, slots=True, kw_only=True)
class NotTaken:
    """A published figure that the hub does not use, and why."""

    factor: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """How acts of one behaviour, told in one unit, are valued."""

    id: str
    behaviour: str
    unit: str
    formula: Formula
    inputs: tuple[Input, ...]
    cap: Figure | None
    """The largest quantity of one record that counts; then acts do not add up, and `additive` is False."""
    at_most_mg: int | None
    """A rate that the formula's may not exceed, with its reason in `note`."""
    note: str | None
    boundary: str
    assumption: str | None
    """What the hub assumes in joining figures, if anything."""
    not_taken: tuple[NotTaken, ...]

    @property
    def additive(self) -> bool:
        """True if an act counts the same in one record as in parts of it."""
        return self.cap is None

    @property
    def status(self) -> str:
        """How well its fallback is founded: published, derived, or hub-assumption if anything is assumed or recalled."""
        statuses = {choice.fallback.status for choice in self.inputs}
        if self.assumption or statuses & {"hub-assumption", "unverified"}:
            return "hub-assumption"
        return "derived" if len(self.inputs) > 1 or "derived" in statuses else "published"

    def pin(self, figures: Mapping[str, Figure]) -> str:
        """Return what a record keeps of the figures chosen for it: those that depend on place, day and witness."""
        chosen = [figures[choice.name].id for choice in self.inputs if choice.local]
        return "+".join(chosen) or (self.inputs[0].fallback.id if len(self.inputs) == 1 else self.id)

    def rate(self, figures: Mapping[str, Figure]) -> Fraction:
        """Return the milligrams that one unit saves with these figures, by input name; exact."""
        rate = self.formula.rate({name: figure.value for name, figure in figures.items()})
        return rate if self.at_most_mg is None else min(rate, Fraction(self.at_most_mg))

    def fallback_rate(self) -> Fraction:
        """Return the milligrams that one unit saves where nothing more is known of the act."""
        return self.rate({choice.name: choice.fallback for choice in self.inputs})


# Compared by identity: one object per version, so that tables derived from it can be kept.
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Methodology:
    """One version of how the hub values acts."""

    version: str
    valid_from: date
    """The day from which the hub may use it for what it collects."""
    acts_from: date
    """The first day of an act that it can value."""
    supersedes: str | None
    summary: str
    methods: Mapping[tuple[str, str], Method]
    """By behaviour and unit."""

    def of_behaviour(self, behaviour: str) -> tuple[Method, ...]:
        """Return the methods of one behaviour, in the order of the file."""
        return tuple(method for method in self.methods.values() if method.behaviour == behaviour)


def methodology_versions() -> tuple[str, ...]:
    """Return all versions that there are, the oldest first."""
    versions = (file.stem.removeprefix("methodology-") for file in DATA.glob("methodology-*.toml"))
    # By number: hub-2026.10 comes after hub-2026.9.
    return tuple(sorted(versions, key=lambda version: [int(number) for number in re.findall(r"[0-9]+", version)]))


def load_methodology(version: str = CURRENT_METHODOLOGY) -> Methodology:
    """Return the methodology of this version.

    Raises:
        DataError: there is no such version, or its file breaks a rule.
    """
    return _load_version(version)


@cache
def _load_version(version: str) -> Methodology:
    # Beneath the default argument, so that the current version is one object whether it was named or not.
    if version not in methodology_versions():
        raise DataError(f"there is no methodology {version!r}; there are {', '.join(methodology_versions())}")
    methodology = parse_methodology(DATA / f"methodology-{version}.toml")
    if methodology.version != version:
        raise DataError(f"the methodology file says it is {methodology.version}, not {version}")
    return methodology


def parse_methodology(file: Path) -> Methodology:
    """Read and check a methodology file.

    Raises:
        DataError: a formula, unit, figure or behaviour is wrong, or two figures hold alike; names file and line.
    """
    head = load_head(file, frozenset({"method"}))
    figures = load_figures()
    valid_from = head.day("valid_from")
    methods: dict[tuple[str, str], Method] = {}
    for row in load_rows(file, "method"):
        method = _parse_method(row, figures)
        _check_method(row, method, valid_from)
        key = method.behaviour, method.unit
        if key in methods or method.id in {known.id for known in methods.values()}:
            raise row.error(f"second method {method.id} or for {key[0]} per {key[1]}")
        methods[key] = method
    methodology = Methodology(
        version=head.text("version"),
        valid_from=valid_from,
        acts_from=head.day("acts_from"),
        supersedes=head.text_or_none("supersedes"),
        summary=head.text("summary"),
        methods=MappingProxyType(methods),
    )
    head.finish()
    return methodology


def _parse_method(row: Row, figures: Mapping[str, Figure]) -> Method:
    code, unit = row.text("behaviour"), row.text("unit")
    behaviour = load_behaviours().get(code)
    if behaviour is None or unit not in behaviour.units:
        raise row.error(f"{code} per {unit} is not a behaviour and a unit that records use")
    inputs = tuple(_parse_input(name, table, figures) for name, table in row.tables("inputs").items())
    cap = _figure(row, row.text("cap"), figures) if "cap" in row.values else None
    at_most, note = row.whole_or_none("at_most_mg", minimum=1), row.text_or_none("note")
    measures = {QUANTITY: measure_of_quantity(unit), **{choice.name: choice.measure for choice in inputs}}
    try:
        formula = parse_formula(row.text("formula"), measures)
    except FormulaError as cause:
        raise row.error(str(cause)) from cause
    method = Method(
        id=row.text("id"),
        behaviour=code,
        unit=unit,
        formula=formula,
        inputs=inputs,
        cap=cap,
        at_most_mg=at_most,
        note=note,
        boundary=row.text("boundary"),
        assumption=row.text_or_none("assumption"),
        not_taken=tuple(_not_taken(inner, figures) for inner in row.inner_rows("not_taken")),
    )
    row.finish()
    if cap is not None and cap.measure != measures[QUANTITY]:
        raise row.error(f"the cap is in {cap.measure}, the quantity in {measures[QUANTITY]}")
    if cap is not None and cap.value * MICRO > MAX_INT64:
        raise row.error(f"the cap of {cap.said} does not fit")
    if at_most is not None and note is None:
        raise row.error("at_most_mg needs a note that says why")
    return method


def _check_method(row: Row, method: Method, valid_from: date) -> None:
    """Refuse figures that are for something else, hold no more, are told not to be taken, or between which none wins."""
    per_unit = MASS.times(measure_of_quantity(method.unit), sign=-1)
    for choice in method.inputs:
        strange = [
            f.id for f in choice.figures if f.measure == per_unit and f.behaviour not in (None, method.behaviour)
        ]
        if strange:
            raise row.error(f"{choice.name}: {', '.join(strange)} is not for {method.behaviour}")
        if not choice.fallback.holds_on(valid_from):
            raise row.error(f"{choice.name}: {choice.fallback.id} does not hold on {valid_from}")
        both = {figure.id for figure in choice.figures} & {left.factor for left in method.not_taken}
        if both:
            raise row.error(f"{choice.name}: {', '.join(sorted(both))} is used and said not to be taken")
        pair = undecided(choice.local)
        if pair:
            raise row.error(f"{choice.name}: nothing decides between {pair[0].id} and {pair[1].id}")
    _check_rates(row, method)


def _check_rates(row: Row, method: Method) -> None:
    """Refuse a method that saves nothing where nothing is known, or whose amounts would not fit somewhere."""
    names = [choice.name for choice in method.inputs]
    try:
        for chosen in product(*(choice.figures for choice in method.inputs)):
            figures = dict(zip(names, chosen, strict=True))
            rate = method.rate(figures)
            if len(method.pin(figures)) > LONGEST_PIN:
                raise row.error(f"a record would keep {method.pin(figures)}, more than {LONGEST_PIN} characters")
            if rate > MAX_RATE_MG:
                raise row.error(f"a rate of {Decimal(int(rate)):.6g} mg per {method.unit} is out of range")
        fallback = method.formula.rate({choice.name: choice.fallback.value for choice in method.inputs})
    except FormulaError as cause:
        raise row.error(str(cause)) from cause
    if not fallback:
        raise row.error(f"a rate of 0 mg per {method.unit} is out of range")
    if method.at_most_mg is not None and fallback <= method.at_most_mg:
        raise row.error(f"at_most_mg {method.at_most_mg} is not below what the formula gives")


def _parse_input(name: str, row: Row, figures: Mapping[str, Figure]) -> Input:
    """One of: a reduction factor, a reference value, or the electricity factors of one basis."""
    if not name.isidentifier() or name in _TAKEN_NAMES:
        raise row.error(f"{name!r} cannot be the name of an input")
    if "grid" in row.values:
        basis = row.text("grid", GRID_BASES)
        fallback = _figure(row, row.text("fallback"), figures)
        dated = load_grid_factors().filter(basis=basis).drop_nulls("published")
        local = tuple(figures[grid_id] for grid_id in dated["id"]) + _local(row, figures)
    else:
        fallback = _figure(row, row.text("reference" if "reference" in row.values else "factor"), figures)
        local = _local(row, figures)
    row.finish()
    strange = [figure.id for figure in local if figure.measure != fallback.measure]
    if strange:
        raise row.error(f"{name}: {', '.join(strange)} are not in {fallback.measure}, as {fallback.id} is")
    return Input(name=name, fallback=fallback, local=local)


def _local(row: Row, figures: Mapping[str, Figure]) -> tuple[Figure, ...]:
    local = tuple(_figure(row, name, figures) for name in row.texts("local"))
    everywhere = [figure.id for figure in local if figure.place == COUNTRY]
    if everywhere:
        raise row.error(f"local: {', '.join(everywhere)} holds for the whole country")
    return local


def _not_taken(row: Row, figures: Mapping[str, Figure]) -> NotTaken:
    left = NotTaken(factor=_figure(row, row.text("factor"), figures).id, why=row.text("why"))
    row.finish()
    return left


def _figure(row: Row, name: str, figures: Mapping[str, Figure]) -> Figure:
    if name not in figures:
        raise row.error(f"there is no figure {name!r}")
    return figures[name]


def quantity_cap_micro(method: Method) -> int | None:
    """Return the cap in millionths of the unit, or None."""
    return None if method.cap is None else int(method.cap.value * MICRO)
