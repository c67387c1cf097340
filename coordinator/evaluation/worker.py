"""A worker process: takes one task's bytes, measures or steps, gives the answer's bytes, until its
pool or the pool's process is gone.

Only encoded records cross the border, in both directions.
"""

import os
import signal
import threading
from functools import partial
from multiprocessing import parent_process
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from bft.codec.canonical import Record, decode, encode
from bft.codec.types import U8, U32, U63, Bytes32
from bft.crypto.hashing import sha256
from bft.errors import DecodeError, FederationError
from chain.params import Params
from chain.records.contribution import WorkUnit
from chain.records.evaluation import EvaluationRow, NextModel, ScoreRow
from chain.records.job import Job
from chain.rules.aggregation import Scored
from coordinator.evaluation.evaluator import Batches, Bench, Candidate
from coordinator.evaluation.stepping import make_models

MESSAGE_BYTES_MAX = 1 << 30


class Item(Record):
    """A candidate; `held` is 0 when the update's bytes are not here."""

    unit: WorkUnit
    held: U8
    update: bytes
    own: tuple[U32, ...]
    cap: U63
    chunk: tuple[U32, ...]


class EvaluateTask(Record):
    """Arguments of `evaluate`."""

    job: Job
    params: Params
    base: bytes
    items: tuple[Item, ...]
    challenge: tuple[U32, ...]
    control: tuple[U32, ...]
    seed: Bytes32


class Step(Record):
    """One scored update: its bytes, or the file that holds them, named by their digest."""

    row: ScoreRow
    update: bytes
    path: bytes


class StepTask(Record):
    """Arguments of `make_models`."""

    job: Job
    base: bytes
    updates: tuple[Step, ...]
    randomness: Bytes32
    challenge: tuple[U32, ...]


class Task(Record):
    """One of the two."""

    evaluate: EvaluateTask | None
    step: StepTask | None


class Stepped(Record):
    """The next snapshots, the full step's first, and what was measured of each."""

    snapshots: tuple[bytes, ...]
    models: tuple[NextModel, ...]


class Answer(Record):
    """What came of a task: rows, a step, or a text that says why neither."""

    rows: tuple[EvaluationRow, ...]
    stepped: Stepped | None
    error: Annotated[bytes, Meta(max_length=4096)]


class _Place:
    """The bench of the last evaluation: a cycle's next task finds base and batches as they were."""

    def __init__(self) -> None:
        self._key: tuple[object, ...] = ()
        self._bench: Bench | None = None

    def bench(self, task: EvaluateTask) -> Bench:
        """Raises ConfigError, DecodeError: see `Bench`."""
        batches = Batches(challenge=task.challenge, control=task.control, seed=task.seed)
        key = (task.job, task.params, task.base, batches)
        if self._bench is None or key != self._key:
            self._bench = None  # let go before the next one is built
            self._bench = Bench(task.job, task.params, task.base, batches)
            self._key = key
        return self._bench


def serve(connection: Connection) -> None:
    """The worker's main function."""
    place = _Place()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the pool's to handle
    threading.Thread(target=_die_with_parent, daemon=True).start()
    while True:
        try:
            data = connection.recv_bytes(MESSAGE_BYTES_MAX)
            connection.send_bytes(encode(_answer(place, data)))
        except (EOFError, BrokenPipeError):
            return


def _answer(place: _Place, data: bytes) -> Answer:
    try:
        task = decode(Task, data, bytes_max=MESSAGE_BYTES_MAX)
        if task.evaluate:
            return Answer(rows=_rows(place, task.evaluate), stepped=None, error=b"")
        assert task.step
        return Answer(rows=(), stepped=_stepped(task.step), error=b"")
    except (FederationError, ValueError) as error:
        return Answer(rows=(), stepped=None, error=str(error).encode()[:4096])


def _rows(place: _Place, task: EvaluateTask) -> tuple[EvaluationRow, ...]:
    items = [
        Candidate(item.unit, item.update if item.held else None, item.own, item.cap, item.chunk)
        for item in task.items
    ]
    bench = place.bench(task)
    return tuple(bench.measure(item) for item in items)


def _stepped(task: StepTask) -> Stepped:
    updates = [Scored(step.row, partial(_bytes_of, step)) for step in task.updates]
    snapshots, models = make_models(task.job, task.base, updates, task.randomness, task.challenge)
    return Stepped(snapshots=snapshots, models=models)


def _bytes_of(step: Step) -> bytes:
    """Read when they are needed and let go, so that all updates are never here together."""
    if not step.path:
        return step.update
    path = Path(os.fsdecode(step.path))
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DecodeError(f"update {path.name}: {error.strerror}") from None
    if sha256(data).hex() != path.name:
        raise DecodeError(f"the file of update {path.name} holds other bytes")
    return data


def _die_with_parent() -> None:
    """A replica that was killed cannot stop its workers, so they watch it."""
    parent = parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
