"""Notices of change: a platform tells which accounts have something new, so that they are read before any turn. I/O: the
database.

`POST /in/{participant}/changes`, signed as Standard Webhooks with the participant's `notice_secret`; body
`{"accounts": ["..."], "stream": "..."}`, `stream` optional. A notice carries no record and is worth nothing by itself: at
worst an account is read once more. The answer never says which of the accounts are linked here.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlmodel import col

from connectors.base import Inbound, Reply, Scope, json_reply, problem
from connectors.strict_json import MalformedJsonError, parse_object
from connectors.webhook_signature import parse_keys, refuse_unsigned
from consent.links import account_key
from consent.tables import Link
from hub.context import Hub
from hub.db import writing
from hub.errors import NotFound
from hub.participants import Platform
from hub.sync.cursors import ask_for

PATH = "/changes"
MOST_ACCOUNTS = 1_000
_MOST_CHARACTERS = 200


def take_notice(hub: Hub, platform: Platform, inbound: Inbound, *, now: datetime) -> Reply:
    """Check a notice and move the accounts that it names to the front."""
    secret = platform.document.notice_secret
    if secret is None:
        return problem(404, "no_door", "There is no such door.")
    refusal = refuse_unsigned(parse_keys(secret, name="notice_secret"), inbound, now=now)
    if refusal is not None:
        return refusal
    try:
        told = parse_object(inbound.body)
        accounts, stream = _accounts(told), _stream(platform, told)
    except (MalformedJsonError, ValueError, NotFound):
        return problem(
            400, "notice_malformed", f"A notice is an object with 1 to {MOST_ACCOUNTS} accounts and, if told, a stream."
        )
    keys = [account_key(hub.ring, platform.platform_id, account) for account in accounts]
    with writing(hub.engine) as session:
        wanted = select(col(Link.link_id)).where(
            col(Link.platform) == platform.platform_id, col(Link.account_key).in_(keys), col(Link.valid_until).is_(None)
        )
        links = list(session.execute(wanted).scalars())
        whole = [""] if any(True for _ in platform.fetched(Scope.PLATFORM)) else []
        ask_for(session, platform.platform_id, [*links, *whole], now, stream=stream)
    return json_reply(202, {"noted": len(accounts)})


def _accounts(told: dict[str, Any]) -> list[str]:
    accounts = told.get("accounts")
    if not isinstance(accounts, list) or not 0 < len(accounts) <= MOST_ACCOUNTS or set(told) - {"accounts", "stream"}:
        raise ValueError
    if not all(isinstance(one, str) and 0 < len(one) <= _MOST_CHARACTERS for one in accounts):
        raise ValueError
    return accounts


def _stream(platform: Platform, told: dict[str, Any]) -> str | None:
    stream = told.get("stream")
    if stream is None:
        return None
    if not isinstance(stream, str) or not stream:
        raise ValueError
    return platform.state_name(platform.feed(stream))
