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
FEDERATION_KEY_BYTES_MAX = 512 * 1024
"""An encoded FederationKey: 100 members with certificates of 4096 bytes and 100 commitments."""

Address = Annotated[bytes, Meta(min_length=3, max_length=255)]
"""host:port, ASCII."""


class MemberRecord(Record):
    """One consortium operator's replica.  Its index is its position in its epoch's list."""

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
    """The certificate of one epoch: its members, and their sharing of the ONE federation key.

    The signature is under the federation key, which never changes, so whoever knows chain id and
    key checks the record alone (chain/epochs.py).  In epoch 0 its own members make it, later those
    of the epoch before, for one list only: an epoch has one certificate.
    """

    TAG = "gristmill.federation-key/1"

    chain_id: Bytes32
    epoch: U32
    members: Annotated[tuple[MemberRecord, ...], Meta(min_length=1, max_length=MEMBERS_MAX)]
    commitments: Annotated[tuple[GroupKey, ...], Meta(min_length=1, max_length=MEMBERS_MAX)]
    qualified: tuple[U16, ...]  # dealers, by their index in the epoch before (of epoch 0: in it)
    activation: GroupSignature  # over `activation_message`

    @property
    def key(self) -> bytes:
        """96 bytes: the ONE key that verifies every certificate."""
        return self.commitments[0]

    @property
    def digest(self) -> bytes:
        """32 bytes; certificates commit to it."""
        return tagged_hash(self.TAG, encode(self))

    @property
    def membership(self) -> Membership:
        """The replicas of this epoch."""
        keys = tuple(member.key for member in self.members)
        return Membership(chain_id=self.chain_id, epoch=self.epoch, keys=keys)

    @property
    def message(self) -> bytes:
        """32 bytes that `activation` signs."""
        return activation_message(self.chain_id, self.epoch, self.members, self.commitments)


def members_digest(members: tuple[MemberRecord, ...]) -> bytes:
    """32 bytes that name a list of members."""
    return tagged_hash("gristmill.members/1", encode(members))


def activation_message(
    chain_id: bytes,
    epoch: int,
    members: tuple[MemberRecord, ...],
    commitments: tuple[bytes, ...],
) -> bytes:
    """32 bytes under the certificate of an epoch."""
    body = chain_id + epoch.to_bytes(4, "big") + members_digest(members) + b"".join(commitments)
    return tagged_hash("gristmill/activation/v1", body)
