"""The tree against the published vectors, a naive tree, and another library's."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymerkle import InmemoryTree

from hub.log.merkle import (
    EMPTY,
    EMPTY_ROOT,
    Frontier,
    commitment_root,
    extend,
    leaf_hash,
    node_hash,
    parse_frontier,
    tree_root,
)

EDGE_SIZES = [0, 1, 2, 3, 255, 256, 257, 511, 512, 513]
LARGE_SIZES = [65535, 65536, 65537]


def naive_root(hashes: list[bytes]) -> bytes:
    """RFC 6962 section 2.1, word for word."""
    if not hashes:
        return EMPTY_ROOT
    if len(hashes) == 1:
        return hashes[0]
    k = 1
    while 2 * k < len(hashes):
        k *= 2
    return node_hash(naive_root(hashes[:k]), naive_root(hashes[k:]))


def entries(size: int) -> list[bytes]:
    return [b"entry %d" % number for number in range(size)]


def test_leaf_hashes_and_roots_are_the_published_ones(vectors: dict[str, Any]) -> None:
    leaves = [bytes.fromhex(leaf) for leaf in vectors["leaves_hex"]]
    assert [leaf_hash(leaf).hex() for leaf in leaves] == vectors["leaf_hashes"]
    roots = [tree_root([leaf_hash(leaf) for leaf in leaves[:size]]).hex() for size in range(9)]
    assert roots == vectors["roots_by_size"]


@pytest.mark.parametrize("size", EDGE_SIZES + LARGE_SIZES)
def test_roots_at_edge_sizes_equal_a_naive_trees_and_another_librarys(size: int) -> None:
    hashes = [leaf_hash(entry) for entry in entries(size)]
    other = InmemoryTree(algorithm="sha256")
    for entry in entries(size):
        other.append_entry(entry)
    assert tree_root(hashes) == naive_root(hashes)
    if size:  # that library has no root for an empty tree
        assert tree_root(hashes) == other.get_state()


@given(st.lists(st.integers(0, 600), max_size=6))
def test_growing_in_any_batches_gives_the_same_tree_and_rows(batches: list[int]) -> None:
    hashes = [leaf_hash(entry) for entry in entries(sum(batches))]
    frontier, rows, done = EMPTY, {}, 0
    for batch in batches:
        growth = extend(frontier, hashes[done : done + batch])
        for level, nodes in growth.rows.items():
            rows.setdefault(level, []).extend(nodes)
        frontier, done = growth.frontier, done + batch
    whole = extend(EMPTY, hashes)
    assert frontier == whole.frontier
    assert rows == whole.rows
    assert rows.get(0, []) == hashes
    blocks = [naive_root(hashes[begin : begin + 256]) for begin in range(0, len(hashes) - 255, 256)]
    assert rows.get(1, []) == blocks


def test_extending_leaves_the_callers_list_alone() -> None:
    hashes = [leaf_hash(b"a"), leaf_hash(b"b"), leaf_hash(b"c")]
    growth = extend(EMPTY, hashes)
    assert len(hashes) == 3
    assert growth.rows[0] == hashes


@given(st.integers(0, 700))
def test_a_frontier_survives_storage(size: int) -> None:
    frontier = extend(EMPTY, [leaf_hash(entry) for entry in entries(size)]).frontier
    assert parse_frontier(size, frontier.to_bytes()) == frontier


@pytest.mark.parametrize(("size", "data"), [(0, bytes(32)), (1, b""), (3, bytes(32)), (2, bytes(31)), (3, bytes(33))])
def test_a_frontier_of_another_size_is_refused(size: int, data: bytes) -> None:
    with pytest.raises(ValueError, match="pending hash"):
        parse_frontier(size, data)


def test_a_negative_size_has_no_frontier() -> None:
    with pytest.raises(ValueError, match="one-bit"):
        Frontier(size=-1, pending=(bytes(32),))


def test_a_commitment_root_is_the_tree_over_the_digests() -> None:
    digests = [leaf_hash(entry) for entry in entries(5)]
    assert commitment_root(digests) == naive_root([leaf_hash(digest) for digest in digests])
    assert commitment_root([]) == EMPTY_ROOT
    assert commitment_root(digests) != commitment_root(digests[::-1])
