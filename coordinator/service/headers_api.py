"""What light clients read: certified headers, and proofs that a transaction is in a block.

Source: docs/PROTOCOL.md, "Blocks"; BIP 37 for the proofs.
"""

from aiohttp import web

from bft.errors import Refused
from chain.bitcoin.merkle_block import prove_in_block
from chain.federation import api
from chain.records.block import Block, decode_block
from chain.records.peer_message import encode_certheaders
from coordinator.service.index import LogIndex
from coordinator.service.parameters import next_page, number, path_hex, path_number

HEIGHT_MAX = 2**32 - 1
HEADERS_KEPT_MAX = 8_192  # about 1 kB each: to find a coinbase's branch all of a block is hashed


class HeadersApi:
    """Handlers of two routes that only read."""

    def __init__(self, index: LogIndex) -> None:
        self._index = index
        self._kept: dict[int, bytes] = {}  # by height, oldest first

    def routes(self) -> list[web.RouteDef]:
        """For the application."""
        return [web.get(api.HEADERS, self.get_headers), web.get(api.PROOF, self.get_proof)]

    async def get_headers(self, request: web.Request) -> web.Response:
        """Certified headers of final blocks from height ?from= on, at most HEADERS_LIMIT_MAX."""
        first = number(request, "from", 1, HEIGHT_MAX)
        headers: list[bytes] = []
        while len(headers) < api.HEADERS_LIMIT_MAX:
            found = await self._header(first + len(headers))
            if found is None:
                break
            headers.append(found)
        full = len(headers) == api.HEADERS_LIMIT_MAX
        return web.Response(
            body=encode_certheaders(headers),
            content_type=api.OCTETS,
            headers=next_page(request, first + len(headers) if full else None),
        )

    async def get_proof(self, request: web.Request) -> web.Response:
        """A merkle block."""
        height, txid = path_number(request, "height"), path_hex(request, "txid", 32)[::-1]
        block = await self._block(height)
        if block is None:
            raise Refused("not-found", f"no final block at height {height} is here")
        proof = prove_in_block(block, txid)
        if proof is None:
            raise Refused("not-found", "no such transaction in this block")
        return web.Response(body=proof, content_type=api.OCTETS)

    async def _header(self, height: int) -> bytes | None:
        known = self._kept.get(height)
        if known is None:
            block = await self._block(height)
            if block is None:
                return None
            if len(self._kept) >= HEADERS_KEPT_MAX:
                del self._kept[next(iter(self._kept))]
            known = self._kept[height] = block.certified_header.encode()
        return known

    async def _block(self, height: int) -> Block | None:
        """The final block at a height, where its bytes are here."""
        found = await self._index.final_blocks(height - 1, 1) if height else ()
        if not found or found[0][0] != height:
            return None
        data = await self._index.block(found[0][1])
        return None if data is None else decode_block(data)
