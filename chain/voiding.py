"""Evidence in a coinbase: the reward of a winner that signed two blocks is taken from it.

A coinbase may carry an equivocation as its fourth output.  One of the two blocks must be of this
chain, with a reward that is not mature yet; that coin is gone then.  Nobody has to be asked: the
coin's transaction id commits to the whole coinbase, so to the certificate, which is verified with
its block.
Source: docs/PROTOCOL.md, section 14.  Pure.
"""

from dataclasses import dataclass

from bft.crypto import identity
from bft.errors import BadSignature, DecodeError, Refused
from chain.records.block import CertifiedHeader
from chain.records.coinbase import evidence_of
from chain.records.evidence import Equivocation, decode_evidence, signed_once
from chain.records.transaction import Transaction, climb


@dataclass(frozen=True, slots=True)
class Voided:
    """Whose reward is void: one of two coinbases, at one height."""

    coinbases: tuple[bytes, bytes]  # transaction ids; output 0 of the one that is of this chain
    height: int


def voided(coinbase: Transaction) -> Voided | None:
    """What a block's coinbase voids; None for one without evidence.

    Raises:
        Refused: "bad-evidence": it carries something that convicts nobody.
    """
    data = evidence_of(coinbase)
    if not data:
        return None
    try:
        evidence = decode_evidence(data)
        if not isinstance(evidence, Equivocation):
            raise Refused("bad-evidence", "only a winner's two blocks void a reward")
        return convicted(evidence)
    except (DecodeError, BadSignature) as error:
        raise Refused("bad-evidence", f"the coinbase's evidence: {error}") from None


def convicted(evidence: Equivocation) -> Voided:
    """What follows from evidence whose certificate is one of this chain.

    Raises:
        Refused: "bad-evidence"; DecodeError, BadSignature: it does not hold.
    """
    first, second = evidence.first, evidence.second
    if first.coinbase.certificate != second.coinbase.certificate:
        raise Refused("bad-evidence", "two blocks under two certificates contradict nothing")
    if signed_once(first, second):
        raise Refused("bad-evidence", "the winner signed once, and somebody altered the rest")
    for each in (first, second):
        _check_signed(each)
    ids = first.coinbase.transaction().txid, second.coinbase.transaction().txid
    return Voided(ids, first.certificate.height)


def _check_signed(certified: CertifiedHeader) -> None:
    certificate = certified.certificate
    if certified.header.previous != certificate.parent:
        raise Refused("bad-evidence", "a block on another parent than its certificate's")
    root = climb(certified.coinbase.transaction().txid, certified.branch)
    if root != certified.header.merkle_root:
        raise DecodeError("a coinbase is not under its header's Merkle root")
    identity.verify(certificate.winner, certified.coinbase.signature, certified.winner_message())
