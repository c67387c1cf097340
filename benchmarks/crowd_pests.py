"""Who disturbs benchmarks/crowd.py: clients that send a byte now and then, and one with garbage.

Slow clients come from another address of loopback than the miners, because a replica limits what
one address may hold.
"""

import asyncio
import os
from collections import Counter
from collections.abc import Sequence

from benchmarks.crowd_miners import CrowdMiner
from bft.crypto.hashing import sha256
from bft.errors import FederationError
from chain.federation import api
from chain.federation.transport import JSON_BYTES_MAX, Transport

SLOW_ADDRESS = "127.0.0.2"
BYTE_S = 1.0  # between two bytes of a slow client
HEAD = b"PUT /v1/blobs/00 HTTP/1.1\r\nHost: replica\r\nContent-Length: 1000000\r\nX-Slow: "
GARBAGE_PAUSE_S = 0.1

Door = tuple[str, int]


class SlowClients:
    """`count` connections that never finish a request; each that is closed is opened again."""

    def __init__(self, doors: Sequence[Door], count: int) -> None:
        self.opened = 0
        self.closed = 0  # by a replica
        self._doors, self._count = doors, count

    async def run(self) -> None:
        """Until it is cancelled."""
        await asyncio.gather(*(self._one(number) for number in range(self._count)))

    async def _one(self, number: int) -> None:
        host, port = self._doors[number % len(self._doors)]
        while True:
            await asyncio.sleep(BYTE_S * (1 + number % 10) / 10)
            try:
                _, writer = await asyncio.open_connection(host, port, local_addr=(SLOW_ADDRESS, 0))
            except OSError:
                continue  # the replica is not there just now
            self.opened += 1
            try:
                writer.write(HEAD)
                while True:
                    await asyncio.sleep(BYTE_S)
                    writer.write(b"x")
                    await writer.drain()
            except OSError:
                self.closed += 1
            finally:
                writer.close()


async def throw_garbage(miner: CrowdMiner, urls: Sequence[str], update: bytes) -> Counter[int]:
    """Other bytes than this miner may store, again and again until cancelled; answers by status.

    Returns when it is cancelled.
    """
    answers: Counter[int] = Counter()
    authorization = miner.authorization(update).hex()
    digest, false = sha256(update).hex(), os.urandom(len(update))
    bodies = [
        (digest, authorization, false),
        (digest, authorization, update[:-1]),
        (sha256(false).hex(), authorization, false),
        (digest, authorization[:-2] + "00", update),
        (digest, "", update),
    ]
    async with Transport() as transport:
        try:
            while True:
                for url in urls:
                    for name, header, body in bodies:
                        answers[await _put(transport, url, name, header, body)] += 1
                await asyncio.sleep(GARBAGE_PAUSE_S)
        except asyncio.CancelledError:
            return answers


async def _put(transport: Transport, url: str, name: str, header: str, body: bytes) -> int:
    """The status; 0 when none came."""
    try:
        reply = await transport.exchange(
            "PUT",
            url + api.BLOBS.format(digest=name),
            body=body,
            headers={api.UPLOAD_HEADER: header, "Content-Type": api.OCTETS},
            bytes_max=JSON_BYTES_MAX,
        )
    except FederationError:
        return 0
    return reply.status
