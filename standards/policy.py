"""The clearing policy as typed data: what is one act, what contains what, what cannot be. Pure.

Reads `data/clearing-policy-*.toml`. The clearing kernel knows no number and no behaviour of its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from types import MappingProxyType

from standards.behaviours import load_behaviours
from standards.datafile import DATA, DataError, Row, load_head, load_rows, load_table
from standards.plausibility import SECTIONS, DoubtRules, parse_doubts
from standards.schema import Role

KINDS = frozenset({"displaced", "contains", "total", "once", "shared"})
ROLES = frozenset(str(role) for role in Role)
NEVER_PERMILLE, HALF_PERMILLE = 1000, 500
CURRENT_POLICY = "clearing-2026.2"
TABLES = SECTIONS | frozenset(
    {"keys", "learning", "match", "family", "day_acts", "exclusivity", "overlap", "plausibility", "plausible"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRules:
    """When an origin or payment key can be believed. Seconds and numbers of people."""

    junk_subjects: int
    shared_subjects: int
    span_s: int
    parts_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningRules:
    """How much evidence makes a platform's custom known."""

    min_votes: int
    miscoded_permille: int
    rarely_permille: int
    own_permille: int
    odd_permille: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchRules:
    """Points for and against two records being one act; thousandths of a point, seconds, permille."""

    accept: int
    hold: int
    tie: int
    window_s: int
    stretch_permille: int
    longest_s: int
    component: int
    key_conflict: int
    key_doubt: int
    """In place of `key_conflict` where a platform is known to give now and then a number of its own."""
    time_s: tuple[int, ...]
    time_points: tuple[int, ...]
    quantity_permille: tuple[int, ...]
    quantity_points: tuple[int, ...]
    duration_permille: tuple[int, ...]
    duration_points: tuple[int, ...]
    lag_points: tuple[int, ...]
    """For a begin told by one platform and an end told by another: at once, and after the family's usual time."""
    behaviour_points: int
    mixing_roles: tuple[str, ...]
    """Roles that cannot tell the behaviours of a family apart, until keys show otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyRules:
    """What differs in one matching family."""

    family: str
    ends: frozenset[str]
    """Roles whose single moment is taken as the end of the act until keys show otherwise."""
    window_s: int
    usual_s: int
    """How long an act usually lasts at most; 0 if a begin and an end are never taken for one act."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OverlapRule:
    """Acts of different kinds that claim the same grams; `id` is the rule named in decisions."""

    id: str
    kind: str
    behaviours: tuple[str, ...]
    by: tuple[str, ...]
    per_unit: int
    negligible_permille: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plausible:
    """The most that one act of a behaviour, and one person's day of it, can be, in its unit; None means no limit."""

    behaviour: str
    max_quantity: int | None
    max_per_hour: int | None
    max_day_quantity: int | None
    """Of a record of a whole day."""
    max_day_total: int | None
    """Of a day's acts together; records of whole days are not in it."""
    max_day_acts: int | None
    """Acts of a day; None means the policy's `max_day_acts`."""


# Compared by identity: one object per version, so that tables derived from it can be kept.
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClearingPolicy:
    """One dated version of the rules of clearing."""

    version: str
    valid_from: date
    role_order: tuple[str, ...]
    acting_roles: frozenset[str]
    never_alone_roles: frozenset[str]
    keys: KeyRules
    learning: LearningRules
    match: MatchRules
    families: Mapping[str, FamilyRules]
    day_acts: frozenset[str]
    zone_offset_s: int
    exclusive_slack_s: int
    exclusive_permille: int
    overlaps: tuple[OverlapRule, ...]
    plausible: Mapping[str, Plausible]
    max_day_acts: int
    doubts: DoubtRules


@cache
def load_policy(version: str = CURRENT_POLICY) -> ClearingPolicy:
    """Return the policy of this version.

    Raises:
        DataError: there is no such policy, or its file breaks a rule.
    """
    policy = parse_policy(DATA / f"clearing-policy-{version.removeprefix('clearing-')}.toml")
    if policy.version != version:
        raise DataError(f"the policy file says it is {policy.version}, not {version}")
    return policy


def parse_policy(file: Path) -> ClearingPolicy:
    """Read and check one policy file.

    Raises:
        DataError: a rule is missing, misspelt or contradicts itself; the text names file and, where known, line.
    """
    head = load_head(file, TABLES)
    match = _match(load_table(file, "match"))
    day_acts, exclusivity, plausibility = (load_table(file, t) for t in ("day_acts", "exclusivity", "plausibility"))
    policy = ClearingPolicy(
        version=head.text("version"),
        valid_from=head.day("valid_from"),
        role_order=head.texts("role_order", required=True, allowed=ROLES),
        acting_roles=frozenset(head.texts("acting_roles", required=True, allowed=ROLES)),
        never_alone_roles=frozenset(head.texts("never_alone_roles", required=True, allowed=ROLES)),
        keys=_keys(load_table(file, "keys")),
        learning=_learning(load_table(file, "learning")),
        match=match,
        families=_families(file, match.window_s),
        day_acts=frozenset(day_acts.texts("behaviours", required=True, allowed=frozenset(load_behaviours()))),
        zone_offset_s=day_acts.whole("zone_offset_s"),
        exclusive_slack_s=exclusivity.whole("slack_s", minimum=0),
        exclusive_permille=exclusivity.whole("share_permille", minimum=0),
        overlaps=_overlaps(file),
        plausible=_plausible(file),
        max_day_acts=plausibility.whole("max_day_acts", minimum=1),
        doubts=parse_doubts(file),
    )
    for row in (head, day_acts, exclusivity, plausibility):
        row.finish()
    problem = _contradiction(policy)
    if problem:
        raise DataError(f"{file.name}: {problem}")
    return policy


def _keys(row: Row) -> KeyRules:
    rules = KeyRules(
        junk_subjects=row.whole("junk_subjects", minimum=1),
        shared_subjects=row.whole("shared_subjects", minimum=1),
        span_s=row.whole("span_s", minimum=0),
        parts_s=row.whole("parts_s", minimum=0),
    )
    row.finish()
    return rules


def _learning(row: Row) -> LearningRules:
    rules = LearningRules(
        min_votes=row.whole("min_votes", minimum=1),
        miscoded_permille=row.whole("miscoded_permille", minimum=0),
        rarely_permille=row.whole("rarely_permille", default=HALF_PERMILLE, minimum=0),
        own_permille=row.whole("own_permille", default=NEVER_PERMILLE, minimum=0),
        odd_permille=row.whole("odd_permille", default=NEVER_PERMILLE, minimum=0),
    )
    row.finish()
    return rules


def _match(row: Row) -> MatchRules:
    rules = MatchRules(
        accept=row.whole("accept"),
        hold=row.whole("hold"),
        tie=row.whole("tie", minimum=0),
        window_s=row.whole("window_s", minimum=0),
        stretch_permille=row.whole("stretch_permille", minimum=0),
        longest_s=row.whole("longest_s", minimum=1),
        component=row.whole("component", minimum=1),
        key_conflict=row.whole("key_conflict"),
        key_doubt=row.whole("key_doubt", default=0),
        time_s=row.wholes("time_s"),
        time_points=row.wholes("time_points"),
        quantity_permille=row.wholes("quantity_permille"),
        quantity_points=row.wholes("quantity_points"),
        duration_permille=row.wholes("duration_permille"),
        duration_points=row.wholes("duration_points"),
        lag_points=row.wholes("lag_points") if "lag_points" in row.values else (0, 0),
        behaviour_points=row.whole("behaviour_points"),
        mixing_roles=row.texts("mixing_roles", allowed=ROLES),
    )
    row.finish()
    return rules


def _families(file: Path, window_s: int) -> Mapping[str, FamilyRules]:
    known = frozenset(b.family for b in load_behaviours().values())
    families: dict[str, FamilyRules] = {}
    for row in load_rows(file, "family"):
        name = row.text("family", known)
        if name in families:
            raise row.error(f"second rules for family {name}")
        ends = frozenset(row.texts("ends", allowed=ROLES))
        families[name] = FamilyRules(
            family=name,
            ends=ends,
            window_s=row.whole("window_s", default=window_s, minimum=0),
            usual_s=row.whole("usual_s", default=0, minimum=0),
        )
        row.finish()
    rest = {
        name: FamilyRules(family=name, ends=frozenset(), window_s=window_s, usual_s=0)
        for name in known - families.keys()
    }
    return MappingProxyType(families | rest)


def _overlaps(file: Path) -> tuple[OverlapRule, ...]:
    known = frozenset(load_behaviours())
    rules = []
    for row in load_rows(file, "overlap"):
        rules.append(
            OverlapRule(
                id=row.text("id"),
                kind=row.text("kind", KINDS),
                behaviours=row.texts("behaviours", allowed=known),
                by=row.texts("by", allowed=known),
                per_unit=row.whole("per_unit", default=0, minimum=1),
                negligible_permille=row.whole("negligible_permille", default=0, minimum=0),
            )
        )
        row.finish()
    return tuple(rules)


def _plausible(file: Path) -> Mapping[str, Plausible]:
    known = frozenset(load_behaviours())
    limits: dict[str, Plausible] = {}
    for row in load_rows(file, "plausible"):
        code = row.text("behaviour", known)
        if code in limits:
            raise row.error(f"second limits for {code}")
        limits[code] = Plausible(
            behaviour=code,
            max_quantity=row.whole_or_none("max_quantity", minimum=1),
            max_per_hour=row.whole_or_none("max_per_hour", minimum=1),
            max_day_quantity=row.whole_or_none("max_day_quantity", minimum=1),
            max_day_total=row.whole_or_none("max_day_total", minimum=1),
            max_day_acts=row.whole_or_none("max_day_acts", minimum=1),
        )
        row.finish()
    return MappingProxyType(limits)


def _contradiction(policy: ClearingPolicy) -> str:
    """Return what is wrong with a policy as a whole, or nothing."""
    match = policy.match
    if set(policy.role_order) != ROLES or len(policy.role_order) != len(ROLES):
        return "role_order must name every role once"
    if match.hold > match.accept:
        return "match.hold must not be above match.accept"
    if len(match.time_s) != len(match.time_points) or list(match.time_s) != sorted(set(match.time_s)):
        return "match.time_s must rise and have one of time_points each"
    if len(match.quantity_points) != len(match.quantity_permille) + 1:
        return "match.quantity_points must have one more than quantity_permille"
    if len(match.duration_points) != len(match.duration_permille) + 1:
        return "match.duration_points must have one more than duration_permille"
    if len(match.lag_points) != 2:
        return "match.lag_points must be two numbers"
    for code in policy.doubts.energy.behaviours if policy.doubts.energy else ():
        limits = policy.plausible.get(code)
        if limits and (limits.max_per_hour or limits.max_day_total):
            return f"{code} has max_per_hour or max_day_total beside [energy], which says the same in kW and kWh"
    for code in policy.doubts.steps.behaviours if policy.doubts.steps else ():
        if code not in policy.plausible or not policy.plausible[code].max_day_quantity:
            return f"[steps] needs max_day_quantity of {code}"
    ids = [rule.id for rule in policy.overlaps]
    return "an overlap id occurs twice" if len(set(ids)) != len(ids) else ""
