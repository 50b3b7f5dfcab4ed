"""The closed vocabulary of mapping files: which transforms each field takes, and how conditions are written. Pure."""

from collections.abc import Callable
from fractions import Fraction

import polars as pl

from mappings import model
from mappings.decimals import LIMIT, decimal_places
from mappings.section import Section
from mappings.times import UNIX_UNITS
from mappings.tokens import KINDS
from standards.behaviours import accepted_behaviours
from standards.regions import RegionError, check_region
from standards.schema import Precision, Role
from standards.units import UnitError, multiplier, parse_decimal_micro

COMPARISONS = ("equals", "in", "equals_number", "absent", "flag", "same_as")
TIME_FORMS = ("offset", "local", "unix", "day_start", "day_end")


def parse_case(section: Section, name: str) -> model.Case:
    """Check one case of a field.

    Raises:
        MappingError: unknown key, transform, behaviour, unit, role, zone ...; the text names file and field.
    """
    when = parse_condition(section.section("when")) if section.has("when") else None
    unit = _parse_unit(section) if name == "quantity" else None
    transform = FIELDS[name](section, unit or "")
    section.finish()
    return model.Case(when=when, transform=transform, unit=unit)


def parse_condition(section: Section) -> model.Condition:
    """Check one condition.

    Raises:
        MappingError: it is not exactly one of the known forms.
    """
    if section.has("all") or section.has("any"):
        form = "all" if section.has("all") else "any"
        conditions = tuple(parse_condition(part) for part in section.sections(form))
        section.finish()
        return model.AllOf(conditions=conditions) if form == "all" else model.AnyOf(conditions=conditions)
    if section.has("not"):
        condition = parse_condition(section.section("not"))
        section.finish()
        return model.Not(condition=condition)
    paths = section.path("path")
    forms = [form for form in COMPARISONS if section.has(form)]
    if len(forms) != 1:
        raise section.error("", f"a condition says exactly one of {', '.join(COMPARISONS)}")
    parsed = _parse_comparison(section, forms[0], paths)
    section.finish()
    return parsed


def _parse_comparison(section: Section, form: str, paths: tuple[tuple[str, ...], ...]) -> model.Condition:
    match form:
        case "equals":
            return model.Equals(paths=paths, values=(section.text("equals"),))
        case "in":
            return model.Equals(paths=paths, values=section.texts("in"))
        case "equals_number":
            return model.EqualsNumber(paths=paths, value_micro=_parse_micro(section, "equals_number"))
        case "absent":
            return model.IsAbsent(paths=paths, expected=section.flag("absent"))
        case "flag":
            return model.IsFlag(paths=paths, expected=section.flag("flag"))
        case _:
            return model.SameAs(paths=paths, others=section.path("same_as"))


def _parse_micro(section: Section, name: str) -> int:
    try:
        value = parse_decimal_micro(section.text(name))
    except UnitError as cause:
        raise section.error(name, str(cause)) from cause
    if not 0 <= value < LIMIT:
        raise section.error(name, "is negative or too large")
    return value


def _parse_text(section: Section, _: str) -> model.Transform:
    if section.has("join"):
        return model.Join(parts=tuple((path,) for path in section.path_list("join")), separator=section.text("with"))
    return model.Text(paths=section.path("path"))


def _parse_account(section: Section, _: str) -> model.Transform:
    name = next((name for name in ("link", "nobody") if section.has(name)), None)
    if name is None:
        return _parse_text(section, "")
    if not section.flag(name):
        raise section.error(name, "can only be true")
    return model.Link() if name == "link" else model.Nobody()


def _parse_version(section: Section, _: str) -> model.Transform:
    if section.has("time"):
        return _parse_time(section, "")
    if not section.has("constant"):
        return model.Number(paths=section.path("path"), places=0)
    value = section.whole("constant")
    if not 0 <= value < LIMIT:
        raise section.error("constant", "is negative or too large")
    return model.Constant(value=value)


def _parse_cancelled(section: Section, _: str) -> model.Transform:
    if section.has("constant"):
        is_back = section.flag("constant")
        if is_back and not section.has("when"):
            raise section.error("constant", "a format in which every act is taken back makes no sense")
        return model.Constant(value=int(is_back))
    paths, back, normal = section.path("path"), section.texts("reversed"), section.texts("normal")
    if set(back) & set(normal):
        raise section.error("normal", "a status is both reversed and normal")
    return model.Reversal(paths=paths, reversed=back, normal=normal)


def _parse_time(section: Section, _: str) -> model.Transform:
    form = section.word("time", TIME_FORMS)
    paths = section.path("path")
    if form == "offset" and not section.has("zone"):
        return model.OffsetTime(paths=paths)
    if form == "unix":
        return model.UnixTime(paths=paths, unit=section.word("unit", tuple(UNIX_UNITS)))
    zone = section.text("zone")
    if not _is_zone(zone):
        raise section.error("zone", f"unknown zone {zone!r}")
    if form == "offset":
        return model.OffsetTime(paths=paths, zone=zone)
    if form == "local":
        return model.LocalTime(paths=paths, zone=zone)
    return model.ServiceDay(paths=paths, zone=zone, end=form == "day_end")


def _is_zone(zone: str) -> bool:
    """Whether the engine that will apply it knows the zone; fixed offsets are no zones."""
    try:
        pl.Series([0]).cast(pl.Datetime("us")).dt.replace_time_zone(zone)
    except (pl.exceptions.ComputeError, pl.exceptions.InvalidOperationError):
        return False
    return "/" in zone or zone == "UTC"


def _words_of(allowed: tuple[str, ...]) -> Callable[[Section, str], model.Transform]:
    def parse(section: Section, _: str) -> model.Transform:
        if section.has("constant"):
            return model.Constant(value=section.word("constant", allowed))
        paths = section.path("path")
        table = section.section("enum")
        ours = tuple(table.word(theirs, allowed) for theirs in table.values)
        return model.Words(paths=paths, theirs=tuple(table.values), ours=ours)

    return parse


def _parse_unit(section: Section) -> str:
    known = {unit for behaviour in accepted_behaviours().values() for unit in behaviour.units}
    return section.word("unit", tuple(sorted(known)))


def _parse_quantity(section: Section, unit: str) -> model.Transform:
    if section.has("constant"):
        return model.Constant(value=_parse_micro(section, "constant"))
    return model.Number(paths=section.path("path"), places=6 + _places(section, unit))


def _parse_claim(section: Section, _: str) -> model.Transform:
    return model.Number(paths=section.path("path"), places=_places(section, "mg"))


def _places(section: Section, target: str) -> int:
    try:
        factor: Fraction = multiplier(section.text("from"), target)
    except UnitError as cause:
        raise section.error("from", str(cause)) from cause
    places = decimal_places(factor)
    if places is None:
        raise section.error("from", f"x {factor} is not a shift of the decimal point, which is all that stays exact")
    return places


def _parse_key(section: Section, _: str) -> model.Transform:
    source = _parse_text(section, "")
    if not isinstance(source, model.Text | model.Join):
        raise section.error("", "a key is made from a path or a join")
    return model.Token(source=source, kind=section.word("token", KINDS))


def _parse_region(section: Section, _: str) -> model.Transform:
    if section.has("constant"):
        return model.Constant(value=_region(section, "constant"))
    paths = section.path("path")
    if not section.has("enum"):
        return model.Number(paths=paths, places=0)
    table = section.section("enum")
    ours = tuple(_region(table, theirs) for theirs in table.values)
    return model.Codes(paths=paths, theirs=tuple(table.values), ours=ours)


def _region(section: Section, name: str) -> int:
    region = section.whole(name)
    try:
        return check_region(region)
    except RegionError as cause:
        raise section.error(name, f"unknown region {region}: {cause}") from cause


FIELDS: dict[str, Callable[[Section, str], model.Transform]] = {
    "behaviour": _words_of(tuple(accepted_behaviours())),
    "source_id": _parse_text,
    "account": _parse_account,
    "version": _parse_version,
    "cancelled": _parse_cancelled,
    "role": _words_of(tuple(Role)),
    "precision": _words_of(tuple(Precision)),
    "start_at": _parse_time,
    "end_at": _parse_time,
    "posted_at": _parse_time,
    "quantity": _parse_quantity,
    "claimed_mg": _parse_claim,
    "event_key": _parse_key,
    "payment_key": _parse_key,
    "region": _parse_region,
}
"""Every field of a record that a mapping fills, and what may fill it."""

REQUIRED = ("behaviour", "source_id", "account", "version", "cancelled", "role", "precision", "start_at", "end_at")
