"""The Merkle tree of RFC 6962 with SHA-256: hashes, and growth by batches. Pure.

The tree is kept as its frontier (the roots of the perfect subtrees that make up its size, at most 63 of them), so it
grows without being read. Proofs are in `proofs.py`.

Source: RFC 6962 section 2.1; RFC 9162 changes the certificate envelope, not this hash.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice

HASH_BYTES = 32
EMPTY_ROOT = sha256(b"").digest()
_LINES_AT_ONCE = 1 << 14
ROW_HEIGHT = 8  # nodes of every eighth level are handed out for storage: the height of a tile


def leaf_hash(entry: bytes) -> bytes:
    """Return the hash of a leaf's exact bytes."""
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node."""
    return sha256(b"\x01" + left + right).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Frontier:
    """All that is needed to grow a tree: its size and the roots of its perfect subtrees, largest first."""

    size: int
    pending: tuple[bytes, ...]

    def __post_init__(self) -> None:
        if self.size < 0 or len(self.pending) != self.size.bit_count():
            raise ValueError("a frontier has one pending hash for each one-bit of its size")
        if any(len(pending) != HASH_BYTES for pending in self.pending):
            raise ValueError("a pending hash has 32 bytes")

    def root(self) -> bytes:
        """Return the tree's root."""
        return fold(self.pending)

    def to_bytes(self) -> bytes:
        """Return the pending hashes, largest subtree first; the size is kept beside them."""
        return b"".join(self.pending)


EMPTY = Frontier(size=0, pending=())


def parse_frontier(size: int, data: bytes) -> Frontier:
    """Return the frontier stored as `Frontier.to_bytes`; ValueError if it cannot belong to a tree of that size."""
    pending = tuple(data[at : at + HASH_BYTES] for at in range(0, len(data), HASH_BYTES))
    return Frontier(size=size, pending=pending)


def fold(perfect: Sequence[bytes]) -> bytes:
    """Return the root over roots of perfect subtrees, largest first."""
    if not perfect:
        return EMPTY_ROOT
    root = perfect[-1]
    for left in reversed(perfect[:-1]):
        root = node_hash(left, root)
    return root


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """What a batch adds: the new frontier, and the new nodes of every eighth level (key: level // 8) in order."""

    frontier: Frontier
    rows: dict[int, list[bytes]]


def extend(frontier: Frontier, leaf_hashes: Sequence[bytes]) -> Growth:
    """Append leaves in one pass: join each level's new nodes to the waiting one, pair them up, keep the odd one."""
    waiting = list(frontier.pending)
    kept: list[bytes] = []
    rows: dict[int, list[bytes]] = {}
    new, level = list(leaf_hashes), 0
    while new or frontier.size >> level:
        if new and level % ROW_HEIGHT == 0:
            rows[level // ROW_HEIGHT] = new
        joined = [waiting.pop(), *new] if frontier.size >> level & 1 else new
        if len(joined) % 2:
            kept.append(joined[-1])
        new = [sha256(b"\x01" + left + right).digest() for left, right in zip(joined[::2], joined[1::2], strict=False)]
        level += 1
    size = frontier.size + len(leaf_hashes)
    return Growth(frontier=Frontier(size=size, pending=tuple(reversed(kept))), rows=rows)


def tree_root(leaf_hashes: Sequence[bytes]) -> bytes:
    """Return the root over leaf hashes."""
    return extend(EMPTY, leaf_hashes).frontier.root()


def commitment_root(digests: Sequence[bytes]) -> bytes:
    """Return the sub-root by which one leaf commits to many records: the tree over their digests, in their order.

    A record is then proved in two steps: its digest under the sub-root, the leaf with the sub-root under a checkpoint.
    """
    return tree_root([leaf_hash(digest) for digest in digests])


def commit_lines(lines: Iterable[str]) -> Frontier:
    """Return the tree over the SHA-256 of each line, as `commitment_root` makes it, without holding the lines."""
    frontier, coming = EMPTY, iter(lines)
    while some := [leaf_hash(sha256(line.encode()).digest()) for line in islice(coming, _LINES_AT_ONCE)]:
        frontier = extend(frontier, some).frontier
    return frontier
