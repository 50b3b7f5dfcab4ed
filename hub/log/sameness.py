"""Whether a database continues what was signed last. I/O: the database (reads)."""

from sqlalchemy.orm import Session

from hub.log.checkpoint import Checkpoint
from hub.log.store import Head
from hub.log.stored_proofs import load_root_at


def find_contradiction(session: Session, head: Head, signed: Checkpoint | None, *, origin: str) -> str | None:
    """Say why signing on would contradict what was signed before, or None.

    A checkpoint that is ahead of the head and not of the indexes that are given out says nothing yet: whoever integrates
    those leaves has to come to its root.

    Args:
        signed: what the head file remembers; None if there is no file.
    """
    if signed is None:
        missing = "the head file is missing and the log is not empty; adopt the head if that is right"
        return missing if head.size > 0 else None
    if signed.origin != origin:
        return "the head file belongs to another log"
    if signed.size > head.sequenced:
        return f"size {signed.size} was signed, the database has {head.sequenced}: a restored backup?"
    if signed.size > head.size:
        return None
    # Behind the database only on another host than the one that signed last.
    stored = head.frontier.root() if signed.size == head.size else load_root_at(session, signed.size)
    return None if stored == signed.root else f"another root was signed at size {signed.size}"
