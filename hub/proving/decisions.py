"""Where a decision stands under its window's root, without hashing the whole window for each. I/O: reads the database.

The first proof of a window reads all its decisions once and keeps the root of every 256 of them (one hash and one number
per 256, about 3 MB for ten million); each further one reads 256 rows. A final window's decisions never change, and every
path is checked against the window's root before it is given away.
"""

from bisect import bisect_right
from collections import OrderedDict
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from threading import Lock

from sqlalchemy.orm import Session

from hub.clearing.event_keys import read_decision_lines
from hub.log.bundles import Path
from hub.log.merkle import EMPTY, ROW_HEIGHT, extend, leaf_hash, node_hash
from hub.log.proofs import prove_inclusion

CHUNK = 1 << ROW_HEIGHT
_CHUNKS_AT_ONCE = 64
_KEPT = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionTree:
    """A window's tree, cut off below its chunks of 256: their roots, and the first record of each (the last one partial)."""

    size: int
    root: bytes
    chunks: tuple[bytes, ...]
    firsts: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A decision's line and its path."""

    line: str
    path: Path


class DecisionTrees:
    """The trees of the windows that were asked for last; shared by threads."""

    def __init__(self) -> None:
        """Begin with none."""
        self._trees: OrderedDict[tuple[int, bytes], DecisionTree] = OrderedDict()
        self._building = Lock()

    def load(self, session: Session, window_id: int, root: bytes) -> DecisionTree:
        """Return a final window's tree.

        Args:
            root: the window's own, by which trees of different databases are told apart.
        """
        with self._building:
            if (tree := self._trees.get((window_id, root))) is None:
                tree = build_tree(session, window_id)
                self._trees[window_id, root] = tree
            self._trees.move_to_end((window_id, root))
            while len(self._trees) > _KEPT:
                self._trees.popitem(last=False)
            return tree


def build_tree(session: Session, window_id: int) -> DecisionTree:
    """Read all decisions of a window, some thousands at a time."""
    frontier, chunks, firsts = EMPTY, list[bytes](), list[int]()
    lines = read_decision_lines(session, window_id)
    while rows := list(islice(lines, CHUNK * _CHUNKS_AT_ONCE)):
        firsts += [record for record, _ in rows[::CHUNK]]
        growth = extend(frontier, [_leaf(line) for _, line in rows])
        frontier = growth.frontier
        chunks += growth.rows.get(1, [])
    return DecisionTree(size=frontier.size, root=frontier.root(), chunks=tuple(chunks), firsts=tuple(firsts))


def place_decision(session: Session, tree: DecisionTree, window_id: int, record_id: int) -> Placed | None:
    """Return a decision's line and path, or None if the window decided nothing about the record."""
    chunk = bisect_right(tree.firsts, record_id) - 1
    if chunk < 0:
        return None
    rows = list(islice(read_decision_lines(session, window_id, since=tree.firsts[chunk]), CHUNK))
    within = next((place for place, (record, _) in enumerate(rows) if record == record_id), None)
    if within is None:
        return None
    leaves = [_leaf(line) for _, line in rows]

    def read(level: int, index: int) -> bytes:
        if level >= ROW_HEIGHT:
            wide = level - ROW_HEIGHT
            return _fold(tree.chunks[index << wide : (index + 1) << wide])
        # Below the chunks only the decision's own chunk is ever asked for, and the last, partial one.
        first = (index << level) - chunk * CHUNK
        if 0 <= first < CHUNK:
            return _fold(leaves[first : first + (1 << level)])
        return _fold(last_leaves()[first % CHUNK :][: 1 << level])

    kept: list[bytes] = []

    def last_leaves() -> list[bytes]:
        if not kept:
            kept.extend(_leaf(line) for _, line in read_decision_lines(session, window_id, since=tree.firsts[-1]))
        return kept

    index = chunk * CHUNK + within
    hashes = prove_inclusion(index=index, size=tree.size, read_node=read)
    return Placed(line=rows[within][1], path=Path(index=index, size=tree.size, hashes=tuple(hashes)))


def _leaf(line: str) -> bytes:
    return leaf_hash(sha256(line.encode()).digest())


def _fold(nodes: tuple[bytes, ...] | list[bytes]) -> bytes:
    """Return the root over a power of two of nodes."""
    level = list(nodes)
    while len(level) > 1:
        level = [node_hash(left, right) for left, right in zip(level[::2], level[1::2], strict=True)]
    return level[0]
