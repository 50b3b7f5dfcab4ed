"""The sections of a clearing policy that say what one person's day, places and step counts can be. Pure.

Reads `[energy]`, `[travel]`, `[steps]`, `[drift]` of `data/clearing-policy-*.toml` and `data/neighbours.toml`. A policy
without a section has no such rule. Everything here leads to a hold, never to a rejection.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType

from standards.behaviours import load_behaviours
from standards.datafile import DATA, DataError, Row, load_document, load_rows, load_table
from standards.regions import load_regions, province_of
from standards.schema import Role

SECTIONS = frozenset({"energy", "travel", "steps", "drift"})
ROLES = frozenset(str(role) for role in Role)
UNKNOWN_APART = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyRules:
    """What charging can be, by behaviours that are told in kWh."""

    behaviours: frozenset[str]
    max_kw: int
    max_day_kwh: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TravelRules:
    """When one person cannot have been at two places: the road between them is longer than any way of going it."""

    behaviours: frozenset[str]
    """Acts for which the person has to be there."""
    roles: frozenset[str]
    """Whose word about the place is taken: who was there too."""
    km_by_borders: tuple[int, ...]
    """The least distance of two provinces by the number of borders between them; the last holds for all further ones."""
    fastest_kmh: int
    """Between the two acts."""
    local_kmh: int
    """During them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRules:
    """Signs of a device or a program that makes steps. Heuristics: they hold, and somebody looks."""

    behaviours: frozenset[str]
    min_steps: int
    """Days with fewer steps show nothing."""
    round_to: int
    """Multiples of it show nothing: goals and caps of apps are round."""
    span_days: int
    """Days further apart than this are not set against one another."""
    same_days: int
    """So many days with one count, to the step."""
    band_days: int
    """So many told days running within `band_permille` of one another."""
    band_permille: int
    full_days: int
    """So many days of at least `full_permille` of the most that a day may have."""
    full_permille: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftRules:
    """When a platform's figures of one window are not what its own earlier windows were."""

    history: int
    """So many earlier windows are looked at, at most."""
    min_windows: int
    """With fewer there is nothing to compare with."""
    min_records: int
    """With fewer records in the window, or in the median of the earlier ones, a figure says nothing."""
    deviations_permille: int
    """How many robust standard deviations off is drift, in thousandths."""
    floor_permille: int
    """A figure that moved by less than this part of its median has not drifted, however steady it was."""
    floor_share_permille: int
    """The same for shares, in thousandths of all records."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DoubtRules:
    """The sections that a policy has; None where it has none."""

    energy: EnergyRules | None
    travel: TravelRules | None
    steps: StepRules | None
    drift: DriftRules | None


def parse_doubts(file: Path) -> DoubtRules:
    """Read and check the sections of one policy file.

    Raises:
        DataError: a section is misspelt or contradicts itself.
    """
    has = load_document(file).keys() & SECTIONS
    return DoubtRules(
        energy=_energy(load_table(file, "energy")) if "energy" in has else None,
        travel=_travel(load_table(file, "travel")) if "travel" in has else None,
        steps=_steps(load_table(file, "steps")) if "steps" in has else None,
        drift=_drift(load_table(file, "drift")) if "drift" in has else None,
    )


def _energy(row: Row) -> EnergyRules:
    in_kwh = frozenset(code for code, known in load_behaviours().items() if known.units[0] == "kWh")
    rules = EnergyRules(
        behaviours=frozenset(row.texts("behaviours", required=True, allowed=in_kwh)),
        max_kw=row.whole("max_kw", minimum=1),
        max_day_kwh=row.whole("max_day_kwh", minimum=1),
    )
    row.finish()
    return rules


def _travel(row: Row) -> TravelRules:
    rules = TravelRules(
        behaviours=frozenset(row.texts("behaviours", required=True, allowed=frozenset(load_behaviours()))),
        roles=frozenset(row.texts("roles", required=True, allowed=ROLES)),
        km_by_borders=row.wholes("km_by_borders"),
        fastest_kmh=row.whole("fastest_kmh", minimum=1),
        local_kmh=row.whole("local_kmh", minimum=1),
    )
    row.finish()
    km = rules.km_by_borders
    if len(km) < 3 or any(km[:2]) or list(km) != sorted(km):
        raise row.error("km_by_borders must begin with 0, 0 (the same province, and one that touches it) and rise")
    if rules.local_kmh > rules.fastest_kmh:
        raise row.error("local_kmh must not be above fastest_kmh")
    return rules


def _steps(row: Row) -> StepRules:
    rules = StepRules(
        behaviours=frozenset(row.texts("behaviours", required=True, allowed=frozenset(load_behaviours()))),
        min_steps=row.whole("min_steps", minimum=1),
        round_to=row.whole("round_to", minimum=2),
        span_days=row.whole("span_days", minimum=2),
        same_days=row.whole("same_days", minimum=2),
        band_days=row.whole("band_days", minimum=2),
        band_permille=row.whole("band_permille", minimum=1),
        full_days=row.whole("full_days", minimum=2),
        full_permille=row.whole("full_permille", minimum=1),
    )
    row.finish()
    if max(rules.same_days, rules.band_days, rules.full_days) > rules.span_days:
        raise row.error("a pattern cannot need more days than span_days has")
    return rules


def _drift(row: Row) -> DriftRules:
    rules = DriftRules(
        history=row.whole("history", minimum=1),
        min_windows=row.whole("min_windows", minimum=2),
        min_records=row.whole("min_records", minimum=1),
        deviations_permille=row.whole("deviations_permille", minimum=1),
        floor_permille=row.whole("floor_permille", minimum=1),
        floor_share_permille=row.whole("floor_share_permille", minimum=1),
    )
    row.finish()
    if rules.min_windows > rules.history:
        raise row.error("min_windows must not be above history")
    return rules


# --- how far apart provinces are --------------------------------------------------------------------------------------


@cache
def load_neighbours() -> Mapping[int, frozenset[int]]:
    """Return the provinces that touch each province, by code."""
    return parse_neighbours(DATA / "neighbours.toml")


def parse_neighbours(file: Path) -> Mapping[int, frozenset[int]]:
    """Read and check a table of neighbours.

    Raises:
        DataError: a province is missing, unknown or told twice, or touches one that does not touch it.
    """
    touches: dict[int, frozenset[int]] = {}
    for row in load_rows(file, "neighbour"):
        code, others = row.whole("code"), frozenset(row.wholes("touches"))
        row.finish()
        if code in touches or code in others:
            raise row.error(f"{code} occurs twice")
        touches[code] = others
    known = {code for code in load_regions() if province_of(code) == code}
    if touches.keys() != known:
        raise DataError(f"{file.name}: not the provinces of regions.toml: {sorted(touches.keys() ^ known)}")
    for code, others in touches.items():
        odd = [other for other in others if code not in touches.get(other, frozenset())]
        if odd:
            raise DataError(f"{file.name}: {code} touches {odd[0]}, which does not touch it")
    return MappingProxyType(touches)


@cache
def borders_between(one: int, other: int) -> int:
    """Return how many borders of provinces lie between two provinces; UNKNOWN_APART if either is none.

    Example:
        >>> borders_between(110000, 110000), borders_between(110000, 130000), borders_between(110000, 310000)
        (0, 1, 4)
    """
    touches = load_neighbours()
    if one not in touches or other not in touches:
        return UNKNOWN_APART
    seen, waiting = {one: 0}, deque([one])
    while waiting:
        here = waiting.popleft()
        if here == other:
            return seen[here]
        for there in touches[here] - seen.keys():
            seen[there] = seen[here] + 1
            waiting.append(there)
    return UNKNOWN_APART
