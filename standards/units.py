"""Exact conversions between units, on decimal text and whole numbers; never through a binary float. Pure."""

import re
from collections.abc import Mapping
from decimal import Decimal, localcontext
from fractions import Fraction
from types import MappingProxyType

import polars as pl

MICRO = 10**6
MAX_INT64 = 2**63 - 1
# A JSON number (RFC 8259, section 6), with bounds so that hostile digits cost nothing.
_DECIMAL = re.compile(r"-?(0|[1-9][0-9]{0,29})(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,2})?", re.ASCII)

_SIZES: dict[str, dict[str, Fraction]] = {
    "mass": {"mg": Fraction(1, 1000), "g": Fraction(1), "kg": Fraction(1000), "t": Fraction(10**6)},
    "length": {"m": Fraction(1, 1000), "km": Fraction(1), "li": Fraction(1, 2)},
    "energy": {"Wh": Fraction(1, 1000), "kWh": Fraction(1), "MWh": Fraction(1000), "kJ": Fraction(1, 3600)},
    "money": {"fen": Fraction(1, 100), "jiao": Fraction(1, 10), "yuan": Fraction(1)},
    "time": {"ms": Fraction(1, 1000), "s": Fraction(1), "min": Fraction(60), "h": Fraction(3600)},
}


class UnitError(ValueError):
    """The text is not a decimal number, the units do not convert, or the result does not fit 64 bits."""


def _multipliers() -> Mapping[tuple[str, str], Fraction]:
    pairs = {
        (source, target): size / target_size
        for sizes in _SIZES.values()
        for source, size in sizes.items()
        for target, target_size in sizes.items()
    }
    return MappingProxyType(pairs)


MULTIPLIERS: Mapping[tuple[str, str], Fraction] = _multipliers()


def multiplier(source: str, target: str) -> Fraction:
    """Return what a number in `source` must be multiplied by to be in `target`, exactly.

    Raises:
        UnitError: the two do not measure the same thing; a unit that is not known converts only to itself.

    Example:
        >>> multiplier("Wh", "kWh")
        Fraction(1, 1000)
    """
    if source == target:
        return Fraction(1)
    try:
        return MULTIPLIERS[source, target]
    except KeyError:
        raise UnitError(f"no conversion from {source!r} to {target!r}") from None


def parse_decimal(text: str | int | Decimal) -> Fraction:
    """Return the exact value of a decimal text ("45.72", "1e3"), a whole number or a finite Decimal.

    Raises:
        UnitError: it is anything else; a float is refused because it is not what the platform wrote.
    """
    if isinstance(text, bool) or not isinstance(text, str | int | Decimal):
        raise UnitError(f"{type(text).__name__} is not a decimal text")
    if isinstance(text, int):
        return Fraction(text)
    written = str(text)
    if _DECIMAL.fullmatch(written) is None:
        raise UnitError("not a decimal number")
    return Fraction(written)


def parse_decimal_micro(text: str | int | Decimal, times: Fraction = Fraction(1)) -> int:
    """Return a number, times an exact multiplier, in millionths: rounded half-even, once.

    Raises:
        UnitError: not a decimal number, or the result does not fit a signed 64-bit integer.

    Example:
        >>> parse_decimal_micro("1500", multiplier("m", "km"))
        1500000
    """
    # Fraction's round is half-even, and exact.
    return _fit(round(parse_decimal(text) * times * MICRO))


def parse_mass_mg(text: str | int | Decimal, unit: str = "g") -> int:
    """Return a mass in whole milligrams: "45.72" g is 45720; finer digits are rounded half-even.

    Raises:
        UnitError: not a decimal number, not a unit of mass, or too large.
    """
    return _fit(round(parse_decimal(text) * multiplier(unit, "mg")))


def exact_mass_mg(text: str | int | Decimal, unit: str = "g") -> int:
    """Return a mass in milligrams, and refuse one that is not whole: factors must not be rounded silently.

    Raises:
        UnitError: as `parse_mass_mg`, or the mass is not a whole number of milligrams.
    """
    exact = parse_decimal(text) * multiplier(unit, "mg")
    if exact.denominator != 1:
        raise UnitError(f"{text} {unit} is not a whole number of milligrams")
    return _fit(int(exact))


def format_micro(quantity_micro: int) -> str:
    """Return millionths as the shortest decimal text: 1500000 is "1.5"."""
    with localcontext() as exact:
        exact.prec = 40
        value = Decimal(quantity_micro).scaleb(-6).normalize()
        return format(value, "f")


def micro_of_quantity(column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Return an expression for `quantity_micro` from a public `quantity` column.

    Args:
        column: the quantity, Decimal(p, 6) (taken exactly) or Float64 (rounded half-even to six decimals first).
        dtype: the column's type.

    Raises:
        UnitError: it has another type.
    """
    if isinstance(dtype, pl.Decimal) and dtype.scale == 6:
        return column.to_physical().cast(pl.Int64)
    if dtype == pl.Float64():
        # A product of a double and 10^6 within 2^53 is off by less than half a millionth, and rint is half-even.
        # NaN, infinity and what does not fit become null through the non-strict cast: the caller must look for them.
        return (column * float(MICRO)).round(0, mode="half_to_even").cast(pl.Int64, strict=False)
    raise UnitError(f"quantity has type {dtype}, not decimal(18,6) or float64")


def _fit(value: int) -> int:
    if abs(value) > MAX_INT64:
        raise UnitError("the number does not fit 64 bits")
    return value
