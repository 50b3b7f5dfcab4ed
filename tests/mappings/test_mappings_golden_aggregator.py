"""Golden cases of 绿普惠云, which tells what others tell too: one act counts once, whoever reports it."""

from collections.abc import Callable
from typing import Any

import pytest
from tests_support.golden import at, cleared, only, quantified, reasons, reference, require_nothing_personal, verdicts

from mappings import Translation, event_token

Apply = Callable[..., Translation]
Documents = dict[str, dict[str, Any]]

PUHUI, CITY, PULLED = "green-puhui-cloud.acts.v1", "beijing-green-life.acts.v1", "shenzhen-low-carbon-planet.acts.v1"
SHANXI, LUZHOU, HARBIN = "shanxi-green-life.acts.v1", "luzhou-green-bud.acts.v1", "harbin-carbon-ice.acts.v1"
KUAIDIAN, TRANSIT, BANK = "kuaidian.charge_orders.v1", "shenzhen-transit.trips.v1", "citic-carbon.acts.v1"

BEGIN, END = at(2026, 10, 5, 0, 12, 3), at(2026, 10, 5, 0, 31, 40)
BEGIN_MS, END_MS = int(BEGIN.timestamp()) * 1000, int(END.timestamp()) * 1000
LOCAL, LOCAL_END = "2026-10-05 08:12:03", "2026-10-05 08:31:40"
CHARGE = "MA5KD2026261005007000010001"

RIDE: dict[str, Any] = {
    "recordNo": "PH2026100500000001", "recordVer": 1, "openUserId": "ph-000123", "mobile": "138****0001",
    "nickName": "小明", "originPlatform": "MEITUAN_BIKE", "originTradeNo": "MB7788990011", "originPayNo": "PAY-55",
    "behavior": "共享单车骑行", "startTs": BEGIN_MS, "endTs": END_MS, "activityData": "3.12", "activityUnit": "km",
    "reductionGram": "780.00", "points": 7, "state": "VALID", "regionCode": "110105", "syncTs": 1791219600000,
}  # fmt: skip
DAY: dict[str, Any] = {"startTs": 1791129600000, "endTs": 1791216000000, "originTradeNo": None, "originPayNo": None}
ONE: dict[str, Any] = {"activityData": "1", "activityUnit": "time", "endTs": BEGIN_MS}


@pytest.mark.parametrize(
    ("change", "behaviour", "quantity", "unit", "claimed"),
    [
        pytest.param({}, "MOB-BIKE", 3_120_000, "km", 780_000, id="bike 250 g/km (N1), computed for Beijing"),
        pytest.param(
            {"activityData": "3120", "activityUnit": "m"}, "MOB-BIKE", 3_120_000, "km", 780_000, id="the same in metres"
        ),
        pytest.param(
            {"behavior": "新能源车充电", "activityData": "6500", "activityUnit": "Wh", "reductionGram": "2990"},
            "MOB-EVCHARGE", 6_500_000, "kWh", 2_990_000, id="charging 460 g/kWh (S15), in watt-hours",
        ),
        pytest.param(
            ONE | {"behavior": "无需餐具", "reductionGram": "45.72"}, "FOOD-NOTABLEWARE", 1_000_000, "order", 45_720,
            id="no utensils 45.72 g (N1, S15)",
        ),
        pytest.param(
            ONE | {"behavior": "电子面单", "reductionGram": "5"}, "USE-EWAYBILL", 1_000_000, "parcel", 5_000,
            id="e-waybill 5 g (N1)",
        ),
        pytest.param(
            ONE | {"behavior": "光盘行动", "reductionGram": "144"}, "FOOD-CLEANPLATE", 1_000_000, "meal", 144_000,
            id="clean plate 144 g (N2), computed for Luzhou",
        ),
        pytest.param(
            ONE | {"behavior": "公交出行", "reductionGram": "80"}, "MOB-BUS", 1_000_000, "trip", 80_000,
            id="bus 80 g (N2), computed for Luzhou",
        ),
        pytest.param(
            DAY | {"behavior": "步行", "activityData": 500, "activityUnit": "step", "reductionGram": 8.2},
            "MOB-WALK", 500_000_000, "steps", 8_200, id="500 steps 8.2 g (S37), computed for Luzhou",
        ),
        pytest.param(
            {"behavior": "旧衣回收", "activityData": "2500", "activityUnit": "g", "reductionGram": None},
            "CLO-RECYCLE", 2_500_000, "kg", None, id="clothes in grams, nothing claimed",
        ),
    ],
)  # fmt: skip
def test_it_claims_the_figures_of_those_it_computes_for(
    apply: Apply, change: Documents, behaviour: str, quantity: int, unit: str, claimed: int | None
) -> None:
    record = only(apply(PUHUI, RIDE | change))
    assert (record["behaviour"], record["quantity_micro"], record["unit"]) == (behaviour, quantity, unit)
    assert (record["claimed_mg"], record["role"]) == (claimed, "aggregator")


def test_a_row_carries_the_origin_of_the_act_as_its_key(apply: Apply, key: bytes) -> None:
    record = only(apply(PUHUI, RIDE))
    assert record["source_id"] == "PH2026100500000001"
    assert record["event_key"] == event_token(key, "origin", "MB7788990011")
    assert record["payment_key"] == event_token(key, "payment", "PAY-55")
    assert (record["start_at"], record["end_at"], record["posted_at"]) == (BEGIN, END, at(2026, 10, 5, 17))


def test_a_city_without_figures_is_valued_by_the_methodology(apply: Apply) -> None:
    # Without a claim and a figure of the place: 33.88 g/km (S36).
    ride = apply(PUHUI, RIDE | {"reductionGram": None, "regionCode": "230102"})
    assert reference("green-puhui-cloud", ride) == (105_706, "hello-bike")


def test_it_takes_an_act_back_by_a_later_version(apply: Apply) -> None:
    records = apply(PUHUI, RIDE, RIDE | {"recordVer": 2, "state": "REVOKED"}).records
    assert records["cancelled"].to_list() == [False, True]
    assert records["version"].to_list() == [1, 2]


DIRTY: list[tuple[dict[str, Any], str]] = [
    ({"activityUnit": "里"}, "unit_mismatch"),
    ({"activityUnit": "kWh"}, "unit_mismatch"),
    ({"activityUnit": ""}, "unit_mismatch"),
    ({"behavior": "新能源车充电"}, "unit_mismatch"),
    ({"behavior": "步行"}, "unit_mismatch"),
    ({"behavior": "旧衣回收", "activityUnit": "斤"}, "unit_mismatch"),
    ({"behavior": "植树"}, "unknown_scene"),
    ({"behavior": None}, "missing_scene"),
    ({"state": "PENDING"}, "unknown_status"),
    ({"startTs": BEGIN_MS // 1000}, "time_out_of_range"),
    ({"startTs": END_MS, "endTs": BEGIN_MS}, "end_before_start"),
    ({"startTs": LOCAL}, "bad_time"),
    ({"activityData": "-3.12"}, "negative_quantity"),
    ({"openUserId": ""}, "missing_account"),
    ({"originTradeNo": "x" * 300}, "bad_key"),
    ({"originTradeNo": {"no": 1}}, "wrong_type"),
    ({"reductionGram": "约780"}, "bad_claim"),
]


@pytest.mark.parametrize(("change", "reason"), DIRTY)
def test_a_dirty_row_is_set_aside_with_its_reason(apply: Apply, change: dict[str, Any], reason: str) -> None:
    translation = apply(PUHUI, RIDE, RIDE | change, RIDE)
    assert reasons(translation) == [reason]
    assert translation.records["row"].to_list() == [0, 2]


@pytest.mark.parametrize("origin", [None, "", "000000", "9999999999", "null", "N/A"])
def test_an_origin_that_says_nothing_is_no_key(apply: Apply, origin: str | None) -> None:
    assert only(apply(PUHUI, RIDE | {"originTradeNo": origin}))["event_key"] is None


def test_personal_fields_do_not_survive() -> None:
    require_nothing_personal(PUHUI, RIDE)


# --- one act, three reports -----------------------------------------------------------------------------------------


@pytest.fixture
def charge(apply: Apply) -> list[tuple[str, Translation]]:
    """A charge as Shanxi tells it, as 绿普惠云 tells it, and as the charging operator's meter does."""
    city = {
        "tradeNo": "SJ1", "version": 1, "memberNo": "sx-1", "method": "EV_CHARGE", "beginTime": LOCAL,
        "endTime": LOCAL_END, "amount": "6.5", "unit": "度", "partnerOrderNo": CHARGE, "carbon": "2990",
        "status": "SUCCESS", "cityCode": "140100",
    }  # fmt: skip
    aggregated = {
        "originPlatform": "KUAIDIAN", "originTradeNo": CHARGE.lower(), "originPayNo": None, "behavior": "新能源车充电",
        "activityData": "6500", "activityUnit": "Wh", "reductionGram": "2990", "regionCode": "140100",
        "startTs": BEGIN_MS + 3_600_000, "endTs": END_MS + 3_600_000,  # it knows when it heard of it, an hour later
    }  # fmt: skip
    order = {
        "StartChargeSeq": CHARGE, "ConnectorID": "1", "StartTime": LOCAL, "EndTime": LOCAL_END, "TotalPower": 6.5,
        "StopReason": 2, "UserId": "kd-000123",
    }  # fmt: skip
    return [
        ("shanxi-green-life", apply(SHANXI, city)),
        ("green-puhui-cloud", apply(PUHUI, RIDE | aggregated)),
        ("kuaidian", apply(KUAIDIAN, order)),
    ]


def test_a_charge_told_by_a_city_the_aggregator_and_the_meter_counts_once(
    charge: list[tuple[str, Translation]],
) -> None:
    result = cleared(*charge)
    assert verdicts(result) == {
        1: ("duplicate", "T2", "same_event_key"),
        2: ("duplicate", "T2", "same_event_key"),
        3: ("counted", "T2", "first_in_role_order"),
    }
    assert result.events["mg"].to_list() == [2_990_000]
    assert result.events["records"].to_list() == [3]


def test_whoever_tells_first_the_charge_counts_once(charge: list[tuple[str, Translation]]) -> None:
    result = cleared(*reversed(charge))
    assert [verdict for verdict, _, _ in verdicts(result).values()] == ["counted", "duplicate", "duplicate"]
    assert result.events["mg"].to_list() == [2_990_000]


def test_without_the_origin_the_same_charge_would_count_twice(
    apply: Apply, charge: list[tuple[str, Translation]]
) -> None:
    # The twin that must fail: an hour apart and without a key, nobody can say that it is one charge.
    blind = {"originTradeNo": None, "originPayNo": None, "behavior": "新能源车充电", "activityData": "6.5",
             "activityUnit": "kWh", "startTs": BEGIN_MS + 3_600_000, "endTs": END_MS + 3_600_000}  # fmt: skip
    result = cleared(charge[0], ("green-puhui-cloud", apply(PUHUI, RIDE | blind)), charge[2])
    assert len(result.events) == 2


def test_a_bike_ride_told_by_two_cities_the_aggregator_and_the_bank_counts_once(apply: Apply, good: Documents) -> None:
    harbin = {
        "lsh": "H1", "bbh": 1, "yhbs": "h-1", "xwlx": "共享单车", "kssj": BEGIN_MS, "jssj": END_MS, "lc": 3120,
        "ddh": "MB7788990011", "zt": "有效", "xzqh": "230102",
    }  # fmt: skip
    result = cleared(
        ("beijing-green-life", apply(CITY, good[CITY])),
        ("green-puhui-cloud", apply(PUHUI, RIDE)),
        ("harbin-carbon-ice", apply(HARBIN, harbin)),
        ("citic-carbon", apply(BANK, good[BANK])),
    )
    assert len(result.events) == 1
    assert {rule for _, rule, _ in verdicts(result).values()} == {"T2"}
    # The payment is the better witness but knows no distance; no more counts than anybody claims or the hub values.
    assert result.events["mg"].item() == 105_706


def test_a_metro_ride_without_any_order_number_counts_once(apply: Apply, good: Documents) -> None:
    # Gates write no order: the operator's record is found by time, the other two by their common number.
    def gate(time: str, kind: str) -> dict[str, str]:
        return {
            "deal_date": time, "card_no": "CFBAJECDH", "deal_type": kind, "company_name": "地铁五号线", "station": kind,
            "deal_money": "665", "equ_no": "263031101",
        }  # fmt: skip

    trip = {"kind": "metro", "in": gate(LOCAL, "地铁入站"), "out": gate(LOCAL_END, "地铁出站")}
    planet = {
        "recordId": "SZ1", "revision": 1, "openId": "o-1", "travelMode": "METRO", "boardTime": BEGIN_MS // 1000 + 4,
        "alightTime": END_MS // 1000 + 9, "mileage": "12", "rideNo": "MT261005007", "carbonReduction": "560.4",
        "status": 0,
    }  # fmt: skip
    aggregated = {"originPlatform": "SZ_METRO", "originTradeNo": "MT261005007", "originPayNo": None,
                  "behavior": "地铁出行", "reductionGram": "560.4", "regionCode": "440300"}  # fmt: skip
    result = cleared(
        ("shenzhen-low-carbon-planet", apply(PULLED, planet)),
        ("green-puhui-cloud", apply(PUHUI, RIDE | aggregated)),
        ("shenzhen-transit", apply(TRANSIT, trip)),
    )
    assert [verdict for verdict, _, _ in verdicts(result).values()] == ["duplicate", "duplicate", "counted"]
    assert len(result.events) == 1


def test_a_plate_that_a_city_and_the_aggregator_tell_of_counts_once(apply: Apply) -> None:
    # A check-in is the city's own: its flow number is the origin for the aggregator, and no order for the city.
    city = {
        "flowNo": "LY1", "flowVersion": 1, "userId": "lz-1", "behaviorType": "光盘行动", "behaviorTime": LOCAL,
        "carbonReduction": "144", "integral": 5, "state": 1, "updateTime": LOCAL,
    }  # fmt: skip
    aggregated = ONE | {"originPlatform": "LUZHOU_GREEN_BUD", "originTradeNo": "LY1", "originPayNo": None,
                        "behavior": "光盘行动", "reductionGram": "144", "regionCode": "510500"}  # fmt: skip
    result = cleared(("luzhou-green-bud", apply(LUZHOU, city)), ("green-puhui-cloud", apply(PUHUI, RIDE | aggregated)))
    assert result.events["mg"].to_list() == [144_000]
    assert sorted(verdict for verdict, _, _ in verdicts(result).values()) == ["counted", "duplicate"]


def test_a_meal_and_a_parcel_of_those_who_carried_them_out_count_once(apply: Apply, good: Documents) -> None:
    order = {
        "orderId": 5301890193521352344, "UserId": "mt-1", "dinnersNumber": 99, "status": 8, "ctime": BEGIN_MS // 1000,
        "utime": BEGIN_MS // 1000 + 3600, "cityId": 110100,
    }  # fmt: skip
    waybill = {
        "waybill": "SF:123456789", "number": "123456789",
        "order": {"openid": "o-1", "order_status": 0, "create_time": BEGIN_MS // 1000, "region": 110100},
    }  # fmt: skip
    late = {"startTs": BEGIN_MS + 7_200_000, "endTs": BEGIN_MS + 7_200_000, "originPayNo": None}
    meal = ONE | late | {"behavior": "无需餐具", "originPlatform": "MEITUAN", "originTradeNo": "5301890193521352344"}
    parcel = ONE | late | {"behavior": "电子面单", "originPlatform": "SF", "originTradeNo": "123456789"}
    city = {"scene": "EWAYBILL", "orderNo": "123456789", "payNo": None, "distance": None, "carbonReduction": "5"}
    result = cleared(
        ("takeaway", apply("takeaway.orders.v1", order)),
        ("ewaybill", apply("ewaybill.wechat_waybills.v1", waybill)),
        ("green-puhui-cloud", apply(PUHUI, RIDE | meal, RIDE | parcel | {"recordNo": "PH2"})),
        ("beijing-green-life", apply(CITY, good[CITY] | city)),
    )
    assert sorted(result.events["behaviour"].to_list()) == ["FOOD-NOTABLEWARE", "USE-EWAYBILL"]
    counted = [number for number, (verdict, _, _) in verdicts(result).items() if verdict == "counted"]
    assert counted == [1, 2]  # the two that carried it out
    assert {rule for _, rule, _ in verdicts(result).values()} == {"T2"}


def test_two_rides_with_two_numbers_stay_two(apply: Apply) -> None:
    later = {"recordNo": "PH2", "originTradeNo": "MB7788990012", "originPayNo": "PAY-56",
             "startTs": END_MS + 120_000, "endTs": END_MS + 900_000, "activityData": "1.5"}  # fmt: skip
    told = apply(PUHUI, RIDE, RIDE | later)
    assert len(quantified(("green-puhui-cloud", told))) == 2
    assert len(cleared(("green-puhui-cloud", told)).events) == 2
