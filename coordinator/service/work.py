"""What takes long: fetching updates from wherever they are, measuring them, making the next model.

Bytes are asked of the own store first, then of the peers in turn, without waiting long for any;
every digest is checked, so it does not matter who gave them.  What was fetched is kept, so that all
replicas hold all artifacts.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import aiohttp

from bft.errors import DecodeError, FederationError, Unavailable
from chain.federation import api
from chain.params import Params
from chain.records.block import decode_block
from chain.records.evaluation import EvaluationRow, NextModel, ScoreRow
from chain.records.federation import Genesis, MemberRecord
from chain.records.job import Job
from chain.rules.families.registry import heldout_predictions
from coordinator.cycle.duties import Measurement, OuterStep
from coordinator.cycle.state import Reveal
from coordinator.effects import BlockAccepted, Evaluated, Stepped
from coordinator.service.blobs import BLOB_BYTES_MAX, BlobStore, StorageFull
from coordinator.service.bulk import gather

if TYPE_CHECKING:
    from coordinator.evaluation.evaluator import Batches, Candidate

FETCH_S = 20.0  # one peer's answer
SILENCE_S = 5.0  # without a byte of it
HEDGE_S = 1.0  # after so long the next peer is asked as well
RETRY_S = 0.5  # between two rounds through all peers
FETCHES_MAX = 8  # at the same time
EVALUATION_SHARE = 2  # of the phase's time, one part in so many may pass with fetching
BULK_SHARE = 2  # and of that, one part in so many with asking for many at once
UPDATES_AT_ONCE = 256  # of an outer step: fetched, put into files and let go
ATTEMPTS = 3  # of the pool, before this replica gives up for the cycle

log = logging.getLogger("gristmill.work")


class Pool(Protocol):
    """Where tensors are computed; see coordinator/evaluation/pool.py."""

    async def evaluate(
        self,
        job: Job,
        params: Params,
        base: bytes,
        items: Sequence["Candidate"],
        shared: "Batches",
    ) -> tuple[EvaluationRow, ...]:
        """One row per item, in their order."""

    async def outer_step(
        self,
        job: Job,
        base: bytes,
        updates: Sequence[tuple[ScoreRow, bytes | Path]],
        randomness: bytes,
        challenge: Sequence[int],
    ) -> tuple[tuple[bytes, ...], tuple[NextModel, ...]]:
        """The next snapshots and what was measured of each."""

    async def close(self) -> None:
        """Stop all workers."""


def urls_but(members: Sequence[MemberRecord], own: bytes) -> tuple[str, ...]:
    """The APIs of all members but the one with the identity key `own`."""
    return tuple(f"http://{one.api.decode('ascii')}" for one in members if one.key != own)


class Artifacts:
    """Bytes by digest, from here or from the peers."""

    def __init__(self, urls: Sequence[str], store: BlobStore) -> None:
        """`urls`: the peers' APIs, http://host:port."""
        self._urls = list(urls)
        self._store = store
        self._slots = asyncio.Semaphore(FETCHES_MAX)
        self._slow: set[str] = set()  # peers that kept us waiting when they were asked last
        self._session: aiohttp.ClientSession | None = None

    @property
    def urls(self) -> Sequence[str]:
        """The peers' APIs."""
        return self._urls

    async def close(self) -> None:
        """Let go of all connections."""
        if self._session is not None:
            await self._session.close()

    async def get(self, digest: bytes, bytes_max: int) -> bytes:
        """The bytes with this digest.  Asks until it has them; cancel it, or set a timeout."""
        turn = digest[0]  # so that not everybody asks the same peer first
        while True:
            found = await self._own(digest)
            if found is not None:
                return found
            async with self._slots:
                found = await self._from_peers(turn, digest, bytes_max)
            if found is not None:
                return found
            await asyncio.sleep(RETRY_S)

    async def _own(self, digest: bytes) -> bytes | None:
        """The bytes from here; None also when the own store is down: the peers have theirs."""
        try:
            return await self._store.get(digest)
        except Unavailable as error:
            log.error("%s: artifacts are fetched from peers", error)
            return None

    async def _from_peers(self, turn: int, digest: bytes, bytes_max: int) -> bytes | None:
        """The bytes from the first peer that gives them, None when nobody does.

        A peer that is slow, silent or cut off is not waited for: the next one is asked beside it.
        """
        urls = [self._urls[(turn + step) % len(self._urls)] for step in range(len(self._urls))]
        urls.sort(key=lambda url: url in self._slow)
        asked: dict[asyncio.Task[bytes | None], str] = {}
        try:
            while urls or asked:
                if urls:
                    url = urls.pop(0)
                    asked[asyncio.create_task(self._ask(url, digest, bytes_max))] = url
                done, late = await asyncio.wait(
                    asked,
                    timeout=HEDGE_S if urls else None,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                if not done:
                    self._slow.update(asked[task] for task in late)
                for task in done:
                    self._slow.discard(asked.pop(task))
                    data = task.result()
                    if data is not None:
                        return data
            return None
        finally:
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)

    async def _ask(self, url: str, digest: bytes, bytes_max: int) -> bytes | None:
        """The bytes from one peer, checked and kept, or None."""
        data = await self.fetch(url + api.BLOBS.format(digest=digest.hex()), bytes_max)
        return data if data is not None and await self._keep(digest, data) else None

    async def _keep(self, digest: bytes, data: bytes) -> bool:
        """Whether these are the right bytes; they are stored if there is room."""
        try:
            await self._store.put(data, digest)
        except DecodeError as error:
            log.warning("a peer gave other bytes than asked for: %s", error)
            return False
        except (StorageFull, Unavailable) as error:
            log.error("%s: an artifact is used but not kept", error)
        return True

    async def block(self, height: int, block_hash: bytes) -> BlockAccepted | None:
        """The block that the federation finalised, from any peer that has it."""
        for url in self._urls:
            data = await self.fetch(url + api.BLOCK.format(height=height), api.BLOCK_BYTES_MAX)
            try:
                if data is not None and decode_block(data).header.hash == block_hash:
                    return BlockAccepted(height=height, block_hash=block_hash, block=data)
            except DecodeError as error:
                log.warning("%s: %s", url, error)
        return None

    async def many(self, wanted: Mapping[bytes, int], patience_s: float) -> dict[bytes, bytes]:
        """Of the artifacts with these digests and sizes, those that can be had quickly."""
        found: dict[bytes, bytes] = {}
        with suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                await gather(wanted, self._store, self._urls, self.fetch, found)
        return found

    async def fetch(self, url: str, bytes_max: int, asked: bytes | None = None) -> bytes | None:
        """The body at `url`, or None: not there, too long, or too slow.

        `asked`: what to POST there.
        """
        if self._session is None:
            limits = aiohttp.ClientTimeout(
                total=FETCH_S, sock_connect=SILENCE_S, sock_read=SILENCE_S
            )
            self._session = aiohttp.ClientSession(timeout=limits, auto_decompress=False)
        try:
            method = "GET" if asked is None else "POST"
            async with self._session.request(
                method, url, data=asked, allow_redirects=False
            ) as response:
                if response.status != 200:
                    return None
                data = bytearray()
                async for part in response.content.iter_any():
                    data += part
                    if len(data) > bytes_max:
                        log.warning("%s: more than %d bytes came", url, bytes_max)
                        return None
                return bytes(data)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            log.debug("%s: %s", url, error)
            return None


class PoolWorker:
    """Carries out `Evaluate` and `MakeSnapshot`."""

    def __init__(self, genesis: Genesis, artifacts: Artifacts, store: BlobStore, pool: Pool):
        self._job, self._params = genesis.job, genesis.params
        self._artifacts, self._store, self._pool = artifacts, store, pool

    async def evaluate(self, measurement: Measurement) -> Evaluated:
        """Measure all revealed updates; one that cannot be had in time is measured as missing.

        Raises:
            FederationError: the pool failed ATTEMPTS times.
        """
        from coordinator.evaluation.evaluator import batches, candidates  # brings torch

        base = await self._artifacts.get(measurement.base, BLOB_BYTES_MAX)
        patience_s = self._params.evaluation_ms / 1000 / EVALUATION_SHARE
        sizes = {reveal.digest: reveal.size for _, reveal in measurement.candidates}
        found = await self._artifacts.many(sizes, patience_s / BULK_SHARE)
        updates = await asyncio.gather(
            *(
                self._update(found, reveal.digest, reveal.size, patience_s)
                for _, reveal in measurement.candidates
            )
        )
        items, shared = candidates(measurement, updates), batches(measurement)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                rows = await self._pool.evaluate(self._job, self._params, base, items, shared)
                return Evaluated(cycle=measurement.cycle, rows=rows)
            except FederationError as error:
                log.error(
                    "evaluation of cycle %d, attempt %d: %s", measurement.cycle, attempt, error
                )
        raise Unavailable(f"cycle {measurement.cycle} could not be evaluated here")

    async def _update(
        self, found: Mapping[bytes, bytes], digest: bytes, size: int, patience_s: float
    ) -> bytes | None:
        if digest in found:
            return found[digest] if len(found[digest]) == size else None
        try:
            async with asyncio.timeout(patience_s):
                data = await self._artifacts.get(digest, size)
        except TimeoutError:
            log.error("update %s is nowhere to be had", digest.hex())
            return None
        return data if len(data) == size else None

    async def make_snapshot(self, step: OuterStep) -> Stepped:
        """Make and store the next models; every update they are made of is needed.

        Updates wait in their files, so that memory does not grow with their number.

        Raises:
            FederationError: the pool failed ATTEMPTS times.
        """
        base = await self._artifacts.get(step.base, BLOB_BYTES_MAX)
        pairs: list[tuple[ScoreRow, bytes | Path]] = []
        for start in range(0, len(step.updates), UPDATES_AT_ONCE):
            pairs += await self._placed(step.updates[start : start + UPDATES_AT_ONCE])
        for attempt in range(1, ATTEMPTS + 1):
            try:
                snapshots, models = await self._pool.outer_step(
                    self._job, base, pairs, step.randomness, step.challenge
                )
            except FederationError as error:
                log.error("outer step of cycle %d, attempt %d: %s", step.cycle, attempt, error)
                continue
            for snapshot, model in zip(snapshots, models, strict=True):
                await self._store.put(snapshot, model.digest)
            records = heldout_predictions(self._job)
            return Stepped(cycle=step.cycle, models=models, records=records)
        raise Unavailable(f"cycle {step.cycle} has no next model here")

    async def _placed(
        self, updates: Sequence[tuple[ScoreRow, Reveal]]
    ) -> list[tuple[ScoreRow, bytes | Path]]:
        """Scores with the updates' files, or with the bytes of what found no room in one."""
        sizes = {reveal.digest: reveal.size for _, reveal in updates}
        found = await self._artifacts.many(sizes, self._params.snapshot_ms / 1000)
        placed: list[tuple[ScoreRow, bytes | Path]] = []
        for row, reveal in updates:
            data = found.get(reveal.digest)
            if data is None:
                data = await self._artifacts.get(reveal.digest, reveal.size)
            placed.append((row, self._store.path(reveal.digest) or data))
        return placed
