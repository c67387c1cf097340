"""Training in a child process: what it gives, how it is stopped, and that nothing stays behind."""

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from bft.crypto.hashing import sha256
from bft.errors import Unavailable
from chain.records.contribution import WorkUnit
from chain.rules.updates import decode_update
from miner.training.jobs import digits_job
from miner.workshop import Progress, Workshop
from tests.miner.processes import children_of, ended
from tests.patience import PATIENCE_S

JOB, SNAPSHOT = digits_job()
SEED = sha256(b"seed")
ENDLESS = 2**32 - 1
pytestmark = pytest.mark.integration


def unit(steps: int = JOB.steps, segment: int = 1) -> WorkUnit:
    return WorkUnit(unit=4, miner=bytes(33), segment=segment, chunk=4, steps=steps)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    path = tmp_path / "base"
    path.write_bytes(SNAPSHOT)
    return path


@pytest.fixture
def workshop() -> Iterator[Workshop]:
    made = Workshop(JOB, watts_per_core=10, niceness=1)
    yield made
    made.close()


def quiet(progress: Progress) -> None:
    """Nobody listens."""


async def test_a_unit_gives_an_update_of_its_segment_and_an_account_of_what_it_used(
    workshop: Workshop, base: Path, tmp_path: Path
) -> None:
    told: list[Progress] = []
    target = tmp_path / "update"
    digest, size, used = await workshop.train(base, target, SEED, unit(), told.append)
    update = target.read_bytes()
    assert (sha256(update), len(update)) == (digest, size)
    assert decode_update(JOB, 1, update)
    assert told[-1].step == told[-1].steps == JOB.steps
    assert used.cpu_user_ms > 0 and used.wall_ms > 0
    assert used.memory_peak_bytes > 2**20
    assert used.energy_mj > 0


async def test_the_same_unit_gives_the_same_bytes_in_any_workshop(
    workshop: Workshop, base: Path, tmp_path: Path
) -> None:
    first, _, _ = await workshop.train(base, tmp_path / "1", SEED, unit(), quiet)
    again, _, _ = await workshop.train(base, tmp_path / "2", SEED, unit(), quiet)
    assert first == again


async def test_a_machine_that_trains_has_a_capacity(workshop: Workshop, base: Path) -> None:
    assert await workshop.measure(base) > 0


async def test_a_base_that_is_no_snapshot_is_told_and_the_workshop_goes_on(
    workshop: Workshop, base: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    broken.write_bytes(SNAPSHOT[:-1])
    with pytest.raises(Unavailable, match="DecodeError"):
        await workshop.train(broken, tmp_path / "update", SEED, unit(), quiet)
    with pytest.raises(Unavailable, match="FileNotFoundError"):
        await workshop.train(tmp_path / "none", tmp_path / "update", SEED, unit(), quiet)
    assert not (tmp_path / "update").exists()
    assert await workshop.measure(base) > 0


async def test_training_that_is_stopped_ends_and_the_next_order_is_carried_out(
    workshop: Workshop, base: Path, tmp_path: Path
) -> None:
    started = asyncio.Event()
    target = tmp_path / "update"
    endless = asyncio.create_task(
        workshop.train(base, target, SEED, unit(ENDLESS), lambda _: started.set())
    )
    async with asyncio.timeout(PATIENCE_S):
        await started.wait()
        workshop.stop()
        with pytest.raises(Unavailable, match="stopped"):
            await endless
        assert not target.exists()
        digest, _, _ = await workshop.train(base, target, SEED, unit(), quiet)
    assert sha256(target.read_bytes()) == digest


async def test_a_cancelled_order_leaves_its_place_to_the_next(
    workshop: Workshop, base: Path, tmp_path: Path
) -> None:
    """The note on the first order, which comes late, is not taken for the second's."""
    started = asyncio.Event()
    endless = asyncio.create_task(
        workshop.train(base, tmp_path / "1", SEED, unit(ENDLESS), lambda _: started.set())
    )
    async with asyncio.timeout(PATIENCE_S):
        await started.wait()
        endless.cancel()
        await asyncio.wait([endless])
        assert await workshop.measure(base) > 0


async def test_stopping_when_nothing_works_changes_nothing(workshop: Workshop, base: Path) -> None:
    workshop.stop()
    workshop.stop()
    assert await workshop.measure(base) > 0


async def test_a_killed_child_costs_its_unit_only(
    workshop: Workshop, base: Path, tmp_path: Path
) -> None:
    started = asyncio.Event()
    order = asyncio.create_task(
        workshop.train(base, tmp_path / "1", SEED, unit(ENDLESS), lambda _: started.set())
    )
    async with asyncio.timeout(PATIENCE_S):
        await started.wait()
        (child,) = children_of(workshop.pid)
        os.kill(child, signal.SIGKILL)
        with pytest.raises(Unavailable, match="died"):
            await order
    assert await workshop.measure(base) > 0


async def test_a_dead_workshop_is_noticed_and_takes_its_child_with_it(
    workshop: Workshop, base: Path, tmp_path: Path
) -> None:
    started = asyncio.Event()
    order = asyncio.create_task(
        workshop.train(base, tmp_path / "1", SEED, unit(ENDLESS), lambda _: started.set())
    )
    async with asyncio.timeout(PATIENCE_S):
        await started.wait()
        (child,) = children_of(workshop.pid)
        os.kill(workshop.pid, signal.SIGKILL)
        with pytest.raises(Unavailable, match="gone"):
            await order
        assert workshop.gone
        await ended(child)
        with pytest.raises(Unavailable, match="gone"):
            await workshop.measure(base)


async def test_closing_ends_workshop_and_child(base: Path, tmp_path: Path) -> None:
    """As when the agent is gone: the workshop sees the end of the connection."""
    workshop = Workshop(JOB, watts_per_core=10, niceness=1)
    started = asyncio.Event()
    order = asyncio.create_task(
        workshop.train(base, tmp_path / "1", SEED, unit(ENDLESS), lambda _: started.set())
    )
    async with asyncio.timeout(PATIENCE_S):
        await started.wait()
        (child,) = children_of(workshop.pid)
        order.cancel()
        await asyncio.wait([order])
        await asyncio.to_thread(workshop.close)
        await ended(child)
    with pytest.raises(ProcessLookupError):
        os.kill(workshop.pid, 0)
