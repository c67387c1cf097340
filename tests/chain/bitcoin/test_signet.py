"""Replicas' signatures make a block that Bitcoin Core takes on a signet of their keys (BIP 325)."""

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import pytest

from bft import quorum
from bft.errors import DecodeError, FederationError, Refused
from chain.bitcoin import signet
from chain.bitcoin.signing import Keyring
from chain.records.block import Block, BlockHeader, decode_header
from chain.records.coinbase import COMMITMENT_MAGIC, push, read_coinbase
from chain.records.transaction import Transaction, TxOut, climb, first_branch
from tests.chain.bitcoin.core_vectors import VECTORS
from tests.chain.differential.oracle import kernel_takes
from tests.chain.federation_fixture import GENESIS, block_on, key_of
from tests.chain.test_spending import MATURE, PARENT, spend_of

BIP = (VECTORS.parent / "bips" / "bip-0325-genesis-and-magic.mediawiki").read_text()
KEYS = [member.key for member in GENESIS.members]
RING = Keyring([key_of(f"replica {index}").secret for index in range(4)])
CHALLENGE = signet.challenge_of(KEYS, quorum.strong(4))


@cache
def our_block() -> Block:
    """Certificate, winner's signature and a spend in it."""
    return block_on(PARENT, transactions=[spend_of(MATURE[0])])


def signed(signers: Sequence[int], challenge: bytes = CHALLENGE) -> tuple[BlockHeader, Transaction]:
    """Header and coinbase of our block with a solution by these replicas."""
    block = our_block()
    opened = signet.with_solution(block.transactions[0], b"")
    digest = signet.digest(block.header, opened, branch(), challenge)
    made = {KEYS[at]: RING.sign(KEYS[at], digest, 1)[:-1] for at in signers}
    coinbase = signet.with_solution(opened, signet.solution_of(challenge, made))
    return replace(block.header, merkle_root=climb(coinbase.txid, branch())), coinbase


def branch() -> tuple[bytes, ...]:
    return first_branch([each.txid for each in our_block().transactions])


def judged(header: BlockHeader, coinbase: Transaction, challenge: bytes = CHALLENGE) -> bool:
    """Whether it is taken, by our engine and by Bitcoin Core's alike."""
    try:
        signet.verify_solution(header, coinbase, branch(), challenge)
        ours = True
    except FederationError:
        ours = False
    to_sign, spent = signet.solved(header, coinbase, branch(), challenge)
    core = kernel_takes(to_sign.encode(), 0, spent.script, spent.value, signet.FLAGS)
    assert ours == core
    return ours


@pytest.mark.parametrize("signers", [(0, 1, 2), (1, 2, 3), (0, 3, 1), (0, 1, 2, 3)])
def test_a_strong_quorum_of_replicas_signs_a_block(signers: tuple[int, ...]) -> None:
    assert judged(*signed(signers))


def test_fewer_replicas_do_not() -> None:
    with pytest.raises(Refused, match="2 of 3"):
        signed((0, 1))
    header, coinbase = signed((0, 1), signet.challenge_of(KEYS, 2))
    assert not judged(header, coinbase)
    assert judged(header, coinbase, signet.challenge_of(KEYS, 2))


def test_whatever_the_replicas_signed_cannot_be_altered() -> None:
    header, coinbase = signed((0, 1, 2))
    authority = coinbase.outputs[1]
    for at in (20, 200, len(authority.script) - 1):  # certificate, and winner's signature
        altered = bytearray(authority.script)
        altered[at] ^= 1
        outputs = (coinbase.outputs[0], replace(authority, script=bytes(altered)))
        assert not judged(header, replace(coinbase, outputs=(*outputs, coinbase.outputs[2])))
    reward = replace(coinbase.outputs[0], value=coinbase.outputs[0].value + 1)
    assert not judged(header, replace(coinbase, outputs=(reward, *coinbase.outputs[1:])))
    for name, value in (("time", header.time + 1), ("version", 4), ("previous", bytes(32))):
        assert not judged(replace(header, **{name: value}), coinbase)
    assert judged(replace(header, nonce=7, bits=signet.BITS), coinbase)  # work is done later


def test_a_block_without_a_solution_is_none_of_the_federations() -> None:
    block = our_block()
    assert not judged(block.header, block.transactions[0])
    assert judged(block.header, block.transactions[0], b"\x51")  # OP_TRUE checks everything else
    emptied, found = signet.split_coinbase(signed((0, 1, 2))[1])
    assert found is not None
    assert signet.split_coinbase(emptied) == (emptied, b"")
    with pytest.raises(DecodeError):
        signet.verify_solution(block.header, emptied, branch(), CHALLENGE)


def test_all_but_the_slot_is_our_coinbase() -> None:
    """What Bitcoin's tools do not know rides along, and reads as ever once the slot is gone."""
    _, coinbase = signed((0, 1, 2))
    commitment = coinbase.outputs[2].script
    assert len(push(signet.SOLUTION_MAGIC)) < len(commitment) - 38
    bare = replace(coinbase.outputs[2], script=commitment[:38])
    without = replace(coinbase, outputs=(*coinbase.outputs[:2], bare))
    assert read_coinbase(without) == our_block().coinbase


def test_malformed_slots_are_refused() -> None:
    coinbase = our_block().transactions[0]
    with pytest.raises(DecodeError, match="no slot"):
        signet.digest(our_block().header, coinbase, branch(), CHALLENGE)
    with pytest.raises(DecodeError, match="at most"):
        signet.with_solution(coinbase, bytes(signet.SOLUTION_BYTES_MAX + 1))
    with pytest.raises(DecodeError, match="no witness commitment"):
        signet.split_coinbase(replace(coinbase, outputs=coinbase.outputs[:2]))
    for solution in (b"", b"\x00", b"\x05\x00", b"\x00\x00\x00", b"\xfd\x01\x00\x00\x00"):
        with pytest.raises(DecodeError):
            signet.read_solution(solution)
    script = b"\x6a\x24" + COMMITMENT_MAGIC + bytes(32) + b"\x4c\x04" + signet.SOLUTION_MAGIC
    longer = replace(coinbase, outputs=(TxOut(value=0, script=script),))
    with pytest.raises(DecodeError, match="shortest form"):
        signet.split_coinbase(longer)


def test_message_start_and_genesis_of_bip_325() -> None:
    challenge = re.findall(r"Challenge script = ([0-9a-f]+)", BIP)[0]
    assert signet.message_start(bytes.fromhex(challenge)).hex() == "7ec653a5"
    block = re.findall(r"block hex is ([0-9a-f]+)", BIP)[0]
    header = decode_header(bytes.fromhex(block[:160]))
    assert header.hash[::-1].hex() in BIP
    assert header.bits == signet.BITS
    assert int.from_bytes(header.hash, "little") <= signet.TARGET
