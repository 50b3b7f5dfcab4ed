"""Documents reduced to what may be stored: a mapping's allow-list, as canonical JSON. Pure.

Personal fields never reach storage, because a field that the allow-list does not name does not survive, whatever it is
called. The form is that of RFC 8785 (sorted keys, no spaces, shortest escapes), with one exception: a number keeps the
text in which it was written, because RFC 8785 would send it through a float and 6.00 must stay 6.00.
"""

import json

import numpy as np
import polars as pl
import pyarrow as pa

from mappings import scan
from mappings.compiled import inlined, kernel
from mappings.model import Mapping
from mappings.reader import Documents, Tree, read_documents
from mappings.scan import READ, Bytes, Offsets, Spans
from mappings.texts import Mask

_CHUNK = 65_536
_NULL, _FALSE, _TEXT, _ZERO, _OBJECT, _ARRAY = (
    np.frombuffer(word, np.uint8) for word in (b"null", b"false", b'""', b"0", b"{}", b"[]")
)
_UNICODE = np.frombuffer(b"\\u00", np.uint8)
_HEX = np.frombuffer(b"0123456789abcdef", np.uint8)
# The second character of the short escapes of RFC 8785 section 3.2.2.2, by the character escaped.
_SHORT = np.zeros(256, np.uint8)
_SHORT[list(b'"\\\b\t\n\f\r')] = list(b'"\\btnfr')


def kept_payloads(mapping: Mapping, payloads: pl.Series) -> pl.Series:
    """Return each document reduced to the mapping's `keep` list, as Binary; null for one that cannot be read.

    A kept document translates exactly as the full one. Where an unexpected shape stands (an object for a number, a
    text for an object), the shape stays without its content: `{}`, `[]`, `""`, `0`, `false`.

    Args:
        mapping: the platform's format.
        payloads: String or Binary, one JSON document each.

    Raises:
        TypeError: the series is of another type.
    """
    chunks = [
        _keep_chunk(mapping, read_documents(payloads.slice(start, _CHUNK), mapping.tree))
        for start in range(0, max(1, len(payloads)), _CHUNK)
    ]
    return pl.concat(chunks).alias(payloads.name)


def _keep_chunk(mapping: Mapping, documents: Documents) -> pl.Series:
    steps, keys = _compile(documents.tree)
    leaves = np.array([path in mapping.keep for path in documents.tree.nodes])
    rows, width = documents.kinds.shape[1], documents.kinds.shape[0]
    # No text gets longer than it was written, since only what had to be escaped there is escaped here.
    held = (documents.kinds >= scan.TEXT) & (documents.kinds <= scan.BOOLEAN)
    room = int(np.where(held, documents.ends - documents.starts, 0).sum()) + rows * (len(keys) + 8 * width)
    out, bounds = np.empty(max(1, room), np.uint8), np.zeros(rows + 1, np.int64)
    data, starts, ends = documents.all_scalars()
    _write_rows(steps, keys, leaves, documents.kinds, documents.status, data, starts, ends, out, bounds)
    validity = pa.py_buffer(np.packbits(documents.status == READ, bitorder="little"))
    buffers = [validity, pa.py_buffer(bounds), pa.py_buffer(out[: max(1, bounds[-1])].copy())]
    return pl.Series(pa.Array.from_buffers(pa.large_binary(), rows, buffers))


def _compile(tree: Tree) -> tuple[Spans, Bytes]:
    """The order in which a kept document is written.

    Returns:
        Steps (node, start and end of its key and colon, step after it and all below it; node 0 closes an object), and
        the bytes of the keys.
    """
    steps: list[list[int]] = []
    keys = bytearray()

    def add(node: int) -> None:
        children = range(int(tree.children[node, 0]), int(tree.children[node, 1]))
        # RFC 8785 section 3.2.3 sorts keys by UTF-16 code units.
        for child in sorted(children, key=lambda index: tree.nodes[index][-1].encode("utf-16-be")):
            key = json.dumps(tree.nodes[child][-1], ensure_ascii=False).encode() + b":"
            step = [child, len(keys), len(keys) + len(key), 0]
            keys.extend(key)
            steps.append(step)
            if tree.children[child, 0] < tree.children[child, 1]:
                add(child)
                steps.append([0, 0, 0, len(steps) + 1])
            step[3] = len(steps)

    add(0)
    return np.array(steps, np.int32).reshape(-1, 4), np.frombuffer(bytes(keys) or b"\0", np.uint8)


@inlined
def _copy(data: Bytes, start: int, end: int, out: Bytes, at: int) -> int:
    for i in range(start, end):
        out[at] = data[i]
        at += 1
    return at


@inlined
def _write_text(data: Bytes, start: int, end: int, out: Bytes, at: int) -> int:
    out[at] = 0x22
    at += 1
    for i in range(start, end):
        c = data[i]
        if _SHORT[c] != 0:
            out[at] = 0x5C
            out[at + 1] = _SHORT[c]
            at += 2
        elif c < 0x20:
            at = _copy(_UNICODE, 0, 4, out, at)
            out[at] = _HEX[c >> 4]
            out[at + 1] = _HEX[c & 15]
            at += 2
        else:
            out[at] = c
            at += 1
    out[at] = 0x22
    return at + 1


@inlined
def _write_value(kind: int, is_leaf: bool, data: Bytes, start: int, end: int, out: Bytes, at: int) -> int:
    if kind == scan.NULL:
        return _copy(_NULL, 0, 4, out, at)
    if kind == scan.OBJECT:
        return _copy(_OBJECT, 0, 2, out, at)
    if kind == scan.ARRAY:
        return _copy(_ARRAY, 0, 2, out, at)
    if is_leaf:
        if kind in (scan.TEXT, scan.ESCAPED):
            return _write_text(data, start, end, out, at)
        return _copy(data, start, end, out, at)
    if kind == scan.NUMBER:
        return _copy(_ZERO, 0, 1, out, at)
    if kind == scan.BOOLEAN:
        return _copy(_FALSE, 0, 5, out, at)
    return _copy(_TEXT, 0, 2, out, at)


@kernel
def _write_rows(
    steps: Spans, keys: Bytes, leaves: Mask, kinds: Bytes, status: Bytes, data: Bytes, starts: Offsets, ends: Offsets,
    out: Bytes, bounds: Offsets,
) -> None:  # fmt: skip
    """Write every document that was read; starts and ends say, per node and row, where its scalar lies in `data`."""
    at = 0
    for row in range(len(status)):
        if status[row] == READ:
            out[at] = 0x7B
            at += 1
            i = 0
            while i < len(steps):
                node, after = steps[i, 0], steps[i, 3]
                if node == 0:
                    out[at] = 0x7D
                    at += 1
                elif kinds[node, row] != scan.ABSENT:
                    if out[at - 1] != 0x7B:
                        out[at] = 0x2C
                        at += 1
                    at = _copy(keys, steps[i, 1], steps[i, 2], out, at)
                    if kinds[node, row] == scan.OBJECT and not leaves[node]:
                        out[at] = 0x7B
                        at += 1
                        after = i + 1
                    else:
                        start, end = starts[node, row], ends[node, row]
                        at = _write_value(kinds[node, row], leaves[node], data, start, end, out, at)
                i = after
            out[at] = 0x7D
            at += 1
        bounds[row + 1] = at
