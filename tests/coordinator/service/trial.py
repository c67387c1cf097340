"""One replica, one miner and an HTTP session, for tests of what comes in over HTTP."""

from dataclasses import dataclass
from typing import Any

import aiohttp
from msgspec.structs import replace

from bft.codec.canonical import Record
from bft.codec.envelope import seal
from bft.crypto.hashing import sha256
from bft.crypto.identity import PrivateKey
from chain.federation import api
from chain.records.commands import Commands
from chain.records.contribution import (
    Profile,
    Register,
    UploadAuthorization,
)
from chain.records.operations import encode_operation
from chain.records.phase import Phase
from tests.coordinator.service.mill import Mill, Miner

UPDATE = b"an update's bytes"
SALT = bytes(32)


@dataclass
class Trial:
    """One replica, one miner, one HTTP session."""

    mill: Mill
    miner: Miner
    session: aiohttp.ClientSession

    async def call(
        self, method: str, path: str, **arguments: Any
    ) -> tuple[int, dict[str, Any] | bytes]:
        """(status, JSON or bytes); a refusal must be a problem."""
        url = self.mill.urls[0] + path
        async with self.session.request(method, url, **arguments) as answer:
            if answer.content_type == api.OCTETS:
                return answer.status, await answer.read()
            told = await answer.json(content_type=None)
            if answer.status >= 400:
                assert answer.content_type == api.PROBLEM
                assert told["status"] == answer.status and told["detail"] and told["title"]
            return answer.status, told

    async def post(self, body: bytes, **arguments: Any) -> tuple[int, str]:
        """(status, code) of a request."""
        status, told = await self.call("POST", api.REQUESTS, data=body, **arguments)
        assert isinstance(told, dict)
        return status, told["code"]

    async def put(
        self,
        data: bytes = UPDATE,
        *,
        key: PrivateKey | None = None,
        path_digest: bytes | None = None,
        **changes: Any,
    ) -> tuple[int, dict[str, Any] | bytes]:
        """PUT an update with an authorization, changed as a liar would."""
        key = key or self.miner.key
        asked = UploadAuthorization(
            chain_id=self.mill.genesis.chain_id,
            cycle=self.mill.state().cycle,
            digest=sha256(UPDATE),
            size=len(UPDATE),
        )
        asked = replace(asked, **changes)
        headers = {api.UPLOAD_HEADER: seal(asked, key.public_key, key.sign).hex()}
        path = api.BLOBS.format(digest=(path_digest or asked.digest).hex())
        return await self.call("PUT", path, data=data, headers=headers)

    async def reveal_phase(self) -> None:
        """Register and commit, so that reveals are open."""
        await self.mill.reach(Phase.REGISTRATION)
        while self.mill.state().phase == Phase.REGISTRATION:
            # Registration is short: a late one is repeated for the next cycle.
            answer = await self.post(self.miner.register(self.mill.state().cycle))
            if answer == (200, "accepted"):
                await self.mill.reach(Phase.TRAINING)
        commitment = self.miner.commit(self.mill.state().cycle, 0, sha256(UPDATE), SALT)
        assert await self.post(commitment) == (200, "accepted")
        await self.mill.reach(Phase.REVEAL)


def code(answer: tuple[int, dict[str, Any] | bytes]) -> tuple[int, str]:
    status, told = answer
    assert isinstance(told, dict)
    return status, told["code"]


def registering(cycle: int) -> Register:
    return Register(
        cycle=cycle, profile=Profile(device=b"cpu", capacity=1_000_000, memory_bytes=1 << 30)
    )


def several(miner: Miner, *records: Record) -> bytes:
    """A sealed request with all of them."""
    return miner.request(Commands(operations=tuple(map(encode_operation, records))))
