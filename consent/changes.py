"""What changed, in a form that may be logged for ever. Pure.

A change carries random ids and closed words only: no name, no account, no subject id, nothing a person typed. Whoever
makes the change hands it to the log in the same transaction.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One change of a grant, a link or a client: `what` is a stable code such as `grant.revoked`."""

    what: str
    ids: Mapping[str, str]


def change(what: str, **ids: str | int) -> Change:
    return Change(what=what, ids=MappingProxyType({name: str(value) for name, value in ids.items()}))
