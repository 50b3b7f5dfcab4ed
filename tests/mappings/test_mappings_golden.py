"""Golden cases: documents with published figures, and what they must become."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from mappings import Translation, event_token

Apply = Callable[..., Translation]
BEIJING, CITIC, KUAIDIAN = "beijing-green-life.acts.v1", "citic-carbon.acts.v1", "kuaidian.charge_orders.v1"
SHENZHEN, WECHAT = "shenzhen-transit.trips.v1", "wechat-sports.steps.v1"

# Public sample of notification_charge_order_info (T/CEC 102); the hub adds UserId.
ORDER = (
    '{"StartChargeSeq":"123456789665000001176708522","ConnectorID":"1","StartTime":"2019-04-18 11:29:29",'
    '"EndTime":"2019-04-18 11:39:30","TotalPower":6.00,"TotalElecMoney":6.00,"TotalSeviceMoney":6.00,'
    '"TotalMoney":12.00,"StopReason":2,"SumPeriod":0,"ChargeDetails":[],"UserId":"kd-000123"}'
)


def at(*moment: int) -> datetime:
    return datetime(*moment, tzinfo=UTC)  # type: ignore[arg-type,misc]


def tap(time: str, station: str, paid: str, kind: str, card: str, equipment: str) -> dict[str, str]:
    return {
        "deal_date": time, "close_date": f"{time[:10]} 00:00:00", "card_no": card, "deal_value": paid,
        "deal_type": kind,
        "company_name": "地铁五号线", "car_no": "OGT-101", "station": station, "conn_mark": "0", "deal_money": paid,
        "equ_no": equipment,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "behaviour", "quantity", "unit", "claimed"),
    [
        # Bike 250 g/km: 3.12 km are 780 g.
        ({"scene": "BIKE", "distance": 3120, "carbonReduction": "780.00"}, "MOB-BIKE", 3_120_000, "km", 780_000),
        ({"scene": "BIKE", "distance": 1002.5, "carbonReduction": "250.50"}, "MOB-BIKE", 1_002_500, "km", 250_500),
        ({"scene": "BIKE", "distance": None, "carbonReduction": None}, "MOB-BIKE", None, "km", None),
        ({"scene": "METRO", "carbonReduction": "46"}, "MOB-METRO", 1_000_000, "trip", 46_000),
        ({"scene": "BUS", "carbonReduction": "80"}, "MOB-BUS", 1_000_000, "trip", 80_000),
        # No utensils 45.72 g an order, e-waybill 5 g a parcel, clean plate 144 g a meal (Luzhou's figure).
        ({"scene": "NO_TABLEWARE", "carbonReduction": "45.72"}, "FOOD-NOTABLEWARE", 1_000_000, "order", 45_720),
        ({"scene": "EWAYBILL", "carbonReduction": "5"}, "USE-EWAYBILL", 1_000_000, "parcel", 5_000),
        ({"scene": "CLEAN_PLATE", "carbonReduction": "144"}, "FOOD-CLEANPLATE", 1_000_000, "meal", 144_000),
        # Half a milligram goes to the even neighbour.
        ({"scene": "EWAYBILL", "carbonReduction": "0.0025"}, "USE-EWAYBILL", 1_000_000, "parcel", 2),
    ],
)
def test_beijing_green_life(
    apply: Apply,
    good: dict[str, dict[str, Any]],
    change: dict[str, Any],
    behaviour: str,
    quantity: int | None,
    unit: str,
    claimed: int | None,
) -> None:
    record = apply(BEIJING, good[BEIJING] | {"distance": None} | change).records.row(0, named=True)
    assert (record["behaviour"], record["quantity_micro"]) == (behaviour, quantity)
    assert (record["unit"], record["claimed_mg"]) == (unit, claimed)
    assert (record["role"], record["region"], record["account"]) == ("aggregator", 110000, "bj-000123")
    assert (record["start_at"], record["end_at"]) == (at(2026, 10, 5, 0, 12, 3), at(2026, 10, 5, 0, 31, 40))
    assert (record["posted_at"], record["precision"]) == (at(2026, 10, 5, 17), "second")
    assert (record["source_id"], record["version"], record["cancelled"]) == ("BJ202610050001", 1, False)


def test_beijing_green_life_takes_an_act_back_by_a_later_version(apply: Apply, good: dict[str, dict[str, Any]]) -> None:
    back = good[BEIJING] | {"ver": 2, "status": "CANCELLED"}
    records = apply(BEIJING, good[BEIJING], back).records
    assert records["cancelled"].to_list() == [False, True]
    assert records["version"].to_list() == [1, 2]
    assert records["source_id"].n_unique() == 1


@pytest.mark.parametrize(
    ("kind", "grams", "role", "behaviour", "quantity", "unit", "claimed"),
    [
        ("BIKE_PAY", None, "payment", "MOB-BIKE", None, None, None),
        ("METRO_PAY", None, "payment", "MOB-METRO", None, None, None),
        ("CHARGE_PAY", None, "payment", "MOB-EVCHARGE", None, None, None),
        # CITIC: e-card 89 g, e-statement 24 g, bill payment 89 g.
        ("E_CARD", "89", "operator", "FIN-ECARD", 1_000_000, "once", 89_000),
        ("E_STATEMENT", "24", "operator", "FIN-ESTATEMENT", 1_000_000, "statement", 24_000),
        ("BILL_PAY", "89", "operator", "FIN-BILLPAY", 1_000_000, "payment", 89_000),
    ],
)
def test_citic_carbon_account(
    apply: Apply,
    good: dict[str, dict[str, Any]],
    kind: str,
    grams: str | None,
    role: str,
    behaviour: str,
    quantity: int | None,
    unit: str | None,
    claimed: int | None,
) -> None:
    record = apply(CITIC, good[CITIC] | {"type": kind, "carbonG": grams}).records.row(0, named=True)
    assert (record["role"], record["behaviour"]) == (role, behaviour)
    assert (record["quantity_micro"], record["unit"], record["claimed_mg"]) == (quantity, unit, claimed)
    # Local time of Shanghai without a zone, and an instant.
    assert record["start_at"] == record["end_at"] == at(2026, 10, 5, 0, 31, 10)
    assert (record["posted_at"], record["region"]) == (at(2026, 10, 6, 1), None)


def test_citic_carbon_account_reverses_a_booking(apply: Apply, good: dict[str, dict[str, Any]]) -> None:
    reversed_one = good[CITIC] | {"version": 2, "status": "REVERSED"}
    assert apply(CITIC, good[CITIC], reversed_one).records["cancelled"].to_list() == [False, True]


def test_the_public_charge_order_is_six_kilowatt_hours(apply: Apply, key: bytes) -> None:
    record = apply(KUAIDIAN, ORDER).records.drop("row").row(0, named=True)
    assert record == {
        "source_id": "123456789665000001176708522", "version": 1, "account": "kd-000123", "cancelled": False,
        "posted_at": None, "role": "meter", "behaviour": "MOB-EVCHARGE", "start_at": at(2019, 4, 18, 3, 29, 29),
        "end_at": at(2019, 4, 18, 3, 39, 30), "precision": "second", "quantity_micro": 6_000_000, "unit": "kWh",
        "event_key": event_token(key, "origin", "123456789665000001176708522"), "payment_key": None, "region": None,
        "claimed_mg": None,
    }  # fmt: skip


def test_an_order_without_energy_has_the_quantity_zero(apply: Apply) -> None:
    # The second public shape: TotalPower 0.0, 96 seconds.
    empty = ORDER.replace('"TotalPower":6.00', '"TotalPower":0.0').replace("11:39:30", "11:31:05")
    record = apply(KUAIDIAN, empty).records.row(0, named=True)
    assert record["quantity_micro"] == 0
    assert (record["end_at"] - record["start_at"]).total_seconds() == 96


def test_the_camel_case_writing_of_2021_gives_the_same_record(apply: Apply) -> None:
    camel = ORDER
    for name in ("StartChargeSeq", "ConnectorID", "StartTime", "EndTime", "TotalPower", "StopReason", "UserId"):
        camel = camel.replace(f'"{name}"', f'"{name[0].lower()}{name[1:]}"')
    assert camel != ORDER
    assert apply(KUAIDIAN, camel).records.rows() == apply(KUAIDIAN, ORDER).records.rows()


def test_a_day_of_steps_spans_its_service_day(apply: Apply, good: dict[str, dict[str, Any]]) -> None:
    record = apply(WECHAT, good[WECHAT]).records.row(0, named=True)
    assert record["source_id"] == "oGZUI0egBJY1zhBYw2KhdUfwVJJE|2026-10-05"
    assert (record["start_at"], record["end_at"]) == (at(2026, 10, 4, 16), at(2026, 10, 5, 16))
    # WeRun's own timestamp of that day is the same midnight.
    assert record["start_at"].timestamp() == good[WECHAT]["timestamp"]
    assert (record["behaviour"], record["precision"], record["role"]) == ("MOB-WALK", "day", "self_report")
    assert (record["quantity_micro"], record["unit"], record["version"]) == (8_123_000_000, "steps", 1)


def test_an_openid_that_would_blur_the_joined_id_is_refused(apply: Apply, good: dict[str, dict[str, Any]]) -> None:
    blurred = good[WECHAT] | {"openid": "o|2026"}
    assert apply(WECHAT, blurred).quarantined["reason"].to_list() == ["bad_source_id"]


def test_a_metro_trip_of_the_open_data_page(apply: Apply) -> None:
    # The exit is the page's: card FFHEDIBCC leaves at 长龙 for 665 fen (list price 700); the entry is made up.
    leaving = tap("2018-08-31 23:11:06", "长龙", "665", "地铁出站", "FFHEDIBCC", "263031101") | {"deal_value": "700"}
    entry = tap("2018-08-31 22:20:41", "会展中心", "0", "地铁入站", "FFHEDIBCC", "268011104")
    record = apply(SHENZHEN, {"kind": "metro", "in": entry, "out": leaving}).records.drop("row").row(0, named=True)
    assert record == {
        "source_id": "FFHEDIBCC|2018-08-31 23:11:06|263031101", "version": 1, "account": "FFHEDIBCC",
        "cancelled": False, "posted_at": None, "role": "operator", "behaviour": "MOB-METRO",
        "start_at": at(2018, 8, 31, 14, 20, 41), "end_at": at(2018, 8, 31, 15, 11, 6), "precision": "second",
        "quantity_micro": 1_000_000, "unit": "trip", "event_key": None, "payment_key": None, "region": 440300,
        "claimed_mg": None,
    }  # fmt: skip


def test_a_bus_boarding_of_the_open_data_page(apply: Apply, good: dict[str, dict[str, Any]]) -> None:
    record = apply(SHENZHEN, good[SHENZHEN]).records.row(0, named=True)
    assert record["start_at"] == record["end_at"] == at(2018, 8, 31, 21, 39, 10)
    assert (record["behaviour"], record["unit"], record["account"]) == ("MOB-BUS", "trip", "CFBAJECDH")
    assert record["source_id"] == "CFBAJECDH|2018-09-01 05:39:10|223005202"


def test_the_dirty_cases_of_the_open_data_page(apply: Apply) -> None:
    # HHAAJHCEH enters 塘尾 and leaves it again five minutes later for nothing.
    entry = tap("2018-09-01 05:57:58", "塘尾", "0", "地铁入站", "HHAAJHCEH", "268030118")
    leaving = tap("2018-09-01 06:03:14", "塘尾", "0", "地铁出站", "HHAAJHCEH", "268030120")
    # HHJJAEIGB leaves at 05:11 without having entered, then rides from 06:02 to 06:05.
    lost = tap("2018-09-01 05:11:20", "南山站", "200", "地铁出站", "HHJJAEIGB", "263013102")
    into = tap("2018-09-01 06:02:11", "南山站", "0", "地铁入站", "HHJJAEIGB", "263013104")
    out = tap("2018-09-01 06:05:40", "桃园", "200", "地铁出站", "HHJJAEIGB", "263014101")
    translation = apply(
        SHENZHEN,
        {"kind": "metro", "in": entry, "out": leaving},
        {"kind": "metro", "in": None, "out": lost},
        {"kind": "metro", "in": into, "out": out},
        {"kind": "metro", "in": into, "out": None},
    )
    assert translation.quarantined.select("row", "reason").rows() == [(0, "no_trip"), (1, "unpaired"), (3, "unpaired")]
    assert translation.records["row"].to_list() == [2]


def test_leaving_where_one_entered_is_a_trip_if_it_was_paid(apply: Apply) -> None:
    entry = tap("2018-09-01 05:57:58", "塘尾", "0", "地铁入站", "HHAAJHCEH", "268030118")
    leaving = tap("2018-09-01 07:03:14", "塘尾", "200", "地铁出站", "HHAAJHCEH", "268030120")
    assert len(apply(SHENZHEN, {"kind": "metro", "in": entry, "out": leaving}).records) == 1


def test_a_record_of_nine_fields_is_a_trip_as_long_as_times_and_card_are_there(apply: Apply) -> None:
    # Two rows of the page have neither station nor car_no.
    sides = [
        {name: value for name, value in side.items() if name not in ("station", "car_no")}
        for side in (
            tap("2018-09-01 05:57:58", "", "0", "地铁入站", "HHAAJHCEH", "268030118"),
            tap("2018-09-01 06:23:14", "", "0", "地铁出站", "HHAAJHCEH", "268030120"),
        )
    ]
    assert len(apply(SHENZHEN, {"kind": "metro", "in": sides[0], "out": sides[1]}).records) == 1
