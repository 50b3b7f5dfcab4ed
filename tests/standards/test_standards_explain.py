"""An explanation comes to the same amount as the columns do, names every figure with its source, and refuses with a list."""

import json
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from standards.behaviours import accepted_behaviours
from standards.explain import Act, NotValuedError, explain, text_of
from standards.factors import load_sources
from standards.methodology import load_methodology, methodology_versions, parse_methodology
from standards.quantify import quantify
from standards.regions import RegionError, load_regions
from standards.schema import RECORD_SCHEMA, Precision, Role
from standards.units import MAX_INT64, MICRO

LATE = date(2026, 10, 5)
WUHAN, YICHANG, LANZHOU = 420106, 420500, 620100
EXAMPLES = settings(max_examples=40, deadline=None)
METHODS = st.sampled_from([(v, m) for v in methodology_versions() for m in load_methodology(v).methods.values()])
REGIONS = st.none() | st.sampled_from([*load_regions(), WUHAN, 420500, 440305, 110105])
DAYS = st.integers(0, 5000).map(lambda days: date(2015, 1, 1) + timedelta(days=days))


@st.composite
def told(draw):
    """An act of any method of any version, as the columns tell it."""
    version, method = draw(METHODS)
    act = Act(
        behaviour=method.behaviour,
        unit=method.unit,
        quantity_micro=draw(st.integers(0, 10**12)),
        region=draw(REGIONS),
        day=draw(DAYS),
        role=draw(st.sampled_from(list(Role))),
        precision=draw(st.sampled_from(list(Precision))),
        claimed_mg=draw(st.none() | st.integers(0, 10**9)),
    )
    return load_methodology(version), act


def _quantify(act, methodology):
    at = datetime(act.day.year, act.day.month, act.day.day, tzinfo=UTC)
    row = {
        "record_id": 1, "subject_id": 1, "platform": "p", "role": act.role, "behaviour": act.behaviour,
        "start_at": at, "end_at": at, "precision": act.precision, "quantity_micro": act.quantity_micro,
        "unit": act.unit, "region": act.region, "claimed_mg": act.claimed_mg,
    }  # fmt: skip
    quantified = quantify(pl.DataFrame([row], schema=RECORD_SCHEMA), methodology)
    return quantified.select("reference_mg", "factor_id").row(0)


def _bike(**other):
    return Act(**{"behaviour": "MOB-BIKE", "quantity_micro": MICRO, "day": LATE} | other)


def _why(explained):
    return {used.name: (used.figure.id, used.why) for used in explained.used}


@EXAMPLES
@given(told())
def test_the_amount_and_the_pin_are_those_of_the_columns(drawn):
    methodology, act = drawn
    explained = explain(act, methodology)
    pin = explained.method.pin({used.name: used.figure for used in explained.used})
    assert (explained.reference_mg, pin) == _quantify(act, methodology)
    claim = explained.reference_mg if act.claimed_mg is None else act.claimed_mg
    assert explained.counted_mg == min(explained.reference_mg, claim)


@EXAMPLES
@given(told())
def test_the_steps_end_in_the_exact_amount_which_is_rounded_once(drawn):
    methodology, act = drawn
    explained = explain(act, methodology)
    last = explained.steps[-1]
    assert (last.value, str(last.measure)) == (explained.exact_mg, "mg")
    # The table drops what is finer than a millionth of a milligram per unit.
    dropped = Fraction(explained.quantity_micro, MICRO) / MICRO
    assert explained.exact_mg - dropped - Fraction(1, 2) <= explained.reference_mg
    assert explained.reference_mg <= explained.exact_mg + Fraction(1, 2)


@EXAMPLES
@given(told())
def test_every_input_is_told_with_its_source_and_every_other_figure_is_accounted_for(drawn):
    methodology, act = drawn
    explained = explain(act, methodology)
    assert [used.name for used in explained.used] == [choice.name for choice in explained.method.inputs]
    assert {used.name for used in explained.used} == explained.method.formula.names
    for used, choice in zip(explained.used, explained.method.inputs, strict=True):
        assert used.source_title == load_sources()[used.figure.source].title
        assert used.why
        assert all(why for _, why in used.others)
        others = {figure.id for figure in choice.figures} - {used.figure.id}
        assert {name for name, _ in used.others} <= others
        assert len(used.others) + used.elsewhere == len(others)


@EXAMPLES
@given(st.sampled_from([m for m in load_methodology().methods.values() if m.additive]), REGIONS, DAYS, st.data())
def test_exact_amounts_of_parts_add_up_to_the_whole(method, region, day, data):
    parts = data.draw(st.lists(st.integers(0, 10**12), min_size=1, max_size=6))
    exact = [
        explain(Act(behaviour=method.behaviour, unit=method.unit, quantity_micro=q, region=region, day=day)).exact_mg
        for q in (*parts, sum(parts))
    ]
    assert sum(exact[:-1]) == exact[-1]


@EXAMPLES
@given(told())
def test_it_can_be_written_as_json(drawn):
    methodology, act = drawn
    written = json.loads(json.dumps(explain(act, methodology).to_dict()))
    assert written["methodology"] == methodology.version
    assert written["reference_mg"] == explain(act, methodology).reference_mg
    assert [known["name"] for known in written["inputs"]] == [
        choice.name for choice in explain(act, methodology).method.inputs
    ]


def test_a_golden_explanation_s19_bike_in_wuhan():
    explained = explain(_bike(quantity_micro=4_200_000, region=WUHAN, claimed_mg=500_000))
    assert _why(explained) == {"reduction": ("wuhan-2025-bike", "holds in Wuhan 武汉 on 2026-10-05")}
    assert [(step.expression, step.value) for step in explained.steps] == [("quantity * reduction", 391_860)]
    assert (explained.exact_mg, explained.reference_mg, explained.counted_mg) == (391_860, 391_860, 391_860)
    assert explained.used[0].source_title == "Wuhan carbon inclusion platform"
    assert explained.used[0].others == (
        ("hello-bike", "Wuhan 武汉 is closer"),
        ("wuhan-2024-bike", "holds from 2024-11-13 until 2025-08-01, not on 2026-10-05"),
    )
    assert explained.used[0].elsewhere == 0
    assert explained.notes == ()


def test_what_is_not_chosen_is_told_why():
    bus = Act(behaviour="MOB-BUS", quantity_micro=None, region=WUHAN, day=LATE)
    seen, unseen = (
        explain(bus),
        explain(Act(behaviour="MOB-BUS", quantity_micro=None, region=WUHAN, day=LATE, role="self_report")),
    )
    assert seen.used[0].figure.id == "wuhan-bus"
    assert dict(seen.used[0].others)["hubei-bus-record"] == "Wuhan 武汉 is closer"
    assert unseen.used[0].figure.id == "hubei-bus-checkin"
    why = dict(unseen.used[0].others)
    assert why["wuhan-bus"] == why["hubei-bus-record"] == "presumes that somebody besides the person saw the act"
    early = explain(Act(behaviour="HOME-POWERSAVE", quantity_micro=MICRO, region=YICHANG, day=date(2026, 2, 1)))
    assert dict(early.used[0].others)["grid-central-2022-average"] == "an older figure, or one that presumes no witness"


@pytest.mark.parametrize(
    ("day", "region", "figure", "why"),
    [
        # Both are the fallback and a figure of some place: it must not be said to hold where it does not.
        (date(2024, 4, 11), LANZHOU, "shenzhen-powersave", "no figure of the place holds on 2024-04-11"),
        (date(2024, 4, 12), LANZHOU, "grid-CN-2021-average", "holds in China on 2024-04-12"),
        (date(2022, 5, 31), 440305, "shenzhen-powersave", "no figure of the place holds on 2022-05-31"),
        (date(2022, 6, 1), 440305, "shenzhen-powersave", "holds in Shenzhen 深圳 on 2022-06-01"),
    ],
)
def test_a_fallback_is_not_said_to_hold_in_the_place(day, region, figure, why):
    explained = explain(Act(behaviour="HOME-POWERSAVE", quantity_micro=MICRO, region=region, day=day))
    assert _why(explained)["electricity"][0] == figure
    assert _why(explained)["electricity"][1].startswith(why)


def test_an_input_with_one_figure_says_so():
    explained = explain(Act(behaviour="MOB-CARPOOL", quantity_micro=MICRO, day=LATE))
    assert {why for _, why in _why(explained).values()} == {"the methodology names this one figure"}
    assert [str(step.value) for step in explained.steps] == ["271800", "62514"]


def test_notes_tell_of_the_one_the_cap_the_claim_and_the_lowered_rate():
    one = explain(Act(behaviour="MOB-METRO", quantity_micro=None, day=LATE))
    assert (one.quantity_micro, one.notes) == (
        MICRO,
        ("no quantity was told; such acts are counted, so it is one trip",),
    )
    capped = explain(Act(behaviour="MOB-WALK", unit="steps", quantity_micro=20_000 * MICRO, day=LATE))
    assert capped.quantity_micro == 14_800 * MICRO
    assert capped.notes[0].startswith("no more than 14800 steps of one record count")
    claimed = explain(_bike(claimed_mg=1_500))
    assert (claimed.reference_mg, claimed.counted_mg) == (33_880, 1_500)
    assert claimed.notes == ("the platform claims 1.5 g, which is less: never more than the claim counts",)
    lowered = explain(
        Act(behaviour="MOB-WALK", unit="steps", quantity_micro=500 * MICRO, day=LATE), load_methodology("hub-2026.1")
    )
    assert [(step.expression, step.value) for step in lowered.steps] == [
        ("quantity * reduction", 8_200), ("at most 16 mg per steps", 8_000),
    ]  # fmt: skip
    assert "at most 16 mg per steps" in lowered.notes[0]


def test_a_formula_below_zero_is_explained_as_zero(tmp_path):
    file = tmp_path / "m.toml"
    file.write_text(
        'version = "x"\nvalid_from = 2026-11-01\nacts_from = 2015-01-01\nsummary = "s"\n[[method]]\nid = "ev"\n'
        'behaviour = "MOB-EV"\nunit = "km"\nboundary = "b"\n'
        'formula = "quantity * consumption * (limit - electricity)"\n'
        'inputs.consumption = { reference = "ev-consumption-low" }\n'
        'inputs.limit = { factor = "grid-CN-2022-residual" }\n'
        'inputs.electricity = { grid = "average", fallback = "grid-CN-2021-average" }\n'
    )
    explained = explain(Act(behaviour="MOB-EV", quantity_micro=MICRO, day=LATE, region=130100), parse_methodology(file))
    assert explained.steps[-2].value < 0
    assert (explained.steps[-1].expression, explained.steps[-1].value) == ("never below zero", 0)
    assert (explained.exact_mg, explained.reference_mg) == (0, 0)


def test_the_unit_of_an_act_that_names_none_is_the_default_of_its_precision():
    walk = {"behaviour": "MOB-WALK", "quantity_micro": MICRO, "day": LATE}
    assert [explain(Act(**walk, precision=precision)).unit for precision in Precision] == ["km", "km", "steps"]


REFUSED = {
    "an unknown behaviour": (
        _bike(behaviour="MOB-FLY"),
        "unknown behaviour 'MOB-FLY'; there are CLO-RECYCLE, FOOD-OWNCUP",
    ),
    "a behaviour without a method": (_bike(behaviour="MOB-ETC"), "hub-2026.2 has no method for MOB-ETC"),
    "a unit of another behaviour": (_bike(unit="trip"), "MOB-BIKE is not told in 'trip' but in km"),
    "an empty unit": (_bike(unit=""), "MOB-BIKE is not told in '' but in km"),
    "one of several units": (_bike(behaviour="MOB-BUS", unit="kg"), "MOB-BUS is not told in 'kg' but in trip, km"),
    "a day before the first": (_bike(day=date(2014, 12, 31)), "hub-2026.2 values acts from 2015-01-01 on, not of 2014"),
    "no quantity": (_bike(quantity_micro=None), "MOB-BIKE needs a quantity in km, zero or more"),
    "a negative quantity": (_bike(quantity_micro=-1), "MOB-BIKE needs a quantity in km, zero or more"),
    "an amount that does not fit": (
        _bike(behaviour="MOB-NODRIVE", quantity_micro=MAX_INT64),
        "the amount of 9223372036854.775807 vehicle-day does not fit",
    ),
    "a quantity that does not fit": (_bike(quantity_micro=2**63), "the amount of 9223372036854.775808 km does not fit"),
    "a quantity beyond all": (_bike(quantity_micro=10**30), "the amount of 1000000000000000000000000 km does not fit"),
    "an unknown role": (_bike(role="king"), "unknown role 'king'; there are operator, meter, payment"),
    "an unknown precision": (_bike(precision="hour"), "unknown precision 'hour'; there are second, minute, day"),
    "a negative claim": (_bike(claimed_mg=-1), "a claim is zero or more, not -1 mg"),
}


@pytest.mark.parametrize(("act", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_there_is_no_explanation_for(act, message):
    with pytest.raises(NotValuedError) as refused:
        explain(act)
    assert str(refused.value).startswith(message)


def test_an_unknown_behaviour_is_answered_with_all_that_are_accepted():
    with pytest.raises(NotValuedError) as refused:
        explain(_bike(behaviour="BIKE"))
    assert all(code in str(refused.value) for code in accepted_behaviours())


@pytest.mark.parametrize("region", [0, 42, 830000, 999999, -1])
def test_an_unknown_region_is_answered_with_all_provinces(region):
    with pytest.raises(RegionError, match=rf"^region {region} is not .* 110000 Beijing, .* 820000 Macao"):
        explain(_bike(region=region))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Fraction(0), "0"),
        (Fraction(45_720), "45720"),
        (Fraction(1, 8), "0.125"),
        (Fraction(-3, 2), "-1.5"),
        (Fraction(1, 3), "1/3 (about 0.333333)"),
        (Fraction(10**20), "100000000000000000000"),
    ],
)
def test_an_exact_number_is_written_as_decimal_if_it_ends(value, text):
    assert text_of(value) == text
