"""What one batch adds to the tree and its tiles. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise

from hub.log.merkle import HASH_BYTES, Frontier, Growth, extend
from hub.log.tiles import FULL_WIDTH, entry_offsets

_LENGTH_BYTES = 2
_TILE_BYTES = FULL_WIDTH * HASH_BYTES


def hash_batch(frontier: Frontier, data: bytes) -> Growth:
    """Return how the entries in `data` (an entry bundle of any width) grow a tree."""
    bounds = pairwise(entry_offsets(data))
    hashes = [sha256(b"\x00" + data[begin + _LENGTH_BYTES : end]).digest() for begin, end in bounds]
    return extend(frontier, hashes)


@dataclass(frozen=True, slots=True, kw_only=True)
class TilePiece:
    """One tile of a level as it is to be stored; `begun` says that a narrower one is there to be replaced."""

    n: int
    data: bytes
    begun: bool


def grow_tiles(hashes: Sequence[bytes], *, count: int, last: bytes) -> list[TilePiece]:
    """Return the tiles of one level that change when `hashes` follow the `count` that it has.

    Args:
        last: the partial tile's bytes, b"" if the level ends with a full one.
    """
    data = last + b"".join(hashes)
    first = count // FULL_WIDTH
    return [
        TilePiece(n=first + at // _TILE_BYTES, data=data[at : at + _TILE_BYTES], begun=at == 0 and bool(last))
        for at in range(0, len(data), _TILE_BYTES)
    ]
