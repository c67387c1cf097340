"""The pool: the same answers as in this process, from workers that can be lost."""

import asyncio
import os
import select
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import pytest
import pytest_asyncio
from msgspec.structs import replace

from bft.crypto.hashing import sha256
from bft.errors import Busy, FederationError, Unavailable
from chain.params import MINIMAL
from chain.records.evaluation import EvaluationRow
from chain.rules.aggregation import outer_step
from coordinator.evaluation.evaluator import Batches, Candidate, heldout
from coordinator.evaluation.pool import TASK_UNITS_MAX, EvaluationPool
from coordinator.evaluation.stepping import model_loss
from tests.chain.rules.training_job import row
from tests.miner.training.training_run import GENESIS, JOB, cycle
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.integration

NOW = cycle(GENESIS, 1)
POOL_RECORDS = range(JOB.train_records, JOB.train_records + 32)
OWN = {unit: NOW.chunk(unit)[:32] for unit in NOW.units}
SHARED = Batches(challenge=POOL_RECORDS, control=range(64))
UPDATE = NOW.train(0)
ROOT = Path(__file__).resolve().parents[3]
"""How long a test waits for what comes in a fraction of it, before it fails."""


@pytest_asyncio.fixture
async def pool() -> AsyncIterator[EvaluationPool]:
    pool = EvaluationPool(2)
    yield pool
    await pool.close()


async def measure(pool: EvaluationPool, items: Iterable[Candidate]) -> tuple[EvaluationRow, ...]:
    return await pool.evaluate(JOB, MINIMAL, GENESIS, list(items), SHARED)


async def test_workers_measure_what_this_process_measures(pool: EvaluationPool) -> None:
    from coordinator.evaluation.evaluator import evaluate

    items = [Candidate(NOW.units[0], UPDATE, OWN[0]), Candidate(NOW.units[1], None, OWN[1])]
    rows = await measure(pool, items)
    assert rows == evaluate(JOB, MINIMAL, GENESIS, items, SHARED)
    assert [found.valid for found in rows] == [1, 0]


async def test_rows_keep_the_order_of_many_tasks(pool: EvaluationPool) -> None:
    units = [replace(NOW.units[0], unit=number) for number in range(2 * TASK_UNITS_MAX + 1)]
    items = [Candidate(unit, UPDATE, OWN[0]) for unit in units]
    rows = await pool.evaluate(JOB, MINIMAL, GENESIS, items, SHARED)
    assert [found.unit for found in rows] == list(range(len(units)))
    assert len({(found.gain, found.advantage) for found in rows}) == 1


async def test_the_outer_step_comes_with_its_held_out_measurement(pool: EvaluationPool) -> None:
    updates = [(row(0, NOW.units[0].segment, 9), UPDATE)]
    snapshots, models = await pool.outer_step(JOB, GENESIS, updates, bytes(32), ())
    assert snapshots == outer_step(JOB, GENESIS, updates, bytes(32))
    assert [model.digest for model in models] == [sha256(data) for data in snapshots]
    assert [(model.loss, model.correct) for model in models] == [heldout(JOB, snapshots[0])[:2]]


async def test_back_tracking_measures_every_step_on_the_challenge(pool: EvaluationPool) -> None:
    job = replace(JOB, backtracking=2)
    updates = [(row(0, NOW.units[0].segment, 9), UPDATE)]
    snapshots, models = await pool.outer_step(job, GENESIS, updates, bytes(32), (1, 5, 9))
    assert len(set(snapshots)) == 3
    assert [model.challenge_loss for model in models] == [
        model_loss(job, data, (1, 5, 9))[0] for data in snapshots
    ]
    assert len({model.challenge_loss for model in models}) == 3


async def test_updates_in_files_are_read_by_the_worker_and_checked(
    pool: EvaluationPool, tmp_path: Path
) -> None:
    path = tmp_path / sha256(UPDATE).hex()
    path.write_bytes(UPDATE)
    scored = row(0, NOW.units[0].segment, 9)
    snapshots, _ = await pool.outer_step(JOB, GENESIS, [(scored, path)], bytes(32), ())
    assert snapshots == outer_step(JOB, GENESIS, [(scored, UPDATE)], bytes(32))
    path.write_bytes(UPDATE[:-1] + bytes([UPDATE[-1] ^ 1]))
    with pytest.raises(FederationError, match="holds other bytes"):
        await pool.outer_step(JOB, GENESIS, [(scored, path)], bytes(32), ())
    path.unlink()
    with pytest.raises(FederationError, match="No such file"):
        await pool.outer_step(JOB, GENESIS, [(scored, path)], bytes(32), ())


async def test_no_units_are_no_rows(pool: EvaluationPool) -> None:
    assert await measure(pool, []) == ()
    assert (await pool.outer_step(JOB, GENESIS, [], bytes(32), ()))[0] == (GENESIS,)


async def test_a_base_that_is_no_snapshot_is_told_and_the_worker_lives(
    pool: EvaluationPool,
) -> None:
    await measure(pool, [Candidate(NOW.units[0], UPDATE, OWN[0])])
    before = pool.pids
    with pytest.raises(FederationError, match="bytes came"):
        await pool.outer_step(JOB, GENESIS[:-1], [], bytes(32), ())
    assert set(before) <= set(pool.pids)


async def test_a_killed_worker_is_replaced_and_its_unit_measured_again() -> None:
    pool = EvaluationPool(1)
    item = Candidate(NOW.units[0], UPDATE, OWN[0])
    rows = await measure(pool, [item])
    (pid,) = pool.pids
    os.kill(pid, signal.SIGSTOP)  # it takes the task and never answers
    waiting = asyncio.create_task(measure(pool, [item, Candidate(NOW.units[1], None, OWN[1])]))
    await asyncio.to_thread(_killed_while_waiting, pid)
    assert (await waiting)[0] == rows[0]
    assert pool.pids != (pid,)
    await pool.close()


def _killed_while_waiting(pid: int) -> None:
    watch = os.pidfd_open(pid)
    os.kill(pid, signal.SIGKILL)
    wait_for_end([watch])


async def test_a_unit_that_no_worker_finishes_counts_as_invalid_here() -> None:
    """A time limit that no process can keep."""
    pool = EvaluationPool(1, timeout_s=0)
    rows = await measure(
        pool, [Candidate(NOW.units[0], UPDATE, OWN[0]), Candidate(NOW.units[1], UPDATE, OWN[1])]
    )
    assert [(found.unit, found.valid, found.gain) for found in rows] == [(0, 0, 0), (1, 0, 0)]
    with pytest.raises(Unavailable, match="not done in time"):
        await pool.outer_step(JOB, GENESIS, [], bytes(32), ())
    await pool.close()


async def test_a_full_queue_refuses_and_then_serves_again() -> None:
    pool = EvaluationPool(1, queue_max=2)
    items = [Candidate(NOW.units[unit], None, OWN[unit]) for unit in range(3)]
    with pytest.raises(Busy, match="more than 2"):
        await measure(pool, items)
    assert len(await measure(pool, items[:2])) == 2
    assert len(await measure(pool, items[:2])) == 2
    await pool.close()


async def test_a_closed_pool_leaves_no_process_and_refuses() -> None:
    pool = EvaluationPool(2)
    await measure(pool, [Candidate(NOW.units[0], None, OWN[0])])
    watches = [os.pidfd_open(pid) for pid in pool.pids]
    await pool.close()
    await asyncio.to_thread(wait_for_end, watches)
    assert pool.pids == ()
    with pytest.raises(Unavailable, match="closed"):
        await measure(pool, [Candidate(NOW.units[0], None, OWN[0])])
    await pool.close()


async def test_closing_does_not_wait_for_a_busy_worker() -> None:
    pool = EvaluationPool(1)
    await measure(pool, [Candidate(NOW.units[0], None, OWN[0])])
    os.kill(pool.pids[0], signal.SIGSTOP)
    waiting = asyncio.create_task(measure(pool, [Candidate(NOW.units[0], UPDATE, OWN[0])]))
    await asyncio.wait([waiting], timeout=0)  # lets the task begin
    await pool.close()
    with pytest.raises(Unavailable):
        await waiting


def wait_for_end(watches: list[int]) -> None:
    """Until every watched process has ended."""
    for watch in watches:
        poller = select.poll()
        poller.register(watch, select.POLLIN)
        assert poller.poll(PATIENCE_S * 1000), "a process lives on"
        os.close(watch)


PROGRAM = """
import asyncio, multiprocessing, os, sys
from chain.params import MINIMAL
from coordinator.evaluation.evaluator import Batches, Candidate
from coordinator.evaluation.pool import EvaluationPool
from miner.training.jobs import digits_job
from chain.records.contribution import WorkUnit

JOB, GENESIS = digits_job()

async def measure():
    pool = EvaluationPool(2)
    unit = WorkUnit(unit=0, miner=bytes(33), segment=0, chunk=0, steps=1)
    item, shared = Candidate(unit, None), Batches(challenge=range(1440, 1460), control=range(9))
    await asyncio.gather(*(
        pool.evaluate(JOB, MINIMAL, GENESIS, [item], shared) for _ in "ab"
    ))
    parents = set()
    for pid in pool.pids:
        with open(f"/proc/{pid}/stat") as stat:
            parents.add(int(stat.read().rsplit(")", 1)[1].split()[1]))
    print(os.getppid(), *sorted(parents), "/", *pool.pids, flush=True)
    return pool

async def wait_for_ever():
    pool = await measure()
    await asyncio.Event().wait()

def replica():
    async def once():
        await (await measure()).close()
    asyncio.run(once())

if __name__ == "__main__":
    if sys.argv[1] == "wait":
        asyncio.run(wait_for_ever())
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["coordinator.evaluation.evaluator"])
    process = context.Process(target=replica)
    process.start()
    process.join()
    sys.exit(process.exitcode)
"""


@pytest.fixture
def program(tmp_path: Path) -> list[str]:
    file = tmp_path / "program.py"
    file.write_text(PROGRAM, encoding="utf-8")
    return [sys.executable, str(file)]


def test_killing_the_replica_leaves_no_worker(program: list[str]) -> None:
    """kill -9: no handler of the replica runs, so its workers must notice by themselves."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [*program, "wait"], stdout=subprocess.PIPE, env=environment, text=True
    ) as replica:
        assert replica.stdout is not None
        pids = replica.stdout.readline().split("/")[1].split()
        watches = [os.pidfd_open(int(pid)) for pid in pids]
        assert watches
        replica.kill()
        wait_for_end(watches)


def test_a_replica_that_a_fork_server_forked_uses_that_server(program: list[str]) -> None:
    """Torch is loaded once for all replicas and all their workers."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*program, "fork"], capture_output=True, env=environment, text=True, timeout=PATIENCE_S
    )
    assert done.returncode == 0, done.stderr
    server, *parents = done.stdout.split("/")[0].split()
    assert parents == [server]
