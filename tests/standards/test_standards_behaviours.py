"""The behaviour list is the contract's, and a bad list is refused with file and line."""

import pytest

from standards.behaviours import accepted_behaviours, default_unit, load_behaviours, parse_behaviours
from standards.datafile import DataError
from standards.factors import load_sources
from standards.schema import Precision

# CONTRACT: code -> units, exclusivity group.
CONTRACT = {
    "MOB-BUS": (("trip", "km"), "travel"),
    "MOB-METRO": (("trip", "km"), "travel"),
    "MOB-BIKE": (("km",), "travel"),
    "MOB-EBIKE": (("km",), "travel"),
    "MOB-CARPOOL": (("km",), "travel"),
    "MOB-WALK": (("steps", "km"), "travel"),
    "MOB-NODRIVE": (("vehicle-day",), None),
    "MOB-EV": (("km",), None),
    "MOB-EVCHARGE": (("kWh",), "charge"),
    "FOOD-NOTABLEWARE": (("order",), None),
    "FOOD-CLEANPLATE": (("meal",), None),
    "FOOD-OWNCUP": (("time",), None),
    "USE-EWAYBILL": (("parcel",), None),
    "USE-CARTON": (("carton",), None),
    "CLO-RECYCLE": (("kg",), None),
    "HOME-WASTESORT": (("kg",), None),
    "HOME-POWERSAVE": (("kWh",), None),
    "HOME-HOTEL": (("order",), None),
    "OFF-PAPERLESS": (("doc",), None),
    "OFF-VMEETING": (("meeting",), None),
    "FIN-ECARD": (("once",), None),
    "FIN-ESTATEMENT": (("statement",), None),
    "FIN-BILLPAY": (("payment",), None),
}
COUNTABLE = {
    "MOB-BUS", "MOB-METRO", "MOB-NODRIVE", "FOOD-NOTABLEWARE", "FOOD-CLEANPLATE", "FOOD-OWNCUP", "USE-EWAYBILL",
    "USE-CARTON", "FIN-ECARD", "FIN-ESTATEMENT", "FIN-BILLPAY", "HOME-HOTEL", "OFF-PAPERLESS", "OFF-VMEETING",
}  # fmt: skip
GOOD = """
[[behaviour]]
code = "MOB-BUS"
category = "travel"
zh = "公交"
en = "bus"
units = ["trip", "km"]
countable = true
support = "c"
sources = ["S1"]
"""


def test_the_accepted_behaviours_are_the_contracts_with_its_units_and_groups():
    assert {code: (b.units, b.group) for code, b in accepted_behaviours().items()} == CONTRACT


def test_the_list_has_42_behaviours_and_each_mark_of_support_has_a_source():
    behaviours = load_behaviours()
    assert len(behaviours) == 42
    assert {b.support for b in behaviours.values()} == {"C", "c", "U"}
    for behaviour in behaviours.values():
        assert set(behaviour.sources) <= load_sources().keys(), behaviour.code
        assert bool(behaviour.sources) == (behaviour.support != "U"), behaviour.code


def test_bus_and_metro_and_bike_and_ebike_are_matching_families():
    families = {code: b.family for code, b in load_behaviours().items()}
    assert {c for c, f in families.items() if f == "transit"} == {"MOB-BUS", "MOB-METRO"}
    assert {c for c, f in families.items() if f == "cycle"} == {"MOB-BIKE", "MOB-EBIKE"}
    assert all(c == f for c, f in families.items() if f not in ("transit", "cycle"))


@pytest.mark.parametrize(
    ("behaviour", "precision", "unit"),
    [
        ("MOB-WALK", "day", "steps"),
        ("MOB-WALK", "second", "km"),
        ("MOB-WALK", "minute", "km"),
        ("MOB-BUS", "second", "trip"),
        ("MOB-BUS", "day", "trip"),
        ("MOB-EVCHARGE", "minute", "kWh"),
    ],
)
def test_the_default_unit_depends_on_the_precision_only_for_walking(behaviour, precision, unit):
    assert default_unit(behaviour, precision) == unit


def test_a_default_unit_is_never_guessed():
    with pytest.raises(KeyError):
        default_unit("MOB-FLY", "day")
    with pytest.raises(ValueError, match="hour"):
        default_unit("MOB-BUS", "hour")


def test_countable_acts_count_one_only_in_counted_units():
    behaviours = load_behaviours()
    assert {code for code, b in accepted_behaviours().items() if b.countable} == COUNTABLE
    assert behaviours["MOB-BUS"].counts_one(None)
    assert behaviours["MOB-BUS"].counts_one("trip")
    assert not behaviours["MOB-BUS"].counts_one("km")
    assert not behaviours["MOB-WALK"].counts_one("steps")
    assert not behaviours["CLO-RECYCLE"].counts_one(None)


def test_day_records_are_in_no_exclusivity_group():
    walk = load_behaviours()["MOB-WALK"]
    assert [walk.group_at(p) for p in Precision] == ["travel", "travel", None]


@pytest.mark.parametrize(
    ("alias", "code"),
    [
        ("Green CD-ROM", "FOOD-CLEANPLATE"),
        ("electronic face sheet", "USE-EWAYBILL"),
        ("no utensils", "FOOD-NOTABLEWARE"),
    ],
)
def test_translation_traps_lead_to_the_behaviour(alias, code):
    assert alias in load_behaviours()[code].aliases


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('units = ["trip", "km"]\n', ""), "behaviours.toml:2: units is missing"),
        (('support = "c"', 'support = "x"'), "behaviours.toml:2: support is 'x'"),
        (('sources = ["S1"]', ""), "behaviours.toml:2: support without a source"),
        (('code = "MOB-BUS"', 'code = "MOB-BUS"\nday_unit = "steps"'), "day_unit 'steps' is not one of the units"),
        (('code = "MOB-BUS"', 'code = "MOB-BUS"\ncolour = "green"'), "unknown members: colour"),
        (('["trip", "km"]', '["km"]'), "countable, but 'km' is not a counted unit"),
        (('["trip", "km"]', '["trip", "trip"]'), "unknown or repeated"),
        (("countable = true", "countable = 1"), "countable is not true or false"),
        (("[[behaviour]]", "[[behavior]]"), "rows must be written as"),
        (('en = "bus"', "en = bus"), "behaviours.toml: Invalid value"),
    ],
)
def test_a_bad_list_is_refused_with_file_and_line(tmp_path, change, message):
    file = tmp_path / "behaviours.toml"
    file.write_text(GOOD, encoding="utf-8")
    parse_behaviours(file)
    file.write_text(GOOD.replace(*change), encoding="utf-8")
    with pytest.raises(DataError, match=message.replace("[", r"\[")):
        parse_behaviours(file)


def test_two_behaviours_never_share_a_name(tmp_path):
    file = tmp_path / "behaviours.toml"
    file.write_text(GOOD + GOOD.replace("MOB-BUS", "MOB-TRAM").replace("公交", "电车"), encoding="utf-8")
    with pytest.raises(DataError, match=r"behaviours.toml:12: the name 'bus' already means MOB-BUS"):
        parse_behaviours(file)
    file.write_text(GOOD + GOOD, encoding="utf-8")
    with pytest.raises(DataError, match=r"behaviours.toml:12: behaviour MOB-BUS occurs twice"):
        parse_behaviours(file)
