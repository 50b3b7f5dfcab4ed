"""The newest checkpoint as it is served: with the cosignatures that there are. I/O: reads the database.

What witnesses answered is kept by witness (`log_witness`), and the last checkpoint that had the policy's quorum whole
(`log_witnessed`). Who can write the database can take cosignatures away, not make any.
"""

from sqlalchemy import text
from sqlalchemy.orm import Session

from hub.log.checkpoint import parse_unverified
from hub.log.store import load_checkpoint
from hub.log.witness_protocol import add_lines

_LINES = text("SELECT line FROM log_witness WHERE size = :size AND root = :root AND line IS NOT NULL ORDER BY key")
_WITNESSED = text("SELECT note FROM log_witnessed WHERE id = 1")


def load_served_checkpoint(session: Session) -> bytes | None:
    """Return the newest checkpoint with every cosignature of it, or None before the first run."""
    note = load_checkpoint(session)
    return None if note is None else with_cosignatures(session, note)


def with_cosignatures(session: Session, note: bytes) -> bytes:
    """Return a checkpoint of this log with the cosignatures that witnesses gave of exactly its size and root."""
    checkpoint = parse_unverified(note)
    lines = session.execute(_LINES, {"size": checkpoint.size, "root": checkpoint.root}).scalars()
    return add_lines(note, list(lines))


def load_witnessed(session: Session) -> bytes | None:
    """Return the newest checkpoint that had the quorum of witnesses, cosignatures included, or None."""
    note = session.execute(_WITNESSED).scalar_one_or_none()
    return None if note is None else bytes(note)
