"""The language of methodologies computes what the expression says, exactly, and is closed: all else is refused."""

import time
from fractions import Fraction

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from standards.formula import LONGEST, FormulaError, parse_formula
from standards.measure import MASS, parse_measure

UNITS = {
    "quantity": "km", "saved": "g/km", "other": "g/km", "share": "percent", "times": "1",
    "consumption": "kWh/km", "electricity": "g/kWh", "per_trip": "g/trip", "mass": "g",
}  # fmt: skip
MEASURES = {name: parse_measure(unit)[1] for name, unit in UNITS.items()}
VALUES = st.fractions(0, 50, max_denominator=20)
QUANTITIES = st.fractions(0, 10**9, max_denominator=10**6)
EXAMPLES = settings(max_examples=40, deadline=None)


def _parse(text):
    """Parse with just the inputs that the text names."""
    return parse_formula(text, {name: m for name, m in MEASURES.items() if name in text or name == "quantity"})


# Random trees: every expression comes with a function that computes it without the language.
def _join(pair, sign, compute):
    (left, of_left), (right, of_right) = pair
    text = f"{sign}({left}, {right})" if sign in ("min", "max") else f"({left} {sign} {right})"
    return text, lambda values: compute(of_left(values), of_right(values))


def _pairs(left, right, **operators):
    computes = {
        "+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b, "/": lambda a, b: a / b,
        "min": min, "max": max,
    }  # fmt: skip
    signs = st.sampled_from(operators["of"])
    return st.tuples(st.tuples(left, right), signs).map(lambda drawn: _join(drawn[0], drawn[1], computes[drawn[1]]))


def _name(name):
    return st.just((name, lambda values: values[name]))


LIKE = ("+", "-", "min", "max")
NUMBERS = st.integers(1, 50).map(lambda whole: (str(whole), lambda values: Fraction(whole)))
PLAINS = st.recursive(
    NUMBERS | _name("share") | _name("times"), lambda inner: _pairs(inner, inner, of=(*LIKE, "*", "/")), max_leaves=4
)
RATES = st.recursive(
    _name("saved") | _name("other") | _pairs(_name("consumption"), _name("electricity"), of="*"),
    lambda inner: _pairs(inner, inner, of=LIKE) | _pairs(inner, PLAINS, of="*/") | _pairs(PLAINS, inner, of="*"),
    max_leaves=5,
)
AMOUNTS = st.recursive(
    _pairs(_name("quantity"), RATES, of="*") | _pairs(RATES, _name("quantity"), of="*"),
    lambda inner: _pairs(inner, inner, of=LIKE) | _pairs(inner, PLAINS, of="*/"),
    max_leaves=4,
)
INPUTS = st.fixed_dictionaries(
    dict.fromkeys(("saved", "other", "share", "times", "consumption", "electricity"), VALUES)
)


@EXAMPLES
@given(AMOUNTS, INPUTS, QUANTITIES)
def test_a_formula_gives_what_the_expression_says_and_its_rate_times_the_quantity(expression, inputs, quantity):
    text, compute = expression
    assume(len(text) <= LONGEST)
    formula = _parse(text)
    try:
        expected = compute({"quantity": quantity, **inputs})
    except ZeroDivisionError:
        with pytest.raises(FormulaError, match="divides by zero"):
            formula.rate(inputs)
        return
    last = formula.steps(quantity, inputs)[-1]
    assert (last.value, last.measure) == (expected, MASS)
    assert formula.rate(inputs) * quantity == max(0, expected)


@EXAMPLES
@given(RATES | PLAINS)
def test_what_is_no_mass_is_refused_however_it_is_written(expression):
    assume(len(expression[0]) <= LONGEST)
    with pytest.raises(FormulaError):
        _parse(expression[0])


@pytest.mark.parametrize(
    ("text", "milligrams"),
    [
        ("quantity * saved - quantity * other * 2 / 4", 10 * 7 - 10 * 3 * Fraction(2, 4)),
        ("quantity * saved / 3 / 2", Fraction(70, 6)),
        ("quantity * saved * 3 / 2 * 2", 210),
        ("quantity * (saved - other)", 40),
        ("min(quantity * saved, quantity * other, quantity * 2 * saved)", 30),
        ("quantity * max(0, other - saved)", 0),
        ("quantity * other * 0 + quantity * saved", 70),
        ("\n quantity\t* saved ", 70),
        ("quantity * min(saved,\n other)", 30),
    ],
)
def test_signs_bind_as_in_school(text, milligrams):
    inputs = {"saved": Fraction(7), "other": Fraction(3)}
    assert _parse(text).steps(Fraction(10), inputs)[-1].value == milligrams


def test_the_steps_are_told_in_the_order_of_computing_with_their_units():
    formula = _parse("quantity * min(saved, other - consumption * electricity)")
    values = {"saved": Fraction(60), "other": Fraction(100), "consumption": Fraction(1, 2), "electricity": Fraction(90)}
    assert [(s.expression, s.value, str(s.measure)) for s in formula.steps(Fraction(2), values)] == [
        ("consumption * electricity", 45, "mg/km"),
        ("other - consumption * electricity", 55, "mg/km"),
        ("min(saved, other - consumption * electricity)", 55, "mg/km"),
        ("quantity * min(saved, other - consumption * electricity)", 110, "mg"),
    ]
    assert formula.names == {"saved", "other", "consumption", "electricity"}


REFUSED = {
    "an unknown input": ("quantity * spared", "spared is no input; there are"),
    "a figure without a name": ("quantity * saved * 1.5", "1.5 is not a whole number: a figure needs a name"),
    "a result that is no mass": ("quantity * share", "gives km, not a mass"),
    "no dependence on the quantity": ("mass", "is not proportional to the quantity"),
    "a constant beside the quantity": ("quantity * saved + mass", "joins mg with mg, or what depends on the quantity"),
    "the square of the quantity": ("quantity * quantity * saved / quantity", "divides by the quantity or by zero"),
    "the quantity below the line": ("saved * saved / quantity", "divides by the quantity or by zero"),
    "the quantity twice": ("quantity * saved * (quantity * saved) / mass", "is not proportional to the quantity"),
    "unlike units added": ("quantity * (saved + electricity)", "joins mg/km with mg/kWh"),
    "unlike units compared": ("min(quantity * saved, quantity * share)", "joins mg with km"),
    "a number added to a rate": ("quantity * (saved - 1)", "joins mg/km with 1"),
    "a minimum with a constant mass": ("min(quantity * saved, mass)", "joins mg with mg, or what depends"),
    "a division by zero": ("quantity * saved / 0", "divides by the quantity or by zero"),
    "a division by nothing": ("quantity * saved / (0 * share)", "divides by the quantity or by zero"),
    "nothing at all": ("quantity * saved * 0", "not a mass"),
    "a maximum of one": ("max(quantity * saved)", "is not part of the language"),
    "a word of the language as an input": ("quantity * saved * min", "min is no input"),
}


@pytest.mark.parametrize(("text", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_a_formula_is_refused_for(text, message):
    with pytest.raises(FormulaError, match=message.replace("(", r"\(").replace("+", r"\+")):
        _parse(text)


def test_an_input_that_the_formula_does_not_use_is_refused():
    with pytest.raises(FormulaError, match=r"does not use other, share"):
        parse_formula("quantity * saved", {name: MEASURES[name] for name in ("quantity", "saved", "other", "share")})


HOSTILE = [
    "__import__('os').system('true')", "(lambda: quantity * saved)()", "quantity * saved if 1 else 0", "quantity ** 2",
    "quantity * saved * 10 ** 10 ** 10", "2 ** 9 ** 9 ** 9", "'a' * 10 ** 10", "b'a'", "f'{quantity}'", "'quantity'",
    "(x := quantity) * saved", "[quantity for _ in (1, 2)]", "{quantity: saved}", "{quantity, saved}",
    "(quantity, saved)", "[quantity][0] * saved", "quantity.numerator * saved", "saved.__class__", "quantity[0] * saved",
    "quantity * saved; mass", "quantity = saved", "quantity * saved\nmass", "import os", "quantity * sаved",
    "ｑｕａｎｔｉｔｙ * saved", "quantity * saved＊1", "-quantity * saved", "+quantity * saved", "~quantity",
    "not quantity", "quantity and saved", "quantity < saved", "quantity == saved", "1j * quantity * saved",
    "1e3 * quantity * saved", "True * quantity * saved", "None", "...", "quantity // saved", "quantity % saved",
    "quantity << 9999999", "quantity | 1", "quantity @ saved", "abs(quantity * saved)", "eval('1')", "print(quantity)",
    "min(*[quantity * saved, mass])", "min(quantity * saved, quantity * saved, key=print)", "min(quantity * saved)",
    "min()", "min(quantity * saved for _ in 1)", "(min)(min)(1, 2)", "await quantity", "yield quantity",
    "quantity * saved\x00", "", "   ", "# quantity * saved", "9" * 10**6, "(" * 10**5 + "quantity" + ")" * 10**5,
    "quantity" + "*1" * 10**5, "-" * 300 + "1", "(" * 190 + "quantity * saved * x" + ")" * 190,
    "min(" * 90 + "1", "quantity * saved +", "0x", "quantity * saved * 1_", "quantity * saved * 012",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text[:30]))
def test_what_is_not_of_the_language_is_refused_and_quickly(text):
    began = time.process_time()
    with pytest.raises(FormulaError):
        parse_formula(text, MEASURES)
    assert time.process_time() - began < 1


def test_the_longest_formulas_are_computed_and_longer_ones_refused():
    text = "quantity * saved" + " + quantity * saved" * ((LONGEST - 16) // 19)
    assert _parse(text).rate({"saved": Fraction(1)}) == text.count("saved")
    deep = "(" * 40 + "quantity * saved" + ")" * 40
    assert _parse(deep).rate({"saved": Fraction(2)}) == 2
    nested = "min(quantity * saved, " * 15 + "quantity * saved" + ")" * 15
    assert _parse(nested).rate({"saved": Fraction(3)}) == 3
    huge = "quantity * saved * 1" + "0" * (LONGEST - 20)
    assert _parse(huge).rate({"saved": Fraction(1)}) == 10 ** (LONGEST - 20)
    with pytest.raises(FormulaError, match="at most 400 characters"):
        _parse(huge + "0")


@EXAMPLES
@given(st.text(st.characters(codec="utf-8"), max_size=60) | st.text("quantity saved*/+-(),.0129minax[]'", max_size=60))
def test_no_text_makes_anything_but_a_formula_or_a_refusal(text):
    try:
        formula = parse_formula(text, {name: MEASURES[name] for name in ("quantity", "saved")})
    except FormulaError:
        return
    assert formula.names == {"saved"}
