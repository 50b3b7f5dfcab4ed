"""Proofs made from the stored tiles. I/O: the database (reads)."""

from sqlalchemy.orm import Session

from hub.errors import IntegrityBroken, NotFound
from hub.log.checkpoint import parse_unverified
from hub.log.proofs import NodeReader, prove_consistency, prove_inclusion, range_root
from hub.log.store import load_head, load_tile
from hub.log.tiles import TilePath, read_tiles
from hub.log.tlogproof import format_proof


def prove_leaf(session: Session, index: int, *, checkpoint: bytes | None = None) -> bytes:
    """Return the tlog-proof of the leaf at an index under a checkpoint of this log, by default the newest.

    Raises:
        NotFound: the checkpoint does not cover the index.
    """
    head = load_head(session)
    note = checkpoint if checkpoint is not None or head is None else head.checkpoint
    size = 0 if note is None else parse_unverified(note).size
    if head is None or note is None or not 0 <= index < size <= head.size:
        raise NotFound(f"no checkpoint covers leaf {index}")
    hashes = prove_inclusion(index=index, size=size, read_node=_read_stored(session, size))
    return format_proof(index=index, hashes=hashes, checkpoint=note)


def prove_growth(session: Session, old_size: int, *, size: int | None = None) -> list[bytes]:
    """Return the consistency proof from an older size to a later one, by default the newest checkpoint's."""
    head = load_head(session)
    new_size = size if size is not None or head is None else head.size
    if head is None or new_size is None or not 0 <= old_size <= new_size <= head.size:
        raise NotFound(f"the log never had size {old_size}")
    return prove_consistency(old_size=old_size, new_size=new_size, read_node=_read_stored(session, new_size))


def _read_stored(session: Session, size: int) -> NodeReader:
    def load(path: TilePath) -> bytes:
        if (tile := load_tile(session, path)) is None:
            raise IntegrityBroken(f"the log lacks {path}")
        return tile

    return read_tiles(load, size=size)


def load_root_at(session: Session, old_size: int) -> bytes:
    """Return the root that the log had at an older size, computed from its tiles."""
    return range_root(begin=0, end=old_size, read_node=_read_stored(session, old_size))
