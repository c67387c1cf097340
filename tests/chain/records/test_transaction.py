"""Bitcoin's transactions: Bitcoin Core's own vectors read and write unchanged."""

import json
from pathlib import Path

import pytest

from bft.crypto.hashing import sha256
from bft.errors import DecodeError
from chain.records.transaction import (
    bitcoin_merkle_root,
    climb,
    decode_transaction,
    first_branch,
)

VECTORS = Path(__file__).parents[2] / "vectors" / "bitcoin-core" / "tx_valid.json"
CORE = [bytes.fromhex(row[1]) for row in json.loads(VECTORS.read_text()) if len(row) == 3]
# BIP 143, native P2WPKH, the signed transaction.
SEGWIT = bytes.fromhex(
    "01000000000102fff7f7881a8099afa6940d42d1e7f6362bec38171ea3edf433541db4e4ad969f0000000049"
    "4830450221008b9d1dc26ba6a9cb62127b02742fa9d754cd3bebf337f7a55d114c8e5cdd30be022040529b19"
    "4ba3f9281a99f2b1c0a19c0489bc22ede944ccf4ecbab4cc618ef3ed01eeffffffef51e1b804cc89d182d279"
    "655c3aa89e815b1b309fe287d9b2b55d57b90ec68a0100000000ffffffff02202cb206000000001976a91482"
    "80b37df378db99f66f85c95a783a76ac7a6d5988ac9093510d000000001976a9143bde42dbee7e4dbe6a21b2"
    "d50ce2f0167faa815988ac000247304402203609e17b84f6a7d30c80bfa610b5b4542f32a8a0d5447a12fb13"
    "66d7f01cc44a0220573a954c4518331561406f90300e8f3358f51928d43c212a8caed02de67eebee0121025476"
    "c2e83188368da1ff3e292e7acafcdb3566bb0ad253f62fc70f07aeee635711000000"
)


def test_bitcoin_cores_transactions_read_and_write_unchanged() -> None:
    assert len(CORE) > 100
    for data in CORE:
        assert decode_transaction(data).encode() == data


def test_a_witness_changes_the_wtxid_but_not_the_txid() -> None:
    """BIP 143's example: its txid is known."""
    transaction = decode_transaction(SEGWIT)
    assert transaction.encode() == SEGWIT
    txid = "e8151a2af31c368a35053ddd4bdb285a8595c769a3ad83e0fa02314a602d4609"
    assert transaction.txid[::-1].hex() == txid
    assert transaction.wtxid != transaction.txid
    assert decode_transaction(transaction.encode(witness=False)).txid == transaction.txid


def test_a_transaction_cut_short_anywhere_is_refused() -> None:
    for size in range(len(SEGWIT)):
        with pytest.raises(DecodeError):
            decode_transaction(SEGWIT[:size])
    with pytest.raises(DecodeError, match="too many"):
        decode_transaction(SEGWIT + b"\x00")


def test_a_list_that_cannot_fit_is_refused_before_it_is_built() -> None:
    huge = SEGWIT[:6] + b"\xfe\xff\xff\xff\x7f" + SEGWIT[7:]
    with pytest.raises(DecodeError, match="a list of"):
        decode_transaction(huge)


def test_a_length_in_a_longer_form_is_refused() -> None:
    with pytest.raises(DecodeError, match="shortest form"):
        decode_transaction(SEGWIT[:6] + b"\xfd\x02\x00" + SEGWIT[7:])


def test_a_witness_flag_without_any_witness_is_refused() -> None:
    legacy = decode_transaction(SEGWIT).encode(witness=False)
    padded = legacy[:4] + b"\x00\x01" + legacy[4:-4] + b"\x00\x00" + legacy[-4:]
    with pytest.raises(DecodeError, match="has none"):
        decode_transaction(padded)


def test_the_first_branch_leads_to_the_root_for_any_number_of_transactions() -> None:
    for count in range(1, 18):
        ids = [sha256(bytes([index])) for index in range(count)]
        assert climb(ids[0], first_branch(ids)) == bitcoin_merkle_root(ids)


def test_two_equal_transactions_side_by_side_are_refused() -> None:
    """CVE-2012-2459: [a, b, c] and [a, b, c, c] would have one root."""
    a, b, c = (sha256(bytes([index])) for index in range(3))
    bitcoin_merkle_root([a, b, c])
    with pytest.raises(DecodeError, match="equal transactions"):
        bitcoin_merkle_root([a, b, c, c])


def test_block_100000_of_bitcoin_has_its_merkle_root() -> None:
    ids = [
        "8c14f0db3df150123e6f3dbbf30f8b955a8249b62ac1d1ff16284aefa3d06d87",
        "fff2525b8931402dd09222c50775608f75787bd2b87e56995a7bdd30f79702c4",
        "6359f0868171b1d194cbee1af2f16ea598ae8fad666d9b012c8ed2b79a236ec4",
        "e9a66845e05d5abc0ad04ec80f774a7e585c6e8db975962d069a522137b80c1d",
    ]
    root = bitcoin_merkle_root([bytes.fromhex(entry)[::-1] for entry in ids])
    assert root[::-1].hex() == "f3e94742aca4b5ef85488dc37c06c3282295ffec960994b2c0d5ac2a25a95766"
