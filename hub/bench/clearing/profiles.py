"""What a labelled corpus holds: which acts people make, and how each platform tells of them. Pure; data.

A profile is invented, and meant to be read: every difficulty that clearing must stand is a number here. The names of the
platforms are of no importance; nothing in the kernel knows them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from types import MappingProxyType

Shares = Mapping[str, float]
"""By behaviour, the share of acts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How acts of one behaviour are spread; quantities are log-normal in the behaviour's unit, durations in minutes."""

    weight: float
    """How common it is beside the others; 0 where a habit makes it."""
    median: float = 1.0
    sigma: float = 0.0
    least: float = 0.0
    most: float = 1e9
    per_hour: float = 0.0
    """Quantity in an hour; 0: the duration does not depend on the quantity."""
    minutes: float = 0.0
    """Median duration where `per_hour` is 0; 0 too: the act is a moment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """How a platform's times are off. Seconds; errors of the three kinds add up."""

    offset_s: float = 0.0
    """Of the whole platform."""
    person_s: float = 0.0
    """Standard deviation between people: the clock of a phone."""
    noise_s: float = 0.0
    """Scale of a Laplace error of each record."""
    booked_s: float = 0.0
    """Mean of an exponential delay between the moment and its booking."""
    wild: float = 0.0
    """Share of records with an error of Student's t with two degrees of freedom, `wild_s` wide: no bound."""
    wild_s: float = 0.0
    wrong_zone: float = 0.0
    """Share of records whose local time was sent as if it were UTC."""
    stretch: float = 0.0
    """Relative error of the duration."""
    minute: float = 0.0
    """Share told to the minute, rounded down."""
    by_day: float = 0.0
    """Share booked on the day only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """Which tokens a platform gives, as shares of its records."""

    order: float = 0.0
    """The origin's own number of the act."""
    payment: float = 0.0
    own: float = 0.0
    """Of those with an order number: its own counting instead of the origin's."""
    dummy: float = 0.0
    """A constant that fills the field."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Amounts:
    """What a platform says about how much it was."""

    noise: float = 0.0
    """Relative error of quantities that are measured; a trip or an order is one."""
    factor: float = 1.0
    """Of the whole platform: a map knows longer ways than a hub's wheel."""
    missing: float = 0.0
    """Share of records without a quantity."""
    silent_on: tuple[str, ...] = ()
    """Behaviours without a quantity at all: a bank knows the price, not the way."""
    step: float = 0.0
    """Quantities are rounded to this; 0: not rounded."""
    km_on: tuple[str, ...] = ()
    """Behaviours counted by trips that this platform tells in kilometres."""
    claims: float = 0.0
    """Share of records with a claim in grams."""
    generosity: float = 1.0
    """The claim over what the methodology gives."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Teller:
    """One platform. By default it sees nothing, and tells perfectly what it sees."""

    id: str
    role: str
    covers: Shares = field(default_factory=dict)
    """Which acts of its people it comes to know."""
    linked: float = 1.0
    """Share of people who have linked it."""
    guild: str = ""
    """Of the platforms of one guild exactly one carries out an act."""
    moment: str = "interval"
    """What its time means: `interval`, or one moment, `start` or `end` of the act."""
    moment_of: Mapping[str, str] = field(default_factory=dict)
    """Where a behaviour differs in that."""
    clock: Clock = Clock()
    keys: Keys = Keys()
    amounts: Amounts = Amounts()
    mistakes: Mapping[str, tuple[str, float]] = field(default_factory=dict)
    """By behaviour: what it calls a share of them instead."""
    parts: float = 0.0
    """Share of payments that arrive in two or three parts."""
    redelivers: float = 0.0
    """Share of records that come again under another id; of these one in four with another claim."""
    day_totals: tuple[str, ...] = ()
    """Behaviours of which it tells one sum for each person and day, and nothing else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """Shares of people with a habit that makes acts of different kinds claim the same grams; nobody has two."""

    no_drive: float = 0.08
    steps: float = 0.12
    electric: float = 0.06
    totals: float = 0.06
    """Of the people: those whose day totals are told by somebody."""
    days: float = 0.4
    """How often the habit shows."""
    walks: float = 0.35
    """Of days with steps: those with a navigated walk."""
    connected: float = 0.5
    """Of electric cars: those that tell the driven kilometres too."""
    shared_rides: float = 0.35
    """Of car-pool rides: those whose other person has an account as well."""
    card: float = 0.2
    """Of the people: those who do the once-only act."""
    card_again: float = 0.3
    """Of these: who claim it once more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Company:
    """Shares of acts that are followed by another real one that looks like it; gaps in seconds, from and to."""

    transfer: float = 0.06
    transfer_s: tuple[float, float] = (45, 420)
    same_line: float = 0.03
    same_line_s: tuple[float, float] = (180, 1500)
    next_bike: float = 0.05
    next_bike_s: tuple[float, float] = (25, 240)
    next_order: float = 0.015
    next_order_s: tuple[float, float] = (75, 900)
    one_payment: float = 0.05
    """Of the next bikes: paid together with the ride before, under one payment number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One labelled corpus."""

    name: str
    about: str
    acts: Mapping[str, Shape]
    tellers: tuple[Teller, ...]
    habits: Habits = Habits()
    company: Company = Company()
    acts_per_person: float = 24.0
    days: int = 28
    first_day: date = date(2026, 9, 7)
    zone_s: int = 28_800
    regions: tuple[int, ...] = (310104, 320505, 330106, 420106, 440305, 510104)
    implausible: float = 0.001
    bad: float = 0.001
    records_per_person: float = 39.0
    """About; how many people make a corpus of a size."""


ACTS: Mapping[str, Shape] = MappingProxyType({
    "MOB-BUS": Shape(weight=20, minutes=19),
    "MOB-METRO": Shape(weight=19, minutes=27),
    "MOB-BIKE": Shape(weight=18, median=1.9, sigma=0.55, least=0.25, most=20, per_hour=11.5),
    "MOB-EBIKE": Shape(weight=7, median=3.2, sigma=0.5, least=0.4, most=22, per_hour=17),
    "MOB-CARPOOL": Shape(weight=3, median=12, sigma=0.6, least=2, most=80, per_hour=33),
    "MOB-WALK": Shape(weight=2, median=1.3, sigma=0.4, least=0.4, most=5, per_hour=4.7),
    "MOB-EVCHARGE": Shape(weight=0, median=26, sigma=0.5, least=4, most=75, per_hour=32),
    "FOOD-NOTABLEWARE": Shape(weight=11),
    "FOOD-CLEANPLATE": Shape(weight=5),
    "FOOD-OWNCUP": Shape(weight=3),
    "USE-EWAYBILL": Shape(weight=5),
    "USE-CARTON": Shape(weight=1.5),
    "CLO-RECYCLE": Shape(weight=0.6, median=4.5, sigma=0.6, least=0.5, most=30),
    "HOME-WASTESORT": Shape(weight=2, median=1.4, sigma=0.6, least=0.1, most=12),
    "FIN-ESTATEMENT": Shape(weight=1),
    "FIN-BILLPAY": Shape(weight=3),
})  # fmt: skip

_GOOD = Clock(noise_s=1.0)
_OPERATOR_KEYS = Keys(order=0.97, payment=0.55)

OPERATORS: tuple[Teller, ...] = (
    Teller(
        id="bike-red", role="operator", guild="bikes", covers={"MOB-BIKE": 0.97, "MOB-EBIKE": 0.97}, clock=_GOOD,
        keys=_OPERATOR_KEYS, amounts=Amounts(noise=0.01, claims=0.8, generosity=1.2), redelivers=0.002,
    ),
    Teller(
        id="bike-teal", role="operator", guild="bikes", covers={"MOB-BIKE": 0.96, "MOB-EBIKE": 0.9},
        clock=Clock(noise_s=3, minute=0.02), keys=Keys(order=0.9, payment=0.7),
        amounts=Amounts(noise=0.02, step=0.01), redelivers=0.004,
    ),
    Teller(
        id="metro-line", role="operator", covers={"MOB-METRO": 0.97}, clock=_GOOD, keys=_OPERATOR_KEYS,
        amounts=Amounts(noise=0.02, km_on=("MOB-METRO",), claims=0.5, generosity=1.3),
    ),
    Teller(
        id="bus-gate", role="operator", covers={"MOB-BUS": 0.95}, moment="start", clock=Clock(noise_s=2),
        keys=Keys(order=0.93, payment=0.6, dummy=0.002), amounts=Amounts(claims=0.5, generosity=1.1),
    ),
    Teller(
        id="pool-car", role="operator", covers={"MOB-CARPOOL": 0.97}, clock=Clock(noise_s=4), keys=Keys(order=0.98),
        amounts=Amounts(noise=0.01, claims=0.6, generosity=1.2),
    ),
    Teller(
        id="pile-net", role="operator", covers={"MOB-EVCHARGE": 0.97}, clock=_GOOD, keys=_OPERATOR_KEYS,
        amounts=Amounts(noise=0.003, claims=0.3),
    ),
    Teller(id="car-cloud", role="meter", covers={"MOB-EV": 1.0}, amounts=Amounts(noise=0.01)),
    Teller(id="plate-office", role="operator", covers={"MOB-NODRIVE": 0.9}, amounts=Amounts(claims=0.5)),
    Teller(
        id="dish-app", role="operator",
        covers={"FOOD-NOTABLEWARE": 0.97, "FOOD-CLEANPLATE": 0.85, "FOOD-OWNCUP": 0.95}, clock=Clock(noise_s=2),
        keys=_OPERATOR_KEYS, amounts=Amounts(claims=0.6, generosity=1.5), redelivers=0.002,
    ),
    Teller(
        id="parcel-hall", role="operator",
        covers={"USE-EWAYBILL": 0.98, "USE-CARTON": 0.95, "CLO-RECYCLE": 0.95, "HOME-WASTESORT": 0.95},
        clock=Clock(noise_s=2, minute=0.05), keys=Keys(order=0.95, payment=0.2), amounts=Amounts(noise=0.01, claims=0.4),
    ),
    Teller(
        id="counter", role="operator", covers={"FIN-BILLPAY": 0.97, "FIN-ESTATEMENT": 0.97, "FIN-ECARD": 0.95},
        clock=_GOOD, keys=Keys(order=0.96, payment=0.6),
    ),
    Teller(
        id="step-band", role="self_report", covers={"MOB-WALK": 0.85}, clock=Clock(noise_s=8, wrong_zone=0.002),
        amounts=Amounts(noise=0.01),
    ),
)  # fmt: skip

SECONDS: tuple[Teller, ...] = (
    Teller(
        id="city-leaf", role="aggregator", linked=0.3,
        covers={
            "MOB-BUS": 0.6, "MOB-METRO": 0.6, "MOB-BIKE": 0.65, "MOB-EBIKE": 0.5, "MOB-EVCHARGE": 0.6, "MOB-CARPOOL": 0.5,
            "MOB-NODRIVE": 0.6, "FOOD-NOTABLEWARE": 0.6, "FOOD-CLEANPLATE": 0.6, "FOOD-OWNCUP": 0.4,
            "USE-EWAYBILL": 0.5, "HOME-WASTESORT": 0.5, "CLO-RECYCLE": 0.4,
        },
        clock=Clock(offset_s=12, person_s=10, noise_s=9, wild=0.02, wild_s=120, stretch=0.03, minute=0.12),
        keys=Keys(order=0.5, dummy=0.004), amounts=Amounts(noise=0.04, claims=0.9, generosity=1.4, step=0.1),
        redelivers=0.003,
    ),
    Teller(
        id="purse", role="payment", linked=0.3,
        covers={
            "MOB-BUS": 0.6, "MOB-METRO": 0.6, "MOB-BIKE": 0.6, "MOB-EBIKE": 0.6, "MOB-EVCHARGE": 0.6,
            "FOOD-NOTABLEWARE": 0.5, "FIN-BILLPAY": 0.6, "FIN-ECARD": 0.5, "FIN-ESTATEMENT": 0.3,
        },
        moment="start", moment_of={"MOB-BIKE": "end", "MOB-EBIKE": "end", "MOB-EVCHARGE": "end"},
        clock=Clock(noise_s=3, booked_s=10, wild=0.005, wild_s=90), keys=Keys(order=0.2, payment=0.95),
        amounts=Amounts(silent_on=("MOB-BIKE", "MOB-EBIKE", "MOB-EVCHARGE")),
        mistakes={"MOB-METRO": ("MOB-BUS", 0.35), "MOB-EBIKE": ("MOB-BIKE", 0.8)}, parts=0.03,
    ),
    Teller(
        id="old-bank", role="payment", linked=0.15,
        covers={"MOB-BUS": 0.5, "MOB-METRO": 0.6, "MOB-BIKE": 0.5, "FIN-BILLPAY": 0.7, "FIN-ECARD": 0.7},
        moment="start", moment_of={"MOB-METRO": "end", "MOB-BIKE": "end"},
        clock=Clock(noise_s=5, booked_s=35, by_day=0.1, wild=0.01, wild_s=200),
        keys=Keys(payment=0.9), amounts=Amounts(silent_on=("MOB-BIKE",)),
        mistakes={"MOB-METRO": ("MOB-BUS", 0.3)}, parts=0.02,
    ),
    Teller(
        id="way-map", role="navigation", linked=0.25,
        covers={"MOB-WALK": 0.7, "MOB-BIKE": 0.5, "MOB-EBIKE": 0.4, "MOB-BUS": 0.35, "MOB-METRO": 0.35},
        clock=Clock(offset_s=-8, person_s=15, noise_s=14, wild=0.03, wild_s=100, stretch=0.05),
        keys=Keys(order=0.06), amounts=Amounts(noise=0.04, factor=1.03, missing=0.02, claims=0.2, generosity=1.3),
    ),
    Teller(id="works-hall", role="aggregator", linked=0.9, day_totals=("MOB-BIKE",), amounts=Amounts(noise=0.02)),
)  # fmt: skip


def _rough(teller: Teller) -> Teller:
    """Return a platform with fewer keys and a clock twice as bad; who repeats others' orders often counts its own."""
    clock, keys = teller.clock, teller.keys
    return replace(
        teller,
        clock=replace(
            clock, person_s=2 * clock.person_s, noise_s=2 * clock.noise_s, wild=2 * clock.wild,
            minute=min(0.4, 3 * clock.minute), by_day=clock.by_day / 2,
        ),
        keys=replace(
            keys, order=0.6 * keys.order, payment=0.6 * keys.payment, dummy=2 * keys.dummy,
            own={"aggregator": 0.1, "navigation": 1.0}.get(teller.role, 0.0),
        ),
    )  # fmt: skip


PROFILES: Mapping[str, Profile] = MappingProxyType({
    "quiet": Profile(
        name="quiet", about="keys nearly everywhere, few second reporters, no day totals",
        acts=ACTS, habits=replace(Habits(), totals=0.0), records_per_person=33.0,
        tellers=tuple(
            replace(t, linked=t.linked / 2, keys=replace(t.keys, order=max(0.9, t.keys.order), dummy=0.0))
            if t in SECONDS else t
            for t in (*OPERATORS, *SECONDS)
        ),
    ),
    "busy": Profile(
        name="busy", about="a city: two bike operators, five second reporters, keys on about half of what they tell",
        acts=ACTS, tellers=(*OPERATORS, *SECONDS),
    ),
    "rough": Profile(
        name="rough", about="the same city with fewer keys, own numbers, constants as keys and clocks twice as bad",
        acts=ACTS, tellers=tuple(map(_rough, (*OPERATORS, *SECONDS))),
        company=replace(Company(), transfer=0.09, same_line=0.05, next_bike=0.08, next_order=0.03),
    ),
})  # fmt: skip
