"""A replica that took a state: it works at once, and its score log becomes whole afterwards."""

from collections.abc import Callable

import pytest

from coordinator.application import Application
from coordinator.effects import Append, Restored
from coordinator.refill import Diverged, LogGap, Refill
from tests.sim.host import Host, Moment
from tests.sim.world import Settings, World

Entry = tuple[int, bytes, bytes]
FAR = Settings(history_batches_max=16)


def late(world: World) -> Host:
    """A backup that missed far more batches than others would send it, running again."""
    world.run_cycles(1)
    backup = next(host for host in world.hosts if host.replica.primary != host.index)
    backup.crash()
    far = world.state.sequence + 3 * FAR.history_batches_max
    world.run_until(lambda: world.state.sequence >= far, 60_000)
    backup.start()
    return backup


def test_a_replica_far_behind_takes_a_state_and_its_log_becomes_whole() -> None:
    world = World(410, settings=FAR)
    backup = late(world)
    world.run_until(lambda: backup.disk.safe.gap is not None, 20_000)
    assert backup.replica.log_missing is not None
    world.run_until(lambda: backup.settled.sequence == world.state.sequence, 20_000)
    world.run_until(lambda: backup.disk.safe.gap is None, 20_000)
    assert backup.replica.log_missing is None
    shared = min(len(backup.disk.records()), len(world.up[0].disk.records()))
    assert backup.disk.records()[:shared] == world.up[0].disk.records()[:shared]
    world.run_cycles(4)
    world.verdict()


def without_old(host: Host, late: Host) -> Callable[[int, int], tuple[Entry, ...]]:
    """`host` serves its history, but nothing of what `late` has left out."""
    read = host.disk.history

    def history(first: int, last: int) -> tuple[Entry, ...]:
        gap = late.disk.safe.gap
        return () if gap is not None and first <= gap.sequence else read(first, last)

    return history


def test_it_works_in_cycles_while_its_log_still_has_a_gap() -> None:
    """What it says is what the others say: nobody waits for the old batches."""
    world = World(411, settings=FAR)
    backup = late(world)
    for host in world.hosts:
        host.disk.history = without_old(host, backup)  # type: ignore[method-assign]
    world.run_until(lambda: backup.disk.safe.gap is not None, 20_000)
    cycle = world.state.cycle
    world.run_until(lambda: backup.settled.cycle > cycle, 60_000)
    assert backup.replica.log_missing is not None
    for host in world.hosts:
        del host.disk.history
    world.run_until(lambda: backup.disk.safe.gap is None, 40_000)
    world.verdict()


def test_a_crash_at_every_transaction_leaves_no_half_state() -> None:
    """Scenario 68: state, checkpoint and gap are one transaction; so is every batch after."""
    world = World(412, settings=FAR)
    backup = late(world)
    crashes = 0

    def due(host: Host, moment: Moment) -> bool:
        return host is backup and moment is Moment.SYNCED and host.disk.transactions % 3 == 0

    def crash(host: Host) -> None:
        nonlocal crashes
        crashes += 1
        host.crash()
        world.restart_later(host, 40)
        if crashes < 8:
            world.when(due, crash)

    world.when(due, crash)
    world.run_until(lambda: crashes == 8 and backup.alive and backup.disk.safe.gap is None, 60_000)
    world.run_until(lambda: backup.settled.sequence == world.state.sequence, 20_000)
    world.verdict()


def batches(world: World) -> list[Append]:
    return world.hosts[0].disk.safe.batches


def test_batches_that_lead_elsewhere_stop_the_replica() -> None:
    world = World(413)
    world.run_cycles(1)
    kept = batches(world)[:4]
    base = Application(world.rules)
    gap = LogGap(
        sequence=0,
        index=0,
        last_sequence=3,
        end_index=99,
        state_root=bytes(32),
        base=base.save(),
        batches=(),
    )
    refill = Refill(world.rules, gap)
    assert (refill.sequences, refill.missing) == ((1, 3), (0, 99))
    for append in kept[:2]:
        restored = refill.execute(append.sequence, append.batch, append.proof)
        assert restored == Restored(append=append, base=None, closed=False)
    assert refill.sequences == (3, 3)
    with pytest.raises(Diverged, match="another state"):
        refill.execute(3, kept[2].batch, kept[2].proof)
