"""Decimals become whole numbers exactly, rounded half-even once."""

import json
from decimal import ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mappings.decimals import (
    BROKEN,
    EXACT,
    LIMIT,
    NEGATIVE,
    ROUNDED,
    TOO_LARGE,
    UNTOLD,
    decimal_places,
    parse_whole,
)
from mappings.reader import build_tree, read_documents

TREE = build_tree([("a",)])
UNTIMED = settings(deadline=None)  # the first call compiles


def parse(*texts: str, places: int = 6) -> list[tuple[int, int]]:
    documents = pl.Series([json.dumps({"a": text}) for text in texts])
    values, states = parse_whole(read_documents(documents, TREE).field((("a",),)).texts, places)
    return list(zip(values.tolist(), states.tolist(), strict=True))


@pytest.mark.parametrize(
    ("text", "value", "state"),
    [
        ("6.00", 6_000_000, EXACT),
        ("0", 0, EXACT),
        ("-0.000", 0, EXACT),
        ("00012.5", 12_500_000, EXACT),
        ("1e3", 1_000_000_000, EXACT),
        ("1.5E-3", 1500, EXACT),
        ("0.0000005", 0, ROUNDED),
        ("0.0000015", 2, ROUNDED),
        ("0.0000025", 2, ROUNDED),
        ("0.00000250000000000000000000001", 3, ROUNDED),
        ("0.00000004999", 0, ROUNDED),
        ("999999999999.999999", 999_999_999_999_999_999, EXACT),
        ("999999999999.9999994", 999_999_999_999_999_999, ROUNDED),
        ("999999999999.9999995", 0, TOO_LARGE),
        ("1000000000000", 0, TOO_LARGE),
        ("9" * 400, 0, TOO_LARGE),
        ("1e999999999999999999999", 0, TOO_LARGE),
        ("0e999999999999999999999", 0, EXACT),
        ("1e-999999999999999999999", 0, ROUNDED),
        ("-1", 0, NEGATIVE),
        ("-0.00000000000001", 0, NEGATIVE),
        ("-1e999", 0, NEGATIVE),
        ("", 0, UNTOLD),
        (" 1", 0, BROKEN),
        ("1 ", 0, BROKEN),
        ("+1", 0, BROKEN),
        (".5", 0, BROKEN),
        ("5.", 0, BROKEN),
        ("1e", 0, BROKEN),
        ("1e+", 0, BROKEN),
        ("1,5", 0, BROKEN),
        ("1_000", 0, BROKEN),
        ("0x10", 0, BROKEN),
        ("NaN", 0, BROKEN),
        ("Infinity", 0, BROKEN),
        ("１２", 0, BROKEN),
        ("-", 0, BROKEN),
        ("-e5", 0, BROKEN),
    ],
)
def test_each_writing_has_one_result(text: str, value: int, state: int) -> None:
    assert parse(text) == [(value, state)]


@UNTIMED
@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=0), st.integers(-9, 9))
def test_every_decimal_agrees_with_exact_arithmetic(number: Decimal, places: int) -> None:
    exact = Context(prec=9000, Emax=10**6, Emin=-(10**6)).scaleb(number, places)
    expected = exact.quantize(Decimal(1), ROUND_HALF_EVEN, Context(prec=9000, Emax=10**6, Emin=-(10**6)))
    value, state = parse(str(number), places=places)[0]
    if expected >= LIMIT:
        assert (value, state) == (0, TOO_LARGE)
    else:
        assert value == expected
        assert state == (EXACT if exact == expected else ROUNDED)


def test_a_conversion_is_a_shift_of_the_point_or_none() -> None:
    assert decimal_places(Fraction(1)) == 0
    assert decimal_places(Fraction(1, 1000)) == -3
    assert decimal_places(Fraction(1000)) == 3
    assert decimal_places(Fraction(1, 2)) is None
    assert decimal_places(Fraction(1, 3600)) is None
