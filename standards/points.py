"""Points, "energy", credits, coins, money: what issuers pay for acts, kept apart from grams by type. Pure.

Reads `data/rewards.toml`. One issuer's points are not another's and none of them are grams:
`Points` adds to nothing but its own kind of its own issuer. The grams behind a point differ by behaviour, so they are told
only as information (`ImpliedRate`), for which there is no arithmetic at all.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from functools import cache
from typing import Any, ClassVar

from standards.behaviours import load_behaviours
from standards.exchanges import load_exchanges
from standards.factors import load_factors
from standards.published import load_rewards
from standards.schemes import load_schemes
from standards.units import MICRO, parse_decimal


class NoRewardError(ValueError):
    """The issuer has published no such reward; the text lists what it has published."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Points:
    """An amount in one issuer's own unit. It is no number: it joins only its own kind of the same issuer."""

    # numpy would otherwise try to add it to an array element by element.
    __array_ufunc__: ClassVar[None] = None

    amount: Fraction
    kind: str
    """The issuer's unit, such as "point" or "green energy"."""
    issuer: str

    def __add__(self, other: object) -> "Points":
        if type(other) is not Points or (other.kind, other.issuer) != (self.kind, self.issuer):
            what = f"{other.kind} of {other.issuer}" if type(other) is Points else type(other).__name__
            raise TypeError(f"{self.kind} of {self.issuer} cannot be added to {what}")
        return Points(amount=self.amount + other.amount, kind=self.kind, issuer=self.issuer)

    def __radd__(self, other: object) -> "Points":
        raise TypeError(f"{type(other).__name__} cannot be added to {self.kind} of {self.issuer}")

    def __str__(self) -> str:
        return f"{decimal_text(self.amount)} {self.kind} ({self.issuer})"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImpliedRate:
    """Grams of CO2e that one point stands for in one behaviour, derived from two published figures; only to be shown."""

    mg: Fraction
    factor: str
    """The figure in grams."""

    def __str__(self) -> str:
        return f"{decimal_text(self.mg / 1000)} g each, by {self.factor}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reward:
    """What an issuer pays for `per` units of a behaviour."""

    issuer: str
    behaviour: str
    unit: str
    pays: Points
    per: int
    rounding: str
    """whole, proportional, or unstated."""
    day_most: Points | None
    valid_from: date | None
    valid_until: date | None
    dated: str
    note: str | None
    source: str
    status: str

    def holds_on(self, day: date) -> bool:
        """True if it was valid on the day, as far as its source tells."""
        return (self.valid_from or date.min) <= day and (self.valid_until is None or day < self.valid_until)

    def implied(self, day: date | None = None) -> ImpliedRate | None:
        """Return the grams behind one point, if the issuer also publishes grams for this behaviour, in one figure.

        Args:
            day: only figures that held then; None: the latest.
        """
        rows = load_factors().filter(issuer=self.issuer, behaviour=self.behaviour, unit=self.unit).to_dicts()
        held = [r for r in rows if day is None or (r["valid_from"] or date.min) <= day < (r["valid_until"] or date.max)]
        if not held:
            return None
        row = max(held, key=lambda row: row["valid_from"] or date.min)
        mg = Fraction(row["amount_mg"], row["per"]) / (self.pays.amount / self.per)
        return ImpliedRate(mg=mg, factor=row["factor_id"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Earned:
    """What an act earns. The two amounts differ only where the source does not say if part of a step earns part of it."""

    reward: Reward
    at_least: Points
    """Whole steps only."""
    at_most: Points
    """In proportion."""
    note: str | None

    @property
    def certain(self) -> bool:
        """True if the source leaves no doubt about the amount."""
        return self.at_least == self.at_most


@cache
def load_reward_rules() -> tuple[Reward, ...]:
    """Return all rewards, in the order of the file."""
    return tuple(_reward(row) for row in load_rewards().iter_rows(named=True))


def points_for(
    issuer: str, behaviour: str, unit: str, quantity_micro: int, day: date, *, case: str | None = None
) -> Earned:
    """Return what an issuer pays for an act, in its own unit.

    Args:
        issuer: id of a scheme.
        behaviour: code of the behaviour.
        unit: as the reward is published in; nothing is converted.
        quantity_micro: millionths of the unit.
        day: of the act.
        case: the reward's note, where the issuer pays differently by case (such as "battery electric car").

    Raises:
        NoRewardError: there is no such reward on the day, or several between which only a case decides, or the quantity is
            negative; the text lists what there is.
    """
    if quantity_micro < 0:
        raise NoRewardError(f"{behaviour} needs a quantity in {unit}, zero or more")
    own = [reward for reward in load_reward_rules() if reward.issuer == issuer]
    fitting = [reward for reward in own if (reward.behaviour, reward.unit) == (behaviour, unit)]
    held = [reward for reward in fitting if reward.holds_on(day)]
    if case is not None:
        held = [reward for reward in held if reward.note == case]
    if len(held) != 1:
        raise NoRewardError(_refusal(issuer, behaviour, unit, day, held, own))
    return _earned(held[0], quantity_micro)


def decimal_text(value: Fraction) -> str:
    """Return a number to show: exact where it has at most four decimals, else rounded half-even to four."""
    rounded = round(value * 10_000)
    exact = value * 10_000 == rounded
    whole, rest = divmod(abs(rounded), 10_000)
    text = f"{whole}.{rest:04d}".rstrip("0").rstrip(".")
    return f"{'' if exact else 'about '}{'-' if rounded < 0 else ''}{text}"


def _earned(reward: Reward, quantity_micro: int) -> Earned:
    steps = Fraction(quantity_micro, MICRO) / reward.per
    whole, part = reward.pays.amount * int(steps), reward.pays.amount * steps
    if reward.rounding != "unstated":
        whole = part = whole if reward.rounding == "whole" else part
    notes = []
    if whole != part:
        notes.append(f"the source does not say whether part of {reward.per} {reward.unit} earns part of it")
    if reward.day_most is not None and part > reward.day_most.amount:
        whole, part = min(whole, reward.day_most.amount), reward.day_most.amount
        notes.append(f"at most {reward.day_most} a day")
    if reward.status == "unverified":
        notes.append("recalled, without a source that could be shown")
    return Earned(
        reward=reward,
        at_least=Points(amount=whole, kind=reward.pays.kind, issuer=reward.issuer),
        at_most=Points(amount=part, kind=reward.pays.kind, issuer=reward.issuer),
        note="; ".join(notes) or None,
    )


def _refusal(issuer: str, behaviour: str, unit: str, day: date, held: list[Reward], own: list[Reward]) -> str:
    if issuer not in load_schemes():
        return f"there is no scheme {issuer!r}; there are {', '.join(load_schemes())}"
    if len(held) > 1:
        cases = "; ".join(f"{reward.note}: {reward.pays}" for reward in held)
        return f"{issuer} pays for {behaviour} by case: {cases}"
    known = [_said(reward) for reward in own]
    known += [f"{exchange.rule}" for exchange in load_exchanges().values() if exchange.issuer == issuer]
    listed = "; ".join(known) or "nothing that was found"
    unknown = "" if behaviour in load_behaviours() else ", which is no behaviour that is known"
    return f"{issuer} has no reward for {behaviour} per {unit} on {day}{unknown}; it publishes: {listed}"


def _said(reward: Reward) -> str:
    since = f" from {reward.valid_from}" if reward.valid_from else ""
    note = f" ({reward.note})" if reward.note else ""
    per = f"{reward.per} " if reward.per > 1 else ""
    amount = f"{decimal_text(reward.pays.amount)} {reward.pays.kind}"
    return f"{reward.behaviour} {amount} per {per}{reward.unit}{note}{since}"


def _reward(row: Mapping[str, Any]) -> Reward:
    def points(text: str) -> Points:
        return Points(amount=parse_decimal(text), kind=row["reward_unit"], issuer=row["issuer"])

    return Reward(
        issuer=row["issuer"],
        behaviour=row["behaviour"],
        unit=row["unit"],
        pays=points(row["amount"]),
        per=row["per"],
        rounding=row["rounding"],
        day_most=None if row["day_most"] is None else points(row["day_most"]),
        valid_from=row["valid_from"],
        valid_until=row["valid_until"],
        dated=row["dated"],
        note=row["note"],
        source=row["source"],
        status=row["status"],
    )
