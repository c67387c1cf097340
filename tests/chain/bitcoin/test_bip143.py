"""The examples of BIP 143: each preimage that it shows is what our digest hashes."""

import re

import pytest

from bft.crypto.hashing import double_sha256
from chain.bitcoin.sighash import SignatureHasher
from chain.records.serialization import Reader
from chain.records.transaction import decode_transaction
from tests.chain.bitcoin.core_vectors import VECTORS

TEXT = (VECTORS.parent / "bips" / "bip-0143-examples.mediawiki").read_text()
SHOWN = re.compile(
    r"unsigned transaction:\s+(?P<unsigned>[0-9a-f]+)"
    r"|preimage[^:\n]*:\s*(?P<preimage>[0-9a-f]+).*?sigHash:\s*(?P<digest>[0-9a-f]{64})",
    re.DOTALL,
)


def _cases() -> list[tuple[str, str, str]]:
    """Each preimage and digest with the transaction shown before them."""
    found, unsigned = [], ""
    for each in SHOWN.finditer(TEXT):
        unsigned = each["unsigned"] or unsigned
        if each["preimage"]:
            found.append((unsigned, each["preimage"], each["digest"]))
    return found


CASES = _cases()


@pytest.mark.parametrize(("unsigned", "preimage", "digest"), CASES)
def test_digests_of_bip_143(unsigned: str, preimage: str, digest: str) -> None:
    reader = Reader(bytes.fromhex(preimage))
    reader.take(4 + 32 + 32)
    place = reader.take(32), reader.integer(4)
    code, value = reader.blob(10_000), reader.integer(8)
    reader.take(4 + 32 + 4)
    kind = reader.integer(4)
    reader.end()
    transaction = decode_transaction(bytes.fromhex(unsigned))
    places = [(entry.previous, entry.index) for entry in transaction.inputs]
    found = SignatureHasher(transaction).witness(places.index(place), code, value, kind)
    assert found.hex() == digest == double_sha256(bytes.fromhex(preimage)).hex()


def test_all_examples_are_there() -> None:
    assert len(CASES) >= 12
