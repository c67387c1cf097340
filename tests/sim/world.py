"""A whole federation in one process, and nothing in it that the seed does not decide.

    world = World(7, miners=(HONEST,) * 3)
    world.run_until(lambda: world.closed >= 3, limit_ms=120_000)
    world.verdict()

The next things to grow here: torn writes, skewed clocks (see network, disk, host).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

from msgspec.structs import replace

from bft.codec.canonical import Record
from bft.crypto.hashing import tagged_hash
from bft.crypto.identity import PrivateKey
from bft.pbft.events import Submitted
from bft.pbft.messages import Verified
from bft.pbft.past import open_frame
from chain.audit.findings import AuditReport
from chain.params import MINIMAL, Params
from chain.records.federation import Genesis, MemberRecord
from chain.records.job import make_sizes
from coordinator.cycle.phases.membership import stage
from coordinator.cycle.state import Phase, Rules, State
from coordinator.effects import BlockArrived
from coordinator.replica import CoordinatorReplica
from tests import sample
from tests.sim.agenda import Agenda
from tests.sim.checkers import Checkers
from tests.sim.host import Host, Moment
from tests.sim.miners import HONEST, Habits, Miner
from tests.sim.network import FAIR, Network, Weather
from tests.sim.trace import Trace

BEGIN_WALL_MS = 1_700_000_000_000
OPENED_MAX = 4_096  # frames whose signatures are remembered as good
DOOR_MS_MAX = 10  # a client's way to a replica

PARAMS = replace(
    MINIMAL,
    name=b"sim",
    checkpoint_interval=8,
    window=16,
    units_per_miner_max=2,
    challenge_records=128,
    own_records=64,
    control_records=64,
    gain_reference_micronats=100_000,
    audit_share=1 << 14,
    barred_cycles=8,
    trial_audits=1,
    standing_cycles=8,
)
JOB = replace(
    sample.JOB,
    name=b"sim",
    sizes=make_sizes(inputs=64, width=64, depth=2, classes=10),
    train_records=1300,
    heldout_records=400,
    chunk_records=100,
    learning_rate_ppm=3000,
    outer_rate_denominator=1,
    genesis_model=tagged_hash("sim/model", b""),
)


class Stalled(AssertionError):
    """What had to happen did not, in the time that it was given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Timeouts of consensus, and how much honest measurements differ."""

    request_ms: int = 1_500
    progress_ms: int = 1_000
    view_change_ms: int = 1_500
    noise_micronats: int = 300
    history_batches_max: int = 2_048
    probation_ms: int = 0


@dataclass(slots=True)
class Trigger:
    """`action` is called once, the first time that `condition` holds."""

    condition: Callable[[Host, Moment], bool]
    action: Callable[[Host], None]
    pulled: bool = field(default=False)


def make_member(machine: int, key: PrivateKey) -> MemberRecord:
    """What its operator publishes of a machine."""
    return MemberRecord(
        operator=b"operator %d" % machine,
        key=key.public_key,
        tls_certificate=machine.to_bytes(64, "big"),
        link=b"sim:%d" % (2 * machine + 1),
        api=b"sim:%d" % (2 * machine + 2),
    )


def make_genesis(members: tuple[MemberRecord, ...], params: Params) -> Genesis:
    """The record that this world's chain begins with."""
    return Genesis(
        version=1,
        name=b"sim",
        created_ms=BEGIN_WALL_MS - 10_000,
        params=params,
        job=JOB,
        members=members,
    )


class World:
    """Replicas, miners, their links and their time."""

    def __init__(
        self,
        seed: int,
        *,
        replicas: int = 4,
        spares: int = 0,
        miners: Sequence[Habits] = (HONEST, HONEST, HONEST),
        kinds: Mapping[int, type[Host]] | None = None,
        weather: Weather = FAIR,
        params: Params = PARAMS,
        settings: Settings | None = None,
    ) -> None:
        """Args:
        replicas, spares: machines 0, 1, ... are the members of epoch 0, those after them observe.
        kinds: which machines are something else than correct (tests/sim/faults.py).
        """
        self.seed = seed
        self.settings = settings or Settings()
        self.keys = [
            PrivateKey(tagged_hash("sim/replica", index.to_bytes(2, "big")))
            for index in range(replicas + spares)
        ]
        self.records_of = [make_member(index, key) for index, key in enumerate(self.keys)]
        self.machines = {key.public_key: index for index, key in enumerate(self.keys)}
        self.genesis = make_genesis(tuple(self.records_of[:replicas]), params)
        self.rules = Rules(self.genesis)
        self.agenda = Agenda()
        self.network = Network(self.agenda, Random(f"{seed}/network"), weather)
        self.trace = Trace()
        self.checkers = Checkers(self)
        self._triggers: list[Trigger] = []
        self._opened: dict[bytes, Verified] = {}
        self._random = Random(f"{seed}/doors")
        kinds = kinds or {}
        self.hosts: list[Host] = []
        for index in range(replicas + spares):
            self.hosts.append(kinds.get(index, Host)(self, index))
        self.miners = [Miner(self, number, habits) for number, habits in enumerate(miners)]

    # Time.

    @property
    def now(self) -> int:
        """Milliseconds since the world began."""
        return self.agenda.now

    @property
    def wall_ms(self) -> int:
        """True Unix time."""
        return BEGIN_WALL_MS + self.now

    def run_until(self, condition: Callable[[], bool], limit_ms: int) -> None:
        """Let time pass until `condition` holds.  Raises Stalled after `limit_ms` from now."""
        end = self.now + limit_ms
        while not condition():
            if self.now > end or not self.agenda.advance():
                raise Stalled(f"after {limit_ms} ms: {self.report()}")

    def run_for(self, duration_ms: int) -> None:
        """Let so much time pass."""
        end = self.now + duration_ms
        self.run_until(lambda: self.now >= end, 2 * duration_ms)

    def run_cycles(self, cycles: int, limit_ms: int = 200_000) -> None:
        """Until all living correct replicas, at least a strong quorum, have closed so many."""
        self.run_until(lambda: self.enough and self.closed >= cycles, limit_ms)

    def run_to(self, phase: Phase, cycle: int = 1, limit_ms: int = 200_000) -> None:
        """Until all living correct replicas stand in this phase of this cycle."""
        there = (cycle, phase)
        self.run_until(
            lambda: all((h.settled.cycle, h.settled.phase) == there for h in self.up),
            limit_ms,
        )

    # What a test looks at.

    @property
    def up(self) -> list[Host]:
        """Correct replicas whose process lives."""
        return [host for host in self.hosts if host.alive and host.correct]

    @property
    def enough(self) -> bool:
        """Whether a strong quorum of the newest epoch's members lives and is correct."""
        if not self.up:
            return False
        members = self.state.membership
        return sum(host.key.public_key in members.keys for host in self.up) >= members.strong

    @property
    def closed(self) -> int:
        """Cycles that every living correct replica has seen close."""
        return min(max(0, host.settled.cycle - 1) for host in self.up)

    @property
    def state(self) -> State:
        """Of the living correct replica that is furthest ahead, as far as disks hold it."""
        return max((host.settled for host in self.up), key=lambda state: state.sequence)

    def records(self) -> tuple[Record, ...]:
        """The score log of the living correct replica whose disk is furthest ahead."""
        return max(self.up, key=lambda host: len(host.disk.safe.batches)).disk.records()

    def report(self) -> str:
        """Where everybody stands, for people."""
        lines = []
        for host in self.hosts:
            state, replica = host.replica.state, host.replica
            life = "up" if host.alive else "down"
            part = "observes"
            if isinstance(replica, CoordinatorReplica):
                part = f"epoch {replica.epoch} view {replica.view} active {replica.active}"
            lines.append(
                f"{host.index} {life} {part} "
                f"sequence {state.sequence} cycle {state.cycle} {Phase(state.phase).name} "
                f"attempt {state.attempt} {stage(state).name}"
            )
        return "; ".join(lines)

    def verdict(self) -> AuditReport:
        """All checks that need the whole run; those of each step were made at each step."""
        return self.checkers.whole_run()

    # Faults.

    def when(
        self, condition: Callable[[Host, Moment], bool], action: Callable[[Host], None]
    ) -> Trigger:
        """Call `action` once, at the first moment of any living replica at which it holds."""
        trigger = Trigger(condition, action)
        self._triggers.append(trigger)
        return trigger

    def reached(self, host: Host, moment: Moment) -> None:
        """A replica stands at `moment`; whatever was planned for it happens now."""
        for trigger in self._triggers:
            if not trigger.pulled and host.alive and trigger.condition(host, moment):
                trigger.pulled = True
                trigger.action(host)

    def crash_all(self, restart_ms: int) -> None:
        """Every living process dies now; they start again one after another, `restart_ms` apart."""
        dying = [host for host in self.hosts if host.alive]
        for place, host in enumerate(dying):
            host.crash()
            self.restart_later(host, (place + 1) * restart_ms)

    def restart_later(self, host: Host, delay_ms: int) -> None:
        """Start a dead process again."""
        self.agenda.after(delay_ms, host.start)

    # Links and doors.

    def transmit(self, sender: Host, to: int, frame: bytes) -> None:
        """One frame onto the network."""
        self.checkers.sent(sender, frame)
        self.trace.note(self.now, "send", sender.index, frame)
        receiver = self.hosts[self.machines[sender.member.members.keys[to]]]
        to = receiver.index
        self.network.carry(sender.index, to, lambda: receiver.receive(frame))

    def open(self, frame: bytes, replica: CoordinatorReplica) -> Verified:
        """What `replica` opens, each frame verified once for all receivers of its epoch."""
        known = self._opened.get(frame)
        if known is None:
            known = open_frame(frame, replica._config)
            assert known is not None, "all votes are wanted here: receivers share what is opened"
            if len(self._opened) >= OPENED_MAX:
                self._opened.clear()
            self._opened[frame] = known
        return known

    def door(self, number: int) -> Host | None:
        """The replica that a client finds there, if its process lives."""
        host = self.hosts[number % len(self.hosts)]
        return host if host.alive and host.voting else None

    def submit(self, door: int, sealed: bytes) -> None:
        """A client's request on its way to one replica."""
        host = self.hosts[door % len(self.hosts)]
        self.agenda.after(self._way(), lambda: host.post(Submitted(sealed)))

    def offer(self, miner: Miner, host: Host, block: bytes) -> None:
        """A winner's block on its way to one replica."""
        self.agenda.after(self._way(), lambda: host.post(BlockArrived(block, host.coins)))

    def _way(self) -> int:
        return self._random.randint(1, DOOR_MS_MAX)
