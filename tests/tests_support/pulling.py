"""A feed to pull from, in tests: what an honest platform answers, and reading it as the hub does."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

from connectors.base import ConnectorError, LinkAccess, Page
from connectors.net.egress import EgressLimits, Origin, SafeClient
from connectors.profiles.cursor_pull import CursorPull, parse_config

NOW = datetime(2026, 10, 6, 1, 0, tzinfo=UTC)
ACCESS = LinkAccess(link_id="7", account="citic-000123", access_token="canary-token")
ROWS = [{"cardTransactionId": f"C{i:03d}", "version": 1, "amount": "3.00"} for i in range(25)]


def asked(exchange: Any) -> tuple[int, int]:
    """What a page of this feed begins with and how many rows it has: the cursor is the offset."""
    query = parse_qs(urlsplit(exchange.path).query)
    return int(query.get("cursor", ["0"])[0]), int(query["limit"][0])


def honest(exchange: Any) -> None:
    start, limit = asked(exchange)
    following = str(start + limit) if start + limit < len(ROWS) else None
    exchange.reply(200, {"records": ROWS[start : start + limit], "next_cursor": following})


def puller(platform: Any, **config: object) -> CursorPull:
    url = platform.url
    settings = {"records_url": f"{url}/records", "allow_loopback": True, "limit": 10} | config
    limits = EgressLimits(connect_s=20.0, read_s=20.0, total_s=30.0, body_bytes=200_000)
    client = SafeClient([Origin.parse(url, allow_loopback=True)], limits=limits)
    return CursorPull(parse_config(settings, {}), client=client)


def pages(source: Iterator[Page]) -> tuple[list[Page], ConnectorError | None]:
    """Read as the hub does: every page counts, then perhaps an error."""
    taken: list[Page] = []
    try:
        for page in source:
            taken.append(page)
            assert len(taken) <= 600, "the feed never ends"
    except ConnectorError as error:
        return taken, error
    return taken, None


def ids(taken: list[Page]) -> list[str]:
    return [json.loads(row)["cardTransactionId"] for page in taken for row in page.delivery.rows]
