"""Send what the outbox holds, signed as Standard Webhooks has it, until it is taken or hopeless. I/O: network, database.

    webhook-id, webhook-timestamp, webhook-signature: v1,<HMAC-SHA-256 over id.timestamp.body>

The secret is the receiver's own and derived from a key of the hub, so that none is stored. Each try waits longer than the
one before, for about three days in all; then the row stays with its last result, and `tanlian` shows it.
"""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy import select, update
from sqlmodel import col
from standardwebhooks import Webhook as Signer

from connectors.base import ConnectorError
from connectors.net.egress import Origin, SafeClient
from consent.seal import SealError
from consent.tables import OAuthClient
from consent.webhook_secrets import webhook_secret
from hub.context import Hub
from hub.db import reading, writing
from hub.errors import NotFound
from hub.participants import load_document, require_participant
from hub.sync.outbox import webhook_place
from hub.sync.tables import Webhook

log = structlog.get_logger(__name__)

A_ROUND = 20
HOLD = timedelta(minutes=2)  # longer than one try can take; a worker that dies in between is followed by another one
# The schedule that the Standard Webhooks specification recommends.
PAUSES = tuple(timedelta(seconds=seconds) for seconds in (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400))


@dataclass(frozen=True, slots=True, kw_only=True)
class Receiver:
    """Where to send, and whether that may be on this machine."""

    url: str
    allow_loopback: bool


def deliver_webhooks(hub: Hub) -> bool:
    """Send some of what is due; returns whether anything was taken by its receiver."""
    return True in [_try(hub, row) for row in _take(hub)]


def _take(hub: Hub) -> list[Webhook]:
    """Take what is due, for `HOLD`: of several workers each row has one."""
    now = hub.clock()
    due = select(Webhook).where(col(Webhook.due_at) <= now).order_by(col(Webhook.due_at)).limit(A_ROUND)
    with reading(hub.engine) as session:
        found = list(session.scalars(due))
    taken = []
    for row in found:
        mine = update(Webhook).where(col(Webhook.webhook_id) == row.webhook_id, col(Webhook.due_at) == row.due_at)
        with writing(hub.engine) as session:
            if session.execute(mine.values(due_at=now + HOLD)).rowcount == 1:  # type: ignore[attr-defined]
                taken.append(row)
    return taken


def _try(hub: Hub, row: Webhook) -> bool:
    now = hub.clock()
    receiver = _receiver(hub, row.target)
    if receiver is None or row.body is None:
        _note(hub, row, "no_receiver", again_at=None, now=None)
        return False
    result = _send(hub, row, receiver, now)
    if result == "taken":
        _note(hub, row, result, again_at=None, now=now)
        return True
    # 410 Gone is the receiver's word that it wants no more of this (Standard Webhooks).
    hopeless = row.tries >= len(PAUSES) or result == "410"
    log.info("webhook_not_taken", webhook=row.webhook_id, kind=row.kind, result=result, tries=row.tries + 1)
    _note(hub, row, result, again_at=None if hopeless else now + PAUSES[row.tries], now=None)
    return False


def _send(hub: Hub, row: Webhook, receiver: Receiver, now: datetime) -> str:
    """Return `taken`, or a short code of why it was not."""
    try:
        body = hub.ring.open(row.body or b"", webhook_place(row.webhook_id))
        signature = Signer(webhook_secret(hub.ring, row.target)).sign(row.webhook_id, now, body.decode())
        headers = {
            "content-type": "application/json", "webhook-id": row.webhook_id,
            "webhook-timestamp": str(int(now.timestamp())), "webhook-signature": signature,
        }  # fmt: skip
        origin = Origin.parse(receiver.url, allow_loopback=receiver.allow_loopback)
        with SafeClient([origin]) as client:
            answer = client.fetch(receiver.url, method="POST", headers=headers, content=body)
    except ConnectorError as error:
        return error.reason[:40]
    except SealError:
        return "sealed"
    return "taken" if 200 <= answer.status < 300 else str(answer.status)


def _note(hub: Hub, row: Webhook, result: str, *, again_at: datetime | None, now: datetime | None) -> None:
    values = {"last_result": result, "due_at": again_at, "tries": row.tries + 1, "delivered_at": now}
    if again_at is None:
        values["body"] = None  # what was told, or will never be, is not kept
    with writing(hub.engine) as session:
        session.execute(update(Webhook).where(col(Webhook.webhook_id) == row.webhook_id).values(**values))


def _receiver(hub: Hub, target: str) -> Receiver | None:
    kind, _, name = target.partition(":")
    with reading(hub.engine) as session:
        if kind == "client":
            client = session.get(OAuthClient, name)
            url = None if client is None else json.loads(client.registration).get("webhook_uri")
            return None if url is None else Receiver(url=url, allow_loopback=hub.settings.allow_loopback)
        try:
            document = load_document(require_participant(session, name), hub.ring)
        except NotFound:
            return None
    if document.webhook_url is None:
        return None
    return Receiver(url=document.webhook_url, allow_loopback=document.allow_loopback)
