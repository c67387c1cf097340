"""A federation on loopback in one event loop, for tests: real files, TLS, sockets and consensus."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from bft.crypto.identity import PrivateKey
from bft.ordering.request import seal_request
from chain.params import MINIMAL, Params
from chain.records.contribution import Profile, Register, UpdateCommitment, commitment_digest
from chain.records.federation import Genesis
from chain.records.operations import encode_operation
from chain.records.phase import Phase
from coordinator.config import load_setup
from coordinator.cycle.state import State
from coordinator.service.app import ReplicaService
from coordinator.service.work import Pool
from miner.training.jobs import DIGITS_DATASET
from tests.patience import PATIENCE_S
from tests.ports import federation_here
from tests.sample import JOB, SNAPSHOT, STILL

DIGITS = replace(JOB, dataset_digest=DIGITS_DATASET)
"""With records that are here."""
PATIENT = replace(MINIMAL, registration_ms=300, training_ms=3_600_000, reveal_ms=3_600_000)
"""Registration is short, training and reveal stay open until everybody has delivered."""
BUSY = replace(MINIMAL, registration_ms=50)
"""Nobody registers, so that cycle after cycle closes empty and the log grows."""


class NoPool:
    """For federations that never come to measuring."""

    async def evaluate(self, *_: Any) -> Any:
        raise AssertionError("nothing should be measured here")

    async def outer_step(self, *_: Any) -> Any:
        raise AssertionError("no model should be made here")

    async def close(self) -> None:
        """There is nothing to stop."""


class Mill:
    """The running replicas of one federation."""

    def __init__(self, genesis: Genesis, homes: tuple[Path, ...], pool: Callable[[], Pool]) -> None:
        self.genesis, self.homes, self._pool = genesis, homes, pool
        self.services: dict[int, ReplicaService] = {}
        self._runs: dict[int, asyncio.Task[None]] = {}

    @property
    def urls(self) -> list[str]:
        """API addresses by index."""
        return [f"http://{member.api.decode()}" for member in self.genesis.members]

    def state(self, index: int = 0) -> State:
        """A replica's state."""
        return self.services[index].runtime.replica.state

    async def start(self, index: int) -> None:
        """Run a replica."""
        service = await ReplicaService.open(load_setup(self.homes[index]), self._pool())
        self.services[index] = service
        self._runs[index] = asyncio.create_task(service.run())

    async def stop(self, index: int) -> None:
        """End it in good order; raises what ended it before."""
        service = self.services.pop(index)
        service.stop()
        try:
            await self._runs.pop(index)
        finally:
            await service.close()

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for it; fails when a replica dies or patience ends."""
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                for run in self._runs.values():
                    if run.done():
                        run.result()
                await asyncio.sleep(0.01)

    async def reach(self, phase: Phase) -> None:
        """Wait until replica 0 is in a phase."""
        await self.until(lambda: self.state().phase == phase)


@asynccontextmanager
async def running(
    root: Path,
    replicas: int,
    params: Params = STILL,
    start: int | None = None,
    pool: Callable[[], Pool] = NoPool,
) -> AsyncIterator[Mill]:
    """A federation, `start` of its replicas (all by default) running."""
    genesis, homes = federation_here(root, replicas, params, DIGITS, SNAPSHOT)
    mill = Mill(genesis, homes, pool)
    try:
        for index in range(replicas if start is None else start):
            await mill.start(index)
        yield mill
    finally:
        for index in list(mill.services):
            await mill.stop(index)


class Miner:
    """A key, and what it says."""

    def __init__(self, number: int, chain_id: bytes) -> None:
        self.key = PrivateKey(number.to_bytes(32, "big"))
        self.chain_id = chain_id
        self.cseq = 0

    def request(self, operation: Any, cseq: int | None = None) -> bytes:
        """A sealed request with the next sequence number."""
        if cseq is None:
            self.cseq += 1
            cseq = self.cseq
        encoded = encode_operation(operation)
        return seal_request(self.chain_id, self.key.public_key, cseq, encoded, self.key.sign)

    def register(self, cycle: int) -> bytes:
        """A request for work."""
        profile = Profile(device=b"cpu", capacity=1_000_000, memory_bytes=1 << 30)
        return self.request(Register(cycle=cycle, profile=profile))

    def commit(self, cycle: int, unit: int, digest: bytes, salt: bytes) -> bytes:
        """A commitment to an update."""
        commitment = commitment_digest(
            self.chain_id, cycle, unit, self.key.public_key, digest, salt
        )
        return self.request(UpdateCommitment(cycle=cycle, unit=unit, commitment=commitment))
