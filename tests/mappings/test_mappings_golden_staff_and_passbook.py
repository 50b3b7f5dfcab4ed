"""Golden cases without public figures: staff of two car makers, and a village's passbook, a table in GB18030."""

import base64
import csv
import io
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests_support.golden import at, cleared, kept, only, reasons, reference, require_nothing_personal, verdicts

from connectors.clients.drop_writer import write_drop
from connectors.profiles.file_drop import FileDrop, parse_config
from mappings import Translation

Apply = Callable[..., Translation]

TOYOTA, BAIC, VILLAGE = "toyota-green-drive.staff.v1", "baic-weilan.staff.v1", "zhenhai-green-passbook.passbook.v1"
NOON = at(2026, 10, 5, 4, 20, 5)
DAY, NEXT_DAY = at(2026, 10, 4, 16), at(2026, 10, 5, 16)

DOCUMENTS: dict[str, dict[str, Any]] = {
    TOYOTA: {
        "actionId": "TA-20261005-0001", "rev": 1, "participantId": "tf-000123", "staffNo": "E00917", "staffName": "小明",
        "department": "总装二科", "action": "CLEAN_PLATE", "happenedAt": "2026-10-05T12:20:05", "finishedAt": None,
        "count": None, "witness": "CANTEEN", "rideNo": None, "greenCoins": 5, "state": "CONFIRMED",
        "modifiedAt": "2026-10-05T13:00:00", "cityCode": "120000",
    },
    BAIC: {
        "record_id": "BW20261005000001", "record_ver": "1", "participant": "bw-000123", "emp_no": "B10086",
        "emp_name": "小明", "dept": "研究院", "behavior": "光盘行动", "act_time": "2026-10-05 12:20:00", "act_date": None,
        "doc_count": None, "distance_m": None, "order_no": "", "check_mode": "刷卡", "points": "2", "status": "已审核",
        "update_time": "2026-10-05 18:00:00",
    },
    VILLAGE: {
        "编号": "ZH-2026-000071", "版本": "1", "存折号": "ZH-0312-0027", "户主": "王阿婆", "电话": "138****0001",
        "门牌": "12幢3号", "日期": "2026-10-05", "事项": "可回收物", "重量": "3.5", "单位": "公斤", "积分": "35",
        "兑换物品": "", "状态": "正常", "经办人": "李", "登记日期": "2026-10-06", "备注": "",
    },
}  # fmt: skip

MEETING = {"action": "VIDEO_MEETING", "witness": "MEETING_SYSTEM", "finishedAt": "2026-10-05T13:20:05"}
PAPERLESS_DAY = {
    "behavior": "无纸化办公",
    "act_time": None,
    "act_date": "2026-10-05",
    "doc_count": 12,
    "check_mode": "系统",
}


@pytest.mark.parametrize(
    ("name", "change", "quantity", "unit", "expected"),
    [
        # No programme of the two has published a figure: the hub's methodology is all there is.
        pytest.param(TOYOTA, {}, 1_000_000, "meal", (144_000, "luzhou-cleanplate"), id="Toyota's plate: 144 g (N2)"),
        pytest.param(
            TOYOTA, {"action": "OWN_CUP", "witness": "CHECK_IN"}, 1_000_000, "time", (11_500, "hub-2026-owncup"),
            id="Toyota's cup: 11.5 g (hub-2026)",
        ),
        pytest.param(
            TOYOTA, {"action": "PAPERLESS", "witness": "OFFICE_SYSTEM", "count": 4}, 4_000_000, "doc",
            (10_000, "sheet-of-paper"), id="Toyota's paper: a sheet is 2.5 g (S43)",
        ),
        pytest.param(
            TOYOTA, MEETING, 1_000_000, "meeting", (87_595, "grid-120000-2022-average"),
            id="Toyota's meeting: 2 km of metro (S49) - 0.05 kWh of Tianjin's grid",
        ),
        pytest.param(
            TOYOTA, {"action": "COMMUTE_BUS", "witness": "RIDE_CODE"}, 1_000_000, "trip", (80_000, "luzhou-bus"),
            id="Toyota's bus: 80 g (N2)",
        ),
        pytest.param(
            TOYOTA, {"action": "COMMUTE_METRO", "witness": "RIDE_CODE"}, 1_000_000, "trip",
            (46_000, "beijing-handbook-metro"), id="Toyota's metro: 46 g (S16)",
        ),
        pytest.param(BAIC, {}, 1_000_000, "meal", (144_000, "luzhou-cleanplate"), id="BAIC's plate: 144 g (N2)"),
        pytest.param(
            BAIC, PAPERLESS_DAY, 12_000_000, "doc", (30_000, "sheet-of-paper"),
            id="BAIC's day without paper: 12 x 2.5 g (S43)",
        ),
        pytest.param(
            BAIC, {"behavior": "骑行通勤", "distance_m": "3120", "order_no": "MB7788990011"}, 3_120_000, "km",
            (105_706, "hello-bike"), id="BAIC's bike: 33.88 g/km (S36)",
        ),
        pytest.param(
            BAIC, {"behavior": "自带水杯", "check_mode": "打卡"}, 1_000_000, "time", (11_500, "hub-2026-owncup"),
            id="BAIC's cup: 11.5 g (hub-2026)",
        ),
        pytest.param(
            VILLAGE, {}, 3_500_000, "kg", (224_000, "hub-2026-wastesort"),
            id="Zhenhai: points only, no grams; 64 g/kg (hub-2026)",
        ),
        pytest.param(
            VILLAGE, {"事项": "旧衣物", "重量": "2"}, 2_000_000, "kg", (2_560_000, "luzhou-clothes"),
            id="Zhenhai's clothes: 1,280 g/kg (S13)",
        ),
    ],
)  # fmt: skip
def test_an_act_without_a_public_figure_is_valued_by_the_methodology(
    apply: Apply, name: str, change: dict[str, Any], quantity: int, unit: str, expected: tuple[int, str]
) -> None:
    translation = apply(name, DOCUMENTS[name] | change)
    record = only(translation)
    assert (record["quantity_micro"], record["unit"], record["claimed_mg"]) == (quantity, unit, None)
    assert reference(name.split(".")[0], translation) == expected


def test_who_saw_it_and_how_exactly(apply: Apply) -> None:
    canteen = only(apply(TOYOTA, DOCUMENTS[TOYOTA]))
    assert (canteen["role"], canteen["precision"]) == ("operator", "second")
    assert (canteen["start_at"], canteen["end_at"], canteen["region"]) == (NOON, NOON, 120000)
    tapped = only(apply(TOYOTA, DOCUMENTS[TOYOTA] | {"action": "OWN_CUP", "witness": "CHECK_IN"}))
    assert (tapped["role"], tapped["precision"]) == ("self_report", "minute")
    meeting = only(apply(TOYOTA, DOCUMENTS[TOYOTA] | MEETING))
    assert (meeting["end_at"] - meeting["start_at"]).total_seconds() == 3600
    day = only(apply(BAIC, DOCUMENTS[BAIC] | PAPERLESS_DAY))
    assert (day["start_at"], day["end_at"], day["precision"]) == (DAY, NEXT_DAY, "day")
    assert (day["role"], day["event_key"]) == ("operator", None)


def test_a_commute_with_the_rides_number_is_the_ride_that_others_tell(apply: Apply) -> None:
    commute = {"action": "COMMUTE_METRO", "witness": "RIDE_CODE", "rideNo": "MT261005007", "finishedAt": None}
    staff = {"behavior": "地铁通勤", "order_no": "MT261005007", "check_mode": "打卡"}
    result = cleared(
        ("toyota-green-drive", apply(TOYOTA, DOCUMENTS[TOYOTA] | commute)),
        ("baic-weilan", apply(BAIC, DOCUMENTS[BAIC] | staff)),
    )
    assert len(result.events) == 1
    assert {rule for _, rule, _ in verdicts(result).values()} == {"T2"}


def test_points_of_a_village_are_no_grams(apply: Apply) -> None:
    few = only(apply(VILLAGE, DOCUMENTS[VILLAGE]))
    many = only(apply(VILLAGE, DOCUMENTS[VILLAGE] | {"积分": "99999"}))
    assert few == many
    assert few["claimed_mg"] is None
    assert (few["account"], few["role"], few["region"]) == ("ZH-0312-0027", "operator", 330211)
    assert (few["start_at"], few["end_at"], few["posted_at"]) == (DAY, NEXT_DAY, NEXT_DAY)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        (TOYOTA, {"rev": 2, "state": "WITHDRAWN"}), (BAIC, {"record_ver": "2", "status": "撤回"}),
        (VILLAGE, {"版本": "2", "状态": "作废"}),
    ],
)  # fmt: skip
def test_an_act_is_taken_back_by_a_later_version(apply: Apply, name: str, change: dict[str, Any]) -> None:
    records = apply(name, DOCUMENTS[name], DOCUMENTS[name] | change).records
    assert records["cancelled"].to_list() == [False, True]
    assert records["version"].to_list() == [1, 2]


DIRTY: list[tuple[str, dict[str, Any], str]] = [
    (TOYOTA, {"action": "SMOKING_STOPPED"}, "unknown_scene"),
    (TOYOTA, {"witness": "COLLEAGUE"}, "unknown_role"),
    (TOYOTA, {"happenedAt": "2026-10-05T12:20:05+08:00"}, "bad_time"),
    (TOYOTA, {"finishedAt": "2026-10-05T11:20:05"}, "end_before_start"),
    (TOYOTA, {"action": "PAPERLESS", "count": "4张"}, "bad_quantity"),
    (TOYOTA, {"participantId": None}, "missing_account"),
    (BAIC, PAPERLESS_DAY | {"act_date": ""}, "missing_time"),
    (BAIC, PAPERLESS_DAY | {"doc_count": -1}, "negative_quantity"),
    (BAIC, {"act_time": "12:20"}, "bad_time"),
    (BAIC, {"check_mode": None}, "missing_role"),
    (BAIC, {"status": "待审核"}, "unknown_status"),
    (BAIC, {"record_ver": "1.5"}, "bad_version"),
    (VILLAGE, {"事项": "志愿服务", "重量": "", "单位": ""}, "unknown_scene"),  # a volunteer's hours are no carbon
    (VILLAGE, {"事项": "兑换", "重量": "", "单位": ""}, "unknown_scene"),
    (VILLAGE, {"单位": "斤"}, "unit_mismatch"),
    (VILLAGE, {"单位": ""}, "unit_mismatch"),
    (VILLAGE, {"重量": "三斤半"}, "bad_quantity"),
    (VILLAGE, {"重量": "约3"}, "bad_quantity"),
    (VILLAGE, {"日期": "2026.10.5"}, "bad_time"),
    (VILLAGE, {"日期": "2026-12-24"}, "time_ahead"),
    (VILLAGE, {"存折号": "镇海0312-0027"}, "bad_account"),
    (VILLAGE, {"编号": ""}, "missing_source_id"),
]


@pytest.mark.parametrize(("name", "change", "reason"), DIRTY)
def test_a_dirty_row_is_set_aside_with_its_reason(apply: Apply, name: str, change: dict[str, Any], reason: str) -> None:
    translation = apply(name, DOCUMENTS[name], DOCUMENTS[name] | change, DOCUMENTS[name])
    assert reasons(translation) == [reason]
    assert translation.records["row"].to_list() == [0, 2]


def test_an_entry_without_a_weight_is_worth_nothing(apply: Apply) -> None:
    entry = apply(VILLAGE, DOCUMENTS[VILLAGE] | {"重量": "", "单位": ""})
    assert only(entry)["quantity_micro"] is None
    assert reference("zhenhai-green-passbook", entry)[0] is None
    nothing = apply(VILLAGE, DOCUMENTS[VILLAGE] | {"重量": "0"})
    assert only(nothing)["quantity_micro"] == 0
    assert reference("zhenhai-green-passbook", nothing)[0] == 0


def test_two_bags_of_one_day_are_two_acts(apply: Apply) -> None:
    bags = apply(VILLAGE, DOCUMENTS[VILLAGE], DOCUMENTS[VILLAGE] | {"编号": "ZH-2026-000072"})
    result = cleared(("zhenhai-green-passbook", bags))
    assert result.events["mg"].to_list() == [224_000, 224_000]


@pytest.mark.parametrize("name", sorted(DOCUMENTS))
def test_personal_fields_do_not_survive(name: str) -> None:
    require_nothing_personal(name, DOCUMENTS[name])
    for personal in ("小明", "王阿婆", "E00917", "B10086", "12幢3号", "总装二科"):
        assert personal not in kept(name, DOCUMENTS[name])[0]


@pytest.mark.parametrize("encoding", ["gb18030", "utf-8", "utf-8-sig"])
def test_the_passbook_comes_out_of_its_signed_drop_in_any_encoding(
    apply: Apply, tmp_path: Path, now: datetime, encoding: str
) -> None:
    row, table = DOCUMENTS[VILLAGE], io.StringIO(newline="")
    writer = csv.DictWriter(table, list(row))
    writer.writeheader()
    writer.writerows([row, row | {"编号": "ZH-2026-000072", "事项": "厨余垃圾", "备注": "塑料袋, 已拆"}])
    key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    write_drop(
        tmp_path / "1", {"20261005.csv": (table.getvalue().encode(encoding), 2)}, platform="zhenhai-green-passbook",
        stream="passbook", sequence=1, previous=None, created_at=now, key=key,
    )  # fmt: skip
    config = {
        "root": str(tmp_path), "platform": "zhenhai-green-passbook", "stream": "passbook",
        "public_keys": [base64.b64encode(key.public_key().public_bytes_raw()).decode()],
        "encoding": "gb18030" if encoding == "gb18030" else "utf-8",
    }  # fmt: skip
    (page,) = FileDrop(parse_config(config, {})).fetch(None, None, now=now)
    records = apply(VILLAGE, *page.delivery.rows).records
    assert records["source_id"].to_list() == ["ZH-2026-000071", "ZH-2026-000072"]
    assert records.row(0, named=True) == only(apply(VILLAGE, row))
    assert records["quantity_micro"].to_list() == [3_500_000, 3_500_000]
