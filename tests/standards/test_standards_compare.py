"""Everybody's value beside the hub's: the ratio, the reasons that the data give, and the picture of it."""

import re
from datetime import date
from fractions import Fraction
from itertools import product
from xml.etree import ElementTree

import pytest

from standards.behaviours import load_behaviours
from standards.compare import Standing, compare
from standards.comparison_svg import WIDTH, comparison_svg, describe, times_text, value_text
from standards.differences import WORDS, Assumption, Why, assumption_of
from standards.explain import NotValuedError
from standards.factors import load_factors
from standards.methodology import load_methodology
from standards.regions import RegionError
from standards.schema import Role

DAY = date(2026, 10, 1)
BEIJING, WUHAN, SHENZHEN = 110000, 420100, 440300
NAME = "{http://www.w3.org/2000/svg}"


def _told(behaviour, factor, region=BEIJING, **known):
    comparison = compare(behaviour, region=region, **({"day": DAY} | known))
    return next(told for table in comparison.tables for told in table.told if told.factor_id == factor)


def _whys(told):
    return [reason.why for reason in told.reasons]


def test_a_bike_in_beijing_is_worth_seven_times_more_to_the_city_than_to_the_hub():
    comparison = compare("MOB-BIKE", region=BEIJING, day=DAY)
    by_km, by_ride = comparison.tables
    assert (by_km.unit, by_ride.unit, by_km.hub.exact_mg, by_ride.hub) == ("km", "ride", 33_880, None)
    assert [(told.factor_id, told.figure.value) for told in by_km.told] == [
        ("beijing-2023-bike", 250_000), ("shanxi-2022-bike", 250_000), ("wuhan-2025-bike", 93_300),
        ("meituan-bike", 48_700), ("wuhan-2024-bike", 40_000), ("hello-bike", 33_880),
    ]  # fmt: skip
    assert by_km.told[0].ratio == Fraction(250_000, 33_880)
    assert times_text(by_km.told[0]) == "×7.38"
    assert (times_text(by_ride.told[0]), value_text(by_ride.told[0])) == ("", "≥ 52")
    assert comparison.notes == ()


# What decides: (behaviour, factor, region, further arguments, reasons that must be told, the first of them first)
CASES = {
    "the hub's own figure": ("MOB-BIKE", "hello-bike", BEIJING, {}, [Why.SAME_FIGURE]),
    "the place's own figure": ("MOB-BIKE", "wuhan-2025-bike", WUHAN, {}, [Why.SAME_FIGURE]),
    "part of a formula": ("HOME-HOTEL", "meituan-hotel", BEIJING, {}, [Why.PART_OF_FORMULA]),
    "as much by another figure": ("MOB-BUS", "luzhou-bus", BEIJING, {}, [Why.EQUAL, Why.OTHER_PLACE]),
    "another place": ("MOB-BIKE", "wuhan-2025-bike", BEIJING, {}, [Why.OTHER_PLACE, Why.FACTOR_YEAR, Why.HUB_CHOICE]),
    "no place told": ("MOB-BIKE", "wuhan-2025-bike", None, {}, [Why.OTHER_PLACE]),
    "no longer": ("MOB-BIKE", "wuhan-2024-bike", WUHAN, {}, [Why.NO_LONGER, Why.FACTOR_YEAR]),
    "not yet": ("MOB-BIKE", "wuhan-2025-bike", WUHAN, {"day": date(2025, 7, 31)}, [Why.NOT_YET]),
    "a car for every ride": ("MOB-BIKE", "beijing-2023-bike", BEIJING, {}, [Why.BASELINE, Why.FACTOR_YEAR, Why.HUB_CHOICE]),
    "a mean of all modes": ("MOB-METRO", "guangzhou-metro-mean", 440100, {}, [Why.BASELINE, Why.NOT_TAKEN, Why.EVIDENCE]),
    "nobody saw it": ("MOB-BUS", "hubei-bus-checkin", 420000, {}, [Why.EVIDENCE, Why.HUB_CHOICE]),
    "the person alone tells": ("MOB-BUS", "hubei-bus-record", 420000, {"role": Role.SELF_REPORT}, [Why.EVIDENCE]),
    "a floor": ("FOOD-CLEANPLATE", "beijing-handbook-cleanplate", 510500, {}, [Why.OTHER_PLACE, Why.FLOOR]),
    "beside a floor": ("MOB-METRO", "hubei-metro-record", 420000, {}, [Why.NOT_TAKEN, Why.FLOOR]),
    "other gases": ("MOB-METRO", "shenzhen-metro-km", WUHAN, {}, [Why.OTHER_PLACE, Why.GAS_SCOPE]),
    "per ride": ("MOB-BIKE", "beijing-handbook-bike", BEIJING, {}, [Why.OTHER_UNIT]),
    "another electricity": ("HOME-POWERSAVE", "wuhan-powersave", BEIJING, {}, [Why.OTHER_PLACE, Why.ELECTRICITY]),
    "an enterprise's own": ("MOB-BIKE", "meituan-bike", BEIJING, {}, [Why.NOT_TAKEN, Why.FACTOR_YEAR, Why.HUB_CHOICE]),
    "a formula": ("MOB-NODRIVE", "wwf-nodrive", BEIJING, {}, [Why.NOT_TAKEN, Why.HUB_FORMULA]),
    "nothing is said": ("MOB-EBIKE", "meituan-ebike", BEIJING, {}, [Why.NOT_TAKEN, Why.NOT_STATED]),
}  # fmt: skip


@pytest.mark.parametrize(("behaviour", "factor", "region", "known", "whys"), CASES.values(), ids=CASES.keys())
def test_the_reasons_are_read_from_the_data(behaviour, factor, region, known, whys):
    told = _told(behaviour, factor, region, **known)
    found = _whys(told)
    assert found[0] == whys[0]
    assert [why for why in found if why in whys] == whys
    assert all(reason.text for reason in told.reasons)


def test_every_reason_occurs_and_every_figure_has_one():
    seen = set()
    places = (BEIJING, WUHAN, SHENZHEN, 420000)
    for behaviour, region, role in product(set(load_factors()["behaviour"]), places, (Role.OPERATOR, Role.SELF_REPORT)):
        for table in compare(behaviour, region=region, day=DAY, role=role).tables:
            for told in table.told:
                assert told.reasons, told.factor_id
                seen |= set(_whys(told))
    seen |= set(_whys(_told("MOB-BIKE", "wuhan-2025-bike", WUHAN, day=date(2025, 7, 31))))
    # Nobody publishes grams of a behaviour that the hub does not value; the next test makes one up.
    assert set(Why) - seen == {Why.NO_HUB_VALUE}


def test_a_behaviour_that_the_hub_does_not_value_has_no_ratio(monkeypatch):
    version = load_methodology()
    monkeypatch.setattr(type(version), "of_behaviour", lambda self, behaviour: ())
    comparison = compare("MOB-EBIKE", day=DAY, methodology=version)
    assert {why for told in comparison.tables[0].told for why in _whys(told)} == {Why.NO_HUB_VALUE}
    assert {told.ratio for told in comparison.tables[0].told} == {None}
    assert any("no value" in note for note in comparison.notes)


def test_where_two_figures_differ_the_reason_never_says_that_they_are_the_same():
    same = {Why.SAME_FIGURE, Why.EQUAL}
    for behaviour in load_behaviours():
        for region in (BEIJING, WUHAN):
            for table in compare(behaviour, region=region, day=DAY).tables:
                for told in table.told:
                    assert (told.ratio == 1) == bool(same & set(_whys(told))), (region, told.factor_id)


def test_every_published_figure_stands_once_and_the_hubs_own_assumptions_do_not():
    told = [t.factor_id for code in load_behaviours() for table in compare(code, day=DAY).tables for t in table.told]
    factors = load_factors()
    assert sorted(told) == sorted(factors.filter(factors["issuer"] != "tanlian-hub")["factor_id"])


def test_what_each_baseline_assumes_is_listed():
    found = {row["factor_id"]: assumption_of(row["baseline"]) for row in load_factors().iter_rows(named=True)}
    assert {name: assumption for name, assumption in found.items() if assumption} == {
        "beijing-2023-bike": Assumption.CAR,
        "shanxi-2022-bike": Assumption.CAR,
        "shenzhen-bus-km": Assumption.MEAN,
        "shenzhen-metro-km": Assumption.MEAN,
        "shenzhen-powersave": Assumption.HOUSEHOLD,
        "wuhan-powersave": Assumption.GRID,
        "guangzhou-metro-substitution": Assumption.MIX,
        "guangzhou-metro-mean": Assumption.MEAN,
        "meituan-bike": Assumption.MIX,
    }
    assert {assumption for _, assumption in WORDS} == set(Assumption)


def test_a_superseded_figure_is_marked_and_names_its_successor():
    old = _told("MOB-BIKE", "wuhan-2024-bike", WUHAN)
    assert (old.standing, old.successor, old.here) == (Standing.SUPERSEDED, "wuhan-2025-bike", False)
    assert "then wuhan-2025-bike" in old.reasons[0].text
    # Wuhan went from trips to kilometres, so the successor is in another unit.
    assert _told("MOB-METRO", "wuhan-2024-metro", WUHAN).successor == "wuhan-2025-metro-km"
    on_the_day = _told("MOB-BIKE", "wuhan-2024-bike", WUHAN, day=date(2025, 7, 31))
    assert (on_the_day.standing, on_the_day.here, _whys(on_the_day)) == (Standing.HOLDS, True, [Why.SAME_FIGURE])
    assert _told("MOB-NODRIVE", "wwf-nodrive").standing == Standing.UNDATED


def test_validity_begins_on_its_first_day_and_ends_before_its_last():
    first, last = date(2023, 12, 1), date(2025, 8, 1)
    assert Why.NOT_YET not in _whys(_told("FOOD-CLEANPLATE", "beijing-handbook-cleanplate", 510500, day=first))
    assert Why.NOT_YET in _whys(_told("FOOD-CLEANPLATE", "beijing-handbook-cleanplate", 510500, day=date(2023, 11, 30)))
    assert _whys(_told("MOB-BIKE", "wuhan-2024-bike", WUHAN, day=last))[0] == Why.NO_LONGER


def test_the_hubs_value_is_that_of_the_version_asked_for():
    old = compare("MOB-BIKE", region=WUHAN, day=DAY, methodology=load_methodology("hub-2026.1"))
    assert (old.methodology, old.tables[0].hub.exact_mg) == ("hub-2026.1", 33_880)
    assert compare("MOB-BIKE", region=WUHAN, day=DAY).tables[0].hub.exact_mg == 93_300


def test_one_unit_may_be_asked_for_and_the_others_are_named():
    comparison = compare("MOB-METRO", unit="km", day=DAY)
    assert [table.unit for table in comparison.tables] == ["km"]
    assert "It is also published per trip, which is not comparable." in comparison.notes


def test_what_nobody_publishes_is_said():
    nobody = compare("FOOD-SMALLPORTION", day=DAY)
    assert nobody.tables == ()
    assert nobody.notes[0] == "Nobody is known to publish a figure in grams for FOOD-SMALLPORTION (小份菜)."
    own = compare("FOOD-OWNCUP", day=DAY)
    assert (own.tables[0].told, own.tables[0].hub.exact_mg) == ((), 11_500)
    assert own.notes == ("Nobody is known to publish a figure in grams for FOOD-OWNCUP (自带杯).",)
    points = compare("HOME-LIGHTOFF", day=DAY)
    assert "points" in points.notes[-1]


REFUSED = {
    "an unknown behaviour": (("MOB-FLY",), {}, NotValuedError, "unknown behaviour 'MOB-FLY'; there are CLO-RECYCLE"),
    "an unknown unit": (("MOB-BIKE",), {"unit": "li"}, NotValuedError, "not told in 'li' but in km, ride"),
    "a unit where nothing is published": (("CLO-SUSTAIN",), {"unit": "kg"}, NotValuedError, "'kg' but in item"),
    "a day too early": (("MOB-BIKE",), {"day": date(2014, 12, 31)}, NotValuedError, "values acts from 2015-01-01"),
    "an early day, no method": (("MOB-ETC",), {"day": date(2014, 12, 31)}, NotValuedError, "from 2015-01-01 on"),
    "an unknown role": (("MOB-BIKE",), {"role": "witness"}, NotValuedError, "unknown role 'witness'; there are operator"),
    "an unknown region": (("MOB-BIKE",), {"region": 990000}, RegionError, "110000 Beijing"),
    "a region, no method": (("MOB-ETC",), {"region": 1}, RegionError, "110000 Beijing"),
}  # fmt: skip


@pytest.mark.parametrize(("told", "known", "error", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_refused_with_what_is_valid(told, known, error, message):
    with pytest.raises(error, match=message):
        compare(*told, **({"day": DAY} | known))


def test_it_is_json_with_exact_numbers():
    told = compare("MOB-WALK", region=BEIJING, day=DAY).to_dict()
    (steps, _) = told["units"]
    assert (steps["hub"]["mg_per_unit"], steps["figures"][0]["mg_per_unit"]) == ("16.4", "20")
    assert steps["figures"][0]["ratio"].startswith("50/41 (about 1.21")
    assert {"why", "text"} == steps["figures"][0]["reasons"][0].keys()


# The picture.


def _texts(svg: str) -> list[str]:
    return ["".join(text.itertext()) for text in ElementTree.fromstring(svg).iter(f"{NAME}text")]


@pytest.mark.parametrize("behaviour", load_behaviours())
def test_a_picture_is_well_formed_and_needs_no_style_and_no_script(behaviour):
    svg = comparison_svg(compare(behaviour, region=WUHAN, day=DAY), name=f"c-{behaviour}")
    root = ElementTree.fromstring(svg)
    assert {element.tag.removeprefix(NAME) for element in root.iter()} <= {
        "svg",
        "title",
        "desc",
        "rect",
        "text",
        "tspan",
    }
    names = {name for element in root.iter() for name in element.attrib}
    assert not {name for name in names if name.startswith("on") or name in ("style", "class", "href")}
    ids = [element.attrib["id"] for element in root.iter() if "id" in element.attrib]
    assert root.attrib["aria-labelledby"].split() == ids
    assert (root.attrib["role"], root.attrib["viewBox"].split()[2]) == ("img", str(WIDTH))


@pytest.mark.parametrize("behaviour", load_behaviours())
def test_nothing_is_drawn_outside_a_picture(behaviour):
    root = ElementTree.fromstring(comparison_svg(compare(behaviour, region=BEIJING, day=DAY)))
    height = int(root.attrib["viewBox"].split()[3])
    for rect in root.iter(f"{NAME}rect"):
        x, y = int(rect.attrib.get("x", 0)), int(rect.attrib.get("y", 0))
        assert x + int(rect.attrib["width"]) <= WIDTH
        assert y + int(rect.attrib["height"]) <= height
    for text in root.iter(f"{NAME}text"):
        words, size = "".join(text.itertext()), int(text.attrib["font-size"])
        width = sum(1 if ord(letter) > 0x2E80 else 0.5 for letter in words) * size
        assert int(text.attrib["x"]) + width <= WIDTH, words
        assert int(text.attrib["y"]) <= height
        assert size >= 12


def test_a_picture_shows_every_value_with_its_unit_and_marks_floors():
    comparison = compare("MOB-BIKE", region=BEIJING, day=DAY)
    texts = _texts(comparison_svg(comparison))
    assert {
        "33.88 g",
        "250 g (×7.38)",
        "93.3 g (×2.75)",
        "≥ 52 g",
        "Grams of CO2e per km",
        "Grams of CO2e per ride",
    } <= set(texts)
    assert any("共享单车骑行" in text for text in texts)
    assert any("武碳江湖" in text for text in texts)


def test_bars_are_as_long_as_their_values():
    root = ElementTree.fromstring(comparison_svg(compare("MOB-BIKE", unit="km", region=BEIJING, day=DAY)))
    bars = [int(rect.attrib["width"]) for rect in root.iter(f"{NAME}rect") if rect.attrib["height"] == "14"]
    most = max(bars)
    for bar, grams in zip(bars, (33.88, 250, 250, 93.3, 48.7, 40, 33.88), strict=True):
        assert abs(bar - most * grams / 250) <= 0.5


def test_who_cannot_see_a_picture_is_told_every_value():
    told = describe(compare("MOB-BIKE", region=BEIJING, day=DAY))
    assert "The hub 碳联: 33.88 g per km, by hello-bike." in told
    assert "Beijing Green Life Season 绿色生活季: 250 g (×7.38) per km, assumes every ride replaces a car ride" in told
    assert "Beijing handbook 北京手册: not lower than 52 g per ride" in told


def test_texts_of_the_data_cannot_break_out_of_a_picture(monkeypatch):
    hostile = '<script>alert(1)</script>&"'
    comparison = compare("MOB-BIKE", region=BEIJING, day=DAY)
    object.__setattr__(comparison, "notes", (hostile,))
    object.__setattr__(comparison.tables[0].told[0].reasons[0], "text", hostile)
    svg = comparison_svg(comparison, name='"><script>')
    assert "<script" not in svg
    assert hostile in "".join(ElementTree.fromstring(svg).itertext())
    assert not re.search(r"\bstyle\s*=", svg)
