"""Conversions are exact, and what is not a decimal number is refused."""

from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from standards.units import (
    MULTIPLIERS,
    UnitError,
    exact_mass_mg,
    format_micro,
    micro_of_quantity,
    multiplier,
    parse_decimal,
    parse_decimal_micro,
    parse_mass_mg,
)

DECIMALS = st.decimals(min_value=0, max_value=Decimal("999999999999.999999"), places=9)


@pytest.mark.parametrize(
    ("text", "source", "target", "micro"),
    [
        ("1500", "m", "km", 1_500_000),
        (750, "Wh", "kWh", 750_000),
        ("300", "fen", "yuan", 3_000_000),
        ("2", "li", "km", 1_000_000),
        ("90", "min", "h", 1_500_000),
        ("3600", "kJ", "kWh", 1_000_000),
        ("1", "m", "km", 1_000),
        ("0.0005", "m", "km", 0),
        ("0.0015", "m", "km", 2),
        ("0.0025", "m", "km", 2),
        ("1e3", "m", "km", 1_000_000),
        ("7", "trip", "trip", 7_000_000),
    ],
)
def test_conversion(text, source, target, micro):
    assert parse_decimal_micro(text, multiplier(source, target)) == micro


@pytest.mark.parametrize(
    ("text", "mg"),
    [("45.72", 45_720), ("250.50", 250_500), ("89", 89_000), ("0.0005", 0), ("0.0015", 2), ("-1.5", -1_500)],
)
def test_grams_become_milligrams(text, mg):
    assert parse_mass_mg(text) == mg


def test_other_masses_and_exact_masses():
    assert parse_mass_mg("1.5", "kg") == 1_500_000
    assert exact_mass_mg("0.5366", "kg") == 536_600
    with pytest.raises(UnitError, match="not a whole number"):
        exact_mass_mg("45.7205")
    with pytest.raises(UnitError, match="no conversion"):
        parse_mass_mg("1", "km")


def test_every_conversion_is_undone_by_its_reverse():
    for (source, target), times in MULTIPLIERS.items():
        assert times * multiplier(target, source) == 1


@pytest.mark.parametrize(("source", "target"), [("km", "kWh"), ("steps", "km"), ("trip", "km"), ("g", "point")])
def test_units_of_different_kinds_do_not_convert(source, target):
    with pytest.raises(UnitError, match="no conversion"):
        multiplier(source, target)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " 1",
        "1 ",
        "1,5",
        "1.",
        ".5",
        "01",
        "+1",
        "NaN",
        "Infinity",
        "1e999",
        "0x10",
        "1_000",
        "１",
        "1/2",
        "9" * 31,
        "--1",
    ],
)
def test_what_is_no_decimal_number_is_refused(text):
    with pytest.raises(UnitError, match="not a decimal number"):
        parse_decimal(text)


@pytest.mark.parametrize("value", [1.5, True, None, b"1", [1]])
def test_what_is_no_text_is_refused(value):
    with pytest.raises(UnitError, match="is not a decimal text"):
        parse_decimal(value)


@pytest.mark.parametrize("value", ["9223372036855", "1e20", "-9223372036855"])
def test_what_does_not_fit_64_bits_is_refused(value):
    with pytest.raises(UnitError, match="does not fit"):
        parse_decimal_micro(value)


@given(DECIMALS)
def test_parsing_rounds_half_even_once(value):
    expected = int(value.quantize(Decimal("0.000001"), rounding=ROUND_HALF_EVEN).scaleb(6))
    assert parse_decimal_micro(format(value, "f")) == expected
    assert parse_decimal(value) == Fraction(value)


@given(st.integers(-(2**63) + 1, 2**63 - 1))
def test_formatting_is_undone_by_parsing(micro):
    assert parse_decimal_micro(format_micro(micro)) == micro


@given(st.lists(st.none() | st.integers(0, 10**18 - 1), max_size=20))
def test_decimal_quantities_become_millionths_exactly(micros):
    values = [None if m is None else Decimal(m).scaleb(-6) for m in micros]
    frame = pl.DataFrame({"quantity": pl.Series(values, dtype=pl.Decimal(18, 6))})
    assert frame.select(micro_of_quantity(pl.col("quantity"), frame.schema["quantity"])).to_series().to_list() == micros


@given(st.lists(st.integers(0, 2**50), max_size=20))
def test_floats_of_six_decimals_become_the_millionths_that_were_written(micros):
    frame = pl.DataFrame({"quantity": pl.Series([float(format_micro(m)) for m in micros], dtype=pl.Float64)})
    assert frame.select(micro_of_quantity(pl.col("quantity"), frame.schema["quantity"])).to_series().to_list() == micros


def test_floats_round_half_even_and_what_is_no_number_becomes_null():
    frame = pl.DataFrame({"quantity": [2**-7, 3 * 2**-7, float("nan"), float("inf"), 1e300, -0.5]})
    micros = frame.select(micro_of_quantity(pl.col("quantity"), pl.Float64())).to_series().to_list()
    assert micros == [7812, 23438, None, None, None, -500_000]


@pytest.mark.parametrize("dtype", [pl.String(), pl.Int64(), pl.Float32(), pl.Decimal(18, 4)])
def test_other_types_of_quantity_are_refused(dtype):
    with pytest.raises(UnitError, match="quantity has type"):
        micro_of_quantity(pl.col("quantity"), dtype)
