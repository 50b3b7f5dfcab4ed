"""One installation as an OAuth authority: its address, keys and what there is to allow. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sqlalchemy.orm import Session

from consent.details import Known
from consent.dpop import Nonces
from consent.keyring import KeyRing


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """What every request to the authorization server is measured against.

    `known` asks which behaviours and participants there are now; `look_back` is how far a consent reaches into the past
    where the client does not say; `registries` are the key sets of those whose software statements count, by issuer;
    `certificates` says whether clients can be known by a TLS certificate here.
    """

    issuer: str
    keyring: KeyRing = field(repr=False)
    nonces: Nonces = field(repr=False)
    known: Callable[[Session], Known]
    look_back: timedelta
    registries: Mapping[str, Any] = field(default_factory=dict)
    certificates: bool = False
