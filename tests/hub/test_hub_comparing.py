"""`tanlian standards compare` and `tanlian standards points`: tables, bars, pictures, and one line for what cannot be."""

from fractions import Fraction
from xml.etree import ElementTree

import pytest
from tests_support.terminal import Terminal

from hub.commands.comparing import bar_of
from standards.behaviours import load_behaviours
from standards.schemes import load_schemes

BIKE = ("standards", "compare", "MOB-BIKE", "--region", "110000", "--on", "2026-10-01")


def test_a_comparison_shows_every_value_the_ratio_and_the_reason(bare: Terminal):
    ran = bare(*BIKE)
    assert (ran.code, ran.err) == (0, "")
    for words in (
        "MOB-BIKE", "Beijing 北京", "hub-2026.2", "Grams of CO2e per km", "Grams of CO2e per ride", "≥ 52", "×7.38",
        "assumes every ride replaces", "no longer valid", "the figure that the hub takes", "per ride, and the hub values it",
        "superseded: from 2024-11-13", "until 2025-08-01", "绿色生活季", "S36", "Hello shared bike",
    ):  # fmt: skip
        assert words in ran.out, words
    assert list(bare.folder.iterdir()) == []  # no database was opened for it


def test_bars_are_as_long_as_their_values(bare: Terminal):
    lines = [line for line in bare(*BIKE, "--unit", "km").out.splitlines() if "█" in line]
    length = {line.split()[0]: line.count("█") for line in lines}
    assert length == {
        "the": 5, "beijing-2023-bike": 40, "shanxi-2022-bike": 40, "wuhan-2025-bike": 14, "meituan-bike": 7,
        "wuhan-2024-bike": 6, "hello-bike": 5,
    }  # fmt: skip
    elsewhere = {line.split()[0] for line in lines if "another place or time" in line}
    assert elsewhere == {"shanxi-2022-bike", "wuhan-2025-bike", "wuhan-2024-bike"}


@pytest.mark.parametrize(
    ("value", "bar"), [(8, "████"), (4, "██"), (1, "▌"), (3, "█▌"), (0, ""), (Fraction(1, 10**6), "▏")]
)
def test_a_bar_is_exact_to_an_eighth_and_shows_what_is_not_nothing(value, bar):
    assert bar_of(Fraction(value), Fraction(8), 4) == bar


def test_a_comparison_is_json(bare: Terminal):
    told = bare(*BIKE, "--json").json
    by_km = told["units"][0]
    assert (told["day"], told["region"], by_km["unit"], by_km["hub"]["mg_per_unit"]) == (
        "2026-10-01",
        110000,
        "km",
        "33880",
    )
    first = by_km["figures"][0]
    assert (first["figure"], first["mg_per_unit"], first["source"]) == ("beijing-2023-bike", "250000", "N1")
    assert first["reasons"][0]["why"] == "baseline"


def test_the_picture_is_written_as_well_formed_xml(bare: Terminal):
    file = bare.folder / "bike.svg"
    ran = bare(*BIKE, "--svg", file)
    assert (ran.code, ran.err) == (0, "")
    root = ElementTree.fromstring(file.read_text(encoding="utf-8"))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "共享单车骑行" in file.read_text(encoding="utf-8")
    assert bare(*BIKE, "--svg", file, "--json").json["behaviour"] == "MOB-BIKE"  # the picture adds nothing to JSON


@pytest.mark.parametrize("behaviour", load_behaviours())
def test_every_behaviour_can_be_compared(bare: Terminal, behaviour: str):
    ran = bare("standards", "compare", behaviour, "--region", "420100")
    assert (ran.code, ran.err, behaviour in ran.out) == (0, "", True)


def test_what_nobody_publishes_is_a_sentence_and_no_failure(bare: Terminal):
    ran = bare("standards", "compare", "FOOD-SMALLPORTION")
    assert (ran.code, ran.err) == (0, "")
    assert "Nobody is known to publish a figure in grams for FOOD-SMALLPORTION" in ran.out
    assert bare("standards", "compare", "FOOD-SMALLPORTION", "--json").json["units"] == []


def test_role_and_version_decide_the_hubs_value(bare: Terminal):
    bus = ("standards", "compare", "MOB-BUS", "--region", "420000", "--unit", "trip", "--json")
    assert bare(*bus).json["units"][0]["hub"]["mg_per_unit"] == "105000"
    assert bare(*bus, "--role", "self_report").json["units"][0]["hub"]["mg_per_unit"] == "52000"
    assert bare(*bus, "--methodology", "hub-2026.1").json["units"][0]["hub"]["mg_per_unit"] == "80000"


REFUSED = {
    "an unknown behaviour": (("MOB-FLY",), "unknown behaviour 'MOB-FLY'; there are CLO-RECYCLE"),
    "an unknown unit": (("MOB-BIKE", "--unit", "li"), "MOB-BIKE is not told in 'li' but in km, ride"),
    "an unknown region": (("MOB-BIKE", "--region", "990000"), "must be those of 110000 Beijing"),
    "a day too early": (("MOB-BIKE", "--on", "2014-12-31"), "values acts from 2015-01-01 on"),
    "an unknown version": (("MOB-BIKE", "--methodology", "x"), "there are hub-2026.1, hub-2026.2"),
    "a folder that is not there": (("MOB-BIKE", "--svg", "nowhere/x.svg"), "No such file or directory"),
}


@pytest.mark.parametrize(("words", "told"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_compared_is_one_line(bare: Terminal, words, told):
    assert told in bare("standards", "compare", *words).complaint


def test_all_rules_of_points_are_shown_apart_from_grams(bare: Terminal):
    ran = bare("standards", "points")
    assert (ran.code, ran.err) == (0, "")
    for words in (
        "never grams", "1 point for 500 steps", "28.8 g each", "50 green energy", "taken-back",
        "1000 g", "2 yuan", "none found", "U unverified", "only whole",
    ):  # fmt: skip
        assert words in ran.out, words


def test_one_issuers_rules_come_with_what_is_known_of_it(bare: Terminal):
    ran = bare("standards", "points", "luzhou-green-bud")
    assert (ran.code, ran.err) == (0, "")
    assert "绿芽积分" in ran.out
    assert "whether part of 500 steps earns part of a point" in ran.out
    assert "psbc" not in ran.out
    told = bare("standards", "points", "luzhou-green-bud", "--json").json
    assert [(r["behaviour"], r["amount"], r["kind"], r["per"]) for r in told["rewards"]] == [
        ("FOOD-CLEANPLATE", "5", "point", 1), ("MOB-BUS", "10", "point", 1), ("MOB-WALK", "1", "point", 500),
        ("CLO-RECYCLE", "30", "point", 1),
    ]  # fmt: skip
    assert told["rewards"][0]["derived"] == {"mg_per_point": "28800", "factor": "luzhou-cleanplate"}
    assert told["schemes"][0]["id"] == "luzhou-green-bud"
    assert told["exchanges"][0]["gives"] == "300 point"


def test_an_issuer_without_rules_is_a_sentence_and_an_unknown_one_a_line(bare: Terminal):
    ran = bare("standards", "points", "hello")
    assert (ran.code, "No rule of points is known of hello." in ran.out) == (0, True)
    complaint = bare("standards", "points", "atlantis").complaint
    assert "there is no scheme 'atlantis'" in complaint
    assert all(scheme in complaint for scheme in load_schemes())
