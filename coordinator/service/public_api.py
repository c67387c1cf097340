"""What everybody may ask: status, records, log, events.

Nothing here has to be believed: records are signed, named by their digest, or stand in the log.
"""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

from aiohttp import hdrs, web

from bft.codec.canonical import Record, encode
from bft.errors import Busy, DecodeError, FederationError, Refused, Unavailable
from chain.federation import api
from chain.records.block import block_hash
from chain.records.federation import Genesis
from chain.records.phase import Phase
from chain.records.score_log import Assigned, BlockFinal, Certified, Scored, decode_leaf
from chain.release import release
from coordinator.service.artifacts_api import ArtifactsApi
from coordinator.service.blobs import BlobStore
from coordinator.service.headers_api import HeadersApi
from coordinator.service.index import CYCLES_MAX, LogIndex
from coordinator.service.outflow import Outflow, push
from coordinator.service.parameters import (
    INTEGER_MAX,
    decimal,
    next_page,
    number,
    path_hex,
    path_number,
)
from coordinator.service.plain import plain_log_record
from coordinator.service.standing import Standing

KEEP_ALIVE_S = 15.0
LAST_EVENT = "Last-Event-ID"


class PublicApi:
    """Handlers of the routes that only read."""

    def __init__(
        self,
        genesis: Genesis,
        operator: bytes,
        runtime: Standing,
        index: LogIndex,
        store: BlobStore,
        peers_up: Callable[[], tuple[int, ...]],
        listeners_max: int,
        outflow: Outflow,
    ) -> None:
        self._genesis, self._genesis_bytes = genesis, encode(genesis)
        self._operator = operator.decode("utf-8", "replace")
        self._runtime, self._index, self._store = runtime, index, store
        self._peers_up = peers_up
        self._outflow = outflow
        self._listeners, self._listeners_max = 0, listeners_max
        self.closing = asyncio.Event()

    def routes(self) -> list[web.RouteDef]:
        """For the application."""
        return [
            web.get(api.STATUS, self.get_status),
            web.get(api.GENESIS, self.get_genesis),
            web.get(api.FEDERATION_KEY, self.get_federation_key),
            web.get(api.EPOCHS, self.get_epochs),
            web.get(api.CYCLES, self.get_cycles),
            web.get(api.CYCLE, self.get_cycle),
            web.get(api.ASSIGNMENT, self.get_assignment),
            web.get(api.ASSIGNED_UNITS, self.get_assigned_units),
            web.get(api.SCORES, self.get_scores),
            web.get(api.SCORED_UNITS, self.get_scored_units),
            web.get(api.CERTIFICATE, self.get_certificate),
            web.get(api.CONTRIBUTION, self.get_contribution),
            web.get(api.BLOCK, self.get_block),
            web.get(api.FINALITY, self.get_finality),
            web.get(api.LOG, self.get_log),
            web.get(api.EVENTS, self.get_events),
            *HeadersApi(self._index).routes(),
            *ArtifactsApi(self._store, self._outflow).routes(),
        ]

    # This replica.

    def status(self) -> dict[str, Any]:
        """What this replica is doing now."""
        replica = self._runtime.replica
        state = replica.state
        key = state.federation_key
        return {
            **self._runtime.standing(),
            "operator": self._operator,
            "release": release(),
            "chain_id": replica.rules.chain_id.hex(),
            "wall_ms": time.time_ns() // 1_000_000,
            "sequence": state.sequence,
            "agreed_ms": state.agreed_ms,
            "cycle": state.cycle,
            "phase": Phase(state.phase).name,
            "attempt": state.attempt,
            "height": state.tip.height,
            "tip": state.tip.hash[::-1].hex(),
            "log_size": state.log.size,
            "log_root": state.log.root.hex(),
            "log_missing": replica.log_missing,
            "model": state.model.hex(),
            "federation_key": None if key is None else key.key.hex(),
            "registrations": len(state.registrations),
            "units": len(state.units),
            "commitments": len(state.commitments),
            "reveals": len(state.reveals),
            "tables": sorted(state.tables),
            "peers_up": list(self._peers_up()),
            "epoch": state.epoch,
            "members": len(state.members),
            "blob_bytes": self._store.bytes_stored,
        }

    async def get_status(self, request: web.Request) -> web.Response:
        """JSON; nothing in it is proven."""
        return web.json_response(self.status(), headers={"Cache-Control": "no-store"})

    async def get_genesis(self, request: web.Request) -> web.Response:
        """The genesis record; who trusts it from here trusts this replica."""
        return _octets(self._genesis_bytes)

    async def get_federation_key(self, request: web.Request) -> web.Response:
        """The certificate of the epoch that runs, with the federation's key."""
        key = self._runtime.replica.state.federation_key
        if key is None:
            raise Refused("not-found", "the federation has no key yet")
        return _octets(encode(key))

    async def get_epochs(self, request: web.Request) -> web.Response:
        """The certificates of the epochs from ?from= on: tuple of FederationKey, ascending."""
        first = number(request, "from", 0)
        limit, size = api.EPOCHS_LIMIT_MAX, api.EPOCHS_ANSWER_BYTES_MAX
        made = await self._index.epochs(first, limit, size)
        if not made and self._runtime.replica.state.epoch >= first:
            raise self._not_found(f"the log holds no certificate of epoch {first}")
        keys = tuple(each.federation_key for each in made)
        last = keys[-1].epoch if keys else self._runtime.replica.state.epoch
        more = last < self._runtime.replica.state.epoch
        return _octets(encode(keys), next_page(request, last + 1 if more else None))

    def _not_found(self, text: str) -> FederationError:
        """What the log does not say, unless that may stand in a part that is not here yet."""
        missing = self._runtime.replica.log_missing
        if missing is None:
            return Refused("not-found", text)
        return Unavailable(f"entries {missing[0]} to {missing[1] - 1} are still being fetched")

    # Cycles.

    async def get_cycles(self, request: web.Request) -> web.Response:
        """JSON, one line for each past cycle from ?from= on; the newest when it is left out."""
        last = self._runtime.replica.state.cycle
        first = number(request, "from", max(1, last - CYCLES_MAX + 1))
        following = first + CYCLES_MAX
        lines = await self._index.overview(first, last)
        headers = next_page(request, following if following <= last else None)
        return web.json_response(lines, headers=headers)

    async def get_cycle(self, request: web.Request) -> web.Response:
        """JSON, all that the log says about one cycle."""
        cycle = path_number(request, "cycle")
        found = await self._index.cycle(cycle)
        if found is None:
            raise self._not_found(f"the log says nothing about cycle {cycle}")
        return web.json_response(found)

    async def get_assignment(self, request: web.Request) -> web.Response:
        """Assigned."""
        return await self._newest(Assigned, "assigned", request)

    async def get_assigned_units(self, request: web.Request) -> web.Response:
        """Assigned, with one miner's units only."""
        cycle, miner = path_number(request, "cycle"), path_hex(request, "miner", 33)
        parts = await self._index.assigned_parts(cycle)
        if parts is None:
            raise self._not_found(f"cycle {cycle} has none yet")
        return _octets(encode(parts.of(miner)))

    async def get_scores(self, request: web.Request) -> web.Response:
        """Scored."""
        return await self._newest(Scored, "scored", request)

    async def get_scored_units(self, request: web.Request) -> web.Response:
        """Scored, with one miner's rows only."""
        cycle, miner = path_number(request, "cycle"), path_hex(request, "miner", 33)
        parts = await self._index.scored_parts(cycle)
        if parts is None:
            raise self._not_found(f"cycle {cycle} has none yet")
        return _octets(encode(parts.of(miner)))

    async def _newest(self, kind: type[Record], mark: str, request: web.Request) -> web.Response:
        cycle = path_number(request, "cycle")
        record = await self._index.newest(kind, mark, cycle)
        if record is None:
            raise self._not_found(f"cycle {cycle} has none yet")
        return _octets(encode(record))

    async def get_certificate(self, request: web.Request) -> web.Response:
        """The certificate of the cycle's newest rank, with the federation's signature."""
        cycle = path_number(request, "cycle")
        record = await self._index.newest(Certified, "certified", cycle)
        if record is None:
            raise self._not_found(f"cycle {cycle} has no certificate")
        return _octets(record.certificate)

    async def get_contribution(self, request: web.Request) -> web.Response:
        """JSON, a miner's score rows and their proofs under the certificate."""
        cycle, miner = path_number(request, "cycle"), path_hex(request, "miner", 33)
        found = await self._index.contribution(cycle, miner)
        if found is None:
            raise self._not_found(f"cycle {cycle} has no score of this miner")
        return web.json_response(found)

    # Chain and log.

    async def _final(self, request: web.Request) -> BlockFinal:
        height = path_number(request, "height")
        final = await self._index.newest(BlockFinal, "height", height)
        if final is None:
            raise self._not_found(f"no block is final at height {height}")
        return final

    async def get_block(self, request: web.Request) -> web.Response:
        """The block that the federation finalised at a height."""
        final = await self._final(request)
        block = await self._index.block(block_hash(final.header))
        if block is None:
            raise Refused("not-found", "this replica has not got the block's bytes yet")
        return _octets(block)

    async def get_finality(self, request: web.Request) -> web.Response:
        """BlockFinal."""
        return _octets(encode(await self._final(request)))

    async def get_log(self, request: web.Request) -> web.Response:
        """LogEntry records from ?from= on, at most ?limit=, bounded in bytes as well."""
        first = number(request, "from", 0)
        limit = number(request, "limit", api.LOG_LIMIT_MAX, api.LOG_LIMIT_MAX)
        entries = await self._index.entries(first, limit)
        data = encode(entries)
        following = entries[-1].index + 1 if entries else None
        self._outflow.reserve(len(data))
        try:
            response = _octets(data, next_page(request, following))
            await self._outflow.write(request, response, len(data))
            return response
        finally:
            self._outflow.release(len(data))

    async def get_events(self, request: web.Request) -> web.StreamResponse:
        """Server-sent events: derived log records; the id is the index in the log.

        Starts behind Last-Event-ID, or at ?from=, or with what comes next.
        """
        following = self._following(request)
        if self._listeners >= self._listeners_max:
            raise Busy(f"{self._listeners} listeners are connected; try again later")
        self._listeners += 1
        try:
            response = web.StreamResponse(
                headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"}
            )
            await response.prepare(request)
            await self._stream(request, response, following)
        except ConnectionError:
            pass  # the listener has gone; that is how a stream ends
        finally:
            self._listeners -= 1
        return response

    def _following(self, request: web.Request) -> int:
        last = request.headers.get(LAST_EVENT)
        if last is not None:
            return decimal(LAST_EVENT, last, INTEGER_MAX - 1) + 1
        return number(request, "from", self._runtime.replica.state.log.size)

    async def _stream(
        self, request: web.Request, response: web.StreamResponse, following: int
    ) -> None:
        while not self.closing.is_set():
            grown = self._runtime.growth.next
            entries = await self._index.entries(following, derived_only=True)
            for entry in entries:
                following = entry.index + 1
                await push(request, response, _event(entry.index, entry.leaf))
            if entries:
                continue
            try:
                async with asyncio.timeout(KEEP_ALIVE_S):
                    await grown.wait()
            except TimeoutError:
                await push(request, response, b": still here\n\n")


async def readable_by_pages(request: web.Request, response: web.StreamResponse) -> None:
    """Let scripts of any web page read what everybody may read anyway.

    Nothing here knows cookies or passwords, so a page learns no more than a stranger would.
    Source: WHATWG Fetch, "CORS protocol".
    """
    if request.method in (hdrs.METH_GET, hdrs.METH_HEAD):
        response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = "*"


def _event(index: int, leaf: bytes) -> bytes:
    """One server-sent event.  Source: WHATWG HTML, section 9.2."""
    try:
        record = decode_leaf(leaf)
    except DecodeError as error:
        raise AssertionError(f"entry {index} of our own log: {error}") from error
    name = record.TAG.removeprefix("log.").partition("/")[0]
    data = json.dumps(plain_log_record(record), separators=(",", ":"))
    return f"id: {index}\nevent: {name}\ndata: {data}\n\n".encode()


def _octets(data: bytes, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(body=data, content_type=api.OCTETS, headers=headers)
