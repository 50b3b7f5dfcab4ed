"""Which figure holds for an act: by place, by day, and by whether somebody else saw it. Pure.

The closest place wins (city, province, area of the grid, country); there, a figure that presumes a witness wins over one
that does not, if there was one; then the latest that held on the day of the act. Where none of them holds, the
methodology's own fallback does: a figure that it takes for every place and day.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fractions import Fraction
from itertools import combinations

from standards.datafile import DataError
from standards.factors import load_factors
from standards.measure import Measure, parse_measure
from standards.published import load_grid_factors, load_reference_values
from standards.regions import COUNTRY, Place

# What a figure presumes about the record: that somebody besides the person saw the act, or not.
WITNESSED = frozenset({"operator-record", "meter-record", "uploaded-record"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A published, derived or assumed number that a methodology can use."""

    id: str
    value: Fraction
    """In basic units: milligrams, kilometres, kilowatt-hours."""
    measure: Measure
    said: str
    """As published, with its unit."""
    place: Place = COUNTRY
    witnessed: bool = False
    """True if it holds only for acts that somebody besides the person saw."""
    valid_from: date | None = None
    valid_until: date | None = None
    bound: str = "exact"
    status: str
    source: str
    source_place: str
    behaviour: str | None = None
    """That a reduction factor is for; other figures are for none."""

    def holds_on(self, day: date) -> bool:
        """True if it was valid on the day of an act; a figure without a first day was valid always."""
        return (self.valid_from or date.min) <= day and (self.valid_until is None or day < self.valid_until)

    def usable_on(self, day: date, *, witnessed: bool) -> bool:
        """True if it held on the day of an act and presumes no witness that there was not."""
        return self.holds_on(day) and (witnessed or not self.witnessed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """A named input of a formula, and the figures it is chosen from."""

    name: str
    fallback: Figure
    local: tuple[Figure, ...] = ()

    @property
    def measure(self) -> Measure:
        """What it measures."""
        return self.fallback.measure

    @property
    def figures(self) -> tuple[Figure, ...]:
        """All figures it can be."""
        return (self.fallback, *self.local)

    def choose(self, places: Sequence[Place], day: date, *, witnessed: bool) -> Figure:
        """Return the figure for an act.

        Args:
            places: where it was, the closest first, as `regions.places_of` gives them.
            day: of the act, in the platform's zone.
            witnessed: whether the record comes from somebody else than the person.
        """
        usable = [figure for figure in self.local if figure.usable_on(day, witnessed=witnessed)]
        for place in places:
            here = [figure for figure in usable if figure.place == place]
            if here:
                return max(here, key=lambda figure: (figure.witnessed, figure.valid_from or date.min))
        return self.fallback


def undecided(figures: Iterable[Figure]) -> tuple[Figure, Figure] | None:
    """Return two figures between which no rule decides, if there are any."""
    for one, other in combinations(figures, 2):
        same = (one.place, one.witnessed, one.valid_from) == (other.place, other.witnessed, other.valid_from)
        if same and one.id != other.id:
            return one, other
    return None


def format_grams(mg: int) -> str:
    """Return milligrams as the shortest decimal text in grams: 45720 is "45.72"."""
    return f"{Decimal(mg).scaleb(-3).normalize():f}"


def load_figures() -> dict[str, Figure]:
    """Return every figure by id: reduction factors, electricity factors, and the values that derivations lean on.

    Raises:
        DataError: two tables use the same id.
    """
    figures: dict[str, Figure] = {}
    for figure in (*_reductions(), *_electricity(), *_references()):
        if figures.setdefault(figure.id, figure) is not figure:
            raise DataError(f"the id {figure.id} means two figures, of {figure.source} and {figures[figure.id].source}")
    return figures


def _reductions() -> Iterable[Figure]:
    for row in load_factors().iter_rows(named=True):
        _, measure = parse_measure(f"mg/{row['unit']}")
        per = f"{row['per']} " if row["per"] > 1 else ""
        yield Figure(
            id=row["factor_id"],
            value=Fraction(row["amount_mg"], row["per"]),
            measure=measure,
            said=f"{format_grams(row['amount_mg'])} g per {per}{row['unit']}",
            place=row["region"] or COUNTRY,
            witnessed=row["evidence"] in WITNESSED,
            valid_from=row["valid_from"],
            valid_until=row["valid_until"],
            bound=row["bound"],
            status=row["status"],
            source=row["source"],
            source_place=row["source_place"],
            behaviour=row["behaviour"],
        )


def _electricity() -> Iterable[Figure]:
    _, measure = parse_measure("mg/kWh")
    for row in load_grid_factors().iter_rows(named=True):
        place = row["region"]
        yield Figure(
            id=row["id"],
            value=Fraction(row["mg_per_kwh"]),
            measure=measure,
            said=f"{format_grams(row['mg_per_kwh'])} g per kWh ({row['basis']}, data of {row['year']})",
            place=int(place) if place.isdecimal() else place,
            valid_from=row["published"],
            status=row["status"],
            source=row["source"],
            source_place=f"notice with the data of {row['year']}",
        )


def _references() -> Iterable[Figure]:
    for row in load_reference_values().iter_rows(named=True):
        scale, measure = parse_measure(row["unit"])
        yield Figure(
            id=row["id"],
            value=Fraction(row["value"]) * scale,
            measure=measure,
            said=f"{row['value']} {row['unit']}",
            status=row["status"],
            source=row["source"],
            source_place=row["note"],
        )
