"""Inclusion and consistency proofs, and their verification. Pure.

Proofs are made from stored nodes, which tiles hold, through a `NodeReader`.

Source: RFC 6962 sections 2.1.1 and 2.1.2 (what a proof holds); RFC 9162 sections 2.1.3.2 and 2.1.4.2 (verification).
"""

from collections.abc import Callable, Sequence

from hub.errors import TanlianError
from hub.log.merkle import EMPTY_ROOT, fold, leaf_hash, node_hash

# Gives the root of the perfect subtree of 2**level leaves that begins at leaf index * 2**level.
NodeReader = Callable[[int, int], bytes]


class ProofError(TanlianError):
    """The proof does not show what it was offered for."""


def prove_commitment(digests: Sequence[bytes], index: int) -> list[bytes]:
    """Return the inclusion proof of `digests[index]` under `commitment_root(digests)`."""
    return prove_inclusion(index=index, size=len(digests), read_node=read_memory([leaf_hash(d) for d in digests]))


def read_memory(leaf_hashes: Sequence[bytes]) -> NodeReader:
    """Return a reader of the nodes of a tree that is all in memory."""
    levels = [list(leaf_hashes)]
    while len(below := levels[-1]) > 1:
        levels.append([node_hash(left, right) for left, right in zip(below[::2], below[1::2], strict=False)])
    return lambda level, index: levels[level][index]


def prove_inclusion(*, index: int, size: int, read_node: NodeReader) -> list[bytes]:
    """Return the hashes that lead from a leaf to the root of the tree of `size`, leaf's sibling first."""
    if not 0 <= index < size:
        raise ValueError(f"index {index} is not in a tree of size {size}")
    return _prove_node(level=0, index=index, size=size, read_node=read_node)


def prove_consistency(*, old_size: int, new_size: int, read_node: NodeReader) -> list[bytes]:
    """Return the hashes that show the tree of `old_size` to be a prefix of the tree of `new_size`."""
    if not 0 <= old_size <= new_size:
        raise ValueError(f"size {old_size} is not a prefix of size {new_size}")
    if old_size in (0, new_size):
        return []
    # The old tree's smallest perfect subtree is a node of the new tree too; its path reaches all that was added.
    level = (old_size & -old_size).bit_length() - 1
    index = (old_size - 1) >> level
    path = _prove_node(level=level, index=index, size=new_size, read_node=read_node)
    # If the old size is a power of two that subtree is the old root, which the verifier already has.
    return path if index == 0 else [read_node(level, index), *path]


def _prove_node(*, level: int, index: int, size: int, read_node: NodeReader) -> list[bytes]:
    path = []
    last = (size - 1) >> level
    while last > 0:
        sibling = index ^ 1
        if sibling < last:
            path.append(read_node(level, sibling))
        elif sibling == last:
            path.append(range_root(begin=sibling << level, end=size, read_node=read_node))
        level, index, last = level + 1, index >> 1, last >> 1
    return path


def range_root(*, begin: int, end: int, read_node: NodeReader) -> bytes:
    """Return the root over leaves [begin, end), where begin is a multiple of the range's largest perfect subtree.

    With `begin` 0 this is the root that the log had at size `end`.
    """
    perfect = []
    while begin < end:
        level = (end - begin).bit_length() - 1
        perfect.append(read_node(level, begin >> level))
        begin += 1 << level
    return fold(perfect)


def verify_inclusion(*, leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Check that the leaf with hash `leaf` stands at `index` of the tree with `size` and `root`.

    Raises:
        ProofError: it does not, or the proof has the wrong length.
    """
    if climb(leaf=leaf, index=index, size=size, proof=proof) != root:
        raise ProofError("the proof leads to another root")


def climb(*, leaf: bytes, index: int, size: int, proof: Sequence[bytes]) -> bytes:
    """Return the root that a proof leads to from a leaf's hash; ProofError if it has the wrong length.

    Source: RFC 9162 section 2.1.3.2.
    """
    if not 0 <= index < size:
        raise ProofError("the index is not in the tree")
    first, last, found = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise ProofError("the proof is too long")
        if first & 1 or first == last:
            found = node_hash(sibling, found)
            while first and not first & 1:
                first, last = first >> 1, last >> 1
        else:
            found = node_hash(found, sibling)
        first, last = first >> 1, last >> 1
    if last != 0:
        raise ProofError("the proof is too short")
    return found


def verify_consistency(
    *, old_size: int, old_root: bytes, new_size: int, new_root: bytes, proof: Sequence[bytes]
) -> None:
    """Check that the tree with `old_size` and `old_root` is a prefix of the tree with `new_size` and `new_root`.

    Raises:
        ProofError: it is not shown to be; with two signed checkpoints this is evidence of a fork.
    Source: RFC 9162 section 2.1.4.2.
    """
    if not 0 <= old_size <= new_size:
        raise ProofError("the old size is not a prefix's")
    if old_size in (0, new_size):
        expected = EMPTY_ROOT if old_size == 0 else new_root
        if proof or old_root != expected or (new_size == 0 and new_root != EMPTY_ROOT):
            raise ProofError("the sizes need no proof, but the roots disagree or a proof was given")
        return
    path = [old_root, *proof] if old_size & (old_size - 1) == 0 else list(proof)
    if not path:
        raise ProofError("the proof is too short")
    _verify_prefix(old_size=old_size, old_root=old_root, new_size=new_size, new_root=new_root, path=path)


def _verify_prefix(*, old_size: int, old_root: bytes, new_size: int, new_root: bytes, path: Sequence[bytes]) -> None:
    first, last = old_size - 1, new_size - 1
    while first & 1:
        first, last = first >> 1, last >> 1
    old = new = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise ProofError("the proof is too long")
        if first & 1 or first == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while first and not first & 1:
                first, last = first >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        first, last = first >> 1, last >> 1
    if last != 0:
        raise ProofError("the proof is too short")
    if old != old_root or new != new_root:
        raise ProofError("the proof leads to other roots")
