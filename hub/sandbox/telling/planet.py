"""shenzhen-low-carbon-planet tells of rides by the ride code of its mini-program, valued by the kilometre. Pure."""

from hub.sandbox import acts
from hub.sandbox.people import Person
from hub.sandbox.registers import PLANET
from hub.sandbox.telling.gathered import (
    Line,
    Row,
    Teller,
    grams_or_none,
    tell_gathered,
    thousandth_text,
    unix_ms,
    unix_s,
)
from hub.sandbox.telling.report import Report
from hub.sandbox.town import Town

_MODES = {acts.METRO: "METRO", acts.BUS: "ELECTRIC_BUS"}
_MG_PER_TEN_METRES = {acts.METRO: 467, acts.BUS: 269}  # 46.7 and 26.9 g/km


def _claim(line: Line) -> int:
    return line.metres // 10 * _MG_PER_TEN_METRES[line.behaviour]


def _write(line: Line) -> Row:
    bus = line.behaviour == acts.BUS
    return {
        "recordId": line.source_id,
        "revision": line.version,
        "openId": line.account,
        "nickName": "低碳星人",
        "phoneNumber": "138****0000",
        "travelMode": _MODES[line.behaviour],
        "boardTime": unix_s(line.start_at),
        "alightTime": None if bus else unix_s(line.end_at),
        "mileage": thousandth_text(line.metres),
        "rideNo": line.order_no,
        "transactionId": line.pay_no,
        "carbonReduction": grams_or_none(line.claim_mg),
        "points": 5,
        "status": 2 if line.cancelled else 0,
        "modifyTime": unix_ms(line.posted_at),
    }


TELLER = Teller(
    platform=PLANET,
    prefix="LCP",
    known={acts.METRO: 0.7, acts.BUS: 0.7},
    write=_write,
    claim=_claim,
    malformed={
        "unknown_scene": {"travelMode": "FERRY"},
        "time_out_of_range": {"boardTime": 1_790_000_000_000},  # milliseconds where seconds belong
        "bad_quantity": {"mileage": "3公里"},
        "unknown_status": {"status": 7},
    },
)


def tell_planet(town: Town, person: Person) -> list[Report]:
    """Return what the platform lists of one person."""
    return tell_gathered(town, person, TELLER)
