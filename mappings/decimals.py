"""Decimal text to whole numbers, for a column at once: exact, rounded half-even once, never through a float. Pure."""

from fractions import Fraction
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from mappings.compiled import inlined, kernel
from mappings.scan import Bytes, Offsets
from mappings.texts import Mask, Texts

Whole: TypeAlias = NDArray[np.int64]
States: TypeAlias = NDArray[np.uint8]

UNTOLD, EXACT, ROUNDED, BROKEN, NEGATIVE, TOO_LARGE = range(6)
LIMIT = 10**18
"""Every result is below: 18 digits, as in decimal(18, 6)."""

_FAR = 1 << 20  # an exponent beyond the digits of any document
_BROKEN_EXPONENT = 1 << 30


def parse_whole(texts: Texts, places: int) -> tuple[Whole, States]:
    """Return text x 10^places, rounded half-even to a whole number, and how that went.

    Args:
        texts: decimals in the grammar of a JSON number; leading zeros are allowed, since codes and amounts have them.
        places: 6 for millionths of the same unit; 3 for millionths of a unit that is a thousand times larger.

    Returns:
        The numbers, which count where the state is EXACT or ROUNDED and are 0 elsewhere, and the states.
    """
    values, states = np.zeros(len(texts), np.int64), np.zeros(len(texts), np.uint8)
    _parse_rows(texts.data, texts.starts, texts.ends, texts.told, places, values, states)
    return values, states


def decimal_places(factor: Fraction) -> int | None:
    """Return p if the factor is exactly 10^p, else None."""
    return next((places for places in range(-12, 13) if factor == Fraction(10) ** places), None)


@inlined
def _digits_end(data: Bytes, at: int, end: int) -> int:
    while at < end and 0x30 <= data[at] <= 0x39:
        at += 1
    return at


@inlined
def _exponent(data: Bytes, at: int, end: int) -> int:
    """The exponent written in data[at:end] after the letter, cut off at _FAR; _BROKEN_EXPONENT if it is none."""
    negative = at < end and data[at] == 0x2D
    if at < end and (data[at] == 0x2D or data[at] == 0x2B):
        at += 1
    if at >= end or _digits_end(data, at, end) != end:
        return _BROKEN_EXPONENT
    value = 0
    for i in range(at, end):
        value = min(value * 10 + int(data[i]) - 0x30, _FAR)
    return -value if negative else value


@inlined
def _round(data: Bytes, first: int, dot: int, last: int, point: int) -> tuple[int, int]:
    """Round the digits in data[first:last], with a dot at `dot`, whose first `point` digits stand before the unit."""
    value, half, rest, place = 0, 0, 0, 0
    for i in range(first, last):
        if i == dot:
            continue
        digit = int(data[i]) - 0x30
        if place < point:
            if value >= LIMIT // 10:
                return 0, TOO_LARGE
            value = value * 10 + digit
        elif place == point:
            half = digit
        else:  # so does every digit if point < 0: then the first one dropped is a zero before them
            rest |= digit
        place += 1
    while place < point and value > 0:
        if value >= LIMIT // 10:
            return 0, TOO_LARGE
        value *= 10
        place += 1
    if half > 5 or (half == 5 and (rest > 0 or value % 2 == 1)):
        value += 1
    if value >= LIMIT:
        return 0, TOO_LARGE
    return value, ROUNDED if half | rest else EXACT


@inlined
def _parse(data: Bytes, at: int, end: int, places: int) -> tuple[int, int]:
    negative = at < end and data[at] == 0x2D
    first = at + 1 if negative else at
    dot = _digits_end(data, first, end)
    if dot == first:
        return 0, BROKEN
    last = dot
    if dot < end and data[dot] == 0x2E:
        last = _digits_end(data, dot + 1, end)
        if last == dot + 1:
            return 0, BROKEN
    exponent = 0
    if last < end:
        if data[last] != 0x65 and data[last] != 0x45:
            return 0, BROKEN
        exponent = _exponent(data, last + 1, end)
        if exponent == _BROKEN_EXPONENT:
            return 0, BROKEN
    if negative:
        for i in range(first, last):
            if data[i] != 0x30 and data[i] != 0x2E:
                return 0, NEGATIVE
    return _round(data, first, dot, last, dot - first + exponent + places)


@kernel
def _parse_rows(
    data: Bytes, starts: Offsets, ends: Offsets, told: Mask, places: int, values: Whole, states: States
) -> None:
    for row in range(len(values)):
        if told[row]:
            values[row], states[row] = _parse(data, starts[row], ends[row], places)
