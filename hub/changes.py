"""Tell the interconnection log of a change, in the change's own transaction. I/O: the database.

`change_leaf` remembers which leaf tells of which change; it never leaves the hub. `log_entry` has what a leaf can be found
by. The leaf itself carries no id that leads to a person: ids of grants and links go in as digests of random 128-bit values.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from hashlib import sha256
from typing import Any

from sqlalchemy.orm import Session

from consent.changes import Change
from consent.receipts import issue_receipt
from hub.attestations.ending import end_by_consent
from hub.context import Hub
from hub.exchange.entries import found_by
from hub.exchange.tables import LogEntry
from hub.log.leaves import Kind, build_leaf
from hub.log.store import append_leaf
from hub.log.watch import require_log_open
from hub.sync.outbox import note_for_others
from hub.sync.tables import ChangeLeaf

KINDS = {"grant": Kind.CONSENT_CHANGED, "link": Kind.LINK_CHANGED, "client": Kind.CLIENT_CHANGED}


def log_change(session: Session, kind: Kind, reference: str, at: datetime, fields: Mapping[str, Any]) -> None:
    """Append the leaf of one change, remember it under the change's reference, and let it be found."""
    log_changes(session, at, [(kind, reference, fields)])


def log_changes(session: Session, at: datetime, changes: Sequence[tuple[Kind, str, Mapping[str, Any]]]) -> None:
    """Append the leaves of several changes (kind, reference, fields), each a leaf of its own; cheaper than one by one."""
    for kind, reference, fields in changes:
        require_log_open(session, kind, at, fields)
        leaf = build_leaf(kind, at, dict(fields))
        leaf_id = append_leaf(session, leaf)
        session.add(ChangeLeaf(kind=str(kind), reference=reference, leaf_id=leaf_id))
        session.add(LogEntry(leaf_id=leaf_id, **asdict(found_by(kind, leaf.at, fields))))
    session.flush()


def log_consent_change(session: Session, change: Change, at: datetime, *, hub: Hub) -> None:
    """Do all that a change which consent/ reports entails: the person's receipt, the log's leaf, a note for others.

    The leaf holds the receipt's digest: who has a receipt can show when the hub knew of it, and nobody else can tell
    whose it is.
    """
    kind = KINDS[change.what.partition(".")[0]]
    reference = ":".join([change.what, *(str(value) for _, value in sorted(change.ids.items()))])
    if kind is Kind.LINK_CHANGED:
        # A link can break, be renewed and break again for the same reason.
        reference = f"{reference}:{at.isoformat()}"
    opaque = {name: _digest(name, value) for name, value in sorted(change.ids.items())}
    fields: dict[str, Any] = {"what": change.what, "ids": opaque}
    if change.what.startswith("grant."):
        grant_id, version = change.ids["grant_id"], int(change.ids["version"])
        receipt = issue_receipt(session, hub.ring, grant_id=grant_id, version=version, issuer=hub.settings.issuer)
        if receipt is not None:
            fields["receipt_digest"] = receipt.digest
        # What was attested on a consent does not outlive it, nor says more than it allows now.
        end_by_consent(session, grant_id, version, at, tell=log_change)
    log_change(session, kind, reference, at, fields)
    note_for_others(session, hub.ring, change, at)


def grant_digest(grant_id: str) -> str:
    """A grant's random id as leaves name it."""
    return _digest("grant_id", grant_id)


def _digest(name: str, value: str) -> str:
    return sha256(f"{name}:{value}".encode()).hexdigest()
