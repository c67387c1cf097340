"""The block certificate (paper, section IV-C): fixed width, so that any language can check it.

Little-endian, as everything in a block.  One federation signature over the tagged hash of the body.
The certificate of a contribution is a leaf of `contributions_root` with its inclusion proof under
the same signature.
Pure.
"""

import struct
from dataclasses import dataclass
from typing import ClassVar

from bft.crypto.hashing import tagged_hash
from bft.errors import DecodeError

VERSION = 1
_LAYOUT = struct.Struct("<B32sIQIB32sII32s33sQqQQ32s32sQ32s32s")
BODY_BYTES = _LAYOUT.size
CERTIFICATE_BYTES = BODY_BYTES + 48


@dataclass(frozen=True, kw_only=True, slots=True)
class BlockCertificate:
    """The federation says: `winner` may make the block at `height` on `parent`, in this window."""

    TAG: ClassVar[str] = "gristmill/certificate/v1"

    chain_id: bytes  # 32
    epoch: int  # u32
    cycle: int  # u64
    height: int  # u32
    rank: int  # u8; 0 is the winner, higher ranks only after those before were voided
    parent: bytes  # 32, hash of the block at height - 1, internal byte order
    not_before: int  # u32, Unix seconds
    not_after: int  # u32, Unix seconds
    nonce: bytes  # 32, the draw's beacon randomness
    winner: bytes  # 33, identity key
    parameters: int  # u64, trained by the winner in this cycle
    loss_reduction: int  # i64, micro-nats, sum over the winner's units
    tickets: int  # u64, the winner's
    tickets_total: int  # u64
    contributions_root: bytes  # 32, RFC 6962 over the cycle's score rows
    log_root: bytes  # 32, RFC 6962 over the score log's first log_size entries
    log_size: int  # u64
    model_snapshot: bytes  # 32, SHA-256 of the model after this cycle
    next_federation: bytes  # 32, digest of the federation key record that signs the next one

    def body(self) -> bytes:
        """BODY_BYTES bytes."""
        return _LAYOUT.pack(
            VERSION,
            self.chain_id,
            self.epoch,
            self.cycle,
            self.height,
            self.rank,
            self.parent,
            self.not_before,
            self.not_after,
            self.nonce,
            self.winner,
            self.parameters,
            self.loss_reduction,
            self.tickets,
            self.tickets_total,
            self.contributions_root,
            self.log_root,
            self.log_size,
            self.model_snapshot,
            self.next_federation,
        )

    def message(self) -> bytes:
        """32 bytes that the federation signs."""
        return tagged_hash(self.TAG, self.body())


def decode_certificate(data: bytes) -> tuple[BlockCertificate, bytes]:
    """(certificate, 48-byte federation signature); the signature is not yet verified.

    Raises:
        DecodeError: not CERTIFICATE_BYTES long, or of another version.
    """
    if len(data) != CERTIFICATE_BYTES:
        raise DecodeError(f"a certificate has {CERTIFICATE_BYTES} bytes; {len(data)} came")
    version, *values = _LAYOUT.unpack(data[:BODY_BYTES])
    if version != VERSION:
        raise DecodeError(f"certificate version {version}; this software knows {VERSION}")
    names = [name for name in BlockCertificate.__dataclass_fields__ if name != "TAG"]
    return BlockCertificate(**dict(zip(names, values, strict=True))), data[BODY_BYTES:]


def finality_message(chain_id: bytes, height: int, block_hash: bytes) -> bytes:
    """32 bytes that the federation signs when the block at `height` is final."""
    return tagged_hash("gristmill/finality/v1", chain_id + height.to_bytes(4, "big") + block_hash)
