"""What comes in over HTTP: requests, updates, blocks.  Read, check, hand on; decide nothing.

Everything is verified once, at this door: signature, chain, who may say it, size and rate.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from bft.codec.envelope import open_as, seal
from bft.crypto.hashing import sha256
from bft.crypto.identity import PrivateKey
from bft.errors import Busy, DecodeError, Refused, Unavailable
from bft.ordering.request import REQUEST_BYTES_MAX, open_request
from chain.federation import api
from chain.federation.server import problem, read_body
from chain.records.commands import split_operations
from chain.records.contribution import StorageReceipt, UploadAuthorization, WorkUnit
from chain.records.phase import Phase
from chain.records.receipt import ExecutionReceipt
from chain.rules.updates import update_bytes_max
from coordinator.cycle.machine import ACCEPTED, MIXED, Answer
from coordinator.cycle.state import Rules, State
from coordinator.effects import BlockRefused
from coordinator.service.admission import check_operations
from coordinator.service.blobs import BlobStore
from coordinator.service.parameters import digest_of, number
from coordinator.service.problems import TooMany, refusal_status
from coordinator.service.rates import Buckets
from coordinator.service.runtime import Runtime
from coordinator.settings import Limits

AUTHORIZATION_BYTES_MAX = 1024
ENVELOPE_BYTES = 1024  # around a request's operation
UPLOAD_BYTES_S_MIN = 64 * 1024  # a slower sender's upload is given up


@dataclass
class Quota:
    """Which updates each miner has stored here in the present cycle."""

    cycle: int = 0
    stored: dict[bytes, set[bytes]] = field(default_factory=dict)  # miner -> digests

    def reserve(self, cycle: int, miner: bytes, digest: bytes, units: int) -> bool:
        """One artifact for each committed unit; the same one may come again.

        Returns:
            Whether a place was taken that `release` gives back if nothing is stored.

        Raises:
            Refused: "quota".
        """
        if cycle != self.cycle:
            self.cycle, self.stored = cycle, {}
        own = self.stored.setdefault(miner, set())
        if digest in own:
            return False
        if len(own) >= units:
            raise Refused("quota", f"{len(own)} updates are stored for {units} committed units")
        own.add(digest)
        return True

    def release(self, miner: bytes, digest: bytes) -> None:
        """The artifact was not stored after all."""
        self.stored.get(miner, set()).discard(digest)


class Dealt:
    """The units of each miner, sorted once an assignment and not once an upload."""

    def __init__(self) -> None:
        self._units: tuple[WorkUnit, ...] = ()
        self._of: dict[bytes, list[int]] = {}

    def of(self, units: tuple[WorkUnit, ...], miner: bytes) -> Sequence[int]:
        """The numbers of this miner's units among the state's."""
        if units is not self._units:
            self._units, self._of = units, {}
            for unit in units:
                self._of.setdefault(unit.miner, []).append(unit.unit)
        return self._of.get(miner, ())


class MinerApi:
    """Handlers of the routes that take something in."""

    def __init__(
        self,
        runtime: Runtime,
        store: BlobStore,
        identity: PrivateKey,
        limits: Limits,
        clock: Callable[[], float],
    ) -> None:
        """`clock`: monotonic seconds."""
        self._runtime, self._store, self._identity = runtime, store, identity
        self._rules: Rules = runtime.replica.rules
        params, job = self._rules.params, self._rules.job
        longest = max(update_bytes_max(job, segment) for segment in range(job.segments))
        # No update of this job is longer, and what is longer would only fill the store.
        self._update_bytes_max = min(params.update_bytes_max, longest)
        self._clock = clock
        self._clients = Buckets(limits.client_requests_s, limits.client_burst)
        self._body_s = limits.body_s
        self._uploads_max, self._uploads = limits.uploads, 0
        self._quota, self._dealt = Quota(), Dealt()

    def routes(self) -> list[web.RouteDef]:
        """For the application."""
        return [
            web.post(api.REQUESTS, self.post_request),
            web.put(api.BLOBS, self.put_blob),
            web.post(api.BLOCKS, self.post_block),
        ]

    def _admit_client(self, client: bytes, operations: int = 1) -> None:
        """After a signature stood.  Raises TooMany."""
        retry_s = self._clients.try_take(client, self._clock(), operations)
        if retry_s:
            raise TooMany(retry_s)

    # Requests.

    async def post_request(self, request: web.Request) -> web.Response:
        """Have a signed request ordered: 200 accepted, 202 still under way, 409 or 422 refused."""
        wait_ms = number(request, "wait_ms", api.REQUEST_WAIT_MS_MAX, api.REQUEST_WAIT_MS_MAX)
        sealed = await read_body(request, REQUEST_BYTES_MAX + ENVELOPE_BYTES, self._body_s)
        opened = open_request(sealed, self._rules.chain_id)
        fresh = self._runtime.replica.fresh(opened.client, opened.cseq)
        if fresh and not self._runtime.requests.has_answer(sealed):
            # The log is public: whoever repeats what stands there uses up nobody else's budget.
            self._admit_client(opened.client, len(split_operations(opened.operation)))
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

    # Updates.

    async def put_blob(self, request: web.Request) -> web.Response:
        """Store an update durably and sign for it: 201 with the sealed receipt."""
        digest = digest_of(request)
        miner, asked = self._authorization(request, digest)
        self._admit_client(miner)
        units = self._check_upload(miner, asked)
        if self._uploads >= self._uploads_max:
            raise Busy(f"{self._uploads} uploads are under way; try again later")
        taken = self._quota.reserve(asked.cycle, miner, digest, units)
        self._uploads += 1
        try:
            within_s = self._body_s + asked.size / UPLOAD_BYTES_S_MIN
            data = await read_body(request, asked.size, within_s)
            await self._store_update(asked, data)
        except BaseException:
            if taken:
                self._quota.release(miner, digest)
            raise
        finally:
            self._uploads -= 1
        receipt = StorageReceipt(
            chain_id=asked.chain_id,
            cycle=asked.cycle,
            miner=miner,
            digest=asked.digest,
            size=asked.size,
        )
        sealed = seal(receipt, self._identity.public_key, self._identity.sign)
        return web.Response(status=201, body=sealed, content_type=api.OCTETS)

    def _authorization(
        self, request: web.Request, digest: bytes
    ) -> tuple[bytes, UploadAuthorization]:
        """(miner, what it asks for).  Raises DecodeError, BadSignature."""
        try:
            sealed = bytes.fromhex(request.headers.get(api.UPLOAD_HEADER, ""))
        except ValueError:
            raise DecodeError(f"{api.UPLOAD_HEADER} is not hex") from None
        if not sealed:
            raise DecodeError(f"the header {api.UPLOAD_HEADER} is missing")
        miner, asked = open_as(UploadAuthorization, sealed, bytes_max=AUTHORIZATION_BYTES_MAX)
        if asked.chain_id != self._rules.chain_id:
            raise DecodeError("the upload is authorized for another chain")
        if asked.digest != digest:
            raise DecodeError("the upload is authorized for another digest")
        return miner, asked

    def _check_upload(self, miner: bytes, asked: UploadAuthorization) -> int:
        """This miner's committed units, if it may store an update of this size now.

        Raises:
            Refused: "wrong-phase", "wrong-cycle", "late", "not-assigned", "not-committed",
                "too-long".
        """
        state: State = self._runtime.replica.state
        if asked.cycle < state.cycle:
            raise Refused("late", f"cycle {asked.cycle} is over; cycle {state.cycle} runs")
        if asked.cycle != state.cycle:
            raise Refused("wrong-cycle", f"cycle {asked.cycle} came; cycle {state.cycle} runs")
        phase = Phase(state.phase)
        if phase > Phase.REVEAL:
            raise Refused("late", f"reveals are over; the cycle is in {phase.name}")
        units = self._dealt.of(state.units, miner)
        if phase >= Phase.TRAINING and not units:
            raise Refused("not-assigned", "this key has no unit in this cycle")
        if phase < Phase.REVEAL:
            raise Refused("wrong-phase", f"reveals are not open; the cycle is in {phase.name}")
        committed = [unit for unit in units if unit in state.commitments]
        if not committed:
            raise Refused("not-committed", "none of this miner's units has a commitment")
        if not 0 < asked.size <= self._update_bytes_max:
            raise Refused("too-long", f"{asked.size} bytes; 1 to {self._update_bytes_max} allowed")
        return len(committed)

    async def _store_update(self, asked: UploadAuthorization, data: bytes) -> None:
        """Raises Refused("wrong-digest"), StorageFull."""
        try:
            if len(data) != asked.size:
                raise DecodeError(f"{len(data)} bytes came; {asked.size} are authorized")
            await self._store.put(data, asked.digest)
        except DecodeError as error:
            raise Refused("wrong-digest", str(error)) from None

    # Blocks.

    async def post_block(self, request: web.Request) -> web.Response:
        """Offer a block: 202 when it is valid and voted for, 409 or 422 with the broken rule."""
        block = await read_body(request, api.BLOCK_BYTES_MAX, self._body_s)
        try:
            async with asyncio.timeout(api.REQUEST_WAIT_MS_MAX / 1000):
                outcome = await self._runtime.offer_block(block)
        except TimeoutError:
            raise Unavailable("the block could not be checked in time") from None
        if isinstance(outcome, BlockRefused):
            return problem(refusal_status(outcome.code), outcome.code, outcome.text)
        shown = {"height": outcome.height, "hash": outcome.block_hash[::-1].hex()}
        return web.json_response(shown, status=202)
