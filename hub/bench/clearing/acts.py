"""What happened: the acts of some people, before any platform tells of them. Pure; all chance comes from one generator.

Acts are one structured array, `ACT`. Times are seconds of local time since the first day's midnight. Nobody makes two
trips at once, and nobody begins one in the same moment as another ends.
"""

from functools import cache

import numpy as np
import numpy.typing as npt

from hub.bench.clearing.profiles import Profile
from standards.behaviours import accepted_behaviours, default_unit
from standards.methodology import load_methodology
from standards.schema import Precision

CODES: tuple[str, ...] = tuple(sorted(accepted_behaviours()))
FAMILIES: tuple[str, ...] = tuple(accepted_behaviours()[code].family for code in CODES)
KINDS = ("none", "nodrive", "steps", "charge", "aggregate", "carpool", "once")
"""Why several acts claim the same grams."""
DAY_S = 86_400.0
LEAST_GAP_S = 15.0
STEPS_PER_KM = 1_400
KM_PER_KWH = 6.2
SPEED = {"MOB-BUS": 17.0, "MOB-METRO": 33.0}
GUILDS = np.uint64(2520)
"""A multiple of the size of any guild."""
HABITS = ("no_drive", "steps", "electric", "totals")
NO_DRIVE, STEPS, ELECTRIC, TOTALS = range(1, 5)

_COUNTABLE = np.array([accepted_behaviours()[code].countable for code in CODES])

ACT = np.dtype([
    ("person", "i8"), ("code", "i2"), ("start", "f8"), ("length", "f8"), ("quantity", "f8"), ("km", "f8"), ("mg", "i8"),
    ("day", "?"), ("fake", "?"), ("event", "i8"), ("unit", "i8"), ("kind", "i1"), ("side", "i1"),
    ("order", "u8"), ("payment", "u8"),
])  # fmt: skip
Acts = npt.NDArray[np.void]
Whole = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


def make_acts(profile: Profile, people: int, dice: np.random.Generator) -> tuple[Acts, Whole]:
    """Return the acts of so many people, numbered from 0, and everybody's habit (0: none)."""
    habit = _habits(profile, people, dice)
    usual = _usual_acts(profile, people, dice)
    trips = np.concatenate([usual, _followers(profile, usual, dice), _mates(profile, usual, people, dice)])
    # A car in use on a no-drive day, and a walk whose steps the day does not hold, would be other questions.
    trips = trips[~((habit[trips["person"]] == NO_DRIVE) & np.isin(trips["code"], codes("MOB-CARPOOL", "MOB-WALK")))]
    trips = trips[~((habit[trips["person"]] == STEPS) & (trips["code"] == codes("MOB-WALK")[0]))]
    whole_days, walks = _habit_days(profile, habit, dice)
    acts = _possible(np.concatenate([trips, walks]), profile)
    acts = np.concatenate([acts, whole_days, _charges(profile, habit, dice), _cards(profile, people, dice)])
    acts = np.concatenate([acts, _impossible_acts(profile, len(acts), people, dice)])
    acts["event"] = np.arange(len(acts))
    _join_units(acts, habit, profile)
    return acts, habit


def codes(*behaviours: str) -> Whole:
    """Return behaviours as positions in CODES."""
    return np.array([CODES.index(code) for code in behaviours], np.int64)


@cache
def _worth(day: bool) -> Floats:
    """Return milligrams per unit of every behaviour, at the methodology's rate for the whole country."""
    methods, grain = load_methodology().methods, Precision.DAY if day else Precision.SECOND
    return np.array([float(methods[code, default_unit(code, grain)].fallback_rate()) for code in CODES])


def new_acts(
    person: Whole,
    code: npt.ArrayLike,
    start: npt.ArrayLike,
    quantity: npt.ArrayLike,
    length: npt.ArrayLike,
    dice: np.random.Generator,
    *,
    day: bool = False,
) -> Acts:
    """Return acts with tokens of their own, valued by the methodology."""
    acts = np.zeros(len(person), ACT)
    acts["person"], acts["code"], acts["start"] = person, code, start
    acts["quantity"], acts["length"], acts["day"] = quantity, length, day
    acts["mg"] = np.rint(acts["quantity"] * _worth(day)[acts["code"]])
    for behaviour, speed in SPEED.items():
        here = acts["code"] == CODES.index(behaviour)
        acts["km"][here] = acts["length"][here] / 3600 * speed
    acts["order"] = dice.integers(1, 1 << 63, len(person), dtype=np.uint64)
    acts["payment"] = dice.integers(1, 1 << 63, len(person), dtype=np.uint64)
    return acts


def _shaped(profile: Profile, person: Whole, code: Whole, start: Floats, dice: np.random.Generator) -> Acts:
    """Return acts with quantities and durations as the profile spreads them."""
    quantity, length = np.ones(len(person)), np.zeros(len(person))
    for behaviour, shape in profile.acts.items():
        here = np.flatnonzero(code == CODES.index(behaviour))
        drawn = np.exp(dice.normal(np.log(shape.median), shape.sigma, len(here)))
        quantity[here] = drawn.clip(shape.least, shape.most)
        if shape.per_hour:
            length[here] = 3600 * quantity[here] / shape.per_hour * dice.lognormal(0, 0.15, len(here))
        elif shape.minutes:
            length[here] = 60 * shape.minutes * dice.lognormal(0, 0.4, len(here))
    return new_acts(person, code, start, quantity, length.clip(0, 5 * 3600), dice)


# --- people -----------------------------------------------------------------------------------------------------------


def _habits(profile: Profile, people: int, dice: np.random.Generator) -> Whole:
    shares = [getattr(profile.habits, name) for name in HABITS]
    return dice.choice(len(HABITS) + 1, people, p=[1 - sum(shares), *shares]).astype(np.int64)


def _usual_acts(profile: Profile, people: int, dice: np.random.Generator) -> Acts:
    """Everybody's acts: some people are busy, and everybody has favourites and hours of their own."""
    busy = dice.gamma(2.0, profile.acts_per_person / 2.0, people)
    person = np.repeat(np.arange(people), dice.poisson(busy))
    weights = np.array([profile.acts[code].weight if code in profile.acts else 0.0 for code in CODES])
    liking = np.cumsum(weights * dice.lognormal(0, 0.8, (people, len(CODES))), axis=1)
    liking /= liking[:, -1:]
    draw = dice.random(len(person))
    code = np.array((liking[person] < draw[:, None]).sum(axis=1), np.int64)
    leaves, returns = dice.normal(8.1, 0.7, people), dice.normal(18.2, 1.0, people)
    hour = np.choose(
        dice.choice(3, len(person), p=[0.34, 0.33, 0.33]),
        [
            dice.normal(leaves[person], 0.4),
            dice.normal(returns[person], 0.6),
            dice.uniform(6, 24, len(person)),  # the latest trips end on the next day
        ],
    ).clip(5, 23.9)
    day = dice.integers(0, profile.days, len(person))
    return _shaped(profile, person, code, DAY_S * day + 3600 * hour, dice)


# --- what looks alike -------------------------------------------------------------------------------------------------


def _followers(profile: Profile, acts: Acts, dice: np.random.Generator) -> Acts:
    """Return real acts that soon follow another and look like it."""
    company, code = profile.company, acts["code"]
    transit, cycle = np.isin(code, codes("MOB-BUS", "MOB-METRO")), np.isin(code, codes("MOB-BIKE", "MOB-EBIKE"))
    bus, metro = codes("MOB-BUS", "MOB-METRO")
    chance = dice.random(len(acts))
    ridden = cycle & (chance < company.next_bike)
    rows = (
        (transit & (chance < company.transfer), company.transfer_s, np.where(code == bus, metro, bus)),
        (transit & (chance > 1 - company.same_line), company.same_line_s, code),
        (ridden, company.next_bike_s, code),
        ((acts["length"] == 0) & (chance < company.next_order), company.next_order_s, code),
    )
    parts = []
    for mask, gap, becomes in rows:
        before = acts[mask]
        start = before["start"] + before["length"] + dice.uniform(*gap, len(before))
        after = _shaped(profile, before["person"], becomes[mask], start, dice)
        if becomes is code:  # about as long as the one before
            alike = dice.uniform(0.85, 1.15, len(after))
            counts = _COUNTABLE[after["code"]]
            for name in ("quantity", "length", "km", "mg"):
                one = counts if name in ("quantity", "mg") else before["length"] == 0
                after[name] = before[name] * np.where(one, 1.0, alike)
        if mask is ridden:
            _pay_together(before, after, dice.random(len(after)) < company.one_payment)
        parts.append(after)
    return np.concatenate(parts)


def _pay_together(before: Acts, after: Acts, together: Flags) -> None:
    """Give some rides the payment number of the one before; they have order numbers of their own."""
    after["payment"] = np.where(together, before["payment"], after["payment"])
    # Whoever was paid carried both out: guilds go by the rest of the order number.
    after["order"] = np.where(
        together, before["order"] // 2 // GUILDS * GUILDS + before["order"] % GUILDS, after["order"]
    )


def _mates(profile: Profile, acts: Acts, people: int, dice: np.random.Generator) -> Acts:
    """Return the other person's side of shared rides: one ride, one origin key, two people."""
    shared = np.flatnonzero(
        (acts["code"] == codes("MOB-CARPOOL")[0]) & (dice.random(len(acts)) < profile.habits.shared_rides)
    )
    if people < 2:
        return acts[:0]
    mates = acts[shared].copy()
    mates["person"] = (mates["person"] + dice.integers(1, people, len(mates))) % people
    mates["payment"] = dice.integers(1, 1 << 63, len(mates), dtype=np.uint64)
    mates["side"] = 1
    return mates


def _possible(acts: Acts, profile: Profile) -> Acts:
    """Drop what begins before the same person's last trip, or last act of that family, was over."""
    travels = np.array([accepted_behaviours()[code].group == "travel" for code in CODES])
    families = np.unique(FAMILIES, return_inverse=True)[1]
    lane = acts["person"] * (len(families) + 1) + np.where(travels[acts["code"]], len(families), families[acts["code"]])
    order = np.lexsort((acts["start"], lane))
    acts, lane = acts[order], lane[order]
    apart = (profile.days + 2) * DAY_S  # no act reaches into the next lane
    place = np.unique(lane, return_inverse=True)[1] * apart
    busy_until = np.maximum.accumulate(place + acts["start"] + acts["length"])
    free = np.concatenate([[True], place[1:] + acts["start"][1:] >= busy_until[:-1] + LEAST_GAP_S])
    possible: Acts = acts[free & (acts["start"] + acts["length"] < profile.days * DAY_S)]
    return possible


# --- acts of habit ----------------------------------------------------------------------------------------------------


def _days_of(profile: Profile, habit: Whole, which: int, dice: np.random.Generator) -> tuple[Whole, Whole]:
    """Return people and days on which a habit shows."""
    who = np.flatnonzero(habit == which)
    person, day = np.nonzero(dice.random((len(who), profile.days)) < profile.habits.days)
    return who[person], day.astype(np.int64)


def _whole(person: Whole, day: Whole, behaviour: str, quantity: npt.ArrayLike, dice: np.random.Generator) -> Acts:
    return new_acts(person, codes(behaviour)[0], DAY_S * day, quantity, DAY_S, dice, day=True)


def _habit_days(profile: Profile, habit: Whole, dice: np.random.Generator) -> tuple[Acts, Acts]:
    """Return no-drive days and days of steps, and the navigated walks that these contain."""
    person, day = _days_of(profile, habit, NO_DRIVE, dice)
    no_drive = _whole(person, day, "MOB-NODRIVE", 1.0, dice)
    person, day = _days_of(profile, habit, STEPS, dice)
    walker = dice.random(len(person)) < profile.habits.walks
    start = DAY_S * day[walker] + dice.uniform(6 * 3600, 21 * 3600, walker.sum())
    walks = _shaped(profile, person[walker], np.full(walker.sum(), codes("MOB-WALK")[0]), start, dice)
    steps = dice.lognormal(np.log(6_000), 0.3, len(person)).clip(2_500, 8_500)
    steps[walker] += walks["quantity"] * STEPS_PER_KM * dice.normal(1, 0.06, len(walks))
    # Below the methodology's cap for a day, so that no gram is lost to it.
    return np.concatenate([no_drive, _whole(person, day, "MOB-WALK", np.rint(steps.clip(0, 14_500)), dice)]), walks


def _charges(profile: Profile, habit: Whole, dice: np.random.Generator) -> Acts:
    """Return charges, and of connected cars the kilometres of that day."""
    person, day = _days_of(profile, habit, ELECTRIC, dice)
    start = DAY_S * day + dice.uniform(6 * 3600, 20 * 3600, len(person))
    charges = _shaped(profile, person, np.full(len(person), codes("MOB-EVCHARGE")[0]), start, dice)
    charges["length"] = np.minimum(charges["length"], DAY_S * (day + 1) - 60 - start)
    told = dice.random(len(habit))[person] < profile.habits.connected
    km = charges["quantity"][told] * KM_PER_KWH * dice.normal(1, 0.1, told.sum()).clip(0.7, 1.3)
    return np.concatenate([charges, _whole(person[told], day[told], "MOB-EV", km, dice)])


def _cards(profile: Profile, people: int, dice: np.random.Generator) -> Acts:
    """Return acts that count once in a life, some claimed again on another day."""
    first = np.flatnonzero(dice.random(people) < profile.habits.card)
    again = first[dice.random(len(first)) < profile.habits.card_again]
    who = np.concatenate([first, again])
    start = DAY_S * dice.integers(0, profile.days, len(who)) + dice.uniform(8 * 3600, 21 * 3600, len(who))
    cards = new_acts(who, codes("FIN-ECARD")[0], start, 1.0, 0.0, dice)
    cards["side"] = np.arange(len(who)) >= len(first)
    return cards


def _impossible_acts(profile: Profile, acts: int, people: int, dice: np.random.Generator) -> Acts:
    """Return what cannot have been: rides faster than a car, charges of a lorry fleet. At night, near nothing real."""
    count = dice.binomial(acts, profile.implausible)
    ride = dice.random(count) < 0.6
    day = dice.integers(0, profile.days, count)
    quantity = np.where(ride, dice.uniform(130, 800, count), dice.uniform(1_200, 9_000, count))
    length = np.where(ride, dice.uniform(300, 1_500, count), dice.uniform(900, 3_600, count))
    bike, charge = codes("MOB-BIKE", "MOB-EVCHARGE")
    start = DAY_S * day + dice.uniform(1.2 * 3600, 4 * 3600, count)
    fakes = new_acts(dice.integers(0, people, count), np.where(ride, bike, charge), start, quantity, length, dice)
    fakes["fake"] = True
    return fakes


# --- units ------------------------------------------------------------------------------------------------------------


def _join_units(acts: Acts, habit: Whole, profile: Profile) -> None:
    """Number the physical reductions: an act is one, unless others claim the same grams."""
    acts["unit"] = acts["event"]
    real, mine = ~acts["fake"], habit[acts["person"]]
    days = (acts["person"] * profile.days + acts["start"] // DAY_S).astype(np.int64)
    travels = np.array([accepted_behaviours()[code].group == "travel" for code in CODES])[acts["code"]]
    bike, walk, no_drive, charge, drive, car, card = codes(
        "MOB-BIKE", "MOB-WALK", "MOB-NODRIVE", "MOB-EVCHARGE", "MOB-EV", "MOB-CARPOOL", "FIN-ECARD"
    )
    code = acts["code"]
    _join(acts, real & (mine == NO_DRIVE) & (travels | (code == no_drive)), "nodrive", days, acts["day"])
    _join(acts, real & (mine == STEPS) & (code == walk), "steps", days, acts["day"])
    _join(acts, real & (mine == ELECTRIC) & ((code == charge) | (code == drive)), "charge", days, acts["day"])
    _join(acts, real & (mine == TOTALS) & (code == bike), "aggregate", days)
    rides = np.unique(acts["order"], return_inverse=True)[1]
    _join(acts, (code == car) & (np.bincount(rides)[rides] > 1), "carpool", rides)
    _join(acts, code == card, "once", acts["person"])


def _join(acts: Acts, mask: Flags, kind: str, group: npt.NDArray[np.int64], side: Flags | None = None) -> None:
    """Give the acts of a group one unit: the number of the first of them."""
    here = np.flatnonzero(mask)
    first, which = np.unique(group[here], return_index=True, return_inverse=True)[1:]
    acts["unit"][here] = acts["event"][here[first]][which]
    acts["kind"][here] = KINDS.index(kind)
    if side is not None:
        acts["side"][here] = side[here]
