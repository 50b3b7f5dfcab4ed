"""Golden cases of the cities and of CITIC's daily file: public figures, and the same act in two forms."""

from collections.abc import Callable
from typing import Any

import pytest
from tests_support.golden import at, cleared, kept, only, reasons, reference, require_nothing_personal, verdicts

from mappings import Translation

Apply = Callable[..., Translation]

LEDGER, PUSHED = "beijing-green-life.points_ledger.v1", "beijing-green-life.acts.v1"
LUZHOU, PLANET = "luzhou-green-bud.acts.v1", "shenzhen-low-carbon-planet.acts.v1"
HARBIN, HARBIN_DAILY = "harbin-carbon-ice.acts.v1", "harbin-carbon-ice.daily.v1"
SHANXI, SHANXI_DAILY = "shanxi-green-life.acts.v1", "shanxi-green-life.daily.v1"
CITIC, CITIC_DAILY = "citic-carbon.acts.v1", "citic-carbon.daily.v1"

BEGIN, END = at(2026, 10, 5, 0, 12, 3), at(2026, 10, 5, 0, 31, 40)  # 08:12:03 to 08:31:40 in China
BEGIN_S, END_S = int(BEGIN.timestamp()), int(END.timestamp())

DOCUMENTS: dict[str, dict[str, Any]] = {
    LEDGER: {
        "ledgerId": "L-77120934", "tradeNo": "BJ202610050001", "revision": 1, "memberId": "bj-000123",
        "mobile": "138****0001", "nickname": "小明", "behaviorName": "骑行共享单车", "occurredFrom": "2026-10-05 08:12:03",
        "occurredTo": "2026-10-05 08:31:40", "mileageKm": "3.120", "orderNo": "MB7788990011", "payNo": "PAY-55",
        "reductionKg": "0.780", "points": 78, "entryStatus": "已入账", "bookedAt": 1791219600000,
        "districtCode": "110105", "balance": 1204,
    },
    LUZHOU: {
        "flowNo": "LYJF20261005000123", "flowVersion": 1, "userId": "lz-000123", "mobile": "138****0001",
        "nickName": "小明", "behaviorType": "扫码乘公交", "behaviorTime": "2026-10-05 08:12:03", "statDate": None,
        "steps": None, "weight": None, "orderNo": "BS261005007", "payNo": "PAY-55", "carbonReduction": "80",
        "integral": 10, "state": 1, "updateTime": "2026-10-05 08:12:30", "lng": 105.44, "lat": 28.87,
    },
    HARBIN: {
        "lsh": "HRB2026100500001", "bbh": 1, "yhbs": "hrb-000123", "sjh": "138****0001", "xm": "小明",
        "xwlx": "共享单车", "kssj": BEGIN_S * 1000, "jssj": END_S * 1000, "lc": 3120, "ddh": "MB7788990011",
        "zfdh": "PAY-55", "jpl": "0.1057", "jf": 12, "zt": "有效", "gxsj": 1791219600000, "xzqh": "230102",
    },
    HARBIN_DAILY: {
        "流水号": "HRB2026100500001", "版本号": "1", "用户标识": "hrb-000123", "手机号": "138****0001", "姓名": "小明",
        "行为类型": "共享单车", "开始时间": "2026-10-05 08:12:03", "结束时间": "2026-10-05 08:31:40",
        "里程(公里)": "3.12", "订单号": "MB7788990011", "支付单号": "PAY-55", "减排量(克)": "105.7", "积分": "12",
        "状态": "有效", "更新时间": "2026-10-06 01:00:00", "行政区划": "230102", "备注": "",
    },
    PLANET: {
        "recordId": "SZ-20261005-1", "revision": 1, "openId": "oSz-000123", "unionId": "u-1", "nickName": "小明",
        "travelMode": "METRO", "boardTime": BEGIN_S, "alightTime": END_S, "mileage": "12.00", "rideNo": "MT261005007",
        "transactionId": "PAY-55", "carbonReduction": "560.4", "points": 5, "status": 0, "modifyTime": 1791219600000,
        "boardStation": "会展中心", "alightStation": "长龙",
    },
    SHANXI: {
        "tradeNo": "SJ2026100500001", "version": 1, "memberNo": "sx-000123", "mobile": "138****0001",
        "memberName": "小明", "method": "BIKE_RIDE", "beginTime": "2026-10-05 08:12:03",
        "endTime": "2026-10-05 08:31:40", "amount": "3120", "unit": "米", "partner": "MEITUAN",
        "partnerOrderNo": "MB7788990011", "payNo": "PAY-55", "carbon": "780.00", "points": 78, "status": "SUCCESS",
        "notifyTime": "2026-10-06 01:00:00", "cityCode": "140100",
    },
    SHANXI_DAILY: {
        "trade_no": "SJ2026100500001", "version": "1", "member_no": "sx-000123", "member_name": "小明",
        "mobile": "138****0001", "scene": "骑行", "begin_time": "2026-10-05 08:12:03",
        "end_time": "2026-10-05 08:31:40", "distance_m": "3120", "energy_kwh": "", "order_no": "MB7788990011",
        "pay_no": "PAY-55", "carbon_kg": "0.780", "points": "78", "status": "成功",
        "updated_at": "2026-10-06 01:00:00", "city_code": "140100", "remark": "",
    },
    CITIC_DAILY: {
        "TXN_ID": "C9001", "TXN_VER": "1", "ACCT_ID": "citic-000123", "CARD_NO": "6217****0001", "CUST_NAME": "王*",
        "MOBILE": "138****0001", "BIZ_TYPE": "0101", "TXN_TIME": "2026-10-05 08:31:10", "TXN_AMT": "3.00",
        "MCHT_NAME": "美团单车", "MCHT_ORDER_NO": "MB7788990011", "PAY_NO": "PAY-55", "CARBON_KG": "",
        "TXN_STS": "N", "UPD_TIME": "2026-10-06 09:00:00",
    },
}  # fmt: skip

STEPS_DAY = {"behaviorType": "步行", "behaviorTime": None, "statDate": "2026-10-05", "orderNo": None, "payNo": None}
PLATE = {"behaviorType": "光盘行动", "orderNo": None, "payNo": None}
MEAL = {"distance_m": "", "energy_kwh": ""}


def figure(name: str, change: dict[str, Any], quantity: float, unit: str, claimed_g: float, said: str) -> Any:
    """A public figure: what the platform claims for so much of an act, and where it says so."""
    micro, mg = round(quantity * 1_000_000), round(claimed_g * 1000)
    return pytest.param(name, change, (micro, unit, mg), id=f"{name.split('.')[0]}: {said}")


@pytest.mark.parametrize(
    ("name", "change", "expected"),
    [
        figure(LEDGER, {}, 3.12, "km", 780, "bike 250 g/km (N1, Green Life Season 2023)"),
        figure(
            LEDGER, {"behaviorName": "外卖无需餐具", "reductionKg": "0.04572"}, 1, "order", 45.72,
            "no utensils 45.72 g/order (N1, Green Life Season 2023)",
        ),
        figure(
            LEDGER, {"behaviorName": "使用电子面单", "reductionKg": "0.005"}, 1, "parcel", 5,
            "e-waybill 5 g (N1, Green Life Season 2023)",
        ),
        figure(
            LUZHOU, PLATE | {"carbonReduction": "144", "integral": 5}, 1, "meal", 144,
            "clean plate 144 g, 5 points (N2, a resident of Luzhou)",
        ),
        figure(LUZHOU, {}, 1, "trip", 80, "bus 80 g, 10 points (N2, a resident of Luzhou)"),
        figure(
            LUZHOU, STEPS_DAY | {"steps": 500, "carbonReduction": "8.2", "integral": 1}, 500, "steps", 8.2,
            "500 steps 8.2 g, 1 point (S37)",
        ),
        figure(
            LUZHOU, {"behaviorType": "旧衣回收", "weight": "1.0", "carbonReduction": 1280, "integral": 30}, 1, "kg", 1280,
            "clothes 1,280 g/kg, 30 points (S13)",
        ),
        figure(PLANET, {}, 12, "km", 560.4, "metro 46.7 g/person-km (S21)"),
        figure(
            PLANET, {"travelMode": "ELECTRIC_BUS", "mileage": "8", "carbonReduction": "215.2", "alightTime": None},
            8, "km", 215.2, "e-bus 26.9 g/person-km (S21)",
        ),
        figure(SHANXI, {}, 3.12, "km", 780, "bike 250 g/km, in metres (S15, Shanxi Daily)"),
        figure(SHANXI, {"amount": "3.12", "unit": "公里"}, 3.12, "km", 780, "bike 250 g/km (S15, Shanxi Daily)"),
        figure(
            SHANXI, {"method": "EV_CHARGE", "amount": "6.5", "unit": "度", "carbon": "2990"}, 6.5, "kWh", 2990,
            "charging 460 g/kWh (S15, Shanxi Daily)",
        ),
        figure(
            SHANXI, {"method": "GREEN_TAKE_OUT", "amount": "1", "unit": "单", "carbon": "45.72"}, 1, "order", 45.72,
            "no utensils 45.72 g/order (S15, Shanxi Daily)",
        ),
        figure(SHANXI_DAILY, {}, 3.12, "km", 780, "bike 250 g/km in the daily table (S15, Shanxi Daily)"),
        figure(
            SHANXI_DAILY, {"scene": "充电", "distance_m": "", "energy_kwh": "6.500", "carbon_kg": "2.99"},
            6.5, "kWh", 2990, "charging 460 g/kWh in the daily table (S15, Shanxi Daily)",
        ),
        figure(
            SHANXI_DAILY, MEAL | {"scene": "无需餐具", "carbon_kg": "0.04572"}, 1, "order", 45.72,
            "no utensils 45.72 g/order in the daily table (S15, Shanxi Daily)",
        ),
        figure(CITIC_DAILY, {"BIZ_TYPE": "0201", "CARBON_KG": "0.089"}, 1, "once", 89, "e-card 89 g (S47)"),
        figure(CITIC_DAILY, {"BIZ_TYPE": "0202", "CARBON_KG": "0.024"}, 1, "statement", 24, "e-statement 24 g (S47)"),
        figure(CITIC_DAILY, {"BIZ_TYPE": "0203", "CARBON_KG": "0.089"}, 1, "payment", 89, "bill payment 89 g (S47)"),
    ],
)  # fmt: skip
def test_a_public_figure_comes_out_as_the_platform_claims_it(
    apply: Apply, name: str, change: dict[str, Any], expected: tuple[int, str, int]
) -> None:
    record = only(apply(name, DOCUMENTS[name] | change))
    assert (record["quantity_micro"], record["unit"], record["claimed_mg"]) == expected


@pytest.mark.parametrize(
    ("name", "change", "expected"),
    [
        # Where the hub's methodology takes the platform's figure, it gives the same grams; elsewhere it is cautious.
        pytest.param(LUZHOU, PLATE, (144_000, "luzhou-cleanplate"), id="Luzhou's plate, 144 g (N2)"),
        pytest.param(LUZHOU, {}, (80_000, "luzhou-bus"), id="Luzhou's bus, 80 g (N2)"),
        pytest.param(LUZHOU, STEPS_DAY | {"steps": 500}, (8_200, "luzhou-walk"), id="Luzhou's 500 steps, 8.2 g (S37)"),
        pytest.param(PLANET, {}, (560_400, "shenzhen-metro-km"), id="Shenzhen's metro, 46.7 g/km (S21)"),
        pytest.param(
            PLANET, {"travelMode": "ELECTRIC_BUS", "mileage": "8"}, (215_200, "shenzhen-bus-km"),
            id="Shenzhen's bus, 26.9 g/km (S21)",
        ),
        pytest.param(
            SHANXI, {"method": "GREEN_TAKE_OUT"}, (45_720, "shanxi-2022-notableware"),
            id="Shanxi's meal, 45.72 g (S15)",
        ),
        pytest.param(SHANXI, {}, (105_706, "hello-bike"), id="a bike is not a car: 33.88 g/km (S36), not 250"),
        pytest.param(LEDGER, {"behaviorName": "使用电子面单"}, (5_000, "beijing-2023-ewaybill"), id="Beijing's parcel (N1)"),
        pytest.param(
            LEDGER, {"behaviorName": "外卖无需餐具"}, (23_000, "beijing-handbook-notableware"),
            id="Beijing's handbook stands for 23 g (S16), not 45.72",
        ),
        pytest.param(CITIC_DAILY, {"BIZ_TYPE": "0201"}, (89_000, "citic-ecard"), id="CITIC's card, 89 g (S47)"),
        pytest.param(CITIC_DAILY, {"BIZ_TYPE": "0202"}, (24_000, "citic-estatement"), id="CITIC's statement, 24 g (S47)"),
        pytest.param(CITIC_DAILY, {"BIZ_TYPE": "0203"}, (89_000, "citic-billpay"), id="CITIC's bill, 89 g (S47)"),
        # Harbin has published nothing: the methodology is all there is.
        pytest.param(HARBIN, {"jpl": None}, (105_706, "hello-bike"), id="Harbin's bike: methodology, 33.88 g/km (S36)"),
        pytest.param(HARBIN, {"xwlx": "公交"}, (80_000, "luzhou-bus"), id="Harbin's bus: methodology, 80 g (N2)"),
        pytest.param(
            HARBIN, {"xwlx": "地铁"}, (46_000, "beijing-handbook-metro"), id="Harbin's metro: methodology, 46 g (S16)"
        ),
        pytest.param(
            HARBIN, {"xwlx": "无需餐具"}, (23_000, "beijing-handbook-notableware"),
            id="Harbin's meal: methodology, 23 g (S16)",
        ),
        pytest.param(
            HARBIN_DAILY, {"行为类型": "光盘", "里程(公里)": ""}, (144_000, "luzhou-cleanplate"),
            id="Harbin's plate: methodology, 144 g (N2)",
        ),
    ],
)  # fmt: skip
def test_the_methodology_values_it_by_the_figure_it_has_taken(
    apply: Apply, name: str, change: dict[str, Any], expected: tuple[int, str]
) -> None:
    platform = name.split(".")[0]
    assert reference(platform, apply(name, DOCUMENTS[name] | change)) == expected


def test_charging_is_worth_the_lowest_published_figure(apply: Apply) -> None:
    change = {"method": "EV_CHARGE", "amount": "6.5", "unit": "千瓦时"}
    mg, _ = reference("shanxi-green-life", apply(SHANXI, DOCUMENTS[SHANXI] | change))
    assert mg == 2_990_000  # 460 g/kWh (S15): the car kilometres of a kilowatt-hour would be worth more


@pytest.mark.parametrize("name", [LEDGER, HARBIN, HARBIN_DAILY, PLANET, SHANXI, SHANXI_DAILY])
def test_every_way_to_write_a_time_gives_the_same_instant(apply: Apply, name: str) -> None:
    # Local texts, seconds and milliseconds since 1970.
    record = only(apply(name, DOCUMENTS[name]))
    assert (record["start_at"], record["end_at"], record["precision"]) == (BEGIN, END, "second")
    assert record["posted_at"] == at(2026, 10, 5, 17)
    assert record["version"] == 1


@pytest.mark.parametrize(
    ("name", "region", "role"),
    [
        (LEDGER, 110105, "aggregator"), (LUZHOU, 510500, "aggregator"), (HARBIN, 230102, "aggregator"),
        (HARBIN_DAILY, 230102, "aggregator"), (PLANET, 440300, "aggregator"), (SHANXI, 140100, "aggregator"),
        (SHANXI_DAILY, 140100, "aggregator"), (CITIC_DAILY, None, "payment"),
    ],
)  # fmt: skip
def test_where_the_act_was_and_who_tells_of_it(apply: Apply, name: str, region: int | None, role: str) -> None:
    record = only(apply(name, DOCUMENTS[name]))
    assert (record["region"], record["role"]) == (region, role)


def test_what_a_citizen_of_luzhou_shows_is_the_citizens_word(apply: Apply) -> None:
    day = only(apply(LUZHOU, DOCUMENTS[LUZHOU] | STEPS_DAY | {"steps": 8123}))
    assert (day["start_at"], day["end_at"], day["precision"]) == (at(2026, 10, 4, 16), at(2026, 10, 5, 16), "day")
    assert (day["role"], day["behaviour"], day["event_key"]) == ("self_report", "MOB-WALK", None)
    plate = only(apply(LUZHOU, DOCUMENTS[LUZHOU] | PLATE))
    assert (plate["role"], plate["start_at"], plate["end_at"]) == ("self_report", BEGIN, BEGIN)
    still = only(apply(LUZHOU, DOCUMENTS[LUZHOU] | STEPS_DAY | {"behaviorType": "绿色停驶", "carbonReduction": None}))
    assert (still["behaviour"], still["unit"], still["claimed_mg"]) == ("MOB-NODRIVE", "vehicle-day", None)


def test_points_never_become_grams(apply: Apply) -> None:
    poor = only(apply(LUZHOU, DOCUMENTS[LUZHOU] | {"carbonReduction": None, "integral": 10}))
    rich = only(apply(LUZHOU, DOCUMENTS[LUZHOU] | {"carbonReduction": None, "integral": 99_999}))
    assert poor["claimed_mg"] is None
    assert poor == rich


def test_a_ride_of_unknown_length_is_one_ride(apply: Apply) -> None:
    record = only(apply(PLANET, DOCUMENTS[PLANET] | {"mileage": None, "carbonReduction": None}))
    assert (record["quantity_micro"], record["unit"]) == (1_000_000, "trip")


@pytest.mark.parametrize(
    ("name", "change"),
    [
        (LEDGER, {"revision": 2, "entryStatus": "已冲正"}), (LUZHOU, {"flowVersion": 2, "state": 9}),
        (HARBIN, {"bbh": 2, "zt": "作废"}), (HARBIN_DAILY, {"版本号": "2", "状态": "作废"}),
        (PLANET, {"revision": 2, "status": 2}), (SHANXI, {"version": 2, "status": "REFUNDED"}),
        (SHANXI_DAILY, {"version": "2", "status": "撤销"}), (CITIC_DAILY, {"TXN_VER": "2", "TXN_STS": "R"}),
    ],
)  # fmt: skip
def test_an_act_is_taken_back_by_a_later_version(apply: Apply, name: str, change: dict[str, Any]) -> None:
    records = apply(name, DOCUMENTS[name], DOCUMENTS[name] | change).records
    assert records["cancelled"].to_list() == [False, True]
    assert records["version"].to_list() == [1, 2]
    assert records["source_id"].n_unique() == 1


DIRTY: list[tuple[str, dict[str, Any], str]] = [
    (LEDGER, {"behaviorName": "骑行共享电单车"}, "unknown_scene"),
    (LEDGER, {"occurredFrom": "2026-10-05T08:12:03+08:00"}, "bad_time"),  # an offset where the format has none
    (LEDGER, {"bookedAt": 4_000_000_000_000}, "time_ahead"),
    (LEDGER, {"mileageKm": "3.12km"}, "bad_quantity"),
    (LEDGER, {"reductionKg": "1500"}, "claim_out_of_range"),  # grams in a field of kilograms: more than a tonne
    (LEDGER, {"tradeNo": "BJ202610050001\t"}, "bad_source_id"),
    (LUZHOU, {"state": 3}, "unknown_status"),
    (LUZHOU, STEPS_DAY | {"steps": "八千"}, "bad_quantity"),
    (LUZHOU, STEPS_DAY | {"steps": -5}, "negative_quantity"),
    (LUZHOU, STEPS_DAY | {"statDate": "20261005"}, "bad_time"),
    (LUZHOU, {"behaviorTime": ""}, "missing_time"),
    (LUZHOU, {"carbonReduction": "-80"}, "negative_claim"),
    (HARBIN, {"kssj": BEGIN_S}, "time_out_of_range"),  # seconds in a field of milliseconds
    (HARBIN, {"lc": "1,280"}, "bad_quantity"),
    (HARBIN, {"yhbs": "哈尔滨市民"}, "bad_account"),
    (HARBIN, {"xzqh": "990000"}, "bad_region"),
    (HARBIN_DAILY, {"版本号": ""}, "missing_version"),
    (HARBIN_DAILY, {"结束时间": "2026-10-05 07:31:40"}, "end_before_start"),
    (HARBIN_DAILY, {"开始时间": "2026/10/05 08:12:03"}, "bad_time"),
    (HARBIN_DAILY, {"用户标识": ""}, "missing_account"),
    (PLANET, {"boardTime": BEGIN_S * 1000}, "time_out_of_range"),  # milliseconds in a field of seconds
    (PLANET, {"alightTime": ""}, "missing_time"),
    (PLANET, {"travelMode": "FERRY"}, "unknown_scene"),
    (PLANET, {"mileage": True}, "wrong_type"),
    (SHANXI, {"unit": "里"}, "unit_mismatch"),
    (SHANXI, {"unit": None}, "unit_mismatch"),
    (SHANXI, {"method": "EV_CHARGE"}, "unit_mismatch"),  # metres of charging
    (SHANXI, {"method": "COFFEE_CUP"}, "unknown_scene"),
    (SHANXI_DAILY, {"updated_at": "2026-10-06"}, "bad_time"),
    (SHANXI_DAILY, {"distance_m": "3120 "}, "bad_quantity"),
    (SHANXI_DAILY, {"carbon_kg": "0,78"}, "bad_claim"),
    (CITIC_DAILY, {"BIZ_TYPE": "101"}, "unknown_scene"),  # a spreadsheet has eaten the leading zero
    (CITIC_DAILY, {"TXN_ID": "9.001E+17\t"}, "bad_source_id"),
    (CITIC_DAILY, {"TXN_TIME": "20261005083110"}, "bad_time"),
    (CITIC_DAILY, {"TXN_STS": ""}, "missing_status"),
]


@pytest.mark.parametrize(("name", "change", "reason"), DIRTY)
def test_a_dirty_row_is_set_aside_with_its_reason(apply: Apply, name: str, change: dict[str, Any], reason: str) -> None:
    translation = apply(name, DOCUMENTS[name], DOCUMENTS[name] | change, DOCUMENTS[name])
    assert reasons(translation) == [reason]
    assert translation.records["row"].to_list() == [0, 2]


def test_empty_cells_of_a_table_say_nothing(apply: Apply) -> None:
    empty = {"里程(公里)": "", "订单号": "", "支付单号": "", "减排量(克)": "", "更新时间": "", "行政区划": ""}
    record = only(apply(HARBIN_DAILY, DOCUMENTS[HARBIN_DAILY] | empty))
    told = ("quantity_micro", "event_key", "payment_key", "claimed_mg", "posted_at", "region")
    assert [record[name] for name in told] == [None] * 6


TWO_FEEDS = [
    ("beijing-green-life", PUSHED, LEDGER, {}, {}),
    ("harbin-carbon-ice", HARBIN, HARBIN_DAILY, {}, {}),
    ("shanxi-green-life", SHANXI, SHANXI_DAILY, {}, {}),
    ("citic-carbon", CITIC, CITIC_DAILY, {}, {}),
    # A city does not always know the order: then equal content says it.
    ("beijing-green-life", PUSHED, LEDGER, {"orderNo": None, "payNo": None}, {"orderNo": None, "payNo": None}),
    ("harbin-carbon-ice", HARBIN, HARBIN_DAILY, {"ddh": None, "zfdh": None}, {"订单号": "", "支付单号": ""}),
    (
        "shanxi-green-life",
        SHANXI,
        SHANXI_DAILY,
        {"partnerOrderNo": None, "payNo": None},
        {"order_no": "", "pay_no": ""},
    ),
]


@pytest.mark.parametrize(("platform", "first", "second", "change", "other"), TWO_FEEDS)
def test_both_feeds_of_a_platform_tell_of_one_act(
    apply: Apply,
    good: dict[str, dict[str, Any]],
    platform: str,
    first: str,
    second: str,
    change: dict[str, Any],
    other: dict[str, Any],
) -> None:
    documents = good | DOCUMENTS
    pushed, listed = apply(first, documents[first] | change), apply(second, documents[second] | other)
    same = (
        "source_id",
        "version",
        "account",
        "start_at",
        "end_at",
        "behaviour",
        "event_key",
        "payment_key",
        "claimed_mg",
    )
    assert [only(pushed)[name] for name in same] == [only(listed)[name] for name in same]
    decided = verdicts(cleared((platform, pushed), (platform, listed)))
    assert sorted(verdict for verdict, _, _ in decided.values()) == ["counted", "duplicate"]
    assert {rule for _, rule, _ in decided.values()} == {"T1"}


@pytest.mark.parametrize("name", sorted(DOCUMENTS))
def test_personal_fields_do_not_survive(name: str) -> None:
    require_nothing_personal(name, DOCUMENTS[name])
    for personal in ("138****0001", "6217****0001", "小明", "王*", "会展中心", "105.44"):
        assert personal not in kept(name, DOCUMENTS[name])[0]
