"""Gzip with a bound. Pure.

One 64 KiB chunk of gzip can become 67 MB in a single call of an ordinary reader; here no call makes more than one
block, and the sum is counted while it grows.
"""

import zlib
from collections.abc import Iterable, Iterator

_BLOCK_BYTES = 64 * 1024
_GZIP_ONLY = 31  # zlib's window bits: 15, plus 16 for a gzip header and its checksum


class TooLargeError(ValueError):
    """More bytes than the bound."""


class BrokenGzipError(ValueError):
    """Not gzip, damaged, or cut off."""


def inflate(chunks: Iterable[bytes], *, most: int) -> bytes:
    """Inflate a gzip stream of one or several members to at most `most` bytes."""
    return collect(_blocks(chunks), most=most)


def collect(chunks: Iterable[bytes], *, most: int) -> bytes:
    data = bytearray()
    for chunk in chunks:
        if len(data) + len(chunk) > most:
            raise TooLargeError
        data += chunk
    return bytes(data)


def _blocks(chunks: Iterable[bytes]) -> Iterator[bytes]:
    member = zlib.decompressobj(_GZIP_ONLY)
    for chunk in chunks:
        left, full = chunk, False
        while left or full:
            if member.eof:
                member = zlib.decompressobj(_GZIP_ONLY)
            try:
                block = member.decompress(left, _BLOCK_BYTES)
            except zlib.error:
                raise BrokenGzipError from None
            yield block
            left = member.unused_data if member.eof else member.unconsumed_tail
            full = len(block) == _BLOCK_BYTES and not member.eof  # zlib may hold output back with no input left
    if not member.eof:
        raise BrokenGzipError
