"""What convicts by itself: a winner with two blocks, or a federation that signed two truths.

Pure: only the shapes stand here; `chain.validation` verifies them.
"""

from dataclasses import dataclass

from bft.errors import DecodeError
from chain.records.block import (
    CERTIFIED_HEADER_BYTES_MAX,
    CertifiedHeader,
    decode_certified_header,
)
from chain.records.certificate import (
    CERTIFICATE_BYTES,
    BlockCertificate,
    decode_certificate,
    finality_message,
)
from chain.records.serialization import Reader, blob

_FINALITY_BYTES = 4 + 32 + 48
EVIDENCE_BYTES_MAX = 1 + 2 * (3 + CERTIFIED_HEADER_BYTES_MAX)
_EQUIVOCATION, _FAULT = 1, 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Finality:
    """The federation says: the block at `height` is `block`, for good."""

    height: int  # u32
    block: bytes  # 32
    signature: bytes  # 48, the federation's over `finality_message`

    def encode(self) -> bytes:
        """84 bytes."""
        return self.height.to_bytes(4, "little") + self.block + self.signature

    def message(self, chain_id: bytes) -> bytes:
        """32 bytes that the federation signs."""
        return finality_message(chain_id, self.height, self.block)


def decode_finality(data: bytes) -> Finality:
    """Raises DecodeError: not 84 bytes."""
    reader = Reader(data)
    found = Finality(height=reader.integer(4), block=reader.take(32), signature=reader.take(48))
    reader.end()
    return found


@dataclass(frozen=True, kw_only=True, slots=True)
class Equivocation:
    """Two blocks that one winner signed under one certificate."""

    first: CertifiedHeader
    second: CertifiedHeader  # hashes ascend, so that a pair has one encoding


@dataclass(frozen=True, kw_only=True, slots=True)
class FederationFault:
    """Two statements under the federation key that cannot both be true."""

    first: bytes  # an encoded certificate with its signature, or an encoded Finality
    second: bytes


Evidence = Equivocation | FederationFault


def equivocation(one: CertifiedHeader, other: CertifiedHeader) -> Equivocation:
    """The evidence in its one order."""
    first, second = sorted((one, other), key=lambda header: header.hash)
    return Equivocation(first=first, second=second)


def signed_once(one: CertifiedHeader, other: CertifiedHeader) -> bool:
    """Whether the winner gave one signature for both: then somebody else altered the rest.

    In profile signet there may be several blocks of one signature: with other solutions, or nonces.
    """
    first, second = ((each.winner_message(), each.coinbase.signature) for each in (one, other))
    return first == second


def federation_fault(one: bytes, other: bytes) -> FederationFault:
    """The evidence in its one order."""
    first, second = sorted((one, other))
    return FederationFault(first=first, second=second)


def encode_evidence(evidence: Evidence) -> bytes:
    """At most EVIDENCE_BYTES_MAX bytes."""
    if isinstance(evidence, Equivocation):
        kind, parts = _EQUIVOCATION, (evidence.first.encode(), evidence.second.encode())
    else:
        kind, parts = _FAULT, (evidence.first, evidence.second)
    return bytes([kind]) + blob(parts[0]) + blob(parts[1])


def decode_evidence(data: bytes) -> Evidence:
    """Raises DecodeError: malformed, of no known kind, or the two parts out of order or equal."""
    if len(data) > EVIDENCE_BYTES_MAX:
        raise DecodeError(f"{len(data)} bytes came; evidence has at most {EVIDENCE_BYTES_MAX}")
    reader = Reader(data)
    kind = reader.integer(1)
    parts = reader.blob(CERTIFIED_HEADER_BYTES_MAX), reader.blob(CERTIFIED_HEADER_BYTES_MAX)
    reader.end()
    if kind == _EQUIVOCATION:
        headers = decode_certified_header(parts[0]), decode_certified_header(parts[1])
        if headers[0].hash >= headers[1].hash:
            raise DecodeError("the two blocks of an equivocation must ascend by hash")
        return Equivocation(first=headers[0], second=headers[1])
    if kind == _FAULT:
        if parts[0] >= parts[1]:
            raise DecodeError("the two statements of a fault must ascend")
        return FederationFault(first=parts[0], second=parts[1])
    raise DecodeError(f"evidence of kind {kind}; this software knows 1 and 2")


def decode_statement(data: bytes) -> BlockCertificate | Finality:
    """What the federation states there, its signature unverified.  Raises DecodeError."""
    if len(data) == CERTIFICATE_BYTES:
        return decode_certificate(data)[0]
    if len(data) == _FINALITY_BYTES:
        return decode_finality(data)
    raise DecodeError(f"a statement of {len(data)} bytes is neither certificate nor finality")


def contradict(one: BlockCertificate | Finality, other: BlockCertificate | Finality) -> bool:
    """Whether both cannot be true, coming from one federation.

    A slot is (height, cycle, rank), because a cycle without a block leaves its height to the next
    cycle.  A certificate states that its parent is final.
    """
    if isinstance(one, BlockCertificate) and isinstance(other, BlockCertificate):
        slots = [(c.height, c.cycle, c.rank) for c in (one, other)]
        if slots[0] == slots[1] and one.body() != other.body():
            return True
    finals = [
        (s.height, s.block) if isinstance(s, Finality) else (s.height - 1, s.parent)
        for s in (one, other)
    ]
    return finals[0][0] == finals[1][0] and finals[0][1] != finals[1][1]
