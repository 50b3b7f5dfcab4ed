"""The connectors by name, built from a participant's settings. Pure: the connectors' own I/O begins with their use.

The file that a participant is added with names one of these; its settings are checked here, once, when it is added.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from connectors import cursor_pull, file_drop, signed_push, szt_card, tcec102, werun
from connectors.base import Fetcher, Receiver, Stop, Transport
from connectors.config import ConfigError

Settings = Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What there is to choose from; `profile` means the hub's own form for platforms without a public record API."""

    name: str
    transport: Transport
    profile: bool
    secrets: tuple[str, ...]
    build: Callable[[Settings, Settings], Receiver | Fetcher]


_KINDS = (
    Kind(
        name="signed_push",
        transport=Transport.PUSH,
        profile=True,
        secrets=("webhook_secrets",),
        build=lambda config, secrets: signed_push.SignedPush(signed_push.parse_config(config, secrets)),
    ),
    Kind(
        name="cursor_pull",
        transport=Transport.PULL,
        profile=True,
        secrets=(),
        build=lambda config, secrets: cursor_pull.CursorPull(cursor_pull.parse_config(config, secrets)),
    ),
    Kind(
        name="tcec102",
        transport=Transport.PUSH,
        profile=False,
        secrets=("operator_secret", "data_secret", "data_secret_iv", "sig_secret", "token_key"),
        build=lambda config, secrets: tcec102.TCec102(tcec102.parse_config(config, secrets)),
    ),
    Kind(
        name="werun",
        transport=Transport.DEVICE,
        profile=False,
        secrets=("app_secret",),
        build=lambda config, secrets: werun.WeRun(werun.parse_config(config, secrets)),
    ),
    Kind(
        name="file_drop",
        transport=Transport.FILE,
        profile=True,
        secrets=(),
        build=lambda config, secrets: file_drop.FileDrop(file_drop.parse_config(config, secrets)),
    ),
    Kind(
        name="szt_card",
        transport=Transport.FILE,
        profile=True,
        secrets=(),
        build=lambda config, secrets: szt_card.build_szt_card(szt_card.parse_config(config, secrets)),
    ),
)
KINDS: Mapping[str, Kind] = {kind.name: kind for kind in _KINDS}


def build(name: str, config: Settings, secrets: Settings) -> Receiver | Fetcher:
    """Build a connector.

    Raises:
        ConfigError: the name is unknown, a field of the settings is missing, unknown or wrong (the field is named), or
            an address in them is none that may be called.
    """
    kind = KINDS.get(name)
    if kind is None:
        raise ConfigError(f"there is no connector named {name!r}: choose from {', '.join(KINDS)}")
    try:
        return kind.build(config, secrets)
    except Stop as stop:
        raise ConfigError(f"config: the platform's address cannot be used ({stop.reason})") from None


def list_connectors() -> tuple[Kind, ...]:
    return tuple(KINDS.values())
