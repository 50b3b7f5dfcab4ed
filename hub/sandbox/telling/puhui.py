"""green-puhui-cloud tells of other platforms' acts: it sees none of them itself, and names where each comes from. Pure."""

from hub.sandbox import acts
from hub.sandbox.people import Person
from hub.sandbox.registers import PUHUI
from hub.sandbox.telling.gathered import (
    BIKE_G_KM,
    CHARGE_G_KWH,
    Line,
    Row,
    Teller,
    grams_or_none,
    tell_gathered,
    thousandth_text,
    unix_ms,
)
from hub.sandbox.telling.report import Report
from hub.sandbox.town import Town

_ORIGINS = {
    acts.BIKE: ("共享单车骑行", "MEITUAN_BIKE"),
    acts.METRO: ("地铁出行", "CITY_METRO"),
    acts.BUS: ("公交出行", "CITY_BUS"),
    acts.CHARGE: ("新能源车充电", "KUAIDIAN"),
    acts.NO_TABLEWARE: ("无需餐具", "ELEME"),
    acts.EWAYBILL: ("电子面单", "CAINIAO"),
    acts.CLEAN_PLATE: ("光盘行动", "CITY_CHECK_IN"),
    acts.WALK: ("步行", "WECHAT_SPORTS"),
}
_CLAIM_MG = {
    acts.METRO: 46_000,
    acts.BUS: 80_000,
    acts.NO_TABLEWARE: 45_720,
    acts.EWAYBILL: 5_000,
    acts.CLEAN_PLATE: 144_000,
}


def _claim(line: Line) -> int:
    """Return milligrams by the figures of the cities that it computes for."""
    if line.behaviour == acts.BIKE:
        return line.metres * BIKE_G_KM
    if line.behaviour == acts.CHARGE:
        return line.quantity_micro // 1000 * CHARGE_G_KWH
    if line.behaviour == acts.WALK:
        return line.quantity_micro // 1_000_000 * 164 // 10  # 8.2 g for 500 steps
    return _CLAIM_MG[line.behaviour]


def _activity(line: Line) -> tuple[str, str]:
    if line.behaviour == acts.BIKE:
        return thousandth_text(line.metres), "km"
    if line.behaviour == acts.CHARGE:
        return str(line.quantity_micro // 1000), "Wh"
    if line.behaviour == acts.WALK:
        return str(line.quantity_micro // 1_000_000), "step"
    return "1", "time"


def _write(line: Line) -> Row:
    behaviour, origin = _ORIGINS[line.behaviour]
    amount, unit = _activity(line)
    return {
        "recordNo": line.source_id,
        "recordVer": line.version,
        "openUserId": line.account,
        "mobile": "138****0000",
        "nickName": "绿普惠用户",
        "originPlatform": origin,
        "originTradeNo": None if line.behaviour == acts.WALK else line.order_no,
        "originPayNo": line.pay_no,
        "behavior": behaviour,
        "startTs": unix_ms(line.start_at),
        "endTs": unix_ms(line.end_at),
        "activityData": amount,
        "activityUnit": unit,
        "reductionGram": grams_or_none(line.claim_mg),
        "points": 1,
        "state": "REVOKED" if line.cancelled else "VALID",
        "regionCode": line.city_code,
        "syncTs": unix_ms(line.posted_at),
    }


TELLER = Teller(
    platform=PUHUI,
    prefix="PH",
    known=dict.fromkeys(_ORIGINS, 0.6),
    write=_write,
    claim=_claim,
    keys=(0.9, 0.6),  # it lives of knowing where an act comes from
    malformed={
        "unit_mismatch": {"activityUnit": "li"},
        "unknown_scene": {"behavior": "云植树"},
        "bad_time": {"startTs": "2026-10-05 08:00:00"},
        "bad_key": {"originTradeNo": "9" * 200 + "8" * 200},
        "unknown_status": {"state": "PENDING"},
    },
)


def tell_puhui(town: Town, person: Person) -> list[Report]:
    """Return what the platform delivers of one person."""
    return tell_gathered(town, person, TELLER)
