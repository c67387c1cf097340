"""Blocks: Bitcoin's 80-byte header and transactions; certificate and winner's signature within.

A certificate is issued before its block exists, so it authorises nobody's contents: the winner
signs them.  A `CertifiedHeader` is what a light client needs of a block.
Source: Bitcoin Core, primitives/block.h; BIP 325 for the emptied signature slot.
Pure.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace

from bft.codec.envelope import Sign
from bft.crypto.hashing import double_sha256, tagged_hash
from bft.errors import ConfigError, DecodeError
from chain.federation.api import BLOCK_BYTES_MAX
from chain.records.certificate import BlockCertificate, decode_certificate
from chain.records.coinbase import Coinbase, pay_to_key, read_coinbase, witness_commitment
from chain.records.federation import Genesis
from chain.records.profile import MAIN, Profile, profile_of
from chain.records.serialization import Reader, blob, compact_size
from chain.records.transaction import (
    NULL_ID,
    Transaction,
    bitcoin_merkle_root,
    climb,
    decode_transaction,
    first_branch,
    read_transaction,
)

HEADER_BYTES = 80
BLOCK_VERSION = 0x20000000  # BIP 9, no deployment signalled
TRANSACTION_BYTES_MIN = 60
TRANSACTIONS_MAX = BLOCK_BYTES_MAX // TRANSACTION_BYTES_MIN
CERTIFIED_HEADER_BYTES_MAX = 16_384  # without evidence in the coinbase it is about 1 kB
BRANCH_MAX = 24  # a block with more levels of transactions would exceed BLOCK_BYTES_MAX
TIME_MAX = 2**32 - 1
WINNER_TAG = "gristmill/block/v1"

_HEADER = struct.Struct("<I32s32sIII")
_COINBASE_WTXID = bytes(32)  # BIP 141


@dataclass(frozen=True, kw_only=True, slots=True)
class BlockHeader:
    """Bitcoin's header, unchanged."""

    version: int  # u32
    previous: bytes  # 32, hash of the block before
    merkle_root: bytes  # 32, over transaction ids
    time: int  # u32, Unix seconds
    bits: int  # u32
    nonce: int  # u32

    def encode(self) -> bytes:
        """HEADER_BYTES bytes."""
        return _HEADER.pack(
            self.version, self.previous, self.merkle_root, self.time, self.bits, self.nonce
        )

    @property
    def hash(self) -> bytes:
        """32 bytes, internal byte order."""
        return block_hash(self.encode())


def block_hash(header: bytes) -> bytes:
    """32 bytes, internal byte order; people see them reversed."""
    return double_sha256(header)


def decode_header(data: bytes) -> BlockHeader:
    """Raises DecodeError: not HEADER_BYTES long."""
    if len(data) != HEADER_BYTES:
        raise DecodeError(f"a block header has {HEADER_BYTES} bytes; {len(data)} came")
    version, previous, root, time, bits, nonce = _HEADER.unpack(data)
    return BlockHeader(
        version=version, previous=previous, merkle_root=root, time=time, bits=bits, nonce=nonce
    )


def header_time(header: bytes) -> int:
    """Unix seconds.  Raises DecodeError: not HEADER_BYTES long."""
    return decode_header(header).time


@dataclass(frozen=True, kw_only=True, slots=True)
class CertifiedHeader:
    """A header, and the coinbase that stands under its Merkle root."""

    header: BlockHeader
    coinbase: Coinbase
    certificate: BlockCertificate  # decoded, not verified
    branch: tuple[bytes, ...]  # from the coinbase's id up to the Merkle root

    @property
    def hash(self) -> bytes:
        """32 bytes, the block's."""
        return self.header.hash

    def encode(self) -> bytes:
        """At most CERTIFIED_HEADER_BYTES_MAX bytes."""
        coinbase = blob(self.coinbase.transaction().encode())
        return b"".join(
            (self.header.encode(), coinbase, compact_size(len(self.branch)), *self.branch)
        )

    def winner_message(self) -> bytes:
        """32 bytes that the winner signs: everything but the signature itself and a solution."""
        solution = None if self.coinbase.solution is None else b""
        unsigned = replace(self.coinbase, signature=b"", solution=solution).transaction()
        root = climb(unsigned.txid, self.branch)
        header = self.header
        return tagged_hash(
            WINNER_TAG,
            header.version.to_bytes(4, "little")
            + header.previous
            + root
            + header.time.to_bytes(4, "little"),
        )


def decode_certified_header(data: bytes) -> CertifiedHeader:
    """Raises DecodeError: too long, malformed, or a coinbase of another layout."""
    if len(data) > CERTIFIED_HEADER_BYTES_MAX:
        raise DecodeError(
            f"{len(data)} bytes came; a certified header has at most {CERTIFIED_HEADER_BYTES_MAX}"
        )
    reader = Reader(data)
    header = decode_header(reader.take(HEADER_BYTES))
    coinbase = read_coinbase(decode_transaction(reader.blob(CERTIFIED_HEADER_BYTES_MAX)))
    count = reader.count(item_bytes_min=32, items_max=BRANCH_MAX)
    branch = tuple(reader.take(32) for _ in range(count))
    reader.end()
    certificate, _ = decode_certificate(coinbase.certificate)
    return CertifiedHeader(header=header, coinbase=coinbase, certificate=certificate, branch=branch)


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """A block as it was decoded; its rules are checked by chain/validation.py."""

    data: bytes  # as it travels and is stored
    header: BlockHeader
    transactions: tuple[Transaction, ...]
    coinbase: Coinbase
    certificate: BlockCertificate  # decoded, not verified

    @property
    def hash(self) -> bytes:
        """32 bytes, internal byte order."""
        return self.header.hash

    @property
    def certified_header(self) -> CertifiedHeader:
        """What a light client needs of it."""
        return CertifiedHeader(
            header=self.header,
            coinbase=self.coinbase,
            certificate=self.certificate,
            branch=first_branch([transaction.txid for transaction in self.transactions]),
        )


def decode_block(data: bytes) -> Block:
    """The block that is all of `data`.

    Raises:
        DecodeError: above BLOCK_BYTES_MAX, malformed, or a coinbase of another layout.
    """
    if len(data) > BLOCK_BYTES_MAX:
        raise DecodeError(f"{len(data)} bytes came; a block has at most {BLOCK_BYTES_MAX}")
    reader = Reader(data)
    header = decode_header(reader.take(HEADER_BYTES))
    count = reader.count(item_bytes_min=TRANSACTION_BYTES_MIN, items_max=TRANSACTIONS_MAX)
    transactions = tuple(read_transaction(reader) for _ in range(count))
    reader.end()
    if not transactions:
        raise DecodeError("a block has at least one transaction")
    coinbase = read_coinbase(transactions[0])
    certificate, _ = decode_certificate(coinbase.certificate)
    return Block(
        data=data,
        header=header,
        transactions=transactions,
        coinbase=coinbase,
        certificate=certificate,
    )


def build_block(
    certificate: bytes,
    *,
    time: int,
    subsidy: int,
    sign: Sign,
    winner: bytes,
    transactions: Sequence[Transaction] = (),
    profile: Profile = MAIN,
    evidence: bytes = b"",
) -> bytes:
    """The encoded block that `winner` makes with its certificate.

    In profile signet a draft: its solution is empty and its work is not done (chain/signet).

    Args:
        certificate: CERTIFICATE_BYTES, body and federation signature.
        time: Unix seconds, within the certificate's window and after the parent's time.
        subsidy: what the coinbase pays, in the smallest unit.
        sign: signs with the identity key `winner`.
        winner: 33 bytes; paid by P2WPKH.
        transactions: those after the coinbase, valid on the parent's coins; their fees are the
            winner's if `subsidy` has them in it.
        profile: the chain's.
        evidence: against an earlier winner, which voids its reward (chain/voiding.py); or none.

    Raises:
        DecodeError: not a certificate.
    """
    decoded, _ = decode_certificate(certificate)
    ids = [transaction.txid for transaction in transactions]
    witnesses = [_COINBASE_WTXID, *(transaction.wtxid for transaction in transactions)]
    unsigned = Coinbase(
        height=decoded.height,
        reward=subsidy,
        payee=pay_to_key(winner),
        certificate=certificate,
        signature=b"",
        commitment=witness_commitment(bitcoin_merkle_root(witnesses)),
        evidence=evidence,
        solution=b"" if profile.signed else None,
    )
    branch = first_branch([_COINBASE_WTXID, *ids])  # does not depend on the coinbase
    header = BlockHeader(
        version=BLOCK_VERSION,
        previous=decoded.parent,
        merkle_root=climb(unsigned.transaction().txid, branch),
        time=time,
        bits=profile.bits,
        nonce=0,
    )
    draft = CertifiedHeader(header=header, coinbase=unsigned, certificate=decoded, branch=branch)
    coinbase = replace(unsigned, signature=sign(draft.winner_message())).transaction()
    signed = replace(header, merkle_root=climb(coinbase.txid, branch))
    if not profile.signed:
        signed = replace(signed, nonce=profile.nonce(signed.encode()))
    return encode_block(signed, (coinbase, *transactions))


def encode_block(header: BlockHeader, transactions: Sequence[Transaction]) -> bytes:
    """A block as it travels."""
    body = b"".join(transaction.encode() for transaction in transactions)
    return header.encode() + compact_size(len(transactions)) + body


def genesis_header(genesis: Genesis) -> bytes:
    """HEADER_BYTES bytes; block 0 has no certificate and no reward.

    In profile `main` it follows from the chain id; in others it is that of the network.

    Raises:
        ConfigError: the genesis record was created after the year 2105, or no such profile.
    """
    profile = profile_of(genesis.params.profile)
    if profile.block_0:
        return profile.block_0
    seconds = genesis.created_ms // 1000
    if seconds > TIME_MAX:
        raise ConfigError(f"genesis created_ms is {genesis.created_ms}; block times end in 2106")
    return BlockHeader(
        version=BLOCK_VERSION,
        previous=NULL_ID,
        merkle_root=genesis.chain_id,
        time=seconds,
        bits=profile.bits,
        nonce=0,
    ).encode()
