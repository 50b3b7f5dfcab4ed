"""Why an issuer's figure is not the hub's: reasons from a closed list, read from the data of both. Pure.

The texts of baselines and boundaries are the sources' own, so what they assume is recognised by their words; a test lists
which figure is taken for which assumption.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from standards.choice import Figure
from standards.explain import Act, Explanation
from standards.factors import load_factors
from standards.regions import COUNTRY, place_name, places_of
from standards.schema import Role

NOT_STATED = "not stated"


class Why(StrEnum):
    """Why two values are the same, differ, or cannot be compared."""

    SAME_FIGURE = "same-figure"
    PART_OF_FORMULA = "part-of-formula"
    EQUAL = "equal"
    OTHER_UNIT = "other-unit"
    NO_HUB_VALUE = "no-hub-value"
    OTHER_PLACE = "other-place"
    NO_LONGER = "no-longer"
    NOT_YET = "not-yet"
    BASELINE = "baseline"
    ELECTRICITY = "electricity"
    EVIDENCE = "evidence"
    FLOOR = "floor"
    GAS_SCOPE = "gas-scope"
    FACTOR_YEAR = "factor-year"
    NOT_TAKEN = "not-taken"
    HUB_FORMULA = "hub-formula"
    HUB_CHOICE = "hub-choice"
    NOT_STATED = "not-stated"


class Assumption(StrEnum):
    """What a figure assumes would have happened otherwise."""

    CAR = "every ride replaces a car ride"
    MIX = "the mix of modes that riders replace"
    MEAN = "the mean of all modes"
    HOUSEHOLD = "the city's mean household"
    GRID = "the local electricity mix"


# The words by which an assumption is known in `baseline`, `boundary` and `not_taken`.
WORDS: tuple[tuple[str, Assumption], ...] = (
    ("whole emission of a car", Assumption.CAR),
    ("for a car ride saved", Assumption.CAR),
    ("modes really replaced", Assumption.MIX),
    ("would have used instead", Assumption.MIX),
    ("mix of modes", Assumption.MIX),
    ("mean emission", Assumption.MEAN),
    ("mean household", Assumption.HOUSEHOLD),
    ("electricity mix", Assumption.GRID),
)
_WITNESS = "a record of somebody else"
_GRADES = {
    "operator-record": _WITNESS,
    "meter-record": _WITNESS,
    "uploaded-record": _WITNESS,
    "self-check-in": "the person's word alone",
    "self-report": "the person's word alone",
    "survey": "a survey",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One reason, and a short sentence for people."""

    why: Why
    text: str


def assumption_of(text: str) -> Assumption | None:
    """Return what a text about a baseline assumes, or None if it does not say."""
    return next((assumption for words, assumption in WORDS if words in text), None)


def why_different(
    row: Mapping[str, Any], figure: Figure, act: Act, explained: Explanation | None, hub_units: tuple[str, ...]
) -> tuple[Reason, ...]:
    """Return why an issuer's figure is what it is beside the hub's value, the weightiest reason first.

    Args:
        row: of the factor table (FACTOR_SCHEMA).
        figure: the same as a figure.
        act: the act that both are compared for: place, day, role.
        explained: the hub's value of one unit of it, or None if the hub has none in this unit.
        hub_units: the units in which the hub values the behaviour.
    """
    if explained is None:
        return _without_hub_value(row, hub_units)
    if figure in {used.figure for used in explained.used}:
        if explained.exact_mg == figure.value:
            how = "" if figure.place in places_of(act.region) else ", as its fallback for every place"
            return (Reason(why=Why.SAME_FIGURE, text=f"the figure that the hub takes{how}"),)
        how = explained.method.note or f"it computes {explained.method.formula.text}"
        return (Reason(why=Why.PART_OF_FORMULA, text=f"the hub starts from this figure: {how}"),)
    where = tuple(_place_and_time(row, figure, act))
    if explained.exact_mg == figure.value:
        names = ", ".join(used.figure.id for used in explained.used)
        return (Reason(why=Why.EQUAL, text=f"as much as the hub counts, by {names}"), *where)
    reasons = [*where, *_assumptions(row, explained), *_attributes(row, explained), *_choice(explained)]
    if assumption_of(row["baseline"]) is None and row["status"] != "derived":
        reasons.append(Reason(why=Why.NOT_STATED, text="its issuer does not say against which baseline"))
    return tuple(reasons)


def _without_hub_value(row: Mapping[str, Any], hub_units: tuple[str, ...]) -> tuple[Reason, ...]:
    if not hub_units:
        return (Reason(why=Why.NO_HUB_VALUE, text=f"the hub does not value {row['behaviour']}"),)
    told = f"per {row['unit']}, and the hub values it per {' or '.join(hub_units)}: not comparable"
    return (Reason(why=Why.OTHER_UNIT, text=told),)


def successor_of(row: Mapping[str, Any]) -> str | None:
    """Return the issuer's figure that begins where this one ends, in the same unit if there is one."""
    if row["valid_until"] is None:
        return None
    rows = load_factors().filter(issuer=row["issuer"], behaviour=row["behaviour"], valid_from=row["valid_until"])
    names = [later["factor_id"] for later in sorted(rows.to_dicts(), key=lambda later: later["unit"] != row["unit"])]
    return names[0] if names else None


def _place_and_time(row: Mapping[str, Any], figure: Figure, act: Act) -> Iterator[Reason]:
    if figure.valid_until is not None and figure.valid_until <= act.day:
        successor = successor_of(row)
        then = f", then {successor}" if successor else ""
        yield Reason(why=Why.NO_LONGER, text=f"no longer valid: held until {figure.valid_until}{then}")
    elif figure.valid_from is not None and act.day < figure.valid_from:
        yield Reason(why=Why.NOT_YET, text=f"not yet valid: holds from {figure.valid_from}")
    if figure.place not in places_of(act.region):
        here = "no place was told" if act.region is None else f"not in {place_name(act.region)}"
        yield Reason(why=Why.OTHER_PLACE, text=f"holds in {place_name(figure.place)}, {here}")


def _assumptions(row: Mapping[str, Any], explained: Explanation) -> Iterator[Reason]:
    own, hubs = assumption_of(row["baseline"]), _hub_assumption(explained)
    grid = [used.figure for used in explained.used if used.figure.id.startswith("grid-")]
    if grid:
        about = f"{place_name(grid[0].place)}: {grid[0].said}"
        yield Reason(why=Why.ELECTRICITY, text=f"{own or 'another electricity factor'}; the hub takes that of {about}")
    elif own is not None and own != hubs:
        yield Reason(why=Why.BASELINE, text=f"assumes {own}; the hub: {hubs or NOT_STATED}")
    left = next((left.why for left in explained.method.not_taken if left.factor == row["factor_id"]), None)
    # Said already, if it is the figure's own assumption in other words.
    if left is not None and (assumption_of(left) is None or assumption_of(left) != own):
        yield Reason(why=Why.NOT_TAKEN, text=f"not taken by the hub: {left}")


def _attributes(row: Mapping[str, Any], explained: Explanation) -> Iterator[Reason]:
    hubs = _hub_row(explained)
    grade = _GRADES.get(row["evidence"])
    hub_grade = None if hubs is None else _GRADES.get(hubs["evidence"])
    if grade == _WITNESS and not Role(explained.act.role).is_witness:
        yield Reason(why=Why.EVIDENCE, text=f"presumes {_WITNESS}, and here the person alone tells")
    elif grade and hub_grade and grade != hub_grade:
        yield Reason(why=Why.EVIDENCE, text=f"rests on {grade}, the hub's on {hub_grade}")
    if hubs is None:
        return
    if row["bound"] != hubs["bound"]:
        floor = "a floor, the value may be higher" if row["bound"] == "floor" else "exact, and the hub's is a floor"
        yield Reason(why=Why.FLOOR, text=floor)
    if row["gas_scope"] != hubs["gas_scope"]:
        yield Reason(why=Why.GAS_SCOPE, text=f"gases: {row['gas_scope']}; the hub's: {hubs['gas_scope']}")
    begun, hub_begun = row["valid_from"], hubs["valid_from"]
    if begun and hub_begun and begun.year != hub_begun.year:
        yield Reason(why=Why.FACTOR_YEAR, text=f"of {begun.year}, the hub's of {hub_begun.year}")


def _choice(explained: Explanation) -> Iterator[Reason]:
    method = explained.method
    if len(explained.used) > 1:
        yield Reason(why=Why.HUB_FORMULA, text=f"the hub computes {method.formula.text}")
        return
    chosen = explained.used[0].figure
    if method.at_most_mg is not None:
        yield Reason(why=Why.HUB_CHOICE, text=f"the hub: {method.note}")
    elif chosen.place != COUNTRY and chosen.place in places_of(explained.act.region):
        yield Reason(why=Why.HUB_CHOICE, text=f"the hub takes {chosen.id}, published for {place_name(chosen.place)}")
    else:
        yield Reason(why=Why.HUB_CHOICE, text=f"the hub takes no figure of the place, but its cautious {chosen.id}")


def _hub_assumption(explained: Explanation) -> Assumption | None:
    """What the hub's value assumes: by its method's boundary, else by the one figure it rests on."""
    row = _hub_row(explained)
    return assumption_of(explained.method.boundary) or (None if row is None else assumption_of(row["baseline"]))


def _hub_row(explained: Explanation) -> dict[str, Any] | None:
    """The hub's one figure in the factor table; None if its value comes from several or from another table."""
    if len(explained.used) != 1:
        return None
    rows = load_factors().filter(factor_id=explained.used[0].figure.id).to_dicts()
    return rows[0] if rows else None
