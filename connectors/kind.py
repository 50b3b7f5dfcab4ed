"""What there is to choose from when a platform is onboarded. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from connectors.base import Fetcher, Receiver, Transport

Settings = Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One connector; `profile` means the hub's own form for platforms without a public record API."""

    name: str
    transport: Transport
    profile: bool
    secrets: tuple[str, ...]
    build: Callable[[Settings, Settings], Receiver | Fetcher]
