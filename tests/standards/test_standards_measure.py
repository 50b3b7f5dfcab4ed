"""Units of figures: an algebra that obeys its laws, and a text that is no unit is refused."""

from fractions import Fraction
from types import MappingProxyType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from standards.behaviours import load_behaviours
from standards.measure import MASS, PLAIN, Measure, measure_of_quantity, parse_measure
from standards.units import UnitError

EXAMPLES = settings(max_examples=60, deadline=None)
POWERS = st.dictionaries(st.sampled_from(["mg", "km", "kWh", "trip", "L"]), st.integers(-3, 3).filter(bool), max_size=4)
MEASURES = POWERS.map(lambda powers: Measure(MappingProxyType(powers)))
UNITS = st.sampled_from(["g", "kg", "t", "mg", "km", "m", "li", "kWh", "Wh", "MWh", "kJ", "trip", "L", "1", "percent"])


@EXAMPLES
@given(MEASURES, MEASURES, MEASURES)
def test_products_of_measures_commute_and_associate(a, b, c):
    assert a.times(b) == b.times(a)
    assert hash(a.times(b)) == hash(b.times(a))
    assert a.times(b).times(c) == a.times(b.times(c))
    assert a.times(PLAIN) == a


@EXAMPLES
@given(MEASURES, MEASURES)
def test_a_quotient_undoes_a_product(a, b):
    assert a.times(b).times(b, sign=-1) == a
    assert a.times(a, sign=-1) == PLAIN
    assert PLAIN.times(PLAIN.times(a, sign=-1), sign=-1) == a


@EXAMPLES
@given(MEASURES, MEASURES)
def test_no_power_of_zero_is_left_over_and_the_text_tells_measures_apart(a, b):
    assert all(a.times(b).powers.values())
    assert (str(a.times(PLAIN)) == str(b.times(PLAIN))) == (a == b)


@EXAMPLES
@given(st.lists(UNITS, min_size=1, max_size=4))
def test_the_scale_of_a_unit_is_that_of_its_parts(parts):
    scale, measure = parse_measure("/".join(parts))
    above_scale, above = parse_measure(parts[0])
    expected, of_expected = above_scale, above
    for part in parts[1:]:
        below_scale, below = parse_measure(f"1/{part}")
        expected, of_expected = expected * below_scale, of_expected.times(below)
    assert (scale, measure) == (expected, of_expected)


@pytest.mark.parametrize(
    ("text", "scale", "measure"),
    [
        ("g/km", Fraction(1000), "mg/km"),
        ("mg/m", Fraction(1000), "mg/km"),
        ("kg/kWh", Fraction(10**6), "mg/kWh"),
        ("kWh/km", Fraction(1), "kWh/km"),
        ("Wh/m", Fraction(1), "kWh/km"),
        ("percent", Fraction(1, 100), "1"),
        ("1", Fraction(1), "1"),
        ("steps", Fraction(1), "steps"),
        ("steps/km", Fraction(1), "steps/km"),
        ("li", Fraction(1, 2), "km"),
        ("g/km/trip", Fraction(1000), "mg/km/trip"),
        # A kilogram of clothes is none of CO2: below the line it stays what records tell.
        ("g/kg", Fraction(1000), "mg/kg"),
    ],
)
def test_a_unit_is_brought_to_basic_ones(text, scale, measure):
    told = parse_measure(text)
    assert (told[0], str(told[1])) == (scale, measure)


@pytest.mark.parametrize("text", ["", " ", "/", "g/", "/km", "g//km", " g/km", "g/ km", "g /km"])
def test_what_is_no_unit_is_refused(text):
    with pytest.raises(UnitError, match="is not a unit such as g/km"):
        parse_measure(text)


def test_a_figure_per_unit_times_a_quantity_is_a_mass_for_every_unit_of_the_behaviour_list():
    units = {unit for behaviour in load_behaviours().values() for unit in behaviour.units}
    assert "kg" in units
    for unit in units:
        assert parse_measure(f"g/{unit}")[1].times(measure_of_quantity(unit)) == MASS, unit


def test_a_quantity_is_never_a_mass_of_co2_itself():
    units = {unit for behaviour in load_behaviours().values() for unit in behaviour.units}
    assert all(measure_of_quantity(unit) != MASS for unit in units)


def test_a_measure_is_no_text():
    assert MASS != "mg"
    assert str(MASS) == "mg"
    assert str(Measure(MappingProxyType({"km": -2, "mg": 2}))) == "mg^2/km^2"
