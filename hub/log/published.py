"""Proofs computed from a published log's tiles alone, without asking whoever publishes it. I/O: only through its `Fetch`.

What is computed is checked against the signed checkpoint before it is given out, so a changed tile is told and proves
nothing. Source: C2SP tlog-tiles ("clients ... compute any desired proof"; a partial tile may be gone once it is full).
"""

from hub.errors import IntegrityBroken, NotFound
from hub.log.checkpoint import Checkpoint, open_checkpoint
from hub.log.merkle import leaf_hash
from hub.log.note import VerifierKey
from hub.log.proofs import (
    NodeReader,
    ProofError,
    prove_consistency,
    prove_inclusion,
    range_root,
    verify_consistency,
    verify_inclusion,
)
from hub.log.source import Fetch
from hub.log.tiles import ENTRIES, FULL_WIDTH, BundleError, TilePath, decode_bundle, read_tiles
from hub.log.tlogproof import format_proof


class PublishedLog:
    """One published log as its newest checkpoint says it is."""

    def __init__(self, fetch: Fetch, key: VerifierKey) -> None:
        """Read the checkpoint.

        Raises:
            NotFound: there is none. NoteError: it is not this key's.
        """
        self._fetch = fetch
        note = fetch("checkpoint")
        if note is None:
            raise NotFound("there is no checkpoint")
        self.note = note
        self.checkpoint: Checkpoint = open_checkpoint(note, key)
        self._nodes: NodeReader = read_tiles(self._load, size=self.checkpoint.size)

    def read_entry(self, index: int) -> bytes:
        """Return an entry's bytes, not compared with anything yet."""
        self._require_index(index)
        n, at = divmod(index, FULL_WIDTH)
        width = min(FULL_WIDTH, self.checkpoint.size - n * FULL_WIDTH)
        try:
            return decode_bundle(self._load(TilePath(level=ENTRIES, n=n, width=width)))[at]
        except (BundleError, IndexError) as cause:
            raise IntegrityBroken(f"the bundle of entry {index} is damaged") from cause

    def prove_entry(self, index: int) -> bytes:
        """Return the tlog-proof of an entry.

        Raises:
            NotFound: the log is not that long. IntegrityBroken: entry, tiles and checkpoint do not fit together.
        """
        entry, size, root = self.read_entry(index), self.checkpoint.size, self.checkpoint.root
        try:
            hashes = prove_inclusion(index=index, size=size, read_node=self._nodes)
            verify_inclusion(leaf=leaf_hash(entry), index=index, size=size, proof=hashes, root=root)
        except (ProofError, ValueError) as cause:
            raise IntegrityBroken(f"entry {index} is not what was signed: {cause}") from cause
        return format_proof(index=index, hashes=hashes, checkpoint=self.note)

    def prove_growth(self, old_size: int) -> list[bytes]:
        """Return the consistency proof from an older size; IntegrityBroken if the tiles do not lead to the signed root."""
        size, root = self.checkpoint.size, self.checkpoint.root
        if not 0 <= old_size <= size:
            raise NotFound(f"the log never had size {old_size}")
        try:
            hashes = prove_consistency(old_size=old_size, new_size=size, read_node=self._nodes)
            verify_consistency(
                old_size=old_size, old_root=self.root_at(old_size), new_size=size, new_root=root, proof=hashes
            )
        except (ProofError, ValueError) as cause:
            raise IntegrityBroken(f"the tiles are not what was signed: {cause}") from cause
        return hashes

    def root_at(self, old_size: int) -> bytes:
        """Return the root that the tiles give for an older size."""
        return range_root(begin=0, end=old_size, read_node=self._nodes)

    def _require_index(self, index: int) -> None:
        if not 0 <= index < self.checkpoint.size:
            raise NotFound(f"the log has {self.checkpoint.size} entries, and none with index {index}")

    def _load(self, path: TilePath) -> bytes:
        data = self._fetch(str(path))
        if data is None and path.width < FULL_WIDTH:
            data = self._fetch(str(path.full()))
        if data is None:
            raise IntegrityBroken(f"{path} is not there")
        return data
