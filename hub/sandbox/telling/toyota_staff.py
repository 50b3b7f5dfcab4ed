"""toyota-green-drive tells, beside its cars, of what its staff do at work. Pure."""

from hub.sandbox import acts
from hub.sandbox.outings import OWN_CUP, PAPERLESS
from hub.sandbox.people import Person
from hub.sandbox.registers import TOYOTA
from hub.sandbox.telling.gathered import Line, Row, Teller, local_text, tell_gathered
from hub.sandbox.telling.report import Report
from hub.sandbox.town import Town

STREAM = "staff"
_ACTIONS = {
    acts.CLEAN_PLATE: ("CLEAN_PLATE", "CANTEEN"),
    OWN_CUP: ("OWN_CUP", "CHECK_IN"),
    PAPERLESS: ("PAPERLESS", "OFFICE_SYSTEM"),
    acts.BUS: ("COMMUTE_BUS", "RIDE_CODE"),
    acts.METRO: ("COMMUTE_METRO", "RIDE_CODE"),
}
_RIDES = frozenset({acts.BUS, acts.METRO})


def _write(line: Line) -> Row:
    action, witness = _ACTIONS[line.behaviour]
    return {
        "actionId": line.source_id,
        "rev": line.version,
        "participantId": line.account,
        "staffNo": "E00000",
        "staffName": "丰田员工",
        "department": "总装科",
        "action": action,
        "happenedAt": local_text(line.start_at, "T"),
        "finishedAt": None if line.end_at == line.start_at else local_text(line.end_at, "T"),
        "count": line.quantity_micro // 1_000_000 if line.behaviour == PAPERLESS else None,
        "witness": witness,
        "rideNo": line.order_no if line.behaviour in _RIDES else None,
        "greenCoins": 2,
        "state": "WITHDRAWN" if line.cancelled else "CONFIRMED",
        "modifiedAt": local_text(line.posted_at, "T"),
        "cityCode": line.city_code,
    }


TELLER = Teller(
    platform=TOYOTA,
    stream=STREAM,
    prefix="TA",
    known={acts.CLEAN_PLATE: 0.8, OWN_CUP: 0.8, PAPERLESS: 0.8, acts.BUS: 0.5, acts.METRO: 0.5},
    write=_write,
    malformed={
        "unknown_scene": {"action": "SMOKE_FREE"},
        "unknown_role": {"witness": "COLLEAGUE"},
        "bad_time": {"happenedAt": "2026-10-05T12:20:05+08:00"},
        "missing_account": {"participantId": None},
    },
)


def tell_toyota_staff(town: Town, person: Person) -> list[Report]:
    """Return what the platform pushes of one member of its staff."""
    return tell_gathered(town, person, TELLER)
