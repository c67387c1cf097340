"""Signed messages and certificates, valid unless a test asks otherwise."""

from bft.codec.canonical import encode
from bft.membership import Membership
from bft.ordering.batch import Batch, batch_digest
from bft.ordering.proof import CommitSignature
from bft.pbft.certificates import pre_prepare
from bft.pbft.messages import (
    Checkpoint,
    Commit,
    Message,
    NewView,
    Prepare,
    PreparedProof,
    PrePrepare,
    Proposal,
    StableProof,
    Status,
    Verified,
    ViewChange,
    sign_message,
)
from tests.bft.pbft.cluster import WALL_0, Cluster
from tests.bft.pbft.identities import CHAIN, members, request, signer

FOUR = members(4)
D1, D2 = bytes([1]) * 32, bytes([2]) * 32


def signed(message: Message, membership: Membership = FOUR) -> Verified:
    """Under the key of the replica that the message names."""
    return sign_message(message, membership, signer(message.replica))


def batch_of(*requests: bytes, timestamp_ms: int = WALL_0) -> bytes:
    return encode(Batch(timestamp_ms=timestamp_ms, requests=requests))


def header(view: int, sequence: int, digest: bytes) -> PrePrepare:
    return pre_prepare(FOUR, view, sequence, digest)


def prepare(view: int, sequence: int, digest: bytes, replica: int) -> Prepare:
    return Prepare(
        chain_id=CHAIN, epoch=0, view=view, sequence=sequence, digest=digest, replica=replica
    )


def commit(view: int, sequence: int, digest: bytes, replica: int) -> Commit:
    return Commit(
        chain_id=CHAIN, epoch=0, view=view, sequence=sequence, digest=digest, replica=replica
    )


def checkpoint(sequence: int, replica: int, root: bytes = D1, last: int = 0) -> Checkpoint:
    return Checkpoint(
        chain_id=CHAIN,
        epoch=0,
        sequence=sequence,
        chain=D2,
        state_root=root,
        last=last,
        replica=replica,
    )


def votes(*messages: Message) -> tuple[CommitSignature, ...]:
    return tuple(
        CommitSignature(replica=m.replica, signature=signed(m).signature) for m in messages
    )


def prepared(
    view: int, sequence: int, digest: bytes = D1, backups: tuple[int, ...] | None = None
) -> PreparedProof:
    primary = FOUR.primary(view)
    chosen = backups or tuple(i for i in range(4) if i != primary)[:2]
    return PreparedProof(
        view=view,
        sequence=sequence,
        digest=digest,
        proposal=signed(header(view, sequence, digest)).signature,
        prepares=votes(*(prepare(view, sequence, digest, i) for i in chosen)),
    )


def stable(sequence: int, signers: tuple[int, ...] = (0, 1, 2)) -> StableProof:
    return StableProof(
        sequence=sequence,
        chain=D2,
        state_root=D1,
        last=0,
        signatures=votes(*(checkpoint(sequence, i) for i in signers)),
    )


def view_change(
    view: int,
    replica: int,
    *proofs: PreparedProof,
    low: int = 0,
    certificate: StableProof | None = None,
) -> ViewChange:
    if low and certificate is None:
        certificate = stable(low)
    return ViewChange(
        chain_id=CHAIN,
        epoch=0,
        view=view,
        low=low,
        stable=() if certificate is None else (certificate,),
        prepared=proofs,
        replica=replica,
    )


def new_view(
    view: int, changes: tuple[ViewChange, ...], proposals: tuple[tuple[int, bytes], ...]
) -> NewView:
    return NewView(
        chain_id=CHAIN,
        epoch=0,
        view=view,
        view_changes=tuple(signed(vc).envelope for vc in changes),
        proposals=tuple(
            Proposal(sequence=s, digest=d, signature=signed(header(view, s, d)).signature)
            for s, d in proposals
        ),
        replica=FOUR.primary(view),
    )


def status(replica: int, wished_view: int = 0, *, view: int = 0, decided: int = 0) -> Status:
    """What a replica in `view` that lacks nothing says."""
    return Status(
        chain_id=CHAIN,
        epoch=0,
        view=view,
        pending_view=view,
        wished_view=wished_view,
        low=0,
        decided=decided,
        helper=0,
        slots=(),
        replica=replica,
    )


def alone(index: int) -> Cluster:
    """One real replica; the test speaks for all others."""
    cluster = Cluster()
    for other in range(4):
        if other != index:
            cluster.crash(other)
            cluster.byzantine.add(other)
    return cluster


def tell(cluster: Cluster, to: int, message: Message, attachment: bytes = b"") -> None:
    """Deliver a forged message now, and let the disk follow."""
    cluster.arrive(to, cluster.forge(message.replica, message, attachment))
    cluster.run(5)


def propose(
    cluster: Cluster,
    to: int,
    sequence: int,
    *requests: bytes,
    view: int = 0,
    timestamp_ms: int | None = None,
) -> bytes:
    """A PRE-PREPARE with its batch; returns the digest."""
    wall = WALL_0 + cluster.now if timestamp_ms is None else timestamp_ms
    batch = batch_of(*requests, timestamp_ms=wall)
    digest = batch_digest(batch)
    cluster.submitted.update(requests)
    tell(cluster, to, header(view, sequence, digest), batch)
    return digest


def operation(number: int) -> bytes:
    """A valid request, another for each number."""
    return request(number % 3, number)
