"""Golden cases of Alipay's green interfaces: documents rebuilt from the SDK's field comments, and what they must become."""

from collections.abc import Callable
from typing import Any

import pytest
from tests_support.golden import at, kept, only, reasons, reference

from mappings import Translation, event_token

Apply = Callable[..., Translation]
RIDES, ACTIONS = "alipay-green.behaviours.v1", "alipay-green.green_actions.v1"

RIDE: dict[str, Any] = {
    "distance": 8600, "pay_time": "2026-10-05 08:31:10", "trip_type": "CARBON_JUSTICE_METRO",
    "open_id": "074a1CcTG1LelxKe4xQC0zgNdId0nxi95b5lsNpazWYoCo5", "nick_name": "小明",
}  # fmt: skip
ACTION: dict[str, Any] = {
    "biz_no": "RC2610050001", "action_time": "2026-10-05 18:00:00", "second_scene": "recycle_paper", "biz_value": 1000,
}  # fmt: skip


def test_a_ride_by_metro_is_an_instant_with_its_distance(apply: Apply) -> None:
    record = only(apply(RIDES, RIDE))
    del record["row"]
    assert record == {
        "source_id": f"{RIDE['open_id']}|CARBON_JUSTICE_METRO|2026-10-05 08:31:10", "version": 1,
        "account": RIDE["open_id"], "cancelled": False, "posted_at": None, "role": "payment", "behaviour": "MOB-METRO",
        "start_at": at(2026, 10, 5, 0, 31, 10), "end_at": at(2026, 10, 5, 0, 31, 10), "precision": "second",
        "quantity_micro": 8_600_000, "unit": "km", "event_key": None, "payment_key": None, "region": None,
        "claimed_mg": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "behaviour", "quantity", "unit"),
    [
        ({"trip_type": "METRO", "distance": "8600"}, "MOB-METRO", 8_600_000, "km"),
        # "Only the metro supports it": a bus's distance means nothing, and a metro's 0 is not known.
        ({"trip_type": "METRO", "distance": 0}, "MOB-METRO", 1_000_000, "trip"),
        ({"trip_type": "METRO", "distance": None}, "MOB-METRO", 1_000_000, "trip"),
        ({"trip_type": "CARBON_JUSTICE_BUS", "distance": 0}, "MOB-BUS", 1_000_000, "trip"),
        ({"trip_type": "BUS", "distance": 5000}, "MOB-BUS", 1_000_000, "trip"),
        ({"trip_type": "CARBON_JUSTICE_HITCHHIKING", "distance": 5000}, "MOB-CARPOOL", None, None),
    ],
)
def test_only_the_metros_distance_is_one(
    apply: Apply, change: dict[str, Any], behaviour: str, quantity: int | None, unit: str | None
) -> None:
    record = only(apply(RIDES, RIDE | change))
    assert (record["behaviour"], record["quantity_micro"], record["unit"]) == (behaviour, quantity, unit)


def test_a_shared_ride_without_a_distance_is_worth_nothing_that_is_known(apply: Apply) -> None:
    assert reference("alipay-green", apply(RIDES, RIDE | {"trip_type": "HITCHHIKING"}))[0] in (None, 0)


def test_an_older_app_knows_the_person_by_the_user_id(apply: Apply) -> None:
    record = only(apply(RIDES, RIDE | {"open_id": None, "user_id": "2088102150527498"}))
    assert record["account"] == "2088102150527498"
    assert record["source_id"] == "2088102150527498|CARBON_JUSTICE_METRO|2026-10-05 08:31:10"


def test_two_people_who_pay_in_one_second_are_two_rides(apply: Apply) -> None:
    records = apply(RIDES, RIDE, RIDE | {"open_id": "another"}, RIDE | {"trip_type": "BUS"}).records
    assert records["source_id"].n_unique() == 3


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"trip_type": "CARBON_JUSTICE_PLANE"}, "unknown_scene"),
        ({"trip_type": None}, "missing_scene"),
        ({"open_id": None}, "missing_source_id"),
        ({"pay_time": "2026-02-30 08:00:00"}, "bad_time"),
        ({"pay_time": 1791160270}, "bad_time"),
        ({"pay_time": "2027-10-05 08:00:00"}, "time_ahead"),
        ({"distance": -1}, "negative_quantity"),
        ({"distance": "8.6km"}, "bad_quantity"),
        ({"distance": True}, "wrong_type"),
    ],
)
def test_a_ride_that_is_told_badly_is_set_aside(apply: Apply, change: dict[str, Any], reason: str) -> None:
    assert reasons(apply(RIDES, RIDE | change)) == [reason]


@pytest.mark.parametrize(
    ("scene", "value", "behaviour", "quantity", "unit"),
    [
        # GreenAction.biz_value: a user recycles 1000 g of paper, so 1000 is sent.
        pytest.param("recycle_paper", 1000, "HOME-WASTESORT", 1_000_000, "kg", id="SDK: 1000 g of paper"),
        ("recycle_clothes", 2500, "CLO-RECYCLE", 2_500_000, "kg"),
        # alipay.ebpp.charger.greenenergy.publish: 12.34 kWh are 12340 Wh.
        pytest.param("charger", 12340, "MOB-EVCHARGE", 12_340_000, "kWh", id="SDK: 12.34 kWh are 12340"),
        ("charger", "12340", "MOB-EVCHARGE", 12_340_000, "kWh"),
        ("charger", 0, "MOB-EVCHARGE", 0, "kWh"),
    ],
)
def test_green_actions_are_grams_and_watt_hours(
    apply: Apply, key: bytes, scene: str, value: int | str, behaviour: str, quantity: int, unit: str
) -> None:
    record = only(apply(ACTIONS, ACTION | {"second_scene": scene, "biz_value": value}))
    assert (record["behaviour"], record["quantity_micro"], record["unit"]) == (behaviour, quantity, unit)
    assert (record["account"], record["role"], record["claimed_mg"]) == ("linked", "aggregator", None)
    assert record["source_id"] == f"RC2610050001|{scene}"
    assert record["event_key"] == event_token(key, "origin", "RC2610050001")  # the partner's own number of the act
    assert record["start_at"] == record["end_at"] == at(2026, 10, 5, 10)


def test_used_clothes_are_worth_what_luzhou_published(apply: Apply) -> None:
    # Luzhou: 1,280 g for a kilogram (domain facts, S13).
    told = apply(ACTIONS, ACTION | {"second_scene": "recycle_clothes", "biz_value": 2500})
    assert reference("alipay-green", told)[0] == 3_200_000


def test_green_energy_and_unknown_scenes_are_no_acts(apply: Apply) -> None:
    walk = ACTION | {"second_scene": "walk_energy", "biz_value": 296}
    assert reasons(apply(ACTIONS, walk, ACTION | {"biz_value": -1}, ACTION | {"biz_no": None})) == [
        "unknown_scene", "negative_quantity", "missing_source_id",
    ]  # fmt: skip


def test_names_and_numbers_of_people_are_not_kept() -> None:
    payload = kept(RIDES, RIDE | {"mobile": "13800138000", "avatar": "https://x"})[0]
    assert "小明" not in payload
    assert "138" not in payload
    payload = kept(ACTIONS, ACTION | {"open_id": "canary", "full_energy": "canary", "pid": "canary"})[0]
    assert "canary" not in payload
