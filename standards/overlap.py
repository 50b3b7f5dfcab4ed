"""Which reports can claim the same grams: exclusivity groups, and the matrix of overlaps with its reasons. Pure.

Reads `data/overlap-*.toml`. The numbers that clearing applies are in the policy; here is why, and from which source.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from types import MappingProxyType

from standards.behaviours import load_behaviours
from standards.datafile import DATA, DataError, Row, load_head, load_rows
from standards.factors import load_sources
from standards.policy import ClearingPolicy, load_policy
from standards.schema import Precision

CURRENT_OVERLAP = "overlap-2026.1"
TIERS = frozenset({"T2", "T3", "T4"})
# Outcomes that no rule of the clearing policy decides.
OUTSIDE = frozenset({"allowed", "agreement"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ExclusivityGroup:
    """Behaviours of which a person can do one at a time."""

    id: str
    behaviours: frozenset[str]
    precisions: frozenset[Precision]
    """Records of other precisions never exclude another."""
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """Two kinds of report that can describe one physical reduction."""

    id: str
    left: tuple[str, ...]
    right: tuple[str, ...]
    why: str
    resolution: str
    settled_by: tuple[str, ...]
    """Tiers, overlap ids of the clearing policy, `allowed` (both count) or `agreement` (clearing cannot see it)."""
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OverlapMatrix:
    """One version of the groups and overlaps."""

    version: str
    valid_from: date
    clearing_policy: str
    groups: Mapping[str, ExclusivityGroup]
    overlaps: tuple[Overlap, ...]

    def reasons_for(self, policy_rule: str) -> tuple[Overlap, ...]:
        """Return the overlaps that a rule of the clearing policy settles: the reasons to show for its decisions."""
        return tuple(overlap for overlap in self.overlaps if policy_rule in overlap.settled_by)


@cache
def load_overlaps(version: str = CURRENT_OVERLAP) -> OverlapMatrix:
    """Return the matrix of this version.

    Raises:
        DataError: there is no such version, or its file breaks a rule.
    """
    matrix = parse_overlaps(DATA / f"{version}.toml", load_policy())
    if matrix.version != version:
        raise DataError(f"the overlap file says it is {matrix.version}, not {version}")
    return matrix


def parse_overlaps(file: Path, policy: ClearingPolicy) -> OverlapMatrix:
    """Read and check a matrix against the behaviour list and the clearing policy.

    Raises:
        DataError: a row breaks a rule, or a rule of the policy has no reason here; the text names the file.
    """
    head = load_head(file, frozenset({"group", "overlap"}))
    matrix = OverlapMatrix(
        version=head.text("version"),
        valid_from=head.day("valid_from"),
        clearing_policy=head.text("clearing_policy", frozenset({policy.version})),
        groups=_groups(file),
        overlaps=_overlaps(file, frozenset(rule.id for rule in policy.overlaps)),
    )
    head.finish()
    for rule in policy.overlaps:
        _require_reason(file, matrix, rule.id, {*rule.behaviours, *rule.by})
    return matrix


def _groups(file: Path) -> Mapping[str, ExclusivityGroup]:
    members: dict[str, set[str]] = {}
    for behaviour in load_behaviours().values():
        if behaviour.group is not None:
            members.setdefault(behaviour.group, set()).add(behaviour.code)
    groups: dict[str, ExclusivityGroup] = {}
    for row in load_rows(file, "group"):
        name = row.text("id", frozenset(members) - groups.keys())
        precisions = row.texts("precisions", required=True, allowed=frozenset(str(p) for p in Precision))
        groups[name] = ExclusivityGroup(
            id=name,
            behaviours=frozenset(members[name]),
            precisions=frozenset(Precision(precision) for precision in precisions),
            why=row.text("why"),
        )
        row.finish()
    if members.keys() - groups.keys():
        raise DataError(f"{file.name}: no group {', '.join(sorted(members.keys() - groups.keys()))}")
    return MappingProxyType(groups)


def _overlaps(file: Path, policy_rules: frozenset[str]) -> tuple[Overlap, ...]:
    overlaps: dict[str, Overlap] = {}
    for row in load_rows(file, "overlap"):
        overlap = _parse_overlap(row, policy_rules)
        if overlap.id in overlaps:
            raise row.error(f"overlap {overlap.id} occurs twice")
        overlaps[overlap.id] = overlap
    return tuple(overlaps.values())


def _parse_overlap(row: Row, policy_rules: frozenset[str]) -> Overlap:
    known = frozenset(load_behaviours())
    overlap = Overlap(
        id=row.text("id"),
        left=row.texts("left", required=True, allowed=known),
        right=row.texts("right", required=True, allowed=known),
        why=row.text("why"),
        resolution=row.text("resolution"),
        settled_by=row.texts("settled_by", required=True, allowed=TIERS | OUTSIDE | policy_rules),
        sources=row.texts("sources", allowed=frozenset(load_sources())),
    )
    row.finish()
    return overlap


def _require_reason(file: Path, matrix: OverlapMatrix, rule: str, behaviours: set[str]) -> None:
    """Refuse a matrix that does not say why the policy joins these behaviours."""
    reasons = matrix.reasons_for(rule)
    covered = {code for overlap in reasons for code in (*overlap.left, *overlap.right)}
    if not reasons or behaviours - covered:
        missing = ", ".join(sorted(behaviours - covered)) or "any behaviour"
        raise DataError(f"{file.name}: no reason for the policy's rule {rule} on {missing}")
