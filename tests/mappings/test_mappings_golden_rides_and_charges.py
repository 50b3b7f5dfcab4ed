"""Golden cases of OCPI charges, MDS trips, DiDi orders and Baidu tracks: documents rebuilt from facts, exact records."""

import json
from collections.abc import Callable
from typing import Any

import polars as pl
import pytest
from tests_support.golden import at, cleared, kept, only, reasons, reference, require_nothing_personal, verdicts

from hub.records.intake import KNOWN_SCHEMA, CorrectionMode, sort_rows
from mappings import Translation, event_token, load_mapping

Apply = Callable[..., Translation]
CDRS, ORDERS_OF_TCEC = "kuaidian.cdrs.v1", "kuaidian.charge_orders.v1"
TRIPS, ORDERS, TRACKS = "hello-bike.trips.v1", "didi.orders.v1", "baidu-maps.tracks.v1"
BEIJING = "beijing-green-life.acts.v1"
NONE_KNOWN = pl.DataFrame(schema=KNOWN_SCHEMA)

# The facts of the standard's own sample (id, times, energy, hours, costs, the swapped place), with a made-up contract.
SAMPLE: dict[str, Any] = {
    "country_code": "BE", "party_id": "BEC", "id": "12345", "start_date_time": "2015-06-29T21:39:09Z",
    "end_date_time": "2015-06-29T23:37:32Z", "session_id": "S-1",
    "cdr_token": {"uid": "012345678", "type": "RFID", "contract_id": "DE8ACC12E46L89"}, "auth_method": "WHITELIST",
    "cdr_location": {"coordinates": {"latitude": "3.729944", "longitude": "51.047599"}, "city": "Gent"},
    "currency": "EUR", "total_cost": {"excl_vat": 4.00, "incl_vat": 4.40}, "total_energy": 15.342, "total_time": 1.973,
    "charging_periods": [{"dimensions": [{"type": "ENERGY", "volume": 15.342}]}],
    "last_updated": "2015-06-29T22:01:13Z",
}  # fmt: skip
CREDIT = SAMPLE | {
    "id": "12345-C", "credit": True, "credit_reference_id": "12345", "last_updated": "2015-07-01T08:00:00Z",
    "total_cost": {"excl_vat": -4.00, "incl_vat": -4.40},
}  # fmt: skip
TRIP: dict[str, Any] = {
    "provider_id": "5f7114d1-4091-46ee-b492-e55875f7de00", "device_id": "e0a1", "trip_id": "MB7788990011",
    "start_time": 1791158400123, "end_time": 1791159000456, "distance": 3120, "duration": 600,
    "start_location": {"lat": 39.9, "lng": 116.4}, "end_location": {"lat": 39.91, "lng": 116.41},
}  # fmt: skip
ORDER: dict[str, Any] = {
    "order_id": "1125922289295589", "call_phone": "13800000001", "passenger_phone": "13800000001",
    "passenger_name": "张三", "member_id": "1125900001", "use_car_type": "3", "require_level": "600",
    "is_carpool": "1", "status": "2", "create_time": "2026-10-05 07:50:12",
    "begin_charge_time": "2026-10-05 08:00:00", "finish_time": "2026-10-05 08:30:00", "normal_distance": "12.30",
    "start_name": "某地", "end_name": "某地", "actual_flat": "39.9", "actual_flng": "116.4", "total_price": "25.50",
}  # fmt: skip
TRACK: dict[str, Any] = {
    "trip_id": "NW0001", "entity_name": "bd-000123", "transport_mode": "riding", "start_time": 1791158400,
    "end_time": 1791159000, "distance": 3120.50,
}  # fmt: skip


# --- OCPI ---


def test_the_standards_own_sample_is_one_charge(apply: Apply, key: bytes) -> None:
    record = only(apply(CDRS, SAMPLE))
    assert {name: value for name, value in record.items() if name != "row"} == {
        "source_id": "BE|BEC|12345", "version": 1_435_615_273_000_000, "account": "DE8ACC12E46L89", "cancelled": False,
        "posted_at": at(2015, 6, 29, 22, 1, 13), "role": "meter", "behaviour": "MOB-EVCHARGE",
        "start_at": at(2015, 6, 29, 21, 39, 9), "end_at": at(2015, 6, 29, 23, 37, 32), "precision": "second",
        "quantity_micro": 15_342_000, "unit": "kWh", "event_key": event_token(key, "origin", "S-1"),
        "payment_key": None, "region": None, "claimed_mg": None,
    }  # fmt: skip
    hours = (record["end_at"] - record["start_at"]).total_seconds() / 3600
    assert round(hours, 3) == SAMPLE["total_time"]


def test_the_costs_of_2_3_0_change_nothing(apply: Apply) -> None:
    newer = SAMPLE | {"total_cost": {"before_taxes": 4.00, "taxes": [{"name": "VAT", "amount": 0.40}]}}
    assert apply(CDRS, newer).records.rows() == apply(CDRS, SAMPLE).records.rows()
    assert kept(CDRS, newer) == kept(CDRS, SAMPLE)


def test_a_time_without_z_is_utc(apply: Apply) -> None:
    bare = {name: text.removesuffix("Z") if name.endswith(("time", "updated")) and isinstance(text, str) else text
            for name, text in SAMPLE.items()}  # fmt: skip
    assert bare["last_updated"] == "2015-06-29T22:01:13"
    assert apply(CDRS, bare).records.rows() == apply(CDRS, SAMPLE).records.rows()


def test_a_credit_is_a_cancelled_later_version_of_the_record_that_it_names(apply: Apply) -> None:
    records = apply(CDRS, SAMPLE, CREDIT).records
    assert records["source_id"].to_list() == ["BE|BEC|12345"] * 2
    assert records["cancelled"].to_list() == [False, True]
    assert records["version"][1] > records["version"][0]
    # The energy keeps its sign: it is the cancelling that takes it back.
    assert records["quantity_micro"].to_list() == [15_342_000] * 2


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["the charge first", "the credit first"])
def test_the_credit_is_what_stands_in_whatever_order_the_two_arrive(apply: Apply, order: tuple[int, int]) -> None:
    told = [[SAMPLE, CREDIT][place] for place in order]
    rows = apply(CDRS, *told).records.with_columns(
        digest=pl.Series([bytes([place]) for place in order]), delivery=pl.lit(0)
    )
    intake = sort_rows(rows, NONE_KNOWN, CorrectionMode.VERSION)
    assert intake.conflicting.is_empty()
    assert intake.fresh.filter("newest")["cancelled"].to_list() == [True]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"credit_reference_id": None}, "missing_source_id"),  # a credit of nothing must not become a charge
        ({"credit": "true"}, "missing_status"),
        ({"credit": 1}, "missing_status"),
    ],
)
def test_a_credit_that_is_not_one_is_never_a_charge(apply: Apply, change: dict[str, Any], reason: str) -> None:
    assert reasons(apply(CDRS, CREDIT | change)) == [reason]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"total_energy": -2.5}, "negative_quantity"),  # more flowed back into the grid than was charged
        ({"total_energy": "much"}, "bad_quantity"),
        ({"id": None}, "missing_source_id"),
        ({"id": "a|b"}, "bad_source_id"),
        ({"cdr_token": None}, "missing_account"),
        ({"cdr_token": {"uid": "1"}}, "missing_account"),
        ({"last_updated": None}, "missing_version"),
        ({"last_updated": "2015-06-29"}, "bad_time"),
        ({"last_updated": "2090-06-29T22:01:13Z"}, "time_ahead"),
        ({"end_date_time": "2015-06-29T21:39:08Z"}, "end_before_start"),
        ({"start_date_time": "2015-06-29 25:00:00"}, "bad_time"),
        ({"credit": False, "credit_reference_id": 7, "total_energy": {"kWh": 1}}, "wrong_type"),
    ],
)
def test_a_broken_charge_is_set_aside_with_its_reason(apply: Apply, change: dict[str, Any], reason: str) -> None:
    assert reasons(apply(CDRS, SAMPLE | change)) == [reason]


def test_energy_that_flowed_back_and_forth_counts_for_what_stayed(apply: Apply) -> None:
    # 20 kWh charged, 4.658 given back: the standard's total is what stayed.
    periods = [
        {"dimensions": [{"type": "ENERGY", "volume": 20}]},
        {"dimensions": [{"type": "ENERGY", "volume": -4.658}]},
    ]
    assert only(apply(CDRS, SAMPLE | {"charging_periods": periods}))["quantity_micro"] == 15_342_000


def test_a_charge_of_nothing_is_read_and_worth_nothing(apply: Apply) -> None:
    assert reference("kuaidian", apply(CDRS, SAMPLE | {"total_energy": 0}))[0] == 0


@pytest.mark.parametrize(
    "energy", [15.342], ids=["charging 460 g/kWh: Sanjin Green Life (Shanxi), the least published"]
)
def test_a_charge_is_worth_the_published_figure(apply: Apply, energy: float) -> None:
    recent = SAMPLE | {"start_date_time": "2026-10-05T01:00:00Z", "end_date_time": "2026-10-05T02:00:00Z",
                       "last_updated": "2026-10-05T02:00:01Z", "total_energy": energy}  # fmt: skip
    assert reference("kuaidian", apply(CDRS, recent))[0] == 7_057_320  # 15.342 kWh x 460 g


def test_a_charge_told_by_both_standards_counts_once(apply: Apply) -> None:
    number = "123456789665000001176708522"
    pushed = {
        "StartChargeSeq": number, "ConnectorID": "1", "StartTime": "2026-10-05 09:00:00",
        "EndTime": "2026-10-05 10:00:00", "TotalPower": 15.34, "StopReason": 2, "UserId": "kd-000123",
    }  # fmt: skip
    pulled = SAMPLE | {"start_date_time": "2026-10-05T01:00:30Z", "end_date_time": "2026-10-05T02:00:00Z",
                       "last_updated": "2026-10-05T02:00:01Z", "session_id": number}  # fmt: skip
    result = cleared(("kuaidian", apply(ORDERS_OF_TCEC, pushed)), ("kuaidian", apply(CDRS, pulled)))
    assert sorted(verdict for verdict, _, _ in verdicts(result).values()) == ["counted", "duplicate"]
    assert {rule for verdict, rule, _ in verdicts(result).values() if verdict == "duplicate"} == {"T2"}


def test_the_card_the_place_and_the_costs_are_not_kept() -> None:
    # The sample's place has latitude and longitude swapped: nobody can be misled by what is not there.
    text = kept(CDRS, SAMPLE)[0]
    for secret in ("012345678", "3.729944", "51.047599", "Gent", "4.4", "RFID"):
        assert secret not in text
    assert json.loads(text)["cdr_token"] == {"contract_id": "DE8ACC12E46L89"}


# --- MDS ---


def test_a_trip_of_a_shared_bike_names_nobody(apply: Apply, key: bytes) -> None:
    assert load_mapping(TRIPS).corroborates
    record = only(apply(TRIPS, TRIP))
    assert {name: value for name, value in record.items() if name != "row"} == {
        "source_id": "MB7788990011", "version": 1, "account": None, "cancelled": False, "posted_at": None,
        "role": "operator", "behaviour": "MOB-BIKE", "start_at": at(2026, 10, 5, 0, 0, 0, 123_000),
        "end_at": at(2026, 10, 5, 0, 10, 0, 456_000), "precision": "second", "quantity_micro": 3_120_000, "unit": "km",
        "event_key": event_token(key, "origin", "MB7788990011"), "payment_key": None, "region": None,
        "claimed_mg": None,
    }  # fmt: skip


def test_a_trip_carries_the_key_of_the_ride_that_others_report(apply: Apply, good: dict[str, dict[str, Any]]) -> None:
    reported = only(apply(BEIJING, good[BEIJING]))
    assert only(apply(TRIPS, TRIP))["event_key"] == reported["event_key"]
    assert reported["account"] == "bj-000123"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"trip_id": None}, "missing_source_id"),
        ({"start_time": 1791158400}, "time_out_of_range"),  # seconds for milliseconds: 1970
        ({"start_time": "2026-10-05T00:00:00Z"}, "bad_time"),
        ({"end_time": None}, "missing_time"),
        ({"end_time": 1791158400122}, "end_before_start"),
        ({"end_time": 4_000_000_000_000}, "time_ahead"),
        ({"distance": -1}, "negative_quantity"),
        ({"distance": "far"}, "bad_quantity"),
        ({"distance": [3120]}, "wrong_type"),
    ],
)
def test_a_broken_trip_is_set_aside_with_its_reason(apply: Apply, change: dict[str, Any], reason: str) -> None:
    assert reasons(apply(TRIPS, TRIP | change)) == [reason]


def test_vehicle_and_places_are_not_kept() -> None:
    assert sorted(json.loads(kept(TRIPS, TRIP)[0])) == ["distance", "end_time", "start_time", "trip_id"]


# --- DiDi ---


def test_a_shared_ride_is_a_shared_ride(apply: Apply, key: bytes) -> None:
    record = only(apply(ORDERS, ORDER))
    assert {name: value for name, value in record.items() if name != "row"} == {
        "source_id": "1125922289295589", "version": 1, "account": "1125900001", "cancelled": False, "posted_at": None,
        "role": "operator", "behaviour": "MOB-CARPOOL", "start_at": at(2026, 10, 5), "end_at": at(2026, 10, 5, 0, 30),
        "precision": "second", "quantity_micro": 12_300_000, "unit": "km",
        "event_key": event_token(key, "origin", "1125922289295589"), "payment_key": None, "region": None,
        "claimed_mg": None,
    }  # fmt: skip


def test_a_shared_ride_is_worth_what_the_methodology_derives(apply: Apply) -> None:
    # 12.3 km x 5,980 g / 22 km (S49) x 23 % (S35), cautious: riders who would have driven.
    assert reference("didi", apply(ORDERS, ORDER)) == (768_922, "carpool-km")


@pytest.mark.parametrize("pooled", ["0", 0, None, "", "yes", "2"])
def test_a_ride_that_nobody_shared_shows_no_reduction(apply: Apply, pooled: Any) -> None:
    assert reasons(apply(ORDERS, ORDER | {"is_carpool": pooled})) == ["no_reduction"]


@pytest.mark.parametrize(
    ("change", "cancelled"),
    [({"status": "2"}, False), ({"status": 2}, False), ({"status": "7"}, False), ({"status": "3"}, True),
     ({"status": "4"}, True)],
)  # fmt: skip
def test_an_order_that_is_told_again_replaces_itself(apply: Apply, change: dict[str, Any], cancelled: bool) -> None:
    rows = apply(ORDERS, ORDER, ORDER | change | {"refund_time": "2026-10-06 10:00:00"}).records
    assert rows["cancelled"].to_list() == [False, cancelled]
    rows = rows.with_columns(digest=pl.Series([b"1", b"2"]), delivery=pl.lit(0))
    intake = sort_rows(rows, NONE_KNOWN, CorrectionMode.REPLACE)
    assert intake.fresh.filter("newest")["cancelled"].to_list() == [cancelled]
    assert intake.fresh["version"].to_list() == [1, 2]


def test_what_changed_only_in_what_is_not_kept_is_the_same_order_told_again() -> None:
    assert kept(ORDERS, ORDER) == kept(ORDERS, ORDER | {"total_price": "0.00", "budget_center_id": "7"})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"status": "4", "begin_charge_time": None, "finish_time": None}, "no_trip"),
        ({"status": "9"}, "unknown_status"),
        ({"status": None}, "missing_status"),
        ({"member_id": None}, "missing_account"),
        ({"order_id": None}, "missing_source_id"),
        ({"begin_charge_time": "0000-00-00 00:00:00"}, "bad_time"),
        ({"begin_charge_time": "2026-10-05T08:00:00+08:00"}, "bad_time"),
        ({"finish_time": ""}, "missing_time"),
        ({"finish_time": "2026-10-05 07:59:59"}, "end_before_start"),
        ({"normal_distance": "-1"}, "negative_quantity"),
        ({"normal_distance": "12 km"}, "bad_quantity"),
    ],
)
def test_a_broken_order_is_set_aside_with_its_reason(apply: Apply, change: dict[str, Any], reason: str) -> None:
    assert reasons(apply(ORDERS, ORDER | change)) == [reason]


def test_who_called_and_where_they_went_is_not_kept() -> None:
    require_nothing_personal(ORDERS, ORDER)


# --- Baidu ---


@pytest.mark.parametrize(
    ("mode", "behaviour", "milligrams", "figure"),
    [
        pytest.param("riding", "MOB-BIKE", 105_723, "hello-bike", id="ride: 33.88 g/km (S36) x 3.1205 km"),
        pytest.param("walking", "MOB-WALK", 71_647, "luzhou-walk", id="walk: 8.2 g for 500 steps (N2), 1400 steps/km"),
    ],
)
def test_a_guided_trip_is_a_trip(
    apply: Apply, key: bytes, mode: str, behaviour: str, milligrams: int, figure: str
) -> None:
    translation = apply(TRACKS, TRACK | {"transport_mode": mode})
    record = only(translation)
    assert {name: value for name, value in record.items() if name != "row"} == {
        "source_id": "bd-000123|NW0001", "version": 1, "account": "bd-000123", "cancelled": False, "posted_at": None,
        "role": "navigation", "behaviour": behaviour, "start_at": at(2026, 10, 5), "end_at": at(2026, 10, 5, 0, 10),
        "precision": "second", "quantity_micro": 3_120_500, "unit": "km",
        "event_key": event_token(key, "origin", "NW0001") if mode == "walking" else None, "payment_key": None,
        "region": None, "claimed_mg": None,
    }  # fmt: skip
    assert reference("baidu-maps", translation) == (milligrams, figure)


def test_a_guided_ride_and_the_operators_are_one_act(apply: Apply, good: dict[str, dict[str, Any]]) -> None:
    ride = good[BEIJING] | {"beginTime": "2026-10-05T08:00:10+08:00", "endTime": "2026-10-05T08:09:40+08:00",
                            "distance": 3100, "carbonReduction": None}  # fmt: skip
    result = cleared(("beijing-green-life", apply(BEIJING, ride)), ("baidu-maps", apply(TRACKS, TRACK)))
    assert sorted(verdict for verdict, _, _ in verdicts(result).values()) == ["counted", "duplicate"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"transport_mode": "driving", "distance": None}, "no_reduction"),
        ({"transport_mode": "auto"}, "no_reduction"),
        ({"transport_mode": "sailing"}, "unknown_scene"),
        ({"transport_mode": None}, "missing_scene"),
        ({"trip_id": None}, "missing_source_id"),
        ({"trip_id": "a|b"}, "bad_source_id"),
        ({"entity_name": None}, "missing_source_id"),
        ({"distance": -0.5}, "negative_quantity"),
        ({"start_time": 1791158400000}, "time_out_of_range"),
        ({"end_time": 1791158399}, "end_before_start"),
    ],
)
def test_a_broken_track_is_set_aside_with_its_reason(apply: Apply, change: dict[str, Any], reason: str) -> None:
    assert reasons(apply(TRACKS, TRACK | change)) == [reason]


def test_a_track_of_no_length_is_read_and_worth_nothing(apply: Apply) -> None:
    assert reference("baidu-maps", apply(TRACKS, TRACK | {"distance": 0}))[0] == 0
