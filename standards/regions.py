"""Places by GB/T 2260 code, from a county up to the country. Pure.

Reads `data/regions.toml`. Figures hold for a city, a province, an area of the electricity grid, or the whole country.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType

from standards.datafile import DATA, load_rows

COUNTRY = "CN"
GRID_AREAS = frozenset({"north", "northeast", "east", "central", "northwest", "south", "southwest"})
Place = int | str
"""A city's or province's code, the name of a grid area, or COUNTRY."""


class RegionError(ValueError):
    """The code is not a place in China; the text lists what is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """A province, or a city that a figure is published for."""

    code: int
    zh: str
    en: str
    grid: str | None
    """The area of the electricity grid, of a province."""


@cache
def load_regions() -> Mapping[int, Region]:
    """Return provinces and cities by code."""
    return parse_regions(DATA / "regions.toml")


def parse_regions(file: Path) -> Mapping[int, Region]:
    """Read and check a table of regions.

    Raises:
        DataError: a row breaks a rule; the text names file and line.
    """
    regions: dict[int, Region] = {}
    for table in ("province", "city"):
        for row in load_rows(file, table):
            code = row.whole("code", minimum=110000)
            # A city draws on the area of its province.
            grid = row.text_or_none("grid", GRID_AREAS) if table == "province" else None
            region = Region(code=code, zh=row.text("zh"), en=row.text("en"), grid=grid)
            row.finish()
            if code in regions or code > 829999 or code % (10000 if table == "province" else 100):
                raise row.error(f"{code} occurs twice or is no {table}")
            if table == "city" and province_of(code) not in regions:
                raise row.error(f"{code} lies in no province")
            regions[code] = region
    return MappingProxyType(regions)


def city_of(code: int) -> int:
    """Return the code of the city that a county lies in."""
    return code // 100 * 100


def province_of(code: int) -> int:
    """Return the code of the province that a county or city lies in."""
    return code // 10000 * 10000


@cache
def province_codes() -> tuple[int, ...]:
    """Return the codes of all provinces."""
    return tuple(code for code in load_regions() if code % 10000 == 0)


def check_region(code: int) -> int:
    """Return the code if it lies in a province of China.

    Raises:
        RegionError: it does not; the text lists the provinces.
    """
    if province_of(code) not in province_codes():
        names = ", ".join(f"{province} {load_regions()[province].en}" for province in province_codes())
        raise RegionError(f"region {code} is not a GB/T 2260 code; its first two digits must be those of {names}")
    return code


def places_of(code: int | None) -> tuple[Place, ...]:
    """Return the places that a code lies in, the closest first; of an unknown or missing code just the country.

    Example:
        >>> places_of(420106)
        (420100, 420000, 'central', 'CN')
    """
    province = load_regions().get(province_of(code)) if code is not None else None
    if code is None or province is None:
        return (COUNTRY,)
    city = (city_of(code),) if city_of(code) != province.code else ()
    area = (province.grid,) if province.grid else ()
    return (*city, province.code, *area, COUNTRY)


def place_name(place: Place) -> str:
    """Return what to show for a place."""
    if place == COUNTRY:
        return "China"
    if isinstance(place, str):
        return f"{place} grid"
    known = load_regions().get(place)
    return f"{known.en} {known.zh}" if known else str(place)
