"""ewaybill tells of parcels twice: its mini-program's waybills, and the labels that it printed elsewhere. Pure.

A parcel is known to the one, to the other, or to both: then the same waybill is told in two forms.
"""

from datetime import datetime, timedelta
from typing import Any

import numpy as np

from hub.sandbox import acts
from hub.sandbox.acts import Act
from hub.sandbox.people import Person
from hub.sandbox.registers import EWAYBILL
from hub.sandbox.telling.gathered import local_text, source_no, unix_s
from hub.sandbox.telling.report import (
    Edition,
    Note,
    Odds,
    Report,
    acts_told,
    draw_editions,
    draw_skew,
    is_open,
    json_text,
    report_edition,
    voice_of,
)
from hub.sandbox.town import Town

LABELS = "kuaidi100_labels"
ORDERED, AGAIN, CANCELLED = "order", "printOld", "cancel"
_KNOWN, _LABELLED = 0.7, 0.5
_ODDS = Odds(correction=0.0, cancellation=0.03)
_REPRINT_ODDS = Odds(correction=0.06, cancellation=0.03)
_MALFORMED_ODDS = 0.2
_SPOILT_WAYBILLS: dict[str, dict[str, Any]] = {
    "unknown_status": {"order_status": 3},
    "missing_time": {"create_time": None},
    "bad_region": {"region": 999_999},
}
_SPOILT_LABELS: dict[str, dict[str, Any]] = {
    "bad_time": {"printTime": "5 Oct 2026"},
    "time_ahead": {"printTime": "2090-10-05 08:54:30"},
}


def tell_waybills(town: Town, person: Person) -> list[Report]:
    """Return the waybills of one person's parcels, in no particular order."""
    if EWAYBILL not in person.accounts:
        return []
    rng, told = voice_of(town, EWAYBILL, person), []
    for act in acts_told(town, person, frozenset({acts.EWAYBILL})):
        known = rng.random() < _KNOWN
        posted_at = act.end_at + timedelta(seconds=int(rng.integers(5, 90)))
        editions = draw_editions(rng, town, posted_at, _ODDS, correctable=False)
        if known:
            told += [_waybill(town, person, act, act.order_no, act.start_at, edition) for edition in editions]
    return told + _malformed_waybill(rng, town, person)


def tell_labels(town: Town, person: Person) -> list[Report]:
    """Return the labels of one person's parcels, in no particular order."""
    if EWAYBILL not in person.accounts:
        return []
    rng, told = voice_of(town, EWAYBILL, person, LABELS), []
    for act in acts_told(town, person, frozenset({acts.EWAYBILL})):
        known, skew = rng.random() < _LABELLED, draw_skew(rng, spread_s=9, limit_s=30)
        posted_at = act.end_at + timedelta(seconds=int(rng.integers(40, 300)))
        editions = draw_editions(rng, town, posted_at, _REPRINT_ODDS, correctable=True)
        if known:
            told += [_label(town, person, act, act.order_no, act.start_at + skew, edition) for edition in editions]
    return told + _malformed_label(rng, town, person)


def _waybill(
    town: Town,
    person: Person,
    act: Act | None,
    number: str,
    made_at: datetime,
    edition: Edition,
    spoilt: dict[str, Any] | None = None,
    trouble: str | None = None,
) -> Report:
    order = {
        "order_id": f"{number}-o",
        "openid": person.accounts[EWAYBILL],
        "delivery_id": "SF",
        "waybill_id": f"{number[:4]} {number[4:8]}-{number[8:]}",  # as it stands on the label
        "order_status": int(edition.note is Note.CANCELLATION),
        "create_time": unix_s(made_at),
        "region": int(person.city_code),
        "receiver": {"name": f"收件人{person.index}", "mobile": f"184{person.index:08d}"},
        "waybill_data": [{"key": "SF_bagAddr", "value": "广州"}],
    } | (spoilt or {})
    row = {"waybill": f"SF:{number}", "number": number, "order": order}
    return report_edition(
        town, person, edition, platform=EWAYBILL, act=act, source_id=f"SF:{number}", trouble=trouble,
        body=json_text(row), lines=(json_text(order),),
    )  # fmt: skip


def _label(
    town: Town,
    person: Person,
    act: Act | None,
    number: str,
    printed_at: datetime,
    edition: Edition,
    spoilt: dict[str, Any] | None = None,
    trouble: str | None = None,
) -> Report:
    method = {Note.CORRECTION: AGAIN, Note.CANCELLATION: CANCELLED}.get(edition.note, ORDERED)
    param = {
        "kuaidicom": "shunfeng",
        "kuaidinum": number.lower(),
        "orderId": f"{number}-k",
        "UserId": person.accounts[EWAYBILL],
        "printTime": local_text(printed_at),
        "region": int(person.city_code),
        "recMan": {"name": f"收件人{person.index}", "mobile": f"184{person.index:08d}"},
        "cargo": "书",
        "reorder": False,
    } | (spoilt or {})
    row = {"waybill": f"SF:{number}", "number": number, "method": method, "param": param}
    return report_edition(
        town, person, edition, platform=EWAYBILL, act=act, source_id=f"SF:{number}", trouble=trouble,
        body=json_text(row), lines=(method, json_text(param)), stream=LABELS,
    )  # fmt: skip


def _malformed_waybill(rng: np.random.Generator, town: Town, person: Person) -> list[Report]:
    wanted, number, made_at, edition = _extra(rng, town, person, 9000)
    if not wanted:
        return []
    trouble = tuple(_SPOILT_WAYBILLS)[person.index % len(_SPOILT_WAYBILLS)]
    return [_waybill(town, person, None, number, made_at, edition, _SPOILT_WAYBILLS[trouble], trouble)]


def _malformed_label(rng: np.random.Generator, town: Town, person: Person) -> list[Report]:
    wanted, number, made_at, edition = _extra(rng, town, person, 9500)
    if not wanted:
        return []
    trouble = tuple(_SPOILT_LABELS)[person.index % len(_SPOILT_LABELS)]
    return [_label(town, person, None, number, made_at, edition, _SPOILT_LABELS[trouble], trouble)]


def _extra(rng: np.random.Generator, town: Town, person: Person, number: int) -> tuple[bool, str, datetime, Edition]:
    draw, hours = rng.random(), float(rng.uniform(6, town.days * 24 - 6))
    made_at = town.starts_at + timedelta(seconds=int(hours * 3600))
    told_at = made_at + timedelta(seconds=30)
    edition = Edition(version=1, posted_at=told_at, delivered_at=told_at, note=Note.MALFORMED)
    wanted = is_open(person, EWAYBILL) and (draw < _MALFORMED_ODDS or person.index == 1)
    return wanted, source_no(town, person, "SF", made_at, number), made_at, edition
