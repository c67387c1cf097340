"""Small worlds: four replicas, one of them twice, three views with a partition and a cut each.

Source: Bano et al., "Twins: BFT Systems Made Robust" (OPODIS 2021).  The twins share one key and
are both correct code; to the others they are one replica that equivocates, votes twice or forgets.
Each round takes one view: everybody gets a request of its own, messages flow inside the groups of
the round's partition for so many waves, the rest is lost, and then everybody's patience ends.
Rounds are numbered, so that a number names a world; swapping the twins gives the same world again.
"""

from bft.pbft.events import (
    Accuse,
    Decided,
    Durable,
    Event,
    Executed,
    Halt,
    Persist,
    Received,
    Send,
    Submitted,
    Tick,
)
from bft.pbft.messages import ForwardedRequests, PreparedProof, Status, Verified, sign_message
from bft.pbft.replica import Config, Replica
from tests.bft.pbft.cluster import WALL_0
from tests.bft.pbft.identities import members, opened, request, signer

N = 4
MACHINES = N + 1  # the last is the second twin
GROUPS_MAX = 3
CUTS = (2, 3, 4, 99)  # waves: a NEW-VIEW, or a COMMIT of view 0, is under way; and to the end
ROUNDS = 3
PATIENCE_MS = 100_000  # longer than every timeout
NEVER_MS = 2**40
CONFIG = {
    "checkpoint_interval": 8,
    "window": 16,
    "batch_ms": 0,
    "status_ms": NEVER_MS,  # nothing is sent again: what a cut loses is lost (but see _wish)
    "forward_ms": NEVER_MS,
    "fetch_ms": NEVER_MS,
}


def _partitions() -> tuple[tuple[int, ...], ...]:
    """The group of each machine, groups numbered as they appear."""
    found: list[tuple[int, ...]] = [()]
    for _ in range(MACHINES):
        found = [
            (*p, group) for p in found for group in range(min(max(p, default=-1) + 2, GROUPS_MAX))
        ]
    return tuple(found)


PARTITIONS = _partitions()
CHOICES = len(PARTITIONS) * len(CUTS)
WORLDS = N * CHOICES**ROUNDS
STRIDE = 6_700_417  # prime, and no factor of WORLDS: neighbouring numbers are unlike worlds


class Scenario:
    """World number `number`."""

    def __init__(self, number: int) -> None:
        place = number * STRIDE % WORLDS
        place, self.twin = divmod(place, N)
        self.rounds: list[tuple[tuple[int, ...], int]] = []
        for _ in range(ROUNDS):
            place, choice = divmod(place, CHOICES)
            partition, cut = divmod(choice, len(CUTS))
            self.rounds.append((PARTITIONS[partition], CUTS[cut]))

    def mirrored(self) -> bool:
        """Whether this is the lesser of two worlds that differ by which twin is which."""
        return [p for p, _ in self.rounds] > [self._swapped(p) for p, _ in self.rounds]

    def _swapped(self, partition: tuple[int, ...]) -> tuple[int, ...]:
        groups = list(partition)
        groups[self.twin], groups[N] = groups[N], groups[self.twin]
        names: dict[int, int] = {}
        return tuple(names.setdefault(group, len(names)) for group in groups)


class Machine:
    """A replica whose disk is as fast as thought."""

    def __init__(self, index: int, wall: int, twin: bool) -> None:
        self.index = index
        self.twin = twin
        self.wall = wall
        self.replica = Replica(
            Config(membership=members(N), index=index, sign=signer(index), **CONFIG)
        )
        self.decided: list[bytes] = []
        self.accused: set[int] = set()
        self.out: list[Send] = []

    def step(self, event: Event, now: int) -> None:
        todo = [event]
        while todo:
            lsn = 0
            for effect in self.replica.step(todo.pop(0), now, self.wall):
                if isinstance(effect, Persist):
                    lsn = effect.lsn
                elif isinstance(effect, Send):
                    self.out.append(effect)
                elif isinstance(effect, Decided):
                    self.decided.append(effect.batch)
                    todo.append(Executed(effect.sequence, bytes(32)))
                elif isinstance(effect, Accuse):
                    self.accused.add(effect.culprit)
                elif isinstance(effect, Halt):
                    if self.twin and "forgotten" in effect.reason:
                        return  # it has seen what its twin said
                    raise AssertionError(f"R{self.index} halts: {effect.reason}")
            if lsn:
                todo.insert(0, Durable(lsn))


def _wish(machine: Machine) -> Verified:
    """Another replica would rather be in the next view, too: one word that no cut loses.

    Who has a reason of its own then leaves, as it would when its STATUS and others' cross.
    """
    other = (machine.index + 1) % N
    status = Status(
        chain_id=members(N).chain_id,
        epoch=0,
        view=machine.replica.view,
        pending_view=machine.replica.pending_view,
        wished_view=machine.replica.pending_view + 1,
        low=0,
        decided=NEVER_MS,  # it lacks nothing
        helper=other,
        slots=(),
        replica=other,
    )
    return sign_message(status, members(N), signer(other))


class Twins:
    """One run."""

    def __init__(self, number: int, without: frozenset[str] = frozenset()) -> None:
        self.scenario = Scenario(number)
        self.twin = self.scenario.twin
        self.faults: list[str] = []
        self.plan: list[tuple[tuple[int, ...], int]] = []
        for count, (partition, cut) in enumerate(self.scenario.rounds, 1):
            split, short = f"round {count}: groups {partition}", f"round {count}: {cut} waves"
            if max(partition) and split not in without:
                self.faults.append(split)
            else:
                partition = (0,) * MACHINES
            if cut < max(CUTS) and short not in without:
                self.faults.append(short)
            else:
                cut = max(CUTS)
            self.plan.append((partition, cut))
        self.plan.append(((0,) * MACHINES, max(CUTS)))  # whatever was forked comes to light
        self.story = [f"R{self.twin} is twice there, as machine {self.twin} and machine {N}"]
        self.now = 0
        self.machines = [
            Machine(i, WALL_0 + i, i == self.twin)
            if i < N
            else Machine(self.twin, WALL_0 + i, True)
            for i in range(MACHINES)
        ]
        self.at = {
            index: [m for m in range(MACHINES) if self.machines[m].index == index]
            for index in range(N)
        }
        self.prepared: dict[tuple[int, int], bytes] = {}

    def run(self) -> None:
        for count, (partition, cut) in enumerate(self.plan, 1):
            for number, machine in enumerate(self.machines):
                machine.step(Submitted(request(number, count)), self.now)
            for _ in range(cut):
                if not self.wave(partition):
                    break
            for machine in self.machines:
                machine.out.clear()
            self.check(count)
            self.now += PATIENCE_MS
            for machine in self.machines:
                machine.step(Tick(), self.now)
                machine.step(Received(_wish(machine)), self.now)

    def wave(self, partition: tuple[int, ...]) -> bool:
        """Deliver what is on its way now; whether anything was."""
        due: list[tuple[int, Verified]] = []
        for source, machine in enumerate(self.machines):
            sends, machine.out = machine.out, []
            for send in sends:
                found = opened(send.message, members(N))
                assert found is not None
                if isinstance(found.message, ForwardedRequests):
                    continue
                for to, other in enumerate(self.machines):
                    if other.index == machine.index or partition[to] != partition[source]:
                        continue
                    if found.sender == other.index:
                        continue  # a twin does not listen to what the other one said
                    if send.to is None or send.to == other.index:
                        due.append((to, found))
        for to, found in due:
            self.machines[to].step(Received(found), self.now)
        return bool(due)

    def check(self, count: int) -> None:
        """Correct replicas agree, no two proofs say they are prepared, none of them is accused."""
        for number, machine in enumerate(self.machines):
            view, pending = machine.replica.view, machine.replica.pending_view
            self.story.append(
                f"round {count}: machine {number} view {view}/{pending}, "
                f"decided {len(machine.decided)}"
            )
            assert machine.accused <= {self.twin}, f"machine {number} accuses {machine.accused}"
        correct = [m for m in self.machines if m.index != self.twin]
        longest = max((m.decided for m in correct), key=len)
        for machine in correct:
            assert machine.decided == longest[: len(machine.decided)], "agreement"
            for slot in machine.replica._core.log:
                if slot.prepared is not None:
                    self.once(slot.prepared)

    def once(self, proof: PreparedProof) -> None:
        place = (proof.view, proof.sequence)
        assert self.prepared.setdefault(place, proof.digest) == proof.digest, (
            f"two prepared {place}"
        )
