"""Golden rates, each named by its source: what one unit is worth by methodology, place, day and who saw it."""

from datetime import UTC, date, datetime

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from standards.methodology import load_methodology
from standards.quantify import quantify
from standards.rates import rate_table
from standards.regions import load_regions
from standards.schema import RECORD_SCHEMA, Role
from standards.units import MICRO, parse_decimal_micro

BEIJING, SHANXI, INNER_MONGOLIA, WUHAN, YICHANG = 110105, 140100, 150100, 420106, 420500
GUANGZHOU, SHENZHEN, CHENGDU, LUZHOU, LANZHOU, HONG_KONG = 440100, 440305, 510104, 510502, 620100, 810000
LATE = date(2026, 10, 5)
SEEN, UNSEEN = "operator", "self_report"

# What hub-2026.1 has always given, wherever and whenever: behaviour, unit -> milligrams, figure.
FIRST_VERSION = {
    ("CLO-RECYCLE", "kg"): (1_280_000, "luzhou-clothes"),
    ("FOOD-OWNCUP", "time"): (11_500, "hub-2026-owncup"),
    ("FOOD-NOTABLEWARE", "order"): (23_000, "beijing-handbook-notableware"),
    ("FOOD-CLEANPLATE", "meal"): (144_000, "luzhou-cleanplate"),
    ("HOME-WASTESORT", "kg"): (64_000, "hub-2026-wastesort"),
    ("HOME-POWERSAVE", "kWh"): (312_500, "shenzhen-powersave"),
    ("MOB-BUS", "trip"): (80_000, "luzhou-bus"),
    ("MOB-BUS", "km"): (26_900, "shenzhen-bus-km"),
    ("MOB-METRO", "trip"): (46_000, "beijing-handbook-metro"),
    ("MOB-METRO", "km"): (46_700, "shenzhen-metro-km"),
    ("MOB-BIKE", "km"): (33_880, "hello-bike"),
    ("MOB-EBIKE", "km"): (35_010, "hello-ebike"),
    ("MOB-WALK", "steps"): (16, "luzhou-walk"),
    ("MOB-WALK", "km"): (22_400, "hub-2026-walk-km"),
    ("MOB-NODRIVE", "vehicle-day"): (2_315_000, "hub-2026-nodrive"),
    ("MOB-EV", "km"): (55_200, "hub-2026-ev"),
    ("MOB-EVCHARGE", "kWh"): (460_000, "shanxi-2022-evcharge"),
    ("MOB-CARPOOL", "km"): (62_500, "hub-2026-carpool"),
    ("USE-EWAYBILL", "parcel"): (2_500, "cainiao-ewaybill"),
    ("USE-CARTON", "carton"): (37_000, "cainiao-carton"),
    ("FIN-ECARD", "once"): (89_000, "citic-ecard"),
    ("FIN-ESTATEMENT", "statement"): (24_000, "citic-estatement"),
    ("FIN-BILLPAY", "payment"): (89_000, "citic-billpay"),
}
# Of hub-2026.2: source and case -> (behaviour, unit, region, day, role, quantity, milligrams, figure).
CASES = {
    "S36 bike in an unknown place": ("MOB-BIKE", "km", None, LATE, SEEN, 1, 33_880, "hello-bike"),
    "S36 bike in Beijing: 250 g are not taken": ("MOB-BIKE", "km", BEIJING, LATE, SEEN, 1, 33_880, "hello-bike"),
    "S36 bike in Shanxi: 250 g are not taken": ("MOB-BIKE", "km", SHANXI, LATE, SEEN, 1, 33_880, "hello-bike"),
    "S36 bike elsewhere in Hubei": ("MOB-BIKE", "km", YICHANG, LATE, SEEN, 1, 33_880, "hello-bike"),
    "S36 bike in Wuhan before its first figure": (
        "MOB-BIKE", "km", WUHAN, date(2024, 11, 12), SEEN, 1, 33_880, "hello-bike",
    ),
    "S28 bike in Wuhan, first day": ("MOB-BIKE", "km", WUHAN, date(2024, 11, 13), SEEN, 1, 40_000, "wuhan-2024-bike"),
    "S28 bike in Wuhan, last day": ("MOB-BIKE", "km", WUHAN, date(2025, 7, 31), SEEN, 1, 40_000, "wuhan-2024-bike"),
    "S19 bike in Wuhan, first day": ("MOB-BIKE", "km", WUHAN, date(2025, 8, 1), SEEN, 1, 93_300, "wuhan-2025-bike"),
    "S19 bike in Wuhan, 4.2 km": ("MOB-BIKE", "km", WUHAN, LATE, SEEN, "4.2", 391_860, "wuhan-2025-bike"),
    "S19 bike in Wuhan that nobody saw": ("MOB-BIKE", "km", WUHAN, LATE, UNSEEN, 1, 33_880, "hello-bike"),
    "S36 e-bike": ("MOB-EBIKE", "km", WUHAN, LATE, SEEN, 1, 35_010, "hello-ebike"),
    "N2 bus in Luzhou": ("MOB-BUS", "trip", LUZHOU, LATE, SEEN, 1, 80_000, "luzhou-bus"),
    "N2 bus in an unknown place": ("MOB-BUS", "trip", None, LATE, SEEN, 1, 80_000, "luzhou-bus"),
    "S16 bus in Beijing, a floor": ("MOB-BUS", "trip", BEIJING, LATE, SEEN, 1, 80_000, "beijing-handbook-bus"),
    "S16 bus in Beijing before it": ("MOB-BUS", "trip", BEIJING, date(2023, 11, 30), SEEN, 1, 80_000, "luzhou-bus"),
    "S17 bus in Hubei, ride record": ("MOB-BUS", "trip", YICHANG, LATE, SEEN, 1, 105_000, "hubei-bus-record"),
    "S17 bus in Hubei, payment": ("MOB-BUS", "trip", YICHANG, LATE, "payment", 1, 105_000, "hubei-bus-record"),
    "S17 bus in Hubei, check-in": ("MOB-BUS", "trip", YICHANG, LATE, UNSEEN, 1, 52_000, "hubei-bus-checkin"),
    "S17 bus in Hubei before it": ("MOB-BUS", "trip", YICHANG, date(2022, 2, 16), SEEN, 1, 80_000, "luzhou-bus"),
    "S17 bus in Wuhan until the city's own": (
        "MOB-BUS", "trip", WUHAN, date(2025, 8, 25), SEEN, 1, 105_000, "hubei-bus-record",
    ),
    "S24 bus in Wuhan": ("MOB-BUS", "trip", WUHAN, date(2025, 8, 26), SEEN, 1, 212_500, "wuhan-bus"),
    "S17 bus in Wuhan that nobody saw": ("MOB-BUS", "trip", WUHAN, LATE, UNSEEN, 1, 52_000, "hubei-bus-checkin"),
    "S21 bus by kilometres": ("MOB-BUS", "km", SHENZHEN, LATE, SEEN, 1, 26_900, "shenzhen-bus-km"),
    "S16 metro in Beijing": ("MOB-METRO", "trip", BEIJING, LATE, SEEN, 1, 46_000, "beijing-handbook-metro"),
    "S28 metro in Wuhan, by trip": ("MOB-METRO", "trip", WUHAN, date(2025, 7, 31), SEEN, 1, 170_000, "wuhan-2024-metro"),
    "S16 metro in Wuhan, by trip, once it counts kilometres": (
        "MOB-METRO", "trip", WUHAN, date(2025, 8, 1), SEEN, 1, 46_000, "beijing-handbook-metro",
    ),
    "S16 metro in Hubei: 274 g are not taken": (
        "MOB-METRO", "trip", YICHANG, LATE, SEEN, 1, 46_000, "beijing-handbook-metro",
    ),
    "S16 metro in Guangzhou: 542 g are not taken": (
        "MOB-METRO", "trip", GUANGZHOU, LATE, SEEN, 1, 46_000, "beijing-handbook-metro",
    ),
    "S21 metro by kilometres": ("MOB-METRO", "km", SHENZHEN, LATE, SEEN, 10, 467_000, "shenzhen-metro-km"),
    "S21 metro by kilometres in Wuhan before its own": (
        "MOB-METRO", "km", WUHAN, date(2025, 7, 31), SEEN, 1, 46_700, "shenzhen-metro-km",
    ),
    "S19 metro by kilometres in Wuhan": ("MOB-METRO", "km", WUHAN, LATE, SEEN, 1, 78_400, "wuhan-2025-metro-km"),
    "S37 500 steps": ("MOB-WALK", "steps", LUZHOU, LATE, UNSEEN, 500, 8_200, "luzhou-walk"),
    "S17 500 steps in Hubei": ("MOB-WALK", "steps", WUHAN, LATE, UNSEEN, 500, 10_000, "hubei-walk"),
    "S39 as many steps as count": ("MOB-WALK", "steps", None, LATE, SEEN, 14_800, 242_720, "luzhou-walk"),
    "S39 one step more": ("MOB-WALK", "steps", None, LATE, SEEN, 14_801, 242_720, "luzhou-walk"),
    "S39 a hundred thousand steps in Hubei": (
        "MOB-WALK", "steps", YICHANG, LATE, SEEN, 100_000, 296_000, "hubei-walk",
    ),
    "S37 a walk is its 1,400 steps a kilometre": ("MOB-WALK", "km", None, LATE, SEEN, 1, 22_960, "luzhou-walk"),
    "S17 a walk in Hubei": ("MOB-WALK", "km", YICHANG, LATE, SEEN, 1, 28_000, "hubei-walk"),
    "S49 no-drive day, half as nobody saw it (S17)": (
        "MOB-NODRIVE", "vehicle-day", BEIJING, LATE, UNSEEN, 1, 2_315_000, "nodrive-day",
    ),
    "S49 car-pool, the share of S35": ("MOB-CARPOOL", "km", None, LATE, SEEN, 1, 62_514, "carpool-km"),
    "S15 EV by kilometres": ("MOB-EV", "km", None, LATE, SEEN, 1, 55_200, "grid-CN-2023-average"),
    "S15 EV in Hebei, dirtiest electricity": ("MOB-EV", "km", 130100, LATE, SEEN, 1, 55_200, "grid-130000-2022-average"),
    "S15 EV in Yunnan, cleanest electricity": ("MOB-EV", "km", 530100, LATE, SEEN, 1, 55_200, "grid-530000-2022-average"),
    "S15 EV in Wuhan": ("MOB-EV", "km", WUHAN, LATE, SEEN, 1, 55_200, "grid-central-2023-average"),
    "S15 charging": ("MOB-EVCHARGE", "kWh", SHANXI, LATE, "meter", 1, 460_000, "grid-140000-2022-average"),
    "S20 household electricity in Shenzhen": (
        "HOME-POWERSAVE", "kWh", SHENZHEN, LATE, "meter", 8, 2_500_000, "shenzhen-powersave",
    ),
    "S19 household electricity in Wuhan": (
        "HOME-POWERSAVE", "kWh", WUHAN, LATE, "meter", 1, 525_000, "wuhan-powersave",
    ),
    "S73 household electricity in Wuhan before its own": (
        "HOME-POWERSAVE", "kWh", WUHAN, date(2025, 7, 31), "meter", 1, 539_500, "grid-central-2022-average",
    ),
    "S75 household electricity in Wuhan that nobody metered": (
        "HOME-POWERSAVE", "kWh", WUHAN, LATE, UNSEEN, 1, 527_100, "grid-central-2023-average",
    ),
    "S73 central grid, the day before the notice of January 2026": (
        "HOME-POWERSAVE", "kWh", YICHANG, date(2026, 1, 30), "meter", 1, 539_500, "grid-central-2022-average",
    ),
    "S75 central grid, the day of it": (
        "HOME-POWERSAVE", "kWh", YICHANG, date(2026, 1, 31), "meter", 1, 527_100, "grid-central-2023-average",
    ),
    "S75 north grid": ("HOME-POWERSAVE", "kWh", BEIJING, LATE, "meter", 1, 636_100, "grid-north-2023-average"),
    "S75 northwest grid": ("HOME-POWERSAVE", "kWh", LANZHOU, LATE, "meter", 1, 554_300, "grid-northwest-2023-average"),
    "S73 south grid has no later figure": (
        "HOME-POWERSAVE", "kWh", GUANGZHOU, LATE, "meter", 1, 386_900, "grid-south-2022-average",
    ),
    "S73 Sichuan's own": ("HOME-POWERSAVE", "kWh", CHENGDU, LATE, "meter", 1, 140_400, "grid-510000-2022-average"),
    "S73 Inner Mongolia's own": (
        "HOME-POWERSAVE", "kWh", INNER_MONGOLIA, LATE, "meter", 1, 684_900, "grid-150000-2022-average",
    ),
    "S75 the country": ("HOME-POWERSAVE", "kWh", HONG_KONG, LATE, "meter", 1, 530_600, "grid-CN-2023-average"),
    "S73 the country, data of 2022": (
        "HOME-POWERSAVE", "kWh", None, date(2024, 12, 26), "meter", 1, 536_600, "grid-CN-2022-average",
    ),
    "S73 the country, data of 2021": (
        "HOME-POWERSAVE", "kWh", LANZHOU, date(2024, 12, 25), "meter", 1, 556_800, "grid-CN-2021-average",
    ),
    "S20 before the first notice": (
        "HOME-POWERSAVE", "kWh", LANZHOU, date(2024, 4, 11), "meter", 1, 312_500, "shenzhen-powersave",
    ),
    "S13 waste sorting, a twentieth of clothes": (
        "HOME-WASTESORT", "kg", None, LATE, SEEN, 1, 64_000, "hub-2026-wastesort",
    ),
    "S34 hotel, half (S17)": ("HOME-HOTEL", "order", None, LATE, SEEN, 1, 101_600, "hotel-order"),
    "S16 no utensils": ("FOOD-NOTABLEWARE", "order", BEIJING, LATE, SEEN, 1, 23_000, "beijing-handbook-notableware"),
    "S15 no utensils in Shanxi": (
        "FOOD-NOTABLEWARE", "order", SHANXI, LATE, SEEN, 1, 45_720, "shanxi-2022-notableware",
    ),
    "N2 clean plate": ("FOOD-CLEANPLATE", "meal", LUZHOU, LATE, SEEN, 1, 144_000, "luzhou-cleanplate"),
    "S16 clean plate in Beijing": (
        "FOOD-CLEANPLATE", "meal", BEIJING, LATE, SEEN, 1, 449_000, "beijing-handbook-cleanplate",
    ),
    "N2 clean plate in Beijing that nobody saw": (
        "FOOD-CLEANPLATE", "meal", BEIJING, LATE, UNSEEN, 1, 144_000, "luzhou-cleanplate",
    ),
    "S16 own cup, half of a set": ("FOOD-OWNCUP", "time", None, LATE, SEEN, 1, 11_500, "hub-2026-owncup"),
    "S13 clothes": ("CLO-RECYCLE", "kg", None, LATE, SEEN, "2.5", 3_200_000, "luzhou-clothes"),
    "S43 e-waybill": ("USE-EWAYBILL", "parcel", None, LATE, SEEN, 1, 2_500, "cainiao-ewaybill"),
    "N1 e-waybill in Beijing": ("USE-EWAYBILL", "parcel", BEIJING, LATE, SEEN, 1, 5_000, "beijing-2023-ewaybill"),
    "S16 carton": ("USE-CARTON", "carton", None, LATE, SEEN, 1, 37_000, "cainiao-carton"),
    "S43 a sheet that is not printed": ("OFF-PAPERLESS", "doc", None, LATE, SEEN, 1, 2_500, "sheet-of-paper"),
    "S49 meeting, S75 electricity": (
        "OFF-VMEETING", "meeting", None, LATE, SEEN, 1, 122_800 - 26_530, "grid-CN-2023-average",
    ),
    "S49 meeting, S73 electricity of Hebei": (
        "OFF-VMEETING", "meeting", 130100, LATE, SEEN, 1, 122_800 - 36_260, "grid-130000-2022-average",
    ),
    "S47 e-card": ("FIN-ECARD", "once", BEIJING, LATE, SEEN, 1, 89_000, "citic-ecard"),
    "S47 e-statement": ("FIN-ESTATEMENT", "statement", BEIJING, LATE, SEEN, 1, 24_000, "citic-estatement"),
    "S47 bill payment": ("FIN-BILLPAY", "payment", BEIJING, LATE, SEEN, 1, 89_000, "citic-billpay"),
}  # fmt: skip


def _quantify(version, behaviour, unit, region, day, role, quantity_micro):
    at = datetime(day.year, day.month, day.day, tzinfo=UTC)
    row = {
        "record_id": 1, "subject_id": 1, "platform": "p", "role": role, "behaviour": behaviour, "start_at": at,
        "end_at": at, "precision": "second", "quantity_micro": quantity_micro, "unit": unit, "region": region,
    }  # fmt: skip
    quantified = quantify(pl.DataFrame([row], schema=RECORD_SCHEMA), load_methodology(version))
    return quantified.select("reference_mg", "factor_id").row(0)


@pytest.mark.parametrize(
    ("behaviour", "unit", "region", "day", "role", "quantity", "mg", "figure"), CASES.values(), ids=CASES.keys()
)
def test_golden_rate_of_the_second_version(behaviour, unit, region, day, role, quantity, mg, figure):
    assert _quantify("hub-2026.2", behaviour, unit, region, day, role, parse_decimal_micro(quantity)) == (mg, figure)


def test_every_method_of_the_second_version_has_a_golden_case():
    assert {case[:2] for case in CASES.values()} == set(load_methodology("hub-2026.2").methods)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(sorted(FIRST_VERSION)),
    st.none() | st.sampled_from(sorted(load_regions())) | st.integers(0, 999_999),
    st.dates(date(2015, 1, 1), date(2035, 1, 1)),
    st.sampled_from(list(Role)),
)
def test_the_first_version_gives_its_one_rate_wherever_whenever_and_whoever_reports(key, region, day, role):
    assert _quantify("hub-2026.1", *key, region, day, role, MICRO) == FIRST_VERSION[key]


def test_the_first_version_has_one_rate_for_each_of_its_units_and_no_others():
    table = rate_table(load_methodology("hub-2026.1"))
    assert len(table.rates) == len(FIRST_VERSION) == 23
    told = {(r.method.behaviour, r.method.unit): (r.whole, r.pin) for r in table.rates}
    assert told == FIRST_VERSION
    assert not any(rate.millionths for rate in table.rates)


@pytest.mark.parametrize("code", ["HOME-HOTEL", "OFF-PAPERLESS", "OFF-VMEETING"])
def test_the_first_version_knows_nothing_of_what_was_accepted_later(code):
    assert _quantify("hub-2026.1", code, None, BEIJING, LATE, SEEN, MICRO) == (None, None)
    assert _quantify("hub-2026.2", code, None, BEIJING, LATE, SEEN, MICRO)[0] > 0
