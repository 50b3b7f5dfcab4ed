"""Which clearing policies there are, and each as a plain document. Pure.

Reads `data/clearing-policy-*.toml`: one file is one version, and a released file is never edited, because decisions pin it.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from datetime import date
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeAlias

from standards.datafile import DATA, DataError
from standards.policy import CURRENT_POLICY, ClearingPolicy, load_policy, parse_policy

PREFIX = "clearing-"
Plain: TypeAlias = "int | str | bool | list[Plain] | None"


def policy_versions() -> tuple[str, ...]:
    """Return all versions that there are, the oldest first."""
    versions = (PREFIX + file.stem.removeprefix("clearing-policy-") for file in DATA.glob("clearing-policy-*.toml"))
    # By number: clearing-2026.10 comes after clearing-2026.9.
    return tuple(sorted(versions, key=lambda version: [int(number) for number in re.findall(r"[0-9]+", version)]))


def policy_file(version: str) -> Path:
    """Return the file of a version.

    Raises:
        DataError: there is no such version; the text names those that there are.
    """
    if version not in policy_versions():
        raise DataError(f"there is no clearing policy {version!r}; there are {', '.join(policy_versions())}")
    return DATA / f"clearing-policy-{version.removeprefix(PREFIX)}.toml"


def policy_digest(version: str) -> bytes:
    """Return the SHA-256 of a version's file, comments and all."""
    return sha256(policy_file(version).read_bytes()).digest()


def find_policy(name: str) -> ClearingPolicy:
    """Return the policy of a version, or of a draft's file; a file is what has a slash or ends in .toml.

    Raises:
        DataError: there is no such version or file, or the file breaks a rule.
    """
    if "/" in name or name.endswith(".toml"):
        return parse_policy(Path(name))
    policy_file(name)
    # The current version has one object, under whichever name it is asked for.
    return load_policy() if name == CURRENT_POLICY else load_policy(name)


def describe_policy(policy: ClearingPolicy) -> dict[str, Any]:
    """Return a policy as a JSON document; sets are sorted, rules stay in their order."""
    described = _plain(policy)
    assert isinstance(described, dict)  # noqa: S101 - a dataclass becomes one
    return described


def flatten_policy(policy: ClearingPolicy) -> dict[tuple[str, ...], Plain]:
    """Return every single value of a policy by its way from the top, such as ("match", "accept").

    An overlap rule is found by its id, a family and a behaviour's limits by their names.
    """
    return dict(_leaves((), policy))


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): _plain(value[name]) for name in sorted(value)}
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    return value.isoformat() if isinstance(value, date) else value


def _leaves(way: tuple[str, ...], value: Any) -> Iterator[tuple[tuple[str, ...], Plain]]:
    if is_dataclass(value):
        for field in fields(value):
            yield from _leaves((*way, field.name), getattr(value, field.name))
    elif isinstance(value, Mapping):
        for name in sorted(value):
            yield from _leaves((*way, str(name)), value[name])
    elif isinstance(value, tuple | list) and value and all(is_dataclass(one) for one in value):
        for one in value:
            # Most entries of a list have an id; one that has none is known by its first member.
            yield from _leaves((*way, str(getattr(one, "id", getattr(one, fields(one)[0].name)))), one)
    else:
        yield way, _plain(value)
