"""The audit's own Merkle root, kept apart from the log's code so that one mistake cannot hide in both. Pure.

Source: RFC 6962 section 2.1.
"""

from collections.abc import Iterable, Sequence
from hashlib import sha256

NO_ROOT = bytes(32)
_CHUNK = 1 << 16


class Root:
    """The root over entries that are added one list after another; memory grows with the logarithm of their number."""

    def __init__(self) -> None:
        """Begin with no entries."""
        self._waiting: list[bytes] = []
        # Roots of full subtrees with their heights, left to right; two of one height become one.
        self._peaks: list[tuple[int, bytes]] = []

    def add(self, entries: Sequence[bytes]) -> None:
        """Add entries at the end."""
        self._waiting += [sha256(b"\x00" + entry).digest() for entry in entries]
        full = len(self._waiting) // _CHUNK * _CHUNK
        for begin in range(0, full, _CHUNK):
            _push(self._peaks, _CHUNK.bit_length() - 1, _folded(self._waiting[begin : begin + _CHUNK]))
        del self._waiting[:full]

    def digest(self) -> bytes:
        """Return the root over what was added so far."""
        peaks = list(self._peaks)
        for leaf in self._waiting:
            _push(peaks, 0, leaf)
        if not peaks:
            return sha256(b"").digest()
        root = peaks.pop()[1]
        while peaks:
            root = sha256(b"\x01" + peaks.pop()[1] + root).digest()
        return root


def merkle_root(entries: Iterable[bytes]) -> bytes:
    """Return the root over entries."""
    root = Root()
    root.add(list(entries))
    return root.digest()


def _folded(nodes: list[bytes]) -> bytes:
    """Return the root over a power of two of nodes, a level at a time."""
    while len(nodes) > 1:
        nodes = [sha256(b"\x01" + left + right).digest() for left, right in zip(nodes[::2], nodes[1::2], strict=True)]
    return nodes[0]


def _push(peaks: list[tuple[int, bytes]], height: int, node: bytes) -> None:
    while peaks and peaks[-1][0] == height:
        node = sha256(b"\x01" + peaks.pop()[1] + node).digest()
        height += 1
    peaks.append((height, node))
