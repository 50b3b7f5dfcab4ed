"""The methodology: one dated, sourced rate for each accepted behaviour and unit, whoever reports the act. Pure.

Reads `data/methodology-*.toml`; the figures behind the rates are in the factor table.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import polars as pl

from standards.behaviours import accepted_behaviours
from standards.datafile import DATA, DataError, Row, load_head, load_rows
from standards.factors import load_factors

CURRENT_METHODOLOGY = "hub-2026.1"
# The largest amount per unit for which the remainder's product fits 64 bits in `quantify`.
MAX_RATE_MG = 9 * 10**12

RATE_SCHEMA = pl.Schema(
    {
        "behaviour": pl.String(),
        "unit": pl.String(),
        "mg_per_unit": pl.Int64(),
        "factor_id": pl.String(),
        "status": pl.String(),
        "source": pl.String(),
        "reason": pl.String(),
    }
)


# Compared by identity: one object per version, so that tables derived from it can be kept.
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Methodology:
    """One version of what the hub counts per unit."""

    version: str
    valid_from: date
    formula: str
    boundary: str
    rates: pl.DataFrame
    """RATE_SCHEMA, one row per behaviour and unit."""
    by_unit: Mapping[tuple[str, str], int]
    """Milligrams per unit, by behaviour and unit."""


@cache
def load_methodology(version: str = CURRENT_METHODOLOGY) -> Methodology:
    """Return the methodology of this version.

    Raises:
        DataError: there is no such version, or its file breaks a rule.
    """
    methodology = parse_methodology(DATA / f"methodology-{version}.toml", load_factors())
    if methodology.version != version:
        raise DataError(f"the methodology file says it is {methodology.version}, not {version}")
    return methodology


def parse_methodology(file: Path, factors: pl.DataFrame) -> Methodology:
    """Read and check a methodology file against the factor table (FACTOR_SCHEMA).

    Raises:
        DataError: a rate is missing, given twice, above its factor or without one; the text names file and line.
    """
    head = load_head(file, frozenset({"rate"}))
    version, valid_from = head.text("version"), head.day("valid_from")
    formula, boundary = head.text("formula"), head.text("boundary")
    head.finish()
    by_id = {factor["factor_id"]: factor for factor in factors.iter_rows(named=True)}
    rates: dict[tuple[str, str], dict[str, Any]] = {}
    for row in load_rows(file, "rate"):
        rate = _parse_rate(row, by_id, valid_from)
        key = rate["behaviour"], rate["unit"]
        if key in rates:
            raise row.error(f"second rate for {key[0]} per {key[1]}")
        rates[key] = rate
    missing = {(b.code, unit) for b in accepted_behaviours().values() for unit in b.units} - rates.keys()
    if missing:
        raise DataError(f"{file.name}: no rate for {', '.join(f'{code} per {unit}' for code, unit in sorted(missing))}")
    return Methodology(
        version=version,
        valid_from=valid_from,
        formula=formula,
        boundary=boundary,
        rates=pl.DataFrame(list(rates.values()), schema=RATE_SCHEMA),
        by_unit=MappingProxyType({key: rate["mg_per_unit"] for key, rate in rates.items()}),
    )


def _parse_rate(row: Row, factors: Mapping[str, Mapping[str, Any]], valid_from: date) -> dict[str, Any]:
    code, unit, factor_id = row.text("behaviour"), row.text("unit"), row.text("factor")
    own_mg, reason = row.whole_or_none("mg_per_unit"), row.text_or_none("reason")
    row.finish()
    behaviour, factor = accepted_behaviours().get(code), factors.get(factor_id)
    if behaviour is None or unit not in behaviour.units:
        raise row.error(f"{code} per {unit} is not an accepted behaviour and unit")
    if factor is None:
        raise row.error(f"unknown factor {factor_id!r}")
    if (factor["behaviour"], factor["unit"]) != (code, unit):
        raise row.error(f"factor {factor_id} is for {factor['behaviour']} per {factor['unit']}")
    if factor["valid_from"] and factor["valid_from"] > valid_from:
        raise row.error(f"factor {factor_id} does not hold yet on {valid_from}")
    if factor["valid_until"] and factor["valid_until"] <= valid_from:
        raise row.error(f"factor {factor_id} holds no more on {valid_from}")
    return {
        "behaviour": code,
        "unit": unit,
        "mg_per_unit": _rate_mg(row, factor, own_mg, reason),
        "factor_id": factor_id,
        "status": factor["status"],
        "source": factor["source"],
        "reason": reason,
    }


def _rate_mg(row: Row, factor: Mapping[str, Any], own_mg: int | None, reason: str | None) -> int:
    """The factor's own amount, or a lower one that says why."""
    published = Fraction(factor["amount_mg"], factor["per"])
    if (own_mg is None) != (reason is None):
        raise row.error("mg_per_unit and its reason come together")
    if own_mg is None and published.denominator != 1:
        raise row.error(f"factor {factor['factor_id']} is no whole number of milligrams per unit: say mg_per_unit")
    rate = own_mg if own_mg is not None else int(published)
    if own_mg is not None and own_mg >= published:
        raise row.error(f"mg_per_unit {own_mg} is not below the factor's")
    if not 0 < rate <= MAX_RATE_MG:
        raise row.error(f"a rate of {rate} mg is out of range")
    return rate
