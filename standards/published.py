"""What is published beside reduction factors: rewards (not grams), electricity factors, reference values. Pure.

Reads `data/rewards.toml`, `data/grid-factors.toml` and `data/reference-values.toml`.
"""

from functools import cache
from pathlib import Path

import polars as pl

from standards.behaviours import load_behaviours
from standards.datafile import DATA, Row, load_rows
from standards.factors import DATED, load_sources, require_behaviour, require_unit
from standards.measure import parse_measure
from standards.regions import COUNTRY, GRID_AREAS, load_regions
from standards.units import UnitError, exact_mass_mg, parse_decimal

STATUSES = frozenset({"published", "derived", "unverified"})
GRID_BASES = frozenset({"average", "residual", "fossil"})
# Whether a part of `per` units earns a part of the amount: in whole steps only, in proportion, or the source does not say.
ROUNDINGS = frozenset({"whole", "proportional", "unstated"})

REWARD_SCHEMA = pl.Schema(
    {
        "issuer": pl.String(),
        "behaviour": pl.String(),
        "unit": pl.String(),
        "amount": pl.String(),
        "per": pl.Int64(),
        "reward_unit": pl.String(),
        "rounding": pl.String(),
        "day_most": pl.String(),
        "valid_from": pl.Date(),
        "valid_until": pl.Date(),
        "dated": pl.String(),
        "note": pl.String(),
        "source": pl.String(),
        "status": pl.String(),
    }
)
GRID_SCHEMA = pl.Schema(
    {
        "id": pl.String(),
        "region": pl.String(),
        "year": pl.Int32(),
        "basis": pl.String(),
        "mg_per_kwh": pl.Int64(),
        "published": pl.Date(),
        "source": pl.String(),
        "status": pl.String(),
    }
)
REFERENCE_SCHEMA = pl.Schema(
    {
        "id": pl.String(),
        "value": pl.String(),
        "unit": pl.String(),
        "note": pl.String(),
        "source": pl.String(),
        "status": pl.String(),
    }
)


@cache
def load_rewards() -> pl.DataFrame:
    """Return what issuers pay in points, energy, credits or money (REWARD_SCHEMA); never to be read as grams."""
    return parse_rewards(DATA / "rewards.toml")


@cache
def load_grid_factors() -> pl.DataFrame:
    """Return the electricity factors (GRID_SCHEMA), by region, year of data and basis."""
    return parse_grid_factors(DATA / "grid-factors.toml")


@cache
def load_reference_values() -> pl.DataFrame:
    """Return the sourced numbers that derivations lean on (REFERENCE_SCHEMA); `value` is decimal text."""
    return parse_reference_values(DATA / "reference-values.toml")


def parse_rewards(file: Path) -> pl.DataFrame:
    """Read and check a table of rewards; raise DataError with file and line."""
    rows = []
    for row in load_rows(file, "reward"):
        behaviour = require_behaviour(row, load_behaviours())
        values = {
            "issuer": row.text("issuer"),
            "behaviour": behaviour.code,
            "unit": require_unit(row, behaviour),
            "amount": _number(row, "amount"),
            "per": row.whole("per", default=1, minimum=1),
            "reward_unit": row.text("reward_unit"),
            "rounding": row.text_or_none("rounding", ROUNDINGS) or "unstated",
            "day_most": _number(row, "day_most") if "day_most" in row.values else None,
            "valid_from": row.day_or_none("valid_from"),
            "valid_until": row.day_or_none("valid_until"),
            "dated": row.text_or_none("dated", DATED) or "unknown",
            "note": row.text_or_none("note"),
            **_provenance(row),
        }
        row.finish()
        if (values["valid_from"] is None) != (values["dated"] == "unknown"):
            raise row.error('valid_from is missing, or there although dated is "unknown"')
        rows.append(values)
    return pl.DataFrame(rows, schema=REWARD_SCHEMA)


def parse_grid_factors(file: Path) -> pl.DataFrame:
    """Read and check a table of electricity factors; raise DataError with file and line."""
    rows = []
    seen: dict[tuple[str, int, str], int] = {}
    for row in load_rows(file, "grid"):
        key = (row.text("region", _grid_places()), row.whole("year", minimum=2000), row.text("basis", GRID_BASES))
        if key in seen:
            raise row.error(f"repeats line {seen[key]}")
        seen[key] = row.line
        values = {
            "id": f"grid-{key[0]}-{key[1]}-{key[2]}",
            "region": key[0],
            "year": key[1],
            "basis": key[2],
            "mg_per_kwh": _mass_mg(row, "kg_per_kwh", "kg"),
            "published": row.day_or_none("published"),
            **_provenance(row),
        }
        row.finish()
        rows.append(values)
    return pl.DataFrame(rows, schema=GRID_SCHEMA)


def _grid_places() -> frozenset[str]:
    provinces = (str(code) for code in load_regions() if code % 10000 == 0)
    return GRID_AREAS | {COUNTRY} | frozenset(provinces)


def parse_reference_values(file: Path) -> pl.DataFrame:
    """Read and check a table of reference values; raise DataError with file and line."""
    rows = []
    seen: set[str] = set()
    for row in load_rows(file, "reference"):
        name = row.text("id")
        if name in seen:
            raise row.error(f"reference {name} occurs twice")
        seen.add(name)
        values = {"id": name, "value": _number(row, "value"), "unit": _unit(row), "note": row.text("note")}
        values |= _provenance(row)
        row.finish()
        rows.append(values)
    return pl.DataFrame(rows, schema=REFERENCE_SCHEMA)


def _provenance(row: Row) -> dict[str, str]:
    source, status = row.text("source"), row.text("status", STATUSES)
    if source not in load_sources():
        raise row.error(f"source {source!r} is not in the register of sources")
    if (source == "U") != (status == "unverified"):
        raise row.error("what has no source is unverified, and the other way round")
    return {"source": source, "status": status}


def _unit(row: Row) -> str:
    text = row.text("unit")
    try:
        parse_measure(text)
    except UnitError as cause:
        raise row.error(f"unit: {cause}") from cause
    return text


def _number(row: Row, name: str) -> str:
    text = row.text(name)
    try:
        positive = parse_decimal(text) > 0
    except UnitError as cause:
        raise row.error(f"{name}: {cause}") from cause
    if not positive:
        raise row.error(f"{name} must be more than zero")
    return text


def _mass_mg(row: Row, name: str, unit: str) -> int:
    try:
        return exact_mass_mg(_number(row, name), unit)
    except UnitError as cause:
        raise row.error(f"{name}: {cause}") from cause
