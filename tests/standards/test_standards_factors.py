"""Golden figures, each named by its source, against the factor table; and a bad table is refused with file and line."""

from datetime import date
from fractions import Fraction

import polars as pl
import pytest

from standards.behaviours import load_behaviours
from standards.datafile import DataError
from standards.factors import FACTOR_SCHEMA, load_factors, load_sources, parse_factors, parse_sources
from standards.published import (
    load_grid_factors,
    load_reference_values,
    load_rewards,
    parse_grid_factors,
    parse_reference_values,
    parse_rewards,
)
from standards.units import MICRO

# (source and figure, issuer, behaviour, unit, quantity in millionths, milligrams)
GOLDEN = [
    ("N1 Beijing 2023: shared bike 250 g/km", "beijing-green-life", "MOB-BIKE", "km", 1_000_000, 250_000),
    (
        "N1 Beijing 2023: no utensils 45.72 g/order",
        "beijing-green-life",
        "FOOD-NOTABLEWARE",
        "order",
        1_000_000,
        45_720,
    ),
    ("N1 Beijing 2023: e-waybill 5 g", "beijing-green-life", "USE-EWAYBILL", "parcel", 1_000_000, 5_000),
    ("N2 Luzhou: clean plate 144 g", "luzhou-green-bud", "FOOD-CLEANPLATE", "meal", 1_000_000, 144_000),
    ("N2 Luzhou: bus 80 g", "luzhou-green-bud", "MOB-BUS", "trip", 1_000_000, 80_000),
    ("S37 Luzhou: 500 steps 8.2 g", "luzhou-green-bud", "MOB-WALK", "steps", 500_000_000, 8_200),
    ("S37 Luzhou: 1,000 steps 16.4 g", "luzhou-green-bud", "MOB-WALK", "steps", 1_000_000_000, 16_400),
    ("S13 Luzhou: clothes 1,280 g/kg", "luzhou-green-bud", "CLO-RECYCLE", "kg", 1_000_000, 1_280_000),
    ("S21 Shenzhen: electric bus 26.9 g/person-km", "shenzhen-public-travel", "MOB-BUS", "km", 1_000_000, 26_900),
    ("S21 Shenzhen: metro 46.7 g/person-km", "shenzhen-public-travel", "MOB-METRO", "km", 1_000_000, 46_700),
    ("S15 Shanxi: charging 460 g/kWh", "shanxi-green-life", "MOB-EVCHARGE", "kWh", 1_000_000, 460_000),
    ("S15 Shanxi: bike 250 g/km", "shanxi-green-life", "MOB-BIKE", "km", 1_000_000, 250_000),
    ("S15 Shanxi: no utensils 45.72 g", "shanxi-green-life", "FOOD-NOTABLEWARE", "order", 1_000_000, 45_720),
    ("S47 CITIC: e-card 89 g", "citic-carbon", "FIN-ECARD", "once", 1_000_000, 89_000),
    ("S47 CITIC: e-statement 24 g", "citic-carbon", "FIN-ESTATEMENT", "statement", 1_000_000, 24_000),
    ("S47 CITIC: bill payment 89 g", "citic-carbon", "FIN-BILLPAY", "payment", 1_000_000, 89_000),
    ("S35 Meituan: bike 48.7 g/km, a tie goes to even", "meituan", "MOB-BIKE", "km", 4_395_000, 214_036),
    ("S36 Hello: bike 33.88 g/km", "hello", "MOB-BIKE", "km", 1_000_000, 33_880),
    ("S16 Cainiao: carton 37 g", "cainiao", "USE-CARTON", "carton", 1_000_000, 37_000),
]
# (factor, the derivation of its `baseline` done again with exact fractions, in grams)
DERIVED = {
    "S20 2.5 kg / 8 kWh": ("shenzhen-powersave", Fraction(2500, 8)),
    "S43 1 Mt / 400 bn": ("cainiao-ewaybill", Fraction(10**12, 400 * 10**9)),
    "S17 0.02 points, 1 g each": ("hubei-walk", Fraction(2, 100)),
    "S37 1,400 steps x 16 mg": ("hub-2026-walk-km", Fraction(1400 * 16, 1000)),
    "S49 half of car minus metro": ("hub-2026-nodrive", Fraction(5980 - 1350, 2)),
    "S15 460 g/kWh x 0.12 kWh/km": ("hub-2026-ev", 460 * Fraction(12, 100)),
    "S16 half of a set": ("hub-2026-owncup", Fraction(23, 2)),
    "S13 a twentieth of clothes": ("hub-2026-wastesort", Fraction(1280, 20)),
}
GOOD = """
[[factor]]
id = "a"
issuer = "town"
behaviour = "MOB-BUS"
unit = "trip"
grams = "45.72"
bound = "exact"
region = 510500
evidence = "operator-record"
gas_scope = "CO2"
baseline = "not stated"
valid_from = 2023-01-01
dated = "year"
source = "S4"
source_place = "page 1"
status = "published"
"""


def _rows(**equal: object) -> pl.DataFrame:
    return load_factors().filter(**equal)


@pytest.mark.parametrize(
    ("issuer", "behaviour", "unit", "quantity_micro", "mg"), [g[1:] for g in GOLDEN], ids=[g[0] for g in GOLDEN]
)
def test_golden_figure(issuer, behaviour, unit, quantity_micro, mg):
    row = _rows(issuer=issuer, behaviour=behaviour, unit=unit, status="published").row(0, named=True)
    assert round(Fraction(quantity_micro * row["amount_mg"], row["per"] * MICRO)) == mg


@pytest.mark.parametrize(("factor_id", "grams"), DERIVED.values(), ids=DERIVED.keys())
def test_a_derivation_gives_its_figure(factor_id, grams):
    row = _rows(factor_id=factor_id).row(0, named=True)
    assert Fraction(row["amount_mg"], 1000) / row["per"] == grams
    assert row["status"] in ("derived", "hub-assumption")


def test_derivations_that_round_say_so_and_round_down_or_to_the_nearest_gram():
    carpool = _rows(factor_id="hub-2026-carpool").row(0, named=True)
    assert 0 <= Fraction(5980, 22) * Fraction(23, 100) - Fraction(carpool["amount_mg"], 1000) < Fraction(1, 10)
    meituan = _rows(factor_id="meituan-notableware").row(0, named=True)
    assert abs(Fraction(310 * 10**9, 77 * 10**8) - Fraction(meituan["amount_mg"], 1000)) < Fraction(1, 2)
    checked_by_hand = {"hub-2026-carpool", "meituan-notableware"} | {factor_id for factor_id, _ in DERIVED.values()}
    assert set(load_factors().filter(pl.col("status") != "published")["factor_id"]) == checked_by_hand


def test_evidence_halves_the_figures_of_hubei():
    rows = _rows(issuer="hubei-carbon").iter_rows(named=True)
    told = {(row["behaviour"], row["evidence"]): row["mg_per_unit"] for row in rows}
    assert (told["MOB-BUS", "self-check-in"], told["MOB-BUS", "uploaded-record"]) == (52_000, 105_000)
    assert (told["MOB-METRO", "self-check-in"], told["MOB-METRO", "uploaded-record"]) == (137_000, 274_000)


def test_every_factor_is_sourced_explained_and_schema_true():
    factors = load_factors()
    assert factors.schema == FACTOR_SCHEMA
    assert set(factors["source"]) <= load_sources().keys()
    whole = factors.filter(pl.col("mg_per_unit").is_not_null())
    assert (whole["mg_per_unit"] * whole["per"] == whole["amount_mg"]).all()
    assert factors.filter(pl.col("mg_per_unit").is_null())["factor_id"].to_list() == ["luzhou-walk"]


def test_the_floors_of_the_beijing_handbook_are_floors():
    assert set(_rows(issuer="beijing-handbook")["bound"]) == {"floor"}
    floors = {
        (r["behaviour"], r["unit"]): r["mg_per_unit"] for r in _rows(issuer="beijing-handbook").iter_rows(named=True)
    }
    assert floors == {
        ("FOOD-NOTABLEWARE", "order"): 23_000,
        ("FOOD-CLEANPLATE", "meal"): 449_000,
        ("MOB-BUS", "trip"): 80_000,
        ("MOB-METRO", "trip"): 46_000,
        ("MOB-BIKE", "ride"): 52_000,
    }


def test_a_superseded_figure_ends_when_its_successor_begins():
    wuhan = _rows(issuer="wuhan-carbon", behaviour="MOB-BIKE").sort("valid_from")
    assert wuhan["mg_per_unit"].to_list() == [40_000, 93_300]
    assert wuhan["valid_until"].to_list() == [date(2025, 8, 1), None]
    assert wuhan["valid_from"].to_list()[1] == date(2025, 8, 1)


REFUSED = {
    "a missing source": (('source = "S4"\n', ""), "factors.toml:2: source is missing"),
    "an unregistered source": (('"S4"', '"S999"'), "factors.toml:2: source 'S999' is not in the register"),
    "a missing place": (('source_place = "page 1"\n', ""), "factors.toml:2: source_place is missing"),
    "a missing derivation": (('baseline = "not stated"\n', ""), "factors.toml:2: baseline is missing"),
    "an unknown behaviour": (('"MOB-BUS"', '"MOB-FLY"'), "factors.toml:2: unknown behaviour 'MOB-FLY'"),
    "a unit of another behaviour": (('"trip"', '"kWh"'), "factors.toml:2: unit 'kWh' is not a unit of MOB-BUS"),
    "an amount that is no text": (('"45.72"', "45"), "factors.toml:2: grams is missing or empty"),
    "an amount that is no number": (('"45.72"', '"much"'), "factors.toml:2: grams: not a decimal number"),
    "an amount below a milligram": (('"45.72"', '"0.0001"'), "factors.toml:2: grams: 0.0001 g is not a whole number"),
    "an amount of nothing": (('"45.72"', '"0"'), "factors.toml:2: grams must be more than zero"),
    "an unknown bound": (('"exact"', '"about"'), "factors.toml:2: bound is 'about'"),
    "an unknown status": (('"published"', '"sure"'), "factors.toml:2: status is 'sure'"),
    "no region code": (("510500", "5105"), "factors.toml:2: region 5105"),
    "an end before the begin": (
        ("dated", "valid_until = 2022-01-01\ndated"),
        "factors.toml:2: valid_until is not after",
    ),
    "no begin": (("valid_from = 2023-01-01\n", ""), "factors.toml:2: valid_from is missing"),
    "a date that is no date": (("2023-01-01", '"2023"'), "factors.toml:2: valid_from is missing or not a date"),
    "a misspelt member": (("gas_scope", "gas"), "factors.toml:2: gas_scope is missing"),
    "a member too many": (("dated", "note = 1\ndated"), "factors.toml:2: unknown members: note"),
    "per nothing": (("dated", "per = 0\ndated"), "factors.toml:2: per is 0"),
}


@pytest.mark.parametrize(("change", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_a_factor_is_refused_for(tmp_path, change, message):
    file = tmp_path / "factors.toml"
    file.write_text(GOOD, encoding="utf-8")
    assert parse_factors(file, load_behaviours(), load_sources())["amount_mg"].to_list() == [45_720]
    file.write_text(GOOD.replace(*change, 1), encoding="utf-8")
    with pytest.raises(DataError, match=f"^{message}"):
        parse_factors(file, load_behaviours(), load_sources())


@pytest.mark.parametrize(
    ("first", "second", "clash"),
    [
        ("", "", True),
        ("valid_until = 2024-01-01\n", "", True),
        ("valid_until = 2024-01-01\n", "from 2024-01-01", False),
        ("", "from 2024-01-01", True),
        ("", "other evidence", False),
        ("", "other region", False),
    ],
)
def test_an_issuer_has_one_value_at_a_time(tmp_path, first, second, clash):
    rival = GOOD.replace('"a"', '"b"')
    rival = {
        "": rival,
        "from 2024-01-01": rival.replace("2023-01-01", "2024-01-01"),
        "other evidence": rival.replace("operator-record", "self-check-in"),
        "other region": rival.replace("region = 510500\n", ""),
    }[second]
    file = tmp_path / "factors.toml"
    file.write_text(GOOD.replace("dated", f"{first}dated") + rival, encoding="utf-8")
    if not clash:
        assert len(parse_factors(file, load_behaviours(), load_sources())) == 2
        return
    line = 2 + GOOD.count("\n") + first.count("\n")
    with pytest.raises(DataError, match=rf"^factors.toml:{line}: holds at the same time as a \(line 2\)"):
        parse_factors(file, load_behaviours(), load_sources())


def test_a_source_occurs_once(tmp_path):
    file = tmp_path / "sources.toml"
    source = '[[source]]\nid = "X"\ntitle = "t"\nkind = "k"\naddress = "a"\n'
    file.write_text(source * 2, encoding="utf-8")
    with pytest.raises(DataError, match=r"^sources.toml:6: source X occurs twice"):
        parse_sources(file)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"^factors.toml: .*No such file"):
        parse_factors(tmp_path / "factors.toml", load_behaviours(), load_sources())


def test_rewards_are_kept_apart_from_grams():
    rewards = load_rewards()
    assert "mg_per_unit" not in rewards.columns
    assert set(rewards["reward_unit"]) == {"point", "carbon energy", "green energy", "carbon credit", "yuan"}
    luzhou = {
        r["behaviour"]: (r["amount"], r["per"]) for r in rewards.filter(issuer="luzhou-green-bud").iter_rows(named=True)
    }
    assert luzhou == {
        "FOOD-CLEANPLATE": ("5", 1),
        "MOB-BUS": ("10", 1),
        "MOB-WALK": ("1", 500),
        "CLO-RECYCLE": ("30", 1),
    }


@pytest.mark.parametrize(
    ("region", "year", "basis", "mg"),
    [
        ("CN", 2022, "average", 536_600),
        ("CN", 2023, "average", 530_600),
        ("CN", 2023, "fossil", 827_300),
        ("530000", 2022, "average", 107_300),
        ("north", 2023, "average", 636_100),
    ],
)
def test_electricity_factors_are_those_of_the_notices(region, year, basis, mg):
    rows = load_grid_factors().filter(region=region, year=year, basis=basis)
    assert rows["mg_per_kwh"].to_list() == [mg]
    assert rows["id"].to_list() == [f"grid-{region}-{year}-{basis}"]


def test_what_was_only_recalled_is_marked_unverified_everywhere():
    for table in (load_rewards(), load_grid_factors(), load_reference_values()):
        assert (table.filter(source="U")["status"] == "unverified").all()
        assert (table.filter(pl.col("source") != "U")["status"] != "unverified").all()
    assert not load_factors().filter(source="U").height


@pytest.mark.parametrize(
    ("parse", "text", "message"),
    [
        (
            parse_grid_factors,
            '[[grid]]\nregion="CN"\nyear=2022\nbasis="average"\nkg_per_kwh="0.5"\nsource="U"\nstatus="published"\n',
            "grid.toml:1: what has no source is unverified",
        ),
        (
            parse_grid_factors,
            '[[grid]]\nregion="nroth"\nyear=2022\nbasis="average"\nkg_per_kwh="0.5"\nsource="S73"\nstatus="published"\n',
            "grid.toml:1: region is 'nroth', not one of",
        ),
        (
            parse_grid_factors,
            '[[grid]]\nregion="CN"\nyear=2022\nbasis="average"\nkg_per_kwh="-0.5"\nsource="S73"\nstatus="published"\n',
            "grid.toml:1: kg_per_kwh must be more than zero",
        ),
        (
            parse_grid_factors,
            '[[grid]]\nregion="CN"\nyear=2022\nbasis="average"\nkg_per_kwh="0.5"\nsource="S73"\nstatus="published"\n'
            * 2,
            "grid.toml:8: repeats line 1",
        ),
        (
            parse_rewards,
            '[[reward]]\nissuer="x"\nbehaviour="MOB-BUS"\nunit="trip"\namount="1"\nreward_unit="p"\nsource="X"\nstatus="derived"\n',
            "grid.toml:1: source 'X' is not in the register",
        ),
        (
            parse_reference_values,
            '[[reference]]\nid="x"\nvalue="one"\nunit="g"\nnote="n"\nsource="S4"\nstatus="published"\n',
            "grid.toml:1: value: not a decimal number",
        ),
        (
            parse_reference_values,
            '[[reference]]\nid="x"\nvalue="1"\nunit="g//km"\nnote="n"\nsource="S4"\nstatus="published"\n',
            "grid.toml:1: unit: 'g//km' is not a unit such as g/km",
        ),
        (
            parse_reference_values,
            '[[reference]]\nid="x"\nvalue="1"\nunit="g"\nnote="n"\nsource="S4"\nstatus="published"\n' * 2,
            "grid.toml:8: reference x occurs twice",
        ),
    ],
)
def test_a_bad_table_beside_the_factors_is_refused_with_file_and_line(tmp_path, parse, text, message):
    file = tmp_path / "grid.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=f"^{message}"):
        parse(file)
