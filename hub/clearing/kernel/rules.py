"""The policy and the learnt facts as the kernel's tables. Pure."""

from functools import lru_cache

import numpy as np

from hub.clearing.kernel.codes import Catalogue
from hub.clearing.kernel.facts import Facts
from hub.clearing.kernel.limits import day_limits, doubt_settings, fill_limits, road_lengths
from hub.clearing.kernel.rows import BEHAVIOUR, CUSTOM, I8, ROLE, SETTING_NAMES, SETTINGS, US, Rules, Table
from standards.behaviours import accepted_behaviours
from standards.policy import ClearingPolicy


def build_rules(
    policy: ClearingPolicy,
    catalogue: Catalogue,
    platforms: tuple[str, ...],
    facts: Facts | None,
) -> Rules:
    """Return the kernel's rules for these platforms.

    Args:
        platforms: all platform names, sorted.
        facts: None while the facts are being learnt.
    """
    customs = np.full((len(platforms), len(catalogue.behaviours)), -1, CUSTOM)
    together = np.zeros((len(platforms), len(platforms)), np.int8)
    place = {name: p for p, name in enumerate(platforms)}
    for one, other in facts.together if facts else ():
        if one in place and other in place:
            together[place[one], place[other]] = together[place[other], place[one]] = 1
    for name, known in (("ends", facts.ends), ("mixes", facts.mixes), ("own", facts.own)) if facts else ():
        for (platform, behaviour), holds in known.items():
            if platform in place:
                customs[name][place[platform], catalogue.code(behaviour)] = holds
    return _fixed_rules(policy, catalogue)._replace(customs=customs, together=together)


@lru_cache(maxsize=8)
def _fixed_rules(policy: ClearingPolicy, catalogue: Catalogue) -> Rules:
    """The part that depends on data files only."""
    match = policy.match
    families = [policy.families[name] for name in catalogue.families]
    behaviours, displaced = _behaviours(policy, catalogue)
    roles = np.zeros(len(catalogue.roles), ROLE)
    marks = {
        "acting": policy.acting_roles,
        "payment": ("payment",),
        "mixes": match.mixing_roles,
        "alone": frozenset(catalogue.roles) - policy.never_alone_roles,
        "there": policy.doubts.travel.roles if policy.doubts.travel else frozenset(),
    }
    for name, marked in marks.items():
        roles[name] = [role in marked for role in catalogue.roles]
    return Rules(
        settings=_settings(policy, catalogue),
        behaviours=behaviours,
        roles=roles,
        customs=np.zeros((0, 0), CUSTOM),
        counts_one=_counts_one(catalogue),
        role_ends=np.array([[role in family.ends for family in families] for role in catalogue.roles], np.int8),
        window=np.array([family.window_s for family in families], np.int64),
        usual=np.array([family.usual_s for family in families], np.int64),
        together=np.zeros((0, 0), np.int8),
        families=day_limits(behaviours, catalogue),
        apart=road_lengths(policy),
        displaced=displaced,
        time_line=np.array([match.time_s, match.time_points], np.int64),
        quantity_steps=np.array([(*match.quantity_permille, 0), match.quantity_points], np.int64),
        duration_steps=np.array([(*match.duration_permille, 0), match.duration_points], np.int64),
    )


def _settings(policy: ClearingPolicy, catalogue: Catalogue) -> Table:
    match, keys = policy.match, policy.keys
    total = [(number, rule) for number, rule in enumerate(policy.overlaps, 1) if rule.kind == "total"]
    values = {
        "accept": match.accept,
        "hold": match.hold,
        "tie": match.tie,
        "stretch": match.stretch_permille,
        "longest": match.longest_s,
        "component": match.component,
        "key_conflict": match.key_conflict,
        "key_doubt": match.key_doubt,
        "behaviour_points": match.behaviour_points,
        "lag_points": match.lag_points[0],
        "lag_slope": match.lag_points[1] - match.lag_points[0],
        "key_span": keys.span_s * US,
        "parts": keys.parts_s,
        "slack": policy.exclusive_slack_s,
        "share": policy.exclusive_permille,
        "total": total[0][0] if total else 0,
        "negligible": total[0][1].negligible_permille if total else 0,
        **doubt_settings(policy, catalogue),
    }
    return np.array([tuple(values[name] for name in SETTING_NAMES)], SETTINGS)


def _counts_one(catalogue: Catalogue) -> I8:
    known = accepted_behaviours()
    return np.array(
        [
            [u in known[code].units and known[code].counts_one(u) for u in catalogue.units]
            for code in catalogue.behaviours
        ],
        np.int8,
    )


def _behaviours(policy: ClearingPolicy, catalogue: Catalogue) -> tuple[Table, I8]:
    """BEHAVIOUR by code, and which days are displaced by which acts."""
    table = np.zeros(len(catalogue.behaviours), BEHAVIOUR)
    groups = sorted({b.group for b in accepted_behaviours().values() if b.group})
    for b, code in enumerate(catalogue.behaviours):
        group = accepted_behaviours()[code].group
        table[b]["exclusive"] = groups.index(group) + 1 if group else 0
        table[b]["day_act"] = code in policy.day_acts
    fill_limits(table, policy, catalogue)
    displaced = np.zeros((len(table), len(table)), np.int8)
    fields = {"displaced": "displaces", "contains": "contained", "once": "once", "shared": "shared"}
    for number, rule in enumerate(policy.overlaps, 1):
        for code in rule.behaviours if rule.kind in fields else ():
            b = catalogue.code(code)
            table[b][fields[rule.kind]] = number
            table[b]["per_unit"] = rule.per_unit or table[b]["per_unit"]
            for other in rule.by if rule.kind == "displaced" else ():
                displaced[b, catalogue.code(other)] = number
    return table, displaced
