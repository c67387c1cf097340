"""Server-sent events that tell a page when it is old.  Source: WHATWG HTML, section 9.2."""

import asyncio
from functools import partial

from aiohttp import web

from bft.errors import Busy
from chain.node.core import NodeCore

EVENTS = "/events"
LISTENERS_MAX = 64
KEEP_ALIVE_S = 15
_Seen = tuple[object, ...]


class Events:
    """All listeners of one node."""

    def __init__(self, core: NodeCore) -> None:
        self._core = core
        self._listeners = 0
        self.closing = asyncio.Event()  # set: streams end

    def _seen(self) -> _Seen:
        """Whatever pages show that changes."""
        core, tree = self._core, self._core.tree
        ready = tuple(number for number, peer in core.gossip.peers.items() if peer.ready)
        pool = core.gossip.relay.pool
        return tree.tip, tree.final, len(pool), ready, tuple(core.replica_status.items())

    def _differs(self, seen: _Seen) -> bool:
        return self._seen() != seen

    async def get_events(self, request: web.Request) -> web.StreamResponse:
        """One event `changed` whenever something does; the id is the tip's height."""
        if self._listeners >= LISTENERS_MAX:
            raise Busy(f"{self._listeners} listeners are connected; try again later")
        self._listeners += 1
        headers = {"Content-Type": "text/event-stream", "Cache-Control": "no-store"}
        response = web.StreamResponse(headers=headers)
        try:
            await response.prepare(request)
            await self._stream(response)
        except ConnectionError:
            pass  # the listener has gone; that is how a stream ends
        finally:
            self._listeners -= 1
        return response

    async def _stream(self, response: web.StreamResponse) -> None:
        seen = self._seen()
        await response.write(b": hello\n\n")
        closing = asyncio.create_task(self.closing.wait())
        try:
            while not self.closing.is_set():
                changed = asyncio.create_task(self._core.until(partial(self._differs, seen)))
                try:
                    await asyncio.wait(
                        (changed, closing),
                        timeout=KEEP_ALIVE_S,
                        return_when=asyncio.FIRST_COMPLETED,
                    )
                    if changed.done():
                        changed.result()  # raises what stopped the node
                        seen = self._seen()
                        height = self._core.tree.tip.height
                        await response.write(
                            f"event: changed\nid: {height}\ndata: {height}\n\n".encode()
                        )
                    else:
                        await response.write(b": still here\n\n")
                finally:
                    changed.cancel()
        finally:
            closing.cancel()
