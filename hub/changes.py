"""Tell the interconnection log of a change, in the change's own transaction. I/O: the database.

`change_leaf` remembers which leaf tells of which change; it never leaves the hub. The leaf itself carries no id that
leads to a person: ids of grants and links go in as digests of random 128-bit values.
"""

from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from typing import Any

from sqlalchemy.orm import Session

from consent.changes import Change
from hub.log.leaves import Kind, build_leaf
from hub.log.store import append_leaf
from hub.sync.tables import ChangeLeaf


def log_change(session: Session, kind: Kind, reference: str, at: datetime, fields: Mapping[str, Any]) -> None:
    """Append the leaf of one change and remember it under the change's reference."""
    leaf_id = append_leaf(session, build_leaf(kind, at, dict(fields)))
    session.add(ChangeLeaf(kind=str(kind), reference=reference, leaf_id=leaf_id))
    session.flush()


def log_consent_change(session: Session, change: Change, at: datetime) -> None:
    """Append the leaf of a change of a grant or a link that consent/ reports."""
    kind = Kind.LINK_CHANGED if change.what.startswith("link.") else Kind.CONSENT_CHANGED
    reference = ":".join([change.what, *(str(value) for _, value in sorted(change.ids.items()))])
    if kind is Kind.LINK_CHANGED:
        # A link can break, be renewed and break again for the same reason.
        reference = f"{reference}:{at.isoformat()}"
    opaque = {name: sha256(f"{name}:{value}".encode()).hexdigest() for name, value in sorted(change.ids.items())}
    log_change(session, kind, reference, at, {"what": change.what, "ids": opaque})
