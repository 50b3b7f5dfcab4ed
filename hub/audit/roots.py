"""The audit's own Merkle root, kept apart from the log's code so that one mistake cannot hide in both. Pure.

Source: RFC 6962 section 2.1.
"""

from collections.abc import Iterable
from hashlib import sha256

NO_ROOT = bytes(32)


def merkle_root(entries: Iterable[bytes]) -> bytes:
    """Return the root over entries; memory grows with the logarithm of their number."""
    # Roots of full subtrees with their heights, left to right; two of one height become one.
    peaks: list[tuple[int, bytes]] = []
    for entry in entries:
        height, node = 0, sha256(b"\x00" + entry).digest()
        while peaks and peaks[-1][0] == height:
            node = sha256(b"\x01" + peaks.pop()[1] + node).digest()
            height += 1
        peaks.append((height, node))
    if not peaks:
        return sha256(b"").digest()
    root = peaks.pop()[1]
    while peaks:
        root = sha256(b"\x01" + peaks.pop()[1] + root).digest()
    return root
