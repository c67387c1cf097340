"""One replica's process around the real CoordinatorReplica: the driver contract, in virtual time.

One turn at a time: step, write, sync, tell it so, then send (coordinator/effects.py).  A crash can
come between any two of these; the process then forgets everything but its disk.
"""

from __future__ import annotations

from collections import ChainMap, deque
from collections.abc import Callable
from enum import Enum
from random import Random
from typing import TYPE_CHECKING

from bft.codec.canonical import Record, encode
from bft.codec.envelope import seal
from bft.crypto.hashing import sha256, tagged_hash
from bft.crypto.identity import PrivateKey
from bft.errors import FederationError
from bft.pbft import events as pbft
from bft.pbft.config import Config
from bft.pbft.core import Core
from bft.pbft.journal import Forgot
from bft.pbft.messages import claimed_epoch
from chain.node.coins import CoinTable
from chain.records.contribution import StorageReceipt
from chain.validation import genesis_view
from coordinator.application import Application, resume
from coordinator.cycle.duties import Measurement, OuterStep
from coordinator.cycle.state import Phase
from coordinator.durability import may_lag
from coordinator.effects import (
    Append,
    DrawSeed,
    Effect,
    Evaluate,
    Evaluated,
    Event,
    KeepSecrets,
    MakeSnapshot,
    Restored,
    SecretsKept,
    Stepped,
)
from coordinator.epochs import Place, note, place
from coordinator.observer import Observer
from coordinator.replica import CoordinatorReplica
from tests.sim import measuring
from tests.sim.disk import Disk, Kept
from tests.sim.reading import Reader, make_observer
from tests.sim.spending import CountedCoins

if TYPE_CHECKING:
    from tests.sim.world import World

TICK_MS = 50
SYNC_MS_MAX = 2
WORK_MS_MAX = 400  # measuring, and making the outer step
SKEW_MS_MAX = 300  # of a replica's wall clock
TURN_EVENTS_MAX = 64  # events that share one transaction
INBOX_MAX = 4_096  # events that wait; more are lost, as on a link whose queue is full


class Moment(Enum):
    """Where in a turn a replica stands; each is a place to crash."""

    STEPPED = "stepped"  # nothing of the turn is written
    SYNCED = "synced"  # all of it is on disk, nothing was sent
    SENT = "sent"


def primary_in(phase: Phase, moment: Moment) -> Callable[[Host, Moment], bool]:
    """A condition: the primary's own state stands in `phase`, and it is at `moment`."""

    def holds(host: Host, at: Moment) -> bool:
        replica = host.replica
        if not isinstance(replica, CoordinatorReplica) or replica.state.phase != phase:
            return False
        return at is moment and replica.primary == replica.index

    return holds


def anybody_in(phase: Phase, cycle: int | None = None) -> Callable[[Host, Moment], bool]:
    """A condition: some replica has `phase` on its disk, of `cycle` or any."""

    def holds(host: Host, at: Moment) -> bool:
        state = host.replica.state
        return at is Moment.SYNCED and state.phase == phase and cycle in (None, state.cycle)

    return holds


def shameless(core: Core) -> None:
    """Make a liar's consensus go on when it is shown its own lies, after a restart too."""
    persist = core.persist

    def forgetful(record: Record) -> int:
        return core.lsn if isinstance(record, Forgot) else persist(record)

    core.halt = lambda reason: None  # type: ignore[method-assign]
    core.persist = forgetful  # type: ignore[method-assign]


class Host:
    """A correct replica.  The others are in faults.py."""

    correct = True
    replica_class: type[CoordinatorReplica] = CoordinatorReplica

    def __init__(self, world: World, index: int) -> None:
        self.world, self.index = world, index
        self.key: PrivateKey = world.keys[index]
        self.random = Random(f"{world.seed}/host/{index}")
        self.disk = Disk()
        self.skew_ms = self.random.randint(-SKEW_MS_MAX, SKEW_MS_MAX)
        self._coins = CountedCoins(genesis_view(world.genesis))
        self.life = 0  # counts up with each start and crash: what was planned before is void
        self.alive = False
        self.replica: CoordinatorReplica | Observer
        self.start()

    @property
    def coins(self) -> CoinTable | None:
        """As this replica's tip leaves them; None where nobody has a block yet.

        What it lacks it has from its peers, as coordinator/service/finals.py fetches it.
        """
        held = ChainMap(self.disk.safe.blocks, *(h.disk.safe.blocks for h in self.world.hosts))
        return self._coins.at(self.replica.state.tip, held)

    # Life and death.

    def start(self) -> None:
        """From what is on the disk."""
        assert not self.alive
        self.alive, self.born = True, self.world.now
        self.life += 1
        self._queue: deque[Event] = deque()
        self._busy = self._ticking = False
        self._effects: list[Effect] = []
        self._behind: list[Kept] = []  # written, and gone if this process dies before it is synced
        self._settles = False  # it is synced in this turn
        self._durable_lsn = max((lsn for lsn, _ in self.disk.recovered().records), default=0)
        self.replica = self.build()
        if not self.correct and self.voting:
            shameless(self.member._consensus._core)
        self.reader = Reader(self)
        self.settled = self.replica.state  # the newest state that is safe on the disk
        self.world.checkers.started(self)
        life = self.life
        if self.voting:
            self.world.agenda.after(self.random.randint(0, TICK_MS), lambda: self._tick(life))

    def crash(self) -> None:
        """Forget everything that is not safe on the disk."""
        assert self.alive
        self.alive = False
        self.life += 1
        self.disk.crash()

    def build(self) -> CoordinatorReplica | Observer:
        """The replica as the disk knows it."""
        found = self.place()
        if found is None:
            return make_observer(self)
        return self.replica_class(
            self.world.rules,
            self.config(found),
            self.disk.secrets,
            self.disk.recovered(),
            self.disk.saved(),
            self.disk.tail(),
            self.disk.gap(),
        )

    @property
    def voting(self) -> bool:
        """Whether this is a member's replica, and not an observer."""
        return isinstance(self.replica, CoordinatorReplica)

    @property
    def member(self) -> CoordinatorReplica:
        """The replica of one that votes."""
        assert isinstance(self.replica, CoordinatorReplica)
        return self.replica

    @property
    def wall_ms(self) -> int:
        """This machine's clock."""
        return self.world.wall_ms + self.skew_ms

    @property
    def busy(self) -> bool:
        """Whether a turn is under way, or waits."""
        return self._busy or bool(self._queue)

    def resume(self) -> Application:
        """The application as the disk knows it."""
        return resume(self.world.rules, self.disk.saved(), self.disk.tail())

    def place(self) -> Place | None:
        """Where the disk says that this replica votes."""
        state = self.resume().state
        self.disk.noted.setdefault(state.epoch, note(state))
        records = self.disk.recovered().records
        return place(state, self.key.public_key, records, self.disk.noted)

    def config(self, found: Place | None = None) -> Config:
        """Own key, the epoch that the disk says, and the world's timeouts."""
        settings = self.world.settings
        found = found or self.place()
        assert found is not None, "who is in no list observes"
        return Config(
            membership=found.epoch.membership,
            index=found.index,
            past=found.epoch.past,
            sign=self.key.sign,
            checkpoint_interval=self.world.genesis.params.checkpoint_interval,
            window=self.world.genesis.params.window,
            request_ms=settings.request_ms,
            progress_ms=settings.progress_ms,
            view_change_ms=settings.view_change_ms,
            history_batches_max=settings.history_batches_max,
            probation_ms=settings.probation_ms,
        )

    # Events in.

    def post(self, event: Event) -> None:
        """Queue one event, if this process lives."""
        if self.alive and self.voting and len(self._queue) < INBOX_MAX:
            self._queue.append(event)
            if not self._busy:
                self._turn()

    def receive(self, frame: bytes) -> None:
        """A frame off the network; what is no message is dropped at the door."""
        if not self.alive or not self.voting:
            return
        claimed = claimed_epoch(frame)
        if claimed is not None and not self.member.epoch - 1 <= claimed <= self.member.epoch:
            if claimed > self.member.epoch:
                self.reader.hint()
            return
        try:
            found = self.world.open(frame, self.member)
        except FederationError:
            self.world.checkers.dropped(self)
            return
        if claimed == self.member.epoch:
            self.reader.heard(found.sender)
        own = claimed == self.member.epoch and found.sender == self.member.index
        if self.correct or not own:  # liars know that they lied
            self.post(pbft.Received(found))

    def receipt(self, cycle: int, miner: bytes, digest: bytes, size: int) -> bytes | None:
        """The signed promise to keep an update's bytes; None from a dead process."""
        if not self.alive:
            return None
        record = StorageReceipt(
            chain_id=self.world.rules.chain_id, cycle=cycle, miner=miner, digest=digest, size=size
        )
        return seal(record, self.key.public_key, self.key.sign)

    def _tick(self, life: int) -> None:
        if life != self.life:
            return
        if not self._ticking:
            self._ticking = True
            self.post(pbft.Tick())
        self.world.agenda.after(TICK_MS, lambda: self._tick(life))

    def _later(self, delay_ms: int, event: Event) -> None:
        """Post `event` then, unless this process dies before."""
        life = self.life

        def arrive() -> None:
            if life == self.life:
                self.post(event)

        self.world.agenda.after(delay_ms, arrive)

    # One turn: step, write, sync, send.

    def _turn(self) -> None:
        """Take what has queued up; one transaction holds all that follows from it."""
        self._busy, self._effects, self._settles = True, [], False
        life, effects = self.life, list[Effect]()
        for _ in range(min(len(self._queue), TURN_EVENTS_MAX)):
            effects += self._step(self._queue.popleft())
            if life != self.life:
                return
        self._carry_out(life, effects)

    def _step(self, event: Event) -> list[Effect]:
        if isinstance(event, pbft.Tick):
            self._ticking, self._settles = False, True
        now_ms = self.world.now - self.born
        effects = self.member.step(event, now_ms, self.wall_ms)
        self.world.checkers.stepped(self, effects)
        self.world.reached(self, Moment.STEPPED)
        return effects

    def _carry_out(self, life: int, effects: list[Effect]) -> None:
        self._effects += effects
        self._settles |= any(isinstance(effect, pbft.EpochEnded) for effect in effects)
        kept = Disk.keeps(effects)
        lags = may_lag(effects, self._durable_lsn)
        self.disk.write(kept)
        self._behind += kept
        if not self._behind or (lags and not self._settles):
            self._send(life)
            return
        self._settles, kept, self._behind = False, self._behind, []
        delay = self.random.randint(0, SYNC_MS_MAX)
        self.world.agenda.after(delay, lambda: self._synced(life, kept))

    def _synced(self, life: int, kept: list[Kept]) -> None:
        if life != self.life:
            return
        lsn = max((e.lsn for e in kept if isinstance(e, pbft.Persist)), default=None)
        self._durable_lsn = lsn or self._durable_lsn
        self.disk.sync()
        appends = [e.append if isinstance(e, Restored) else e for e in kept]
        self.world.checkers.synced(self, lsn, [e for e in appends if isinstance(e, Append)])
        if lsn is None:
            self._send(life)
            return
        effects = self._step(pbft.Durable(lsn))
        if life == self.life:
            self._carry_out(life, effects)

    def _send(self, life: int) -> None:
        if not self._behind:
            self.settled = self.replica.state
        if Disk.keeps(self._effects):
            self.world.reached(self, Moment.SYNCED)
        if life != self.life:
            return
        for effect in self._effects:
            self._hand_out(effect)
        self._busy = False
        if any(isinstance(effect, pbft.EpochEnded) for effect in self._effects):
            self.begin_anew()
            return
        self.world.reached(self, Moment.SENT)
        if life == self.life and self._queue:
            self.world.agenda.after(0, lambda: self._next(life))

    def _next(self, life: int) -> None:
        if life == self.life and not self._busy and self._queue:
            self._turn()

    def _hand_out(self, effect: Effect) -> None:
        match effect:
            case pbft.Send():
                self.world.checkers.handed_out(self, effect)
                for to, frame in self.outgoing(effect):
                    self.world.transmit(self, to, frame)
            case Evaluate():
                delay = self.random.randint(1, WORK_MS_MAX)
                self._later(delay, self.measured(effect.measurement))
            case MakeSnapshot():
                delay = self.random.randint(1, WORK_MS_MAX)
                self._later(delay, self.made(effect.step))
            case DrawSeed() | KeepSecrets():
                self.keep_secrets(effect)
            case pbft.ServeHistory(to=to, from_sequence=first, to_sequence=last):
                self._later(0, pbft.HistoryRead(to, self.disk.history(first, last)))
            case _:
                pass

    def keep_secrets(self, effect: DrawSeed | KeepSecrets) -> None:
        """Files that are written whole and synced before the answer."""
        if isinstance(effect, KeepSecrets):
            secrets = effect.secrets
        else:
            drawn = self.key.secret + effect.session + self.life.to_bytes(4, "big")
            seed = tagged_hash("sim/seed", drawn)
            secrets = self.disk.secrets.with_seed(effect.session, seed)
        self.disk.secrets = secrets
        if isinstance(self.replica, Observer):
            self.replica.kept(secrets)
        else:
            self._later(0, SecretsKept(secrets))

    def begin_anew(self) -> None:
        """Close the engine, build the next epoch's from the same disk; or observe from now on."""
        waiting = self.member.waiting if self.voting else ()
        self.alive = False
        self.life += 1
        self.disk.crash()  # nothing waits there: an epoch ends with a synced turn
        self.start()
        for request in waiting if self.voting else ():
            self.post(pbft.Submitted(request))

    # What a liar does otherwise.

    def outgoing(self, send: pbft.Send) -> list[tuple[int, bytes]]:
        """(receiver, frame) of one `Send`."""
        others = [i for i in range(self.member.members.n) if i != self.member.index]
        return [(to, send.message) for to in ([send.to] if send.to is not None else others)]

    def measured(self, measurement: Measurement) -> Evaluated:
        """The answer to `Evaluate`."""
        return measuring.evaluated(measurement, self.index, self.world.settings.noise_micronats)

    def made(self, step: OuterStep) -> Stepped:
        """The answer to `MakeSnapshot`."""
        return measuring.stepped(step, self.world.rules.job)

    def fingerprint(self) -> bytes:
        """32 bytes over the cycle machine's whole state."""
        return sha256(encode(self.replica.state))
