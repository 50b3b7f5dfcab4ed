"""Tiles and entry bundles: how the tree is cut into static files. Pure. Source: C2SP tlog-tiles.

A tile holds up to 256 hashes of one level of every eight; a bundle holds up to 256 entries. The last one of a level is
partial and its width is in its path (`.p/112`), so whatever stands at a path never changes.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from hub.log.merkle import HASH_BYTES, ROW_HEIGHT, node_hash
from hub.log.proofs import NodeReader

FULL_WIDTH = 1 << ROW_HEIGHT
MAX_ENTRY_BYTES = 0xFFFF
MAX_NUMBER = 2**63 // FULL_WIDTH - 1  # the last entry of any tile still has a 64-bit index
ENTRIES = -1  # in place of a level: the entry bundles themselves
_LENGTH_BYTES = 2
_PATH = re.compile(r"tile/(entries|0|[1-9][0-9]?)/((?:x[0-9]{3}/){0,6}[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?", re.ASCII)


class BundleError(ValueError):
    """The bytes are not whole entries; `entries` are those that could be read before the damage."""

    def __init__(self, detail: str, entries: Sequence[bytes]) -> None:
        """Keep what was readable: it tells where the damage begins."""
        super().__init__(detail)
        self.entries = entries


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class TilePath:
    """The place of one tile (`level` 0 to 63) or bundle (`level` ENTRIES); `width` 256 is a full one."""

    level: int
    n: int
    width: int = FULL_WIDTH

    def __str__(self) -> str:
        """Return the path below the log's prefix."""
        partial = "" if self.width == FULL_WIDTH else f".p/{self.width}"
        return f"tile/{'entries' if self.level == ENTRIES else self.level}/{_format_number(self.n)}{partial}"

    def full(self) -> "TilePath":
        """Return the path of the full tile that this one grows into."""
        return TilePath(level=self.level, n=self.n)


def _format_number(n: int) -> str:
    groups = [f"{n % 1000:03d}"]
    while n := n // 1000:
        groups.append(f"x{n % 1000:03d}")
    return "/".join(reversed(groups))


def parse_path(path: str) -> TilePath | None:
    """Return the tile or bundle that a path names, or None if it names none: each has exactly one spelling."""
    if not (match := _PATH.fullmatch(path)):
        return None
    level, number, width = match.groups()
    parsed = TilePath(
        level=ENTRIES if level == "entries" else int(level),
        n=int(number.replace("x", "").replace("/", "")),
        width=int(width) if width else FULL_WIDTH,
    )
    exists = parsed.level < 64 and parsed.width <= FULL_WIDTH and parsed.n <= MAX_NUMBER
    return parsed if exists and str(parsed) == path else None


def level_count(size: int) -> int:
    """Return how many tile levels a tree of this size has."""
    return (size.bit_length() + ROW_HEIGHT - 1) // ROW_HEIGHT


def tiles_of_level(*, level: int, size: int) -> Iterator[TilePath]:
    """Yield the tiles (or bundles) of one level of a tree of this size, in order."""
    hashes = size if level == ENTRIES else size >> (ROW_HEIGHT * level)
    for n in range((hashes + FULL_WIDTH - 1) // FULL_WIDTH):
        yield TilePath(level=level, n=n, width=min(FULL_WIDTH, hashes - n * FULL_WIDTH))


def tiles_of_size(size: int) -> Iterator[TilePath]:
    """Yield every bundle, then every tile, of a tree of this size."""
    yield from tiles_of_level(level=ENTRIES, size=size)
    for level in range(level_count(size)):
        yield from tiles_of_level(level=level, size=size)


def split_tile(tile: bytes) -> list[bytes]:
    """Return the hashes of a tile; ValueError if it does not hold whole hashes."""
    if len(tile) % HASH_BYTES:
        raise ValueError("a tile holds whole hashes")
    return [tile[at : at + HASH_BYTES] for at in range(0, len(tile), HASH_BYTES)]


def cut_tile(tile: bytes, width: int) -> bytes | None:
    """Return the first `width` hashes of a wider tile, or None if it is narrower."""
    return tile[: width * HASH_BYTES] if len(tile) >= width * HASH_BYTES else None


def read_tiles(load: Callable[[TilePath], bytes], *, size: int) -> NodeReader:
    """Return a reader of the nodes of a tree of `size`, computed from as few tiles as possible.

    Args:
        load: gives a tile's bytes at least as wide as asked; it raises if there is none.
    """
    loaded: dict[tuple[int, int], list[bytes]] = {}

    def read(level: int, index: int) -> bytes:
        row, height = divmod(level, ROW_HEIGHT)
        n, at = divmod(index << height, FULL_WIDTH)
        if (row, n) not in loaded:
            width = min(FULL_WIDTH, (size >> (ROW_HEIGHT * row)) - n * FULL_WIDTH)
            loaded[row, n] = split_tile(load(TilePath(level=row, n=n, width=width)))
        nodes = loaded[row, n][at : at + (1 << height)]
        if len(nodes) != 1 << height:
            raise ValueError(f"tile/{row}/{_format_number(n)} is too narrow")
        while len(nodes) > 1:
            nodes = [node_hash(left, right) for left, right in zip(nodes[::2], nodes[1::2], strict=True)]
        return nodes[0]

    return read


def encode_bundle(entries: Sequence[bytes]) -> bytes:
    """Return the entries, each behind its length."""
    if any(len(entry) > MAX_ENTRY_BYTES for entry in entries):
        raise ValueError(f"an entry has at most {MAX_ENTRY_BYTES} bytes")
    return b"".join([len(entry).to_bytes(_LENGTH_BYTES, "big") + entry for entry in entries])


def entry_offsets(bundle: bytes) -> list[int]:
    """Return where each entry's length begins, and at last the end; BundleError if they do not end there."""
    offsets, at, end = [], 0, len(bundle)
    while at + _LENGTH_BYTES <= end:
        offsets.append(at)
        at += _LENGTH_BYTES + (bundle[at] << 8 | bundle[at + 1])
    if at != end:
        whole = offsets if at > end else [*offsets, at]
        raise BundleError("the bundle ends inside an entry", _slice_entries(bundle, whole))
    return [*offsets, end]


def decode_bundle(bundle: bytes) -> list[bytes]:
    """Return the entries of a bundle; BundleError if it does not end with an entry."""
    return _slice_entries(bundle, entry_offsets(bundle))


def _slice_entries(bundle: bytes, offsets: Sequence[int]) -> list[bytes]:
    return [bundle[begin + _LENGTH_BYTES : end] for begin, end in pairwise(offsets)]
