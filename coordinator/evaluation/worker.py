"""A worker process: takes one task's bytes, measures or steps, gives the answer's bytes, until its
pool or the pool's process is gone.

Only encoded records cross the border, in both directions.
"""

import os
import signal
import threading
from multiprocessing import parent_process
from multiprocessing.connection import Connection, wait
from typing import Annotated

from msgspec import Meta

from bft.codec.canonical import Record, decode, encode
from bft.codec.types import U8, U32, U63
from bft.errors import FederationError
from chain.params import Params
from chain.records.contribution import WorkUnit
from chain.records.evaluation import EvaluationRow, ScoreRow
from chain.records.job import Job
from chain.rules.aggregation import outer_step
from coordinator.evaluation.evaluator import Candidate, evaluate, heldout

MESSAGE_BYTES_MAX = 1 << 30


class Item(Record):
    """A candidate; `held` is 0 when the update's bytes are not here."""

    unit: WorkUnit
    held: U8
    update: bytes
    own: tuple[U32, ...]


class EvaluateTask(Record):
    """Arguments of `evaluate`."""

    job: Job
    params: Params
    base: bytes
    items: tuple[Item, ...]
    challenge: tuple[U32, ...]


class Step(Record):
    """One scored update."""

    row: ScoreRow
    update: bytes


class StepTask(Record):
    """Arguments of `outer_step`."""

    job: Job
    base: bytes
    updates: tuple[Step, ...]


class Task(Record):
    """One of the two."""

    evaluate: EvaluateTask | None
    step: StepTask | None


class Stepped(Record):
    """The next snapshot and its held-out measurement."""

    snapshot: bytes
    loss: U63  # micro-nats
    correct: U32
    records: U32


class Answer(Record):
    """What came of a task: rows, a step, or a text that says why neither."""

    rows: tuple[EvaluationRow, ...]
    stepped: Stepped | None
    error: Annotated[bytes, Meta(max_length=4096)]


def serve(connection: Connection) -> None:
    """The worker's main function."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the pool's to handle
    threading.Thread(target=_die_with_parent, daemon=True).start()
    while True:
        try:
            data = connection.recv_bytes(MESSAGE_BYTES_MAX)
            connection.send_bytes(encode(_answer(data)))
        except (EOFError, BrokenPipeError):
            return


def _answer(data: bytes) -> Answer:
    try:
        task = decode(Task, data, bytes_max=MESSAGE_BYTES_MAX)
        if task.evaluate:
            return Answer(rows=_rows(task.evaluate), stepped=None, error=b"")
        assert task.step
        return Answer(rows=(), stepped=_stepped(task.step), error=b"")
    except (FederationError, ValueError) as error:
        return Answer(rows=(), stepped=None, error=str(error).encode()[:4096])


def _rows(task: EvaluateTask) -> tuple[EvaluationRow, ...]:
    items = [Candidate(item.unit, item.update if item.held else None) for item in task.items]
    own = {item.unit.unit: item.own for item in task.items}
    return evaluate(task.job, task.params, task.base, items, task.challenge, own)


def _stepped(task: StepTask) -> Stepped:
    snapshot = outer_step(task.job, task.base, [(step.row, step.update) for step in task.updates])
    loss, correct, records = heldout(task.job, snapshot)
    return Stepped(snapshot=snapshot, loss=loss, correct=correct, records=records)


def _die_with_parent() -> None:
    """A replica that was killed cannot stop its workers, so they watch it."""
    parent = parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
