"""The factor table: what each issuer says one unit of a behaviour saves, with source, validity and derivation. Pure.

Reads `data/factors.toml` and `data/sources.toml`. A figure is kept as published (grams for `per` units), exactly.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from functools import cache
from pathlib import Path
from types import MappingProxyType

import polars as pl

from standards.behaviours import Behaviour, load_behaviours
from standards.datafile import DATA, DataError, Row, load_rows
from standards.regions import RegionError, check_region
from standards.units import UnitError, exact_mass_mg

BOUNDS = frozenset({"exact", "floor"})
GAS_SCOPES = frozenset({"CO2", "CO2e", "unstated"})
STATUSES = frozenset({"published", "derived", "hub-assumption"})
EVIDENCE = frozenset(
    {"operator-record", "meter-record", "uploaded-record", "self-check-in", "self-report", "survey", "unstated"}
)
DATED = frozenset({"stated", "month", "year", "launch", "report", "unknown"})

FACTOR_SCHEMA = pl.Schema(
    {
        "factor_id": pl.String(),
        "issuer": pl.String(),
        "behaviour": pl.String(),
        "unit": pl.String(),
        "amount_mg": pl.Int64(),
        "per": pl.Int64(),
        "mg_per_unit": pl.Int64(),
        "bound": pl.String(),
        "region": pl.Int32(),
        "evidence": pl.String(),
        "gas_scope": pl.String(),
        "baseline": pl.String(),
        "valid_from": pl.Date(),
        "valid_until": pl.Date(),
        "dated": pl.String(),
        "source": pl.String(),
        "source_place": pl.String(),
        "status": pl.String(),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where figures come from."""

    id: str
    title: str
    kind: str
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Factor:
    """One issuer's figure for one behaviour, unit, region and evidence, in one period."""

    factor_id: str
    issuer: str
    behaviour: str
    unit: str
    amount_mg: int
    per: int
    """How many units `amount_mg` is for: 8.2 g per 500 steps has no whole number of milligrams per step."""
    mg_per_unit: int | None
    """None if it is not whole."""
    bound: str
    region: int | None
    evidence: str
    gas_scope: str
    baseline: str
    valid_from: date | None
    valid_until: date | None
    """The first day on which it no longer holds."""
    dated: str
    source: str
    source_place: str
    status: str


@cache
def load_sources() -> Mapping[str, Source]:
    """Return the register of sources by id."""
    return parse_sources(DATA / "sources.toml")


@cache
def load_factors() -> pl.DataFrame:
    """Return the factor table (FACTOR_SCHEMA), one row per factor, in the order of the file."""
    return parse_factors(DATA / "factors.toml", load_behaviours(), load_sources())


def parse_sources(file: Path) -> Mapping[str, Source]:
    """Read and check a register of sources.

    Raises:
        DataError: a row breaks a rule; the text names file and line.
    """
    sources: dict[str, Source] = {}
    for row in load_rows(file, "source"):
        source = Source(id=row.text("id"), title=row.text("title"), kind=row.text("kind"), address=row.text("address"))
        row.finish()
        if source.id in sources:
            raise row.error(f"source {source.id} occurs twice")
        sources[source.id] = source
    return MappingProxyType(sources)


def parse_factors(file: Path, behaviours: Mapping[str, Behaviour], sources: Mapping[str, Source]) -> pl.DataFrame:
    """Read and check a factor table.

    Raises:
        DataError: a row breaks a rule (unknown behaviour or source, a unit that is not the behaviour's, two rows that
            hold at the same time...); the text names file and line.
    """
    factors: dict[str, Factor] = {}
    lines: dict[str, int] = {}
    for row in load_rows(file, "factor"):
        factor = _parse_row(row, behaviours, sources)
        if factor.factor_id in factors:
            raise row.error(f"factor {factor.factor_id} occurs twice")
        rival = next((known for known in factors.values() if _hold_together(known, factor)), None)
        if rival is not None:
            raise row.error(f"holds at the same time as {rival.factor_id} (line {lines[rival.factor_id]})")
        factors[factor.factor_id], lines[factor.factor_id] = factor, row.line
    if not factors:
        raise DataError(f"{file.name}: no factor")
    return pl.DataFrame([asdict(factor) for factor in factors.values()], schema=FACTOR_SCHEMA)


def _parse_row(row: Row, behaviours: Mapping[str, Behaviour], sources: Mapping[str, Source]) -> Factor:
    behaviour = require_behaviour(row, behaviours)
    per = row.whole("per", default=1, minimum=1)
    amount_mg = _amount_mg(row)
    factor = Factor(
        factor_id=row.text("id"),
        issuer=row.text("issuer"),
        behaviour=behaviour.code,
        unit=require_unit(row, behaviour),
        amount_mg=amount_mg,
        per=per,
        mg_per_unit=amount_mg // per if amount_mg % per == 0 else None,
        bound=row.text("bound", BOUNDS),
        region=row.whole_or_none("region"),
        evidence=row.text("evidence", EVIDENCE),
        gas_scope=row.text("gas_scope", GAS_SCOPES),
        baseline=row.text("baseline"),
        valid_from=row.day_or_none("valid_from"),
        valid_until=row.day_or_none("valid_until"),
        dated=row.text("dated", DATED),
        source=row.text("source"),
        source_place=row.text("source_place"),
        status=row.text("status", STATUSES),
    )
    row.finish()
    if factor.source not in sources:
        raise row.error(f"source {factor.source!r} is not in the register of sources")
    if factor.region is not None:
        _check_region(row, factor.region)
    if (factor.valid_from is None) != (factor.dated == "unknown"):
        raise row.error('valid_from is missing, or there although dated is "unknown"')
    if factor.valid_from and factor.valid_until and factor.valid_until <= factor.valid_from:
        raise row.error("valid_until is not after valid_from")
    return factor


def _check_region(row: Row, region: int) -> None:
    try:
        check_region(region)
    except RegionError as cause:
        raise row.error(str(cause)) from cause


def require_behaviour(row: Row, behaviours: Mapping[str, Behaviour]) -> Behaviour:
    """Return the row's behaviour, or raise the row's error."""
    code = row.text("behaviour")
    if code not in behaviours:
        raise row.error(f"unknown behaviour {code!r}")
    return behaviours[code]


def require_unit(row: Row, behaviour: Behaviour) -> str:
    """Return the row's unit, or raise the row's error if the behaviour is not counted in it."""
    unit = row.text("unit")
    if unit not in (*behaviour.units, *behaviour.published_units):
        known = ", ".join((*behaviour.units, *behaviour.published_units))
        raise row.error(f"unit {unit!r} is not a unit of {behaviour.code} ({known})")
    return unit


def _amount_mg(row: Row) -> int:
    try:
        amount = exact_mass_mg(row.text("grams"), "g")
    except UnitError as cause:
        raise row.error(f"grams: {cause}") from cause
    if amount <= 0:
        raise row.error("grams must be more than zero")
    return amount


def _hold_together(a: Factor, b: Factor) -> bool:
    """True if both claim to be the issuer's one value for the same thing on some day."""
    same = _thing(a) == _thing(b)
    a_ends_first = a.valid_until is not None and a.valid_until <= (b.valid_from or date.min)
    b_ends_first = b.valid_until is not None and b.valid_until <= (a.valid_from or date.min)
    return same and not a_ends_first and not b_ends_first


def _thing(factor: Factor) -> tuple[object, ...]:
    return factor.issuer, factor.behaviour, factor.unit, factor.region, factor.evidence
