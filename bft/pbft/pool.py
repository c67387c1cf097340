"""Pending requests: bounded, fair between clients, each with its own deadline.

Source: docs/CONSENSUS.md, "Client request"; per-request deadlines after Aardvark (NSDI 2009).
Pure.
"""

from dataclasses import dataclass

from bft.codec.canonical import decode
from bft.codec.envelope import Envelope
from bft.crypto.hashing import sha256
from bft.ordering.request import Request, open_request

VERIFIED_MAX = 20_000  # digests of requests whose signature stood
EXECUTED_MAX = 20_000  # digests of requests that were decided; a hint, never a rule


@dataclass(slots=True)
class Pending:
    """One request that waits to be decided."""

    digest: bytes  # SHA-256 of `request`
    request: bytes
    client: bytes
    source: int  # the replica that gave it to us; our own index when a client did
    deadline_ms: int
    forwarded_ms: int  # when it was last passed on
    proposed: bool = False  # it stands in a batch of this view


class Digests:
    """A set of digests that forgets its oldest."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._of: dict[bytes, None] = {}

    def add(self, digest: bytes) -> None:
        """Remember `digest`."""
        self._of[digest] = None
        if len(self._of) > self.limit:
            del self._of[next(iter(self._of))]

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._of

    def __len__(self) -> int:
        return len(self._of)


class Pool:
    """Requests by digest, in the order of their deadlines."""

    def __init__(
        self, chain_id: bytes, *, own: int, replicas: int, per_client: int, requests: int, size: int
    ) -> None:
        """`own`: our index; `size`: bytes of all pending requests together.

        No source may take more than its part, 1 of `replicas`, so that none can crowd others out.
        """
        self.chain_id = chain_id
        self.own = own
        self.per_client = per_client
        self.requests = max(1, requests // replicas)
        self.size = size // replicas
        self.waiting = 0  # requests that stand in no batch of this view
        self.waiting_since_ms = 0
        self._count: dict[int, int] = {}  # by source
        self._bytes: dict[int, int] = {}
        self.executed = Digests(EXECUTED_MAX)
        self._verified = Digests(VERIFIED_MAX)
        self._of: dict[bytes, Pending] = {}
        self._clients: dict[bytes, dict[bytes, None]] = {}  # digests of each client, first in first
        self._turns: dict[bytes, None] = {}  # clients, the next one first

    def __len__(self) -> int:
        return len(self._of)

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._of

    def pending(self) -> tuple[Pending, ...]:
        """All, oldest deadline first."""
        return tuple(self._of.values())

    def oldest(self) -> Pending | None:
        """The one whose deadline comes first."""
        return next(iter(self._of.values()), None)

    def has_room(self, client: bytes, size: int, source: int) -> bool:
        """Whether one more request of `client`, `size` bytes long, would be taken."""
        return (
            self._count.get(source, 0) < self.requests
            and self._bytes.get(source, 0) + size <= self.size
            and len(self._clients.get(client, ())) < self.per_client
        )

    def verify(self, request: bytes) -> bytes:
        """SHA-256 of a request whose signature stands.

        Raises:
            DecodeError, BadSignature: see `open_request`.
        """
        digest = sha256(request)
        if digest not in self._verified:
            open_request(request, self.chain_id)
            self._verified.add(digest)
        return digest

    def add(
        self,
        request: bytes,
        *,
        source: int,
        now_ms: int,
        deadline_ms: int,
        again: bool = False,
    ) -> bool:
        """Keep a verified request.  False when it is known, executed, or there is no room.

        `again`: although it is known as executed; it will be ordered, and execute as nothing.
        """
        digest = sha256(request)
        self._verified.add(digest)
        known = self._of.get(digest)
        if known is not None:
            if source == self.own:
                self._recount(known, -1)
                known.source = source
                self._recount(known, 1)
            return False
        client = decode(Request, decode(Envelope, request).body).client
        if digest in self.executed and not again:
            return False
        if not self.has_room(client, len(request), source):
            return False
        if not self.waiting:
            self.waiting_since_ms = now_ms
        self.waiting += 1
        self._of[digest] = Pending(
            digest=digest,
            request=request,
            client=client,
            source=source,
            deadline_ms=deadline_ms,
            forwarded_ms=now_ms,
        )
        self._recount(self._of[digest], 1)
        self._clients.setdefault(client, {})[digest] = None
        self._turns.setdefault(client)
        return True

    def _recount(self, entry: Pending, by: int) -> None:
        source = entry.source
        self._count[source] = self._count.get(source, 0) + by
        self._bytes[source] = self._bytes.get(source, 0) + by * len(entry.request)

    def done(self, request: bytes) -> None:
        """The request was decided: it waits no more, and does not come back."""
        digest = sha256(request)
        self.executed.add(digest)
        entry = self._of.pop(digest, None)
        if entry is None:
            return
        self._recount(entry, -1)
        self.waiting -= not entry.proposed
        mine = self._clients[entry.client]
        del mine[digest]
        if not mine:
            del self._clients[entry.client]
            self._turns.pop(entry.client, None)

    def propose(self, request: bytes) -> None:
        """The request stands in a batch of this view."""
        entry = self._of.get(sha256(request))
        if entry is not None and not entry.proposed:
            entry.proposed = True
            self.waiting -= 1

    def awaits(self, request: bytes) -> bool:
        """Whether the request is here and stands in no batch of this view."""
        entry = self._of.get(sha256(request))
        return entry is not None and not entry.proposed

    def forwarded(self, request: bytes, now_ms: int) -> None:
        """The request was passed on."""
        entry = self._of.get(sha256(request))
        if entry is not None:
            entry.forwarded_ms = now_ms

    def restart(self, now_ms: int, deadline_ms: int) -> None:
        """A new view: nothing is proposed yet, and every request has a fresh deadline."""
        for entry in self._of.values():
            entry.proposed = False
            entry.deadline_ms = deadline_ms
            entry.forwarded_ms = now_ms
        self._turns = dict.fromkeys(self._clients)
        self.waiting = len(self._of)
        self.waiting_since_ms = now_ms

    def take(self, requests_max: int, bytes_max: int, now_ms: int) -> tuple[bytes, ...]:
        """Requests for one batch: clients in turn, each client's in order.  At least one fits."""
        taken: list[bytes] = []
        size = 0
        while self._turns and len(taken) < requests_max:
            client = next(iter(self._turns))
            entry = self._next_of(client)
            if entry is None:
                del self._turns[client]
                continue
            size += len(entry.request) + 8
            if taken and size > bytes_max:
                break
            entry.proposed = True
            self.waiting -= 1
            taken.append(entry.request)
            del self._turns[client]
            self._turns[client] = None
        self.waiting_since_ms = now_ms
        return tuple(taken)

    def _next_of(self, client: bytes) -> Pending | None:
        """The client's first request that stands in no batch."""
        entries = (self._of[digest] for digest in self._clients.get(client, ()))
        return next((entry for entry in entries if not entry.proposed), None)
