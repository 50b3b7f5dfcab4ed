"""What every issuer says one unit of a behaviour saves, beside the hub's value of the same act, and why they differ. Pure.

Issuers' figures are those of the factor table, as published; the hub's value is that of `standards.explain` for one unit.
Values are compared within a unit only: grams per trip and grams per kilometre stand in different tables.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from fractions import Fraction
from typing import Any

import polars as pl

from standards.behaviours import Behaviour, load_behaviours
from standards.choice import Figure, load_figures
from standards.differences import Reason, successor_of, why_different
from standards.explain import Act, Explanation, NotValuedError, explain, text_of
from standards.factors import load_factors, load_sources
from standards.methodology import Methodology, load_methodology
from standards.points import load_reward_rules
from standards.regions import check_region, place_name, places_of
from standards.schema import Role
from standards.schemes import Scheme, load_schemes
from standards.units import MICRO

HUB = "tanlian-hub"


class Standing(StrEnum):
    """Whether a figure held on the day."""

    HOLDS = "holds"
    SUPERSEDED = "superseded"
    NOT_YET = "not yet"
    UNDATED = "undated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One issuer's figure beside the hub's value."""

    scheme: Scheme
    factor_id: str
    figure: Figure
    """`value` is milligrams per unit, exact."""
    unit: str
    evidence: str
    gas_scope: str
    baseline: str
    dated: str
    source_title: str
    standing: Standing
    successor: str | None
    """The figure by which its issuer replaced it."""
    here: bool
    """True if it holds for the place and on the day."""
    ratio: Fraction | None
    """To the hub's value; None if the hub has none in this unit."""
    reasons: tuple[Reason, ...]

    @property
    def floor(self) -> bool:
        """True if the issuer says "not lower than"."""
        return self.figure.bound == "floor"


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitTable:
    """All values in one unit: the hub's, then issuers' from the highest to the lowest."""

    unit: str
    hub: Explanation | None
    """Of one unit; None if the hub does not value the behaviour in it."""
    told: tuple[Told, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A behaviour's values by everybody, for one place, day and role."""

    behaviour: Behaviour
    region: int | None
    day: date
    role: str
    methodology: str
    tables: tuple[UnitTable, ...]
    notes: tuple[str, ...]

    @property
    def place(self) -> str:
        """The place as it is shown."""
        return "an unknown place" if self.region is None else place_name(self.region)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values; milligrams per unit as exact text."""
        return {
            "behaviour": self.behaviour.code, "zh": self.behaviour.zh, "en": self.behaviour.en, "region": self.region,
            "place": self.place, "day": self.day.isoformat(), "role": str(self.role), "methodology": self.methodology,
            "units": [
                {"unit": t.unit, "hub": t.hub and _hub_dict(t.hub), "figures": [_told_dict(told) for told in t.told]}
                for t in self.tables
            ],
            "notes": list(self.notes),
        }  # fmt: skip


def compare(
    behaviour: str,
    *,
    region: int | None = None,
    unit: str | None = None,
    day: date,
    role: str = Role.OPERATOR,
    methodology: Methodology | None = None,
) -> Comparison:
    """Put every issuer's figure for a behaviour beside the hub's value.

    Args:
        behaviour: its code.
        region: GB/T 2260 code of the place of the act, or None if it is not known.
        unit: only figures in this unit; None: all units.
        day: of the act.
        role: of who reports the act.
        methodology: of the hub; None: the current one.

    Raises:
        NotValuedError: the behaviour, unit, role or day is not valid; the text lists what is.
        RegionError: the region is not a place in China; the text lists the provinces.
    """
    version = methodology or load_methodology()
    known = _check(behaviour, unit, day, role, version)
    if region is not None:
        check_region(region)
    act = Act(behaviour=known.code, quantity_micro=MICRO, region=region, day=day, role=role)
    factors = load_factors().filter((pl.col("behaviour") == known.code) & (pl.col("issuer") != HUB))
    hub_units = tuple(method.unit for method in version.of_behaviour(known.code))
    published = dict.fromkeys(factors["unit"])
    units = [one for one in dict.fromkeys((*hub_units, *published)) if unit in (None, one)]
    tables = tuple(_table(act, one, factors.filter(unit=one), hub_units, version) for one in units)
    return Comparison(
        behaviour=known,
        region=region,
        day=day,
        role=role,
        methodology=version.version,
        tables=tables,
        notes=tuple(_notes(known, tables, unit, published)),
    )


def _check(behaviour: str, unit: str | None, day: date, role: str, version: Methodology) -> Behaviour:
    known = load_behaviours().get(behaviour)
    if known is None:
        raise NotValuedError(f"unknown behaviour {behaviour!r}; there are {', '.join(load_behaviours())}")
    units = (*known.units, *known.published_units)
    if unit is not None and unit not in units:
        raise NotValuedError(f"{known.code} is not told in {unit!r} but in {', '.join(units)}")
    if role not in set(Role):
        raise NotValuedError(f"unknown role {role!r}; there are {', '.join(Role)}")
    if day < version.acts_from:
        raise NotValuedError(f"{version.version} values acts from {version.acts_from} on, not of {day}")
    return known


def _table(act: Act, unit: str, rows: pl.DataFrame, hub_units: tuple[str, ...], version: Methodology) -> UnitTable:
    one = Act(behaviour=act.behaviour, quantity_micro=MICRO, unit=unit, region=act.region, day=act.day, role=act.role)
    hub = explain(one, version) if unit in hub_units else None
    figures = load_figures() if len(rows) else {}
    told = [_told(row, figures[row["factor_id"]], one, hub, hub_units) for row in rows.iter_rows(named=True)]
    return UnitTable(unit=unit, hub=hub, told=tuple(sorted(told, key=lambda t: (-t.figure.value, t.factor_id))))


def _told(row: dict[str, Any], figure: Figure, act: Act, hub: Explanation | None, hub_units: tuple[str, ...]) -> Told:
    standing = _standing(figure, act.day)
    reasons = why_different(row, figure, act, hub, hub_units)
    return Told(
        scheme=load_schemes()[row["issuer"]],
        factor_id=figure.id,
        figure=figure,
        unit=row["unit"],
        evidence=row["evidence"],
        gas_scope=row["gas_scope"],
        baseline=row["baseline"],
        dated=row["dated"],
        source_title=load_sources()[figure.source].title,
        standing=standing,
        successor=successor_of(row),
        here=figure.holds_on(act.day) and figure.place in places_of(act.region),
        ratio=figure.value / hub.exact_mg if hub is not None and hub.exact_mg else None,
        reasons=reasons,
    )


def _standing(figure: Figure, day: date) -> Standing:
    if figure.valid_from is None:
        return Standing.UNDATED
    if day < figure.valid_from:
        return Standing.NOT_YET
    return Standing.HOLDS if figure.holds_on(day) else Standing.SUPERSEDED


def _notes(known: Behaviour, tables: Iterable[UnitTable], unit: str | None, published: Iterable[str]) -> list[str]:
    notes = []
    if not any(table.told for table in tables):
        what = f"{known.code} ({known.zh})" + (f" per {unit}" if unit else "")
        notes.append(f"Nobody is known to publish a figure in grams for {what}.")
    elsewhere = [other for other in published if unit is not None and other != unit]
    if elsewhere:
        notes.append(f"It is also published per {', '.join(elsewhere)}, which is not comparable.")
    if not any(table.hub for table in tables):
        notes.append("The hub has no value for it: nothing is known that it could rest on, or it values other units.")
    if any(reward.behaviour == known.code for reward in load_reward_rules()):
        notes.append("Some issuers pay points for it, which are not grams: see their rules of points.")
    return notes


def _hub_dict(hub: Explanation) -> dict[str, Any]:
    return {
        "mg_per_unit": text_of(hub.exact_mg),
        "method": hub.method.id,
        "formula": hub.method.formula.text,
        "boundary": hub.method.boundary,
        "figures": [{"figure": u.figure.id, "said": u.figure.said, "why": u.why} for u in hub.used],
    }


def _told_dict(told: Told) -> dict[str, Any]:
    figure = told.figure
    return {
        "issuer": told.scheme.id, "zh": told.scheme.zh, "en": told.scheme.en, "figure": figure.id, "said": figure.said,
        "mg_per_unit": text_of(figure.value), "bound": figure.bound, "place": place_name(figure.place),
        "valid_from": figure.valid_from and figure.valid_from.isoformat(),
        "valid_until": figure.valid_until and figure.valid_until.isoformat(), "dated": told.dated,
        "standing": str(told.standing), "successor": told.successor, "here": told.here, "evidence": told.evidence,
        "gas_scope": told.gas_scope, "baseline": told.baseline, "status": figure.status, "source": figure.source,
        "source_title": told.source_title, "source_place": figure.source_place,
        "ratio": None if told.ratio is None else text_of(told.ratio),
        "reasons": [{"why": str(reason.why), "text": reason.text} for reason in told.reasons],
    }  # fmt: skip
