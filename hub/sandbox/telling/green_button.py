"""green-button tells a household's meter, block by block, and what its demand-response programme settled. Pure.

A day on which the household saved has a baseline; the others show only what was used, which is no saving.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from hub.sandbox.outings import POWER_SAVE
from hub.sandbox.people import Person
from hub.sandbox.registers import GREEN_BUTTON
from hub.sandbox.telling.report import (
    Edition,
    Note,
    Odds,
    Report,
    acts_told,
    draw_editions,
    is_open,
    json_text,
    report_edition,
    voice_of,
)
from hub.sandbox.town import Town

QUARTERS = 96
_QUARTER_S = 900
_ODDS = Odds(late=0.04, replay=0.03, correction=0.05, cancellation=0.0)


def tell_green_button(town: Town, person: Person) -> list[Report]:
    """Return the blocks of one person's meter, in no particular order."""
    if GREEN_BUTTON not in person.accounts:
        return []
    rng, told = voice_of(town, GREEN_BUTTON, person), []
    for act in acts_told(town, person, frozenset({POWER_SAVE})):
        used, saved = int(rng.uniform(3_000, 12_000)), act.quantity_micro // 1000
        posted_at = act.end_at + timedelta(hours=3)
        for edition in draw_editions(rng, town, posted_at, _ODDS, correctable=True):
            more = 40 if edition.note is Note.CORRECTION else 0  # the meter had not sent everything
            row = _block(person, act.start_at, used + more, edition.posted_at, baseline=used + saved)
            told.append(_report(town, person, act.act_id, row, edition))
    return told + _without_saving(rng, town, person)


def _without_saving(rng: np.random.Generator, town: Town, person: Person) -> list[Report]:
    """Days that must be set aside: no baseline, a gap in the readings, power that flows into the grid."""
    if not is_open(person, GREEN_BUTTON):
        return []
    saved_on = {act.start_at for act in acts_told(town, person, frozenset({POWER_SAVE}))}
    days = [town.starts_at + timedelta(days=offset) for offset in range(town.days)]
    free = [day for day in days if day not in saved_on][:3]
    found = []
    for day, trouble in zip(free, ("no_reduction", "not_final", "no_reduction"), strict=False):
        used, posted_at = int(rng.uniform(3_000, 12_000)), day + timedelta(hours=27)
        row = _block(person, day, used, posted_at, baseline=None)
        if trouble == "not_final":
            row = _block(person, day, used, posted_at, baseline=used + 900, readings=QUARTERS - 8)
        elif day == free[-1]:
            row = _block(person, day, used, posted_at, baseline=None) | {"flow": "19"}
        edition = Edition(version=1, posted_at=posted_at, delivered_at=posted_at, note=Note.DIRTY)
        found.append(replace(_report(town, person, None, row, edition), trouble=trouble))
    return found


def _block(
    person: Person, day: datetime, used_wh: int, posted_at: datetime, *, baseline: int | None, readings: int = QUARTERS
) -> dict[str, Any]:
    """A block as the hub's reader of the format sees it; the feed itself is written by the custodian's voice."""
    start = int(day.timestamp())
    row: dict[str, Any] = {
        "block": f"urn:uuid:{person.index:08d}-0000-4000-8000-{start:012d}",
        "updated": f"{posted_at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "start": start,
        "end": start + QUARTERS * _QUARTER_S,
        "flow": "1",
        "multiplier": 0,
        "interval_s": str(_QUARTER_S),
        "tz_offset_s": "28800",
        "readings": readings,
        "value": used_wh,
        "kwh": _kwh(used_wh),
        "complete": readings == QUARTERS,
    }
    if baseline is not None:
        row["baseline_kwh"] = _kwh(baseline)
        if row["complete"]:
            row["saved_kwh"] = _kwh(max(baseline - used_wh, 0))
    return row


def _kwh(watt_hours: int) -> str:
    return f"{watt_hours // 1000}.{watt_hours % 1000:03d}"


def _report(town: Town, person: Person, act_id: int | None, row: dict[str, Any], edition: Edition) -> Report:
    name = f"{row['block']}|{row['start']}"
    told = report_edition(town, person, edition, platform=GREEN_BUTTON, act=None, source_id=name, body=json_text(row))
    return replace(told, act_id=act_id)
