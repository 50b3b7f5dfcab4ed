"""harbin-carbon-ice tells of rides, meals and plates, by push and again in the table of the day. Pure.

The city publishes no figures: what it claims here is what the methodology of the hub might say, in kilograms.
"""

from datetime import timedelta

from hub.sandbox import acts
from hub.sandbox.people import Person
from hub.sandbox.registers import HARBIN
from hub.sandbox.telling.gathered import (
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
    unix_ms,
)
from hub.sandbox.telling.report import Report
from hub.sandbox.town import Town

_WORDS = {
    acts.BIKE: "共享单车",
    acts.BUS: "公交",
    acts.METRO: "地铁",
    acts.NO_TABLEWARE: "无需餐具",
    acts.CLEAN_PLATE: "光盘",
}
_CLAIM_MG = {acts.BUS: 80_000, acts.METRO: 46_000, acts.NO_TABLEWARE: 23_000, acts.CLEAN_PLATE: 144_000}
_BIKE_MG_PER_METRE = 40


def _claim(line: Line) -> int:
    return line.metres * _BIKE_MG_PER_METRE if line.behaviour == acts.BIKE else _CLAIM_MG[line.behaviour]


def _write(line: Line) -> Row:
    return {
        "lsh": line.source_id,
        "bbh": line.version,
        "yhbs": line.account,
        "sjh": "138****0000",
        "xm": "冰城市民",
        "xwlx": _WORDS[line.behaviour],
        "kssj": unix_ms(line.start_at),
        "jssj": unix_ms(line.end_at),
        "lc": line.metres if line.behaviour == acts.BIKE else None,
        "ddh": line.order_no,
        "zfdh": line.pay_no,
        "jpl": kilograms_or_none(line.claim_mg),
        "jf": 2,
        "zt": "作废" if line.cancelled else "有效",
        "gxsj": unix_ms(line.posted_at),
        "xzqh": line.city_code,
    }


def _write_table(line: Line) -> Row:
    return cells(
        {
            "流水号": line.source_id,
            "版本号": line.version,
            "用户标识": line.account,
            "手机号": "138****0000",
            "姓名": "冰城市民",
            "行为类型": _WORDS[line.behaviour],
            "开始时间": local_text(line.start_at),
            "结束时间": local_text(line.end_at),
            "里程(公里)": thousandth_text(line.metres) if line.behaviour == acts.BIKE else None,
            "订单号": line.order_no,
            "支付单号": line.pay_no,
            "减排量(克)": grams_or_none(line.claim_mg),
            "积分": 2,
            "状态": "作废" if line.cancelled else "有效",
            "更新时间": local_text(line.posted_at),
            "行政区划": line.city_code,
            "备注": None,
        }
    )


TELLER = Teller(
    platform=HARBIN,
    prefix="HRB",
    known={acts.BIKE: 0.9, acts.BUS: 0.9, acts.METRO: 0.9, acts.NO_TABLEWARE: 1.0, acts.CLEAN_PLATE: 1.0},
    write=_write,
    claim=_claim,
    malformed={
        "time_out_of_range": {"kssj": 1_790_000_000},  # seconds where milliseconds belong
        "bad_quantity": {"lc": "1,800"},
        "unknown_scene": {"xwlx": "滑冰"},
        "bad_region": {"xzqh": "999999"},
        "missing_account": {"yhbs": None},
    },
)


def tell_harbin(town: Town, person: Person) -> list[Report]:
    """Return what the platform pushes of one person."""
    return tell_gathered(town, person, TELLER)


def tell_harbin_daily(town: Town, person: Person) -> list[Report]:
    """Return what its daily tables have of one person: the same acts."""
    return tell_again(town, person, TELLER, "daily", _write_table, later=timedelta(hours=3))
