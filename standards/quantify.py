"""Quantity times rate, in whole milligrams: exact integers, one half-even rounding, columns at a time. Pure."""

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import polars as pl

from standards.behaviours import accepted_behaviours, default_unit
from standards.methodology import Methodology
from standards.schema import QUANTIFIED_SCHEMA, Precision
from standards.units import MAX_INT64, MICRO


def amount_mg(quantity_micro: int, amount: int, per: int = 1) -> int:
    """Return what a quantity is worth at `amount` milligrams for `per` units: exact, then rounded half-even.

    Example:
        >>> amount_mg(4_395_000, 48_700)
        214036
    """
    return round(Fraction(quantity_micro * amount, per * MICRO))


def quantify(records: pl.DataFrame, methodology: Methodology) -> pl.DataFrame:
    """Add the methodology's amount to every record.

    Args:
        records: RECORD columns; others are dropped. A null unit is the behaviour's default unit.
        methodology: the rates.

    Returns:
        QUANTIFIED, rows in the same order. `factor_id` is null if there is no rate for behaviour and unit;
        `reference_mg` is null then, and if no quantity is told, it is negative, or the amount does not fit 64 bits.
    """
    table = _rate_table(methodology)
    slots = records.select(_slot(table)).to_series()
    looked_up = records.with_columns(_rate=table.rates.gather(slots), factor_id=table.factor_ids.gather(slots))
    return looked_up.select(
        *(pl.col(name) for name in QUANTIFIED_SCHEMA if name not in ("reference_mg", "factor_id")),
        _half_even_mg(pl.col("quantity_micro"), pl.col("_rate")).alias("reference_mg"),
        "factor_id",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _RateTable:
    """Rates by slot, so that a row is looked up by one number instead of three texts.

    slot = (behaviour x (units + 1) + unit) x 2 + day; the last unit stands for "none told".
    """

    codes: pl.Enum
    units: pl.Enum
    rates: pl.Series
    factor_ids: pl.Series


@lru_cache(maxsize=8)
def _rate_table(methodology: Methodology) -> _RateTable:
    behaviours = accepted_behaviours()
    units = sorted({unit for behaviour in behaviours.values() for unit in behaviour.units})
    rows = {(rate["behaviour"], rate["unit"]): rate for rate in methodology.rates.iter_rows(named=True)}
    slots = [
        rows.get((behaviour.code, unit or default_unit(behaviour.code, precision)))
        for behaviour in behaviours.values()
        for unit in (*units, None)
        for precision in (Precision.SECOND, Precision.DAY)
    ]
    return _RateTable(
        codes=pl.Enum(list(behaviours)),
        units=pl.Enum(units),
        rates=pl.Series([rate and rate["mg_per_unit"] for rate in slots], dtype=pl.Int64),
        factor_ids=pl.Series([rate and rate["factor_id"] for rate in slots], dtype=pl.String),
    )


def _slot(table: _RateTable) -> pl.Expr:
    """The slot of each row; null for a behaviour or a unit that nobody knows."""
    untold = len(table.units.categories)
    # A cast that is not strict turns unknown words into null, and null stays null through the arithmetic.
    behaviour = pl.col("behaviour").cast(table.codes, strict=False).to_physical().cast(pl.UInt32)
    unit = pl.col("unit").cast(table.units, strict=False).to_physical().cast(pl.UInt32)
    unit = pl.when(pl.col("unit").is_null()).then(pl.lit(untold, pl.UInt32)).otherwise(unit)
    day = (pl.col("precision") == Precision.DAY).cast(pl.UInt32)
    return (behaviour * (untold + 1) + unit) * 2 + day


def _half_even_mg(quantity_micro: pl.Expr, rate: pl.Expr) -> pl.Expr:
    """Round quantity x rate / 10^6 half-even, without ever holding a product that does not fit 64 bits."""
    whole, rest = quantity_micro // MICRO, quantity_micro % MICRO
    product = rest * rate
    floor = whole * rate + product // MICRO
    twice = (product % MICRO) * 2
    # A tie goes to the even milligram of the sum, not of the fraction alone: 1.5 mg is 2, as Decimal says.
    up = (twice > MICRO) | ((twice == MICRO) & (floor % 2 == 1))
    fits = (quantity_micro >= 0) & (whole < MAX_INT64 // rate)
    return pl.when(fits).then(floor + up.cast(pl.Int64))
