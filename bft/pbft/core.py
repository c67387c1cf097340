"""The state of one replica, and the few things that every part of it does: persist, send, accuse.

`normal`, `stable`, `views` and `catchup` are functions over it; `replica` dispatches to them.
Pure: the state changes in place, and whatever leaves it leaves as an effect.
"""

from collections import deque
from dataclasses import dataclass, field

from bft.codec.canonical import Record
from bft.errors import ProtocolViolation
from bft.pbft.certificates import Verifier
from bft.pbft.checkpoint import Checkpoints, chain_start
from bft.pbft.config import NOTHING, Config, Inherited
from bft.pbft.events import Accuse, Effect, Halt, Persist, Send
from bft.pbft.journal import Began, encode_entry
from bft.pbft.log import Log
from bft.pbft.messages import Message, StableProof, StateManifest, Verified, sign_message
from bft.pbft.pool import Digests, Pool
from bft.pbft.snapshots import Snapshot
from bft.pbft.view_change import ViewChanges

DOUBTED_MAX = 4_096
PACES_MAX = 256
FORGIVING_BATCHES = 32  # decided in one view, they halve the timeout again
ACCUSATIONS_MAX = 64  # of one culprit in one process life; more prove nothing more


@dataclass(slots=True)
class Peer:
    """What another replica says of itself, and when we last spent effort on it."""

    view: int = 0  # the highest that it signed for
    wished_view: int = 0  # where it would rather be, by its last STATUS
    low: int = 0
    decided: int = 0
    view_change_ms: int | None = None  # its last VIEW-CHANGE that we verified
    checked_ms: int | None = None  # its last NEW-VIEW that we verified
    answered_ms: int | None = None  # its last STATUS that we answered
    bodies: int = 0  # batches sent to it since bodies_ms
    bodies_ms: int = 0
    new_view_ms: int | None = None  # our last NEW-VIEW to it
    serving_ms: int | None = None  # history is being read for it since
    serving_past: bool = False  # and it asked as a member of the epoch before
    past_ms: int | None = None  # its last STATUS in that epoch that we answered
    chunks: int = 0  # of a state, sent to it since chunks_ms
    chunks_ms: int = 0
    accusations: int = 0
    vote: Verified | None = None  # of those that it signed, one with the highest sequence
    vote_sequence: int = 0
    commit: Verified | None = None  # the COMMIT of its with the highest sequence
    commit_sequence: int = 0


@dataclass(slots=True)
class Gap:
    """Batches that a state transfer skipped and that are still to be stored."""

    next: int
    last: int


@dataclass(slots=True)
class Transfer:
    """A state that is being fetched, chunk by chunk, from several replicas."""

    sequence: int  # a stable state after this one, or a later one
    proof: StableProof | None = None  # with the hashes: once the manifest is here
    hashes: tuple[bytes, ...] = ()
    chunks: dict[bytes, bytes] = field(default_factory=dict)  # verified, by leaf hash
    asked: dict[int, tuple[int, int]] = field(default_factory=dict)  # index -> (whom, until)
    banned: set[int] = field(default_factory=set)  # sent a wrong chunk
    newer: dict[int, StateManifest] = field(default_factory=dict)  # from who lacks this state
    turn: int = 0  # the replica that was asked last
    failures: int = 0  # questions without an answer since the last piece
    until: int = 0  # for the manifest
    first_lsn: int = 0  # of its journal records; 0 when there is none


class Core:
    """One replica."""

    def __init__(self, config: Config) -> None:
        members = config.membership
        self.config = config
        self.members = members
        self.index = config.index
        self.verifier = Verifier(members)
        self.others = tuple(i for i in range(members.n) if i != config.index)
        self.peers = {i: Peer() for i in self.others}

        self.now = 0  # monotonic milliseconds of this step
        self.wall = 0  # Unix milliseconds of this step
        self.effects: list[Effect] = []
        self.halted = False
        self.probation = False  # lately started: listens, and does not vote yet
        self.probation_until: int | None = None
        self.inherited: Inherited = NOTHING
        self.muted = False  # was silent when it was last looked at
        self.heard: set[int] = set()  # replicas that told their status since the start

        self.lsn = 0  # of the last record that we asked to persist
        self.durable = 0
        self.own_votes: deque[tuple[int, Verified]] = deque()  # count when durable through lsn
        self.prunes: deque[tuple[int, int]] = deque()  # (when durable through, prune up to)

        self.view = 0  # last installed
        self.pending_view = 0  # last asked for; we are active when it is installed
        self.good_view = 0  # last in which we saw lasting progress
        self.progress = 0  # batches decided in this view since that counted last
        self.new_view: tuple[Verified, int] | None = None
        self.view_change: tuple[Verified, int] | None = None
        self.view_changes = ViewChanges()
        self.carried: dict[int, Verified] = {}  # proposals of the NEW-VIEW by sequence
        self.suspicion: str | None = None  # why this view's primary shall go, whatever comes
        self.overdue: str | None = None  # why it should go as things stand
        self.told_wish = 0  # the last view that we said we would rather be in
        self.reign_ms = 0  # how long the installed view was used
        self.decided_ms: int | None = None  # when we learnt of the last decision
        self.ticked_ms = 0
        self.paces: deque[int] = deque(maxlen=PACES_MAX)  # milliseconds from our vote to a decision
        self.view_deadline: int | None = None
        self.retransmit_at = 0
        self.retransmit_ms = config.retransmit_ms
        self.stalled_since: int | None = None

        self.log = Log(config.window, config.first)
        self.next_sequence = config.first + 1
        self.decision_ms = 0  # how long our last decided proposal took
        self.last_timestamp = 0
        self.last_decided = config.first
        self.last_executed = config.first
        self.chain = chain_start(members, config.first)  # through last_decided
        self.chains: dict[int, bytes] = {}  # at checkpoints above the low watermark
        self.delivered: dict[int, int] = {}  # sequence -> lsn, above the low watermark

        self.began: tuple[Began, int] | None = None
        self.stable: tuple[StableProof, int] | None = None  # of this epoch
        self.target: StableProof | None = None  # stable elsewhere; we have yet to execute so far
        self.checkpoints = Checkpoints(
            members, config.checkpoint_interval, config.window, config.first
        )
        self.own_checkpoints: dict[int, tuple[Verified, int]] = {}

        self.pool = Pool(
            members.chain_id,
            own=config.index,
            replicas=members.n,
            per_client=config.pool_client,
            requests=config.pool_requests,
            size=config.pool_bytes,
        )
        self.doubted = Digests(DOUBTED_MAX)  # forwarded to us although we know them as executed
        self.status_at = 0
        self.fresh: list[bytes] = []  # requests of our clients, not yet passed on
        self.flushed_ms: int | None = None
        self.forward_at = 0
        self.fetch_at = 0
        self.helper = config.index
        self.history_until: int | None = None  # an answer is awaited so long
        self.history_peer = config.index
        self.history_last = 0  # through which it was asked
        self.history_failures = 0  # questions without an answer since the last progress

        self.snapshots: dict[int, Snapshot] = {}  # our own states that we can serve
        self.pinned: dict[int, int] = {}  # sequence -> until when somebody may fetch it
        self.transfer: Transfer | None = None
        self.transfer_rest = 0  # no new transfer before
        self.gap: Gap | None = None
        self.refill_until: int | None = None
        self.refill_peer = config.index

    @property
    def active(self) -> bool:
        """Whether this replica votes: it has left no view that it has not replaced."""
        return self.pending_view == self.view and not self.probation and not self.silent

    @property
    def silent(self) -> bool:
        """Whether it signs nothing yet, because somebody with its key may have signed it."""
        return self.last_executed < self.inherited.sequence

    @property
    def wished_view(self) -> int:
        """Where this replica would rather be: one view further, or where it is."""
        content = self.suspicion is None and self.overdue is None
        return self.pending_view + (self.active and not content)

    @property
    def primary(self) -> int:
        """Primary of the installed view."""
        return self.members.primary(self.view)

    def scaled(self, base_ms: int) -> int:
        """A timeout, doubled for each view that failed since the last good one."""
        return min(base_ms << self.failed(), max(base_ms, self.config.view_change_ms_max))

    def failed(self) -> int:
        """Views that failed since the last good one, as far as they lengthen a timeout."""
        longest = (self.config.view_change_ms_max // self.config.view_change_ms).bit_length()
        return min(max(0, self.pending_view - self.good_view - 1), longest)

    def made_progress(self) -> None:
        """One more batch was decided in this view; enough of them forgive one failed view.

        One at a time, or a federation whose links are slower than the shortest timeout would
        change views again as soon as it works.
        """
        self.view_deadline = None
        self.progress += 1
        if self.progress >= FORGIVING_BATCHES:
            self.progress = 0
            failed = self.failed()
            self.good_view = self.view - failed if failed else self.view

    def behind(self) -> bool:
        """Whether others are provably so far ahead that we cannot judge the primary."""
        if self.target is not None and self.target.sequence > self.last_decided:
            return True
        ahead = [i for i in self.others if self.peers[i].low > self.last_decided]
        return len(ahead) >= self.members.weak

    def persist(self, record: Record) -> int:
        """Journal a record; returns its lsn."""
        self.lsn += 1
        self.effects.append(Persist(lsn=self.lsn, record=encode_entry(record)))
        return self.lsn

    def sign(self, message: Message, attachment: bytes = b"") -> Verified:
        """Our own signed message."""
        return sign_message(message, self.members, self.config.sign, attachment)

    def send(self, to: int | None, message: Verified, after_lsn: int = 0) -> None:
        """To one replica, or to all others, once the journal is durable through `after_lsn`."""
        if self.others:
            self.effects.append(Send(to=to, message=message.frame, after_lsn=after_lsn))

    def vote(self, message: Verified, lsn: int) -> None:
        """Send our own vote to all; count it here when it is durable."""
        self.send(None, message, lsn)
        self.own_votes.append((lsn, message))

    def accuse(self, culprit: int, text: str, evidence: tuple[bytes, ...]) -> None:
        """Publish a proof of misbehaviour; if it is the primary's, leave its view."""
        if culprit == self.index:
            self.halt(f"our own key signed what we never said: {text}")
            return
        peer = self.peers[culprit]
        peer.accusations += 1
        if peer.accusations <= ACCUSATIONS_MAX:
            self.effects.append(Accuse(culprit=culprit, text=text, evidence=evidence))
        if culprit == self.primary:
            self.suspect(text)

    def convict(self, violation: ProtocolViolation) -> None:
        """`accuse`, from the error that found it."""
        self.accuse(violation.culprit, str(violation), violation.evidence)

    def suspect(self, reason: str) -> None:
        """Wish for another view until this one is left."""
        if self.active:
            self.suspicion = self.suspicion or reason

    def halt(self, reason: str) -> None:
        """Stop for good: going on could help a fork."""
        self.halted = True
        self.effects.append(Halt(reason=reason))
