"""The pages that a replica shows to people: what happens, what was scored, drawn, certified, built.

Server-rendered; a script only keeps them fresh.  Whoever wants to be sure asks the API or audits.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web

from bft.errors import Refused
from chain.federation import api
from chain.records.block import block_hash, decode_block, decode_header
from chain.records.score_log import BlockFinal, Drawn, Scored
from chain.rules.scoring import lower_median
from chain.web.render import MICRO, Page, Pages, Site, go, utc
from coordinator.dashboard import views
from coordinator.dashboard.charts import line_chart
from coordinator.service.index import LogIndex
from coordinator.service.parameters import number, path_hex, path_number
from coordinator.service.standing import Standing

LINES = 12  # past cycles on the front page
PAGE = 50  # on a page of their own
UNITS_SHOWN = 200
CYCLE_DIGITS = 19
PLACES = (("/", "Now"), ("/cycles", "Cycles"), ("/model", "Model"), ("/blocks", "Blocks"))
FOOTER = (
    "Nothing on these pages has to be believed: certificates, scores and the log are signed, "
    "and gristmill audit checks them all."
)


class Dashboard:
    """Handlers of the pages."""

    def __init__(
        self,
        operator: bytes,
        standing: Standing,
        index: LogIndex,
        status: Callable[[], dict[str, Any]],
        peers_up: Callable[[], tuple[int, ...]],
        used: Callable[[int], Awaitable[dict[str, Any]]],
        used_here: Callable[[int], dict[str, Any] | None],
    ) -> None:
        """Args:
        status: what GET /v1/status says.
        used: what a cycle's miners claim that training used; raises Refused: nothing is known.
        used_here: what this replica used in a cycle.
        """
        self._pages = Pages(
            Site(
                package="coordinator.dashboard",
                events=api.EVENTS,
                places=PLACES,
                finds="Cycle, miner key, block hash or digest",
                hint="cycle, miner, hash",
                footer=FOOTER,
                operator=operator.decode("utf-8", "replace"),
            )
        )
        self._standing, self._index = standing, index
        self._status, self._peers_up = status, peers_up
        self._used, self._used_here = used, used_here

    def routes(self) -> list[web.RouteDef]:
        """For the application."""
        pages: list[tuple[str, Page]] = [
            ("/", self.get_now),
            ("/cycles", self.get_cycles),
            ("/cycles/{cycle}", self.get_cycle),
            ("/model", self.get_model),
            ("/blocks", self.get_blocks),
            ("/blocks/{height}", self.get_block),
            ("/miners/{miner}", self.get_miner),
            ("/search", self.get_search),
        ]
        return self._pages.routes(pages)

    # Pages.

    async def _lines(self, last: int, count: int) -> list[dict[str, Any]]:
        """Past cycles, newest first."""
        lines = await self._index.overview(max(1, last - count + 1), last)
        return lines[::-1]

    async def get_now(self, request: web.Request) -> web.Response:
        """What happens just now."""
        replica = self._standing.replica
        status = self._status()
        members = views.replicas(replica.state, self._standing.standing(), self._peers_up())
        return self._pages.show(
            "now.html",
            "/",
            now=views.now(replica.rules, replica.state, members),
            members=members,
            status=status,
            lines=await self._lines(replica.state.cycle, LINES),
        )

    async def get_cycles(self, request: web.Request) -> web.Response:
        """Past cycles, newest first, up to ?to=."""
        newest = self._standing.replica.state.cycle
        last = min(newest, number(request, "to", newest))
        earlier = last - PAGE
        return self._pages.show(
            "cycles.html",
            "/cycles",
            lines=await self._lines(last, PAGE),
            earlier=earlier if earlier > 0 else None,
        )

    async def get_cycle(self, request: web.Request) -> web.Response:
        """One cycle: units, scores with each replica's, the draw, the certificate, the block."""
        number = path_number(request, "cycle")
        cycle = await self._index.cycle(number)
        if cycle is None:
            raise Refused("not-found", f"The log says nothing about cycle {number}.")
        scored = await self._index.newest(Scored, "scored", number)
        drawn = await self._index.newest(Drawn, "drawn", number)
        columns: list[int] = []
        lines: list[dict[str, Any]] = []
        if scored is not None:
            columns, lines = views.spread(scored, await self._index.tables(number))
        return self._pages.show(
            "cycle.html",
            cycle=cycle,
            used=await self._used_by_miners(number),
            used_here=self._used_here(number),
            columns=columns,
            scores=lines[:UNITS_SHOWN],
            more_scores=max(0, len(lines) - UNITS_SHOWN),
            draw=views.arithmetic(scored, drawn) if scored and drawn else [],
            key=None
            if (key := self._standing.replica.state.federation_key) is None
            else key.key.hex(),
            chain_id=self._standing.replica.rules.chain_id.hex(),
        )

    async def _used_by_miners(self, cycle: int) -> dict[str, Any] | None:
        try:
            return await self._used(cycle)
        except Refused:
            return None  # no reveals are over

    async def get_model(self, request: web.Request) -> web.Response:
        """How the model does, cycle by cycle, and where to get it."""
        state = self._standing.replica.state
        lines = await self._lines(state.cycle, PAGE)
        told = [line for line in reversed(lines) if line["loss"] is not None]
        loss = [(line["cycle"], line["loss"] / MICRO) for line in told]
        right = [(line["cycle"], 100 * line["correct"] / line["records"]) for line in told]
        return self._pages.show(
            "model.html",
            "/model",
            job=views.job(self._standing.replica.rules.job),
            loss=line_chart(loss),
            right=line_chart(right),
            lines=lines,
            segments=await self._segments(),
            status=self._status(),
        )

    async def _segments(self) -> Mapping[str, Any] | None:
        """What the newest scores say, by segment."""
        scored = await self._index.last(Scored, "scored")
        if scored is None:
            return None
        lines = []
        for segment in sorted({row.segment for row in scored.rows}):
            rows = [row for row in scored.rows if row.segment == segment]
            lines.append(
                {
                    "segment": segment,
                    "parameters": rows[0].parameters,
                    "units": len(rows),
                    "gain": lower_median([row.gain for row in rows]),
                    "tickets": sum(row.tickets for row in rows),
                }
            )
        return {"cycle": scored.cycle, "lines": lines}

    async def get_blocks(self, request: web.Request) -> web.Response:
        """The newest final blocks."""
        blocks = []
        for final in await self._index.latest(BlockFinal, "height", PAGE):
            header = decode_header(final.header)
            blocks.append(
                {
                    "height": final.height,
                    "cycle": final.cycle,
                    "hash": header.hash[::-1].hex(),
                    "utc": utc(header.time),
                }
            )
        return self._pages.show("blocks.html", "/blocks", blocks=blocks)

    async def get_block(self, request: web.Request) -> web.Response:
        """One final block with its transactions."""
        height = path_number(request, "height")
        final = await self._index.newest(BlockFinal, "height", height)
        if final is None:
            raise Refused("not-found", f"No block is final at height {height}.")
        data = await self._index.block(block_hash(final.header))
        if data is None:
            raise Refused("not-found", "This replica has not got the block's bytes yet.")
        shown = await asyncio.to_thread(lambda: views.block(decode_block(data)))
        return self._pages.show("block.html", block={**shown, "utc": utc(shown["time"])})

    async def get_miner(self, request: web.Request) -> web.Response:
        """What one miner earned in the newest cycles."""
        miner = path_hex(request, "miner", 33)
        newest = self._standing.replica.state.cycle
        lines = []
        for cycle in range(newest, max(0, newest - PAGE), -1):
            scored = await self._index.newest(Scored, "scored", cycle)
            rows = [row for row in scored.rows if row.miner == miner] if scored else []
            if scored is None or not rows:
                continue
            drawn = await self._index.newest(Drawn, "drawn", cycle)
            lines.append(
                {
                    "cycle": cycle,
                    "units": len(rows),
                    "tickets": sum(row.tickets for row in rows),
                    "total": scored.tickets_total,
                    "won": drawn is not None and drawn.ranks[0].miner == miner,
                }
            )
        return self._pages.show(
            "miner.html",
            miner=miner.hex(),
            window=PAGE,
            cycles=lines,
            tickets=sum(line["tickets"] for line in lines),
            won=sum(1 for line in lines if line["won"]),
        )

    async def get_search(self, request: web.Request) -> web.Response:
        """To the page of a cycle, a miner, a block, or an artifact."""
        query = request.query.get("q", "").strip().lower()
        if query.isascii() and query.isdigit() and len(query) < CYCLE_DIGITS:
            return go(f"/cycles/{int(query)}")
        try:
            data = bytes.fromhex(query)
        except ValueError:
            data = b""
        if len(data) == 33:
            return go(f"/miners/{data.hex()}")
        if len(data) == 32:
            block = await self._index.block(data[::-1])
            if block is not None:
                return go(f"/blocks/{decode_block(block).certificate.height}")
        raise Refused(
            "not-found",
            f"Nothing is known by {query[:66]!r}. A cycle's number, a miner's key (66 hex digits)"
            " or a block's hash (64 hex digits) can be searched for.",
        )
