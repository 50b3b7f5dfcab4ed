"""What a policy says of plausibility, as the kernel's tables. Pure."""

from typing import Any

import numpy as np

from hub.clearing.kernel.codes import Catalogue
from hub.clearing.kernel.rows import I64, Table
from standards.plausibility import borders_between
from standards.policy import ClearingPolicy
from standards.regions import province_codes
from standards.units import MICRO

NO_LIMIT = -1
ANY = 1 << 62
PROVINCES = 100


def fill_limits(table: Table, policy: ClearingPolicy, catalogue: Catalogue) -> None:
    """Fill in the limits of BEHAVIOUR, by code."""
    energy, steps, travel = policy.doubts.energy, policy.doubts.steps, policy.doubts.travel
    for row, code in zip(table, catalogue.behaviours, strict=True):
        limits = policy.plausible.get(code)
        for name, field in (
            ("max_quantity", "max_quantity"),
            ("max_per_hour", "max_per_hour"),
            ("max_day", "max_day_quantity"),
            ("max_total", "max_day_total"),
        ):
            value = getattr(limits, field, None)
            row[name] = NO_LIMIT if value is None else value
        row["max_acts"] = (limits.max_day_acts if limits else None) or policy.max_day_acts
        if energy and code in energy.behaviours:
            row["energy"], row["max_per_hour"], row["max_total"] = 1, energy.max_kw, energy.max_day_kwh
        row["steps"] = bool(steps and code in steps.behaviours)
        row["located"] = bool(travel and code in travel.behaviours)


def day_limits(table: Table, catalogue: Catalogue) -> I64:
    """Return by family: the fewest acts and the least quantity that one of its behaviours may have a day, and if it has steps."""
    limits = np.full((len(catalogue.families), 3), (ANY, ANY, 0), np.int64)
    for row, family in zip(table, catalogue.family_of, strict=True):
        fewest, least, steps = limits[family]
        total = ANY if row["max_total"] < 0 else int(row["max_total"]) * MICRO
        limits[family] = (min(fewest, row["max_acts"]), min(least, total), max(steps, row["steps"]))
    return limits


def road_lengths(policy: ClearingPolicy) -> I64:
    """Return the least kilometres between provinces, by the first two digits of their codes."""
    apart = np.zeros((PROVINCES, PROVINCES), np.int64)
    travel = policy.doubts.travel
    if travel is None:
        return apart
    steps = travel.km_by_borders
    for one in province_codes():
        for other in province_codes():
            borders = borders_between(one, other)
            apart[one // 10_000, other // 10_000] = steps[min(borders, len(steps) - 1)] if borders >= 0 else 0
    return apart


def doubt_settings(policy: ClearingPolicy, catalogue: Catalogue) -> dict[str, Any]:
    """Return the SETTINGS that plausibility has; what a policy does not have is set so that it never holds anything."""
    travel, steps = policy.doubts.travel, policy.doubts.steps
    return {
        "fastest": travel.fastest_kmh if travel else 0,
        "local": travel.local_kmh if travel else 0,
        "furthest": travel.km_by_borders[-1] if travel else 0,
        "step_unit": catalogue.units.index("steps"),
        "min_steps": steps.min_steps if steps else ANY // MICRO,
        "round_steps": steps.round_to if steps else 1,
        "span_days": steps.span_days if steps else 0,
        "same_days": steps.same_days if steps else ANY,
        "band_days": steps.band_days if steps else ANY,
        "band": steps.band_permille if steps else 0,
        "full_days": steps.full_days if steps else ANY,
        "full": steps.full_permille if steps else ANY // MICRO,
        "waives": 0,
    }
