"""Strict JSON scanner over many documents at once: where each wanted value lies, and what is wrong. Pure.

Why not a JSON library: the common ones keep the last of two equal keys in silence, turn numbers into floats, and read
one document a call. Here a document is refused for a duplicate key anywhere in it, a number keeps the text in which it
was written, and half a million documents a second go through one core. Grammar: RFC 8259; text must be UTF-8 and
surrogates paired, as RFC 7493 asks. Tested against the standard library's parser on random documents.
"""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from mappings.compiled import inlined, kernel

Bytes: TypeAlias = NDArray[np.uint8]
Offsets: TypeAlias = NDArray[np.int64]
Spans: TypeAlias = NDArray[np.int32]

# How a document was read; the order is that of `reasons.READING`.
READ, TOO_LARGE, NOT_JSON, TOO_DEEP, NOT_OBJECT, NOT_FINITE, DUPLICATE_KEY = range(7)
# What stands at a path. ESCAPED is a text with backslashes in it.
ABSENT, NULL, TEXT, ESCAPED, NUMBER, BOOLEAN, OBJECT, ARRAY = range(8)

MAX_BYTES = 65_536
MAX_DEPTH = 32
MAX_MEMBERS = 512  # of one object: duplicates are searched pairwise, and this bounds the work of a hostile document
_LIVE_KEYS = MAX_DEPTH * MAX_MEMBERS

_VALUE, _KEY, _AFTER = range(3)
_OTHER = -1  # a value on no wanted path
_HEX_DIGIT = np.array([int(chr(c), 16) if chr(c) in "0123456789abcdefABCDEF" else -1 for c in range(256)])
_ESCAPED = np.zeros(256, np.uint8)  # what an escape of one letter means; 0: there is no such escape
_ESCAPED[list(b'"\\/bfnrt')] = list(b'"\\/\b\f\n\r\t')
_PLAIN = np.array([0x20 <= c < 0x80 and c not in b'"\\' for c in range(256)])


@inlined
def _skip_space(data: Bytes, at: int, end: int) -> int:
    while at < end and (data[at] == 0x20 or data[at] == 0x0A or data[at] == 0x0D or data[at] == 0x09):
        at += 1
    return at


@inlined
def _sequence_length(data: Bytes, at: int, end: int) -> int:
    """Length of the well-formed UTF-8 sequence at `at` (a byte above 0x7F), or 0. Source: Unicode 16, table 3-7."""
    lead = data[at]
    if lead < 0xC2 or lead > 0xF4:
        return 0
    length = 2 if lead < 0xE0 else (3 if lead < 0xF0 else 4)
    if at + length > end:
        return 0
    low, high = 0x80, 0xBF
    if lead == 0xE0:
        low = 0xA0
    elif lead == 0xED:
        high = 0x9F
    elif lead == 0xF0:
        low = 0x90
    elif lead == 0xF4:
        high = 0x8F
    if data[at + 1] < low or data[at + 1] > high:
        return 0
    for i in range(at + 2, at + length):
        if data[i] < 0x80 or data[i] > 0xBF:
            return 0
    return length


@inlined
def _hex4(data: Bytes, at: int, end: int) -> int:
    """The code unit of four hexadecimal digits, or -1."""
    if at + 4 > end:
        return -1
    unit = 0
    for i in range(at, at + 4):
        if _HEX_DIGIT[data[i]] < 0:
            return -1
        unit = unit * 16 + _HEX_DIGIT[data[i]]
    return unit


@inlined
def _escape_length(data: Bytes, at: int, end: int) -> int:
    """Length of the valid escape that starts with the backslash at `at`, or 0."""
    if at + 1 >= end:
        return 0
    c = data[at + 1]
    if c == 0x75:  # u
        unit = _hex4(data, at + 2, end)
        if unit < 0 or 0xDC00 <= unit <= 0xDFFF:
            return 0
        if unit < 0xD800 or unit > 0xDBFF:
            return 6
        if at + 7 >= end or data[at + 6] != 0x5C or data[at + 7] != 0x75:
            return 0
        low = _hex4(data, at + 8, end)
        return 12 if 0xDC00 <= low <= 0xDFFF else 0
    return 2 if _ESCAPED[c] != 0 else 0


@inlined
def _string_end(data: Bytes, at: int, end: int) -> tuple[int, bool]:
    """Index of the closing quote of the string whose first byte is at `at` (-1 if broken), and whether it escapes."""
    escaped = False
    while at < end:
        c = data[at]
        if _PLAIN[c]:
            at += 1
            continue
        if c == 0x22:
            return at, escaped
        if c == 0x5C:
            length = _escape_length(data, at, end)
            escaped = True
        elif c < 0x20:
            return -1, escaped
        else:
            length = _sequence_length(data, at, end)
        if length == 0:
            return -1, escaped
        at += length
    return -1, escaped


@inlined
def _write_code_point(out: Bytes, at: int, point: int) -> int:
    if point < 0x80:
        out[at] = point
        return at + 1
    if point < 0x800:
        out[at] = 0xC0 | (point >> 6)
        out[at + 1] = 0x80 | (point & 0x3F)
        return at + 2
    if point < 0x10000:
        out[at] = 0xE0 | (point >> 12)
        out[at + 1] = 0x80 | ((point >> 6) & 0x3F)
        out[at + 2] = 0x80 | (point & 0x3F)
        return at + 3
    out[at] = 0xF0 | (point >> 18)
    out[at + 1] = 0x80 | ((point >> 12) & 0x3F)
    out[at + 2] = 0x80 | ((point >> 6) & 0x3F)
    out[at + 3] = 0x80 | (point & 0x3F)
    return at + 4


@inlined
def _unescape(data: Bytes, start: int, end: int, out: Bytes, at: int) -> int:
    """Write a checked string without its escapes; never longer than it was. Returns the index after it."""
    i = start
    while i < end:
        c = int(data[i])
        if c != 0x5C:
            out[at] = c
            at += 1
            i += 1
            continue
        c = int(data[i + 1])
        i += 2
        if c == 0x75:
            point = _hex4(data, i, end)
            i += 4
            if 0xD800 <= point <= 0xDBFF:
                point = 0x10000 + ((point - 0xD800) << 10) + _hex4(data, i + 2, end) - 0xDC00
                i += 6
            at = _write_code_point(out, at, point)
            continue
        out[at] = _ESCAPED[c]
        at += 1
    return at


@inlined
def _digits_end(data: Bytes, at: int, end: int) -> int:
    while at < end and 0x30 <= data[at] <= 0x39:
        at += 1
    return at


@inlined
def _number_end(data: Bytes, at: int, end: int) -> int:
    """Index after the number at `at`, or -1 where the grammar of RFC 8259 section 6 is broken."""
    if data[at] == 0x2D:
        at += 1
    first = at
    at = _digits_end(data, at, end)
    if at == first or (data[first] == 0x30 and at - first > 1):
        return -1
    if at < end and data[at] == 0x2E:
        first = at + 1
        at = _digits_end(data, first, end)
        if at == first:
            return -1
    if at < end and (data[at] == 0x65 or data[at] == 0x45):
        at += 1
        if at < end and (data[at] == 0x2B or data[at] == 0x2D):
            at += 1
        first = at
        at = _digits_end(data, first, end)
        if at == first:
            return -1
    return at


@inlined
def _word_end(data: Bytes, at: int, end: int, word: bytes) -> int:
    """Index after `word` if it stands at `at`, else -1."""
    if at + len(word) > end:
        return -1
    for i in range(len(word)):
        if data[at + i] != word[i]:
            return -1
    return at + len(word)


@inlined
def _scalar(data: Bytes, at: int, end: int) -> tuple[int, int, int, int, int]:
    """Read a text, number or word. Returns (index after it or -1, kind, start, end, READ or NOT_FINITE)."""
    c = data[at]
    if c == 0x22:
        close, escaped = _string_end(data, at + 1, end)
        return (close + 1 if close >= 0 else -1), (ESCAPED if escaped else TEXT), at + 1, close, READ
    if 0x30 <= c <= 0x39 or (c == 0x2D and at + 1 < end and data[at + 1] != 0x49):
        after = _number_end(data, at, end)
        return after, NUMBER, at, after, READ
    if c == 0x6E:
        return _word_end(data, at, end, b"null"), NULL, at, at, READ
    if c == 0x74 or c == 0x66:
        after = _word_end(data, at, end, b"true") if c == 0x74 else _word_end(data, at, end, b"false")
        return after, BOOLEAN, at, after, READ
    if c == 0x4E:
        return _word_end(data, at, end, b"NaN"), NULL, at, at, NOT_FINITE
    return _word_end(data, at + 1 if c == 0x2D else at, end, b"Infinity"), NULL, at, at, NOT_FINITE


@inlined
def _same_bytes(a: Bytes, a_start: int, a_end: int, b: Bytes, b_start: int, b_end: int) -> bool:
    if a_end - a_start != b_end - b_start:
        return False
    for i in range(a_end - a_start):  # noqa: SIM110 (compiled: a generator would not be)
        if a[a_start + i] != b[b_start + i]:
            return False
    return True


@inlined
def _child(node: int, children: Spans, key_spans: Spans, key_bytes: Bytes, scratch: Bytes, start: int, end: int) -> int:
    """The node below `node` whose key is the one in `scratch`, or _OTHER."""
    if node < 0:
        return _OTHER
    for child in range(children[node, 0], children[node, 1]):
        if _same_bytes(key_bytes, key_spans[child, 0], key_spans[child, 1], scratch, start, end):
            return child
    return _OTHER


@inlined
def _is_repeated(
    scratch: Bytes, keys: Offsets, hashes: NDArray[np.uint64], base: int, top: int, start: int, end: int
) -> bool:
    """Note the key at place `top` of the stack of keys; true if the open object has it already."""
    mix = np.uint64(0xCBF29CE484222325)  # FNV-1a: only to skip the comparison of bytes for keys that differ
    for i in range(start, end):
        mix = (mix ^ np.uint64(scratch[i])) * np.uint64(0x100000001B3)
    hashes[top] = mix
    keys[top, 0] = start
    keys[top, 1] = end
    for i in range(base, top):  # noqa: SIM110 - compiled: a generator would not be
        if hashes[i] == mix and _same_bytes(scratch, keys[i, 0], keys[i, 1], scratch, start, end):
            return True
    return False


@inlined
def _key(
    data: Bytes, at: int, end: int, scratch: Bytes, top: int, keys: Offsets, hashes: NDArray[np.uint64],
    key_base: int, key_top: int,
) -> tuple[int, int, bool]:  # fmt: skip
    """Read the key and colon at `at`. Returns (index after them or -1, new top of scratch, whether it is repeated)."""
    close, escaped = _string_end(data, at + 1, end) if data[at] == 0x22 else (-1, False)
    if close < 0:
        return -1, top, False
    if escaped:
        after = _unescape(data, at + 1, close, scratch, top)
    else:
        after = top
        for i in range(at + 1, close):
            scratch[after] = data[i]
            after += 1
    repeated = _is_repeated(scratch, keys, hashes, key_base, key_top, top, after)
    at = _skip_space(data, close + 1, end)
    return (at + 1 if at < end and data[at] == 0x3A else -1), after, repeated


@inlined
def _scan_row(
    data: Bytes, begin: int, end: int, children: Spans, key_spans: Spans, key_bytes: Bytes, row: int,
    kinds: Bytes, starts: Spans, ends: Spans, frames: Offsets, keys: Offsets, hashes: NDArray[np.uint64],
    scratch: Bytes,
) -> int:  # fmt: skip
    """Read one document and note where the wanted values lie. `scratch` takes its keys without their escapes.

    `frames` is the stack of open objects and arrays: closing byte, node, first key, first byte of scratch.
    """
    found, expect, node, depth, key_top, scratch_top = READ, _VALUE, 0, 0, 0, 0
    at = _skip_space(data, begin, end)
    while at < end:
        c = data[at]
        if expect == _VALUE and (c == 0x7B or c == 0x5B):
            if depth == MAX_DEPTH:
                return TOO_DEEP
            if node >= 0:
                kinds[node, row] = OBJECT if c == 0x7B else ARRAY
            frames[depth, 0], frames[depth, 1] = c + 2, node if c == 0x7B else _OTHER
            frames[depth, 2], frames[depth, 3] = key_top, scratch_top
            depth, node, at = depth + 1, _OTHER, _skip_space(data, at + 1, end)
            is_empty = at < end and data[at] == c + 2
            expect = _AFTER if is_empty else (_KEY if c == 0x7B else _VALUE)
            continue
        if expect == _VALUE:
            after, kind, start, stop, fault = _scalar(data, at, end)
            if node >= 0:
                kinds[node, row], starts[node, row], ends[node, row] = kind, start - begin, stop - begin
            found = fault if found == READ else found
            at, expect = after, _AFTER
        elif expect == _KEY:
            base = frames[depth - 1, 2]
            if key_top - base >= MAX_MEMBERS:
                return TOO_LARGE
            start = scratch_top
            at, scratch_top, repeated = _key(data, at, end, scratch, start, keys, hashes, base, key_top)
            found = DUPLICATE_KEY if repeated else found
            node = _child(frames[depth - 1, 1], children, key_spans, key_bytes, scratch, start, scratch_top)
            key_top, expect = key_top + 1, _VALUE
        elif depth > 0 and c == frames[depth - 1, 0]:
            depth, at = depth - 1, at + 1
            key_top, scratch_top = frames[depth, 2], frames[depth, 3]
        elif depth > 0 and c == 0x2C:
            expect = _KEY if frames[depth - 1, 0] == 0x7D else _VALUE
            node, at = _OTHER, at + 1
        else:
            return NOT_JSON
        if at < 0:
            return NOT_JSON
        at = _skip_space(data, at, end)
    if expect != _AFTER or depth > 0:
        return NOT_JSON
    return found if kinds[0, row] == OBJECT else NOT_OBJECT


@kernel
def scan_rows(
    data: Bytes, offsets: Offsets, children: Spans, key_spans: Spans, key_bytes: Bytes,
    kinds: Bytes, starts: Spans, ends: Spans, status: Bytes,
) -> None:  # fmt: skip
    """Scan every document.

    Args:
        data, offsets: the documents one behind another; document i is data[offsets[i]:offsets[i + 1]].
        children: per node of the tree of wanted paths, the half-open range of its children's nodes; node 0 is the root.
        key_spans, key_bytes: per node, where its key lies.
        kinds, starts, ends: (node, document), filled in; a span is relative to its document, without quotes.
        status: per document. Where it is not READ, every kind is ABSENT: nothing of such a document is used.
    """
    frames = np.empty((MAX_DEPTH, 4), np.int64)
    keys = np.empty((_LIVE_KEYS + 1, 2), np.int64)
    hashes = np.empty(_LIVE_KEYS + 1, np.uint64)
    scratch = np.empty(MAX_BYTES, np.uint8)
    for row in range(len(offsets) - 1):
        if offsets[row + 1] - offsets[row] > MAX_BYTES:
            status[row] = TOO_LARGE
            continue
        status[row] = _scan_row(
            data, offsets[row], offsets[row + 1], children, key_spans, key_bytes, row,
            kinds, starts, ends, frames, keys, hashes, scratch,
        )  # fmt: skip
        if status[row] != READ:
            kinds[:, row] = ABSENT


@kernel
def gather(
    data: Bytes, offsets: Offsets, kinds: Bytes, starts: Spans, ends: Spans, out: Bytes, out_offsets: Offsets
) -> None:
    """Copy one node's scalars one behind another, texts without their escapes; other kinds take no bytes."""
    at = 0
    for row in range(len(kinds)):
        kind = kinds[row]
        start, end = offsets[row] + starts[row], offsets[row] + ends[row]
        if kind == ESCAPED:
            at = _unescape(data, start, end, out, at)
        elif kind in (TEXT, NUMBER, BOOLEAN):
            for i in range(start, end):
                out[at] = data[i]
                at += 1
        out_offsets[row + 1] = at
