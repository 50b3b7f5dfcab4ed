"""Each platform's published figure is reproduced by its own scheme, to the milligram; anything else is refused with a list."""

from datetime import date
from decimal import Decimal

import pytest

from standards.datafile import DATA, DataError
from standards.exchanges import load_exchanges
from standards.explain import Act
from standards.factors import load_factors, load_sources
from standards.published import load_rewards
from standards.regions import RegionError
from standards.schema import Role
from standards.schemes import NoFigureError, find_scheme, load_schemes, parse_schemes, scheme_value

DAY = date(2026, 10, 1)
BEFORE = date(2025, 7, 31)  # the last day of Wuhan's first set of methods
SEEN, ALONE = Role.OPERATOR, Role.SELF_REPORT

# figure and source: (issuer, behaviour, unit, quantity, milligrams, day, role)
GOLDEN = {
    # One of each, as the sources print them (the figures that golden cases must reproduce).
    "beijing-bike-250-N1": ("beijing-green-life", "MOB-BIKE", "km", "1", 250_000, DAY, SEEN),
    "beijing-notableware-45.72-N1": ("beijing-green-life", "FOOD-NOTABLEWARE", "order", "1", 45_720, DAY, SEEN),
    "beijing-ewaybill-5-N1": ("beijing-green-life", "USE-EWAYBILL", "parcel", "1", 5_000, DAY, SEEN),
    "luzhou-cleanplate-144-N2": ("luzhou-green-bud", "FOOD-CLEANPLATE", "meal", "1", 144_000, DAY, SEEN),
    "luzhou-bus-80-N2": ("luzhou-green-bud", "MOB-BUS", "trip", "1", 80_000, DAY, SEEN),
    "luzhou-500-steps-8.2-S37": ("luzhou-green-bud", "MOB-WALK", "steps", "500", 8_200, DAY, ALONE),
    "shenzhen-bus-26.9-S21": ("shenzhen-public-travel", "MOB-BUS", "km", "1", 26_900, DAY, SEEN),
    "shenzhen-metro-46.7-S21": ("shenzhen-public-travel", "MOB-METRO", "km", "1", 46_700, DAY, SEEN),
    "shanxi-bike-250-S15": ("shanxi-green-life", "MOB-BIKE", "km", "1", 250_000, DAY, SEEN),
    "shanxi-charging-460-S15": ("shanxi-green-life", "MOB-EVCHARGE", "kWh", "1", 460_000, DAY, Role.METER),
    "shanxi-notableware-45.72-S15": ("shanxi-green-life", "FOOD-NOTABLEWARE", "order", "1", 45_720, DAY, SEEN),
    "citic-ecard-89-S47": ("citic-carbon", "FIN-ECARD", "once", "1", 89_000, DAY, SEEN),
    "citic-estatement-24-S47": ("citic-carbon", "FIN-ESTATEMENT", "statement", "1", 24_000, DAY, SEEN),
    "citic-billpay-89-S47": ("citic-carbon", "FIN-BILLPAY", "payment", "1", 89_000, DAY, SEEN),
    # Every published figure again, for a quantity that is not one.
    "beijing-bike-4.2-km-N1": ("beijing-green-life", "MOB-BIKE", "km", "4.2", 1_050_000, DAY, SEEN),
    "beijing-3-notableware-N1": ("beijing-green-life", "FOOD-NOTABLEWARE", "order", "3", 137_160, DAY, SEEN),
    "beijing-3-ewaybills-N1": ("beijing-green-life", "USE-EWAYBILL", "parcel", "3", 15_000, DAY, SEEN),
    "handbook-3-notableware-S16": ("beijing-handbook", "FOOD-NOTABLEWARE", "order", "3", 69_000, DAY, SEEN),
    "handbook-3-cleanplate-S16": ("beijing-handbook", "FOOD-CLEANPLATE", "meal", "3", 1_347_000, DAY, SEEN),
    "handbook-3-bus-S16": ("beijing-handbook", "MOB-BUS", "trip", "3", 240_000, DAY, SEEN),
    "handbook-3-metro-S16": ("beijing-handbook", "MOB-METRO", "trip", "3", 138_000, DAY, SEEN),
    "handbook-3-bike-rides-S16": ("beijing-handbook", "MOB-BIKE", "ride", "3", 156_000, DAY, SEEN),
    "shanxi-bike-4.2-km-S15": ("shanxi-green-life", "MOB-BIKE", "km", "4.2", 1_050_000, DAY, SEEN),
    "shanxi-charging-11.7-kWh-S15": ("shanxi-green-life", "MOB-EVCHARGE", "kWh", "11.7", 5_382_000, DAY, Role.METER),
    "shanxi-3-notableware-S15": ("shanxi-green-life", "FOOD-NOTABLEWARE", "order", "3", 137_160, DAY, SEEN),
    "luzhou-3-cleanplate-N2": ("luzhou-green-bud", "FOOD-CLEANPLATE", "meal", "3", 432_000, DAY, SEEN),
    "luzhou-3-bus-N2": ("luzhou-green-bud", "MOB-BUS", "trip", "3", 240_000, DAY, SEEN),
    "luzhou-7250-steps-S37": ("luzhou-green-bud", "MOB-WALK", "steps", "7250", 118_900, DAY, ALONE),
    "luzhou-one-step-S37": ("luzhou-green-bud", "MOB-WALK", "steps", "1", 16, DAY, ALONE),
    "luzhou-2.5-kg-clothes-S13": ("luzhou-green-bud", "CLO-RECYCLE", "kg", "2.5", 3_200_000, DAY, SEEN),
    "citic-2-ecards-S47": ("citic-carbon", "FIN-ECARD", "once", "2", 178_000, DAY, SEEN),
    "citic-3-estatements-S47": ("citic-carbon", "FIN-ESTATEMENT", "statement", "3", 72_000, DAY, SEEN),
    "citic-3-payments-S47": ("citic-carbon", "FIN-BILLPAY", "payment", "3", 267_000, DAY, SEEN),
    "shenzhen-bus-4.2-km-S21": ("shenzhen-public-travel", "MOB-BUS", "km", "4.2", 112_980, DAY, SEEN),
    "shenzhen-metro-4.2-km-S21": ("shenzhen-public-travel", "MOB-METRO", "km", "4.2", 196_140, DAY, SEEN),
    "shenzhen-8-kWh-2.5-kg-S20": ("shenzhen-household-electricity", "HOME-POWERSAVE", "kWh", "8", 2_500_000, DAY, SEEN),
    "wuhan-bike-4.2-km-2025-07-31-S28": ("wuhan-carbon", "MOB-BIKE", "km", "4.2", 168_000, BEFORE, SEEN),
    "wuhan-bike-4.2-km-2026-S19": ("wuhan-carbon", "MOB-BIKE", "km", "4.2", 391_860, DAY, SEEN),
    "wuhan-3-metro-trips-2025-07-31-S28": ("wuhan-carbon", "MOB-METRO", "trip", "3", 510_000, BEFORE, SEEN),
    "wuhan-metro-4.2-km-S19": ("wuhan-carbon", "MOB-METRO", "km", "4.2", 329_280, DAY, SEEN),
    "wuhan-3-bus-S24": ("wuhan-carbon", "MOB-BUS", "trip", "3", 637_500, DAY, SEEN),
    "wuhan-11.7-kWh-S19": ("wuhan-carbon", "HOME-POWERSAVE", "kWh", "11.7", 6_142_500, DAY, Role.METER),
    "hubei-3-bus-checked-in-S17": ("hubei-carbon", "MOB-BUS", "trip", "3", 156_000, DAY, ALONE),
    "hubei-3-bus-recorded-S17": ("hubei-carbon", "MOB-BUS", "trip", "3", 315_000, DAY, SEEN),
    "hubei-3-metro-checked-in-S17": ("hubei-carbon", "MOB-METRO", "trip", "3", 411_000, DAY, ALONE),
    "hubei-3-metro-recorded-S17": ("hubei-carbon", "MOB-METRO", "trip", "3", 822_000, DAY, SEEN),
    "hubei-7250-steps-S17": ("hubei-carbon", "MOB-WALK", "steps", "7250", 145_000, DAY, ALONE),
    "guangzhou-3-metro-substitution-S29": ("guangzhou-study-substitution", "MOB-METRO", "trip", "3", 1_625_700, DAY, SEEN),
    "guangzhou-3-metro-mean-S29": ("guangzhou-study-mean", "MOB-METRO", "trip", "3", 1_546_500, DAY, SEEN),
    "meituan-bike-4.395-km-tie-to-even-S35": ("meituan", "MOB-BIKE", "km", "4.395", 214_036, DAY, SEEN),
    "meituan-ebike-4.2-km-S35": ("meituan", "MOB-EBIKE", "km", "4.2", 259_560, DAY, SEEN),
    "meituan-3-hotel-S34": ("meituan", "HOME-HOTEL", "order", "3", 609_600, DAY, SEEN),
    "meituan-3-notableware-S33": ("meituan", "FOOD-NOTABLEWARE", "order", "3", 120_000, DAY, SEEN),
    "hello-bike-4.2-km-S36": ("hello", "MOB-BIKE", "km", "4.2", 142_296, DAY, SEEN),
    "hello-ebike-4.2-km-S36": ("hello", "MOB-EBIKE", "km", "4.2", 147_042, DAY, SEEN),
    "cainiao-3-cartons-S16": ("cainiao", "USE-CARTON", "carton", "3", 111_000, DAY, SEEN),
    "cainiao-3-ewaybills-S43": ("cainiao", "USE-EWAYBILL", "parcel", "3", 7_500, DAY, SEEN),
    "wwf-3-days-S41": ("wwf", "MOB-NODRIVE", "vehicle-day", "3", 24_510_000, DAY, SEEN),
}  # fmt: skip
GOOD = """
[[scheme]]
id = "town"
zh = "镇"
en = "Town"
kind = "city"
region = 510500
since = "2024-05"
methods = "bus"
not_found = ["values not visible"]
sources = ["S4"]
"""


def _act(behaviour: str, quantity: str | None = "1", **known: object) -> Act:
    micro = None if quantity is None else int(Decimal(quantity) * 10**6)
    return Act(**({"behaviour": behaviour, "quantity_micro": micro, "day": DAY} | known))


@pytest.mark.parametrize("case", GOLDEN.values(), ids=GOLDEN.keys())
def test_a_scheme_values_an_act_by_its_own_figure(case):
    issuer, behaviour, unit, quantity, mg, day, role = case
    valued = scheme_value(issuer, _act(behaviour, quantity, unit=unit, day=day, role=role))
    assert (valued.amount_mg, valued.issuer, valued.unit) == (mg, issuer, unit)
    assert valued.figure.id in set(load_factors().filter(issuer=issuer)["factor_id"])


@pytest.mark.parametrize(("name", "case"), GOLDEN.items(), ids=GOLDEN.keys())
def test_a_golden_case_names_the_source_of_its_figure(name, case):
    issuer, behaviour, unit, quantity, _, day, role = case
    valued = scheme_value(issuer, _act(behaviour, quantity, unit=unit, day=day, role=role))
    assert name.endswith(f"-{valued.figure.source}")


def test_every_published_figure_has_a_golden_case_with_another_quantity_than_one():
    told = set()
    for issuer, behaviour, unit, quantity, _, day, role in GOLDEN.values():
        if quantity != "1" or unit == "steps":
            told.add(scheme_value(issuer, _act(behaviour, quantity, unit=unit, day=day, role=role)).figure.id)
    factors = load_factors()
    assert told == set(factors.filter(factors["issuer"] != "tanlian-hub")["factor_id"])


def test_a_floor_is_the_least_that_the_issuer_stands_for():
    assert scheme_value("beijing-handbook", _act("MOB-BUS")).floor
    assert not scheme_value("luzhou-green-bud", _act("MOB-BUS")).floor


def test_the_place_of_an_act_must_lie_in_that_of_the_figure():
    assert scheme_value("wuhan-carbon", _act("MOB-BIKE", region=420106)).amount_mg == 93_300
    assert scheme_value("hello", _act("MOB-BIKE", region=420106)).amount_mg == 33_880  # of the whole country
    with pytest.raises(
        NoFigureError, match=r"wuhan-carbon has no figure for MOB-BIKE in Beijing .*; wuhan-carbon publishes"
    ):
        scheme_value("wuhan-carbon", _act("MOB-BIKE", region=110000))
    with pytest.raises(RegionError, match=r"110000 Beijing"):
        scheme_value("wuhan-carbon", _act("MOB-BIKE", region=990000))


def test_a_missing_unit_and_a_counted_act_follow_the_behaviour():
    assert scheme_value("luzhou-green-bud", _act("MOB-BUS", None)).amount_mg == 80_000
    assert scheme_value("beijing-green-life", _act("MOB-BIKE", "2")).unit == "km"
    with pytest.raises(NoFigureError, match=r"MOB-BIKE needs a quantity in km"):
        scheme_value("beijing-green-life", _act("MOB-BIKE", None))


REFUSED = {
    "an unknown scheme": ("atlantis", _act("MOB-BIKE"), r"no scheme 'atlantis'; there are .*luzhou-green-bud"),
    "an unknown behaviour": ("hello", _act("MOB-FLY"), r"unknown behaviour 'MOB-FLY'; hello publishes MOB-BIKE 33.88 g per km"),
    "another behaviour": ("hello", _act("MOB-BUS"), r"no figure for MOB-BUS per trip; hello publishes MOB-BIKE .*MOB-EBIKE"),
    "another unit": ("beijing-handbook", _act("MOB-BIKE"), r"per km; .*publishes MOB-BIKE at least 52 g per ride"),
    "a day before": ("wuhan-carbon", _act("MOB-BIKE", day=date(2024, 11, 12)), r"holds on 2024-11-12; .*40 g per km"),
    "a self-report": ("luzhou-green-bud", _act("MOB-BUS", role=ALONE), r"that nobody else saw; .*MOB-BUS 80 g"),
    "an unknown role": ("luzhou-green-bud", _act("MOB-BUS", role="witness"), r"unknown role 'witness'; there are operator"),
    "a negative quantity": ("hello", _act("MOB-BIKE", "-1"), r"quantity in km, zero or more"),
    "more than fits": ("hello", _act("MOB-BIKE", "1e15"), r"does not fit 64 bits"),
    "a scheme without grams": ("harbin-carbon", _act("MOB-BIKE"), r"no grams that were found .*none found"),
    "values that are not visible": ("shanghai-carbon", _act("MOB-BIKE"), r"values not visible"),
}  # fmt: skip


@pytest.mark.parametrize(("issuer", "act", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_refused_with_what_there_is(issuer, act, message):
    with pytest.raises(NoFigureError, match=message):
        scheme_value(issuer, act)


def test_every_issuer_has_a_scheme_and_every_scheme_says_what_was_not_found():
    schemes = load_schemes()
    issuers = {*load_factors()["issuer"], *load_rewards()["issuer"], *(e.issuer for e in load_exchanges().values())}
    assert issuers <= schemes.keys()
    for scheme in schemes.values():
        assert scheme.not_found
        assert set(scheme.sources) <= load_sources().keys() - {"U"}
    # No figure of any of these is public, and none may be made up.
    without = schemes.keys() - issuers
    assert {"beijing-tianjin-hebei-travel", "tianjin-carbon", "guangzhou-bike", "shanghai-carbon"} <= without
    assert "values not visible" in find_scheme("shanghai-carbon").not_found


def test_a_good_list_is_read(tmp_path):
    file = tmp_path / "schemes.toml"
    file.write_text(GOOD, encoding="utf-8")
    scheme = parse_schemes(file, ["town"])["town"]
    assert (scheme.region, scheme.since, scheme.rule, scheme.not_found) == (
        510500,
        "2024-05",
        None,
        ("values not visible",),
    )


BAD = {
    "an unknown source": (('"S4"', '"S999"'), r"schemes.toml:2: source 'S999' is not in the register"),
    "no source": (('sources = ["S4"]', ""), r"schemes.toml:2: sources is missing"),
    "no word on what is missing": (('not_found = ["values not visible"]\n', ""), r"schemes.toml:2: not_found is missing"),
    "an unknown kind": (('"city"', '"town"'), r"schemes.toml:2: kind is 'town', not one of"),
    "a place that is none": (("510500", "990000"), r"schemes.toml:2: region 990000 is not a GB/T 2260 code"),
    "a month that is none": (('"2024-05"', '"2024-13"'), r"schemes.toml:2: since is '2024-13'"),
    "a misspelt member": (("methods", "method"), r"schemes.toml:2: methods is missing"),
    "a member that nobody reads": (('en = "Town"', 'en = "Town"\nrules = "none"'), r"schemes.toml:2: unknown members: rules"),
    "an issuer without a row": (('"town"', '"village"'), r"schemes.toml: no scheme for town"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "message"), BAD.values(), ids=BAD.keys())
def test_a_list_is_refused_for(tmp_path, change, message):
    file = tmp_path / "schemes.toml"
    assert change[0] in GOOD
    file.write_text(GOOD.replace(*change), encoding="utf-8")
    with pytest.raises(DataError, match=f"^{message}"):
        parse_schemes(file, ["town"])


def test_a_scheme_occurs_once(tmp_path):
    file = tmp_path / "schemes.toml"
    file.write_text(GOOD * 2, encoding="utf-8")
    with pytest.raises(DataError, match=r"^schemes.toml:13: scheme town occurs twice"):
        parse_schemes(file, ["town"])


def test_without_one_row_the_real_list_is_refused(tmp_path):
    text = (DATA / "schemes.toml").read_text(encoding="utf-8")
    file = tmp_path / "schemes.toml"
    file.write_text(text.replace('id = "hello"', 'id = "hallo"'), encoding="utf-8")
    with pytest.raises(DataError, match=r"no scheme for hello"):
        parse_schemes(file, set(load_factors()["issuer"]))
