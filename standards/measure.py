"""What a figure measures: "g/km" as a scale and powers of basic units, so that formulas can be checked. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType

from standards.units import MULTIPLIERS, UnitError, multiplier

# Every convertible unit is brought to the one of its kind that rates are made of; any other unit stands for itself.
_BASIC = {unit: basic for basic in ("mg", "km", "kWh") for unit, target in MULTIPLIERS if target == basic}
# Above the line a mass is one of CO2e; below it, and as a quantity, it is one of clothes or waste, and stays what it is.
_MASSES = frozenset(unit for unit, basic in _BASIC.items() if basic == "mg")
_PLAIN = {"1": Fraction(1), "percent": Fraction(1, 100)}


@dataclass(frozen=True, slots=True)
class Measure:
    """Powers of basic units, such as mg per km; empty for a plain number. A person's kilometre is a kilometre."""

    powers: Mapping[str, int]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Measure) and dict(self.powers) == dict(other.powers)

    def __hash__(self) -> int:
        return hash(frozenset(self.powers.items()))

    def times(self, other: "Measure", *, sign: int = 1) -> "Measure":
        """Return the measure of a product, or of a quotient if `sign` is -1."""
        powers = dict(self.powers)
        for unit, power in other.powers.items():
            powers[unit] = powers.get(unit, 0) + sign * power
        return Measure(MappingProxyType({unit: power for unit, power in sorted(powers.items()) if power}))

    def __str__(self) -> str:
        above = [unit if power == 1 else f"{unit}^{power}" for unit, power in self.powers.items() if power > 0]
        below = [unit if power == -1 else f"{unit}^{-power}" for unit, power in self.powers.items() if power < 0]
        return "/".join(["*".join(above) or "1", *below])


PLAIN = Measure(MappingProxyType({}))
MASS = Measure(MappingProxyType({"mg": 1}))


def measure_of_quantity(unit: str) -> Measure:
    """Return the measure of a quantity in a unit that records use."""
    return Measure(MappingProxyType({unit: 1}))


def parse_measure(text: str) -> tuple[Fraction, Measure]:
    """Return the scale and measure of a unit text: "g/km" is 1000 and mg/km.

    Raises:
        UnitError: a part of it is empty.

    Example:
        >>> scale, measure = parse_measure("kg/L")
        >>> scale, str(measure)
        (Fraction(1000000, 1), 'mg/L')
    """
    scale, measure = Fraction(1), PLAIN
    for place, unit in enumerate(text.split("/")):
        if not unit.strip() or unit != unit.strip():
            raise UnitError(f"{text!r} is not a unit such as g/km")
        sign = -1 if place else 1
        if unit in _PLAIN:
            scale *= _PLAIN[unit] ** sign
            continue
        basic = unit if place and unit in _MASSES else _BASIC.get(unit, unit)
        scale *= multiplier(unit, basic) ** sign
        measure = measure.times(Measure(MappingProxyType({basic: 1})), sign=sign)
    return scale, measure
