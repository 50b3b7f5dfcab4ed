"""What a platform of the town is made of: its names, its feeds, and how it is onboarded at a hub. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hub.sandbox.platforms.site import Front, Voice


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a platform can be spoken to, and what it has agreed with the hub."""

    platform: str
    origin: str
    drop_dir: Path
    agreed: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """One connector's worth of a platform: a stream in one format.

    Attributes:
        stream: as in the participant file; the mapping is `{platform}.{stream}.v1`.
        voice: makes the simulator of this feed.
        config: `connector_config` of the participant file.
        secrets: `secrets` of the participant file, from what was agreed.
    """

    stream: str
    connector: str
    voice: Callable[[Front, str], Voice]
    config: Callable[[Place], dict[str, Any]]
    secrets: Callable[[Mapping[str, str]], dict[str, Any]] = lambda agreed: {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """One platform.

    Attributes:
        kind: as in the participant file (city, bank, enterprise, data_source, aggregator, community, event).
        behaviours: what it may tell of.
        feeds: the first is the one whose reports have no stream; every other one's reports carry its stream.
        agreed: what is agreed besides the OAuth client, made from a function that gives 32 bytes for a name.
        signs_in: whether people sign in there over OAuth.
        device_code: whether accounts are linked by the platform's own code instead.
    """

    id: str
    name_zh: str
    name_en: str
    kind: str
    behaviours: tuple[str, ...]
    feeds: tuple[Feed, ...]
    agreed: Callable[[Callable[[str], bytes]], dict[str, str]] = lambda secret: {}
    signs_in: bool = True
    device_code: bool = False
