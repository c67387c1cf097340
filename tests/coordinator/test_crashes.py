"""Replicas that die and come back, in every phase: what was agreed stays, and the mill goes on.

That a restarted replica holds the very state of those that never fell, and that nobody votes twice
in one place, is checked at each step (tests/sim/checkers.py).
"""

from functools import partial

import pytest

from bft.codec.canonical import decode
from bft.codec.envelope import Envelope
from bft.ordering.batch import decode_batch
from bft.ordering.request import Request
from chain.records.commands import readable_operations
from chain.records.score_log import BlockFinal, Ordered
from chain.records.votes import Purpose, SignatureShare
from coordinator.cycle.state import Phase
from tests.sim.host import Host, Moment, anybody_in, primary_in
from tests.sim.world import World

MOMENTS = tuple(Moment)
PHASES = tuple(Phase)


def finals(world: World) -> list[int]:
    """Heights of the final blocks in the log."""
    return [record.height for record in world.records() if isinstance(record, BlockFinal)]


@pytest.mark.parametrize("phase", PHASES)
def test_the_primary_dies_and_comes_back(phase: Phase) -> None:
    """Before its step is written, after, or after it was sent: another moment for each phase."""
    world = World(100 + phase)

    def crash(host: Host) -> None:
        host.crash()
        world.restart_later(host, 3_000)

    trigger = world.when(primary_in(phase, MOMENTS[phase % len(MOMENTS)]), crash)
    world.run_until(lambda: trigger.pulled and len(world.up) == 4, 30_000)
    world.run_cycles(1)
    world.verdict()
    assert finals(world) == [1]


@pytest.mark.parametrize("phase", PHASES[Phase.ACTIVATION :])
def test_the_primary_dies_for_good(phase: Phase) -> None:
    """n = 4, f = 1: three replicas close the cycle with a block, whichever phase lost the fourth.

    Not the ceremony: that of the genesis waits for all members.
    """
    world = World(200 + phase)
    trigger = world.when(primary_in(phase, Moment.SYNCED), Host.crash)
    world.run_until(lambda: trigger.pulled, 30_000)
    world.run_cycles(1)
    world.verdict()
    assert finals(world) == [1]


@pytest.mark.parametrize("phase", [Phase.CERTIFICATION, Phase.FINALITY])
def test_who_dies_between_its_disk_and_its_word_signs_no_other_message_afterwards(
    phase: Phase,
) -> None:
    """Of certificate and finality: every replica dies once with its share synced and unsent."""
    world = World(450 + phase)

    def crash(host: Host) -> None:
        host.crash()
        world.restart_later(host, 700)

    triggers = [world.when(partial(_stands, index, phase), crash) for index in range(4)]
    world.run_cycles(2)
    world.verdict()
    assert all(trigger.pulled for trigger in triggers)
    assert finals(world) == [1, 2]
    said = shares(world)
    assert {place[1] for place in said} >= set(Purpose), "all four kinds were signed"
    assert [place for place, messages in said.items() if len(messages) != 1] == []


def _stands(index: int, phase: Phase, host: Host, at: Moment) -> bool:
    """Whether this replica has this phase on its disk, and has said nothing of it yet."""
    return host.index == index and anybody_in(phase)(host, at)


def shares(world: World) -> dict[tuple[bytes, int, int, int], set[bytes]]:
    """(replica, purpose, subject, rank) -> shares that were ordered; BLS has one a message."""
    said: dict[tuple[bytes, int, int, int], set[bytes]] = {}
    for record in world.records():
        if not isinstance(record, Ordered):
            continue
        for sealed in decode_batch(record.batch).requests:
            request = decode(Request, decode(Envelope, sealed).body)
            for operation in readable_operations(request.operation):
                if isinstance(operation, SignatureShare):
                    place = operation.purpose, operation.subject, operation.rank
                    said.setdefault((request.client, *place), set()).add(operation.share)
    return said


def test_the_ceremony_waits_for_a_member_that_is_down_and_goes_on_with_it() -> None:
    """Its attempt expires, and the next one succeeds when all are there."""
    world = World(220)
    world.when(primary_in(Phase.KEYGEN, Moment.SYNCED), Host.crash)
    world.run_until(lambda: world.state.attempt == 1, 60_000)
    (dead,) = (host for host in world.hosts if not host.alive)
    dead.start()
    world.run_cycles(1)
    world.verdict()
    assert world.state.transcript.attempt == 1


@pytest.mark.parametrize("phase", PHASES)
def test_all_replicas_die_at_once_and_come_back(phase: Phase) -> None:
    """A power cut: nothing but the disks is left, and nothing that was agreed is lost."""
    world = World(300 + phase)
    trigger = world.when(anybody_in(phase), lambda _: world.crash_all(restart_ms=120))
    world.run_until(lambda: trigger.pulled and len(world.up) == 4, 30_000)
    before = world.state.sequence
    world.run_cycles(1)
    world.verdict()
    assert world.state.sequence > before
    assert finals(world) == [1]


def test_a_backup_that_missed_a_whole_cycle_catches_up() -> None:
    """By history and checkpoints: it missed more batches than the window holds."""
    world = World(400)
    world.run_cycles(1)
    backup = next(host for host in world.hosts if host.replica.primary != host.index)
    backup.crash()
    left = backup.replica.state.sequence
    world.run_cycles(3)
    assert world.state.sequence - left > world.rules.params.window
    backup.start()
    world.run_until(lambda: backup.settled.sequence == world.state.sequence, 20_000)
    world.run_cycles(4)
    world.verdict()
    assert finals(world) == [1, 2, 3, 4]


def test_a_replica_that_dies_at_every_seventh_transaction_harms_nobody() -> None:
    """Each of its crashes comes at another place between step, disk and network."""
    world = World(401)
    fragile = world.hosts[1]
    crashes = 0

    def due(host: Host, moment: Moment) -> bool:
        turn = MOMENTS[crashes % len(MOMENTS)]
        return host is fragile and moment is turn and host.disk.transactions >= 7 * (crashes + 1)

    def crash(host: Host) -> None:
        nonlocal crashes
        crashes += 1
        host.crash()
        world.restart_later(host, 40)
        world.when(due, crash)

    world.when(due, crash)
    world.run_cycles(2)
    world.verdict()
    assert crashes > 12
