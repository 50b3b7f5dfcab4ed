"""Schemes: who values acts, by what rules, and what one of its own figures makes of an act. Pure.

Reads `data/schemes.toml`. What is not public is said plainly in `not_found`; a scheme without a figure for an act refuses,
and says what it does publish.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from functools import cache
from pathlib import Path
from types import MappingProxyType

import polars as pl

from standards.behaviours import default_unit, load_behaviours
from standards.choice import Figure, load_figures
from standards.datafile import DATA, DataError, Row, load_rows
from standards.explain import Act
from standards.factors import load_factors, load_sources
from standards.published import load_rewards
from standards.regions import RegionError, check_region, place_name, places_of
from standards.schema import Role
from standards.units import MAX_INT64, MICRO

KINDS = frozenset(
    {"city", "province", "region", "bank", "enterprise", "aggregator", "study", "organisation", "hub"}
)  # fmt: skip
_SINCE = re.compile(r"(19|20)\d\d(-(0[1-9]|1[0-2])(-(0[1-9]|[12]\d|3[01]))?)?", re.ASCII)


class NoFigureError(ValueError):
    """The scheme has published no figure for such an act; the text lists what it has published."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheme:
    """A city, bank, enterprise or study that values or rewards acts."""

    id: str
    """The `issuer` of its figures and rewards."""
    zh: str
    en: str
    kind: str
    region: int | None
    since: str | None
    """A year, a month or a day, as far as its source tells."""
    methods: str
    formula: str | None
    boundary: str | None
    rule: str | None
    """On additionality and on claiming twice; None if nothing was found."""
    not_found: tuple[str, ...]
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemeValue:
    """What one published figure makes of an act."""

    issuer: str
    figure: Figure
    unit: str
    quantity_micro: int
    exact_mg: Fraction
    """Before rounding."""
    amount_mg: int
    """Rounded half-even, once."""

    @property
    def floor(self) -> bool:
        """True if the issuer says "not lower than": the amount is the least that it stands for."""
        return self.figure.bound == "floor"


@cache
def load_schemes() -> Mapping[str, Scheme]:
    """Return all schemes by id; every issuer of a figure or a reward is one of them.

    Raises:
        DataError: a row breaks a rule, or an issuer has no row.
    """
    issuers = {*load_factors()["issuer"], *load_rewards()["issuer"]}
    return parse_schemes(DATA / "schemes.toml", issuers)


def parse_schemes(file: Path, issuers: Iterable[str]) -> Mapping[str, Scheme]:
    """Read and check a list of schemes.

    Args:
        file: the list.
        issuers: ids that figures and rewards name; each must have a row.

    Raises:
        DataError: a row breaks a rule, or an issuer has no row; the text names the file and, where known, the line.
    """
    schemes: dict[str, Scheme] = {}
    for row in load_rows(file, "scheme"):
        scheme = _parse_row(row)
        if scheme.id in schemes:
            raise row.error(f"scheme {scheme.id} occurs twice")
        schemes[scheme.id] = scheme
    missing = sorted(set(issuers) - schemes.keys())
    if missing:
        raise DataError(f"{file.name}: no scheme for {', '.join(missing)}, who publish figures or rewards")
    return MappingProxyType(schemes)


def find_scheme(issuer: str) -> Scheme:
    """Return a scheme by its id.

    Raises:
        NoFigureError: there is none; the text lists all.
    """
    scheme = load_schemes().get(issuer)
    if scheme is None:
        raise NoFigureError(f"there is no scheme {issuer!r}; there are {', '.join(load_schemes())}")
    return scheme


def scheme_value(issuer: str, act: Act) -> SchemeValue:
    """Value an act by the scheme's own published figure: what its platform would claim.

    The figure must be for the act's behaviour, unit and day. If the act has a place, it must lie in the figure's; if it has
    none, the scheme's own is taken. A figure that presumes a witness is not used for a self-report, and is preferred
    otherwise.

    Raises:
        NoFigureError: there is no such scheme or figure, or the quantity is missing, negative or too large.
        RegionError: the region is not a place in China.
    """
    scheme = find_scheme(issuer)
    if act.behaviour not in load_behaviours():
        raise NoFigureError(f"unknown behaviour {act.behaviour!r}; {published_by(scheme)}")
    unit = act.unit or default_unit(act.behaviour, act.precision)
    figure = _choose(scheme, act, unit)
    quantity = act.quantity_micro
    if quantity is None and load_behaviours()[act.behaviour].counts_one(unit):
        quantity = MICRO
    if quantity is None or quantity < 0:
        raise NoFigureError(f"{act.behaviour} needs a quantity in {unit}, zero or more")
    exact = figure.value * Fraction(quantity, MICRO)
    if round(exact) > MAX_INT64:
        raise NoFigureError(f"the amount of {act.behaviour} does not fit 64 bits of milligrams")
    return SchemeValue(
        issuer=scheme.id,
        figure=figure,
        unit=unit,
        quantity_micro=quantity,
        exact_mg=exact,
        amount_mg=round(exact),  # a Fraction rounds half-even, and exactly
    )


def published_by(scheme: Scheme, behaviour: str | None = None) -> str:
    """Return one sentence on what the scheme publishes in grams, of one behaviour or of all."""
    rows = load_factors().filter(pl.col("issuer") == scheme.id)
    if behaviour is not None and behaviour in set(rows["behaviour"]):
        rows = rows.filter(pl.col("behaviour") == behaviour)
    if rows.is_empty():
        return f"{scheme.id} publishes no grams that were found ({'; '.join(scheme.not_found)})"
    figures = load_figures()
    told = [f"{row['behaviour']} {_said(figures[row['factor_id']])}" for row in rows.iter_rows(named=True)]
    return f"{scheme.id} publishes {'; '.join(told)}"


def _choose(scheme: Scheme, act: Act, unit: str) -> Figure:
    rows = load_factors().filter(issuer=scheme.id, behaviour=act.behaviour, unit=unit)
    known = [load_figures()[name] for name in rows["factor_id"]]
    problem = f"no figure for {act.behaviour} per {unit}"
    if known and act.region is not None:
        places = places_of(check_region(act.region))
        known = [figure for figure in known if figure.place in places]
        problem = f"no figure for {act.behaviour} in {place_name(act.region)}"
    if known:
        known = [figure for figure in known if figure.holds_on(act.day)]
        problem = f"no figure for {act.behaviour} per {unit} that holds on {act.day}"
    if act.role not in set(Role):
        raise NoFigureError(f"unknown role {act.role!r}; there are {', '.join(Role)}")
    if known and not Role(act.role).is_witness:
        known = [figure for figure in known if not figure.witnessed]
        problem = f"no figure for {act.behaviour} per {unit} that nobody else saw"
    if not known:
        raise NoFigureError(f"{scheme.id} has {problem}; {published_by(scheme, act.behaviour)}")
    return max(known, key=lambda figure: (figure.witnessed, figure.valid_from or date.min))


def _said(figure: Figure) -> str:
    since = f" from {figure.valid_from}" if figure.valid_from else ""
    until = f" until {figure.valid_until}" if figure.valid_until else ""
    floor = "at least " if figure.bound == "floor" else ""
    return f"{floor}{figure.said} ({figure.id}, {place_name(figure.place)}{since}{until})"


def _parse_row(row: Row) -> Scheme:
    scheme = Scheme(
        id=row.text("id"),
        zh=row.text("zh"),
        en=row.text("en"),
        kind=row.text("kind", KINDS),
        region=row.whole_or_none("region"),
        since=row.text_or_none("since"),
        methods=row.text("methods"),
        formula=row.text_or_none("formula"),
        boundary=row.text_or_none("boundary"),
        rule=row.text_or_none("rule"),
        not_found=row.texts("not_found", required=True),
        sources=row.texts("sources", required=True),
    )
    row.finish()
    unknown = [source for source in scheme.sources if source not in load_sources()]
    if unknown:
        raise row.error(f"source {unknown[0]!r} is not in the register of sources")
    if scheme.since is not None and _SINCE.fullmatch(scheme.since) is None:
        raise row.error(f"since is {scheme.since!r}, not a year, a month or a day")
    if scheme.region is not None:
        try:
            check_region(scheme.region)
        except RegionError as cause:
            raise row.error(str(cause)) from cause
    return scheme
