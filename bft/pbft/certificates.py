"""Prepared and stable proofs: how they are made of votes, and how a stranger's are checked.

Source: PBFT (OSDI 1999) section 4.4, the sets P and C.  Pure.
"""

from collections.abc import Iterable, Mapping
from itertools import pairwise

from bft.codec.canonical import Record, encode
from bft.codec.envelope import pre_authentication_encoding
from bft.crypto.hashing import sha256
from bft.crypto.identity import verify
from bft.errors import DecodeError
from bft.membership import Membership
from bft.ordering.proof import CommitSignature, QuorumProof
from bft.pbft.messages import (
    Checkpoint,
    Commit,
    Prepare,
    PreparedProof,
    PrePrepare,
    StableProof,
)

VERIFIED_SIGNATURES_MAX = 65_536


class Verifier:
    """Checks members' signatures and remembers those that stood (bounded, oldest out first)."""

    def __init__(self, membership: Membership) -> None:
        self.membership = membership
        self._seen: dict[bytes, None] = {}

    def check(self, replica: int, record: Record, signature: bytes) -> None:
        """Returns if `signature` is `replica`'s under `record`.

        Raises:
            DecodeError: there is no such replica.
            BadSignature: it is not.
        """
        if not 0 <= replica < self.membership.n:
            raise DecodeError(f"replica {replica} of {self.membership.n}")
        message = pre_authentication_encoding(record.TAG.encode(), encode(record))
        key = self.membership.keys[replica]
        seen = sha256(key + signature + message)
        if seen in self._seen:
            return
        verify(key, signature, message)
        self._seen[seen] = None
        if len(self._seen) > VERIFIED_SIGNATURES_MAX:
            del self._seen[next(iter(self._seen))]


def signatures(votes: Mapping[int, bytes], count: int) -> tuple[CommitSignature, ...]:
    """The `count` lowest replicas' signatures, ascending."""
    chosen = sorted(votes)[:count]
    assert len(chosen) == count
    return tuple(CommitSignature(replica=i, signature=votes[i]) for i in chosen)


def distinct(entries: Iterable[CommitSignature], expected: int, what: str) -> None:
    """Returns if there are exactly `expected` entries of strictly ascending replicas.

    Raises:
        DecodeError: too few, too many, or one signer twice.
    """
    indices = [entry.replica for entry in entries]
    if len(indices) != expected:
        raise DecodeError(f"{len(indices)} {what} signatures came; {expected} expected")
    if any(a >= b for a, b in pairwise(indices)):
        raise DecodeError(f"{what} signatures must be of distinct replicas, ascending")


def pre_prepare(membership: Membership, view: int, sequence: int, digest: bytes) -> PrePrepare:
    """The body that the primary of `view` signs."""
    return PrePrepare(
        chain_id=membership.chain_id,
        epoch=membership.epoch,
        view=view,
        sequence=sequence,
        digest=digest,
        replica=membership.primary(view),
    )


def verify_prepared(proof: PreparedProof, verifier: Verifier) -> None:
    """Returns if `proof` is a prepared certificate.

    Raises:
        DecodeError: wrong number of signers, one twice, or the primary among the backups.
        BadSignature: a signature does not stand.
    """
    members = verifier.membership
    header = pre_prepare(members, proof.view, proof.sequence, proof.digest)
    distinct(proof.prepares, members.strong - 1, "prepare")
    if any(entry.replica == header.replica for entry in proof.prepares):
        raise DecodeError("a primary's PRE-PREPARE is its only vote; it also signed a PREPARE")
    verifier.check(header.replica, header, proof.proposal)
    for entry in proof.prepares:
        vote = Prepare(
            chain_id=members.chain_id,
            epoch=members.epoch,
            view=proof.view,
            sequence=proof.sequence,
            digest=proof.digest,
            replica=entry.replica,
        )
        verifier.check(entry.replica, vote, entry.signature)


def verify_stable(proof: StableProof, verifier: Verifier) -> None:
    """Returns if `proof` is a stable checkpoint.

    Raises:
        DecodeError: wrong number of signers, or one twice.
        BadSignature: a signature does not stand.
    """
    members = verifier.membership
    distinct(proof.signatures, members.strong, "checkpoint")
    for entry in proof.signatures:
        vote = Checkpoint(
            chain_id=members.chain_id,
            epoch=members.epoch,
            sequence=proof.sequence,
            chain=proof.chain,
            state_root=proof.state_root,
            last=proof.last,
            replica=entry.replica,
        )
        verifier.check(entry.replica, vote, entry.signature)


def verify_decision(proof: QuorumProof, sequence: int, digest: bytes, verifier: Verifier) -> None:
    """As `bft.ordering.proof.verify_quorum_proof`, with the verifier's memory.

    Raises:
        DecodeError: wrong number of signers, or one twice.
        BadSignature: a signature does not stand.
    """
    members = verifier.membership
    distinct(proof.signatures, members.strong, "commit")
    for entry in proof.signatures:
        vote = Commit(
            chain_id=members.chain_id,
            epoch=members.epoch,
            view=proof.view,
            sequence=sequence,
            digest=digest,
            replica=entry.replica,
        )
        verifier.check(entry.replica, vote, entry.signature)
