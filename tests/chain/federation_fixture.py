"""A federation, miners and a chain for the chain's tests: real keys, real signatures, real blocks.

The federation key is one BLS secret here: to whoever verifies, a threshold signature is the same.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from msgspec import structs

from bft.crypto import bls
from bft.crypto.hashing import sha256
from bft.crypto.identity import PrivateKey
from chain.params import MINIMAL
from chain.records.block import Block, BlockHeader, build_block, decode_block
from chain.records.certificate import BlockCertificate, finality_message
from chain.records.evidence import Finality
from chain.records.federation import Genesis, MemberRecord
from chain.records.job import make_sizes
from chain.records.serialization import compact_size
from chain.records.transaction import Transaction
from chain.rules.reward import subsidy
from chain.validation import ParentView, genesis_view
from tests import sample

FEDERATION_SECRET = 0x1234567890ABCDEF
FEDERATION_KEY = bls.public_key(FEDERATION_SECRET)
OTHER_SECRET = 0xFEDCBA0987654321
CREATED_S = 1_700_000_000  # in the past of every clock that runs these tests
STEP_S = 1_200


@cache
def key_of(name: str) -> PrivateKey:
    """An identity that depends on its name only."""
    return PrivateKey(sha256(b"identity " + name.encode()))


WINNER = key_of("winner")
OTHER = key_of("other")

JOB = structs.replace(
    sample.JOB,
    name=b"digits",
    sizes=make_sizes(inputs=64, width=32, depth=2, classes=10),
    dataset_digest=sha256(b"dataset"),
    train_records=1_000,
    heldout_records=200,
    chunk_records=100,
    outer_rate_denominator=1,
    fraction_bits=24,
    genesis_model=sha256(b"model"),
)


def make_genesis(name: bytes = b"test") -> Genesis:
    """Four members; another name is another chain."""
    members = tuple(
        MemberRecord(
            operator=b"operator %d" % index,
            key=key_of(f"replica {index}").public_key,
            tls_certificate=bytes(64),
            link=b"127.0.0.1:1",
            api=b"127.0.0.1:2",
        )
        for index in range(4)
    )
    return Genesis(
        version=1,
        name=name,
        created_ms=CREATED_S * 1000,
        params=MINIMAL,
        job=JOB,
        members=members,
    )


GENESIS = make_genesis()
CHAIN_ID = GENESIS.chain_id
START = genesis_view(GENESIS)


def certificate_on(parent: ParentView, **fields: Any) -> BlockCertificate:
    """The certificate for the height above `parent`; `fields` replace what stands in it."""
    height = parent.height + 1
    made = BlockCertificate(
        chain_id=CHAIN_ID,
        epoch=0,
        cycle=height,
        height=height,
        rank=0,
        parent=parent.hash,
        not_before=parent.time + 1,
        not_after=parent.time + STEP_S,
        nonce=sha256(b"nonce %d" % height),
        winner=WINNER.public_key,
        parameters=4_096,
        loss_reduction=250_000,
        tickets=7,
        tickets_total=21,
        contributions_root=sha256(b"contributions %d" % height),
        log_root=sha256(b"log %d" % height),
        log_size=100 * height,
        model_snapshot=sha256(b"model %d" % height),
        next_federation=sha256(b"federation"),
    )
    return replace(made, **fields)


def signed(certificate: BlockCertificate, secret: int = FEDERATION_SECRET) -> bytes:
    """Body and federation signature."""
    return certificate.body() + bls.sign(secret, certificate.message())


def block_on(
    parent: ParentView,
    *,
    miner: PrivateKey = WINNER,
    secret: int = FEDERATION_SECRET,
    time: int | None = None,
    reward: int | None = None,
    payee: bytes | None = None,
    transactions: Sequence[Transaction] = (),
    evidence: bytes = b"",
    **fields: Any,
) -> Block:
    """The winner's block on `parent`; valid unless a keyword breaks a rule."""
    fields.setdefault("winner", miner.public_key)
    data = build_block(
        signed(certificate_on(parent, **fields), secret),
        time=parent.time + 10 if time is None else time,
        subsidy=subsidy(parent.height + 1, MINIMAL) if reward is None else reward,
        sign=miner.sign,
        winner=miner.public_key if payee is None else payee,
        transactions=transactions,
        evidence=evidence,
    )
    return decode_block(data)


def view_of(block: Block) -> ParentView:
    """The block as a parent."""
    return ParentView(hash=block.hash, height=block.certificate.height, time=block.header.time)


def finality_of(block: Block, secret: int = FEDERATION_SECRET) -> Finality:
    """The federation's word on a block."""
    height = block.certificate.height
    signature = bls.sign(secret, finality_message(CHAIN_ID, height, block.hash))
    return Finality(height=height, block=block.hash, signature=signature)


@cache
def make_chain(length: int) -> tuple[Block, ...]:
    """Blocks 1 .. length."""
    blocks: list[Block] = []
    parent = START
    for _ in range(length):
        blocks.append(block_on(parent))
        parent = view_of(blocks[-1])
    return tuple(blocks)


def assemble(header: BlockHeader, *transactions: Transaction) -> bytes:
    """A block's bytes, whatever is wrong with it."""
    count = compact_size(len(transactions))
    return header.encode() + count + b"".join(entry.encode() for entry in transactions)


def with_coinbase(block: Block, transaction: Transaction) -> bytes:
    """The same block with another coinbase under a fitting Merkle root; nobody signs again."""
    return assemble(replace(block.header, merkle_root=transaction.txid), transaction)


def resigned(block: Block, *, header: BlockHeader | None = None, **coinbase: Any) -> bytes:
    """The block with other contents that the winner has signed: only a rule can refuse it."""
    changed = replace(
        block.certified_header,
        header=block.header if header is None else header,
        coinbase=replace(block.coinbase, **coinbase),
    )
    signature = WINNER.sign(changed.winner_message())
    transaction = replace(changed.coinbase, signature=signature).transaction()
    return assemble(replace(changed.header, merkle_root=transaction.txid), transaction)
