"""Versions of the clearing policy: found by name or file, told as a document, and compared in words."""

from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from tests_support.policies import NO_RIDES, draft

from standards.datafile import DATA, DataError
from standards.policies import describe_policy, find_policy, flatten_policy, policy_digest, policy_versions
from standards.policy import CURRENT_POLICY, load_policy
from standards.policy_words import ENTRIES, WORDS, policy_differences


def texts(one: str, other: str) -> list[str]:
    return [difference.text for difference in policy_differences(find_policy(one), find_policy(other))]


def test_the_versions_are_the_files_in_their_order(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    assert policy_versions()[-1] == CURRENT_POLICY
    assert policy_digest(CURRENT_POLICY) == sha256((DATA / "clearing-policy-2026.2.toml").read_bytes()).digest()
    for number in ("2026.10", "2026.9", "2025.12"):
        (tmp_path / f"clearing-policy-{number}.toml").write_text("")
    monkeypatch.setattr("standards.policies.DATA", tmp_path)
    assert policy_versions() == ("clearing-2025.12", "clearing-2026.9", "clearing-2026.10")


def test_every_version_can_be_read_and_told():
    for version in policy_versions():
        policy = find_policy(version)
        told = describe_policy(policy)
        assert (told["version"], told["valid_from"]) == (version, policy.valid_from.isoformat())
        assert told["overlaps"][0]["id"] == policy.overlaps[0].id
        assert told["day_acts"] == sorted(policy.day_acts)


def test_a_policy_is_found_by_version_or_file(tmp_path: Path):
    assert find_policy(CURRENT_POLICY) is load_policy()
    assert find_policy(str(draft(tmp_path))).version == "clearing-2099.1"
    with pytest.raises(DataError, match=r"there is no clearing policy 'clearing-1999\.1'; there are clearing-2026\.1"):
        find_policy("clearing-1999.1")
    with pytest.raises(DataError, match=r"draft\.toml:\d+: accept"):
        find_policy(str(draft(tmp_path, (r"^accept = -?\d+", 'accept = "many"'))))
    with pytest.raises(DataError, match=r"^nowhere\.toml"):
        find_policy(str(tmp_path / "nowhere.toml"))


def test_a_policy_does_not_differ_from_itself_nor_from_its_copy(tmp_path: Path):
    assert texts(CURRENT_POLICY, CURRENT_POLICY) == []
    assert texts(CURRENT_POLICY, str(draft(tmp_path))) == []


CHANGES: dict[str, tuple[tuple[str, str], list[str]]] = {
    "a number, raised": (
        (r"^accept = -?\d+", "accept = -1500"),
        ["the score from which two reports are one act: from -2 to -1.5 (fewer reports are joined into one act)"],
    ),
    "a number, lowered": (
        (r"^junk_subjects = \d+", "junk_subjects = 2"),
        ["how many people may carry one key before it is taken for a constant: from 3 to 2 (fewer keys are believed)"],
    ),
    "a duration that families follow": (
        (r"^window_s = 900", "window_s = 1200"),
        ["how far apart reports are compared at all: from 15 min to 20 min (more reports are joined into one act)"],
    ),
    "a share": (
        (r"^share_permille = 500", "share_permille = 505"),
        ["what share of the shorter trip may overlap: from 50 % to 50.5 % (fewer trips are held)"],
    ),
    "a list of words": (
        (r'^mixing_roles = \["payment"\]', 'mixing_roles = ["navigation"]'),
        ["the roles that may mix behaviours of a family up: without payment and with navigation"],
    ),
    "the order of roles": (
        (r'"operator", "meter"', '"meter", "operator"'),
        ["the order in which roles tell the record that counts: from [operator, meter, payment, "],
    ),
    "a limit": (
        NO_RIDES,
        ["the limits of MOB-BIKE: the most of one act: from 100 to 1 (more acts are held)"],
    ),
    "a limit that goes": (
        (r'(behaviour = "MOB-BIKE"\nmax_quantity = \d+\n)max_per_hour = \d+\n', r"\g<1>"),
        ["the limits of MOB-BIKE: the most in an hour: from 60 to no limit"],
    ),
    "an entry that is new": (
        (r"\Z", '\n[[plausible]]\nbehaviour = "USE-CARTON"\nmax_quantity = 40\n'),
        ["new: the limits of USE-CARTON, max_quantity 40"],
    ),
    "an entry that goes": (
        (r'\[\[overlap\]\]\nid = "once"\nkind = "once"\nbehaviours = \["FIN-ECARD"\]\n', ""),
        ["gone: the overlap rule once, behaviours [FIN-ECARD]"],
    ),
    "an entry that takes another name": (
        (r'id = "no-drive-day"', 'id = "car-free-day"'),
        ["gone: the overlap rule no-drive-day", "new: the overlap rule car-free-day"],
    ),
    "the first day, which is none": ((r"^valid_from = \S+", "valid_from = 2027-01-01"), []),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_difference_is_a_sentence(name: str, tmp_path: Path):
    change, expected = CHANGES[name]
    said = texts(CURRENT_POLICY, str(draft(tmp_path, change)))
    assert len(said) == len(expected)
    for sentence, words in zip(said, expected, strict=True):
        assert sentence.startswith(words), sentence


def test_a_rule_that_moves_is_a_difference(tmp_path: Path):
    block = r'(\[\[overlap\]\]\nid = "once"\nkind = "once"\nbehaviours = \["FIN-ECARD"\]\n)([\s\S]*?\n\n)'
    (said,) = texts(CURRENT_POLICY, str(draft(tmp_path, (block + r"(?=# --- Plausibility)", r"\g<2>\g<1>"))))
    assert said.startswith("the order of the overlap rules: from no-drive-day, ")


def test_a_difference_names_its_place_and_both_values(tmp_path: Path):
    changed = find_policy(str(draft(tmp_path, NO_RIDES)))
    (difference,) = policy_differences(load_policy(), changed)
    told: dict[str, Any] = difference.to_dict()
    assert (told["at"], told["from"], told["to"]) == ("plausible.MOB-BIKE.max_quantity", 100, 1)
    (back,) = policy_differences(changed, load_policy())
    assert (back.before, back.after) == (1, 100)
    assert back.text.endswith("(fewer acts are held)")


def test_the_words_are_about_values_that_there_are():
    ways = [(w[0], "*", *w[2:]) if len(w) > 2 and w[0] in ENTRIES else w for w in flatten_policy(load_policy())]
    assert sorted(set(WORDS) - {".".join(way) for way in ways}) == []
