"""luzhou-green-bud tells of plates, bus rides, steps and clothes: grams that the city publishes, and points. Pure."""

from hub.sandbox import acts
from hub.sandbox.outings import NO_DRIVE, RECYCLE
from hub.sandbox.people import Person
from hub.sandbox.registers import LUZHOU
from hub.sandbox.telling.gathered import (
    Line,
    Row,
    Teller,
    day_text,
    grams_or_none,
    local_text,
    tell_gathered,
    thousandth_text,
)
from hub.sandbox.telling.report import Report
from hub.sandbox.town import Town

_WORDS = {
    acts.BUS: "扫码乘公交",
    acts.CLEAN_PLATE: "光盘行动",
    acts.WALK: "步行",
    NO_DRIVE: "绿色停驶",
    RECYCLE: "旧衣回收",
}
_DAYS = frozenset({acts.WALK, NO_DRIVE})
_POINTS = {acts.BUS: 10, acts.CLEAN_PLATE: 5, acts.WALK: 1, NO_DRIVE: 20, RECYCLE: 30}


# Tenths of a milligram for one: 80 g a ride, 144 g a plate, 8.2 g for 500 steps, 1,280 g for a kilogram.
_TENTHS_MG = {acts.BUS: 800_000, acts.CLEAN_PLATE: 1_440_000, acts.WALK: 164, RECYCLE: 12_800_000, NO_DRIVE: 0}


def _claim(line: Line) -> int:
    """Return milligrams as the city values; a day without the car earns points only."""
    return line.quantity_micro * _TENTHS_MG[line.behaviour] // 10_000_000


def _write(line: Line) -> Row:
    day = line.behaviour in _DAYS
    return {
        "flowNo": line.source_id,
        "flowVersion": line.version,
        "userId": line.account,
        "mobile": "138****0000",
        "nickName": "绿芽",
        "behaviorType": _WORDS[line.behaviour],
        "behaviorTime": None if day else local_text(line.start_at),
        "statDate": day_text(line.start_at) if day else None,
        "steps": line.quantity_micro // 1_000_000 if line.behaviour == acts.WALK else None,
        "weight": thousandth_text(line.quantity_micro // 1000) if line.behaviour == RECYCLE else None,
        "orderNo": line.order_no if line.behaviour == acts.BUS else None,
        "payNo": line.pay_no,
        "carbonReduction": None if line.behaviour == NO_DRIVE else grams_or_none(line.claim_mg),
        "integral": _POINTS[line.behaviour],
        "state": 9 if line.cancelled else 1,
        "updateTime": local_text(line.posted_at),
    }


TELLER = Teller(
    platform=LUZHOU,
    prefix="LYJF",
    known={acts.BUS: 0.9, acts.CLEAN_PLATE: 1.0, acts.WALK: 0.8, NO_DRIVE: 0.2, RECYCLE: 1.0},
    write=_write,
    claim=_claim,
    malformed={
        "bad_time": {"behaviorTime": "2026-10-05 24:61:00"},
        "unknown_scene": {"behaviorType": "植树造林"},
        "unknown_status": {"state": 5},
        "bad_claim": {"carbonReduction": "八十克"},
        "time_ahead": {"behaviorTime": "2090-10-05 08:00:00"},
    },
)


def tell_luzhou(town: Town, person: Person) -> list[Report]:
    """Return what the platform delivers of one person."""
    return tell_gathered(town, person, TELLER)
