"""The closed lists of words and their codes: behaviours, families, units, roles, precisions. Pure.

Codes of behaviours, families and units come from the behaviour list; those of platforms from the names at hand, in
alphabetical order, so that comparing two codes means the same in every bucket.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from hub.clearing.kernel.rows import I8, I16
from standards.behaviours import accepted_behaviours, default_unit
from standards.policy import ClearingPolicy
from standards.schema import Precision

PRECISIONS: tuple[str, ...] = tuple(str(precision) for precision in Precision)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Catalogue:
    """The closed lists of words, with codes by position."""

    behaviours: tuple[str, ...]
    families: tuple[str, ...]
    units: tuple[str, ...]
    roles: tuple[str, ...]
    family_of: I16
    """Family by behaviour."""
    default_unit: I16
    """Unit by behaviour and precision."""
    usable: I8
    """By behaviour and unit: 1 if records may use it."""

    def code(self, behaviour: str) -> int:
        """Return the code of a behaviour."""
        return self.behaviours.index(behaviour)

    def shared(self, policy: ClearingPolicy) -> list[int]:
        """Return the codes of behaviours whose acts several people share."""
        return [self.code(code) for rule in policy.overlaps if rule.kind == "shared" for code in rule.behaviours]


@lru_cache(maxsize=8)
def build_catalogue(role_order: tuple[str, ...]) -> Catalogue:
    """Return the codes under a policy's order of roles."""
    known = accepted_behaviours()
    behaviours = tuple(sorted(known))
    families = tuple(sorted({b.family for b in known.values()}))
    units = tuple(sorted({unit for b in known.values() for unit in b.units}))
    return Catalogue(
        behaviours=behaviours,
        families=families,
        units=units,
        roles=role_order,
        family_of=np.array([families.index(known[code].family) for code in behaviours], np.int16),
        default_unit=np.array([[units.index(default_unit(c, p)) for p in PRECISIONS] for c in behaviours], np.int16),
        usable=np.array([[unit in known[code].units for unit in units] for code in behaviours], np.int8),
    )
