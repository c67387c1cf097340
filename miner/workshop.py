"""Training in a child process: bounded, stoppable, and measured by the kernel.

    agent --- workshop --- one child for each unit or benchmark

The workshop is forked from the agent before the agent starts threads or an event loop.  It imports
torch once and forks a child for each order, so that a unit costs no import, nothing that training
leaves behind outlives its unit, and wait4(2) says exactly what the unit used.  An agent that was
itself forked from a process with torch loaded (a machine that runs several miners) has a workshop
with torch loaded.

Nothing stays behind: a child whose workshop is gone ends itself, and a workshop whose agent is
gone kills its child and ends.  Only bytes cross the borders, never pickled objects.
"""

import asyncio
import contextlib
import os
import resource
import signal
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from typing import NoReturn

import msgspec

from bft.codec.canonical import decode, encode
from bft.crypto.hashing import sha256
from bft.errors import FederationError, Unavailable
from chain.records.contribution import ResourceReport, WorkUnit
from chain.records.job import Job
from chain.rules.assignment import chunk_records, training_seed
from miner.files import write_durably
from miner.profile import Meter
from miner.sandbox import confine

MESSAGE_BYTES_MAX = 64 * 1024
PROGRESS_EVERY_S = 0.1
ERROR_CHARS_MAX = 500
UNFINISHED = ".unfinished"  # after the name of an update that is not finished


class TrainOrder(msgspec.Struct, frozen=True, tag="train"):
    """Train a unit from the snapshot in the file `base`; put the update into the file `target`."""

    number: int  # of the order; notes name it
    base: str
    target: str
    seed: bytes  # the assignment's
    unit: bytes  # encoded WorkUnit
    feedback: str  # directory of what earlier updates did not tell; empty: none is kept


class MeasureOrder(msgspec.Struct, frozen=True, tag="measure"):
    """Measure this machine's capacity on the snapshot in the file `base`."""

    number: int
    base: str


class StopOrder(msgspec.Struct, frozen=True, tag="stop"):
    """Kill the child that works, if one does."""


class Progress(msgspec.Struct, frozen=True, tag="progress"):
    """A step of training is done."""

    number: int
    step: int
    steps: int
    loss: float  # nats, of the last minibatch


class Finished(msgspec.Struct, frozen=True, tag="finished"):
    """The child is done: an update in its file, or a measured capacity."""

    digest: bytes = b""  # SHA-256 of the update
    size: int = 0
    capacity: int = 0  # parameter-samples per second


class Broken(msgspec.Struct, frozen=True, tag="broken"):
    """The child gave nothing."""

    text: str


class Settled(msgspec.Struct, frozen=True, tag="settled"):
    """What became of an order, and what it used."""

    number: int
    outcome: Finished | Broken
    resources: bytes  # encoded ResourceReport


Order = TrainOrder | MeasureOrder | StopOrder
Note = Progress | Settled


class Workshop:
    """The agent's end.  Make it early (see the module's head), attach it to the loop, use it."""

    def __init__(
        self,
        job: Job,
        *,
        watts_per_core: int,
        niceness: int,
        device: str = "cpu",
        sandbox: bool = False,
    ) -> None:
        """Fork the workshop.  `sandbox`: who trains is confined (miner/sandbox.py)."""
        self._connection, theirs = Pipe(duplex=True)
        self.pid = os.fork()
        if self.pid == 0:
            self._connection.close()
            _Bench(theirs, job, watts_per_core, niceness, device, sandbox).serve()
        theirs.close()
        self.gone = False  # it died, and no order can be carried out any more
        self._turn = asyncio.Lock()
        self._number = 0
        self._result: asyncio.Future[Settled] | None = None
        self._on_progress: Callable[[Progress], None] | None = None

    async def train(
        self,
        base: Path,
        target: Path,
        seed: bytes,
        unit: WorkUnit,
        on_progress: Callable[[Progress], None],
        feedback: Path | None = None,
    ) -> tuple[bytes, int, ResourceReport]:
        """(digest, size, what was used) of the update, whose bytes are in `target`, synced.

        `feedback` is the directory of error feedback (miner/training/feedback.py).

        Raises:
            Unavailable: training failed or was stopped, or the workshop is gone.
        """
        finished, report = await self._give(
            lambda number: TrainOrder(
                number=number,
                base=str(base),
                target=str(target),
                seed=seed,
                unit=encode(unit),
                feedback=str(feedback or ""),
            ),
            on_progress,
        )
        return finished.digest, finished.size, report

    async def measure(self, base: Path) -> int:
        """This machine's capacity in parameter-samples per second.  Raises Unavailable."""
        finished, _ = await self._give(
            lambda number: MeasureOrder(number=number, base=str(base)), None
        )
        return finished.capacity

    async def _give(
        self, order: Callable[[int], Order], on_progress: Callable[[Progress], None] | None
    ) -> tuple[Finished, ResourceReport]:
        async with self._turn:
            loop = asyncio.get_running_loop()
            self._number += 1
            self._result, self._on_progress = loop.create_future(), on_progress
            loop.add_reader(self._connection.fileno(), self._read)
            try:
                self._send(order(self._number))
                settled = await self._result
            except asyncio.CancelledError:
                self.stop()
                raise
            finally:
                loop.remove_reader(self._connection.fileno())
        if isinstance(settled.outcome, Broken):
            raise Unavailable(settled.outcome.text)
        return settled.outcome, decode(ResourceReport, settled.resources)

    def _send(self, order: Order) -> None:
        try:
            self._connection.send_bytes(msgspec.json.encode(order))
        except OSError as error:
            self.gone = True
            raise Unavailable(f"the workshop is gone: {error}") from None

    def _read(self) -> None:
        """One note has come; it may be of an order that nobody waits for any more."""
        assert self._result is not None
        try:
            data = self._connection.recv_bytes(MESSAGE_BYTES_MAX)
        except (EOFError, OSError):
            self.gone = True
            if not self._result.done():
                self._result.set_exception(Unavailable("the workshop is gone"))
            return
        note: Note = msgspec.json.decode(data, type=Note)
        if note.number != self._number:
            return
        if isinstance(note, Settled):
            if not self._result.done():
                self._result.set_result(note)
        elif self._on_progress is not None:
            self._on_progress(note)

    def stop(self) -> None:
        """Kill the child that works; its order ends with Unavailable."""
        with contextlib.suppress(Unavailable):
            self._send(StopOrder())

    def close(self) -> None:
        """End the workshop and whatever works in it, and wait until both are gone."""
        self._connection.close()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)


class _Bench:
    """The workshop's own process: one thread, one child at a time."""

    def __init__(
        self,
        agent: Connection,
        job: Job,
        watts_per_core: int,
        niceness: int,
        device: str,
        sandbox: bool,
    ) -> None:
        self._agent, self._job = agent, job
        self._watts_per_core, self._niceness = watts_per_core, niceness
        self._device, self._sandbox = device, sandbox

    def serve(self) -> NoReturn:
        """Until the agent is gone.  Never returns into the agent's code."""
        code = 1
        try:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the agent's to handle
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            while True:
                order = self._next_order()
                if not isinstance(order, StopOrder):
                    self._agent.send_bytes(msgspec.json.encode(self._carry_out(order)))
        except (EOFError, BrokenPipeError, ConnectionResetError):
            code = 0
        finally:
            os._exit(code)

    def _next_order(self) -> Order:
        data = self._agent.recv_bytes(MESSAGE_BYTES_MAX)
        order: Order = msgspec.json.decode(data, type=Order)
        return order

    def _carry_out(self, order: TrainOrder | MeasureOrder) -> Settled:
        try:
            import miner.training.benchmark
            import miner.training.trainer  # noqa: F401  once here, so in no child
            from miner.training.data import load
        except ImportError as error:
            outcome: Finished | Broken = Broken(f"cannot train here: {error}")
            return Settled(order.number, outcome, encode(_nothing_used()))
        with contextlib.suppress(FederationError):  # the child will say what is wrong
            load(self._job)  # read and checked once, shared with all children
        meter, started = Meter(self._watts_per_core), time.monotonic()
        notes, theirs = Pipe(duplex=False)
        lifeline, held = os.pipe()
        pid = os.fork()
        if pid == 0:
            notes.close()
            self._agent.close()
            os.close(held)
            settings = (self._niceness, self._device, self._sandbox)
            _work(theirs, lifeline, self._job, settings, order)
        theirs.close()
        os.close(lifeline)
        try:
            outcome = self._follow(notes, pid)
        finally:
            os.close(held)
            notes.close()
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            _, _, usage = os.wait4(pid, 0)
        report = meter.report(usage, int((time.monotonic() - started) * 1000))
        return Settled(order.number, outcome, encode(report))

    def _follow(self, notes: Connection, pid: int) -> Finished | Broken:
        """Pass the child's progress on until it is done, dead, or to be stopped.

        Raises:
            EOFError: the agent is gone.
        """
        outcome: Finished | Broken = Broken("the training process died")
        while True:
            ready = wait([self._agent, notes])
            if self._agent in ready and isinstance(self._next_order(), StopOrder):
                os.kill(pid, signal.SIGKILL)
                return Broken("training was stopped")
            if notes not in ready:
                continue
            try:
                data = notes.recv_bytes(MESSAGE_BYTES_MAX)
            except (EOFError, OSError):
                return outcome
            note: Progress | Finished | Broken = msgspec.json.decode(
                data, type=Progress | Finished | Broken
            )
            if isinstance(note, Progress):
                self._agent.send_bytes(data)
            else:
                outcome = note


def _nothing_used() -> ResourceReport:
    return ResourceReport(
        cpu_user_ms=0,
        cpu_system_ms=0,
        wall_ms=0,
        memory_peak_bytes=0,
        energy_mj=0,
        estimated=1,
    )


# In the child.


def _work(
    notes: Connection,
    lifeline: int,
    job: Job,
    settings: tuple[int, str, bool],
    order: TrainOrder | MeasureOrder,
) -> NoReturn:
    """Carry out one order, tell the result, end.  `settings`: niceness, device, sandbox."""
    code = 1
    niceness, device, sandbox = settings
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        try:
            if sandbox:  # before there is another thread
                confine(_writable(order, device))
            threading.Thread(target=_end_with, args=(lifeline,), daemon=True).start()
            result: Finished | Broken = _result(notes, job, niceness, device, order)
        except (FederationError, OSError, ValueError, MemoryError) as error:
            text = f"{type(error).__name__}: {error}"[:ERROR_CHARS_MAX]
            result = Broken(text)
        notes.send_bytes(msgspec.json.encode(result))
        code = 0
    finally:
        os._exit(code)


def _writable(order: TrainOrder | MeasureOrder, device: str) -> list[Path]:
    """Directories in which an order's result is written; accelerators are files below /dev."""
    found = [] if device == "cpu" else [Path("/dev")]
    if isinstance(order, TrainOrder):
        found.append(Path(order.target).parent)
        if order.feedback:
            Path(order.feedback).mkdir(mode=0o700, parents=True, exist_ok=True)
            found.append(Path(order.feedback))
    return found


def _end_with(lifeline: int) -> NoReturn:
    """End this process when the one that holds the other end is gone."""
    os.read(lifeline, 1)
    os._exit(1)


def _result(
    notes: Connection,
    job: Job,
    niceness: int,
    device: str,
    order: TrainOrder | MeasureOrder,
) -> Finished:
    from miner.training.benchmark import measure_capacity
    from miner.training.feedback import FeedbackStore
    from miner.training.trainer import train_unit

    base = Path(order.base).read_bytes()
    if isinstance(order, MeasureOrder):
        return Finished(capacity=measure_capacity(job, base, device))
    os.nice(niceness)
    unit = decode(WorkUnit, order.unit)
    told_at = 0.0

    def tell(step: int, steps: int, loss: float) -> None:
        nonlocal told_at
        now = time.monotonic()
        if step == steps or now - told_at >= PROGRESS_EVERY_S:
            told_at = now
            progress = Progress(number=order.number, step=step, steps=steps, loss=loss)
            notes.send_bytes(msgspec.json.encode(progress))

    records = chunk_records(order.seed, job, unit.chunk)
    seed = training_seed(order.seed, unit)
    feedback = FeedbackStore(Path(order.feedback)) if order.feedback else None
    unfinished = Path(order.target + UNFINISHED)
    update = train_unit(job, base, unit, records, seed, tell, feedback, unfinished, device)
    write_durably(Path(order.target), update, mode=0o600)
    return Finished(digest=sha256(update), size=len(update))
