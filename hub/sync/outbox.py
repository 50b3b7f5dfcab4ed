"""What others have to be told of a change, noted in the change's own transaction. I/O: `webhook`.

A recipient is told when a consent given to it changes or ends, so that it stops and deletes; a platform is told when one
of its accounts is no longer linked. The note commits with the change or not at all; sending comes later (webhooks.py).
Bodies are sealed: a platform's own account number stands in some.
"""

import json
import secrets
from datetime import datetime

from sqlalchemy.orm import Session

from consent.changes import Change
from consent.errors import ConsentError
from consent.grants import GrantState
from consent.keyring import KeyRing
from consent.link_access import open_access
from consent.pairwise import pairwise_subject
from consent.seal import place
from consent.tables import GrantVersion, Link, OAuthClient
from hub.sync.tables import Webhook

# What a recipient is told of; asking and refusing end nothing that it has.
TOLD = {
    GrantState.ACTIVE: "consent.changed",
    GrantState.PAUSED: "consent.paused",
    GrantState.REVOKED: "consent.withdrawn",
    GrantState.EXPIRED: "consent.expired",
}


def webhook_place(webhook_id: str) -> bytes:
    """Where a sealed body is bound to."""
    return place("webhook", "body", webhook_id, None)


def note_for_others(session: Session, ring: KeyRing, change: Change, at: datetime) -> None:
    """Note what has to be sent because of a change, if anybody asked to be told."""
    if change.what.startswith("grant."):
        _note_grant(session, ring, change, at)
    elif change.what == "link.revoked":
        _note_link(session, ring, change, at)


def _note_grant(session: Session, ring: KeyRing, change: Change, at: datetime) -> None:
    row = session.get(GrantVersion, (change.ids["grant_id"], int(change.ids["version"])))
    kind = None if row is None else TOLD.get(GrantState(row.state))
    if row is None or row.client_id is None or kind is None or change.what == "grant.activated":
        return
    client = session.get(OAuthClient, row.client_id)
    if client is None or "webhook_uri" not in json.loads(client.registration):
        return
    data = {
        "grant_id": row.grant_id,
        "version": row.version,
        "state": row.state,
        "subject": pairwise_subject(ring, row.recipient, row.subject_id),
    }
    _append(session, ring, target=f"client:{row.client_id}", kind=kind, data=data, at=at)


def _note_link(session: Session, ring: KeyRing, change: Change, at: datetime) -> None:
    link = session.get(Link, change.ids["link_id"])
    if link is None:
        return
    try:
        account = open_access(session, ring, link).account
    except ConsentError:
        return  # the person is erased, and with the key the account number: nobody can name it any more
    _append(
        session, ring, target=f"participant:{link.platform}", kind="link.ended", data={"account": account}, at=at
    )  # fmt: skip


def _append(session: Session, ring: KeyRing, *, target: str, kind: str, data: dict[str, object], at: datetime) -> None:
    webhook_id = "msg_" + secrets.token_urlsafe(16)
    body = json.dumps({"type": kind, "timestamp": at.isoformat(), "data": data}, ensure_ascii=False).encode()
    session.add(
        Webhook(
            webhook_id=webhook_id, target=target, kind=kind, body=ring.seal(body, webhook_place(webhook_id)),
            created_at=at, due_at=at, tries=0,
        )
    )  # fmt: skip
