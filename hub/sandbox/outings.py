"""What some people do besides commuting: car trips, shared rides, walks by the map, recycling, saving power. Pure.

Each kind has dice of its own, so that a person's commutes and meals are the same whatever is added here. Trips lie in the
early afternoon, when nobody commutes: no two trips of a person overlap.
"""

from collections.abc import Callable
from datetime import date, datetime, timedelta

import numpy as np

from hub.sandbox.people import Person, generator_of
from hub.sandbox.registers import dice_of

EV_DRIVE, NO_DRIVE, CARPOOL, WALK_TRIP = "MOB-EV", "MOB-NODRIVE", "MOB-CARPOOL", "MOB-WALK/trip"
RECYCLE, WASTE_SORT, POWER_SAVE = "CLO-RECYCLE", "HOME-WASTESORT", "HOME-POWERSAVE"
OWN_CUP, PAPERLESS = "FOOD-OWNCUP", "OFF-PAPERLESS"

_MICRO = 1_000_000
Note = Callable[[str, datetime, datetime, int], None]
"""(kind, start, end, quantity in millionths): writes an act into the person's diary."""


def outings_of(
    seed: int, person: Person, first_day: date, days: int, at: Callable[[date, float], datetime], note: Note
) -> None:
    """Write a person's outings of the month into the diary, day by day."""
    for offset in range(days):
        day = first_day + timedelta(days=offset)
        rng = generator_of(seed, dice_of("outings"), person.index, offset)
        drove = _afternoon(rng, at(day, rng.uniform(13.4, 14.4)), note)
        _at_home(rng, day, at, note)
        if not drove:
            note(NO_DRIVE, at(day, 0), at(day, 24), _MICRO)


def _afternoon(rng: np.random.Generator, start: datetime, note: Note) -> bool:
    """At most one trip; returns whether it was by the person's own car."""
    draw = rng.random()
    metres, walked = int(rng.uniform(2_000, 32_000)), int(rng.uniform(700, 4_500))
    if draw < 0.22:
        note(EV_DRIVE, start, start + timedelta(seconds=int(metres / rng.uniform(6.5, 11.0))), metres * 1000)
        return True
    if draw < 0.34:
        note(CARPOOL, start, start + timedelta(seconds=int(metres / rng.uniform(6.0, 10.0))), metres * 1000)
    elif draw < 0.48:
        note(WALK_TRIP, start, start + timedelta(seconds=int(walked / rng.uniform(1.1, 1.5))), walked * 1000)
    return False


def _at_home(rng: np.random.Generator, day: date, at: Callable[[date, float], datetime], note: Note) -> None:
    recycles, sorts, saves, cup, paper = rng.random(5)
    grams, waste, watt_hours = (int(rng.uniform(*span)) for span in ((400, 6_000), (300, 3_500), (150, 1_800)))
    hours = rng.uniform(8.0, 11.0, 4)
    for kind, happens, hour, quantity in (
        (RECYCLE, recycles < 0.05, hours[0] + 9, grams * 1000),
        (WASTE_SORT, sorts < 0.25, hours[1], waste * 1000),
        (OWN_CUP, cup < 0.10, hours[2], _MICRO),
        (PAPERLESS, paper < 0.12, hours[3] + 1, _MICRO),
    ):
        if happens:
            note(kind, at(day, hour), at(day, hour), quantity)
    if saves < 0.30:
        note(POWER_SAVE, at(day, 0), at(day, 24), watt_hours * 1000)
