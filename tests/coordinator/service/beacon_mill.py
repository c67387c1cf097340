"""A federation that has signed both rounds of one cycle, and stands still with its certificate.

Four real replicas, one miner; measurements come from `EasyPool`.  The block of the certificate's
rank is waited for, for half an hour.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from msgspec.structs import replace

from bft.codec.envelope import seal
from bft.crypto.hashing import sha256
from chain.federation import api
from chain.records.contribution import UpdateReveal, UploadAuthorization
from chain.records.phase import Phase
from chain.rules.families.registry import segment_parameters
from chain.rules.founding import BLOCK_MS_MAX
from chain.rules.rounds import challenge_round, draw_round
from tests.coordinator.service.grinding import GRINDING, RESOURCES, SALT, EasyPool, Grinder
from tests.coordinator.service.mill import Mill, running

UPDATE = b"an update's bytes"
WAITING = replace(GRINDING, block_ms=BLOCK_MS_MAX)
REPLICAS = 4


@dataclass(frozen=True)
class Beaming:
    """The federation, and the cycle that has rounds and a certificate."""

    mill: Mill
    cycle: int

    @property
    def rounds(self) -> tuple[int, int]:
        """The two rounds that there are."""
        return challenge_round(self.cycle), draw_round(self.cycle)

    @property
    def federation_key(self) -> bytes:
        """96 bytes."""
        key = self.mill.state().federation_key
        assert key is not None
        return key.key


class WeakGrinder(Grinder):
    """A miner that stores its update with `weak` replicas."""

    async def _receipt(self, index: int) -> bytes:
        asked = UploadAuthorization(
            chain_id=self._mill.genesis.chain_id,
            cycle=self._mill.state().cycle,
            digest=sha256(UPDATE),
            size=len(UPDATE),
        )
        key = self._miner.key
        headers = {api.UPLOAD_HEADER: seal(asked, key.public_key, key.sign).hex()}
        url = self._mill.urls[index] + api.BLOBS.format(digest=sha256(UPDATE).hex())
        async with self._session.put(url, data=UPDATE, headers=headers) as answer:
            assert answer.status == 201, await answer.text()
            return await answer.read()

    async def open(self) -> None:
        """Upload, and open the commitment."""
        state, job = self._mill.state(), self._mill.genesis.job
        receipts = [await self._receipt(index) for index in range(2)]
        opening = UpdateReveal(
            cycle=state.cycle,
            unit=0,
            salt=SALT,
            digest=sha256(UPDATE),
            size=len(UPDATE),
            parameters=segment_parameters(job, state.units[0].segment),
            resources=RESOURCES,
            receipts=tuple(receipts),
        )
        assert await self.post(self._miner.request(opening)) == "accepted"


@asynccontextmanager
async def beaming(root: Path) -> AsyncIterator[Beaming]:
    """The federation, with the rounds and the certificate in every replica's log."""
    async with (
        running(root, REPLICAS, WAITING, pool=EasyPool) as mill,
        aiohttp.ClientSession() as session,
    ):
        grinder = WeakGrinder(mill, session)
        cycle = await grinder.work(UPDATE)
        await mill.until(lambda: {mill.state(at).phase for at in (0, 1)} == {Phase.REVEAL})
        await grinder.open()
        await mill.until(lambda: {mill.state(at).phase for at in range(REPLICAS)} == {Phase.BLOCK})
        yield Beaming(mill, cycle)
