"""How the town's platforms are onboarded at a hub: one participant document each. Pure.

All secrets follow from the seed, so that a restarted sandbox and its hub still know each other. That is right for a
sandbox on the loopback and wrong everywhere else.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from hub.sandbox.people import town_secret
from hub.sandbox.platforms.auth_server import SCOPES
from hub.sandbox.platforms.spec import Feed, Place, Spec
from hub.sandbox.registers import PLATFORMS
from hub.sandbox.specs import SPECS

Secrets = Mapping[str, Mapping[str, str]]

_HOST = "127.0.0.1"

NAMES: Mapping[str, tuple[str, str]] = {spec.id: (spec.name_zh, spec.name_en) for spec in SPECS.values()}


def control_url(base_port: int) -> str:
    """Return where the town itself is told what to do."""
    return f"http://{_HOST}:{base_port}"


def origin_of(platform: str, base_port: int) -> str:
    """Return the origin of a platform: each has its own port, in the order of `PLATFORMS`, after the control port."""
    return f"http://{_HOST}:{base_port + 1 + PLATFORMS.index(platform)}"


def secrets_of(seed: int) -> dict[str, dict[str, str]]:
    """Return what each platform and the hub have agreed, and each platform's own keys (`seal_key`, `signing_key`)."""
    return {spec.id: secrets_for(spec, seed) for spec in SPECS.values()}


def secrets_for(spec: Spec, seed: int) -> dict[str, str]:
    """Return what one platform and the hub have agreed, also of a platform that is not in the town."""
    secret = partial(town_secret, seed)
    return {
        "seal_key": secret(f"{spec.id}/seal").hex(),
        "client_id": f"tanlian-at-{spec.id}",
        "client_secret": secret(f"{spec.id}/client").hex()[:48],
        **spec.agreed(secret),
    }


def participants(
    base_port: int, drop_dir: Path, hub_url: str, seed: int, secrets: Secrets | None = None
) -> list[dict[str, Any]]:
    """Return the documents for `tanlian participants add`, one for each platform of the town.

    Args:
        drop_dir: where platforms leave their drops; the hub must see the same directory.
        hub_url: the hub's base address, for registering its return address; the documents do not name it.
        secrets: what was agreed, if it is not what follows from the seed.
    """
    agreed = secrets_of(seed) if secrets is None else secrets
    if not hub_url.startswith(("http://", "https://")):
        raise ValueError("hub_url must be the hub's base address")
    return [
        _document(
            spec,
            Place(
                platform=spec.id,
                origin=origin_of(spec.id, base_port),
                drop_dir=drop_dir / spec.id,
                agreed=agreed[spec.id],
            ),
        )
        for spec in SPECS.values()
    ]


def _document(spec: Spec, place: Place) -> dict[str, Any]:
    first, *more = [_feed(spec, feed, place) for feed in spec.feeds]
    oauth = {
        "issuer": place.origin,
        "client_id": place.agreed["client_id"],
        "client_auth": "client_secret_basic",
        "client_secret": place.agreed["client_secret"],
        "scopes": list(SCOPES),
        "account_from": "userinfo.sub",
        "par": False,
        "dpop": False,
    }
    return {
        "id": spec.id,
        "name_zh": spec.name_zh,
        "name_en": spec.name_en,
        "kind": spec.kind,
        **first,
        "more_feeds": more,
        "behaviours": list(spec.behaviours),
        "oauth": oauth if spec.signs_in else None,
        "device_code": spec.device_code,
        "allow_loopback": True,
        "pace": {"requests_per_minute": 600_000, "at_once": 4},
        "statement_url": f"{place.origin}/statement",
        "statement_streams": True,
        "webhook_url": None,
    }


def _feed(spec: Spec, feed: Feed, place: Place) -> dict[str, Any]:
    return {
        "connector": feed.connector,
        "connector_config": feed.config(place),
        "secrets": feed.secrets(place.agreed),
        "stream": feed.stream,
        "mapping": f"{spec.id}.{feed.stream}.v1",
    }
