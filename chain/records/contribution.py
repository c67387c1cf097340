"""What a miner says in a cycle: registration, commitment, reveal; and what it was assigned.

Pure.
"""

from typing import Annotated

from msgspec import Meta

from bft.codec.canonical import Record
from bft.codec.types import U8, U16, U32, U63, Bytes32, IdentityKey, Name
from bft.crypto.hashing import tagged_hash


class Profile(Record):
    """What the miner's machine can do, by its own benchmark on the job's real segment."""

    device: Name  # "cpu", "cuda:0", ...
    capacity: U63  # parameter-samples per second
    memory_bytes: U63


class Register(Record):
    """A miner asks for work in `cycle`."""

    TAG = "gristmill.register/1"

    cycle: U63
    profile: Profile


class WorkUnit(Record):
    """One segment to train on one chunk of the data, by one miner."""

    unit: U32  # position in the cycle's assignment
    miner: IdentityKey
    segment: U16
    chunk: U32  # no two units of a cycle share a chunk
    steps: U32


class Standing(Record):
    """What a miner's finished work says for the next cycles (chain/rules/standing.py)."""

    units: U16  # that earned tickets in the last cycle in which it had any
    segment: U16  # that it trained then
    cycle: U63  # that cycle
    barred_until: U63  # the first cycle in which it may have work again; 0: it is not barred
    passed: U8 = 0  # its audited units that were its own work, at most `trial_audits`


class UpdateCommitment(Record):
    """The miner binds itself to an update that nobody can see yet."""

    TAG = "gristmill.update-commitment/1"

    cycle: U63
    unit: U32
    commitment: Bytes32


class StorageReceipt(Record):
    """A replica holds these bytes and signs so; `weak` receipts make a reveal available."""

    TAG = "gristmill.storage-receipt/1"

    chain_id: Bytes32
    cycle: U63
    miner: IdentityKey
    digest: Bytes32
    size: U32


class ResourceReport(Record):
    """What the kernel says that training used.  Claims for energy statistics, never for tickets."""

    cpu_user_ms: U63
    cpu_system_ms: U63
    wall_ms: U63
    memory_peak_bytes: U63
    energy_mj: U63  # millijoules
    estimated: U8  # 1 when energy_mj is CPU time times an assumed power


class UpdateReveal(Record):
    """The miner opens its commitment; the bytes are already stored by `weak` replicas."""

    TAG = "gristmill.update-reveal/1"

    cycle: U63
    unit: U32
    salt: Bytes32
    digest: Bytes32  # SHA-256 of the update's bytes
    size: U32  # bytes
    parameters: U63  # trained, by the miner's count; must be the segment's
    resources: ResourceReport
    receipts: Annotated[tuple[bytes, ...], Meta(max_length=256)]  # sealed StorageReceipts


def commitment_digest(
    chain_id: bytes, cycle: int, unit: int, miner: bytes, digest: bytes, salt: bytes
) -> bytes:
    """32 bytes: hides the update, and binds it to this miner, unit and cycle."""
    place = cycle.to_bytes(8, "big") + unit.to_bytes(4, "big")
    return tagged_hash("gristmill/commitment/v1", chain_id + place + miner + digest + salt)


class UploadAuthorization(Record):
    """The miner asks a replica to store these bytes.  Sealed by the miner, sent with the bytes."""

    TAG = "gristmill.upload/1"

    chain_id: Bytes32
    cycle: U63
    digest: Bytes32
    size: U32
