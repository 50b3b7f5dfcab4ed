"""The clearing policy is typed data: what is missing, misspelt or contradicts itself is refused."""

import re

import pytest

from standards.behaviours import accepted_behaviours, load_behaviours
from standards.datafile import DATA, DataError
from standards.policy import load_policy, parse_policy
from standards.schema import Role

FILE = DATA / "clearing-policy-2026.2.toml"


def test_the_role_order_is_the_products():
    assert load_policy().role_order == tuple(str(role) for role in Role)


def test_a_version_is_loaded_once_and_an_unknown_one_is_refused():
    assert load_policy() is load_policy()
    with pytest.raises(DataError, match=r"^clearing-policy-1999.1.toml"):
        load_policy("clearing-1999.1")


def test_every_matching_family_has_rules():
    policy = load_policy()
    assert set(policy.families) == {behaviour.family for behaviour in load_behaviours().values()}


def test_thresholds_and_curves_are_ordered():
    match = load_policy().match
    assert match.hold <= match.accept
    assert list(match.time_points) == sorted(match.time_points, reverse=True)
    assert list(match.quantity_points) == sorted(match.quantity_points, reverse=True)
    assert list(match.duration_points) == sorted(match.duration_points, reverse=True)


def test_everything_measured_in_kilometres_hours_or_kilograms_has_a_limit():
    limited = load_policy().plausible
    for behaviour in accepted_behaviours().values():
        if not behaviour.countable:
            assert behaviour.code in limited, behaviour.code


def _replaced(pattern: str, by: str) -> str:
    text, count = re.subn(pattern, by, FILE.read_text(encoding="utf-8"), count=1, flags=re.MULTILINE)
    assert count == 1, pattern
    return text


REFUSED = {
    "a missing number": (r"^accept = .*\n", "", r"p.toml:\d+: accept is missing"),
    "a number with a fraction": (
        r"^accept = \S+",
        "accept = -2.5",
        r"p.toml:\d+: accept is missing or not a whole number",
    ),
    "a number as text": (
        r"^junk_subjects = \S+",
        'junk_subjects = "3"',
        r"p.toml:\d+: junk_subjects is missing or not",
    ),
    "a misspelt member": (r"^min_votes", "min_vote", r"p.toml:\d+: min_votes is missing"),
    "a member too many": (r"^\[keys\]", "[keys]\nextra = 1", r"p.toml:\d+: unknown members: extra"),
    "a misspelt table": (r"^\[learning\]", "[learn]", r"p.toml: unknown tables: learn"),
    "a missing version": (r"^version = .*\n", "", r"p.toml:1: version is missing"),
    "a missing role": (
        r'^role_order = \["operator", ',
        "role_order = [",
        "p.toml: role_order must name every role once",
    ),
    "an unknown role": (r'"operator"', '"king"', r"p.toml:1: role_order holds unknown"),
    "a hold above the merge": (r"^hold = \S+", "hold = 5000", "p.toml: match.hold must not be above match.accept"),
    "a curve of two lengths": (r"^time_s = \[0, ", "time_s = [", "p.toml: match.time_s must rise"),
    "a curve that turns back": (r"^time_s = \[0, ", "time_s = [99999, ", "p.toml: match.time_s must rise"),
    "too few points": (
        r"^quantity_permille = \[\d+, ",
        "quantity_permille = [",
        "p.toml: match.quantity_points must have one more",
    ),
    "an unknown behaviour": (
        r'^behaviours = \["MOB-NODRIVE"\]',
        'behaviours = ["MOB-FLY"]',
        r"p.toml:\d+: behaviours holds unknown",
    ),
    "an unknown kind of overlap": (r'^kind = "once"', 'kind = "twice"', r"p.toml:\d+: kind is 'twice'"),
    "an overlap twice": (r'^id = "once"', 'id = "day-total"', "p.toml: an overlap id occurs twice"),
    "a limit of nothing": (r"^max_quantity = \S+", "max_quantity = 0", r"p.toml:\d+: max_quantity is 0, less than 1"),
    "limits twice": (r'^behaviour = "MOB-EBIKE"', 'behaviour = "MOB-BIKE"', r"p.toml:\d+: second limits for MOB-BIKE"),
    "an unknown family": (r'^family = "cycle"', 'family = "rail"', r"p.toml:\d+: family is 'rail'"),
    "a family twice": (r'^family = "MOB-EVCHARGE"', 'family = "cycle"', r"p.toml:\d+: second rules for family cycle"),
}


@pytest.mark.parametrize(("pattern", "by", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_a_policy_is_refused_for(tmp_path, pattern, by, message):
    file = tmp_path / "p.toml"
    file.write_text(_replaced(pattern, by), encoding="utf-8")
    with pytest.raises(DataError, match=f"^{message}"):
        parse_policy(file)


def test_the_policy_can_be_edited(tmp_path):
    file = tmp_path / "p.toml"
    file.write_text(_replaced(r"^accept = \S+", "accept = -1000"), encoding="utf-8")
    assert parse_policy(file).match.accept == -1000
