"""Points are not grams, not each other's and no numbers; each published rule is reproduced, and doubt is said."""

import operator
from datetime import date
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from standards.datafile import DataError
from standards.exchanges import load_exchanges, parse_exchanges
from standards.explain import Act
from standards.factors import load_factors
from standards.points import NoRewardError, Points, decimal_text, load_reward_rules, points_for
from standards.schema import Role
from standards.schemes import scheme_value

DAY = date(2026, 10, 1)
# grams and points of one act, and their source: (issuer, behaviour, unit, quantity, milligrams, points, kind)
GOLDEN = {
    "luzhou-cleanplate-144-g-5-points-N2": ("luzhou-green-bud", "FOOD-CLEANPLATE", "meal", "1", 144_000, 5, "point"),
    "luzhou-bus-80-g-10-points-N2": ("luzhou-green-bud", "MOB-BUS", "trip", "1", 80_000, 10, "point"),
    "luzhou-500-steps-8.2-g-1-point-S37": ("luzhou-green-bud", "MOB-WALK", "steps", "500", 8_200, 1, "point"),
    "luzhou-clothes-1280-g-30-points-S13": ("luzhou-green-bud", "CLO-RECYCLE", "kg", "1", 1_280_000, 30, "point"),
    "luzhou-3-plates-N2": ("luzhou-green-bud", "FOOD-CLEANPLATE", "meal", "3", 432_000, 15, "point"),
    "luzhou-7500-steps-S37": ("luzhou-green-bud", "MOB-WALK", "steps", "7500", 123_000, 15, "point"),
    "cainiao-carton-37-g-50-energy-S16": ("cainiao", "USE-CARTON", "carton", "1", 37_000, 50, "green energy"),
    "psbc-bus-98-energy-S18": ("psbc-hunan", "MOB-BUS", "trip", "1", None, 98, "carbon energy"),
    "psbc-5000-steps-128-energy-S18": ("psbc-hunan", "MOB-WALK", "steps", "5000", None, 128, "carbon energy"),
    "ant-forest-10000-steps-200-energy-S38": ("ant-forest", "MOB-WALK", "steps", "10000", None, 200, "green energy"),
    "alibaba-metro-photo-200-S26": ("alibaba-88", "MOB-METRO", "trip", "1", None, 200, "carbon credit"),
    "alibaba-2-light-photos-131-S26": ("alibaba-88", "HOME-LIGHTOFF", "time", "2", None, 131, "carbon credit"),
    "zhengzhou-bus-10-points-S114": ("zhengzhou-carbon", "MOB-BUS", "trip", "1", None, 10, "point"),
    "rizhao-payment-500-points-S47": ("rizhao-bank", "FIN-BILLPAY", "payment", "1", None, 500, "point"),
}
NUMBERS = [1, 0, True, 1.5, Decimal(1), Fraction(1), np.int64(3), np.array([1, 2]), "a", None]


def _micro(quantity: str) -> int:
    return int(Decimal(quantity) * 10**6)


@pytest.mark.parametrize("case", GOLDEN.values(), ids=GOLDEN.keys())
def test_an_act_earns_what_is_published(case):
    issuer, behaviour, unit, quantity, mg, points, kind = case
    earned = points_for(issuer, behaviour, unit, _micro(quantity), DAY)
    assert earned.certain
    assert earned.at_least == Points(amount=Fraction(points), kind=kind, issuer=issuer)
    if mg is None:
        assert not load_factors().filter(issuer=issuer, behaviour=behaviour).height  # it publishes no grams
    else:
        role = Role.SELF_REPORT if unit == "steps" else Role.OPERATOR
        act = Act(behaviour=behaviour, unit=unit, quantity_micro=_micro(quantity), day=DAY, role=role)
        assert scheme_value(issuer, act).amount_mg == mg


@pytest.mark.parametrize(("name", "case"), GOLDEN.items(), ids=GOLDEN.keys())
def test_a_golden_case_names_the_source_of_its_rule(name, case):
    assert name.endswith(f"-{points_for(*case[:3], _micro(case[3]), DAY).reward.source}")


# --- Kept apart by type ---


@pytest.mark.parametrize("other", NUMBERS, ids=lambda other: type(other).__name__)
@pytest.mark.parametrize("joined", [operator.add, operator.sub, operator.mul, operator.truediv, operator.lt])
def test_points_join_no_number_from_either_side(joined, other):
    points = Points(amount=Fraction(5), kind="point", issuer="luzhou-green-bud")
    with pytest.raises(TypeError):
        joined(points, other)
    with pytest.raises(TypeError):
        joined(other, points)


def test_points_join_only_their_own_kind_of_their_own_issuer():
    points = Points(amount=Fraction(5), kind="point", issuer="luzhou-green-bud")
    assert (points + points).amount == 10
    for other in (
        Points(amount=Fraction(5), kind="point", issuer="zhengzhou-carbon"),
        Points(amount=Fraction(5), kind="green energy", issuer="luzhou-green-bud"),
        points_for("luzhou-green-bud", "MOB-BUS", "trip", 10**6, DAY).reward.implied(),
    ):
        with pytest.raises(TypeError, match="cannot be added to"):
            points + other
    with pytest.raises(TypeError, match="int cannot be added to point"):
        sum([points, points])
    for as_number in (int, float, round, bytes, range):
        with pytest.raises(TypeError):
            as_number(points)
    assert points != 5
    assert str(points) == "5 point (luzhou-green-bud)"


def test_the_grams_behind_a_point_are_shown_and_differ_by_behaviour():
    behind = {r.behaviour: r.implied() for r in load_reward_rules() if r.issuer == "luzhou-green-bud"}
    grams = {behaviour: str(implied) for behaviour, implied in behind.items()}
    assert grams == {
        "FOOD-CLEANPLATE": "28.8 g each, by luzhou-cleanplate",
        "MOB-BUS": "8 g each, by luzhou-bus",
        "MOB-WALK": "8.2 g each, by luzhou-walk",
        "CLO-RECYCLE": "about 42.6667 g each, by luzhou-clothes",
    }
    with pytest.raises(TypeError):
        behind["MOB-BUS"] * 2
    carton = points_for("cainiao", "USE-CARTON", "carton", 10**6, DAY)
    assert carton.reward.implied().mg == 740  # less than a gram: the reward exceeds the reduction
    assert points_for("rizhao-bank", "FIN-BILLPAY", "payment", 10**6, DAY).reward.implied() is None
    assert carton.reward.implied(date(2020, 1, 1)) is None


# --- What the sources leave open ---


def test_part_of_a_step_is_left_open_where_the_source_does_not_say():
    earned = points_for("luzhou-green-bud", "MOB-WALK", "steps", _micro("750"), DAY)
    assert (earned.at_least.amount, earned.at_most.amount, earned.certain) == (1, Fraction(3, 2), False)
    assert earned.note == "the source does not say whether part of 500 steps earns part of it"
    fewer = points_for("luzhou-green-bud", "MOB-WALK", "steps", _micro("499"), DAY)
    assert (fewer.at_least.amount, fewer.at_most.amount) == (0, Fraction(499, 500))


def test_whole_days_only_where_the_source_says_so():
    earned = points_for(
        "beijing-no-drive", "MOB-NODRIVE", "vehicle-day", _micro("2.9"), DAY, case="battery electric car"
    )
    assert (earned.at_least.amount, earned.certain, earned.note) == (Fraction(2, 5), True, None)


def test_a_days_most_is_kept():
    earned = points_for("ant-forest", "MOB-WALK", "steps", _micro("100000"), DAY)
    assert (earned.at_least.amount, earned.at_most.amount) == (296, 296)
    assert "at most 296 green energy" in earned.note
    near = points_for("ant-forest", "MOB-WALK", "steps", _micro("19000"), DAY)
    assert (near.at_least.amount, near.at_most.amount) == (200, 296)


def test_what_is_only_recalled_says_so():
    assert "recalled" in points_for("ant-forest", "FIN-BILLPAY", "payment", 10**6, DAY).note


REFUSED = {
    "an unknown scheme": (("atlantis", "MOB-BUS", "trip", 1, DAY), r"no scheme 'atlantis'; there are .*luzhou"),
    "another behaviour": (("rizhao-bank", "MOB-BUS", "trip", 1, DAY), r"publishes: FIN-BILLPAY 500 point per payment"),
    "an unknown behaviour": (("rizhao-bank", "MOB-FLY", "trip", 1, DAY), r"which is no behaviour that is known; it publishes"),
    "another unit": (("luzhou-green-bud", "MOB-WALK", "km", 1, DAY), r"per km on .*: .*1 point per 500 steps"),
    "a day before": (("luzhou-green-bud", "MOB-BUS", "trip", 1, date(2024, 7, 24)), r"10 point per trip from 2024-07-25"),
    "several cases": (("beijing-no-drive", "MOB-NODRIVE", "vehicle-day", 1, DAY), r"by case: engine up to 1.6 L: 0.5 yuan"),
    "a negative quantity": (("luzhou-green-bud", "MOB-BUS", "trip", -1, DAY), r"quantity in trip, zero or more"),
    "a rule that is no reward": (("hubei-carbon", "MOB-BUS", "trip", 1, DAY), r"it publishes: points and grams are one to one"),
    "nothing at all": (("hello", "MOB-BIKE", "km", 1, DAY), r"it publishes: nothing that was found"),
    "no rate found": (("harbin-carbon", "MOB-BIKE", "km", 1, DAY), r"it publishes: no rate from grams to points was found"),
}  # fmt: skip


@pytest.mark.parametrize(("asked", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_refused_with_what_there_is(asked, message):
    with pytest.raises(NoRewardError, match=message):
        points_for(*asked)


def test_an_unknown_case_is_refused():
    with pytest.raises(NoRewardError, match=r"no reward for MOB-NODRIVE"):
        points_for("beijing-no-drive", "MOB-NODRIVE", "vehicle-day", 1, DAY, case="steam engine")


# --- What points and grams are exchanged for ---

# As the sources tell them: (gives, gets, sources, who has the reduction)
EXCHANGES = {
    "luzhou-gull-food": ("300 point", "1 portion of gull food", {"S37"}, None),
    "hubei-points": ("1 g", "1 point", {"S17"}, None),
    "wuhan-coupon-2": ("1000 g", "2 yuan", {"S24", "S111", "S112"}, None),
    "wuhan-coupon-90": ("45000 g", "90 yuan", {"S24", "S111", "S112"}, None),
    "wuhan-wine": ("20000 g", "1 discount on wine", {"S24", "S111", "S112"}, None),
    "wuhan-hubei-market": ("1 t", "1 t of Hubei allowances", {"S67"}, "to-enterprise"),
    "cainiao-energy": ("37 g", "50 green energy", {"S16"}, None),
    "ant-forest-tree": ("18000 green energy", "1 tree", {"S38", "S39", "S70"}, None),
    "alibaba-88-cola": ("500 carbon credit", "12 can of cola", {"S26"}, None),
    "psbc-hunan-value": ("1 carbon energy", "1 unit of value in its shop", {"S18", "S113"}, None),
    "citic-goods": ("1 g", "1 g of a price told in grams", {"S12"}, "taken-back"),
    "zhengzhou-voucher": ("50 point", "5 yuan", {"S114"}, None),
}
NOT_FOUND = {
    "guangzhou-carbon", "shenzhen-metro", "beijing-green-life", "shanxi-green-life", "harbin-carbon",
    "shenzhen-low-carbon-planet", "guangdong-phcer",
}  # fmt: skip
GOOD = """
[[exchange]]
id = "a"
issuer = "citic-carbon"
kind = "redeem"
gives = "300"
gives_unit = "point"
gets = "1"
gets_unit = "tree"
rule = "300 points are a tree"
ownership = "taken-back"
sources = ["S12"]
status = "published"
"""


def test_exchanges_are_those_of_the_sources():
    told = {
        exchange.id: (exchange.gives, exchange.gets, set(exchange.sources), exchange.ownership)
        for exchange in load_exchanges().values()
        if exchange.gives is not None
    }
    assert told == EXCHANGES


def test_what_was_not_found_says_so_and_has_no_figure():
    missing = [exchange for exchange in load_exchanges().values() if exchange.status == "not-found"]
    assert {exchange.issuer for exchange in missing} == NOT_FOUND
    assert all(exchange.gives is None and "no rate" in exchange.rule for exchange in missing)


def test_a_price_per_tonne_that_a_rule_derives_follows_from_its_figures():
    for name in ("wuhan-coupon-2", "wuhan-coupon-90"):
        exchange = load_exchanges()[name]
        grams, yuan = exchange.gives.split()[0], exchange.gets.split()[0]
        assert Fraction(yuan) / Fraction(grams) * 10**6 == 2000
        assert "2,000 yuan a tonne (derived)" in exchange.rule


def test_a_good_table_is_read(tmp_path):
    file = tmp_path / "exchanges.toml"
    file.write_text(GOOD, encoding="utf-8")
    assert parse_exchanges(file)["a"].gives == "300 point"


BAD = {
    "an unknown source": (('"S12"', '"S999"'), "sources holds unknown or repeated entries: S999"),
    "what was recalled": (('"S12"', '"U"'), "sources holds unknown or repeated entries: U"),
    "no source": (('sources = ["S12"]\n', ""), "a rule without a source"),
    "an unknown issuer": (("citic-carbon", "atlantis"), "issuer is 'atlantis', not one of"),
    "half of an exchange": (('gets = "1"\ngets_unit = "tree"\n', ""), "what is given and what is got come together"),
    "an amount without a unit": (('gives_unit = "point"\n', ""), "gives_unit is missing"),
    "no number": (('"300"', '"many"'), "gives: not a decimal number"),
    "nothing": (('"300"', '"0"'), "gives must be more than zero"),
    "an unknown kind": (('"redeem"', '"gift"'), "kind is 'gift', not one of"),
    "an unknown owner": (('"taken-back"', '"burnt"'), "ownership is 'burnt', not one of"),
    "found and not found": (('"published"', '"not-found"'), "kind and status must both say"),
    "a day out of nowhere": (("status", "valid_from = 2024-01-01\nstatus"), 'valid_from is missing, or there although'),
    "a member that nobody reads": (("status", 'rate = "1"\nstatus'), "unknown members: rate"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "message"), BAD.values(), ids=BAD.keys())
def test_a_table_is_refused_for(tmp_path, change, message):
    file = tmp_path / "exchanges.toml"
    assert change[0] in GOOD
    file.write_text(GOOD.replace(*change), encoding="utf-8")
    with pytest.raises(DataError, match=f"^exchanges.toml:2: {message}"):
        parse_exchanges(file)


def test_an_exchange_occurs_once(tmp_path):
    file = tmp_path / "exchanges.toml"
    file.write_text(GOOD * 2, encoding="utf-8")
    with pytest.raises(DataError, match=r"^exchanges.toml:15: exchange a occurs twice"):
        parse_exchanges(file)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("5", "5"),
        ("0.0164", "0.0164"),
        ("128/3", "about 42.6667"),
        ("0", "0"),
        ("-5/2", "-2.5"),
        ("1/3", "about 0.3333"),
    ],
)
def test_a_number_is_shown_exactly_or_says_that_it_is_not(value, text):
    assert decimal_text(Fraction(value)) == text
