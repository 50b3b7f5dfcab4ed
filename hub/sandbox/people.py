"""Who lives in the town: accounts, habits, and what each person allows. Pure.

Each person is drawn from the town's seed and their own number only: a town of 400 begins with the same 200 people as a
town of 200.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from hub.sandbox.registers import (
    BEIJING,
    CITIC,
    CITY_BEIJING,
    CITY_SHENZHEN,
    KUAIDIAN,
    OTHER_CITIES,
    PLATFORMS,
    REGISTERS,
    SHENZHEN,
    WECHAT,
    Register,
    dice_of,
    town_secret,
)

__all__ = [
    "BEIJING",
    "CITIC",
    "CITY_BEIJING",
    "CITY_SHENZHEN",
    "KUAIDIAN",
    "PLATFORMS",
    "SHENZHEN",
    "WECHAT",
    "Habits",
    "Person",
    "Revocation",
    "generator_of",
    "make_person",
    "town_secret",
]

_NEVER_CONSENTS = 0.08
_REVOKES = 0.07
_LINK_ODDS = 0.85
_ELSEWHERE_ODDS = 0.4  # of living in none of the two large cities


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """A consent withdrawn between two parts of the month."""

    platform: str
    after_part: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """How a person moves and lives; odds per day unless named otherwise."""

    metro: float
    bus: float
    bike: float
    takeaway: float
    parcel: float
    clean_plate: float
    bills_per_month: float
    drives_ev: bool
    steps_per_day: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """One inhabitant.

    `accounts` says where the person is known; `links` are the accounts that they let the hub see, in the order in which
    they link them; it is empty for a person who never consents.
    """

    index: int
    username: str
    password: str = field(repr=False)
    city_code: str
    accounts: Mapping[str, str]
    links: tuple[str, ...]
    revokes: Revocation | None
    habits: Habits


def generator_of(seed: int, *path: int) -> np.random.Generator:
    """Return the random generator of one corner of the town; other corners never shift it."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, *path])))


def make_person(seed: int, index: int) -> Person:
    """Return inhabitant number `index` (from 1) of the town with this seed."""
    rng = generator_of(seed, 1, index)
    accounts = _draw_accounts(rng, seed, index)
    city, accounts = _settle(seed, index, accounts)
    links = _draw_links(rng, index, tuple(accounts))
    return Person(
        index=index,
        username=f"person-{index:04d}",
        password="walk-" + town_secret(seed, f"password/{index}").hex()[:10],
        city_code=city,
        accounts=accounts,
        links=links,
        revokes=_draw_revocation(rng, index, links),
        habits=_draw_habits(rng, accounts),
    )


def _draw_accounts(rng: np.random.Generator, seed: int, index: int) -> dict[str, str]:
    """Draw the accounts at the five platforms that the town began with."""
    first = [register for register in REGISTERS if register.first]
    draws = rng.random(len(first))
    if index == 1:  # the first inhabitant shows everything, whatever the seed
        return {register.platform: register.account(seed, index) for register in first}
    chosen = {register.platform for register, draw in zip(first, draws, strict=True) if draw < register.odds}
    if len(chosen) < 2:
        chosen |= {BEIJING, CITIC}
    return {register.platform: register.account(seed, index) for register in first if register.platform in chosen}


def _settle(seed: int, index: int, accounts: dict[str, str]) -> tuple[str, dict[str, str]]:
    """Give the person a city, and the accounts that people of that city have; what belongs to other cities goes."""
    rng = generator_of(seed, 3, index)
    elsewhere, which = rng.random() < _ELSEWHERE_ODDS, int(rng.integers(0, len(OTHER_CITIES)))
    if index == 1:
        return CITY_SHENZHEN, {register.platform: register.account(seed, index) for register in REGISTERS}
    city = CITY_SHENZHEN if SHENZHEN in accounts else CITY_BEIJING
    city = OTHER_CITIES[which] if elsewhere and index > 3 else city

    def has(register: Register) -> bool:
        if register.cities is not None and city not in register.cities:
            return False
        if register.first:
            return register.platform in accounts
        return generator_of(seed, 3, index, dice_of(register.platform)).random() < register.odds

    found = {register.platform: register.account(seed, index) for register in REGISTERS if has(register)}
    return city, found if len(found) >= 2 else found | {CITIC: accounts.get(CITIC) or _account_at(CITIC, seed, index)}


def _account_at(platform: str, seed: int, index: int) -> str:
    return next(register.account(seed, index) for register in REGISTERS if register.platform == platform)


def _draw_links(rng: np.random.Generator, index: int, accounts: tuple[str, ...]) -> tuple[str, ...]:
    never, draws, order = rng.random(), rng.random(len(accounts)), rng.permutation(len(accounts))
    if index == 1:
        return accounts
    if index == 2 or (never < _NEVER_CONSENTS and index != 3):
        return ()
    chosen = [accounts[i] for i in order if draws[i] < _LINK_ODDS]
    return tuple(chosen) if chosen else (accounts[0],)


def _draw_revocation(rng: np.random.Generator, index: int, links: tuple[str, ...]) -> Revocation | None:
    draw, which, part = rng.random(), int(rng.integers(0, 1 << 30)), int(rng.integers(1, 4))
    if index == 1 or not links or (index != 3 and draw >= _REVOKES):
        return None
    return Revocation(platform=links[which % len(links)], after_part=part)


def _draw_habits(rng: np.random.Generator, accounts: Mapping[str, str]) -> Habits:
    metro, bus, bike = rng.dirichlet((2.0, 1.2, 1.2)) * 0.9
    return Habits(
        metro=float(metro),
        bus=float(bus),
        bike=float(bike),
        takeaway=float(rng.uniform(0.05, 0.4)),
        parcel=float(rng.uniform(0.03, 0.2)),
        clean_plate=float(rng.uniform(0.0, 0.1)),
        bills_per_month=float(rng.uniform(0.5, 3.0)),
        drives_ev=KUAIDIAN in accounts,
        steps_per_day=int(rng.integers(3000, 14000)),
    )
