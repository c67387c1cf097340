"""Blocks as bytes: one form only, and the coinbase layout to the byte."""

import json
from dataclasses import replace

import msgspec
import pytest

from bft.crypto.hashing import double_sha256, sha256
from bft.errors import ConfigError, DecodeError
from chain.federation.api import BLOCK_BYTES_MAX
from chain.records.block import (
    CERTIFIED_HEADER_BYTES_MAX,
    build_block,
    decode_block,
    decode_certified_header,
    decode_header,
    genesis_header,
)
from chain.records.coinbase import COMMITMENT_MAGIC, height_script, pay_to_key, push, pushes
from chain.records.ripemd160 import ripemd160
from chain.records.transaction import Transaction, TxOut
from tests.chain.federation_fixture import (
    CHAIN_ID,
    CREATED_S,
    GENESIS,
    START,
    WINNER,
    assemble,
    block_on,
    make_genesis,
    signed,
    with_coinbase,
)
from tests.chain.records.golden_block import PATH, golden

BLOCK = block_on(START)
COINBASE = BLOCK.transactions[0]


def with_outputs(*outputs: TxOut) -> bytes:
    return with_coinbase(BLOCK, replace(COINBASE, outputs=outputs))


def test_the_golden_block_has_not_changed() -> None:
    """Other implementations are held against this file."""
    assert golden() == json.loads(PATH.read_text())


def test_a_block_is_bitcoins_header_and_a_list_of_transactions() -> None:
    header = BLOCK.data[:80]
    assert decode_header(header) == BLOCK.header
    assert double_sha256(header) == BLOCK.hash
    assert BLOCK.data[80] == 1
    assert BLOCK.header.merkle_root == COINBASE.txid
    assert assemble(BLOCK.header, COINBASE) == BLOCK.data


def test_certificate_and_winners_signature_stand_in_the_second_output() -> None:
    certificate, signature = pushes(COINBASE.outputs[1].script)
    assert certificate == b"GRSC" + BLOCK.coinbase.certificate
    assert signature == b"GRSW" + BLOCK.coinbase.signature


def test_the_reward_is_p2wpkh_of_the_winners_identity_key() -> None:
    keyhash = ripemd160(sha256(WINNER.public_key))
    assert COINBASE.outputs[0].script == b"\x00\x14" + keyhash


def test_the_genesis_block_follows_from_the_genesis_record_alone() -> None:
    header = decode_header(genesis_header(GENESIS))
    assert (header.previous, header.merkle_root) == (bytes(32), CHAIN_ID)
    assert header.time == CREATED_S
    assert genesis_header(make_genesis(b"another")) != genesis_header(GENESIS)


def test_a_genesis_after_the_last_block_time_is_refused() -> None:
    late = msgspec.structs.replace(GENESIS, created_ms=2**32 * 1000)
    with pytest.raises(ConfigError, match="2106"):
        genesis_header(late)


def test_a_block_cut_short_anywhere_is_refused() -> None:
    for size in range(len(BLOCK.data)):
        with pytest.raises(DecodeError):
            decode_block(BLOCK.data[:size])
    with pytest.raises(DecodeError, match="too many"):
        decode_block(BLOCK.data + b"\x00")


def test_a_block_one_byte_past_the_limit_is_refused_unread() -> None:
    with pytest.raises(DecodeError, match=str(BLOCK_BYTES_MAX)):
        decode_block(BLOCK.data + bytes(BLOCK_BYTES_MAX + 1 - len(BLOCK.data)))


def test_a_block_without_transactions_is_refused() -> None:
    with pytest.raises(DecodeError, match="at least one"):
        decode_block(BLOCK.data[:80] + b"\x00")


def test_a_first_transaction_that_spends_something_is_no_coinbase() -> None:
    spending = replace(COINBASE, inputs=(replace(COINBASE.inputs[0], index=0),))
    with pytest.raises(DecodeError, match="no coinbase"):
        decode_block(with_coinbase(BLOCK, spending))


def test_a_second_certificate_is_refused_wherever_it_stands() -> None:
    reward, authority, commitment = COINBASE.outputs
    for outputs in ((reward, authority, authority), (reward, authority, commitment, authority)):
        with pytest.raises(DecodeError, match="2 outputs carry a certificate"):
            decode_block(with_outputs(*outputs))


def test_a_coinbase_without_certificate_is_refused() -> None:
    reward, _, commitment = COINBASE.outputs
    with pytest.raises(DecodeError, match="0 outputs carry a certificate"):
        decode_block(with_outputs(reward, commitment))


def test_a_fourth_output_that_is_no_evidence_is_refused() -> None:
    with pytest.raises(DecodeError, match="value in its first output only"):
        decode_block(with_outputs(*COINBASE.outputs, TxOut(value=0, script=b"\x6a")))


@pytest.mark.parametrize(
    "slots",
    [
        (b"GRSC" + BLOCK.coinbase.certificate,),
        (b"GRSC" + BLOCK.coinbase.certificate, b"GRSW" + BLOCK.coinbase.signature[:-1]),
        (b"GRSC" + BLOCK.coinbase.certificate, b"GRSX" + BLOCK.coinbase.signature),
        (b"GRSC" + BLOCK.coinbase.certificate[:-1], b"GRSW" + BLOCK.coinbase.signature),
        (b"GRSC" + BLOCK.coinbase.certificate, b"GRSW" + BLOCK.coinbase.signature, b"more"),
    ],
)
def test_a_wrong_signature_slot_is_refused(slots: tuple[bytes, ...]) -> None:
    reward, authority, commitment = COINBASE.outputs
    script = b"\x6a" + b"".join(push(slot) for slot in slots)
    with pytest.raises(DecodeError, match="second output must push"):
        decode_block(with_outputs(reward, replace(authority, script=script), commitment))


def test_a_push_in_a_longer_form_is_refused() -> None:
    """Otherwise a third party could alter the block's hash."""
    reward, authority, commitment = COINBASE.outputs
    signature = b"GRSW" + BLOCK.coinbase.signature
    longer = authority.script[: -len(push(signature))] + b"\x4c\x44" + signature
    with pytest.raises(DecodeError, match="shortest form"):
        decode_block(with_outputs(reward, replace(authority, script=longer), commitment))


def test_a_witness_commitment_with_something_behind_it_is_refused() -> None:
    reward, authority, commitment = COINBASE.outputs
    script = commitment.script + push(b"more")
    with pytest.raises(DecodeError, match="third output"):
        decode_block(with_outputs(reward, authority, replace(commitment, script=script)))
    other = b"\x6a" + push(COMMITMENT_MAGIC + bytes(31))
    with pytest.raises(DecodeError, match="third output"):
        decode_block(with_outputs(reward, authority, replace(commitment, script=other)))


def test_a_reward_to_anything_but_a_key_hash_is_refused() -> None:
    _, authority, commitment = COINBASE.outputs
    with pytest.raises(DecodeError, match="P2WPKH"):
        decode_block(with_outputs(TxOut(value=1, script=b"\x51"), authority, commitment))


@pytest.mark.parametrize(
    "changed",
    [
        replace(COINBASE, version=1),
        replace(COINBASE, locktime=1),
        replace(COINBASE, inputs=(replace(COINBASE.inputs[0], sequence=0),)),
        replace(COINBASE, inputs=(replace(COINBASE.inputs[0], witness=()),)),
        replace(COINBASE, inputs=(replace(COINBASE.inputs[0], witness=(b"\x01" * 32,)),)),
        replace(COINBASE, inputs=(replace(COINBASE.inputs[0], witness=(bytes(32),) * 2),)),
        replace(
            COINBASE,
            outputs=(*COINBASE.outputs[:2], replace(COINBASE.outputs[2], value=1)),
        ),
    ],
)
def test_a_coinbase_leaves_nothing_to_choose(changed: Transaction) -> None:
    with pytest.raises(DecodeError, match="a coinbase has version 2"):
        decode_block(with_coinbase(BLOCK, changed))


@pytest.mark.parametrize(
    ("height", "script"),
    [
        (1, "5100"),
        (16, "6000"),
        (17, "011100"),
        (127, "017f00"),
        (128, "02800000"),
        (32_767, "02ff7f00"),
        (32_768, "0300800000"),
        (2**32 - 1, "05ffffffff0000"),
    ],
)
def test_the_height_is_written_as_bip_34_asks(height: int, script: str) -> None:
    assert height_script(height).hex() == script
    built = build_block(
        signed(replace(BLOCK.certificate, height=height)),
        time=0,
        subsidy=0,
        sign=WINNER.sign,
        winner=WINNER.public_key,
    )
    assert decode_block(built).coinbase.height == height


@pytest.mark.parametrize("script", ["", "51", "0000", "5000", "010100", "02110000", "5101"])
def test_a_height_in_another_form_is_refused(script: str) -> None:
    coins = replace(COINBASE.inputs[0], script=bytes.fromhex(script))
    with pytest.raises(DecodeError, match="one form"):
        decode_block(with_coinbase(BLOCK, replace(COINBASE, inputs=(coins,))))


def test_a_certified_header_travels_without_the_block() -> None:
    certified = BLOCK.certified_header
    assert decode_certified_header(certified.encode()) == certified
    assert certified.hash == BLOCK.hash
    for size in range(len(certified.encode())):
        with pytest.raises(DecodeError):
            decode_certified_header(certified.encode()[:size])
    with pytest.raises(DecodeError, match="at most"):
        decode_certified_header(certified.encode() + bytes(CERTIFIED_HEADER_BYTES_MAX))


def test_two_keys_have_two_scripts() -> None:
    assert pay_to_key(WINNER.public_key) != pay_to_key(b"\x02" + bytes(32))
