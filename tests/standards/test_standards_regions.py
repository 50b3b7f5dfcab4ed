"""Places: every code lies in its province, its grid area and the country, and a bad table is refused with file and line."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from standards.datafile import DATA, DataError
from standards.regions import (
    COUNTRY,
    GRID_AREAS,
    RegionError,
    check_region,
    city_of,
    load_regions,
    parse_regions,
    place_name,
    places_of,
    province_of,
)

EXAMPLES = settings(max_examples=60, deadline=None)
PROVINCES = [code for code in load_regions() if code % 10000 == 0]
# The first two digits of GB/T 2260.
NUMBERS = [
    *range(11, 16), *range(21, 24), *range(31, 38), *range(41, 47), *range(50, 55), *range(61, 66), 71, 81, 82,
]  # fmt: skip
GOOD = """
[[province]]
code = 420000
zh = "湖北"
en = "Hubei"
grid = "central"

[[city]]
code = 420100
zh = "武汉"
en = "Wuhan"
"""


def test_the_provinces_are_those_of_the_national_code():
    assert sorted(PROVINCES) == [number * 10000 for number in NUMBERS]
    assert len({load_regions()[code].zh for code in PROVINCES}) == len({load_regions()[code].en for code in PROVINCES})


def test_every_grid_area_covers_a_province_and_four_provinces_have_none():
    areas = {code: load_regions()[code].grid for code in PROVINCES}
    assert {area for area in areas.values() if area} == GRID_AREAS
    assert {load_regions()[code].en for code, area in areas.items() if area is None} == {
        "Inner Mongolia", "Taiwan", "Hong Kong", "Macao",
    }  # fmt: skip


def test_the_south_grid_is_that_of_the_five_southern_provinces():
    # Guangdong, Guangxi, Hainan, Guizhou and Yunnan: doi 10.3389/fenrg.2024.1479316, abstract.
    south = {code for code in PROVINCES if load_regions()[code].grid == "south"}
    assert south == {440000, 450000, 460000, 520000, 530000}


@pytest.mark.parametrize("province", PROVINCES)
def test_a_county_lies_in_its_city_its_province_its_area_and_the_country(province):
    area = load_regions()[province].grid
    around = (province, *([area] if area else []), COUNTRY)
    assert places_of(province + 106) == (province + 100, *around)
    assert places_of(province + 100) == (province + 100, *around)
    assert places_of(province) == around
    # A code whose last four digits say "directly under the province" is no city.
    assert places_of(province + 7) == around
    assert check_region(province) == province
    assert check_region(province + 106) == province + 106


def test_every_known_city_lies_in_a_known_province():
    cities = [code for code in load_regions() if code % 10000]
    assert cities
    for code in cities:
        assert city_of(code) == code
        assert province_of(code) in PROVINCES
        assert places_of(code)[:2] == (code, province_of(code))


@EXAMPLES
@given(st.integers(-(2**31), 2**31 - 1))
def test_a_code_is_either_a_place_or_refused_and_then_the_country(code):
    places = places_of(code)
    assert places[-1] == COUNTRY
    assert len(set(places)) == len(places)
    if code // 10000 in NUMBERS:
        assert province_of(code) in places
        assert check_region(code) == code
    else:
        assert places == (COUNTRY,)
        with pytest.raises(RegionError, match=rf"^region {code} is not a GB/T 2260 code"):
            check_region(code)


def test_a_refused_code_is_answered_with_the_list_of_provinces():
    with pytest.raises(RegionError) as refused:
        check_region(420)
    assert all(f"{code} {load_regions()[code].en}" in str(refused.value) for code in PROVINCES)


def test_no_region_is_the_country():
    assert places_of(None) == (COUNTRY,)


@pytest.mark.parametrize(
    ("place", "name"),
    [
        (COUNTRY, "China"),
        ("central", "central grid"),
        (420000, "Hubei 湖北"),
        (420100, "Wuhan 武汉"),
        (420500, "420500"),
    ],
)
def test_a_place_has_a_name_to_show(place, name):
    assert place_name(place) == name


REFUSED = {
    "a province with the code of a city": (
        ("420000", "420100", 1),
        "regions.toml:2: 420100 occurs twice or is no province",
    ),
    "a city with the code of a county": (("420100", "420106", 1), "regions.toml:8: 420106 occurs twice or is no city"),
    "a city with the code of its province": (("420100", "420000", 1), "regions.toml:8: 420000 occurs twice"),
    "a city in no province": (("420100", "430100", 1), "regions.toml:8: 430100 lies in no province"),
    "a code that is too short": (("420000", "42", 1), "regions.toml:2: code is 42, less than 110000"),
    "a code that is too long": (("420000", "42000000", 1), "regions.toml:2: 42000000 occurs twice or is no province"),
    "an unknown area": (('"central"', '"middle"', 1), "regions.toml:2: grid is 'middle', not one of central, east"),
    "a city with an area": (('en = "Wuhan"', 'en = "Wuhan"\ngrid = "central"', 1), "regions.toml:8: unknown members"),
    "no name": (('zh = "武汉"\n', "", 1), "regions.toml:8: zh is missing"),
    "a member too many": (('en = "Hubei"', 'en = "Hubei"\npeople = 1', 1), "regions.toml:2: unknown members: people"),
}


@pytest.mark.parametrize(("change", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_a_table_of_regions_is_refused_for(tmp_path, change, message):
    file = tmp_path / "regions.toml"
    file.write_text(GOOD, encoding="utf-8")
    assert list(parse_regions(file)) == [420000, 420100]
    assert change[0] in GOOD
    file.write_text(GOOD.replace(*change), encoding="utf-8")
    with pytest.raises(DataError, match=f"^{message}"):
        parse_regions(file)


def test_the_table_is_loaded_once():
    assert load_regions() is load_regions()
    assert load_regions() == parse_regions(DATA / "regions.toml")
