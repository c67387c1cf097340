"""What comes in over HTTP to be ordered: requests, blocks.  Read, check, hand on; decide nothing.

Everything is verified once, at this door: signature, chain, who may say it, size and rate.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from bft.codec.envelope import seal
from bft.crypto.hashing import sha256
from bft.crypto.identity import PrivateKey
from bft.errors import Unavailable
from bft.ordering.request import REQUEST_BYTES_MAX, open_request
from chain.federation import api
from chain.federation.server import problem, read_body
from chain.records.commands import split_operations
from chain.records.receipt import ExecutionReceipt
from coordinator.cycle.machine import ACCEPTED, MIXED, Answer
from coordinator.cycle.state import Rules
from coordinator.effects import BlockAccepted, BlockRefused, DraftSigned
from coordinator.service.admission import check_evidence, check_operations
from coordinator.service.offers import Outcome
from coordinator.service.parameters import number
from coordinator.service.problems import refusal_status
from coordinator.service.runtime import Runtime
from coordinator.service.throttle import ClientBudget
from coordinator.settings import Limits

ENVELOPE_BYTES = 1024  # around a request's operation


class MinerApi:
    """Handlers of the routes that take something in."""

    def __init__(
        self,
        runtime: Runtime,
        identity: PrivateKey,
        limits: Limits,
        budget: ClientBudget,
    ) -> None:
        self._runtime, self._identity = runtime, identity
        self._rules: Rules = runtime.replica.rules
        self._budget = budget
        self._body_s = limits.body_s

    def routes(self) -> list[web.RouteDef]:
        """For the application."""
        return [
            web.post(api.REQUESTS, self.post_request),
            web.post(api.BLOCKS, self.post_block),
            web.post(api.DRAFTS, self.post_draft),
        ]

    # Requests.

    async def post_request(self, request: web.Request) -> web.Response:
        """Have a signed request ordered: 200 accepted, 202 still under way, 409 or 422 refused."""
        wait_ms = number(request, "wait_ms", api.REQUEST_WAIT_MS_MAX, api.REQUEST_WAIT_MS_MAX)
        sealed = await read_body(request, REQUEST_BYTES_MAX + ENVELOPE_BYTES, self._body_s)
        opened = open_request(sealed, self._rules.chain_id)
        fresh = self._runtime.replica.fresh(opened.client, opened.cseq)
        if fresh and not self._runtime.requests.has_answer(sealed):
            # The log is public: whoever repeats what stands there uses up nobody else's budget.
            self._budget.admit(opened.client, len(split_operations(opened.operation)))
            check_evidence(opened, self._rules, self._runtime.replica.state)
        check_operations(opened, self._runtime.replica.state)
        answer = await self._runtime.requests.ask(sealed, opened, wait_ms / 1000)
        if answer is None:
            return web.json_response({"code": "pending", "text": "not executed yet"}, status=202)
        more: dict[str, Any] = {"receipt": self._receipt(sealed, answer).hex()}
        if len(answer.outcomes) > 1:
            more["outcomes"] = [outcome._asdict() for outcome in answer.outcomes]
        if answer.code not in (ACCEPTED, MIXED):
            status = refusal_status(answer.code)
            return problem(status, answer.code, answer.text, more=more)
        return web.json_response({"code": answer.code, "text": answer.text, **more})

    def _receipt(self, sealed: bytes, answer: Answer) -> bytes:
        """This replica's word on what it has executed."""
        receipt = ExecutionReceipt(
            chain_id=self._rules.chain_id,
            epoch=answer.epoch,
            client=answer.client,
            cseq=answer.cseq,
            request=sha256(sealed),
            sequence=answer.sequence,
            outcomes=tuple(outcome.code.encode() for outcome in answer.outcomes),
        )
        return seal(receipt, self._identity.public_key, self._identity.sign)

    # Blocks.

    async def post_block(self, request: web.Request) -> web.Response:
        """Offer a block: 202 when it is valid and voted for, 409 or 422 with the broken rule."""
        outcome = await self._offered(request, self._runtime.offers.block)
        if isinstance(outcome, BlockAccepted):
            shown = {"height": outcome.height, "hash": outcome.block_hash[::-1].hex()}
            return web.json_response(shown, status=202)
        return _refused(outcome)

    async def post_draft(self, request: web.Request) -> web.Response:
        """Have a draft signed: 200 with the signature, 409 or 422 with the broken rule."""
        outcome = await self._offered(request, self._runtime.offers.draft)
        if isinstance(outcome, DraftSigned):
            said = {"key": outcome.key.hex(), "signature": outcome.signature.hex()}
            return web.json_response(said)
        return _refused(outcome)

    async def _offered(
        self, request: web.Request, offer: Callable[[bytes], Awaitable[Outcome]]
    ) -> Outcome:
        block = await read_body(request, api.BLOCK_BYTES_MAX, self._body_s)
        try:
            async with asyncio.timeout(api.REQUEST_WAIT_MS_MAX / 1000):
                return await offer(block)
        except TimeoutError:
            raise Unavailable("the block could not be checked in time") from None


def _refused(outcome: Outcome) -> web.Response:
    assert isinstance(outcome, BlockRefused)
    return problem(refusal_status(outcome.code), outcome.code, outcome.text)
