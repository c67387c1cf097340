"""Clients' requests on their way through consensus: who waits for which answer.

A request that was executed is answered again when it comes again, so that a client that lost an
answer may simply repeat itself, here or at another replica; so is one that came here only after it
was executed by way of another replica.  Who was refused and wants another try seals another one:
consensus orders no bytes twice.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

from bft.crypto.hashing import sha256
from bft.errors import Busy, Refused
from bft.ordering.request import Request
from bft.pbft.events import Submitted
from coordinator.cycle.machine import Answer

WAITING_MAX = 4_096  # requests for whose answers somebody waits
REMEMBERED_MAX = 10_000  # outcomes of accepted requests, and as many of refused ones
SETTLING_S = 1.0  # from its execution until a batch is durable and its answers may be told

Key = tuple[bytes, int, bytes]
"""(client, cseq, SHA-256 of the sealed request)."""


K = TypeVar("K", bound=Hashable)


class Remembered(Generic[K]):
    """The newest answers, with the digests of the sealed requests that they are to."""

    def __init__(self) -> None:
        self._of: OrderedDict[K, tuple[bytes, Answer]] = OrderedDict()
        self._outcomes = 0

    def get(self, key: K) -> tuple[bytes, Answer] | None:
        """(digest, answer), if it is still known."""
        return self._of.get(key)

    def put(self, key: K, digest: bytes, answer: Answer) -> None:
        """Remember one answer; forget the oldest beyond REMEMBERED_MAX outcomes."""
        before = self._of.pop(key, None)
        if before is not None:
            self._outcomes -= len(before[1].outcomes)
        self._of[key] = (digest, answer)
        self._outcomes += len(answer.outcomes)
        while self._outcomes > REMEMBERED_MAX:
            self._outcomes -= len(self._of.popitem(last=False)[1][1].outcomes)


class Requests:
    """Submits requests and hands out their answers."""

    def __init__(
        self, submit: Callable[[Submitted], None], fresh: Callable[[bytes, int], bool]
    ) -> None:
        """Args:
        submit: hands the event to the runtime; raises Busy.
        fresh: whether (client, cseq) was not executed yet.
        """
        self._submit, self._fresh = submit, fresh
        self._waiting: dict[Key, list[asyncio.Future[Answer]]] = {}
        self._accepted = Remembered[tuple[bytes, int]]()
        self._refused = Remembered[bytes]()  # by the sealed request's digest

    async def ask(self, sealed: bytes, request: Request, wait_s: float) -> Answer | None:
        """Get a verified request executed; None when that took longer than `wait_s`.

        Raises:
            Refused: "executed-before", another request of this client with this number was.
            Busy: too many wait already.
        """
        digest = sha256(sealed)
        accepted = self._accepted.get((request.client, request.cseq))
        text = f"sequence number {request.cseq} was executed or is too old"
        if accepted is not None:
            if accepted[0] == digest:
                return accepted[1]
            raise Refused("executed-before", text)
        refused = self._refused.get(digest)
        if refused is not None:
            return refused[1]
        key = (request.client, request.cseq, digest)
        if len(self._waiting) >= WAITING_MAX and key not in self._waiting:
            raise Busy(f"{len(self._waiting)} requests wait for their execution; try again later")
        if self._fresh(request.client, request.cseq):
            self._submit(Submitted(sealed))
            return await self._answer(key, wait_s)
        # Executed by way of another replica a moment ago, perhaps, and not durable here yet.
        answer = await self._answer(key, min(wait_s, SETTLING_S))
        if answer is None:
            raise Refused("executed-before", text)
        return answer

    def has_answer(self, sealed: bytes) -> bool:
        """Whether these bytes were refused lately, and would be answered from memory."""
        return self._refused.get(sha256(sealed)) is not None

    async def _answer(self, key: Key, wait_s: float) -> Answer | None:
        """What `executed` will say of this request; None when that takes longer."""
        answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, []).append(answered)
        try:
            async with asyncio.timeout(wait_s):
                return await answered
        except TimeoutError:
            return None
        finally:
            self._leave(key, answered)

    def _leave(self, key: Key, answered: asyncio.Future[Answer]) -> None:
        waiting = self._waiting.get(key, [])
        if answered in waiting:
            waiting.remove(answered)
            if not waiting:
                del self._waiting[key]

    def executed(self, requests: Sequence[bytes], answers: Sequence[Answer]) -> None:
        """A batch was executed and is durable: `answers` are those to its sealed `requests`."""
        for sealed, answer in zip(requests, answers, strict=True):
            digest = sha256(sealed)
            if answer.accepted:
                self._accepted.put((answer.client, answer.cseq), digest, answer)
            else:
                self._refused.put(digest, digest, answer)
            for answered in self._waiting.pop((answer.client, answer.cseq, digest), []):
                if not answered.done():
                    answered.set_result(answer)
