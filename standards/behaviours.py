"""The behaviour list: what a low-carbon act is called, how it is counted, and which acts exclude each other. Pure.

Reads `data/behaviours.toml`. Source: the behaviours that press accounts of T/ACEF 031-2022 and its follow-up standards
name, and those that platforms record; it is the hub's own code list, not a reproduction of that standard's annex.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType

from standards.datafile import DATA, DataError, Row, load_rows
from standards.schema import Precision

CATEGORIES = frozenset({"clothing", "food", "housing", "travel", "use", "office", "finance"})
# C: a source places it in T/ACEF 031-2022 or its family; c: platforms record it; U: recalled, unproved.
SUPPORT = frozenset({"C", "c", "U"})
# In these units one record without a quantity stands for one act; in all others nothing can be assumed.
COUNTED_UNITS = frozenset(
    "trip order meal time parcel carton once statement payment vehicle-day doc meeting".split()  # noqa: SIM905
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """A kind of low-carbon act."""

    code: str
    category: str
    zh: str
    en: str
    units: tuple[str, ...]
    """Units that records may use; the first is the default."""
    published_units: tuple[str, ...]
    """Further units in which issuers publish factors; records never use them."""
    day_unit: str | None
    """The default unit of a day record, where it differs."""
    group: str | None
    """Exclusivity group of records that tell a trip or session; day records never exclude."""
    family: str
    """Matching family: behaviours that platforms mix up."""
    countable: bool
    """True if an act counts one when nobody tells a quantity."""
    accepted: bool
    """True if the hub accepts records of it, so that the current methodology must have a method."""
    support: str
    aliases: tuple[str, ...]
    """Other names, with the mistranslations that sources carry."""
    sources: tuple[str, ...]

    def counts_one(self, unit: str | None) -> bool:
        """True if a record in this unit (None: the default unit) without a quantity stands for one."""
        return self.countable and (self.units[0] if unit is None else unit) in COUNTED_UNITS

    def group_at(self, precision: Precision) -> str | None:
        """Return the exclusivity group of a record of this precision."""
        return None if precision is Precision.DAY else self.group


@cache
def load_behaviours() -> Mapping[str, Behaviour]:
    """Return all behaviours by code, in the order of the list."""
    return parse_behaviours(DATA / "behaviours.toml")


@cache
def accepted_behaviours() -> Mapping[str, Behaviour]:
    """Return the behaviours whose records the hub accepts, by code."""
    return MappingProxyType({code: b for code, b in load_behaviours().items() if b.accepted})


def default_unit(behaviour: str, precision: str) -> str:
    """Return the unit of a record that names none.

    Raises:
        KeyError: the behaviour is not in the list.
        ValueError: the precision is not one of `Precision`.
    """
    known = load_behaviours()[behaviour]
    if Precision(precision) is Precision.DAY and known.day_unit is not None:
        return known.day_unit
    # MOB-WALK lists steps first, but a walk that is told as a trip is measured in kilometres.
    return next(unit for unit in known.units if unit != known.day_unit)


def parse_behaviours(file: Path) -> Mapping[str, Behaviour]:
    """Read and check one behaviour list.

    Raises:
        DataError: a row breaks a rule; the text names file and line.
    """
    behaviours: dict[str, Behaviour] = {}
    names: dict[str, str] = {}
    for row in load_rows(file, "behaviour"):
        behaviour = _parse_row(row)
        if behaviour.code in behaviours:
            raise row.error(f"behaviour {behaviour.code} occurs twice")
        for name in {behaviour.zh, behaviour.en, *behaviour.aliases}:
            owner = names.setdefault(name.casefold(), behaviour.code)
            if owner != behaviour.code:
                raise row.error(f"the name {name!r} already means {owner}")
        behaviours[behaviour.code] = behaviour
    if not behaviours:
        raise DataError(f"{file.name}: no behaviour")
    return MappingProxyType(behaviours)


def _parse_row(row: Row) -> Behaviour:
    code = row.text("code")
    behaviour = Behaviour(
        code=code,
        category=row.text("category", CATEGORIES),
        zh=row.text("zh"),
        en=row.text("en"),
        units=row.texts("units", required=True),
        published_units=row.texts("published_units"),
        day_unit=row.text_or_none("day_unit"),
        group=row.text_or_none("group"),
        family=row.text_or_none("family") or code,
        countable=row.flag("countable", default=False),
        accepted=row.flag("accepted", default=False),
        support=row.text("support", SUPPORT),
        aliases=row.texts("aliases"),
        sources=row.texts("sources"),
    )
    row.finish()
    if behaviour.day_unit is not None and behaviour.day_unit not in behaviour.units:
        raise row.error(f"day_unit {behaviour.day_unit!r} is not one of the units")
    if behaviour.countable and behaviour.units[0] not in COUNTED_UNITS:
        raise row.error(f"countable, but {behaviour.units[0]!r} is not a counted unit")
    if set(behaviour.units) & set(behaviour.published_units):
        raise row.error("a unit is listed twice")
    if behaviour.support != "U" and not behaviour.sources:
        raise row.error("support without a source")
    return behaviour
