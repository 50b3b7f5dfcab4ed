"""zhenhai-green-passbook tells, beside its machines, of what the village's exchange point writes into passbooks. Pure."""

from hub.sandbox.outings import RECYCLE, WASTE_SORT
from hub.sandbox.people import Person
from hub.sandbox.registers import ZHENHAI
from hub.sandbox.telling.gathered import Line, Row, Teller, cells, day_text, tell_gathered, thousandth_text
from hub.sandbox.telling.report import Odds, Report
from hub.sandbox.telling.zhenhai import is_at_machine
from hub.sandbox.town import Town

STREAM = "passbook"
_KINDS = {WASTE_SORT: "可回收物", RECYCLE: "旧衣物"}


def _write(line: Line) -> Row:
    grams = line.quantity_micro // 1000
    return cells(
        {
            "编号": line.source_id,
            "版本": line.version,
            "存折号": line.account,
            "户主": "镇海人家",
            "电话": "138****0000",
            "门牌": "1幢1号",
            "日期": day_text(line.start_at),
            "事项": _KINDS[line.behaviour],
            "重量": thousandth_text(grams),
            "单位": "公斤",
            "积分": grams // 100,
            "兑换物品": None,
            "状态": "作废" if line.cancelled else "正常",
            "经办人": "老李",
            "登记日期": day_text(line.posted_at),
            "备注": None,
        }
    )


TELLER = Teller(
    platform=ZHENHAI,
    stream=STREAM,
    prefix="ZHB",
    known={WASTE_SORT: 1.0, RECYCLE: 1.0},
    write=_write,
    odds=Odds(correction=0.0),
    tells=lambda act: not is_at_machine(act),
    malformed={
        "unit_mismatch": {"单位": "斤"},
        "unknown_scene": {"事项": "志愿服务", "重量": "", "单位": ""},
        "bad_time": {"日期": "2026.10.5"},
        "bad_quantity": {"重量": "约三公斤"},
    },
)


def tell_zhenhai_passbook(town: Town, person: Person) -> list[Report]:
    """Return what the village's tables have of one person."""
    return tell_gathered(town, person, TELLER)
