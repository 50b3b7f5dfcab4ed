"""The participant document of a platform that has only the feed on the bench. Pure.

It is what an operator would be given, but for one thing: where a connector has a setting for how much comes at once, the
feed is asked for in small pages, so that every case about cursors has several to look at.
"""

from collections.abc import Callable, Mapping
from typing import Any

from connectors.base import Fetcher, Receiver
from connectors.config import ConfigError
from hub.sandbox.platforms.spec import Feed, Place, Spec

Settings = Mapping[str, object]
Build = Callable[[str, Settings, Settings], Receiver | Fetcher]
_PAGE_SIZES = ("limit", "page_rows", "page_size", "length")
_SIZES = (3, 5, 10, 20)


def make_document(spec: Spec, feed: Feed, place: Place, *, builder: Build, page_rows: int | None) -> dict[str, Any]:
    """Return the document; `page_rows` is how many rows a page should have, None for as many as usual."""
    config, secrets = feed.config(place), feed.secrets(place.agreed)
    if page_rows is not None:
        config = _with_small_pages(feed, config, secrets, builder, page_rows)
    return {
        "id": spec.id,
        "name_zh": spec.name_zh,
        "name_en": spec.name_en,
        "kind": spec.kind,
        "connector": feed.connector,
        "connector_config": config,
        "secrets": secrets,
        "stream": feed.stream,
        "mapping": f"{spec.id}.{feed.stream}.v1",
        "behaviours": list(spec.behaviours),
        "allow_loopback": True,
    }


def _with_small_pages(
    feed: Feed, config: dict[str, Any], secrets: dict[str, Any], builder: Build, page_rows: int
) -> dict[str, Any]:
    for name in _PAGE_SIZES:
        for size in (max(page_rows, _SIZES[0]), *_SIZES):
            try:
                builder(feed.connector, {**config, name: size}, secrets)
            except ConfigError:
                continue
            return {**config, name: size}
    return config
