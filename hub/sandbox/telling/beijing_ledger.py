"""beijing-green-life tells its acts once more, as the lines of its ledger of points: the same numbers, other words. Pure."""

import json
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from hub.sandbox.people import Person
from hub.sandbox.telling.beijing import tell_beijing
from hub.sandbox.telling.gathered import kilograms_or_none, local_text, thousandth_text, unix_ms
from hub.sandbox.telling.report import Note, Report, json_text
from hub.sandbox.town import Town

STREAM = "points_ledger"
_BOOKED_LATER = timedelta(hours=2)
_NAMES = {
    "BIKE": "骑行共享单车",
    "METRO": "乘坐地铁",
    "BUS": "乘坐公交",
    "NO_TABLEWARE": "外卖无需餐具",
    "EWAYBILL": "使用电子面单",
    "CLEAN_PLATE": "光盘行动",
}


def tell_beijing_ledger(town: Town, person: Person) -> list[Report]:
    """Return the lines of one person's ledger: every version of an act once, some hours after it was pushed."""
    told = [row for row in tell_beijing(town, person) if row.trouble is None and row.note is not Note.REPLAY]
    return [_line(town, row) for row in told]


def _line(town: Town, pushed: Report) -> Report:
    booked_at = pushed.delivered_at + _BOOKED_LATER
    row = _row(json.loads(pushed.body), pushed, booked_at)
    return replace(pushed, stream=STREAM, body=json_text(row), delivered_at=booked_at, part=town.part_of(booked_at))


def _row(act: dict[str, Any], pushed: Report, booked_at: datetime) -> dict[str, Any]:
    claimed_mg = None if act["carbonReduction"] is None else pushed.claimed_mg
    return {
        "ledgerId": f"PL{pushed.source_id[2:]}{pushed.version:02d}",
        "tradeNo": act["tradeNo"],
        "revision": act["ver"],
        "memberId": act["memberId"],
        "mobile": act["mobile"],
        "nickname": act["nickname"],
        "behaviorName": _NAMES[act["scene"]],
        "occurredFrom": local_text(datetime.fromisoformat(act["beginTime"])),
        "occurredTo": local_text(datetime.fromisoformat(act["endTime"])),
        "mileageKm": None if act["distance"] is None else thousandth_text(act["distance"]),
        "orderNo": act["orderNo"],
        "payNo": act["payNo"],
        "reductionKg": kilograms_or_none(claimed_mg),
        "points": 0 if claimed_mg is None else claimed_mg // 10_000,
        "entryStatus": "已冲正" if act["status"] == "CANCELLED" else "已入账",
        "bookedAt": unix_ms(booked_at),
        "districtCode": act["cityCode"],
    }
