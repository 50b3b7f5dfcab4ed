"""Give tokens of ended links back to their platforms (RFC 7009). I/O: network, the database.

The withdrawal itself needs none of this: it holds from its own transaction on. A platform that cannot be reached is
asked again later; until then the token stays sealed in the closed link and is used for nothing else.
"""

from datetime import datetime

from sqlalchemy import select
from sqlmodel import col

from connectors.base import ConnectorError
from consent.links import LinkState, LinkUnusable
from consent.platform_tokens import revoke_at_platform
from consent.platforms import PlatformRefused
from consent.seal import SealError
from consent.tables import Link
from hub.context import Hub
from hub.db import reading
from hub.errors import NotFound
from hub.participants import open_platform
from hub.sync.cursors import back_off
from hub.sync.outward import platform_config, platform_http
from hub.sync.transactions import transactions_of

LINKS_A_ROUND = 20


class GivingBack:
    """What one worker still has to give back, and when it tries again; a restart tries at once."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._failures: dict[str, int] = {}
        self._not_before: dict[str, datetime] = {}

    def run(self) -> bool:
        """Try some links that are due; returns whether any token was given back."""
        now = self._hub.clock()
        waiting = [link for link in self._load() if self._not_before.get(link[0], now) <= now]
        given = [self._try(link_id, platform, now) for link_id, platform in waiting[:LINKS_A_ROUND]]
        return True in given

    def _load(self) -> list[tuple[str, str]]:
        ended = select(col(Link.link_id), col(Link.platform)).where(
            col(Link.state) == LinkState.REVOKED, col(Link.token_sealed).is_not(None)
        )
        with reading(self._hub.engine) as session:
            return [(link_id, platform) for link_id, platform in session.execute(ended)]

    def _try(self, link_id: str, platform_id: str, now: datetime) -> bool:
        hub = self._hub
        try:
            with reading(hub.engine) as session:
                platform = open_platform(session, hub.ring, platform_id)
            with platform_http(platform) as http:
                done = revoke_at_platform(
                    transactions_of(hub),
                    hub.ring,
                    http,
                    config=platform_config(hub, platform),
                    link_id=link_id,
                    now=now,
                )
        except (ConnectorError, PlatformRefused, LinkUnusable, SealError, NotFound):
            done = False
        if done:
            self._failures.pop(link_id, None)
            return True
        failures = self._failures.get(link_id, 0) + 1
        self._failures[link_id] = failures
        self._not_before[link_id] = now + back_off(failures)
        return False
