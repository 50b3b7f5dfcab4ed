"""Who lives in the town: accounts, habits, and what each person allows. Pure.

Each person is drawn from the town's seed and their own number only: a town of 400 begins with the same 200 people as a
town of 200.
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

BEIJING = "beijing-green-life"
CITIC = "citic-carbon"
KUAIDIAN = "kuaidian"
WECHAT = "wechat-sports"
SHENZHEN = "shenzhen-transit"
PLATFORMS = (BEIJING, CITIC, KUAIDIAN, WECHAT, SHENZHEN)

CITY_BEIJING = "110000"  # GB/T 2260
CITY_SHENZHEN = "440300"

_ACCOUNT_ODDS = {BEIJING: 0.85, CITIC: 0.70, KUAIDIAN: 0.35, WECHAT: 0.75, SHENZHEN: 0.60}
_NEVER_CONSENTS = 0.08
_REVOKES = 0.07
_LINK_ODDS = 0.85
_CARD_STEP = 387_420_489  # 3**18: coprime with 10**9, so that card numbers are scattered and never meet


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


def town_secret(seed: int, name: str) -> bytes:
    """Return 32 bytes that follow from the seed: good for a sandbox, worthless as a real secret."""
    return hmac.new(f"sandbox-town-{seed}".encode(), name.encode(), hashlib.sha256).digest()


def make_person(seed: int, index: int) -> Person:
    """Return inhabitant number `index` (from 1) of the town with this seed."""
    rng = generator_of(seed, 1, index)
    accounts = _draw_accounts(rng, seed, index)
    links = _draw_links(rng, index, tuple(accounts))
    return Person(
        index=index,
        username=f"person-{index:04d}",
        password="walk-" + town_secret(seed, f"password/{index}").hex()[:10],
        city_code=CITY_SHENZHEN if SHENZHEN in accounts else CITY_BEIJING,
        accounts=accounts,
        links=links,
        revokes=_draw_revocation(rng, index, links),
        habits=_draw_habits(rng, accounts),
    )


def _draw_accounts(rng: np.random.Generator, seed: int, index: int) -> dict[str, str]:
    draws = rng.random(len(PLATFORMS))
    if index == 1:  # the first inhabitant shows everything, whatever the seed
        return {platform: _account_of(seed, platform, index) for platform in PLATFORMS}
    chosen = {platform for platform, draw in zip(PLATFORMS, draws, strict=True) if draw < _ACCOUNT_ODDS[platform]}
    if len(chosen) < 2:
        chosen |= {BEIJING, CITIC}
    return {platform: _account_of(seed, platform, index) for platform in PLATFORMS if platform in chosen}


def _account_of(seed: int, platform: str, index: int) -> str:
    if platform == SHENZHEN:  # nine letters A to J, as the city's card records write a card
        number = (index * _CARD_STEP + seed * 7919) % 10**9
        return "".join("ABCDEFGHIJ"[int(digit)] for digit in f"{number:09d}")
    if platform == WECHAT:
        return "o" + town_secret(seed, f"openid/{index}").hex()[:27]
    prefix = {BEIJING: "bj", CITIC: "citic", KUAIDIAN: "kd"}[platform]
    return f"{prefix}-{index:06d}"


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
