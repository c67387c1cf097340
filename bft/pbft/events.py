"""What goes into the core and what comes out: the driver contract.

The driver calls `Replica.step` with one event at a time, then, in this order:
1. journals all `Persist` of that step in one transaction (several steps may share one fsync);
2. calls `step(Durable(lsn))` with the last lsn that is durable;
3. hands out each `Send` whose `after_lsn` is durable, and only then;
4. executes each `Decided`, stores batch and proof, and answers with `Executed`, in order; in the
   same order it obeys `InstallState` and stores what `Refilled` brings.
A message to oneself is never sent.  Time enters as `now_ms` and `wall_ms` of `step` alone.
Pure.
"""

from dataclasses import dataclass

from bft.pbft.messages import Verified


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed; every 25 to 50 ms."""


@dataclass(frozen=True, slots=True)
class Received:
    """A message that `messages.open_message` let in."""

    message: Verified


@dataclass(frozen=True, slots=True)
class Submitted:
    """A signed request of a client, verified by `open_request` at the door."""

    request: bytes


@dataclass(frozen=True, slots=True)
class Durable:
    """The journal is durable through `lsn`."""

    lsn: int


@dataclass(frozen=True, slots=True)
class Executed:
    """The application has executed through `sequence`.

    `state_root` (32 bytes) counts only where `Decided.checkpoint` was set.  After a restart the
    driver may repeat it for checkpoints that it replayed.  With `state`, whose root it must be
    (`bft.pbft.snapshots.state_root`), this replica can serve the state to one that is far behind.
    `last` is the epoch's last sequence (`bft.pbft.epoch.boundary`): from the batch on that ended
    the epoch, in every `Executed`.
    """

    sequence: int
    state_root: bytes
    state: bytes | None = None
    last: int | None = None


@dataclass(frozen=True, slots=True)
class Learned:
    """A decided batch with its encoded QuorumProof, from whatever source: its proof counts.

    For replicas that follow a published log because they are too far behind for their peers.
    """

    sequence: int
    batch: bytes
    proof: bytes


@dataclass(frozen=True, slots=True)
class HistoryRead:
    """Answer to `ServeHistory`: (sequence, batch, proof) in order, as many as it cares to send."""

    to: int
    entries: tuple[tuple[int, bytes, bytes], ...]


Event = Tick | Received | Submitted | Durable | Executed | HistoryRead | Learned


@dataclass(frozen=True, slots=True)
class Persist:
    """Append `record` to the journal.  lsn counts up by 1."""

    lsn: int
    record: bytes


@dataclass(frozen=True, slots=True)
class Send:
    """Send `message` (an encoded frame) to replica `to`, or to all others when `to` is None."""

    to: int | None
    message: bytes
    after_lsn: int


@dataclass(frozen=True, slots=True)
class Decided:
    """Execute `batch`: next in order, exactly once.  `proof` is an encoded QuorumProof."""

    sequence: int
    batch: bytes
    proof: bytes
    checkpoint: bool


@dataclass(frozen=True, slots=True)
class StableCheckpoint:
    """A strong quorum reached this state at `sequence`.  `proof` is an encoded StableProof."""

    sequence: int
    state_root: bytes
    proof: bytes


@dataclass(frozen=True, slots=True)
class EpochEnded:
    """A strong quorum reached the state at the epoch's last sequence: this replica votes no more.

    `proof` is an encoded StableProof.  Comes after the `StableCheckpoint` of that sequence, and
    once more after a restart.  The driver starts the next epoch's replica from the same journal.
    """

    sequence: int
    state_root: bytes
    proof: bytes


@dataclass(frozen=True, slots=True)
class InstallState:
    """Replace the application's state by `state`, that after `sequence`, which a quorum signed.

    In the transaction of this step.  Batches `first_missing` to `sequence` are skipped; they come
    later, one by one, as `Refilled`.  `state_root` is the root of `state`.
    """

    sequence: int
    state_root: bytes
    state: bytes
    first_missing: int


@dataclass(frozen=True, slots=True)
class Refilled:
    """A batch that `InstallState` had skipped, in order: store it.  `proof` as in `Decided`."""

    sequence: int
    batch: bytes
    proof: bytes


@dataclass(frozen=True, slots=True)
class Prune:
    """Journal records with lsn <= `up_to_lsn` are no longer needed for recovery."""

    up_to_lsn: int


@dataclass(frozen=True, slots=True)
class Accuse:
    """`evidence` (encoded envelopes, and the batch where one is at fault) convicts `culprit`."""

    culprit: int
    text: str
    evidence: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class ServeHistory:
    """Read decided batches from_sequence..to_sequence for replica `to`; answer `HistoryRead`."""

    to: int
    from_sequence: int
    to_sequence: int


@dataclass(frozen=True, slots=True)
class Halt:
    """This replica must stop and be looked at: it cannot go on without risking a fork."""

    reason: str


Effect = (
    Persist
    | Send
    | Decided
    | InstallState
    | Refilled
    | StableCheckpoint
    | EpochEnded
    | Prune
    | Accuse
    | ServeHistory
    | Halt
)
