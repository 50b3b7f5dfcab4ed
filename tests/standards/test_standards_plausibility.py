"""The sections of a policy about one person's acts, and the table of provinces that touch."""

from pathlib import Path

import pytest

from standards.datafile import DATA, DataError
from standards.plausibility import UNKNOWN_APART, borders_between, load_neighbours, parse_neighbours
from standards.policy import load_policy, parse_policy
from standards.regions import province_codes

CURRENT = DATA / "clearing-policy-2026.2.toml"


def changed(tmp_path: Path, old: str, new: str) -> Path:
    text = CURRENT.read_text(encoding="utf-8")
    assert text.count(old) == 1, old
    path = tmp_path / CURRENT.name
    path.write_text(text.replace(old, new), encoding="utf-8")
    return path


def test_the_first_policy_has_none_of_the_sections():
    doubts = load_policy("clearing-2026.1").doubts
    assert (doubts.energy, doubts.travel, doubts.steps, doubts.drift) == (None, None, None, None)


def test_the_current_policy_has_all_of_them():
    doubts = load_policy().doubts
    assert doubts.energy is not None
    assert doubts.energy.max_kw == 800
    assert doubts.travel is not None
    assert doubts.travel.km_by_borders == (0, 0, 30, 150, 300)
    assert doubts.steps is not None
    assert doubts.steps.same_days == 5
    assert doubts.drift is not None
    assert doubts.drift.min_windows == 4


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("max_kw = 800", "max_kv = 800", "max_kw"),
        ("max_kw = 800", "max_kw = 0", "less than 1"),
        ('behaviours = ["MOB-EVCHARGE"]', 'behaviours = ["MOB-BIKE"]', "unknown or repeated"),
        ("km_by_borders = [0, 0, 30, 150, 300]", "km_by_borders = [0, 30, 150]", "must begin with 0, 0"),
        ("km_by_borders = [0, 0, 30, 150, 300]", "km_by_borders = [0, 0, 150, 30]", "and rise"),
        ("local_kmh = 120", "local_kmh = 400", "must not be above"),
        ('roles = ["operator", "meter", "navigation"]', 'roles = ["bystander"]', "bystander"),
        ("same_days = 5", "same_days = 1", "less than 2"),
        ("span_days = 31", "span_days = 7", "span_days"),
        ("min_windows = 4", "min_windows = 40", "above history"),
        ("\n[energy]\n", "\n[enregy]\n", "unknown tables: enregy"),
        ("max_quantity = 400\n", "max_quantity = 400\nmax_per_hour = 500\n", r"beside \[energy\]"),
        ("max_day_quantity = 100_000", "# none", r"\[steps\] needs max_day_quantity"),
    ],
)
def test_a_section_that_contradicts_itself_is_refused(tmp_path, old, new, match):
    with pytest.raises(DataError, match=match):
        parse_policy(changed(tmp_path, old, new))


def test_every_province_has_neighbours_that_have_it():
    touches = load_neighbours()
    assert set(touches) == set(province_codes())
    assert all(code in touches[other] for code, others in touches.items() for other in others)


@pytest.mark.parametrize(
    ("one", "other", "borders"),
    [
        (110000, 110000, 0), (110000, 130000, 1), (120000, 370000, 2), (310000, 320000, 1), (460000, 440000, 1),
        (110000, 310000, 4), (650000, 230000, 3), (810000, 820000, 1), (440000, 990000, UNKNOWN_APART),
    ],
)  # fmt: skip
def test_borders_are_counted_by_the_shortest_way(one, other, borders):
    assert borders_between(one, other) == borders_between(other, one) == borders


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("touches = [110000, 130000]", "touches = [130000]", "does not touch it"),
        ("code = 820000", "code = 830000", "not the provinces"),
        ("code = 820000", "code = 810000", "twice"),
    ],
)
def test_a_table_of_neighbours_that_cannot_be_is_refused(tmp_path, old, new, match):
    text = (DATA / "neighbours.toml").read_text(encoding="utf-8")
    assert text.count(old) == 1
    path = tmp_path / "neighbours.toml"
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(DataError, match=match):
        parse_neighbours(path)
