"""What anybody may have ordered against a winner that signed two blocks under one certificate.

Shorter than `chain.records.evidence`, which carries two certified headers: here stands only what
the winner's two signatures are over.  The certificate names winner, height and parent, and stands
in both coinbases, so it stands here once.
Pure: only the shapes; `chain.barring` verifies them.
"""

from typing import Annotated

from msgspec import Meta

from bft.codec.canonical import Record
from bft.codec.types import U8, U32, U63, Bytes32, IdentitySignature
from chain.records.block import BRANCH_MAX, CertifiedHeader
from chain.records.certificate import CERTIFICATE_BYTES
from chain.records.coinbase import CARRIED_EVIDENCE_BYTES_MAX
from chain.records.evidence import Equivocation

PAYEE_BYTES = 22


class SignedContents(Record):
    """One block, as far as its winner's signature covers it: what is not in its certificate."""

    version: U32  # of the header
    time: U32  # of the header, Unix seconds
    reward: U63  # of the coinbase's first output, smallest unit
    payee: Annotated[bytes, Meta(min_length=PAYEE_BYTES, max_length=PAYEE_BYTES)]  # its script
    commitment: Bytes32  # BIP 141's, over all witnesses
    slot: U8  # 0; or else the coinbase has a place for a signet solution (BIP 325)
    evidence: Annotated[bytes, Meta(max_length=CARRIED_EVIDENCE_BYTES_MAX)]  # mostly none
    # From the coinbase's id up to the Merkle root.
    branch: Annotated[tuple[Bytes32, ...], Meta(max_length=BRANCH_MAX)]
    signature: IdentitySignature  # the winner's


class ShowEvidence(Record):
    """Two blocks that one winner signed under one certificate."""

    TAG = "gristmill.show-evidence/1"

    certificate: Annotated[bytes, Meta(min_length=CERTIFICATE_BYTES, max_length=CERTIFICATE_BYTES)]
    first: SignedContents
    second: SignedContents


def shown(evidence: Equivocation) -> ShowEvidence:
    """A node's evidence, as an operation."""
    return ShowEvidence(
        certificate=evidence.first.coinbase.certificate,
        first=_contents(evidence.first),
        second=_contents(evidence.second),
    )


def _contents(certified: CertifiedHeader) -> SignedContents:
    header, coinbase = certified.header, certified.coinbase
    return SignedContents(
        version=header.version,
        time=header.time,
        reward=coinbase.reward,
        payee=coinbase.payee,
        commitment=coinbase.commitment,
        slot=int(coinbase.solution is not None),
        evidence=coinbase.evidence,
        branch=certified.branch,
        signature=coinbase.signature,
    )
