"""Every case of the suite, in the order in which they run. Pure.

A new group of cases is a module beside these and a line here.
"""

from collections.abc import Iterable
from itertools import chain

from hub.conformance.cases import Case, CaseList
from hub.conformance.groups import (
    acknowledging,
    asking,
    bringing,
    bringing_again,
    contract,
    devices,
    dropping,
    drops_resigned,
    living,
    living_on,
    malformed,
    pulling,
    pulling_faults,
    settings,
    tampering,
)
from hub.conformance.rig import Rig

_LISTS: Iterable[CaseList[Rig]] = (
    contract.CASES,
    settings.CASES,
    acknowledging.CASES,
    tampering.CASES,
    malformed.CASES,
    devices.CASES,
    bringing.CASES,
    asking.CASES,
    pulling.CASES,
    pulling_faults.CASES,
    dropping.CASES,
    drops_resigned.CASES,
    living.CASES,
    living_on.CASES,
    bringing_again.CASES,
)
CASES: tuple[Case[Rig], ...] = tuple(chain.from_iterable(_LISTS))

if len({case.id for case in CASES}) != len(CASES):
    raise AssertionError("two cases have one id")
