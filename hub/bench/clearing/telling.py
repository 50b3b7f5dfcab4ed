"""What platforms say about acts: who saw them, by which clock, with which keys and amounts. Pure.

Reports are one structured array, `REPORT`: the columns of a record as codes and numbers, and which act it tells of.
"""

import numpy as np
import numpy.typing as npt

from hub.bench.clearing.acts import (
    ACT,
    CODES,
    DAY_S,
    KINDS,
    TOTALS,
    Acts,
    Flags,
    Floats,
    Whole,
    codes,
)
from hub.bench.clearing.profiles import Profile, Teller
from standards.behaviours import accepted_behaviours, default_unit
from standards.schema import Precision

PRECISIONS = tuple(str(precision) for precision in Precision)
SECOND, MINUTE, DAY = range(3)
DUMMIES = (123_456_789, 999_999_999)
"""What fills a key field that has no key."""

REPORT = np.dtype([
    ("act", "i8"), ("teller", "i2"), ("code", "i2"), ("start", "f8"), ("end", "f8"), ("precision", "i1"),
    ("quantity", "f8"), ("told", "?"), ("km", "?"), ("order", "u8"), ("payment", "u8"), ("claim", "i8"), ("claims", "?"),
    ("origin", "?"), ("plain", "?"), ("placeless", "?"), ("damage", "i1"),
])  # fmt: skip
Reports = npt.NDArray[np.void]
_COUNTABLE = np.array([accepted_behaviours()[code].countable for code in CODES])
_STEPS = np.array([default_unit(code, Precision.DAY) == "steps" for code in CODES])
DAMAGES = 8
"""Ways in which a row can be bad; numbered from 1, 0 is none."""


def tell_acts(profile: Profile, acts: Acts, habit: Whole, dice: np.random.Generator) -> tuple[Acts, Reports]:
    """Let every platform tell of the acts.

    Returns:
        The acts, to which those were added that only a day total tells of as a whole; and all reports of them.
    """
    sums = [_day_totals(profile, acts, teller, habit, dice) for teller in profile.tellers]
    places = len(acts) + np.concatenate([[0], np.cumsum([len(total) for total in sums])])
    everything = np.concatenate([acts, *sums])
    everything["event"] = np.arange(len(everything))
    parts = []
    for number, teller in enumerate(profile.tellers):
        seen = np.arange(places[number], places[number + 1])
        if not teller.day_totals:
            seen = _seen(profile, acts, number, len(habit), dice)
        parts.append(_reports(teller, number, everything, seen, dice))
    reports = np.concatenate(parts)
    reports = np.concatenate([reports, _redelivered(profile, reports, dice), _bad(profile, reports, dice)])
    return everything, reports


# --- who sees what ----------------------------------------------------------------------------------------------------


def _seen(profile: Profile, acts: Acts, number: int, people: int, dice: np.random.Generator) -> Whole:
    teller = profile.tellers[number]
    linked = dice.random(people) < teller.linked
    cover = np.array([teller.covers.get(code, 0.0) for code in CODES])
    seen = linked[acts["person"]] & (dice.random(len(acts)) < cover[acts["code"]])
    if teller.guild:
        guild = [place for place, other in enumerate(profile.tellers) if other.guild == teller.guild]
        # An act's token decides who of the guild carried it out: the same for every member that asks.
        seen &= acts["order"] % np.uint64(len(guild)) == guild.index(number)
    return np.flatnonzero(seen)


def _day_totals(profile: Profile, acts: Acts, teller: Teller, habit: Whole, dice: np.random.Generator) -> Acts:
    """Return one sum for each person and day with such acts, told or not told by others."""
    if not teller.day_totals:
        return acts[:0]
    person = np.flatnonzero((habit == TOTALS) & (dice.random(len(habit)) < teller.linked))
    wanted = np.isin(acts["code"], codes(*teller.day_totals)) & ~acts["fake"] & np.isin(acts["person"], person)
    rides = acts[wanted]
    units, first, which = np.unique(rides["unit"], return_index=True, return_inverse=True)
    totals = np.zeros(len(units), ACT)
    for name in ("person", "code", "unit"):
        totals[name] = rides[name][first]
    totals["start"], totals["length"] = rides["start"][first] // DAY_S * DAY_S, DAY_S
    totals["quantity"] = np.bincount(which, rides["quantity"], len(units))
    totals["mg"] = np.bincount(which, rides["mg"], len(units))
    totals["day"], totals["side"], totals["kind"] = True, 1, KINDS.index("aggregate")
    return totals


# --- how it is told ---------------------------------------------------------------------------------------------------


def _reports(teller: Teller, number: int, acts: Acts, seen: Whole, dice: np.random.Generator) -> Reports:
    parts = np.where(dice.random(len(seen)) < teller.parts, dice.integers(2, 4, len(seen)), 1)
    parts[acts["day"][seen]] = 1
    place = np.repeat(seen, parts)
    told = acts[place]
    again = np.zeros(len(place), np.bool_)
    again[1:] = place[1:] == place[:-1]
    reports = np.zeros(len(place), REPORT)
    reports["act"], reports["teller"] = place, number
    reports["code"] = _named(teller, told, dice)
    _say_times(teller, told, again, reports, dice)
    _say_keys(teller, told, np.repeat(parts, parts) > 1, reports, dice)
    _say_amounts(teller, told, np.repeat(parts, parts), reports, dice)
    # Half of the records leave out a unit that goes without saying, one in twenty its place.
    reports["plain"], reports["placeless"] = dice.random((2, len(place))) < [[0.5], [0.05]]
    return reports


def _named(teller: Teller, acts: Acts, dice: np.random.Generator) -> Whole:
    """Return what the platform calls the acts: not everybody can tell a bus from a metro."""
    code = acts["code"].astype(np.int64)
    chance = dice.random(len(acts))
    for behaviour, (other, share) in teller.mistakes.items():
        right, wrong = codes(behaviour, other)
        code[(acts["code"] == right) & (chance < share)] = wrong
    return code


def _errors(teller: Teller, acts: Acts, dice: np.random.Generator) -> Floats:
    """Return seconds by which each told moment is off."""
    clock, count = teller.clock, len(acts)
    phones = dice.normal(0, 1, int(acts["person"].max(initial=0)) + 1)
    error = clock.offset_s + clock.person_s * phones[acts["person"]] + dice.laplace(0, clock.noise_s, count)
    wild = dice.random(count) < clock.wild
    error += np.where(wild, clock.wild_s * dice.standard_t(2, count), 0.0)
    return np.asarray(error + dice.exponential(clock.booked_s, count), np.float64)


def _say_times(teller: Teller, acts: Acts, again: Flags, reports: Reports, dice: np.random.Generator) -> None:
    clock, count = teller.clock, len(acts)
    customs = np.array([teller.moment_of.get(code, teller.moment) for code in CODES])[acts["code"]]
    error = _errors(teller, acts, dice)
    # Parts of one payment come one behind the other, by one clock.
    for place in np.flatnonzero(again):
        error[place] = error[place - 1] + dice.uniform(0.2, 2)
    begin = acts["start"] + np.where(customs == "end", acts["length"], 0.0) + error
    length = np.where(
        customs == "interval", acts["length"] * (1 + clock.stretch * dice.normal(0, 1, count).clip(-3, 3)), 0
    )
    end = begin + length
    zone = np.where(dice.random(count) < clock.wrong_zone, 28_800.0, 0.0)
    minute = ~acts["day"] & (dice.random(count) < clock.minute)
    step = np.where(minute, 60.0, 1.0)
    by_day = acts["day"] | (dice.random(count) < clock.by_day)
    own_day = acts["start"] // DAY_S * DAY_S
    reports["start"] = np.where(by_day, own_day, (begin + zone) // step * step)
    reports["end"] = np.where(by_day, own_day + DAY_S, (end + zone) // step * step)
    reports["precision"] = np.where(by_day, DAY, np.where(minute, MINUTE, SECOND))


def _say_keys(teller: Teller, acts: Acts, in_parts: Flags, reports: Reports, dice: np.random.Generator) -> None:
    keys, count = teller.keys, len(acts)
    may = ~acts["day"]
    chance = dice.random(count)
    # The parts of one payment are known by its number.
    booked = (reports["precision"] == DAY) & (dice.random(count) < 0.95)  # few bookings have no number
    pays = may & ((dice.random(count) < keys.payment) | in_parts | booked)
    tells = may & (chance < keys.order)
    own = tells & (dice.random(count) < keys.own)
    dummy = may & (dice.random(count) < keys.dummy)
    order = np.where(own, dice.integers(1, 1 << 63, count, dtype=np.uint64), acts["order"])
    constant = np.array(DUMMIES, np.uint64)[dice.integers(0, len(DUMMIES), count)]
    reports["order"] = np.where(dummy, constant, np.where(tells, order, np.uint64(0)))
    reports["payment"] = np.where(pays, acts["payment"], np.uint64(0))
    reports["origin"] = tells & ~own & ~dummy


def _say_amounts(
    teller: Teller, acts: Acts, parts: npt.NDArray[np.int64], reports: Reports, dice: np.random.Generator
) -> None:
    amounts, count = teller.amounts, len(acts)
    as_km = np.isin(acts["code"], codes(*amounts.km_on)) & ~acts["day"]
    one = _COUNTABLE[acts["code"]] & ~as_km
    off = amounts.factor * dice.normal(1, amounts.noise, count).clip(0.6, 1.6) if amounts.noise else np.ones(count)
    quantity = np.where(as_km, acts["km"], acts["quantity"]) * np.where(one, 1.0, off)
    if amounts.step:
        rounded = np.maximum(amounts.step, np.rint(quantity / amounts.step) * amounts.step)
        quantity = np.where(one | acts["day"], quantity, rounded)
    quantity = np.where(acts["day"] & _STEPS[acts["code"]], np.rint(quantity), quantity)
    silent = np.isin(acts["code"], codes(*amounts.silent_on)) | (dice.random(count) < amounts.missing)
    reports["quantity"], reports["told"], reports["km"] = quantity.round(6), ~silent, as_km
    generosity = amounts.generosity * dice.normal(1, 0.03, count)
    reports["claim"] = np.maximum(1, np.rint(acts["mg"] * generosity / parts))
    reports["claims"] = dice.random(count) < amounts.claims


# --- the same again, and what is no record ----------------------------------------------------------------------------


def _redelivered(profile: Profile, reports: Reports, dice: np.random.Generator) -> Reports:
    """Return records that come once more under another id; some of them with another claim than before."""
    chance = np.array([teller.redelivers for teller in profile.tellers])[reports["teller"]]
    again: Reports = reports[dice.random(len(reports)) < chance].copy()
    changed = dice.random(len(again)) < 0.25
    again["claim"] = np.where(changed, again["claim"] + 1_000, again["claim"])
    again["claims"] |= changed
    return again


def _bad(profile: Profile, reports: Reports, dice: np.random.Generator) -> Reports:
    """Return rows that break the schema's rules, each in one way; they tell of nothing."""
    bad: Reports = reports[dice.random(len(reports)) < profile.bad].copy()
    bad["act"] = -1
    bad["damage"] = dice.integers(1, DAMAGES + 1, len(bad))
    return bad
