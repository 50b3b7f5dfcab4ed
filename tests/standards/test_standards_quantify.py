"""Quantifying is exact: half-even once, monotone, additive, never negative, in any order, and null where nothing is known."""

from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from types import MappingProxyType

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from standards.behaviours import accepted_behaviours, default_unit
from standards.choice import Figure, Input
from standards.formula import parse_formula
from standards.measure import measure_of_quantity, parse_measure
from standards.methodology import MAX_RATE_MG, Method, Methodology, load_methodology, methodology_versions
from standards.quantify import quantify
from standards.regions import places_of
from standards.schema import QUANTIFIED_SCHEMA, RECORD_SCHEMA, Role
from standards.units import MAX_INT64, MICRO, multiplier, parse_decimal_micro

AT = datetime(2026, 10, 5, 8, 0, tzinfo=UTC)
CODES = st.sampled_from(sorted(accepted_behaviours()))
# Wherever the amount fits 64 bits; the largest rate is below 10^7 mg.
SAFE_MICRO = st.integers(0, 9 * 10**17)
REGIONS = st.sampled_from([None, 0, -1, 110105, 420106, 420500, 440305, 510104, 510500, 620100, 830000, 999999])
ROLES = st.sampled_from(list(Role))
DAYS = st.integers(0, 5000).map(lambda days: date(2014, 6, 1) + timedelta(days=days))
# Any positive rate that a methodology may have, finer than what the table keeps.
RATES = st.fractions(Fraction(1, 10**6), MAX_RATE_MG, max_denominator=10**8) | st.integers(1, 10**6).map(Fraction)
ROW = {
    "subject_id": 1, "platform": "p", "role": "operator", "start_at": AT, "end_at": AT, "precision": "second",
    "behaviour": "MOB-BIKE", "quantity_micro": MICRO,
}  # fmt: skip
EXAMPLES = settings(max_examples=25, deadline=None)


def _quantify(rows, methodology=None):
    """The amounts of rows that differ from ROW, as (reference_mg, factor_id)."""
    frame = pl.DataFrame([ROW | {"record_id": i} | row for i, row in enumerate(rows)], schema=RECORD_SCHEMA)
    quantified = quantify(frame, methodology or load_methodology())
    assert quantified["record_id"].to_list() == list(range(len(rows)))
    return list(quantified.select("reference_mg", "factor_id").iter_rows())


def _masses(rows, methodology=None):
    return [mg for mg, _ in _quantify(rows, methodology)]


def _start(day):
    """Eight in the morning there."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _rounded(rate, quantity_micro):
    """The one rounding that there is, half-even, of a rate kept to the millionth of a milligram."""
    kept = Fraction(rate.numerator * MICRO // rate.denominator, MICRO)
    return round(Fraction(quantity_micro, MICRO) * kept)


def _with_rate(rate, cap=None):
    """A methodology of one method, to reach odd rates, ties and ends."""
    about = {"said": "s", "status": "published", "source": "S4", "source_place": "p"}
    saved = Figure(id="saved", value=rate, measure=parse_measure("mg/km")[1], **about)
    most = None if cap is None else Figure(id="cap", value=cap, measure=measure_of_quantity("km"), **about)
    measures = {"quantity": measure_of_quantity("km"), "saved": saved.measure}
    method = Method(
        id="bike-km", behaviour="MOB-BIKE", unit="km", formula=parse_formula("quantity * saved", measures),
        inputs=(Input(name="saved", fallback=saved),), cap=most, at_most_mg=None, note=None, boundary="b", assumption=None,
        not_taken=(),
    )  # fmt: skip
    return Methodology(
        version="test", valid_from=AT.date(), acts_from=date(2015, 1, 1), supersedes=None, summary="s",
        methods=MappingProxyType({("MOB-BIKE", "km"): method}),
    )  # fmt: skip


@EXAMPLES
@given(st.lists(st.tuples(CODES, SAFE_MICRO, st.booleans(), ROLES, REGIONS, DAYS), max_size=30))
def test_it_is_the_formula_with_the_figures_of_place_day_and_witness(drawn):
    rows = [
        {
            "behaviour": code, "quantity_micro": quantity, "role": role, "region": region, "start_at": _start(day),
            "unit": accepted_behaviours()[code].units[-1] if told else None,
        }
        for code, quantity, told, role, region, day in drawn
    ]  # fmt: skip
    for version in methodology_versions():
        methodology = load_methodology(version)
        for row, (mg, pin) in zip(rows, _quantify(rows, methodology), strict=True):
            unit = row["unit"] or default_unit(row["behaviour"], "second")
            method = methodology.methods.get((row["behaviour"], unit))
            day = row["start_at"].date()
            if method is None or day < methodology.acts_from:
                assert (mg, pin) == (None, None)
                continue
            places, witnessed = places_of(row["region"]), row["role"] != "self_report"
            figures = {i.name: i.choose(places, day, witnessed=witnessed) for i in method.inputs}
            cap = MAX_INT64 if method.cap is None else int(method.cap.value * MICRO)
            assert mg == _rounded(method.rate(figures), min(cap, row["quantity_micro"])), (method.id, figures)
            assert pin == method.pin(figures)


@EXAMPLES
@given(RATES, st.lists(st.integers(0, MAX_INT64), min_size=1, max_size=20), st.none() | st.integers(1, 10**12))
def test_it_equals_fractions_for_any_rate_and_cap_and_never_tells_a_wrong_number(rate, quantities, cap):
    rows = [{"quantity_micro": quantity} for quantity in quantities]
    for quantity, mg in zip(quantities, _masses(rows, _with_rate(rate, cap)), strict=True):
        counted = quantity if cap is None else min(quantity, cap * MICRO)
        exact = _rounded(rate, counted)
        assert mg in (exact, None)
        # Null only near the end, where two more units would not fit either.
        assert mg is not None or exact > MAX_INT64 - 2 * (int(rate) + 1)


# The last whole unit whose product fits may not be taken: its millionths could carry the sum over the end.
@EXAMPLES
@example(MAX_INT64 // 2_315_000 * MICRO + 999_999)
@example((MAX_INT64 // 2_315_000 - 1) * MICRO + 999_999)
@example(MAX_INT64)
@given(st.integers(0, MAX_INT64))
def test_an_amount_that_does_not_fit_is_null_and_never_wrong(quantity):
    mg, pin = _quantify([{"behaviour": "MOB-NODRIVE", "quantity_micro": quantity, "precision": "day"}])[0]
    exact = _rounded(Fraction(2_315_000), quantity)
    assert pin == "nodrive-day"
    assert mg in (exact, None)
    assert mg is not None or exact > MAX_INT64 - 2 * 2_315_000


@EXAMPLES
@given(st.integers(0, 10**6), st.integers(0, 5 * 10**5))
def test_ties_go_to_the_even_milligram_of_the_whole_amount(whole, half_rate):
    # An odd rate and an odd number of halves make the tie fall between an odd and an even milligram.
    rate = 2 * half_rate + 1
    quantity = whole * MICRO + 500_000
    exact = Fraction(quantity * rate, MICRO)
    assert exact.denominator == 2
    mg = _masses([{"quantity_micro": quantity}], _with_rate(Fraction(rate)))[0]
    assert mg % 2 == 0
    assert abs(mg - exact) == Fraction(1, 2)


@pytest.mark.parametrize(
    ("rate", "quantity_micro", "mg"),
    [
        ("1/3", 3_000_000, 1),
        ("1/3", 1_500_000, 0),
        ("2/3", 1_500_000, 1),
        ("16.4", 31_250, 1),
        ("0.5", 1_000_000, 0),
        ("1.5", 1_000_000, 2),
        ("2.5", 1_000_000, 2),
        ("2.500001", 1_000_000, 3),
        ("0.0000009", 9 * 10**18, 0),
        ("33880", 4_395_000, 148_903),
        ("48700", 4_395_000, 214_036),
    ],
)
def test_it_is_rounded_once_and_finer_than_a_millionth_is_dropped(rate, quantity_micro, mg):
    assert _masses([{"quantity_micro": quantity_micro}], _with_rate(Fraction(rate))) == [mg]


@EXAMPLES
@given(CODES, st.lists(SAFE_MICRO, min_size=2, max_size=20), REGIONS, ROLES)
def test_more_quantity_is_never_less_mass_and_mass_is_never_negative(behaviour, quantities, region, role):
    known = {"behaviour": behaviour, "region": region, "role": role}
    masses = _masses([{**known, "quantity_micro": quantity} for quantity in sorted(quantities)])
    assert masses == sorted(masses)
    assert masses[0] >= 0


@EXAMPLES
@given(st.sampled_from([m for m in load_methodology().methods.values() if m.additive]), st.data())
def test_an_act_told_in_parts_is_worth_the_whole_up_to_the_rounding_of_each_part(method, data):
    parts = data.draw(st.lists(st.integers(0, 10**12), min_size=1, max_size=12))
    known = {"behaviour": method.behaviour, "unit": method.unit, "region": data.draw(REGIONS)}
    *told, whole = _masses([{**known, "quantity_micro": part} for part in (*parts, sum(parts))])
    # Each part is off by half a milligram at most, and so is the whole.
    assert abs(sum(told) - whole) <= Fraction(len(parts) + 1, 2)


def test_only_what_has_a_cap_does_not_add_up():
    capped = [method for method in load_methodology().methods.values() if not method.additive]
    assert [method.id for method in capped] == ["walk-steps", "walk-km"]
    day = {"behaviour": "MOB-WALK", "precision": "day"}
    half, whole = _masses([{**day, "quantity_micro": steps * MICRO} for steps in (10_000, 20_000)])
    assert 2 * half > whole


@EXAMPLES
@given(
    st.integers(0, 10**9),
    st.sampled_from([("m", "km", "MOB-BIKE"), ("Wh", "kWh", "MOB-EVCHARGE"), ("g", "kg", "CLO-RECYCLE")]),
)
def test_an_act_is_worth_the_same_in_whichever_unit_it_was_told(thousandths, units):
    small, large, behaviour = units
    told = parse_decimal_micro(str(thousandths), multiplier(small, large))
    same = parse_decimal_micro(f"{thousandths // 1000}.{thousandths % 1000:03}")
    assert len(set(_quantify([{"behaviour": behaviour, "quantity_micro": micro} for micro in (told, same)]))) == 1


@EXAMPLES
@given(st.permutations(range(len(accepted_behaviours()))), st.integers(1, 25))
def test_neither_the_order_of_rows_nor_their_chunks_matter(order, size):
    rows = [{"behaviour": b, "quantity_micro": 1_234_567 * i} for i, b in enumerate(sorted(accepted_behaviours()))]
    known = _quantify(rows)
    assert _quantify([rows[i] for i in order]) == [known[i] for i in order]
    frame = pl.DataFrame([ROW | {"record_id": i} | row for i, row in enumerate(rows)], schema=RECORD_SCHEMA)
    chunked = pl.concat([frame[i : i + size] for i in range(0, len(rows), size)], rechunk=False)
    assert quantify(chunked, load_methodology()).equals(quantify(frame, load_methodology()))


@pytest.mark.parametrize("size", [1, 2, 22, 23, 24])
def test_rows_that_are_worked_on_in_slices_keep_their_amounts(monkeypatch, size):
    rows = [{"behaviour": b, "quantity_micro": 1_234_567 * i} for i, b in enumerate(sorted(accepted_behaviours()))]
    assert len(rows) == 23
    known = _quantify([*rows, {"behaviour": "MOB-FLY"}])
    monkeypatch.setattr("standards.rates.SLICE", size)
    assert _quantify([*rows, {"behaviour": "MOB-FLY"}]) == known


UNKNOWN = {
    "an unknown behaviour": {"behaviour": "MOB-FLY"},
    "a behaviour that is not accepted": {"behaviour": "MOB-ETC"},
    "no behaviour": {"behaviour": None},
    "a unit of another behaviour": {"unit": "trip"},
    "an unknown unit": {"unit": "furlong"},
    "a unit that is empty": {"unit": ""},
    "an act before the first day": {"start_at": datetime(2014, 12, 31, 15, 59, tzinfo=UTC)},
}


@pytest.mark.parametrize("row", UNKNOWN.values(), ids=UNKNOWN.keys())
def test_there_is_no_amount_for(row):
    assert _quantify([row]) == [(None, None)]


@pytest.mark.parametrize("quantity", [None, -1, -(2**63)])
def test_a_quantity_that_is_missing_or_negative_has_a_figure_but_no_amount(quantity):
    assert _quantify([{"quantity_micro": quantity}]) == [(None, "hello-bike")]


@pytest.mark.parametrize("region", [None, 0, -420106, 42, 830000, 999999, 2**31 - 1, -(2**31)])
def test_an_unknown_place_is_the_country(region):
    power = {"behaviour": "HOME-POWERSAVE", "region": region, "start_at": datetime(2026, 3, 1, tzinfo=UTC)}
    assert _quantify([power]) == [(530_600, "grid-CN-2023-average")]


@EXAMPLES
@given(st.sampled_from(sorted(load_methodology().methods)), REGIONS, st.sampled_from(["second", "minute", "day"]))
def test_a_counted_act_that_tells_no_quantity_is_one_and_any_other_unknown(key, region, precision):
    behaviour, unit = key
    known = {"behaviour": behaviour, "unit": unit, "region": region, "precision": precision}
    untold, one = _quantify([{**known, "quantity_micro": quantity} for quantity in (None, MICRO)])
    counts = accepted_behaviours()[behaviour].counts_one(unit)
    assert untold == (one if counts else (None, one[1]))
    assert one[0] is not None


@pytest.mark.parametrize(
    ("row", "mg"),
    [
        ({"behaviour": "MOB-WALK", "precision": "day", "quantity_micro": 8_123 * MICRO}, 133_217),
        ({"behaviour": "MOB-WALK", "quantity_micro": 1_500_000}, 34_440),
        ({"behaviour": "MOB-WALK", "precision": "minute", "quantity_micro": 1_500_000}, 34_440),
        ({"behaviour": "MOB-WALK", "unit": "steps", "quantity_micro": 500 * MICRO}, 8_200),
        ({"behaviour": "MOB-METRO", "quantity_micro": None}, 46_000),
        ({"behaviour": "MOB-METRO", "unit": "km", "quantity_micro": None}, None),
    ],
)
def test_the_unit_of_a_record_that_names_none_depends_on_its_precision(row, mg):
    assert _masses([row]) == [mg]


def test_a_day_begins_at_midnight_in_china():
    wuhan = {"region": 420106}
    before = wuhan | {"start_at": datetime(2025, 7, 31, 15, 59, 59, 999_999, tzinfo=UTC)}
    after = wuhan | {"start_at": datetime(2025, 7, 31, 16, 0, tzinfo=UTC)}
    assert _quantify([before, after]) == [(40_000, "wuhan-2024-bike"), (93_300, "wuhan-2025-bike")]


def test_the_result_has_the_declared_columns_and_other_columns_are_dropped():
    frame = pl.DataFrame([ROW | {"record_id": 1}], schema=RECORD_SCHEMA)
    assert quantify(frame.with_columns(extra=1), load_methodology()).schema == QUANTIFIED_SCHEMA
    assert quantify(pl.DataFrame(schema=RECORD_SCHEMA), load_methodology()).schema == QUANTIFIED_SCHEMA
