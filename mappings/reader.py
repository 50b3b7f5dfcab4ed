"""Documents to columns: what every wanted path says, for a whole batch of JSON documents at once. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mappings import scan
from mappings.texts import Mask, Texts, byte_buffers, same_bytes

Path: TypeAlias = tuple[str, ...]
Paths: TypeAlias = tuple[Path, ...]
"""Names of one field in the order of preference."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tree:
    """The wanted paths and their parents as the scanner walks them: node 0 is the document, siblings are neighbours."""

    nodes: tuple[Path, ...]
    children: scan.Spans
    key_spans: scan.Spans
    key_bytes: scan.Bytes


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Field:
    """What a batch says in one field.

    `texts` is told for strings and numbers that are not empty; `absent` where the field is missing or null; `wrong`
    where it holds a boolean, an object or an array; `conflict` where two of its names are there and differ; `flag` is 1
    where it holds the boolean true, 0 where false, else -1.
    """

    texts: Texts
    absent: Mask
    wrong: Mask
    conflict: Mask
    flag: scan.Spans


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Documents:
    """A batch that was read. `status` is one of `scan.READ` ...; kinds and spans are per node of the tree and row."""

    tree: Tree
    data: scan.Bytes
    offsets: scan.Offsets
    status: scan.Bytes
    kinds: scan.Bytes
    starts: scan.Spans
    ends: scan.Spans
    _fields: dict[Paths, Field] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.status)

    def field(self, paths: Paths) -> Field:
        """Return the field with these names; every path must be in the tree."""
        if paths not in self._fields:
            self._fields[paths] = self._merge(paths)
        return self._fields[paths]

    def scalars(
        self, kinds: scan.Bytes, starts: scan.Spans, ends: scan.Spans
    ) -> tuple[scan.Bytes, scan.Offsets, scan.Offsets]:
        """Return bytes and where each row's scalar begins and ends in them, escapes resolved.

        They are the documents' own bytes where nothing is escaped, which is nearly always: copying costs more than
        reading.
        """
        if not (kinds == scan.ESCAPED).any():
            begins = self.offsets[:-1]
            return self.data, begins + starts, begins + ends
        held = (kinds >= scan.TEXT) & (kinds <= scan.BOOLEAN)
        out = np.empty(max(1, int(np.where(held, ends - starts, 0).sum())), np.uint8)
        bounds = np.zeros(len(kinds) + 1, np.int64)
        scan.gather(self.data, self.offsets, kinds, starts, ends, out, bounds)
        return out, bounds[:-1], bounds[1:]

    def all_scalars(self) -> tuple[scan.Bytes, scan.Offsets, scan.Offsets]:
        """Return bytes and, per node and row, where its scalar begins and ends in them, escapes resolved."""
        begins, stops, pieces = self.offsets[:-1] + self.starts, self.offsets[:-1] + self.ends, [self.data]
        for node in np.flatnonzero((self.kinds == scan.ESCAPED).any(axis=1)).tolist():
            data, first, last = self.scalars(self.kinds[node], self.starts[node], self.ends[node])
            shift = sum(len(piece) for piece in pieces)
            begins[node], stops[node] = first + shift, last + shift
            pieces.append(data)
        return (pieces[0] if len(pieces) == 1 else np.concatenate(pieces)), begins, stops

    def _merge(self, paths: Paths) -> Field:
        first, *others = (self.tree.nodes.index(path) for path in paths)
        kinds, starts, ends = self.kinds[first], self.starts[first], self.ends[first]
        conflict = np.zeros(len(self), np.bool_)
        for node in others:
            absent = kinds <= scan.NULL
            both = ~absent & (self.kinds[node] > scan.NULL)
            if both.any():
                mine, other = self.offsets[:-1] + starts, self.offsets[:-1] + self.starts[node]
                same = same_bytes(
                    self.data, mine, mine + ends - starts, other, other + self.ends[node] - self.starts[node]
                )
                conflict |= both & (~same | (kinds != self.kinds[node]))
            kinds = np.where(absent, self.kinds[node], kinds)
            starts = np.where(absent, self.starts[node], starts)
            ends = np.where(absent, self.ends[node], ends)
        told = (kinds >= scan.TEXT) & (kinds <= scan.NUMBER) & (ends > starts) & ~conflict
        data, begins, stops = self.scalars(kinds, starts, ends)
        return Field(
            texts=Texts(data=data, starts=begins, ends=stops, told=told),
            absent=kinds <= scan.NULL,
            wrong=kinds >= scan.BOOLEAN,
            conflict=conflict,
            flag=np.where((kinds == scan.BOOLEAN) & ~conflict, ends - starts == len("true"), -1).astype(np.int32),
        )


def build_tree(paths: Iterable[Path]) -> Tree:
    """Return the tree of these paths and all their parents."""
    wanted = {path[:depth] for path in paths for depth in range(len(path) + 1)} | {()}
    nodes = sorted(wanted, key=lambda path: (len(path), path))
    children = np.zeros((len(nodes), 2), np.int32)
    for index, node in enumerate(nodes):
        below = [i for i, path in enumerate(nodes) if path and path[:-1] == node]
        children[index] = (below[0], below[-1] + 1) if below else (0, 0)
    keys = [path[-1].encode() if path else b"" for path in nodes]
    stops = np.cumsum([len(key) for key in keys])
    spans = np.stack([stops - [len(key) for key in keys], stops], axis=1).astype(np.int32)
    key_bytes: NDArray[np.uint8] = np.frombuffer(b"".join(keys) or b"\0", np.uint8)
    return Tree(nodes=tuple(nodes), children=children, key_spans=spans, key_bytes=key_bytes)


def read_documents(payloads: pl.Series, tree: Tree) -> Documents:
    """Read a batch strictly; a document that is refused is absent on every path and disturbs no other.

    Args:
        payloads: String or Binary, one JSON document each; null is read as an empty document, which is none.

    Raises:
        TypeError: the series is of another type.
    """
    if payloads.dtype not in (pl.String, pl.Binary, pl.Null):  # Null: nothing but nulls, or an empty list
        raise TypeError(f"documents must be String or Binary, not {payloads.dtype}")
    offsets, data = byte_buffers(payloads)
    shape = len(tree.nodes), len(payloads)
    documents = Documents(
        tree=tree,
        data=data,
        offsets=offsets,
        status=np.zeros(len(payloads), np.uint8),
        kinds=np.zeros(shape, np.uint8),
        starts=np.zeros(shape, np.int32),
        ends=np.zeros(shape, np.int32),
    )
    d = documents
    scan.scan_rows(data, offsets, tree.children, tree.key_spans, tree.key_bytes, d.kinds, d.starts, d.ends, d.status)
    return documents
