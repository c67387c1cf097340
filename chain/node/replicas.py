"""Asks replicas once a second for blocks that the federation finalised; verifies all it gets.

A replica is a courier, nothing more: what it brings counts by its signatures alone.  Evidence
against winners, which this node has, is shown to each of them.
"""

import asyncio
import logging
from collections.abc import Callable

import aiohttp

from bft.codec.canonical import decode
from bft.errors import DecodeError, Refused, Unavailable
from chain.federation.api import BLOCK, BLOCK_BYTES_MAX, FINALITY, REQUESTS
from chain.federation.transport import JSON_BYTES_MAX, Reply
from chain.gossip_events import BlockSubmitted, Event, FinalitySubmitted
from chain.node.core import NodeCore
from chain.node.epochs import fetch_epochs
from chain.records.block import block_hash, decode_certified_header
from chain.records.evidence import Finality
from chain.records.score_log import BlockFinal

POLL_S = 1
EPOCHS_POLLS = 30  # a replica is asked for new epochs once in so many polls
ANSWER_S_MAX = 5
BLOCKS_PER_POLL_MAX = 64
FINALITY_BYTES_MAX = 512
SHOWN_WAIT_MS = 2_000  # for evidence to be ordered; a replica that takes longer is asked again
LOG = logging.getLogger("gristmill.node")


async def poll_replica(url: str, core: NodeCore, step: Callable[[Event], None]) -> None:
    """Asks the replica at `url` for ever; `step` takes what it brings."""
    await _Poller(url.rstrip("/"), url, core, step).run()


class _Poller:
    def __init__(self, base: str, name: str, core: NodeCore, step: Callable[[Event], None]) -> None:
        self._base, self._name, self._core, self._step = base, name, core, step

    async def run(self) -> None:
        timeout = aiohttp.ClientTimeout(total=ANSWER_S_MAX)
        checked, polls = False, 0
        async with aiohttp.ClientSession(timeout=timeout) as session:
            while self._name in self._core.replica_status:
                try:
                    if polls % EPOCHS_POLLS == 0:
                        checked = False
                    checked = checked or await self._follow(session)
                    polls += 1
                    if checked:
                        await self._fetch(session)
                        await self._show(session)
                        self._tell("ok")
                except (aiohttp.ClientError, TimeoutError, OSError) as error:
                    checked = False  # another process may answer next time
                    self._tell(f"no answer: {type(error).__name__}")
                except (DecodeError, Refused, Unavailable) as error:
                    checked = False
                    self._tell(f"not accepted: {error}")
                await asyncio.sleep(POLL_S)

    def _tell(self, text: str) -> None:
        if self._name not in self._core.replica_status:
            return
        if self._core.replica_status[self._name] != text:
            LOG.info("replica %s: %s", self._name, text)
        self._core.note_replica(self._name, text)

    async def _follow(self, session: aiohttp.ClientSession) -> bool:
        """Whether this replica serves the federation whose key we hold; it may have no key yet."""

        async def get(path: str, bytes_max: int) -> bytes | None:
            return await _get(session, self._base + path, bytes_max)

        if await fetch_epochs(self._core, get):
            return True
        self._tell("has no federation key yet")
        return False

    async def _fetch(self, session: aiohttp.ClientSession) -> None:
        """What is final there and not yet here."""
        for _ in range(BLOCKS_PER_POLL_MAX):
            height = self._core.tree.final.height + 1
            data = await _get(session, self._base + BLOCK.format(height=height), BLOCK_BYTES_MAX)
            if data is None:
                return
            self._step(BlockSubmitted(data=data))
            path = FINALITY.format(height=height)
            word = await _get(session, self._base + path, FINALITY_BYTES_MAX)
            if word is None:
                return
            final = decode(BlockFinal, word, bytes_max=FINALITY_BYTES_MAX)
            finality = Finality(
                height=final.height, block=block_hash(final.header), signature=final.signature
            )
            self._step(FinalitySubmitted(finality=finality))
            if self._core.tree.final.height < height:
                return  # the word was on another block; ask again later

    async def _show(self, session: aiohttp.ClientSession) -> None:
        """Evidence that this replica has not answered yet."""
        showing, winners = self._core.showing, self._core.gossip.intake.convicted_winners
        final = self._core.store.final_header(self._core.tree.final.height) if winners else None
        cycle = decode_certified_header(final).certificate.cycle if final is not None else 0
        for certificate, sealed in showing.due(self._name, winners, cycle):
            url = f"{self._base}{REQUESTS}?wait_ms={SHOWN_WAIT_MS}"
            async with session.post(url, data=sealed, allow_redirects=False) as response:
                reply = Reply(response.status, await _body(response, JSON_BYTES_MAX), 0)
            verdict = showing.settle(self._name, certificate, reply)
            if verdict is not None:
                LOG.warning("evidence shown to %s: %s %s", self._name, *verdict)


async def _get(session: aiohttp.ClientSession, url: str, bytes_max: int) -> bytes | None:
    """The body; None on 404.

    Raises:
        aiohttp.ClientError: no such answer.
        DecodeError: longer than `bytes_max`.
    """
    async with session.get(url, allow_redirects=False) as response:
        if response.status == 404:
            return None
        if response.status != 200:
            raise aiohttp.ClientPayloadError(f"status {response.status}")
        return await _body(response, bytes_max)


async def _body(response: aiohttp.ClientResponse, bytes_max: int) -> bytes:
    """Raises DecodeError: longer than `bytes_max`."""
    data = bytearray()
    async for piece in response.content.iter_chunked(64 * 1024):
        data += piece
        if len(data) > bytes_max:
            raise DecodeError(f"more than {bytes_max} bytes came from {response.url}")
    return bytes(data)
