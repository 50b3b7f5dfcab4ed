"""shanxi-green-life tells of bike rides, charging and meals of its partners, by push and again in the day's table. Pure."""

from datetime import timedelta

from hub.sandbox import acts
from hub.sandbox.people import Person
from hub.sandbox.registers import SHANXI
from hub.sandbox.telling.gathered import (
    BIKE_G_KM,
    CHARGE_G_KWH,
    Line,
    Row,
    Teller,
    cells,
    grams_or_none,
    kilograms_or_none,
    local_text,
    tell_again,
    tell_gathered,
    thousandth_text,
)
from hub.sandbox.telling.report import Report
from hub.sandbox.town import Town

_METHODS = {
    acts.BIKE: ("BIKE_RIDE", "骑行", "MEITUAN"),
    acts.CHARGE: ("EV_CHARGE", "充电", "KUAIDIAN"),
    acts.NO_TABLEWARE: ("GREEN_TAKE_OUT", "无需餐具", "ELEME"),
}
_MEAL_MG = 45_720


def _claim(line: Line) -> int:
    """Return milligrams as the city values: 250 g/km, 460 g/kWh, 45.72 g a meal."""
    if line.behaviour == acts.BIKE:
        return line.metres * BIKE_G_KM
    return line.quantity_micro // 1000 * CHARGE_G_KWH if line.behaviour == acts.CHARGE else _MEAL_MG


def _amount(line: Line) -> tuple[str, str]:
    """Metres or kilometres, as each partner counts; both occur."""
    if line.behaviour == acts.CHARGE:
        return thousandth_text(line.quantity_micro // 1000), "度"
    if line.behaviour == acts.NO_TABLEWARE:
        return "1", "单"
    return (str(line.metres), "米") if line.metres % 2 else (thousandth_text(line.metres), "公里")


def _write(line: Line) -> Row:
    method, _, partner = _METHODS[line.behaviour]
    amount, unit = _amount(line)
    return {
        "tradeNo": line.source_id,
        "version": line.version,
        "memberNo": line.account,
        "mobile": "138****0000",
        "memberName": "晋人",
        "method": method,
        "beginTime": local_text(line.start_at),
        "endTime": local_text(line.end_at),
        "amount": amount,
        "unit": unit,
        "partner": partner,
        "partnerOrderNo": line.order_no,
        "payNo": line.pay_no,
        "carbon": grams_or_none(line.claim_mg),
        "points": 3,
        "status": "REVOKED" if line.cancelled else "SUCCESS",
        "notifyTime": local_text(line.posted_at),
        "cityCode": line.city_code,
    }


def _write_table(line: Line) -> Row:
    charged = line.behaviour == acts.CHARGE
    return cells(
        {
            "trade_no": line.source_id,
            "version": line.version,
            "member_no": line.account,
            "member_name": "晋人",
            "mobile": "138****0000",
            "scene": _METHODS[line.behaviour][1],
            "begin_time": local_text(line.start_at),
            "end_time": local_text(line.end_at),
            "distance_m": line.metres if line.behaviour == acts.BIKE else None,
            "energy_kwh": thousandth_text(line.quantity_micro // 1000) if charged else None,
            "order_no": line.order_no,
            "pay_no": line.pay_no,
            "carbon_kg": kilograms_or_none(line.claim_mg),
            "points": 3,
            "status": "撤销" if line.cancelled else "成功",
            "updated_at": local_text(line.posted_at),
            "city_code": line.city_code,
            "remark": None,
        }
    )


TELLER = Teller(
    platform=SHANXI,
    prefix="SJ",
    known={acts.BIKE: 0.9, acts.CHARGE: 0.85, acts.NO_TABLEWARE: 1.0},
    write=_write,
    claim=_claim,
    malformed={
        "unit_mismatch": {"unit": "里"},
        "unknown_scene": {"method": "COFFEE_CUP"},
        "end_before_start": {"endTime": "2019-10-05 08:00:00"},
        "negative_quantity": {"amount": "-1800"},
        "missing_time": {"beginTime": ""},
    },
)


def tell_shanxi(town: Town, person: Person) -> list[Report]:
    """Return what the platform pushes of one person."""
    return tell_gathered(town, person, TELLER)


def tell_shanxi_daily(town: Town, person: Person) -> list[Report]:
    """Return what its daily tables have of one person: the same acts."""
    return tell_again(town, person, TELLER, "daily", _write_table, later=timedelta(hours=4))
