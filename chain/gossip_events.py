"""What comes into the deciding half of a chain node, and what goes out of it.

**The edge's contract**: effects are carried out in their order, and what one step saves is on disk
before anything that stands after it is sent.
Pure.
"""

from dataclasses import dataclass

from chain.peers.connection import Connection
from chain.records.block import Block
from chain.records.evidence import Finality
from chain.records.peer_address import PeerAddress
from chain.scripts import Job, Verdict
from chain.tree import TipChanged
from chain.validation import ParentView


@dataclass(frozen=True, kw_only=True, slots=True)
class PeerConnected:
    """A connection stands; `peer` is the edge's number for it."""

    peer: int
    outbound: bool
    kind: Connection | None = None  # None: named in the settings, or inbound
    endpoint: str = ""  # that was dialled
    address: PeerAddress | None = None  # of the other side


@dataclass(frozen=True, kw_only=True, slots=True)
class DialFailed:
    """The answer to `Dial`, where no connection stands."""

    endpoint: str


@dataclass(frozen=True, kw_only=True, slots=True)
class PeerNamed:
    """The operator wants this connection, `always` or once."""

    endpoint: str
    always: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class PeerUnnamed:
    """The operator does not want it always any more."""

    endpoint: str


@dataclass(frozen=True, kw_only=True, slots=True)
class PeerUnwanted:
    """The operator wants this connection closed."""

    peer: int


@dataclass(frozen=True, kw_only=True, slots=True)
class PeerLost:
    """The connection is gone."""

    peer: int


@dataclass(frozen=True, kw_only=True, slots=True)
class MessageCame:
    """A whole frame with a fitting checksum."""

    peer: int
    command: str
    payload: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class BlockSubmitted:
    """A block from our own door; errors are raised to whoever knocked."""

    data: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class FinalitySubmitted:
    """The federation's word from our own door; errors are raised."""

    finality: Finality


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TransactionSubmitted:
    """A transaction from our own door; errors are raised to whoever knocked."""

    data: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class ScriptsChecked:
    """The answer to `CheckScripts`."""

    block: bytes  # 32, its hash
    verdict: Verdict


Event = (
    PeerConnected
    | PeerLost
    | DialFailed
    | PeerNamed
    | PeerUnnamed
    | PeerUnwanted
    | MessageCame
    | BlockSubmitted
    | FinalitySubmitted
    | TransactionSubmitted
    | ScriptsChecked
    | Tick
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Send:
    """One message to one peer."""

    peer: int
    command: str
    payload: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Announce:
    """One message to every peer but the one that it came from; never reaches the edge."""

    command: str
    payload: bytes
    transactions: bool = False  # not told to those who do not want to hear of transactions


@dataclass(frozen=True, kw_only=True, slots=True)
class Dial:
    """Connect to host:port; the answer is `PeerConnected` or `DialFailed`."""

    endpoint: str
    kind: Connection


@dataclass(frozen=True, kw_only=True, slots=True)
class Drop:
    """Close the connection; if `discourage`, do not talk with that address for a while."""

    peer: int
    reason: str
    discourage: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class SaveBlock:
    """Keep a valid block."""

    block: Block


@dataclass(frozen=True, kw_only=True, slots=True)
class SaveFinal:
    """This block is of the final chain; others at its height may go."""

    view: ParentView


@dataclass(frozen=True, kw_only=True, slots=True)
class SaveFinality:
    """Keep the federation's word on a block."""

    finality: Finality


@dataclass(frozen=True, kw_only=True, slots=True)
class SaveEvidence:
    """Keep verified evidence; `fault`: the federation contradicted itself, a person must look."""

    data: bytes
    fault: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class ServeBlocks:
    """Send these blocks from the store, and a notfound for those that are not there."""

    peer: int
    hashes: tuple[bytes, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ServeHeaders:
    """Send the certified headers after `block`, which the peer has at `height`."""

    peer: int
    height: int
    block: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class ServeCoreHeaders:
    """Send the plain headers of final blocks after the first of `locator` that is final here."""

    peer: int
    locator: tuple[bytes, ...]  # 32 bytes each, newest first
    stop: bytes  # 32, the last one that is wanted
    inventory: bool = False  # only their hashes are wanted, in an inv


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckScripts:
    """Run these, beside everything else, and say so with `ScriptsChecked`."""

    block: bytes  # 32, hash of the block that waits for it
    jobs: tuple[Job, ...]


Saved = SaveBlock | SaveFinal | SaveFinality | SaveEvidence
Taken = Saved | TipChanged | Announce | CheckScripts
"""What `chain.intake` answers."""
Effect = (
    Saved
    | TipChanged
    | Send
    | Dial
    | Drop
    | ServeBlocks
    | ServeHeaders
    | ServeCoreHeaders
    | CheckScripts
)
Effects = tuple[Effect, ...]
