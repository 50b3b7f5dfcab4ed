"""Files that a person brings: their own exports of bills, their meter's data. I/O: the database.

A platform that records are brought from has no door of its own: whose they are is known only by who brings them. The
person links it like any other (there is nobody to ask for permission but themself), and every file becomes a delivery of
that link. The same file brought again changes nothing.
"""

from dataclasses import replace
from datetime import datetime

from sqlalchemy.orm import Session

from connectors.base import Delivery, Inbound, Outcome, Receiver, Reply, Transport
from consent.link_access import Access, load_access
from consent.links import LinkState, load_links
from hub.context import Hub
from hub.db import reading
from hub.errors import NotFound
from hub.participants import Feed, Platform, Status, open_platform
from hub.pipeline import take_delivery
from hub.records.races import try_again


def take_upload(hub: Hub, subject_id: int, participant: str, content: bytes, *, now: datetime) -> Reply:
    """Take a person's file; the answer is the connector's: what became of the rows, or why the file is none.

    Raises:
        NotFound: nobody can bring files of this participant, or the person has not linked it.
        LinkUnusable: consent does not allow it now.
        Conflict: never for a file; see `take_delivery`.
    """
    with reading(hub.engine) as session:
        platform = open_platform(session, hub.ring, participant)
        receiver = _brought(platform)
        access = _access(hub, session, subject_id, participant, now)
    received = receiver.receive(Inbound(method="POST", path="/", body=content), now=now)
    if not isinstance(received, Delivery):
        return received
    # Two people may bring the same file; each one's is a delivery of its own.
    delivery = replace(received, account=access.account, delivery_id=f"{access.link_id}:{received.delivery_id}"[:200])
    outcome: Outcome = try_again(lambda: take_delivery(hub, platform, delivery, now=now))
    return receiver.acknowledge(delivery, outcome)


def takes_uploads(platform: Platform) -> bool:
    """Say whether people bring this platform's records themselves."""
    return any(_is_brought(feed) for feed in platform.feeds)


def _is_brought(feed: Feed) -> bool:
    return feed.connector.describe().transport is Transport.UPLOAD


def _brought(platform: Platform) -> Receiver:
    for feed in platform.feeds:
        if platform.status is Status.ACTIVE and _is_brought(feed) and isinstance(feed.connector, Receiver):
            return feed.connector
    raise NotFound(f"files of {platform.platform_id} cannot be brought")


def _access(hub: Hub, session: Session, subject_id: int, participant: str, now: datetime) -> Access:
    for link in load_links(session, subject_id=subject_id):
        if link.platform == participant and link.valid_until is None and link.state == LinkState.ACTIVE:
            return load_access(session, hub.ring, link_id=link.link_id, now=now)
    raise NotFound(f"{participant} is not linked: link it first")
