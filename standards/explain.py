"""Why an act is worth what it is worth: every input, figure, source and step. Pure.

The amount explained is computed by the same table of rates as the columns are (`standards.rates`), and the steps by the
formula itself; a test holds the two together.
"""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any

import numpy as np

from standards.behaviours import Behaviour, accepted_behaviours, default_unit, load_behaviours
from standards.choice import Figure, Input, format_grams
from standards.factors import load_sources
from standards.formula import Step
from standards.measure import MASS
from standards.methodology import Method, Methodology, load_methodology, quantity_cap_micro
from standards.rates import EPOCH, rate_table
from standards.regions import check_region, place_name, places_of
from standards.schema import Precision, Role
from standards.units import MAX_INT64, MICRO, format_micro


class NotValuedError(ValueError):
    """The methodology has no amount for such an act; the text says why and what there is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """What is known of one act; a missing unit is the behaviour's default, a missing quantity one if acts are counted."""

    behaviour: str
    quantity_micro: int | None
    unit: str | None = None
    region: int | None = None
    day: date
    role: str = Role.OPERATOR
    precision: str = Precision.SECOND
    claimed_mg: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """A figure as it was used: for which input, and what else could have been."""

    name: str
    figure: Figure
    why: str
    source_title: str
    others: tuple[tuple[str, str], ...]
    """Figures for this act's place that were not chosen, each with the reason."""
    elsewhere: int
    """How many figures of the same input are for other places."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """How an act came to its amount."""

    act: Act
    method: Method
    methodology: str
    unit: str
    quantity_micro: int
    """That was counted: one where none was told, no more than the cap."""
    used: tuple[Used, ...]
    steps: tuple[Step, ...]
    exact_mg: Fraction
    """By the formula, before rounding."""
    reference_mg: int
    """Rounded half-even, once."""
    counted_mg: int
    """No more than the claim."""
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values; amounts in milligrams, exact values as text."""
        return {
            "behaviour": self.act.behaviour,
            "unit": self.unit,
            "region": self.act.region,
            "day": self.act.day.isoformat(),
            "role": str(self.act.role),
            "methodology": self.methodology,
            "method": self.method.id,
            "formula": self.method.formula.text,
            "boundary": self.method.boundary,
            "assumption": self.method.assumption,
            "quantity": None if self.act.quantity_micro is None else format_micro(self.act.quantity_micro),
            "quantity_counted": format_micro(self.quantity_micro),
            "inputs": [
                {
                    "name": used.name, "figure": used.figure.id, "said": used.figure.said,
                    "place": place_name(used.figure.place), "bound": used.figure.bound, "status": used.figure.status,
                    "valid_from": used.figure.valid_from and used.figure.valid_from.isoformat(),
                    "valid_until": used.figure.valid_until and used.figure.valid_until.isoformat(),
                    "source": used.figure.source, "source_title": used.source_title,
                    "source_place": used.figure.source_place, "why": used.why,
                    "elsewhere": used.elsewhere,
                    "others": [{"figure": name, "why_not": why} for name, why in used.others],
                }
                for used in self.used
            ],
            "steps": [{"expression": s.expression, "value": text_of(s.value), "unit": str(s.measure)} for s in self.steps],
            "exact_mg": text_of(self.exact_mg),
            "reference_mg": self.reference_mg,
            "claimed_mg": self.act.claimed_mg,
            "counted_mg": self.counted_mg,
            "notes": list(self.notes),
        }  # fmt: skip


def explain(act: Act, methodology: Methodology | None = None) -> Explanation:
    """Value one act and tell how.

    Raises:
        NotValuedError: the behaviour, unit or day is not one that the methodology values, or the quantity is missing,
            negative or too large; the text lists what is valid.
        RegionError: the region is not a place in China.
    """
    known = methodology or load_methodology()
    method, unit, behaviour = find_method(act, known)
    quantity, notes = _quantity(act, behaviour, unit, method)
    if act.claimed_mg is not None and act.claimed_mg < 0:
        raise NotValuedError(f"a claim is zero or more, not {act.claimed_mg} mg")
    if act.region is not None:
        check_region(act.region)
    witnessed, places = Role(act.role).is_witness, places_of(act.region)
    figures = {i.name: i.choose(places, act.day, witnessed=witnessed) for i in method.inputs}
    exact = method.rate(figures) * Fraction(quantity, MICRO)
    steps = method.formula.steps(Fraction(quantity, MICRO), {name: f.value for name, f in figures.items()})
    if steps[-1].value != exact:
        bound = "never below zero" if steps[-1].value < 0 else f"at most {method.at_most_mg} mg per {unit}"
        steps.append(Step(expression=bound, value=exact, measure=MASS))
    amount = _amount(act, method, known, quantity)
    if method.assumption is not None:
        notes.append(f"an assumption of the hub's: {method.assumption}")
    if method.at_most_mg is not None:
        notes.append(f"{method.note} (at most {method.at_most_mg} mg per {unit})")
    counted = amount if act.claimed_mg is None else min(amount, act.claimed_mg)
    if counted < amount:
        notes.append(f"the platform claims {format_grams(counted)} g, which is less: never more than the claim counts")
    return Explanation(
        act=act,
        method=method,
        methodology=known.version,
        unit=unit,
        quantity_micro=quantity,
        used=tuple(_used(choice, figures[choice.name], act, witnessed=witnessed) for choice in method.inputs),
        steps=tuple(steps),
        exact_mg=exact,
        reference_mg=amount,
        counted_mg=counted,
        notes=tuple(notes),
    )


def find_method(act: Act, methodology: Methodology) -> tuple[Method, str, Behaviour]:
    """Return the method for an act, its unit and its behaviour.

    Raises:
        NotValuedError: there is none; the text lists what there is.
    """
    for word, words in ((act.role, Role), (act.precision, Precision)):
        if word not in tuple(words):
            raise NotValuedError(f"unknown {words.__name__.lower()} {word!r}; there are {', '.join(words)}")
    if act.behaviour not in load_behaviours():
        raise NotValuedError(f"unknown behaviour {act.behaviour!r}; there are {', '.join(accepted_behaviours())}")
    behaviour = load_behaviours()[act.behaviour]
    methods = methodology.of_behaviour(behaviour.code)
    if not methods or not behaviour.accepted:
        raise NotValuedError(
            f"{methodology.version} has no method for {behaviour.code}: no figure is known that it could rest on"
        )
    unit = default_unit(behaviour.code, act.precision) if act.unit is None else act.unit
    method = next((m for m in methods if m.unit == unit), None)
    if method is None:
        raise NotValuedError(f"{behaviour.code} is not told in {unit!r} but in {', '.join(m.unit for m in methods)}")
    if act.day < methodology.acts_from:
        raise NotValuedError(f"{methodology.version} values acts from {methodology.acts_from} on, not of {act.day}")
    return method, unit, behaviour


def text_of(value: Fraction) -> str:
    """Return an exact number as text: decimal where it ends, else a fraction with its rounded decimal."""
    rest = value.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    if rest == 1:
        with localcontext() as exact:
            exact.prec = 60
            return f"{(Decimal(value.numerator) / Decimal(value.denominator)).normalize():f}"
    return f"{value.numerator}/{value.denominator} (about {float(value):.6g})"


def _quantity(act: Act, behaviour: Behaviour, unit: str, method: Method) -> tuple[int, list[str]]:
    notes: list[str] = []
    quantity = act.quantity_micro
    if quantity is None and behaviour.counts_one(unit):
        quantity = MICRO
        notes.append(f"no quantity was told; such acts are counted, so it is one {unit}")
    if quantity is None or quantity < 0:
        raise NotValuedError(f"{behaviour.code} needs a quantity in {unit}, zero or more")
    if quantity > MAX_INT64:
        raise NotValuedError(f"the amount of {format_micro(quantity)} {unit} does not fit")
    cap = quantity_cap_micro(method)
    if cap is not None and cap < quantity and method.cap is not None:
        notes.append(f"no more than {method.cap.said} of one record count ({method.cap.source_place})")
        quantity = cap
    return quantity, notes


def _amount(act: Act, method: Method, methodology: Methodology, quantity: int) -> int:
    table = rate_table(methodology)
    # Noon of the day, so that any zone's rounding stays inside it.
    start = ((act.day - EPOCH).days * 24 + 4) * 3_600_000_000
    rate = table.find(
        np.array([table.methods.index(method)]),
        np.array([act.region or 0]),
        np.array([start], np.int64),
        np.array([int(Role(act.role).is_witness)]),
    )
    amount = int(table.amounts(rate, np.array([quantity], np.int64))[0])
    if amount < 0:
        raise NotValuedError(f"the amount of {format_micro(quantity)} {method.unit} does not fit")
    return amount


def _used(choice: Input, figure: Figure, act: Act, *, witnessed: bool) -> Used:
    places = places_of(act.region)
    if not choice.local:
        why = "the methodology names this one figure"
    elif figure in choice.local and figure.place in places and figure.usable_on(act.day, witnessed=witnessed):
        why = f"holds in {place_name(figure.place)} on {act.day}"
    else:
        why = f"no figure of the place holds on {act.day}: the methodology's fallback"
    others = [other for other in dict.fromkeys(choice.figures) if other != figure]
    return Used(
        name=choice.name,
        figure=figure,
        why=why,
        source_title=load_sources()[figure.source].title if figure.source in load_sources() else figure.source,
        others=tuple(
            (other.id, _why_not(other, figure, act, witnessed=witnessed)) for other in others if other.place in places
        ),
        elsewhere=sum(other.place not in places for other in others),
    )


def _why_not(other: Figure, chosen: Figure, act: Act, *, witnessed: bool) -> str:
    if not other.holds_on(act.day):
        until = f" until {other.valid_until}" if other.valid_until else ""
        return f"holds from {other.valid_from}{until}, not on {act.day}"
    if other.witnessed and not witnessed:
        return "presumes that somebody besides the person saw the act"
    if other.place != chosen.place:
        return f"{place_name(chosen.place)} is closer"
    return "an older figure, or one that presumes no witness"
