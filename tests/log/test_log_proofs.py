"""Inclusion and consistency proofs: the published vectors, every small size, and every way to falsify one."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.log.merkle import EMPTY_ROOT, commitment_root, leaf_hash, node_hash, tree_root
from hub.log.proofs import (
    ProofError,
    prove_commitment,
    prove_consistency,
    prove_inclusion,
    range_root,
    read_memory,
    verify_consistency,
    verify_inclusion,
)

HASHES = [leaf_hash(b"entry %d" % number) for number in range(700)]
ROOTS = [tree_root(HASHES[:size]) for size in range(len(HASHES) + 1)]


def is_included(
    index: int, size: int, proof: list[bytes], *, leaf: bytes | None = None, root: bytes | None = None
) -> bool:
    try:
        verify_inclusion(
            leaf=HASHES[index] if leaf is None else leaf,
            index=index,
            size=size,
            proof=proof,
            root=ROOTS[size] if root is None else root,
        )
    except ProofError:
        return False
    return True


def is_consistent(old: int, new: int, proof: list[bytes], *, old_root: bytes | None = None) -> bool:
    try:
        verify_consistency(
            old_size=old,
            old_root=ROOTS[old] if old_root is None else old_root,
            new_size=new,
            new_root=ROOTS[new],
            proof=proof,
        )
    except ProofError:
        return False
    return True


def flip(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def test_the_published_proofs_are_made_and_accepted(vectors: dict[str, Any]) -> None:
    leaves = [leaf_hash(bytes.fromhex(leaf)) for leaf in vectors["leaves_hex"]]
    roots = [bytes.fromhex(root) for root in vectors["roots_by_size"]]
    for case in vectors["inclusion"]:
        proof = [bytes.fromhex(item) for item in case["proof"]]
        index, size = case["index"], case["size"]
        assert prove_inclusion(index=index, size=size, read_node=read_memory(leaves[:size])) == proof
        verify_inclusion(leaf=leaves[index], index=index, size=size, proof=proof, root=roots[size])
    for case in vectors["consistency"]:
        proof = [bytes.fromhex(item) for item in case["proof"]]
        old, new = case["old"], case["new"]
        assert prove_consistency(old_size=old, new_size=new, read_node=read_memory(leaves[:new])) == proof
        verify_consistency(old_size=old, old_root=roots[old], new_size=new, new_root=roots[new], proof=proof)


def test_every_leaf_of_every_small_tree_is_proved() -> None:
    for size in range(1, 34):
        read_node = read_memory(HASHES[:size])
        assert all(
            is_included(index, size, prove_inclusion(index=index, size=size, read_node=read_node))
            for index in range(size)
        )


def test_every_growth_of_every_small_tree_is_proved() -> None:
    for new in range(34):
        read_node = read_memory(HASHES[:new])
        assert all(
            is_consistent(old, new, prove_consistency(old_size=old, new_size=new, read_node=read_node))
            for old in range(new + 1)
        )


@given(st.data())
def test_an_inclusion_proof_proves_one_leaf_at_one_place(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 700))
    index = data.draw(st.integers(0, size - 1))
    proof = prove_inclusion(index=index, size=size, read_node=read_memory(HASHES[:size]))
    assert is_included(index, size, proof)
    other = data.draw(st.integers(0, size - 1).filter(lambda place: place != index) | st.just(-1))
    if other >= 0:
        assert not is_included(other, size, proof, leaf=HASHES[index])
        assert not is_included(index, size, proof, leaf=HASHES[other])
    assert not is_included(index, size, [*proof, HASHES[0]])
    assert not is_included(index, size, proof, root=EMPTY_ROOT)
    if proof:
        assert not is_included(index, size, proof[:-1])
        assert not is_included(index, size, proof[1:])


@given(st.data())
def test_a_consistency_proof_proves_one_growth(data: st.DataObject) -> None:
    new = data.draw(st.integers(1, 700))
    old = data.draw(st.integers(0, new))
    proof = prove_consistency(old_size=old, new_size=new, read_node=read_memory(HASHES[:new]))
    assert is_consistent(old, new, proof)
    assert not is_consistent(old, new, [*proof, HASHES[0]])
    assert not is_consistent(old, new, proof, old_root=HASHES[-1])
    if proof:
        assert not is_consistent(old, new, proof[:-1])


@pytest.mark.parametrize(("index", "size"), [(0, 2), (5, 8), (4, 5), (6, 7), (256, 257)])
def test_every_one_bit_change_of_an_inclusion_proof_fails(index: int, size: int) -> None:
    proof = prove_inclusion(index=index, size=size, read_node=read_memory(HASHES[:size]))
    for place, item in enumerate(proof):
        for bit in range(256):
            assert not is_included(index, size, [*proof[:place], flip(item, bit), *proof[place + 1 :]])
    assert not any(is_included(index, size, proof, leaf=flip(HASHES[index], bit)) for bit in range(256))
    assert not any(is_included(index, size, proof, root=flip(ROOTS[size], bit)) for bit in range(256))


@pytest.mark.parametrize(("old", "new"), [(1, 2), (6, 8), (4, 8), (3, 7), (256, 300), (300, 513)])
def test_every_one_bit_change_of_a_consistency_proof_fails(old: int, new: int) -> None:
    proof = prove_consistency(old_size=old, new_size=new, read_node=read_memory(HASHES[:new]))
    for place, item in enumerate(proof):
        for bit in range(256):
            assert not is_consistent(old, new, [*proof[:place], flip(item, bit), *proof[place + 1 :]])
    assert not any(is_consistent(old, new, proof, old_root=flip(ROOTS[old], bit)) for bit in range(256))


def test_growth_from_nothing_and_to_itself_needs_no_proof_but_right_roots() -> None:
    assert is_consistent(0, 5, [])
    assert is_consistent(5, 5, [])
    assert is_consistent(0, 0, [])
    assert not is_consistent(0, 5, [], old_root=HASHES[0])
    assert not is_consistent(5, 5, [], old_root=HASHES[0])
    assert not is_consistent(5, 5, [HASHES[0]])
    assert not is_consistent(5, 8, [])
    assert not is_consistent(6, 5, [])


def test_a_place_outside_the_tree_is_neither_proved_nor_accepted() -> None:
    read_node = read_memory(HASHES[:5])
    assert not is_included(5, 5, [])
    for index, size in [(5, 5), (-1, 5), (0, 0)]:
        with pytest.raises(ValueError, match="not in a tree"):
            prove_inclusion(index=index, size=size, read_node=read_node)
    with pytest.raises(ValueError, match="not a prefix"):
        prove_consistency(old_size=6, new_size=5, read_node=read_node)


@given(st.integers(0, 700))
def test_the_root_at_an_older_size_is_read_from_the_nodes(size: int) -> None:
    assert range_root(begin=0, end=size, read_node=read_memory(HASHES)) == ROOTS[size]


def test_a_record_is_proved_under_its_commitment_root() -> None:
    root = commitment_root(HASHES[:11])
    for index in range(11):
        proof = prove_commitment(HASHES[:11], index)
        verify_inclusion(leaf=leaf_hash(HASHES[index]), index=index, size=11, proof=proof, root=root)


def test_an_inner_node_is_not_taken_for_a_leaf() -> None:
    node = tree_root(HASHES[:2])
    proof = prove_inclusion(index=0, size=8, read_node=read_memory(HASHES[:8]))
    assert not is_included(0, 8, proof[1:], leaf=node)  # leads to the root, a level too early


def test_a_proof_beyond_the_root_is_refused_even_if_its_hashes_fit() -> None:
    root = node_hash(HASHES[0], HASHES[1])
    assert not is_included(0, 1, [HASHES[0]], leaf=HASHES[1], root=root)
    with pytest.raises(ProofError, match="too long"):
        verify_consistency(
            old_size=1,
            old_root=HASHES[0],
            new_size=2,
            new_root=node_hash(HASHES[2], node_hash(HASHES[0], HASHES[1])),
            proof=[HASHES[1], HASHES[2]],
        )


def test_a_growth_to_a_subtree_is_not_taken_for_growth_to_the_whole() -> None:
    with pytest.raises(ProofError, match="too short"):
        verify_consistency(old_size=1, old_root=ROOTS[1], new_size=8, new_root=ROOTS[2], proof=[HASHES[1]])
