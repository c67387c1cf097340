"""Whole cycles at one real replica: a miner that delivers, and a pool that measures nothing.

A cycle here ends without a block: nobody makes one, and every rank is voided after its time.
"""

from collections.abc import Sequence
from typing import Any

import aiohttp
from msgspec.structs import replace

from bft.codec.envelope import seal
from bft.crypto.hashing import sha256
from bft.errors import Unavailable
from chain.federation import api
from chain.params import MINIMAL
from chain.records.contribution import ResourceReport, UpdateReveal, UploadAuthorization
from chain.records.evaluation import EvaluationRow, NextModel
from chain.records.phase import Phase
from chain.rules.audits import ONE
from chain.rules.families.registry import segment_parameters
from tests.coordinator.service.mill import Mill, Miner

GRINDING = replace(
    MINIMAL, registration_ms=200, training_ms=3_600_000, reveal_ms=3_600_000, block_ms=50
)
"""Registration and blocks are short, training and reveal wait until everybody has delivered."""
SALT = bytes(32)
RESOURCES = ResourceReport(
    cpu_user_ms=1,
    cpu_system_ms=1,
    wall_ms=1,
    memory_peak_bytes=1,
    energy_mj=1,
    estimated=1,
)


class EasyPool:
    """Everything is worth full tickets; every model is new.  Fails the first times if asked to."""

    def __init__(
        self, measuring: Sequence[Exception] = (), stepping: Sequence[Exception] = ()
    ) -> None:
        """What is raised, one after the other, before the first success of each kind."""
        self.measuring, self.stepping = list(measuring), list(stepping)
        self.models = 0

    async def evaluate(
        self, job: Any, params: Any, base: bytes, items: Sequence[Any], shared: Any
    ) -> tuple[EvaluationRow, ...]:
        """See `Pool`."""
        if self.measuring:
            raise self.measuring.pop(0)
        if any(item.update is None for item in items):
            raise Unavailable("an update is missing")
        return tuple(
            EvaluationRow(
                unit=item.unit.unit, valid=1, gain=10**6, advantage=2**15, norm=9, replay=ONE
            )
            for item in items
        )

    async def outer_step(
        self, job: Any, base: bytes, updates: Any, randomness: bytes, challenge: Sequence[int]
    ) -> tuple[tuple[bytes, ...], tuple[NextModel, ...]]:
        """See `Pool`."""
        if self.stepping:
            raise self.stepping.pop(0)
        self.models += 1
        model = b"model %d after %s" % (self.models, sha256(base))
        return (model,), (NextModel(digest=sha256(model), challenge_loss=4, loss=5, correct=3),)

    async def close(self) -> None:
        """There is nothing to stop."""


class Grinder:
    """A miner at replica 0."""

    def __init__(self, mill: Mill, session: aiohttp.ClientSession) -> None:
        self._mill, self._session = mill, session
        self._miner = Miner(7, mill.genesis.chain_id)

    async def post(self, request: bytes) -> str:
        """The answer's code."""
        url = self._mill.urls[0] + api.REQUESTS
        async with self._session.post(url, data=request) as answer:
            return str((await answer.json(content_type=None))["code"])

    async def upload(self, data: bytes) -> bytes:
        """PUT; the sealed receipt."""
        asked = UploadAuthorization(
            chain_id=self._mill.genesis.chain_id,
            cycle=self._mill.state().cycle,
            digest=sha256(data),
            size=len(data),
        )
        key = self._miner.key
        headers = {api.UPLOAD_HEADER: seal(asked, key.public_key, key.sign).hex()}
        url = self._mill.urls[0] + api.BLOBS.format(digest=sha256(data).hex())
        async with self._session.put(url, data=data, headers=headers) as answer:
            assert answer.status == 201, await answer.text()
            return await answer.read()

    async def work(self, update: bytes) -> int:
        """Register and commit, so that reveals are open; the cycle."""
        mill = self._mill
        await mill.reach(Phase.REGISTRATION)
        while mill.state().phase == Phase.REGISTRATION:
            # Registration is short: a late one is repeated for the next cycle.
            if await self.post(self._miner.register(mill.state().cycle)) == "accepted":
                await mill.reach(Phase.TRAINING)
        cycle = mill.state().cycle
        commitment = self._miner.commit(cycle, 0, sha256(update), SALT)
        assert await self.post(commitment) == "accepted"
        await mill.reach(Phase.REVEAL)
        return cycle

    async def reveal(self, update: bytes) -> None:
        """Upload the update and open the commitment."""
        receipt = await self.upload(update)
        state, job = self._mill.state(), self._mill.genesis.job
        opening = UpdateReveal(
            cycle=state.cycle,
            unit=0,
            salt=SALT,
            digest=sha256(update),
            size=len(update),
            parameters=segment_parameters(job, state.units[0].segment),
            resources=RESOURCES,
            receipts=(receipt,),
        )
        assert await self.post(self._miner.request(opening)) == "accepted"

    async def cycle(self, update: bytes) -> int:
        """A whole cycle; its number."""
        cycle = await self.work(update)
        await self.reveal(update)
        await self._mill.until(lambda: self._mill.state().cycle > cycle)
        return cycle
