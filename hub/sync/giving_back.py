"""Give tokens of ended links back to their platforms (RFC 7009). I/O: network, the database.

The withdrawal itself needs none of this: it holds from its own transaction on, and that transaction also notes that the
token has to be given back. A platform that cannot be reached or does not take it is asked again later, each time after
a longer pause; until then the token stays sealed in the closed link and is used for nothing else. When to try next is in
the database, so that neither a restart nor many workers ask a platform that is down over and over.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy import select, update
from sqlmodel import col

from connectors.base import ConnectorError, LinkAccess, Scope
from consent.link_access import LinkUnusable, open_access
from consent.links import LinkState
from consent.platform_tokens import revoke_at_platform
from consent.platforms import PlatformRefused
from consent.seal import SealError
from consent.tables import Link
from hub.context import Hub
from hub.db import reading, writing
from hub.errors import NotFound
from hub.participants import Platform, open_platform
from hub.sync.cursors import back_off
from hub.sync.outward import platform_config, platform_http
from hub.sync.transactions import transactions_of

log = structlog.get_logger(__name__)

LINKS_A_ROUND = 20
HOLD = timedelta(minutes=2)  # longer than one try can take; a worker that dies in between is followed by another one


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A token that has to be given back, and this worker's turn to try."""

    link_id: str
    platform: str
    tries: int


def give_back(hub: Hub) -> bool:
    """Try some links that are due; returns whether any token was given back."""
    given = [_try(hub, waiting) for waiting in _take(hub)]
    return True in given


def _take(hub: Hub) -> list[Waiting]:
    """Take what is due, for `HOLD`: of several workers each link has one."""
    now = hub.clock()
    due = (
        select(col(Link.link_id), col(Link.platform), col(Link.give_back_tries), col(Link.give_back_at))
        .where(col(Link.give_back_at) <= now)
        .order_by(col(Link.give_back_at), col(Link.link_id))
        .limit(LINKS_A_ROUND)
    )
    with reading(hub.engine) as session:
        found = session.execute(due).all()
    if not found:
        return []
    taken = []
    with writing(hub.engine) as session:
        for link_id, platform, tries, seen in found:
            mine = update(Link).where(col(Link.link_id) == link_id, col(Link.give_back_at) == seen)
            if session.execute(mine.values(give_back_at=now + HOLD)).rowcount == 1:  # type: ignore[attr-defined]
                taken.append(Waiting(link_id=link_id, platform=platform, tries=tries))
    return taken


def _try(hub: Hub, waiting: Waiting) -> bool:
    now = hub.clock()
    try:
        with reading(hub.engine) as session:
            platform = open_platform(session, hub.ring, waiting.platform)
        _end_consents(hub, platform, waiting.link_id, now)
        with platform_http(platform) as http:
            config = platform_config(hub, platform)
            done = revoke_at_platform(
                transactions_of(hub), hub.ring, http, config=config, link_id=waiting.link_id, now=now
            )
        reason = "refused"
    except LinkUnusable:
        # The person is erased, and with the key the token: nobody can give it back any more.
        _note(hub, waiting, None)
        return False
    except (ConnectorError, PlatformRefused, SealError, NotFound) as failure:
        done, reason = False, type(failure).__name__
    if done:
        return True
    log.info("not_given_back", platform=waiting.platform, link=waiting.link_id, tries=waiting.tries + 1, reason=reason)
    _note(hub, waiting, now + back_off(waiting.tries + 1))
    return False


def _end_consents(hub: Hub, platform: Platform, link_id: str, now: datetime) -> None:
    """Tell the platform in its own words, where its format has some: a bank's consent is ended beside its token."""
    telling = [feed.connector for feed in platform.fetched(Scope.LINK)]
    if not telling:
        return
    with reading(hub.engine) as session:
        link = session.get(Link, link_id)
        if link is None or link.state != LinkState.REVOKED or link.token_sealed is None:
            return
        access = open_access(session, hub.ring, link)
    if access.tokens is None:
        return
    told = LinkAccess(link_id=link_id, account=access.account, access_token=access.tokens.access_token)
    for connector in telling:
        connector.revoke(told, now=now)


def _note(hub: Hub, waiting: Waiting, again_at: datetime | None) -> None:
    # A worker that was slower than `HOLD` must not call back what another one has given back meanwhile.
    still = update(Link).where(col(Link.link_id) == waiting.link_id, col(Link.give_back_at).is_not(None))
    with writing(hub.engine) as session:
        session.execute(still.values(give_back_at=again_at, give_back_tries=waiting.tries + 1))
