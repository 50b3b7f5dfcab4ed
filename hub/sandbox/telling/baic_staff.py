"""baic-weilan tells, beside its cars, of what its staff do at work. Pure."""

from hub.sandbox import acts
from hub.sandbox.outings import OWN_CUP, PAPERLESS
from hub.sandbox.people import Person
from hub.sandbox.registers import BAIC
from hub.sandbox.telling.gathered import Line, Row, Teller, day_text, local_text, tell_gathered
from hub.sandbox.telling.report import Odds, Report
from hub.sandbox.town import Town

STREAM = "staff"
_BEHAVIOURS = {
    acts.CLEAN_PLATE: ("光盘行动", "刷卡"),
    OWN_CUP: ("自带水杯", "打卡"),
    PAPERLESS: ("无纸化办公", "系统"),
    acts.BUS: ("公交通勤", "打卡"),
    acts.BIKE: ("骑行通勤", "打卡"),
}


def _write(line: Line) -> Row:
    behaviour, check_mode = _BEHAVIOURS[line.behaviour]
    paperless = line.behaviour == PAPERLESS
    return {
        "record_id": line.source_id,
        "record_ver": str(line.version),
        "participant": line.account,
        "emp_no": "B00000",
        "emp_name": "北汽员工",
        "dept": "研究院",
        "behavior": behaviour,
        "act_time": None if paperless else f"{local_text(line.start_at)[:-2]}00",  # the app knows the minute
        "act_date": day_text(line.start_at) if paperless else None,
        "doc_count": line.quantity_micro // 1_000_000 if paperless else None,
        "distance_m": line.metres if line.behaviour == acts.BIKE else None,
        "order_no": line.order_no if line.behaviour in (acts.BUS, acts.BIKE) else None,
        "check_mode": check_mode,
        "points": 2,
        "status": "撤回" if line.cancelled else "已审核",
        "update_time": local_text(line.posted_at),
    }


TELLER = Teller(
    platform=BAIC,
    stream=STREAM,
    prefix="BW",
    known={acts.CLEAN_PLATE: 0.8, OWN_CUP: 0.8, PAPERLESS: 0.8, acts.BUS: 0.5, acts.BIKE: 0.5},
    write=_write,
    instants={acts.BUS: False, acts.BIKE: False},
    odds=Odds(correction=0.0),
    malformed={
        "unknown_scene": {"behavior": "节约用水"},
        "unknown_status": {"status": "待审核"},
        "bad_time": {"act_time": "12:20"},
        "missing_role": {"check_mode": None},
    },
)


def tell_baic_staff(town: Town, person: Person) -> list[Report]:
    """Return what the platform pushes of one member of its staff."""
    return tell_gathered(town, person, TELLER)
