"""RFC 6962 trees: the vectors of transparency-dev, and every tree up to a few dozen leaves."""

import json
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bft.crypto.hashing import sha256
from bft.crypto.merkle import (
    EMPTY_ROOT,
    Frontier,
    Tree,
    inclusion_proof,
    leaf_hash,
    merkle_root,
    node_hash,
    verify_inclusion,
)
from bft.errors import DecodeError

VECTORS = json.loads(
    (Path(__file__).parents[2] / "vectors/rfc6962/inclusion.json").read_text(encoding="utf-8")
)


def naive_root(leaves: list[bytes]) -> bytes:
    """RFC 6962 section 2.1, word by word."""
    if not leaves:
        return sha256(b"")
    if len(leaves) == 1:
        return leaf_hash(leaves[0])
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return node_hash(naive_root(leaves[:split]), naive_root(leaves[split:]))


def test_there_are_accepted_and_refused_vectors() -> None:
    assert [sum(v["wantErr"] for v in VECTORS), len(VECTORS)] == [92, 98]


@pytest.mark.parametrize("vector", VECTORS, ids=[v["file"] for v in VECTORS])
def test_an_inclusion_proof_is_judged_as_by_transparency_dev(vector: dict[str, Any]) -> None:
    leaf, root = b64decode(vector["leafHash"] or ""), b64decode(vector["root"] or "")
    proof = [b64decode(sibling) for sibling in vector["proof"] or []]
    if vector["wantErr"]:
        with pytest.raises(DecodeError):
            verify_inclusion(leaf, vector["leafIdx"], vector["treeSize"], proof, root)
    else:
        verify_inclusion(leaf, vector["leafIdx"], vector["treeSize"], proof, root)


@given(st.lists(st.binary(max_size=4), max_size=40))
def test_the_root_is_that_of_the_rfc(leaves: list[bytes]) -> None:
    assert merkle_root(leaves) == naive_root(leaves)


def test_the_empty_tree_has_the_hash_of_nothing() -> None:
    assert merkle_root([]) == EMPTY_ROOT == sha256(b"")


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 31])
def test_every_leaf_is_proven_and_at_no_other_place(size: int) -> None:
    leaves = [bytes([number]) for number in range(size)]
    root = merkle_root(leaves)
    for index in range(size):
        proof = inclusion_proof(leaves, index)
        for claimed in range(size):
            if claimed == index:
                verify_inclusion(leaf_hash(leaves[index]), index, size, proof, root)
            else:
                with pytest.raises(DecodeError):
                    verify_inclusion(leaf_hash(leaves[index]), claimed, size, proof, root)


def test_a_leaf_outside_the_tree_has_no_proof() -> None:
    for index in (-1, 3):
        with pytest.raises(IndexError):
            inclusion_proof([b"a", b"b", b"c"], index)
        with pytest.raises(DecodeError):
            verify_inclusion(leaf_hash(b"a"), index, 3, (), merkle_root([b"a"]))


def test_an_inner_node_is_no_leaf() -> None:
    """RFC 6962 2.1: different prefixes give second preimage resistance."""
    left, right = leaf_hash(b"a"), leaf_hash(b"b")
    assert leaf_hash(left + right) != node_hash(left, right)


@given(st.lists(st.binary(max_size=4), max_size=40))
def test_a_frontier_has_the_root_of_the_tree_so_far(leaves: list[bytes]) -> None:
    frontier = Frontier()
    for count, leaf in enumerate(leaves):
        assert frontier.root() == merkle_root(leaves[:count])
        frontier = frontier.push(leaf_hash(leaf))
    assert frontier.root() == merkle_root(leaves) and frontier.size == len(leaves)


@given(st.lists(st.binary(max_size=4), max_size=40))
def test_a_whole_tree_gives_the_same_root_and_proofs(leaves: list[bytes]) -> None:
    tree = Tree(leaves)
    assert (tree.size, tree.root) == (len(leaves), naive_root(leaves))
    for index in range(len(leaves)):
        assert tree.proof(index) == inclusion_proof(leaves, index)
    for index in (-1, len(leaves)):
        with pytest.raises(IndexError):
            tree.proof(index)
