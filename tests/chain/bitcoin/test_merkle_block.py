"""Proofs of inclusion, in the bytes of BIP 37."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bft.crypto.hashing import sha256
from bft.errors import DecodeError
from chain.bitcoin.merkle_block import MerkleBlock, decode_merkle_block, encode_merkle_block
from chain.records.block import BlockHeader
from chain.records.transaction import bitcoin_merkle_root, first_branch
from tests.chain.federation_fixture import make_chain

HEADER = make_chain(1)[0].header


def ids_of(count: int) -> list[bytes]:
    return [sha256(b"%d" % at) for at in range(count)]


def header_over(ids: list[bytes]) -> BlockHeader:
    return replace(HEADER, merkle_root=bitcoin_merkle_root(ids))


def proof_of(count: int, *places: int) -> tuple[MerkleBlock, bytes, list[bytes]]:
    ids = ids_of(count)
    data = encode_merkle_block(header_over(ids).encode(), ids, {ids[at] for at in places})
    return decode_merkle_block(data), data, ids


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 70), st.data())
def test_what_is_asked_for_is_proven(count: int, data: st.DataObject) -> None:
    places = sorted(data.draw(st.sets(st.integers(0, count - 1))))
    found, _, ids = proof_of(count, *places)
    assert found.matched == tuple((at, ids[at]) for at in places)
    assert (found.header, found.count) == (header_over(ids), count)
    assert found.levels == len(first_branch(ids))


@pytest.mark.parametrize("count", [1, 2, 3, 7, 8])
def test_no_other_bytes_prove_the_same(count: int) -> None:
    """A changed bit gives an error or another claim, never the claim unchanged."""
    found, data, _ = proof_of(count, count // 2)
    for at in range(8 * len(data)):
        altered = bytearray(data)
        altered[at // 8] ^= 1 << at % 8
        try:
            other = decode_merkle_block(bytes(altered))
        except DecodeError:
            continue
        assert other != found
    for cut in range(len(data)):
        with pytest.raises(DecodeError):
            decode_merkle_block(data[:cut])
    with pytest.raises(DecodeError):
        decode_merkle_block(data + b"\0")


def test_what_is_not_in_the_block_cannot_be_asked_for() -> None:
    ids = ids_of(3)
    with pytest.raises(DecodeError, match="not in this block"):
        encode_merkle_block(header_over(ids).encode(), ids, {bytes(32)})


def test_two_equal_nodes_side_by_side_are_refused() -> None:
    ids = ids_of(3)
    doubled = [*ids, ids[2]]  # has the same root (CVE-2012-2459)
    data = encode_merkle_block(header_over(ids).encode(), doubled, {ids[2]})
    with pytest.raises(DecodeError, match="CVE-2012-2459"):
        decode_merkle_block(data)
