"""Every rule of the clearing policy has its reason in the overlap matrix, and a matrix without one is refused."""

import pytest

from standards.behaviours import accepted_behaviours
from standards.datafile import DATA, DataError
from standards.factors import load_sources
from standards.overlap import load_overlaps, parse_overlaps
from standards.policy import load_policy
from standards.schema import Precision

FILE = DATA / "overlap-2026.1.toml"


def test_groups_are_the_contracts_and_day_records_exclude_nothing():
    groups = load_overlaps().groups
    assert {name: group.behaviours for name, group in groups.items()} == {
        "travel": {"MOB-BUS", "MOB-METRO", "MOB-BIKE", "MOB-EBIKE", "MOB-CARPOOL", "MOB-WALK"},
        "charge": {"MOB-EVCHARGE"},
    }
    for group in groups.values():
        assert group.precisions == {Precision.SECOND, Precision.MINUTE}
        for code in group.behaviours:
            for precision in Precision:
                assert (accepted_behaviours()[code].group_at(precision) == group.id) == (precision in group.precisions)


@pytest.mark.parametrize("rule", load_policy().overlaps, ids=lambda rule: rule.id)
def test_a_rule_of_the_policy_has_a_reason_that_people_can_read(rule):
    reasons = load_overlaps().reasons_for(rule.id)
    assert reasons
    assert all(reason.why and reason.resolution for reason in reasons)


def test_the_sources_of_overlaps_are_registered():
    for overlap in load_overlaps().overlaps:
        assert set(overlap.sources) <= load_sources().keys()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            ('settled_by = ["no-drive-day"]', 'settled_by = ["agreement"]'),
            "no reason for the policy's rule no-drive-day",
        ),
        (('settled_by = ["once"]', 'settled_by = ["twice"]'), r"o.toml:\d+: settled_by holds unknown"),
        (
            ('left = ["MOB-EVCHARGE"]', 'left = ["MOB-BUS"]'),
            "no reason for the policy's rule charge-and-drive on MOB-EVCHARGE",
        ),
        (('left = ["MOB-EVCHARGE"]', 'left = ["MOB-FLY"]'), r"o.toml:\d+: left holds unknown"),
        (('sources = ["S11"]', 'sources = ["S999"]'), r"o.toml:\d+: sources holds unknown"),
        (('id = "charge"', 'id = "travel"'), r"o.toml:\d+: id is 'travel'"),
        (('id = "carpool"', 'id = "once-only"'), r"o.toml:\d+: overlap once-only occurs twice"),
        (
            ('clearing_policy = "clearing-2026.2"', 'clearing_policy = "clearing-1999.1"'),
            "o.toml:1: clearing_policy is",
        ),
        (('precisions = ["second", "minute"]', 'precisions = ["hour"]'), r"o.toml:\d+: precisions holds unknown"),
    ],
)
def test_a_matrix_is_refused(tmp_path, change, message):
    file = tmp_path / "o.toml"
    text = FILE.read_text(encoding="utf-8")
    assert change[0] in text
    file.write_text(text.replace(*change, 1), encoding="utf-8")
    with pytest.raises(DataError, match=message):
        parse_overlaps(file, load_policy())
    file.write_text(text, encoding="utf-8")
    assert parse_overlaps(file, load_policy()) == load_overlaps()


def test_a_group_of_the_behaviour_list_must_be_described(tmp_path):
    file = tmp_path / "o.toml"
    text = FILE.read_text(encoding="utf-8")
    start = text.index('[[group]]\nid = "charge"')
    file.write_text(text[:start] + text[text.index("# --- Pairs") :], encoding="utf-8")
    with pytest.raises(DataError, match=r"^o.toml: no group charge"):
        parse_overlaps(file, load_policy())
