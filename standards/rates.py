"""A methodology worked out beforehand: every rate that an act can have, found by whole numbers. Pure.

A formula whose figures are chosen is one rate (`standards.formula`). Which figures are chosen depends on the act's place,
its day and whether somebody else saw it, and a methodology knows few of each. So all rates fit one small table, and a
million records are valued by looking up and multiplying columns.

Rates are kept in whole milligrams and millionths of one, rounded down; quantities in millionths of the unit. The product
is computed exactly in 64 bits and rounded half-even, once.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from standards.choice import Figure
from standards.methodology import Method, Methodology, quantity_cap_micro
from standards.regions import Place, city_of, load_regions, places_of
from standards.units import MAX_INT64, MICRO

I64 = npt.NDArray[np.int64]
DAY_US = 86_400_000_000
# A service day is a date in the platforms' zone, China Standard Time.
ZONE_US = 8 * 3_600_000_000
EPOCH = date(1970, 1, 1)
NONE = -1
# So many rows at a time stay in the processor's cache while they are worked on.
SLICE = 1 << 14
_HALF = MICRO * MICRO // 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """What one unit saves under chosen figures, and what a record keeps of the choice."""

    method: Method
    figures: dict[str, Figure]
    whole: int
    """Milligrams."""
    millionths: int
    """Of a milligram, beside the whole ones; what is finer is dropped."""
    cap_micro: int
    pin: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RateTable:
    """All rates of a methodology: `cells[method, place, period, witnessed]` is the number of a rate, or -1.

    The last method is none, and the first period lies before all acts; there every cell is -1.
    """

    methods: tuple[Method, ...]
    rates: tuple[Rate, ...]
    cells: I64
    place_of_city: I64
    """By code // 100."""
    period_of_day: I64
    """By days since `first_day`: in a period the same figures hold; all later days lie in the last one."""
    first_day: int
    """The last day, since 1970, before there were acts."""
    whole: I64
    millionths: I64
    most: I64
    """The smallest number of whole units whose amount may not fit 64 bits."""
    caps: I64

    def method_number(self, behaviour: str, unit: str) -> int:
        """Return the number of the method for a behaviour and unit, or -1."""
        return next((n for n, m in enumerate(self.methods) if (m.behaviour, m.unit) == (behaviour, unit)), NONE)

    def find(
        self, method: npt.NDArray[Any], region: npt.NDArray[Any], start_us: I64, witnessed: npt.NDArray[Any]
    ) -> I64:
        """Return the number of each act's rate, or -1 if there is none.

        Args:
            method: numbers from `method_number`; -1 has no rate.
            region: GB/T 2260 codes; 0 or an unknown one is the country.
            start_us: begin of the act, microseconds since 1970, UTC.
            witnessed: 1 if the record comes from somebody else than the person, else 0.
        """
        _, places, periods, _ = self.cells.shape
        place = self.place_of_city.take(np.minimum(np.maximum(region, 0), 999_999) // 100)
        day = (start_us + ZONE_US) // DAY_US - self.first_day
        period = self.period_of_day.take(np.minimum(np.maximum(day, 0), len(self.period_of_day) - 1))
        # A method of -1 counts from the end, as an index does.
        cell = (method.astype(np.int64) * places + place) * periods + period
        found: I64 = self.cells.reshape(-1).take(cell * 2 + witnessed)
        return found

    def amounts(self, rate: I64, quantity_micro: I64) -> I64:
        """Return milligrams, or -1 if there is no rate, the quantity is negative or the amount does not fit 64 bits."""
        if not len(self.rates):
            return np.full(len(rate), NONE, np.int64)
        # numpy divides by a constant quickly and takes remainders slowly, so they are differences here.
        quantity = np.minimum(quantity_micro, self.caps.take(rate))
        units = quantity // MICRO
        rest = quantity - units * MICRO
        whole, millionths = self.whole.take(rate), self.millionths.take(rate)
        fits = (rate >= 0) & (quantity >= 0) & (units < self.most.take(rate))
        # Rows that do not fit overflow here, silently, and are dropped at the end.
        last = rest * millionths
        carry = last // MICRO
        middle = units * millionths + rest * whole + carry
        more = middle // MICRO
        floor = units * whole + more
        fraction = (middle - more * MICRO) * MICRO + (last - carry * MICRO)
        # A tie goes to the even milligram of the whole amount: 1.5 mg is 2, as Decimal says.
        floor += fraction + (floor & 1) > _HALF
        return np.where(fits, floor, NONE)


def slices_of(rows: int) -> Iterator[slice]:
    """Give the slices in which so many rows are best worked on."""
    return (slice(begin, min(begin + SLICE, rows)) for begin in range(0, rows, SLICE))


@lru_cache(maxsize=16)
def rate_table(methodology: Methodology) -> RateTable:
    """Return all rates of a methodology."""
    methods = tuple(methodology.methods.values())
    places = _places(methods)
    days = _first_days(methodology, methods)
    cells = np.full((len(methods) + 1, len(places), len(days) + 1, 2), NONE, np.int64)
    rates: dict[tuple[str, ...], tuple[int, Rate]] = {}
    for m, method in enumerate(methods):
        named = {figure.place for choice in method.inputs for figure in choice.local}
        alike: dict[tuple[Place, ...], list[int]] = {}
        for number, chain in enumerate(places.values()):
            alike.setdefault(tuple(place for place in chain if place in named), []).append(number)
        # A later day's choice is written over that of the days before it.
        own_days = _first_days(methodology, (method,))
        for (near, numbers), day, witnessed in product(alike.items(), own_days, (0, 1)):
            figures = {i.name: i.choose(near, day, witnessed=bool(witnessed)) for i in method.inputs}
            key = method.id, *(figure.id for figure in figures.values())
            if key not in rates:
                rates[key] = len(rates), _rate(method, figures)
            cells[m, numbers, days.index(day) + 1 :, witnessed] = rates[key][0]
    every = tuple(rate for _, rate in rates.values())
    first, firsts = (days[0] - EPOCH).days - 1, [(day - EPOCH).days for day in days]
    return RateTable(
        methods=methods,
        rates=every,
        cells=cells,
        place_of_city=_place_of_city(list(places)),
        period_of_day=np.searchsorted(firsts, np.arange(first, firsts[-1] + 1), side="right").astype(np.int64),
        first_day=first,
        whole=np.array([rate.whole for rate in every], np.int64),
        millionths=np.array([rate.millionths for rate in every], np.int64),
        most=np.array([MAX_INT64 // (rate.whole + 1) for rate in every], np.int64),
        caps=np.array([rate.cap_micro for rate in every], np.int64),
    )


def day_of(start_us: int) -> date:
    """Return the service day that an act begins on."""
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=start_us + ZONE_US)).date()


def _rate(method: Method, figures: dict[str, Figure]) -> Rate:
    exact = method.rate(figures)
    cap = quantity_cap_micro(method)
    return Rate(
        method=method,
        figures=figures,
        whole=int(exact),
        millionths=int((exact - int(exact)) * MICRO),
        cap_micro=MAX_INT64 if cap is None else cap,
        pin=method.pin(figures),
    )


def _places(methods: tuple[Method, ...]) -> dict[int | None, tuple[Place, ...]]:
    """Every place that can make a difference: the country, all provinces, and the cities that figures are for."""
    named = {figure.place for method in methods for choice in method.inputs for figure in choice.local}
    codes = [code for code in load_regions() if code % 10000 == 0]
    codes += sorted({place for place in named if isinstance(place, int) and place % 10000})
    return {None: places_of(None)} | {code: places_of(code) for code in codes}


def _place_of_city(codes: list[int | None]) -> I64:
    table = np.zeros(10_000, np.int64)
    for number, code in enumerate(codes):
        if code is not None and code % 10000 == 0:
            table[code // 100 : code // 100 + 100] = number
    for number, code in enumerate(codes):
        if code is not None and code % 10000:
            table[city_of(code) // 100] = number
    return table


def _first_days(methodology: Methodology, methods: tuple[Method, ...]) -> list[date]:
    """The days on which some figure begins or ends to hold, from the first day of acts on."""
    figures = [figure for method in methods for choice in method.inputs for figure in choice.local]
    ends = {day for figure in figures for day in (figure.valid_from, figure.valid_until) if day is not None}
    return sorted({methodology.acts_from} | {day for day in ends if day > methodology.acts_from})
