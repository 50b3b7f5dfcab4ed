"""What one person really does in a month: the acts themselves, before any platform tells of them. Pure.

Nobody is in two places: trips of one person never overlap. Instants are aware UTC; habits are drawn in Beijing time.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone

import numpy as np

from hub.sandbox.outings import CARPOOL, EV_DRIVE, RECYCLE, WALK_TRIP, WASTE_SORT, outings_of
from hub.sandbox.people import CITIC, WECHAT, Person, generator_of

BEIJING_TIME = timezone(timedelta(hours=8))  # the whole of China, without summer time since 1991
CHARGING_OPERATOR = "MA5KD2026"  # T/CEC 102 OperatorID: nine characters

METRO, BUS, BIKE, WALK = "MOB-METRO", "MOB-BUS", "MOB-BIKE", "MOB-WALK"
CHARGE, NO_TABLEWARE, CLEAN_PLATE = "MOB-EVCHARGE", "FOOD-NOTABLEWARE", "FOOD-CLEANPLATE"
EWAYBILL, E_CARD, E_STATEMENT, BILL_PAY = "USE-EWAYBILL", "FIN-ECARD", "FIN-ESTATEMENT", "FIN-BILLPAY"

_MICRO = 1_000_000
_SHORT_TRANSFER_ODDS = 0.04  # a second trip one to three minutes after the first: near, and still another act


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One real act.

    `behaviour` is its code, or one of the kinds in outings.py; `quantity_micro` is in millionths of the behaviour's unit
    (km, kWh, steps, or one of what is counted); `order_no` is the number that its origin gave it; `pay_no` is the
    payment's, None where nothing was paid.
    """

    act_id: int
    person: int
    behaviour: str
    start_at: datetime
    end_at: datetime
    quantity_micro: int
    order_no: str
    pay_no: str | None


@dataclass(slots=True)
class _Diary:
    """Collects acts in order and numbers them."""

    seed: int
    person: int
    acts: list[Act]

    def note(self, behaviour: str, start: datetime, end: datetime, quantity_micro: int, *, paid: bool) -> None:
        count = len(self.acts) + 1
        day = start.astimezone(BEIJING_TIME).strftime("%y%m%d")
        tail = f"{self.seed % 1000:03d}{self.person:05d}{count:04d}"
        self.acts.append(
            Act(
                act_id=self.person * 100_000 + count,
                person=self.person,
                behaviour=behaviour,
                start_at=start,
                end_at=end,
                quantity_micro=quantity_micro,
                order_no=_order_no(behaviour, day, tail),
                pay_no=f"42{day}{tail}" if paid else None,
            )
        )


def acts_of(seed: int, person: Person, first_day: date, days: int) -> tuple[Act, ...]:
    """Return the month of one person, in the order in which it was lived."""
    rng = generator_of(seed, 2, person.index)
    diary = _Diary(seed, person.index, [])
    for offset in range(days):
        day = first_day + timedelta(days=offset)
        free_at = _commute(rng, diary, person, _at(day, rng.uniform(7.2, 9.2)))
        _meals_and_parcels(rng, diary, person, day)
        free_at = _commute(rng, diary, person, max(free_at, _at(day, rng.uniform(17.5, 19.5))))
        _evening(rng, diary, person, max(free_at + timedelta(minutes=20), _at(day, 20.2)))
        _steps(rng, diary, person, day)
    _bank_month(rng, diary, person, first_day, days)
    outings_of(seed, person, first_day, days, _at, lambda *what: diary.note(*what, paid=False))
    return tuple(sorted(diary.acts, key=lambda act: (act.start_at, act.act_id)))


def _order_no(behaviour: str, day: str, tail: str) -> str:
    if behaviour == CHARGE:  # StartChargeSeq: the operator's id and 18 more characters
        return f"{CHARGING_OPERATOR}{day}{tail}"
    prefix = {METRO: "MT", BUS: "BS", BIKE: "HB", NO_TABLEWARE: "WM", EWAYBILL: "SF", CLEAN_PLATE: "CP"}
    prefix |= {EV_DRIVE: "EV", CARPOOL: "PC", WALK_TRIP: "NW", RECYCLE: "RC", WASTE_SORT: "WS"}
    return f"{prefix.get(behaviour, 'FN')}{day}{tail}"


def _at(day: date, hour: float) -> datetime:
    midnight = datetime.combine(day, time(), BEIJING_TIME).astimezone(UTC)
    return midnight + timedelta(seconds=int(hour * 3600))


def _minutes(rng: np.random.Generator, low: float, high: float) -> timedelta:
    return timedelta(seconds=int(rng.uniform(low, high) * 60))


def _commute(rng: np.random.Generator, diary: _Diary, person: Person, start: datetime) -> datetime:
    """One way to work or home, sometimes in two legs; returns when the person has arrived."""
    weekday = start.astimezone(BEIJING_TIME).weekday() < 5
    if rng.random() > (0.85 if weekday else 0.35):
        return start
    draw, habits = rng.random(), person.habits
    if draw < habits.metro:
        if rng.random() < 0.3:
            start = _pause(rng, _ride_bike(rng, diary, start, 0.6, 2.2))
        return _ride(rng, diary, METRO, start, _minutes(rng, 14, 52))
    if draw < habits.metro + habits.bus:
        arrived = _ride(rng, diary, BUS, start, _minutes(rng, 10, 40))
        return _ride(rng, diary, BUS, _pause(rng, arrived), _minutes(rng, 8, 25)) if rng.random() < 0.2 else arrived
    if draw < habits.metro + habits.bus + habits.bike:
        return _ride_bike(rng, diary, start, 1.2, 6.5)
    return start


def _pause(rng: np.random.Generator, since: datetime) -> datetime:
    return since + (_minutes(rng, 1, 3) if rng.random() < _SHORT_TRANSFER_ODDS else _minutes(rng, 5, 14))


def _ride(rng: np.random.Generator, diary: _Diary, behaviour: str, start: datetime, duration: timedelta) -> datetime:
    diary.note(behaviour, start, start + duration, _MICRO, paid=True)
    return start + duration


def _ride_bike(rng: np.random.Generator, diary: _Diary, start: datetime, low_km: float, high_km: float) -> datetime:
    metres = int(rng.uniform(low_km, high_km) * 1000)
    duration = timedelta(seconds=int(metres / rng.uniform(2.6, 3.9)))  # 9 to 14 km/h
    diary.note(BIKE, start, start + duration, metres * 1000, paid=True)
    return start + duration


def _meals_and_parcels(rng: np.random.Generator, diary: _Diary, person: Person, day: date) -> None:
    habits = person.habits
    for behaviour, odds, earliest, latest in (
        (NO_TABLEWARE, habits.takeaway, 11.3, 12.8),
        (CLEAN_PLATE, habits.clean_plate, 12.2, 13.2),
        (EWAYBILL, habits.parcel, 9.5, 16.5),
    ):
        if rng.random() < odds:
            instant = _at(day, rng.uniform(earliest, latest))
            diary.note(behaviour, instant, instant, _MICRO, paid=False)


def _evening(rng: np.random.Generator, diary: _Diary, person: Person, start: datetime) -> None:
    if rng.random() < 0.12 * (0.5 + person.habits.bike):
        _ride_bike(rng, diary, start, 0.8, 4.0)
    if person.habits.drives_ev and rng.random() < 0.22:
        plugged = start + _minutes(rng, 5, 60)
        energy_wh = int(rng.uniform(8, 52) * 1000)
        power_w = 60_000 if rng.random() < 0.55 else 20_000  # a fast or a slow public post
        diary.note(
            CHARGE, plugged, plugged + timedelta(seconds=energy_wh * 3600 // power_w), energy_wh * 1000, paid=True
        )


def _steps(rng: np.random.Generator, diary: _Diary, person: Person, day: date) -> None:
    steps = max(120, int(rng.normal(person.habits.steps_per_day, person.habits.steps_per_day / 4)))
    if WECHAT in person.accounts:
        diary.note(WALK, _at(day, 0), _at(day, 24), steps * _MICRO, paid=False)


def _bank_month(rng: np.random.Generator, diary: _Diary, person: Person, first_day: date, days: int) -> None:
    """An e-card once in a life, one statement a month, bills now and then: only the bank knows of them."""
    if CITIC not in person.accounts:
        return
    wishes = [(E_CARD, 1 if rng.random() < 0.3 else 0), (E_STATEMENT, 1 if rng.random() < 0.85 else 0)]
    wishes.append((BILL_PAY, int(rng.poisson(person.habits.bills_per_month))))
    for behaviour, count in wishes:
        for _ in range(count):
            instant = _at(first_day + timedelta(days=int(rng.integers(0, days))), rng.uniform(9, 22))
            diary.note(behaviour, instant, instant, _MICRO, paid=behaviour == BILL_PAY)
