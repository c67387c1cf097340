"""What is refused, and why: every rule of a certificate, a block, a finality, a contribution."""

from collections.abc import Callable
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bft.codec.canonical import encode
from bft.crypto import bls
from bft.crypto.hashing import sha256
from bft.crypto.identity import PrivateKey
from bft.crypto.merkle import inclusion_proof, merkle_root
from bft.errors import BadSignature, DecodeError, FederationError, Refused
from chain.params import MINIMAL
from chain.records.block import Block, decode_block
from chain.records.coinbase import pay_to_key
from chain.records.evaluation import ScoreRow
from chain.records.evidence import encode_evidence, equivocation, federation_fault
from chain.rules.reward import subsidy
from chain.validation import (
    ParentView,
    validate_block,
    validate_header,
    verify_certificate,
    verify_certificates,
    verify_contribution,
    verify_evidence,
    verify_finality,
)
from tests.chain.federation_fixture import (
    CHAIN_ID,
    FEDERATION_KEY,
    OTHER,
    OTHER_SECRET,
    START,
    STEP_S,
    WINNER,
    assemble,
    block_on,
    certificate_on,
    finality_of,
    make_chain,
    resigned,
    signed,
    view_of,
    with_coinbase,
)

BLOCK = block_on(START)


def validate(data: bytes, parent: ParentView = START) -> Block:
    return validate_block(data, FEDERATION_KEY, CHAIN_ID, MINIMAL, parent)


def refusal(data: bytes, parent: ParentView = START) -> str:
    with pytest.raises(Refused) as caught:
        validate(data, parent)
    return caught.value.code


def test_a_chain_of_valid_blocks_is_valid() -> None:
    parent = START
    for block in make_chain(5):
        assert validate(block.data, parent) == block
        header = block.certified_header.encode()
        assert validate_header(header, FEDERATION_KEY, CHAIN_ID, parent) == block.certified_header
        parent = view_of(block)


# Certificate


def test_a_certificate_under_another_key_is_refused() -> None:
    with pytest.raises(BadSignature):
        validate(block_on(START, secret=OTHER_SECRET).data)
    with pytest.raises(BadSignature):
        verify_certificate(BLOCK.coinbase.certificate, bls.public_key(OTHER_SECRET), CHAIN_ID)


def test_a_certificate_with_any_field_altered_is_refused() -> None:
    data = BLOCK.coinbase.certificate
    for at in range(len(data)):
        with pytest.raises((DecodeError, Refused)):
            verify_certificate(
                data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :], FEDERATION_KEY, CHAIN_ID
            )


def test_a_certificate_of_another_length_is_refused() -> None:
    data = BLOCK.coinbase.certificate
    for wrong in (data[:-1], data + b"\x00", b""):
        with pytest.raises(DecodeError):
            verify_certificate(wrong, FEDERATION_KEY, CHAIN_ID)


def test_a_certificate_of_another_chain_is_refused() -> None:
    assert refusal(block_on(START, chain_id=sha256(b"another")).data) == "other-chain"


def test_many_certificates_stand_only_if_each_does() -> None:
    good = [block.coinbase.certificate for block in make_chain(3)]
    found = verify_certificates(good, FEDERATION_KEY, CHAIN_ID)
    assert found == tuple(block.certificate for block in make_chain(3))
    assert verify_certificates([], FEDERATION_KEY, CHAIN_ID) == ()
    forged = block_on(START, secret=OTHER_SECRET).coinbase.certificate
    swapped = good[0][:-48] + good[1][-48:]
    for bad in (forged, swapped):
        for at in range(4):
            with pytest.raises(BadSignature):
                verify_certificates([*good[:at], bad, *good[at:]], FEDERATION_KEY, CHAIN_ID)
    with pytest.raises(Refused, match="chain"):
        verify_certificates(good, FEDERATION_KEY, bytes(32))


def test_a_certificate_whose_window_is_empty_is_refused() -> None:
    block = block_on(START, not_before=START.time + 11, not_after=START.time + 10)
    assert refusal(block.data) == "certificate-window"


# Place


def test_a_block_on_another_parent_is_refused() -> None:
    other = ParentView(hash=sha256(b"elsewhere"), height=0, time=START.time)
    assert refusal(block_on(other).data) == "wrong-parent"


def test_a_header_must_name_the_parent_of_its_certificate() -> None:
    header = replace(BLOCK.header, previous=sha256(b"elsewhere"))
    assert refusal(resigned(BLOCK, header=header)) == "parent-not-certified"


@pytest.mark.parametrize("height", [2, 3, 17])
def test_a_certificate_for_another_height_is_refused(height: int) -> None:
    assert refusal(block_on(START, height=height).data) == "wrong-height"


def test_a_block_time_must_be_after_the_parents() -> None:
    block = block_on(START, time=START.time, not_before=START.time - 10)
    assert refusal(block.data) == "time-not-after-parent"


def test_a_block_time_must_be_in_the_certificates_window() -> None:
    begin, end = START.time + 100, START.time + 200
    for time in (begin, end):
        assert validate(block_on(START, time=time, not_before=begin, not_after=end).data)
    early = block_on(START, time=begin - 1, not_before=begin, not_after=end)
    assert refusal(early.data) == "too-early"
    late = block_on(START, time=end + 1, not_before=begin, not_after=end)
    assert refusal(late.data) == "too-late"


# Contents


def test_an_inflated_reward_is_refused() -> None:
    assert validate(block_on(START, reward=MINIMAL.subsidy).data)
    assert refusal(block_on(START, reward=MINIMAL.subsidy + 1).data) == "reward-too-high"


def test_the_subsidy_halves() -> None:
    interval = MINIMAL.halving_interval
    assert subsidy(1, MINIMAL) == subsidy(interval - 1, MINIMAL) == MINIMAL.subsidy
    assert subsidy(interval, MINIMAL) == MINIMAL.subsidy // 2
    assert subsidy(2 * interval, MINIMAL) == MINIMAL.subsidy // 4
    assert subsidy(2**32 - 1, MINIMAL) == 0
    assert subsidy(2**32 - 1, msgspec.structs.replace(MINIMAL, halving_interval=0)) > 0


def test_a_reward_above_the_halved_subsidy_is_refused() -> None:
    late = ParentView(hash=sha256(b"late"), height=MINIMAL.halving_interval - 1, time=START.time)
    assert refusal(block_on(late, reward=MINIMAL.subsidy).data, late) == "reward-too-high"
    assert validate(block_on(late, reward=MINIMAL.subsidy // 2).data, late)


def test_a_reward_to_someone_else_is_refused_even_if_the_winner_signs() -> None:
    block = block_on(START, payee=OTHER.public_key)
    assert refusal(block.data) == "not-the-winners-reward"


def test_whoever_sees_the_certificate_cannot_make_the_block() -> None:
    """The hole that a certificate alone leaves: it names a winner, but no contents."""
    stolen = block_on(START, miner=OTHER, winner=WINNER.public_key, payee=WINNER.public_key)
    with pytest.raises(BadSignature, match="winner did not sign"):
        validate(stolen.data)


@pytest.mark.parametrize(
    "alter",
    [
        lambda block: replace(block.coinbase, reward=block.coinbase.reward - 1),
        lambda block: replace(block.coinbase, commitment=sha256(b"others")),
        lambda block: replace(block.coinbase, signature=OTHER.sign(b"anything")),
    ],
)
def test_contents_altered_after_the_winners_signature_are_refused(
    alter: Callable[[Block], object],
) -> None:
    changed = alter(BLOCK)
    with pytest.raises(BadSignature, match="winner did not sign"):
        validate(with_coinbase(BLOCK, changed.transaction()))  # type: ignore[attr-defined]


def test_a_time_altered_after_the_winners_signature_is_refused() -> None:
    data = assemble(replace(BLOCK.header, time=BLOCK.header.time + 1), BLOCK.transactions[0])
    with pytest.raises(BadSignature, match="winner did not sign"):
        validate(data)


def test_the_second_form_of_the_winners_signature_is_refused() -> None:
    """(r, n - s) is as good to ECDSA; taken, it would let anyone alter the block's hash."""
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    r, s = BLOCK.coinbase.signature[:32], BLOCK.coinbase.signature[32:]
    high = r + (order - int.from_bytes(s, "big")).to_bytes(32, "big")
    with pytest.raises(BadSignature):
        validate(with_coinbase(BLOCK, replace(BLOCK.coinbase, signature=high).transaction()))


@pytest.mark.parametrize("field", [{"nonce": 1}, {"bits": 0x1D00FFFF}, {"version": 4}])
def test_header_fields_outside_the_signature_have_one_value(field: dict[str, int]) -> None:
    header = replace(BLOCK.header, **field)  # type: ignore[arg-type]
    assert refusal(resigned(BLOCK, header=header)) == "header-fields"


def test_the_coinbase_must_say_the_certificates_height() -> None:
    assert refusal(resigned(BLOCK, height=2)) == "coinbase-height"


def test_a_merkle_root_over_something_else_is_refused() -> None:
    header = replace(BLOCK.header, merkle_root=sha256(b"something else"))
    with pytest.raises(DecodeError, match="Merkle root"):
        validate(assemble(header, BLOCK.transactions[0]))


def test_a_witness_commitment_over_something_else_is_refused() -> None:
    with pytest.raises(DecodeError, match="witness commitment"):
        validate(resigned(BLOCK, commitment=sha256(b"others")))


@settings(max_examples=120, deadline=None)
@given(at=st.integers(0, len(BLOCK.data) - 1), flip=st.integers(1, 255))
def test_a_block_with_any_byte_flipped_is_refused(at: int, flip: int) -> None:
    data = bytearray(BLOCK.data)
    data[at] ^= flip
    with pytest.raises(FederationError):
        validate(bytes(data))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_certified_header_with_any_byte_flipped_is_refused(at: int, flip: int) -> None:
    data = bytearray(BLOCK.certified_header.encode())
    data[at % len(data)] ^= flip
    with pytest.raises(FederationError):
        validate_header(bytes(data), FEDERATION_KEY, CHAIN_ID, START)


@given(st.binary(max_size=1_000))
def test_noise_is_no_block(data: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_block(data)


# Finality


def test_finality_is_the_federations_word_on_one_block() -> None:
    word = finality_of(BLOCK)
    verify_finality(FEDERATION_KEY, CHAIN_ID, 1, BLOCK.hash, word.signature)
    for chain_id, height, block in (
        (sha256(b"another"), 1, BLOCK.hash),
        (CHAIN_ID, 2, BLOCK.hash),
        (CHAIN_ID, 1, START.hash),
    ):
        with pytest.raises(BadSignature):
            verify_finality(FEDERATION_KEY, chain_id, height, block, word.signature)
    forged = finality_of(BLOCK, OTHER_SECRET).signature
    with pytest.raises(BadSignature):
        verify_finality(FEDERATION_KEY, CHAIN_ID, 1, BLOCK.hash, forged)


# Contribution


def score_row(unit: int, cycle: int = 1, miner: PrivateKey = WINNER) -> bytes:
    row = ScoreRow(
        cycle=cycle,
        unit=unit,
        miner=miner.public_key,
        segment=0,
        parameters=10,
        samples=20,
        valid=1,
        gain=30,
        advantage=40,
        volume=50,
        coverage=60,
        quality=70,
        tickets=80,
    )
    return encode(row)


ROWS = [score_row(unit) for unit in range(5)]
CONTRIBUTED = certificate_on(START, contributions_root=merkle_root(ROWS))


@pytest.mark.parametrize("index", range(5))
def test_a_row_with_its_proof_is_a_certificate_by_itself(index: int) -> None:
    proof = inclusion_proof(ROWS, index)
    assert verify_contribution(ROWS[index], index, 5, proof, CONTRIBUTED).unit == index


def test_a_row_that_the_certificate_does_not_cover_is_refused() -> None:
    proof = inclusion_proof(ROWS, 2)
    for row, index, size, path in (
        (score_row(2, miner=OTHER), 2, 5, proof),
        (ROWS[2], 3, 5, proof),
        (ROWS[2], 2, 5, proof[:-1]),
        (ROWS[2], 2, 5, (*proof, bytes(32))),
        (ROWS[2], 2, 5, (bytes(32),) * 65),
        (ROWS[2], 2, 5, (bytes(31), *proof[1:])),
        (ROWS[2] + b"\x00", 2, 5, proof),
        (bytes(513), 2, 5, proof),
    ):
        with pytest.raises(DecodeError):
            verify_contribution(row, index, size, path, CONTRIBUTED)


def test_a_row_of_another_cycle_is_refused() -> None:
    rows = [score_row(0, cycle=9)]
    certificate = certificate_on(START, contributions_root=merkle_root(rows))
    with pytest.raises(Refused, match="cycle 9"):
        verify_contribution(rows[0], 0, 1, (), certificate)


# Evidence


def test_two_blocks_under_one_certificate_convict_their_winner() -> None:
    twin = block_on(START, time=START.time + 11)
    data = encode_evidence(equivocation(BLOCK.certified_header, twin.certified_header))
    assert encode_evidence(verify_evidence(data, FEDERATION_KEY, CHAIN_ID)) == data


def test_two_blocks_under_two_certificates_convict_nobody() -> None:
    rival = block_on(START, miner=OTHER, rank=1)
    data = encode_evidence(equivocation(BLOCK.certified_header, rival.certified_header))
    with pytest.raises(Refused, match="two certificates"):
        verify_evidence(data, FEDERATION_KEY, CHAIN_ID)


def test_evidence_with_a_forged_half_convicts_nobody() -> None:
    forged = block_on(START, miner=OTHER, winner=WINNER.public_key, payee=WINNER.public_key)
    assert forged.coinbase.payee == pay_to_key(WINNER.public_key)
    data = encode_evidence(equivocation(BLOCK.certified_header, forged.certified_header))
    with pytest.raises(BadSignature):
        verify_evidence(data, FEDERATION_KEY, CHAIN_ID)


def test_two_certificates_for_one_slot_convict_the_federation() -> None:
    one, other = signed(certificate_on(START)), signed(certificate_on(START, tickets=8))
    verify_evidence(encode_evidence(federation_fault(one, other)), FEDERATION_KEY, CHAIN_ID)
    rank = signed(certificate_on(START, rank=1))
    cycle = signed(certificate_on(START, cycle=9))
    for innocent in (rank, cycle):
        data = encode_evidence(federation_fault(one, innocent))
        with pytest.raises(Refused, match="can be true"):
            verify_evidence(data, FEDERATION_KEY, CHAIN_ID)


def test_two_final_blocks_at_one_height_convict_the_federation() -> None:
    rival = block_on(START, miner=OTHER, rank=1)
    pairs = [
        (finality_of(BLOCK).encode(), finality_of(rival).encode()),
        (finality_of(BLOCK).encode(), signed(certificate_on(view_of(rival)))),
    ]
    for one, other in pairs:
        data = encode_evidence(federation_fault(one, other))
        verify_evidence(data, FEDERATION_KEY, CHAIN_ID)


def test_evidence_has_one_encoding() -> None:
    twin = block_on(START, time=START.time + STEP_S)
    data = encode_evidence(equivocation(BLOCK.certified_header, twin.certified_header))
    for size in range(0, len(data), 7):
        with pytest.raises(DecodeError):
            verify_evidence(data[:size], FEDERATION_KEY, CHAIN_ID)
    pair = equivocation(BLOCK.certified_header, twin.certified_header)
    swapped = replace(pair, first=pair.second, second=pair.first)
    with pytest.raises(DecodeError, match="ascend"):
        verify_evidence(encode_evidence(swapped), FEDERATION_KEY, CHAIN_ID)
    same = replace(pair, second=pair.first)
    with pytest.raises(DecodeError, match="ascend"):
        verify_evidence(encode_evidence(same), FEDERATION_KEY, CHAIN_ID)
    with pytest.raises(DecodeError, match="kind 3"):
        verify_evidence(b"\x03" + data[1:], FEDERATION_KEY, CHAIN_ID)
