"""Golden cases of what comes as a file: bank statements, odometers, and the file of one event."""

from collections.abc import Callable
from typing import Any

import pytest
from tests_support.golden import at, cleared, kept, only, reasons, reference, require_nothing_personal, verdicts

from mappings import Translation, event_token

Apply = Callable[..., Translation]
STATEMENTS, ODOMETER, OLYMPICS = "citic-carbon.statements.v1", "baic-weilan.odometer.v1", "winter-olympics-2022.acts.v1"
CITIC_ACTS = "citic-carbon.acts.v1"

DOCUMENTS: dict[str, dict[str, Any]] = {
    STATEMENTS: {
        "account": "citic-000123", "entry": "1", "status": "BOOK", "side": "DBIT", "reversal": "false",
        "booked": "2026-10-05", "reference": "B-1", "order": "MT-77", "payment": "PAY-55",
        "paid_at": "2026-10-05T08:31:10+08:00", "mcc": "4111",
    },
    ODOMETER: {
        "vin_hash": "0c6f8a1f7bb14a35a5ad3a86b6a1e9c4", "date": "2026-10-05", "odometer_first": 850,
        "odometer_last": 850, "read_first": "2026-10-04 19:00:00", "read_last": "2026-10-06 08:00:00", "frames": 0,
        "steady": "yes",
    },
    OLYMPICS: {
        "event_id": "BJ2022", "row_no": "000001", "participant": "wo-000123", "act": "地铁",
        "begin_at": "2022-02-04T19:00:00+08:00", "end_at": "2022-02-04T19:31:00+08:00", "distance_m": None,
        "steps": None, "trip_no": "BJMT-2202040001", "check_mode": "接入", "city": "北京",
    },
}  # fmt: skip


def test_a_payment_of_a_statement_is_an_instant_without_a_quantity(apply: Apply, key: bytes) -> None:
    record = apply(STATEMENTS, DOCUMENTS[STATEMENTS]).records.drop("row").row(0, named=True)
    paid = at(2026, 10, 5, 0, 31, 10)
    assert record == {
        "source_id": "PAY-55", "version": 1, "account": "citic-000123", "cancelled": False, "posted_at": None,
        "role": "payment", "behaviour": "MOB-METRO", "start_at": paid, "end_at": paid, "precision": "second",
        "quantity_micro": None, "unit": None, "event_key": event_token(key, "origin", "MT-77"),
        "payment_key": event_token(key, "payment", "PAY-55"), "region": None, "claimed_mg": None,
    }  # fmt: skip


@pytest.mark.parametrize(("mcc", "behaviour"), [("4111", "MOB-METRO"), ("4131", "MOB-BUS"), ("5552", "MOB-EVCHARGE")])
def test_what_was_paid_for_is_told_by_the_category_code(apply: Apply, mcc: str, behaviour: str) -> None:
    assert only(apply(STATEMENTS, DOCUMENTS[STATEMENTS] | {"mcc": mcc}))["behaviour"] == behaviour


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"status": "PDNG"}, "not_final"),
        ({"status": "INFO"}, "not_final"),
        ({"mcc": None}, "missing_scene"),
        ({"mcc": "5541"}, "unknown_scene"),
        ({"mcc": "4112"}, "unknown_scene"),
        ({"side": "CRDT"}, "no_reduction"),
        ({"payment": None}, "missing_source_id"),
        ({"paid_at": None}, "missing_time"),
        ({"paid_at": "2026-10-05T08:31:10"}, "missing_zone"),
        ({"reversal": "maybe"}, "unknown_status"),
        ({"account": None}, "missing_account"),
    ],
)
def test_entries_that_are_no_booked_payment_of_a_ride_or_a_charge(
    apply: Apply, change: dict[str, Any], reason: str
) -> None:
    assert reasons(apply(STATEMENTS, DOCUMENTS[STATEMENTS] | change)) == [reason]


def test_a_reversal_takes_the_payment_back_and_a_booked_entry_follows_its_pending_one(apply: Apply) -> None:
    entry = DOCUMENTS[STATEMENTS]
    back = entry | {"entry": "9", "reference": "B-9", "side": "CRDT", "reversal": "true"}
    told = apply(STATEMENTS, entry | {"status": "PDNG"}, entry, back)
    assert told.records["source_id"].n_unique() == 1
    assert told.records["version"].to_list() == [1, 2]
    assert told.records["cancelled"].to_list() == [False, True]
    assert told.quarantined["row"].to_list() == [0]


def test_statement_and_card_feed_tell_one_payment(apply: Apply, good: dict[str, dict[str, Any]]) -> None:
    pulled = good[CITIC_ACTS] | {"type": "METRO_PAY", "merchantOrderNo": "MT-77", "payNo": "PAY-55"}
    statement, acts = only(apply(STATEMENTS, DOCUMENTS[STATEMENTS])), only(apply(CITIC_ACTS, pulled))
    for field in ("payment_key", "event_key", "behaviour", "role", "start_at", "end_at"):
        assert statement[field] == acts[field]


def test_a_still_day_is_one_vehicle_day_of_the_methodology(apply: Apply) -> None:
    translation = apply(ODOMETER, DOCUMENTS[ODOMETER])
    record = only(translation)
    assert (record["behaviour"], record["role"], record["precision"]) == ("MOB-NODRIVE", "meter", "day")
    assert (record["quantity_micro"], record["unit"], record["claimed_mg"]) == (1_000_000, "vehicle-day", None)
    assert (record["start_at"], record["end_at"]) == (at(2026, 10, 4, 16), at(2026, 10, 5, 16))
    assert record["source_id"] == "0c6f8a1f7bb14a35a5ad3a86b6a1e9c4|2026-10-05"
    # Beijing 2019 (S49): 22 km by car 5,980 g, by metro 1,350 g; half of the difference (hub-2026.2).
    assert reference("baic-weilan", translation)[0] == (5_980_000 - 1_350_000) // 2


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"odometer_first": None}, "unpaired"),
        ({"odometer_last": None}, "unpaired"),
        ({"odometer_last": 851, "steady": "no"}, "no_reduction"),
        ({"odometer_last": 849, "steady": "no"}, "no_reduction"),
        ({"steady": "no"}, "no_reduction"),  # out and back, or an odometer that was set back in between
        ({"steady": None}, "no_reduction"),
        ({"date": "2026-02-30"}, "bad_time"),
        ({"vin_hash": None}, "missing_source_id"),
        ({"date": "2026-12-01"}, "time_ahead"),
    ],
)
def test_days_that_prove_no_standing_still(apply: Apply, change: dict[str, Any], reason: str) -> None:
    assert reasons(apply(ODOMETER, DOCUMENTS[ODOMETER] | change)) == [reason]


def test_a_no_drive_day_and_its_trips_are_not_both_counted(apply: Apply) -> None:
    ride = DOCUMENTS[OLYMPICS] | {"begin_at": "2026-10-05T08:00:00+08:00", "end_at": "2026-10-05T08:30:00+08:00"}
    result = cleared(
        ("baic-weilan", apply(ODOMETER, DOCUMENTS[ODOMETER])), ("winter-olympics-2022", apply(OLYMPICS, ride))
    )
    assert sorted(verdict for verdict, _, _ in verdicts(result).values()) == ["counted", "overlapped"]


@pytest.mark.parametrize(
    ("change", "behaviour", "quantity", "unit", "precision", "milligrams"),
    [
        pytest.param({}, "MOB-METRO", 1_000_000, "trip", "second", 46_000, id="metro in Beijing: 46 g (S16)"),
        pytest.param({"act": "公交"}, "MOB-BUS", 1_000_000, "trip", "second", 80_000, id="bus in Beijing: 80 g (S16)"),
        pytest.param(
            {"act": "骑行", "distance_m": "3120", "city": "张家口"}, "MOB-BIKE", 3_120_000, "km", "second", 105_706,
            id="bike in Zhangjiakou: 33.88 g/km (S36)",
        ),
        pytest.param(
            {"act": "光盘", "city": "延庆"}, "FOOD-CLEANPLATE", 1_000_000, "meal", "minute", 144_000,
            id="clean plate: 144 g (N2)",
        ),
        pytest.param({"act": "自带杯"}, "FOOD-OWNCUP", 1_000_000, "time", "minute", 11_500, id="own cup: 11.5 g (hub)"),
        pytest.param(
            {
                "act": "步行", "steps": "8000", "check_mode": "打卡", "begin_at": "2022-02-05T00:00:00+08:00",
                "end_at": "2022-02-06T00:00:00+08:00",
            },
            "MOB-WALK", 8_000_000_000, "steps", "day", 131_200, id="walk: 8.2 g for 500 steps (S37)",
        ),
    ],
)  # fmt: skip
def test_acts_of_the_event_are_valued_by_the_methodology(
    apply: Apply,
    change: dict[str, Any],
    behaviour: str,
    quantity: int,
    unit: str,
    precision: str,
    milligrams: int,
) -> None:
    translation = apply(OLYMPICS, DOCUMENTS[OLYMPICS] | change)
    record = only(translation)
    assert (record["behaviour"], record["precision"]) == (behaviour, precision)
    assert (record["quantity_micro"], record["unit"], record["claimed_mg"]) == (quantity, unit, None)
    assert reference("winter-olympics-2022", translation)[0] == milligrams


def test_who_told_the_programme_of_an_act(apply: Apply) -> None:
    gathered, told = apply(OLYMPICS, DOCUMENTS[OLYMPICS], DOCUMENTS[OLYMPICS] | {"check_mode": "打卡"}).records.rows(
        named=True
    )
    assert (gathered["role"], told["role"]) == ("aggregator", "self_report")
    assert (gathered["source_id"], gathered["region"]) == ("BJ2022-000001", 110000)
    assert gathered["start_at"] == at(2022, 2, 4, 11)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"act": "滑雪"}, "unknown_scene"),
        ({"act": None}, "missing_scene"),
        ({"check_mode": "转发"}, "unknown_role"),
        ({"row_no": "0-1"}, "bad_source_id"),
        ({"participant": ""}, "missing_account"),
        ({"begin_at": "2022-02-04T19:00:00"}, "missing_zone"),
        ({"city": "多哈"}, "bad_region"),
        ({"act": "骑行", "distance_m": "-1"}, "negative_quantity"),
    ],
)
def test_rows_of_the_event_that_cannot_be_taken(apply: Apply, change: dict[str, Any], reason: str) -> None:
    assert reasons(apply(OLYMPICS, DOCUMENTS[OLYMPICS] | change)) == [reason]


@pytest.mark.parametrize("name", sorted(DOCUMENTS))
def test_personal_fields_do_not_survive(name: str) -> None:
    require_nothing_personal(name, DOCUMENTS[name])
    assert kept(name, DOCUMENTS[name])
