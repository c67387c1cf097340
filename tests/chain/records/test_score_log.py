"""What the log's tree hashes for a leaf: itself, or its digest when no bundle could hold it."""

import pytest

from bft.codec.canonical import decode, encode
from bft.crypto.hashing import sha256
from bft.crypto.merkle import leaf_hash
from bft.errors import DecodeError
from chain.records.score_log import (
    TREE_ENTRY_BYTES_MAX,
    ByDigest,
    Leaf,
    Ordered,
    decode_leaf,
    encode_leaf,
    entry_hash,
    hash_leaf,
    tree_entry,
)


def ordered_leaf(size: int) -> bytes:
    """An encoded leaf of exactly `size` bytes."""
    room = size - len(encode_leaf(Ordered(sequence=1, agreed_ms=1, batch=bytes(300))))
    leaf = encode_leaf(Ordered(sequence=1, agreed_ms=1, batch=bytes(300 + room)))
    assert len(leaf) == size
    return leaf


def test_the_longest_leaf_that_a_bundle_holds_stands_in_the_tree_itself() -> None:
    leaf = ordered_leaf(TREE_ENTRY_BYTES_MAX)
    assert tree_entry(leaf) == leaf
    assert entry_hash(leaf) == leaf_hash(leaf) == hash_leaf(decode_leaf(leaf))


def test_a_longer_leaf_stands_in_the_tree_by_its_size_and_digest() -> None:
    leaf = ordered_leaf(TREE_ENTRY_BYTES_MAX + 1)
    entry = tree_entry(leaf)
    told = decode(ByDigest, decode(Leaf, entry).body)
    assert (told.size, told.digest) == (len(leaf), sha256(leaf))
    assert entry_hash(leaf) == leaf_hash(entry) == hash_leaf(decode_leaf(leaf))


def test_what_stands_for_a_long_leaf_is_no_leaf() -> None:
    """Else two logs, one with the leaf and one with its digest, would have one root."""
    entry = encode(Leaf(tag=ByDigest.TAG.encode(), body=encode(ByDigest(size=1, digest=bytes(32)))))
    with pytest.raises(DecodeError, match="this release does not know"):
        decode_leaf(entry)
