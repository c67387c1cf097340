"""What goes into a miner's session and what comes out; the rules stand in miner/session.py.

The edge (miner/agent.py) carries each action out, several at once, and answers each with exactly
one event that names it.  What opens a commitment is on disk before `Trained` is said.
Pure.
"""

from dataclasses import dataclass

from bft.codec.canonical import Record
from bft.codec.types import U16, U32, U63, Bytes32
from chain.records.certificate import BlockCertificate
from chain.records.contribution import ResourceReport, WorkUnit
from chain.records.phase import Phase
from chain.records.score_log import Assigned, Scored


class Update(Record):
    """A trained unit: what opens its commitment.  The bytes lie beside it, under their digest."""

    TAG = "miner.update/1"

    cycle: U63
    unit: U32
    segment: U16
    salt: Bytes32
    digest: Bytes32  # SHA-256 of the update's bytes
    size: U32  # bytes
    resources: ResourceReport


# Actions.


@dataclass(frozen=True, slots=True)
class Register:
    """Have a registration for `cycle` ordered; answer with `Answered`."""

    cycle: int


@dataclass(frozen=True, slots=True)
class FetchAssignment:
    """Answer with `AssignmentSeen`."""

    cycle: int


@dataclass(frozen=True, slots=True)
class Train:
    """Train a unit from the model `base`, and keep the update and its salt on disk: `Trained`.

    `seed` is the assignment's: it says which records are the unit's chunk.
    """

    cycle: int
    base: bytes
    seed: bytes
    unit: WorkUnit


@dataclass(frozen=True, slots=True)
class Commit:
    """Have the update's commitment ordered; answer with `Answered`."""

    update: Update


@dataclass(frozen=True, slots=True)
class Upload:
    """Store the update's bytes at the replicas; answer with `Uploaded`."""

    update: Update


@dataclass(frozen=True, slots=True)
class Reveal:
    """Have the update's reveal ordered; answer with `Answered`."""

    update: Update
    receipts: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class FetchScores:
    """Answer with `ScoresSeen`."""

    cycle: int


@dataclass(frozen=True, slots=True)
class FetchCertificate:
    """Answer with `CertificateSeen`."""

    cycle: int


@dataclass(frozen=True, slots=True)
class MakeBlock:
    """Build the block that this certificate allows, and give it to all: `BlockOffered`."""

    certificate: bytes


@dataclass(frozen=True, slots=True)
class KeepContribution:
    """Verify this miner's rows under the certificate and keep them: `ContributionKept`."""

    scored: Scored
    certificate: bytes


Action = (
    Register
    | FetchAssignment
    | Train
    | Commit
    | Upload
    | Reveal
    | FetchScores
    | FetchCertificate
    | MakeBlock
    | KeepContribution
)


# Effects that nobody answers.


@dataclass(frozen=True, slots=True)
class StopTraining:
    """Training of this cycle and of those before is too late: stop it."""

    cycle: int


@dataclass(frozen=True, slots=True)
class Forget:
    """The cycle is over for this miner: its kept updates may be deleted."""

    cycle: int


@dataclass(frozen=True, slots=True)
class Report:
    """Tell whoever watches.  `fields` in the order in which people read them."""

    event: str
    fields: tuple[tuple[str, int | str], ...]


Effect = Action | StopTraining | Forget | Report


# Events.


@dataclass(frozen=True, slots=True)
class Restored:
    """At the start: updates that were kept before the last end of this process."""

    updates: tuple[Update, ...]


@dataclass(frozen=True, slots=True)
class Seen:
    """A correct replica has reached this place.  Comes again and again: the session's clock."""

    cycle: int
    phase: Phase


@dataclass(frozen=True, slots=True)
class AssignmentSeen:
    """The cycle's assignment, or that there is none."""

    action: FetchAssignment
    assigned: Assigned | None


@dataclass(frozen=True, slots=True)
class Trained:
    """The update is on disk."""

    action: Train
    update: Update


@dataclass(frozen=True, slots=True)
class Answered:
    """What became of a request: "accepted", or a refusal's word and text."""

    action: Register | Commit | Reveal
    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Uploaded:
    """Enough replicas hold the bytes."""

    action: Upload
    receipts: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class ScoresSeen:
    """The cycle's scores, or that there are none."""

    action: FetchScores
    scored: Scored | None


@dataclass(frozen=True, slots=True)
class CertificateSeen:
    """The cycle's certificate of the highest rank, verified, and its bytes; or none so far."""

    action: FetchCertificate
    certificate: BlockCertificate | None
    data: bytes


@dataclass(frozen=True, slots=True)
class BlockOffered:
    """The block was built; `accepted` replicas and nodes took it."""

    action: MakeBlock
    height: int
    block_hash: bytes
    accepted: int


@dataclass(frozen=True, slots=True)
class ContributionKept:
    """The contribution certificate is in `name`, or was not true, and `name` is empty."""

    action: KeepContribution
    name: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The action had no result; it is asked for again if it is still owed when the clock ticks."""

    action: Action
    reason: str


Event = (
    Restored
    | Seen
    | AssignmentSeen
    | Trained
    | Answered
    | Uploaded
    | ScoresSeen
    | CertificateSeen
    | BlockOffered
    | ContributionKept
    | Failed
)
