"""How a stranger checks that a batch was decided: a strong quorum's commit signatures.

Pure, and outside `bft.pbft`, because the auditor must not lean on the engine that it audits.
"""

from typing import Annotated

from msgspec import Meta

from bft.codec.canonical import Record, decode, encode
from bft.codec.envelope import pre_authentication_encoding
from bft.codec.types import U16, U32, U63, Bytes32, IdentitySignature
from bft.crypto.identity import verify
from bft.errors import DecodeError
from bft.membership import Membership


class Commit(Record):
    """`replica` says: `digest` is prepared here, at (view, sequence).  PBFT section 4.2."""

    TAG = "pbft.commit/1"

    chain_id: Bytes32
    epoch: U32
    view: U63
    sequence: U63  # 1 is the first batch
    digest: Bytes32  # of the batch
    replica: U16


class CommitSignature(Record):
    """One replica's signature under the commit that the proof describes."""

    replica: U16
    signature: IdentitySignature


class QuorumProof(Record):
    """A strong quorum of commits for one (epoch, view, sequence, digest)."""

    TAG = "bft.quorum-proof/1"

    view: U63
    signatures: Annotated[tuple[CommitSignature, ...], Meta(max_length=1024)]  # by index, ascending


def verify_quorum_proof(data: bytes, membership: Membership, sequence: int, digest: bytes) -> int:
    """The view in which `membership` committed `digest` at `sequence`.

    Raises:
        DecodeError: malformed, not exactly a strong quorum, or replicas not strictly ascending.
        BadSignature: a signature does not stand under this commit.
    """
    proof = decode(QuorumProof, data)
    indices = [entry.replica for entry in proof.signatures]
    if len(indices) != membership.strong:
        raise DecodeError(f"{len(indices)} commit signatures came; {membership.strong} expected")
    if sorted(set(indices)) != indices or indices[-1] >= membership.n:
        raise DecodeError("commit signatures must be of distinct members, ascending by index")
    for entry in proof.signatures:
        commit = Commit(
            chain_id=membership.chain_id,
            epoch=membership.epoch,
            view=proof.view,
            sequence=sequence,
            digest=digest,
            replica=entry.replica,
        )
        message = pre_authentication_encoding(Commit.TAG.encode(), encode(commit))
        verify(membership.keys[entry.replica], entry.signature, message)
    return proof.view
