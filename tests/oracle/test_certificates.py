"""Certificates and contributions, checked a second time: docs/PROTOCOL.md, section 13."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bft.crypto.hashing import sha256
from bft.crypto.merkle import inclusion_proof, leaf_hash, merkle_root, verify_inclusion
from bft.errors import DecodeError, Refused
from chain.validation import verify_certificate
from tests.chain.federation_fixture import CHAIN_ID, FEDERATION_KEY, START, certificate_on, signed
from tests.oracle.blocks import certificate_holds, contribution_holds

GOOD = signed(certificate_on(START))
CHANGES = 6


def holds(data: bytes, chain: bytes = CHAIN_ID) -> bool:
    try:
        verify_certificate(data, FEDERATION_KEY, chain)
    except (DecodeError, Refused):
        return False
    return True


@pytest.mark.parametrize(
    ("data", "chain"),
    [
        (GOOD, CHAIN_ID),
        (GOOD, sha256(b"another")),
        (GOOD[:-1], CHAIN_ID),
        (GOOD + b"\0", CHAIN_ID),
        (b"\2" + GOOD[1:], CHAIN_ID),
        (signed(certificate_on(START, not_before=2, not_after=1)), CHAIN_ID),
        (signed(certificate_on(START, not_before=2, not_after=2)), CHAIN_ID),
        (signed(certificate_on(START), 7), CHAIN_ID),
        (GOOD[:323] + b"\xc0" + bytes(47), CHAIN_ID),
    ],
    ids=[
        *("good", "another chain", "a byte less", "a byte more", "version 2", "an empty window"),
        *("a window of one second", "another key", "the identity for a signature"),
    ],
)
def test_both_say_the_same_of_a_certificate(data: bytes, chain: bytes) -> None:
    assert certificate_holds(data, FEDERATION_KEY, chain) == holds(data, chain)


def test_and_of_one_with_a_changed_byte() -> None:
    random = Random(13)
    for _ in range(CHANGES):
        place, mask = random.randrange(len(GOOD)), random.randrange(1, 256)
        data = GOOD[:place] + bytes([GOOD[place] ^ mask]) + GOOD[place + 1 :]
        assert not holds(data) and not certificate_holds(data, FEDERATION_KEY, CHAIN_ID)


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(0, 45), st.integers(0, 45), st.data())
def test_and_of_a_rows_proof(size: int, index: int, told: int, data: st.DataObject) -> None:
    rows = [b"row %d" % number for number in range(size)]
    proof = list(inclusion_proof(rows, index % size))
    if data.draw(st.booleans()):
        proof = data.draw(st.permutations(proof)) if proof else [bytes(32)]
    root = merkle_root(rows)
    row = rows[index % size]
    try:
        verify_inclusion(leaf_hash(row), told, size, proof, root)
        ours = True
    except DecodeError:
        ours = False
    assert contribution_holds(row, told, size, proof, root) == ours
