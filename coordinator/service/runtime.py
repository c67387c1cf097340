"""The one loop of a replica: event -> `replica.step` -> journal -> send.

The driver contract of coordinator/effects.py, carried out by a single task.  Everything that waits
for disks, sockets or workers is a task beside it that reports by an event.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, Protocol

from bft.errors import Busy, FederationError, Unavailable
from bft.ordering.batch import decode_batch
from bft.pbft import events as pbft
from bft.pbft.messages import HISTORY_BYTES_MAX, HISTORY_ENTRIES_MAX, Verified
from coordinator.cycle.duties import Duty, Measure, Measurement, OuterStep, Step, duties
from coordinator.durability import may_lag
from coordinator.effects import (
    Announce,
    Answered,
    Append,
    BlockAccepted,
    DrawSeed,
    Effect,
    Evaluate,
    Evaluated,
    Event,
    Installed,
    KeepSecrets,
    MakeSnapshot,
    Restored,
    Stepped,
)
from coordinator.guard.keeper import Keeper
from coordinator.guard.rules import SigningRefused
from coordinator.guard.store import GuardError
from coordinator.replica import CoordinatorReplica
from coordinator.service.inbox import Inbox, Lane
from coordinator.service.journal import Journal, JournalError, durable
from coordinator.service.offers import Item, Offers, Outcome
from coordinator.service.reader import JournalReader
from coordinator.service.requests import Requests
from coordinator.service.standing import Growth
from coordinator.service.vault import Vault

TICK_S = 0.025
TURN_EVENTS_MAX = 128  # events that share one commit
QUIET_EVENTS_MAX = 8  # a turn with more leaves the loop to others while it waits for the disk
QUICK_SYNC_S = 0.003  # a disk that took less is not worth the way to another thread
LANE_PEER_MAX = 1_024  # messages of one peer that wait
LANE_CLIENTS_MAX = 2_048  # requests and blocks of all clients that wait
LANE_OWN_MAX = 1_024  # results of this replica's own tasks that wait
WORK_PAUSE_S = 0.5  # before failed work is done again; doubles with every failure, up to
WORK_PAUSE_S_MAX = 8.0

log = logging.getLogger("gristmill.runtime")


class Halted(FederationError):
    """The replica has stopped and must be looked at."""


class Network(Protocol):
    """How messages leave."""

    def send(self, to: int | None, message: bytes) -> None:
        """Queue a frame for replica `to`, or for all others; never waits."""


class Worker(Protocol):
    """What takes long: measuring updates and making models."""

    async def evaluate(self, measurement: Measurement) -> Evaluated:
        """Fetch the updates and measure them."""

    async def make_snapshot(self, step: OuterStep) -> Stepped:
        """Fetch the updates, make the next model, store it."""


class Runtime:
    """Drives one CoordinatorReplica."""

    def __init__(
        self,
        replica: CoordinatorReplica,
        journal: Journal,
        reader: JournalReader,
        worker: Worker,
        vault: Vault,
        durable_lsn: int = 0,
        on_append: Callable[[Append], None] = lambda append: None,
        keeper: Keeper | None = None,
    ) -> None:
        """Args:
        durable_lsn: the journal's last record after recovery.
        on_append: hears of every batch that is executed and durable.
        keeper: of the guard in front of the keys that `replica` signs with, if there is one.
        """
        self.replica = replica
        self.epoch_ended: Callable[[], None] = self.stop
        self.growth = Growth()
        self._journal, self._reader, self._worker = journal, reader, worker
        self._vault = vault
        self._on_append, self._keeper = on_append, keeper
        self._network: Network | None = None
        self._inbox: Inbox[Item] = Inbox()
        self._own = self._inbox.lane(LANE_OWN_MAX)
        self._clients = self._inbox.lane(LANE_CLIENTS_MAX)
        self.offers = Offers(self._clients.offer)
        self._peers: dict[int, Lane[Item]] = {
            peer: self._inbox.lane(LANE_PEER_MAX)
            for peer in range(replica.members.n)
            if peer != replica.index
        }
        self.requests = Requests(lambda event: self._clients.offer(Item(event)), replica.fresh)
        self._writer = ThreadPoolExecutor(1, "journal")
        self._committing = asyncio.Lock()
        self._tasks: dict[tuple[str, int], asyncio.Task[None]] = {}
        self._durable_lsn = self._written_lsn = durable_lsn
        self._sync_s = QUICK_SYNC_S  # how long the disk took lately
        self._busy = False
        self._requests_of_batch: tuple[bytes, ...] = ()
        self._view = replica.view
        self._stopping = False

    # What others call.

    @property
    def voting(self) -> bool:
        """Whether this replica votes in its view."""
        return self.replica.active

    def standing(self) -> dict[str, Any]:
        """A member's part in the federation, for the status."""
        replica = self.replica
        return {
            "role": "member",
            "replica": replica.index,
            "view": replica.view,
            "active": replica.active,
            "primary": replica.primary,
        }

    async def deliver(self, peer: int, message: Verified) -> None:
        """A verified message from the link of `peer`; waits while that peer's lane is full."""
        await self._peers[peer].put(Item(pbft.Received(message)))

    def resubmit(self, requests: Iterable[bytes]) -> None:
        """Verified requests that waited when the epoch before ended; those that fit in."""
        with suppress(Busy):
            for request in requests:
                self._clients.offer(Item(pbft.Submitted(request)))

    async def learn(self, event: pbft.Learned) -> None:
        """A decided batch that was read from a published log; waits while there is no room."""
        await self._own.put(Item(event))

    async def keep_block(self, block: BlockAccepted) -> None:
        """Store a block that was fetched because the federation finalised it.

        Raises:
            Unavailable: the replica stops.
            JournalError: the disk refused.
        """
        if self._stopping:
            raise Unavailable("this replica stops")
        await self._commit([block])

    def stop(self) -> None:
        """End the loop after the present turn."""
        self._stopping = True
        self._inbox.wake()

    # The loop.

    async def run(self, network: Network) -> None:
        """Until `stop`.

        Raises:
            Halted: consensus or the disk forbids to go on; nothing unwritten was sent.
        """
        self._network = network
        await self._offer_again()
        loop = asyncio.get_running_loop()
        next_tick = loop.time()
        alarm = loop.call_at(next_tick, self._inbox.wake)
        try:
            while not self._stopping:
                await self._inbox.wait()
                items = self._inbox.take(TURN_EVENTS_MAX)
                ticks = loop.time() >= next_tick
                if ticks:
                    items.append(Item(pbft.Tick()))
                    next_tick = loop.time() + TICK_S
                    alarm = loop.call_at(next_tick, self._inbox.wake)
                await self._turn(items, ticks)
                await asyncio.sleep(0)  # let links and HTTP in, whatever the load
        except (JournalError, GuardError, SigningRefused) as error:
            raise Halted(str(error)) from error
        finally:
            alarm.cancel()
            await self._end_tasks()
            self._writer.shutdown()
            if self._keeper is not None:
                await self._keeper.close()

    async def _offer_again(self) -> None:
        """Blocks on the disk that no log entry calls final: if one is due, its vote is still owed.

        Who offered it may be gone, and everybody else may have started anew as well.
        """
        height = self.replica.state.tip.height + 1
        for block in await asyncio.to_thread(self._reader.blocks_at, height):
            self._own.offer(Item(self.offers.event(block)))

    async def _end_tasks(self) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _turn(self, items: Sequence[Item], settle: bool) -> None:
        """`settle`: see `_carry_out`."""
        self._busy = len(items) > QUIET_EVENTS_MAX
        effects: list[Effect] = []
        outcomes = []
        for item in items:
            found = self._step(item.event)
            effects += found
            if item.outcome is not None:
                said = [e for e in found if isinstance(e, Outcome)]
                outcomes.append((item.outcome, said[0]))
        await self._carry_out(effects, settle)
        if self.replica.view != self._view:
            self._view = self.replica.view
            log.info("view %d: replica %d is primary", self._view, self.replica.primary)
        for outcome, effect in outcomes:
            if not outcome.done():
                outcome.set_result(effect)

    def _step(self, event: Event) -> list[Effect]:
        return self.replica.step(
            event, time.monotonic_ns() // 1_000_000, time.time_ns() // 1_000_000
        )

    async def _carry_out(self, effects: list[Effect], settle: bool) -> None:
        """Journal, tell the core, send; then the rest, in order.

        `settle`: what was written behind becomes durable now.
        """
        assert self._network is not None
        rest: list[Effect] = []
        while effects or (settle and self._journal.lags):
            kept = durable(effects)
            guarded = None if self._keeper is None else await self._keeper.secure()
            if guarded is not None:
                kept.append(guarded)
            lsn = max((e.lsn for e in kept if isinstance(e, pbft.Persist)), default=0)
            self._written_lsn = max(self._written_lsn, lsn)
            before = self._durable_lsn
            if may_lag(effects, before) and guarded is None and not settle:
                if kept:
                    await self._write_behind(kept)
            elif kept or self._journal.lags:
                await self._commit(kept)
                self._durable_lsn = self._written_lsn
            for effect in effects:
                if isinstance(effect, pbft.Halt):
                    raise Halted(effect.reason)  # its reason may be on the disk; nothing is sent
            for effect in effects:
                if isinstance(effect, pbft.Send):
                    assert effect.after_lsn <= self._durable_lsn
                    self._network.send(effect.to, effect.message)
            rest += effects
            newly = self._durable_lsn > before
            effects = self._step(pbft.Durable(self._durable_lsn)) if newly else []
        for effect in rest:
            self._do(effect)

    async def _commit(self, kept: list[Any]) -> None:
        """One durable transaction.  Another thread waits for the disk, and does no more.

        For every statement there it would have to win the interpreter back from this thread.  A
        disk that lately was faster than the way to that thread is waited for here, while little
        else is to be done.
        """
        async with self._committing:
            self._journal.write(kept)
            if self._sync_s < QUICK_SYNC_S and not self._busy and not self._journal.is_heavy:
                self._sync()
                return
            synced = asyncio.get_running_loop().run_in_executor(self._writer, self._sync)
            try:
                await asyncio.shield(synced)
            except asyncio.CancelledError:
                await asyncio.wait({synced})  # else it would be in the next transaction's way
                raise

    def _sync(self) -> None:
        started = time.perf_counter()
        self._journal.sync()
        self._sync_s = time.perf_counter() - started

    async def _write_behind(self, kept: list[Any]) -> None:
        """One transaction that the disk may have later; see coordinator/durability.py."""
        async with self._committing:
            self._journal.write_behind(kept)

    def _do(self, effect: Effect) -> None:
        """What neither is stored nor sent."""
        match effect:
            case Append():
                self._requests_of_batch = decode_batch(effect.batch).requests
                self._on_append(effect)
                self.growth.announce()
            case Installed():
                log.warning("took the state after batch %d from others", effect.sequence)
            case Restored():
                self._on_append(effect.append)
                self.growth.announce()
            case Answered():
                self.requests.executed(self._requests_of_batch, effect.answers)
            case Evaluate(measurement=measurement):
                measure = partial(self._worker.evaluate, measurement)
                self._start("evaluate", 0, self._persist(measure, Measure(measurement.cycle)))
            case MakeSnapshot(step=step):
                make = partial(self._worker.make_snapshot, step)
                self._start("snapshot", 0, self._persist(make, Step(step.cycle)))
            case DrawSeed() | KeepSecrets():
                self._start("secrets", 0, self._vault.obey(effect))
            case pbft.EpochEnded(sequence=sequence):
                log.info("epoch %d is over with batch %d", self.replica.epoch, sequence)
                self.epoch_ended()
            case pbft.ServeHistory():
                self._start("history", effect.to, self._serve_history(effect))
            case pbft.Accuse():
                log.error("replica %d is convicted: %s", effect.culprit, effect.text)
            case Announce(record=record):
                cycle = getattr(record, "cycle", self.replica.state.cycle)
                log.info("cycle %d: %s", cycle, type(record).__name__)

    def _start(self, kind: str, number: int, work: Coroutine[Any, Any, Event | None]) -> None:
        """Do `work` beside the loop and report its event; newer work of a kind ends the older."""
        before = self._tasks.get((kind, number))
        if before is not None:
            before.cancel()
        task = asyncio.create_task(self._report(kind, work), name=kind)
        self._tasks[kind, number] = task
        task.add_done_callback(lambda done: self._forget((kind, number), done))

    def _forget(self, key: tuple[str, int], done: asyncio.Task[None]) -> None:
        if self._tasks.get(key) is done:
            del self._tasks[key]

    async def _report(self, kind: str, work: Coroutine[Any, Any, Event | None]) -> None:
        try:
            event = await work
        except FederationError as error:
            log.error("%s: %s", kind, error)
            return
        except Exception:
            log.exception("%s failed", kind)
            return
        if event is not None:
            await self._own.put(Item(event))

    async def _persist(
        self, work: Callable[[], Coroutine[Any, Any, Event]], duty: Duty
    ) -> Event | None:
        """Do `work` again and again until it is done, or `duty` stands no more: then None.

        Without this a failure here, of a worker or of the disk, would cost the replica its table.
        """
        pause = WORK_PAUSE_S
        while True:
            try:
                return await work()
            except FederationError as error:
                log.error("%s: %s", duty, error)
            except Exception:
                log.exception("%s failed", duty)
            await asyncio.sleep(pause)
            if duty not in duties(self.replica.rules, self.replica.state, self.replica.index):
                return None
            pause = min(2 * pause, WORK_PAUSE_S_MAX)

    async def _serve_history(self, asked: pbft.ServeHistory) -> pbft.HistoryRead:
        entries = await asyncio.to_thread(
            self._reader.history,
            asked.from_sequence,
            asked.to_sequence,
            HISTORY_ENTRIES_MAX,
            HISTORY_BYTES_MAX,
        )
        return pbft.HistoryRead(to=asked.to, entries=entries)
