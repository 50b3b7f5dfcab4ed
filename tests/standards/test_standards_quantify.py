"""Quantifying is exact: half-even once, monotone, never negative, in any order, the same as exact arithmetic."""

from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from fractions import Fraction

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from standards.behaviours import accepted_behaviours, default_unit
from standards.methodology import Methodology, load_methodology
from standards.quantify import amount_mg, quantify
from standards.schema import QUANTIFIED_SCHEMA, RECORD_SCHEMA

AT = datetime(2026, 10, 5, 8, 0, tzinfo=UTC)
CODES = st.sampled_from(sorted(accepted_behaviours()))
MICRO = st.integers(0, 10**18)
# Wherever the amount fits 64 bits; the largest rate is below 10^7 mg.
SAFE_MICRO = st.integers(0, 9 * 10**17)


def _frame(rows):
    """rows: (behaviour, quantity_micro, unit, precision)."""
    base = {"subject_id": 1, "platform": "p", "role": "operator", "start_at": AT, "end_at": AT}
    records = [
        base | {"record_id": i, "behaviour": b, "quantity_micro": q, "unit": u, "precision": p}
        for i, (b, q, u, p) in enumerate(rows)
    ]
    return pl.DataFrame(records, schema=RECORD_SCHEMA)


def _decimal_mg(quantity_micro, rate):
    with localcontext() as exact:
        exact.prec = 60
        return int((Decimal(quantity_micro) * rate / 10**6).quantize(Decimal(1), rounding=ROUND_HALF_EVEN))


def _with_rates(rates):
    """A methodology with other rates, to reach odd rates and ties."""
    known = load_methodology()
    frame = known.rates.with_columns(mg_per_unit=pl.lit(rates, dtype=pl.Int64))
    return Methodology(
        version="test",
        valid_from=known.valid_from,
        formula="f",
        boundary="b",
        rates=frame,
        by_unit={(r["behaviour"], r["unit"]): rates for r in frame.iter_rows(named=True)},
    )


@given(
    st.lists(st.tuples(CODES, st.none() | SAFE_MICRO, st.booleans(), st.sampled_from(["second", "day"])), max_size=30)
)
def test_it_equals_decimal_arithmetic_for_every_behaviour(drawn):
    rows = [(b, q, accepted_behaviours()[b].units[-1] if told else None, p) for b, q, told, p in drawn]
    rates = load_methodology().by_unit
    quantified = quantify(_frame(rows), load_methodology())
    expected = [None if q is None else _decimal_mg(q, rates[b, u or default_unit(b, p)]) for b, q, u, p in rows]
    assert quantified["reference_mg"].to_list() == expected
    assert quantified["factor_id"].null_count() == 0


@given(st.integers(1, 10**6), st.lists(st.integers(0, 10**12), min_size=1, max_size=20))
def test_it_equals_fractions_for_any_rate(rate, quantities):
    quantified = quantify(_frame([("MOB-BIKE", q, None, "second") for q in quantities]), _with_rates(rate))
    assert quantified["reference_mg"].to_list() == [round(Fraction(q * rate, 10**6)) for q in quantities]


@given(st.integers(0, 10**6), st.integers(0, 5 * 10**5))
def test_ties_go_to_the_even_milligram_of_the_whole_amount(whole, half_rate):
    # An odd rate and an odd number of halves make the tie fall between an odd and an even milligram.
    rate = 2 * half_rate + 1
    quantity = whole * 10**6 + 500_000
    exact = Fraction(quantity * rate, 10**6)
    assert exact.denominator == 2
    mg = quantify(_frame([("MOB-BIKE", quantity, None, "second")]), _with_rates(rate))["reference_mg"][0]
    assert mg % 2 == 0
    assert abs(mg - exact) == Fraction(1, 2)
    assert mg == amount_mg(quantity, rate)


@given(CODES, st.lists(SAFE_MICRO, min_size=2, max_size=20))
def test_more_quantity_is_never_less_mass_and_mass_is_never_negative(behaviour, quantities):
    ordered = sorted(quantities)
    masses = quantify(_frame([(behaviour, q, None, "second") for q in ordered]), load_methodology())[
        "reference_mg"
    ].to_list()
    assert masses == sorted(masses)
    assert masses[0] >= 0


@given(st.permutations([(b, 1_234_567 * (i + 1), None, "second") for i, b in enumerate(sorted(accepted_behaviours()))]))
def test_the_order_of_rows_does_not_matter(rows):
    quantified = quantify(_frame(rows), load_methodology())
    assert quantified["record_id"].to_list() == list(range(len(rows)))
    by_behaviour = dict(quantified.select("behaviour", "reference_mg").iter_rows())
    rates = load_methodology().by_unit
    assert by_behaviour == {b: _decimal_mg(q, rates[b, default_unit(b, "second")]) for b, q, _, _ in rows}


@pytest.mark.parametrize(
    ("row", "mg", "factor_id"),
    [
        (("MOB-BIKE", 2_000_000, "km", "second"), 67_760, "hello-bike"),
        (("MOB-WALK", 8_123_000_000, None, "day"), 129_968, "luzhou-walk"),
        (("MOB-WALK", 1_500_000, None, "second"), 33_600, "hub-2026-walk-km"),
        (("MOB-WALK", 500_000_000, "steps", "second"), 8_000, "luzhou-walk"),
        (("MOB-METRO", 1_000_000, None, "second"), 46_000, "beijing-handbook-metro"),
        (("MOB-METRO", 10_000_000, "km", "second"), 467_000, "shenzhen-metro-km"),
        (("MOB-EVCHARGE", None, "kWh", "second"), None, "shanxi-2022-evcharge"),
        (("MOB-EVCHARGE", -1, "kWh", "second"), None, "shanxi-2022-evcharge"),
        (("MOB-FLY", 1_000_000, None, "second"), None, None),
        (("MOB-ETC", 1_000_000, None, "second"), None, None),
        (("MOB-BIKE", 1_000_000, "trip", "second"), None, None),
        (("MOB-BIKE", 1_000_000, "furlong", "second"), None, None),
        (("MOB-NODRIVE", 2**63 - 1, None, "day"), None, "hub-2026-nodrive"),
    ],
)
def test_one_record(row, mg, factor_id):
    quantified = quantify(_frame([row]), load_methodology())
    assert quantified.select("reference_mg", "factor_id").row(0) == (mg, factor_id)


# The last whole unit whose product fits may not be taken: its millionths could carry the sum over the end.
@example((2**63 - 1) // 2_315_000 * 10**6 + 999_999)
@example(((2**63 - 1) // 2_315_000 - 1) * 10**6 + 999_999)
@given(st.integers(0, 2**63 - 1))
def test_an_amount_that_does_not_fit_is_null_and_never_wrong(quantity):
    rate = load_methodology().by_unit["MOB-NODRIVE", "vehicle-day"]
    mg = quantify(_frame([("MOB-NODRIVE", quantity, None, "day")]), load_methodology())["reference_mg"][0]
    exact = _decimal_mg(quantity, rate)
    assert mg in (exact, None)
    assert mg is not None or exact > 2**63 - 1 - 2 * rate


def test_the_result_has_the_declared_columns_and_other_columns_are_dropped():
    quantified = quantify(_frame([("MOB-BUS", 1_000_000, None, "second")]).with_columns(extra=1), load_methodology())
    assert quantified.schema == QUANTIFIED_SCHEMA
    assert quantify(pl.DataFrame(schema=RECORD_SCHEMA), load_methodology()).schema == QUANTIFIED_SCHEMA


def test_rows_from_several_chunks_keep_their_amounts():
    parts = [_frame([("MOB-BUS", 1_000_000, None, "second")]), _frame([("MOB-BIKE", 1_000_000, None, "second")])]
    quantified = quantify(pl.concat(parts, rechunk=False), load_methodology())
    assert quantified["reference_mg"].to_list() == [80_000, 33_880]
