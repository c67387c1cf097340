"""Looks at several replicas at once; what one of them says wrongly counts as no answer."""

import asyncio
from typing import Any, TypeVar

import aiohttp
import msgspec

from bft.codec.canonical import decode
from bft.errors import DecodeError, Unavailable
from chain.federation import api
from chain.federation.asking import ask_json
from chain.monitor.watch import CycleLine, Look, Score, Seen, Status
from chain.params import Params
from chain.records.federation import GENESIS_BYTES_MAX, Genesis

CYCLES_ASKED = 12
GENESIS_S = 10
T = TypeVar("T")


class Asker:
    """A session with some replicas."""

    def __init__(self, session: aiohttp.ClientSession, urls: tuple[str, ...]) -> None:
        self._session = session
        self.urls = tuple(dict.fromkeys(url.rstrip("/") for url in urls))
        self.params: Params | None = None  # of the chain, once somebody has told

    async def look(self) -> Look:
        """All of them now.  Never raises for what they say or do not say."""
        replicas = tuple(await asyncio.gather(*(self._seen(url) for url in self.urls)))
        look = Look(replicas=replicas)
        best = look.best
        if best is None:
            return look
        url = next(seen.url for seen in replicas if seen.status is best)
        try:
            if self.params is None:
                self.params = await self._params(url)
            cycles = await self._cycles(url, best.cycle)
            scored, scores = await self._scores(url, cycles)
        except Unavailable:
            return look
        return Look(replicas=replicas, cycles=cycles, scores=scores, scored_cycle=scored)

    async def _seen(self, url: str) -> Seen:
        try:
            told = await ask_json(self._session, url + api.STATUS)
            return Seen(url=url, status=_read(Status, told, url))
        except Unavailable as error:
            return Seen(url=url, status=None, error=str(error).removeprefix(f"{url}: "))

    async def _cycles(self, url: str, newest: int) -> tuple[CycleLine, ...]:
        first = max(1, newest - CYCLES_ASKED + 1)
        told = await ask_json(self._session, f"{url}{api.CYCLES}?from={first}")
        return tuple(_read(list[CycleLine], told, url)[-CYCLES_ASKED:][::-1])

    async def _scores(
        self, url: str, cycles: tuple[CycleLine, ...]
    ) -> tuple[int | None, tuple[Score, ...]]:
        for line in cycles:
            if line.loss is not None:
                told = await ask_json(self._session, url + api.CYCLE.format(cycle=line.cycle))
                rows = (told or {}).get("scored") or {}
                return line.cycle, tuple(_read(list[Score], rows.get("rows", []), url))
        return None, ()

    async def _params(self, url: str) -> Params:
        try:
            async with (
                asyncio.timeout(GENESIS_S),
                self._session.get(url + api.GENESIS, allow_redirects=False) as answer,
            ):
                data = await answer.content.read(GENESIS_BYTES_MAX + 1)
                while len(data) <= GENESIS_BYTES_MAX and not answer.content.at_eof():
                    data += await answer.content.read(GENESIS_BYTES_MAX + 1 - len(data))
        except (TimeoutError, aiohttp.ClientError) as error:
            raise Unavailable(f"{url}: {error}") from None
        try:
            return decode(Genesis, data, bytes_max=GENESIS_BYTES_MAX).params
        except DecodeError as error:
            raise Unavailable(f"{url}: {error}") from None


def _read(kind: type[T], told: Any, url: str) -> T:
    try:
        return msgspec.convert(told, kind)
    except msgspec.ValidationError as error:
        raise Unavailable(f"{url}: an unexpected answer: {error}") from None
