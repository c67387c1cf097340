"""What goes into a coordinator replica and what comes out, besides PBFT's own (bft/pbft/events.py).

The driver calls `CoordinatorReplica.step(event, now_ms, wall_ms)` and then, for the effects of that
one step, in this order:
1. writes all `Persist`, `Append`, `SaveState`, `Installed`, `Restored` and `Prune` in ONE durable
   transaction;
2. calls `step(Durable(last lsn))`, whose effects are treated the same way;
3. hands out every `Send` whose `after_lsn` is durable;
4. does the rest (`Answered`, `Evaluate`, `MakeSnapshot`, `DrawSeed`, `KeepSecrets`, `Announce`,
   `ServeHistory`, `Accuse`, `Halt`), reporting results as events.
Pure.
"""

from dataclasses import dataclass

from bft.codec.canonical import Record
from bft.dkg.secrets import Secrets
from bft.pbft import events as pbft
from chain.bitcoin.ledger import Coins
from chain.records.evaluation import EvaluationRow, NextModel
from coordinator.cycle.duties import Measurement, OuterStep
from coordinator.cycle.machine import Answer


@dataclass(frozen=True, slots=True)
class Evaluated:
    """The evaluation of `Evaluate` is done."""

    cycle: int
    rows: tuple[EvaluationRow, ...]


@dataclass(frozen=True, slots=True)
class Stepped:
    """The outer step of `MakeSnapshot` is done; the snapshots' bytes are stored."""

    cycle: int
    models: tuple[NextModel, ...]  # the full step's, then each halving's
    records: int  # held-out predictions


@dataclass(frozen=True, slots=True)
class BlockArrived:
    """Somebody sent a block; unchecked."""

    block: bytes
    coins: Coins | None = None  # that are here; those of the tip let the block spend


@dataclass(frozen=True, slots=True)
class DraftArrived:
    """A winner asks for a signature over its draft (profile signet); unchecked."""

    block: bytes
    coins: Coins | None = None  # as `BlockArrived`'s


@dataclass(frozen=True, slots=True)
class SecretsKept:
    """What `DrawSeed` or `KeepSecrets` asked for is durable; these are all secrets now."""

    secrets: Secrets


Event = pbft.Event | Evaluated | Stepped | BlockArrived | DraftArrived | SecretsKept


@dataclass(frozen=True, slots=True)
class Append:
    """A batch was executed: keep it with its proof, and these new entries of the score log."""

    sequence: int
    batch: bytes
    proof: bytes
    first_index: int  # of the first record in the score log
    records: tuple[Record, ...]  # the first is the `Ordered` leaf, to which the proof belongs


@dataclass(frozen=True, slots=True)
class SaveState:
    """The application's state after `sequence`; only the newest two need to be kept."""

    sequence: int
    state: bytes


@dataclass(frozen=True, slots=True)
class Installed:
    """The application's state after `sequence` came from others; a part of the log is missing.

    Keep `state` as the newest, and `base`, the state before the gap, until the gap is closed.
    """

    sequence: int  # the last whose batch is not stored
    state: bytes
    state_root: bytes
    end_index: int  # of the first log entry after the gap
    base_sequence: int  # the last that was executed before
    base_index: int  # of the first log entry that is missing
    base: bytes


@dataclass(frozen=True, slots=True)
class Restored:
    """A batch inside the gap was executed once more: keep it, it is the next one there."""

    append: Append
    base: bytes | None  # the state after it, now and then: replaces the one before the gap
    closed: bool  # it was the last


@dataclass(frozen=True, slots=True)
class Answered:
    """What became of the requests of an executed batch."""

    answers: tuple[Answer, ...]


@dataclass(frozen=True, slots=True)
class Evaluate:
    """Fetch the updates and measure them; answer with `Evaluated`.  Asked for once a cycle."""

    measurement: Measurement


@dataclass(frozen=True, slots=True)
class MakeSnapshot:
    """Fetch the updates, make the outer step, store the bytes; answer with `Stepped`."""

    step: OuterStep


@dataclass(frozen=True, slots=True)
class DrawSeed:
    """Draw 32 random bytes for a session, keep them durably, then answer with `SecretsKept`."""

    session: bytes


@dataclass(frozen=True, slots=True)
class KeepSecrets:
    """Keep these in place of all that were kept, durably; answer with `SecretsKept`."""

    secrets: Secrets


@dataclass(frozen=True, slots=True)
class Announce:
    """A log record that people and dashboards want to hear of, with the batch's agreed time."""

    agreed_ms: int
    record: Record


@dataclass(frozen=True, slots=True)
class BlockAccepted:
    """This block was checked and is voted for; keep its bytes."""

    height: int
    block_hash: bytes
    block: bytes


@dataclass(frozen=True, slots=True)
class DraftSigned:
    """The draft of the last `DraftArrived` was checked, and this replica signed it."""

    key: bytes  # 33, its identity
    signature: bytes  # 64


@dataclass(frozen=True, slots=True)
class BlockRefused:
    """The block of the last `BlockArrived` or `DraftArrived` was refused."""

    code: str
    text: str


Effect = (
    pbft.Effect
    | Append
    | SaveState
    | Installed
    | Restored
    | Answered
    | Evaluate
    | MakeSnapshot
    | DrawSeed
    | KeepSecrets
    | Announce
    | BlockAccepted
    | DraftSigned
    | BlockRefused
)
