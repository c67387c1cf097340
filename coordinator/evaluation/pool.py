"""Bounded worker processes that measure updates and make the outer step, off the event loop.

A worker that is not done in time, or dies, is killed and replaced; nobody else waits for it.
"""

import asyncio
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

from bft.codec.canonical import decode, encode
from bft.errors import Busy, FederationError, Unavailable
from chain.params import Params
from chain.records.evaluation import EvaluationRow, NextModel, ScoreRow
from chain.records.job import Job
from coordinator.evaluation.evaluator import Batches, Candidate
from coordinator.evaluation.process import WorkerProcess
from coordinator.evaluation.worker import (
    MESSAGE_BYTES_MAX,
    Answer,
    EvaluateTask,
    Item,
    Step,
    Stepped,
    StepTask,
    Task,
)

TASK_UNITS_MAX = 16  # units that one worker measures at a time
TASK_UPDATE_BYTES_MAX = 256 * 1024 * 1024
QUEUE_MAX = 100_000  # units waiting; more are refused
TIMEOUT_S = 90  # for one task's measurements, or longer where the phase is
PHASE_SHARE = 4  # of the evaluation phase, one task may take a quarter
STEP_TIMEOUT_S = 300  # for an outer step; nothing of a miner's choice is run in it


class EvaluationPool:
    """`workers` processes with one torch thread each, started when first needed."""

    def __init__(
        self, workers: int, *, timeout_s: float | None = None, queue_max: int = QUEUE_MAX
    ) -> None:
        """`timeout_s`: of every task, instead of what the constants above say."""
        self._workers = [WorkerProcess() for _ in range(workers)]
        self._idle: SimpleQueue[WorkerProcess] = SimpleQueue()
        for worker in self._workers:
            self._idle.put(worker)
        # One thread waits for each worker; it holds no lock and does no work of its own.
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="evaluation")
        self._timeout_s = timeout_s
        self._queue_max = queue_max
        self._queued = 0
        self._closed = False

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids of the workers that run."""
        return tuple(worker.pid for worker in self._workers if worker.pid is not None)

    async def evaluate(
        self,
        job: Job,
        params: Params,
        base: bytes,
        items: Sequence[Candidate],
        shared: Batches,
    ) -> tuple[EvaluationRow, ...]:
        """One row per item, in their order (see `evaluator.evaluate`).

        Units whose worker was lost are measured once more, each alone; one that no worker of this
        replica can measure counts as invalid, and the median of the replicas decides.

        Raises:
            Busy: more units are waiting than `queue_max`.
            Unavailable: the pool was closed.
            FederationError: the job or its base cannot be measured at all.
        """
        self._admit(len(items))
        try:
            parts = [self._measure(job, params, base, part, shared) for part in _parts(items)]
            rows = await asyncio.gather(*parts)
        finally:
            self._queued -= len(items)
        return tuple(row for part in rows for row in part)

    async def outer_step(
        self,
        job: Job,
        base: bytes,
        updates: Sequence[tuple[ScoreRow, bytes | Path]],
        randomness: bytes,
        challenge: Sequence[int],
    ) -> tuple[tuple[bytes, ...], tuple[NextModel, ...]]:
        """The next snapshots and what was measured of each (see `stepping.make_models`).

        Args:
            updates: scores with the updates' bytes, or with files that are named by the hexadecimal
                SHA-256 of what they hold; the worker reads these one at a time.

        Raises:
            Busy: more units are waiting than `queue_max`.
            Unavailable: not done in time, or the pool was closed.
            FederationError: base or updates are not those that were scored.
        """
        self._admit(len(updates))
        step = StepTask(
            job=job,
            base=base,
            updates=tuple(_step(row, update) for row, update in updates),
            randomness=randomness,
            challenge=tuple(challenge),
        )
        task = Task(evaluate=None, step=step)
        try:
            stepped = (await self._run(task, STEP_TIMEOUT_S)).stepped
        finally:
            self._queued -= len(updates)
        assert isinstance(stepped, Stepped)
        return stepped.snapshots, stepped.models

    async def close(self) -> None:
        """Stop all workers, busy or not."""
        self._closed = True
        await asyncio.to_thread(self._stop)

    def _stop(self) -> None:
        for worker in self._workers:
            worker.kill()
        self._threads.shutdown()
        for worker in self._workers:
            worker.kill()  # one that a task started meanwhile

    def _admit(self, units: int) -> None:
        if self._queued + units > self._queue_max:
            raise Busy(f"{self._queued} units wait; with {units} more than {self._queue_max}")
        self._queued += units

    async def _measure(
        self,
        job: Job,
        params: Params,
        base: bytes,
        items: Sequence[Candidate],
        shared: Batches,
    ) -> tuple[EvaluationRow, ...]:
        """Rows of one task's items; divided when its worker is lost."""
        task = EvaluateTask(
            job=job,
            params=params,
            base=base,
            items=tuple(map(_item, items)),
            challenge=tuple(shared.challenge),
            control=tuple(shared.control),
            seed=shared.seed,
        )
        patience_s = max(TIMEOUT_S, params.evaluation_ms / 1000 / PHASE_SHARE)
        try:
            return (await self._run(Task(evaluate=task, step=None), patience_s)).rows
        except Unavailable:
            if self._closed:
                raise
        if len(items) == 1:
            unit = items[0].unit.unit
            return (EvaluationRow(unit=unit, valid=0, gain=0, advantage=0, norm=0, replay=0),)
        alone = [self._measure(job, params, base, [item], shared) for item in items]
        return tuple(row for (row,) in await asyncio.gather(*alone))

    async def _run(self, task: Task, timeout_s: float) -> Answer:
        loop = asyncio.get_running_loop()
        if self._closed:
            raise Unavailable("the evaluation pool is closed")
        data = encode(task)
        answer = decode(
            Answer,
            await loop.run_in_executor(self._threads, self._call, data, self._limit(timeout_s)),
            bytes_max=MESSAGE_BYTES_MAX,
        )
        if answer.error:
            raise FederationError(answer.error.decode(errors="replace"))
        return answer

    def _limit(self, timeout_s: float) -> float:
        return timeout_s if self._timeout_s is None else self._timeout_s

    def _call(self, task: bytes, timeout_s: float) -> bytes:
        """In a thread: hand the task to an idle worker.  Raises Unavailable."""
        worker = self._idle.get()
        try:
            if self._closed:
                raise Unavailable("the evaluation pool is closed")
            return worker.call(task, timeout_s)
        except (EOFError, OSError):
            worker.kill()
            raise Unavailable("an evaluation worker died or was not done in time") from None
        finally:
            self._idle.put(worker)


def _item(item: Candidate) -> Item:
    return Item(
        unit=item.unit,
        held=int(item.update is not None),
        update=item.update or b"",
        own=tuple(item.own),
        cap=item.cap,
        chunk=tuple(item.chunk),
    )


def _step(row: ScoreRow, update: bytes | Path) -> Step:
    if isinstance(update, Path):
        return Step(row=row, update=b"", path=os.fsencode(update))
    return Step(row=row, update=update, path=b"")


def _parts(items: Sequence[Candidate]) -> list[list[Candidate]]:
    """Items in tasks of bounded number and size."""
    parts: list[list[Candidate]] = []
    size = 0
    for item in items:
        length = len(item.update or b"")
        full = not parts or len(parts[-1]) == TASK_UNITS_MAX
        if full or size + length > TASK_UPDATE_BYTES_MAX:
            parts.append([])
            size = 0
        parts[-1].append(item)
        size += length
    return parts
