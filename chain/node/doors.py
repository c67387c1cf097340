"""A node's HTTP doors, for its operator, for miners and for people: they read, check, hand on.

Errors are problem details (RFC 9457).  Nothing here is secret and nothing here commands the node,
but it listens on loopback unless its operator says otherwise.
"""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from pathlib import Path

from aiohttp import web

from bft.codec.canonical import encode
from bft.errors import DecodeError, FederationError, Refused
from chain.bitcoin.merkle_block import prove_in_block
from chain.federation import openapi
from chain.federation.api import (
    BLOCK,
    BLOCK_BYTES_MAX,
    BLOCKS,
    FINALITY,
    HEADERS,
    HEADERS_LIMIT_MAX,
    OCTETS,
    PROOF,
    STATUS,
    TEMPLATE,
)
from chain.federation.server import common_problem, http_problem, problem, read_body
from chain.gossip_events import BlockSubmitted, Event
from chain.node.core import NodeCore
from chain.node.describe import describe_tree
from chain.node.explorer.site import Explorer
from chain.node.explorer.throttle import throttled
from chain.node.rpc import Rpc, write_cookie
from chain.node.rpc_methods import Methods
from chain.node.store import HEIGHT_DIGITS_MAX
from chain.records.block import HEADER_BYTES, Block, block_hash
from chain.records.peer_message import encode_certheaders
from chain.records.score_log import BlockFinal
from chain.records.template import TEMPLATE_WEIGHT_MAX, BlockTemplate

_TXID = re.compile("[0-9a-f]{64}")
BODY_S = 30  # a block that takes longer is a slow sender's
LOG = logging.getLogger("gristmill.node")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def make_app(core: NodeCore, step: Callable[[Event], None]) -> web.Application:
    """The application: `core` answers, `step` takes blocks."""
    doors = _Doors(core, step)
    explorer = Explorer(core)
    pages = explorer.routes()
    paths = frozenset(route.path for route in pages)
    app = web.Application(middlewares=[errors_to_problems, throttled(paths)])
    app.router.add_get(STATUS, doors.get_status)
    app.router.add_post(BLOCKS, doors.post_block)
    app.router.add_get(BLOCK, doors.get_block)
    app.router.add_get(FINALITY, doors.get_finality)
    app.router.add_get(PROOF, doors.get_proof)
    app.router.add_get(HEADERS, doors.get_headers)
    app.router.add_get(TEMPLATE, doors.get_template)
    app.router.add_routes(openapi.routes(__package__))
    rpc = Rpc(write_cookie(Path(core.config.home)), Methods(core, step).table)
    app.router.add_post("/", rpc.handle)
    app.router.add_routes(pages)
    app[openapi.PAGES] = paths

    async def end_streams(_: web.Application) -> None:
        explorer.events.closing.set()

    app.on_shutdown.append(end_streams)
    return app


@web.middleware
async def errors_to_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The one place where our errors become status codes; anything else is a 500 and a bug."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        return http_problem(error)
    except FederationError as error:
        answer = common_problem(error)
        if answer is None and isinstance(error, Refused):
            answer = problem(HTTPStatus.CONFLICT, error.code, str(error))
        if answer is not None:
            return answer
        LOG.error("unexpected: %s", error)
    except (asyncio.CancelledError, ConnectionError):
        raise
    except Exception:
        LOG.exception("%s %s", request.method, request.path)
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "internal", "this node has a problem")


class _Doors:
    def __init__(self, core: NodeCore, step: Callable[[Event], None]) -> None:
        self._core, self._step = core, step

    async def get_status(self, request: web.Request) -> web.Response:
        """What this node holds for true, and whom it talks with."""
        core = self._core
        peers = core.gossip.peers.values()
        return web.json_response(
            {
                "name": core.genesis.name.decode("utf-8", "replace"),
                "chain_id": core.chain_id.hex(),
                "federation_key": core.federation_key.hex(),
                **describe_tree(core.tree),
                "peers": sum(peer.ready for peer in peers),
                "peers_outbound": sum(peer.ready and peer.outbound for peer in peers),
                "addresses": len(core.gossip.neighbours.book),
                "replicas": core.replica_status,
                "epoch": core.epochs[-1].epoch if core.epochs else None,
                "members": [
                    {
                        "operator": member.operator.decode("utf-8", "replace"),
                        "key": member.key.hex(),
                        "api": member.api.decode("ascii", "replace"),
                    }
                    for member in core.members
                ],
                "evidence": len(core.store.evidence()),
                "fault": core.gossip.intake.fault is not None,
            }
        )

    async def post_block(self, request: web.Request) -> web.Response:
        """Take one block.  202 taken, 400 malformed, 403 forged, 409 against the rules."""
        data = await read_body(request, BLOCK_BYTES_MAX, BODY_S)
        self._step(BlockSubmitted(data=data))
        wanted = block_hash(data[:HEADER_BYTES])
        waiting = self._core.gossip.intake.waiting
        await self._core.until(lambda: wanted not in waiting)  # its scripts may take a while
        block = self._core.store.block(wanted)
        if block is None:
            raise Refused("not-taken", "the block competes with a final one; see this node's log")
        answer = {"hash": block.hash[::-1].hex(), "height": block.certificate.height}
        return web.json_response(answer, status=HTTPStatus.ACCEPTED)

    async def get_block(self, request: web.Request) -> web.Response:
        """A block by height (final, or the tip) or by hash as people see it.  404 if unknown."""
        block = self._find(request.match_info["height"])
        return web.Response(body=block.data, content_type=OCTETS)

    async def get_finality(self, request: web.Request) -> web.Response:
        """The federation's word on the block at a height, a BlockFinal.  404 if it is not here."""
        block = self._find(request.match_info["height"])
        word = self._core.store.finality(block.certificate.height)
        if word is None or word.block != block.hash:
            raise web.HTTPNotFound(reason="the federation's word on this block is not here")
        final = BlockFinal(
            cycle=block.certificate.cycle,
            height=word.height,
            header=block.header.encode(),
            signature=word.signature,
        )
        return web.Response(body=encode(final), content_type=OCTETS)

    async def get_proof(self, request: web.Request) -> web.Response:
        """That a transaction is in a block, a merkle block of BIP 37.  404 if it is not."""
        block = self._find(request.match_info["height"])
        text = request.match_info["txid"]
        if not _TXID.fullmatch(text):
            raise DecodeError("a transaction's id has 64 lower-case hex digits")
        proof = prove_in_block(block, bytes.fromhex(text)[::-1])
        if proof is None:
            raise web.HTTPNotFound(reason="no such transaction in this block")
        return web.Response(body=proof, content_type=OCTETS)

    async def get_headers(self, request: web.Request) -> web.Response:
        """Certified headers from height ?from= on, at most HEADERS_LIMIT_MAX; the tip's too."""
        core, text = self._core, request.query.get("from", "1")
        if not (text.isascii() and text.isdecimal() and len(text) <= HEIGHT_DIGITS_MAX):
            raise DecodeError(f"from is a height; {text[:20]!r} came")
        first, headers = int(text), list[bytes]()
        while len(headers) < HEADERS_LIMIT_MAX:
            found = core.store.final_header(first + len(headers))
            if found is None:
                break
            headers.append(found)
        best, following = core.tree.best, first + len(headers)
        if best is not None and best.certificate.height == following:
            headers = [*headers, best.encode()][:HEADERS_LIMIT_MAX]
        return web.Response(body=encode_certheaders(headers), content_type=OCTETS)

    async def get_template(self, request: web.Request) -> web.Response:
        """What a winner may put into a block on this parent.  404 unless it is the tip here."""
        tip = self._core.tree.tip
        if request.match_info["parent"] != tip.hash[::-1].hex():
            raise web.HTTPNotFound(reason="this is not the tip here")
        chosen, fees = self._core.gossip.relay.pool.select(TEMPLATE_WEIGHT_MAX)
        template = BlockTemplate(
            parent=tip.hash,
            fees=fees,
            evidence=self._core.gossip.intake.due_evidence(),
            transactions=tuple(each.encode() for each in chosen),
        )
        return web.Response(body=encode(template), content_type=OCTETS)

    def _find(self, reference: str) -> Block:
        block = self._core.store.find(reference, self._core.tree.tip)
        if block is None:
            raise web.HTTPNotFound(reason="no such block here")
        return block
