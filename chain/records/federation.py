"""The auditor's trust anchor: the genesis record, and the key that the federation made for itself.

Pure.
"""

from typing import Annotated

from msgspec import Meta

from bft.codec.canonical import Record, encode
from bft.codec.types import U8, U16, U32, U63, Bytes32, GroupKey, GroupSignature, IdentityKey, Name
from bft.crypto.hashing import tagged_hash
from bft.dkg.messages import MEMBERS_MAX
from bft.membership import Membership
from chain.params import Params
from chain.records.job import Job

GENESIS_BYTES_MAX = 1024 * 1024

Address = Annotated[bytes, Meta(min_length=3, max_length=255)]
"""host:port, ASCII."""


class MemberRecord(Record):
    """One consortium operator's replica.  Its index is its position in the genesis record."""

    operator: Name
    key: IdentityKey
    tls_certificate: Annotated[bytes, Meta(min_length=64, max_length=4096)]  # DER, self-signed
    link: Address  # replicas' WebSockets over mutual TLS
    api: Address  # HTTP for miners, nodes and auditors


class Genesis(Record):
    """What everybody must hold beforehand; its digest is the chain id."""

    TAG = "gristmill.genesis/1"

    version: U8
    name: Name
    created_ms: U63
    params: Params
    job: Job
    members: Annotated[tuple[MemberRecord, ...], Meta(min_length=1, max_length=MEMBERS_MAX)]

    @property
    def chain_id(self) -> bytes:
        """32 bytes."""
        return tagged_hash(self.TAG, encode(self))

    @property
    def membership(self) -> Membership:
        """The replicas of epoch 0."""
        keys = tuple(member.key for member in self.members)
        return Membership(chain_id=self.chain_id, epoch=0, keys=keys)


class FederationKey(Record):
    """The threshold key of one epoch, with the signature that proves enough working key shares."""

    TAG = "gristmill.federation-key/1"

    chain_id: Bytes32
    epoch: U32
    commitments: Annotated[tuple[GroupKey, ...], Meta(min_length=1, max_length=MEMBERS_MAX)]
    qualified: tuple[U16, ...]  # dealers whose dealings make up the key
    activation: GroupSignature  # over `activation_message`

    @property
    def key(self) -> bytes:
        """96 bytes: the ONE key that verifies every certificate."""
        return self.commitments[0]

    @property
    def digest(self) -> bytes:
        """32 bytes; certificates commit to it."""
        return tagged_hash(self.TAG, encode(self))


def activation_message(chain_id: bytes, epoch: int, commitments: tuple[bytes, ...]) -> bytes:
    """32 bytes that the replicas sign with their new key shares before anything depends on them."""
    body = chain_id + epoch.to_bytes(4, "big") + b"".join(commitments)
    return tagged_hash("gristmill/activation/v1", body)
