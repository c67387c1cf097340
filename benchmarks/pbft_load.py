"""The load client of benchmarks/pbft.py: signed commands over HTTP/1.1 keep-alive connections.

Each connection sends one command and waits for its answer, which a replica gives when the batch is
executed and durable.  The requests are signed beforehand, and the client speaks HTTP by hand,
because its own CPU time is taken from the replicas on a machine that they share.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from bft.crypto.identity import PrivateKey
from bft.ordering.request import seal_request
from chain.federation import api
from chain.records.commands import encode_commands
from chain.records.contribution import ResourceReport, UpdateReveal
from chain.records.operations import encode_operation

COMMAND_BYTES = 200
CLIENTS = 64  # identities
EXPECTED = b'"wrong-phase"'
_HEAD = (
    f"POST {api.REQUESTS} HTTP/1.1\r\nHost: replica\r\nContent-Type: {api.OCTETS}\r\n"
    "Content-Length: %d\r\n\r\n"
).encode()
_BODY = b"\r\n\r\n"
_LENGTH = b"content-length: "


def command() -> UpdateReveal:
    """A well-formed operation of COMMAND_BYTES that the cycle machine refuses when it executes it.

    A reveal while registration is open: it is verified, ordered, logged and answered as any
    other, and changes nothing, so that what is measured is consensus.
    """
    resources = ResourceReport(
        cpu_user_ms=0, cpu_system_ms=0, wall_ms=0, memory_peak_bytes=0, energy_mj=0, estimated=0
    )
    empty = UpdateReveal(
        cycle=1,
        unit=0,
        salt=bytes(32),
        digest=bytes(32),
        size=1,
        parameters=1,
        resources=resources,
        receipts=(b"",),
    )
    padding = bytes(COMMAND_BYTES - len(encode_operation(empty)))
    return replace(empty, receipts=(padding,))


class Commands:
    """Signed requests of CLIENTS identities, encoded as HTTP, made ahead of time."""

    def __init__(self, chain_id: bytes, each: int = 1) -> None:
        """`each`: commands under one signature."""
        self._chain_id = chain_id
        self._operation = (
            encode_commands([command()] * each) if each > 1 else encode_operation(command())
        )
        self._keys = [PrivateKey((number + 1).to_bytes(32, "big")) for number in range(CLIENTS)]
        self._made = 0

    def make(self, count: int) -> list[bytes]:
        """`count` new ones, of one client after the other."""
        return [post(request) for request in self.seal(count)]

    def seal(self, count: int) -> Iterator[bytes]:
        """The same without HTTP around."""
        for _ in range(count):
            key = self._keys[self._made % CLIENTS]
            self._made += 1
            yield seal_request(
                self._chain_id, key.public_key, self._made, self._operation, key.sign
            )


def post(body: bytes) -> bytes:
    """One HTTP request."""
    return _HEAD % len(body) + body


@dataclass
class Outcome:
    """What one measurement saw."""

    seconds: float = 0.0
    latencies_s: list[float] = field(default_factory=list)  # of executed commands
    others: Counter[bytes] = field(default_factory=Counter)  # status lines of other answers

    @property
    def per_s(self) -> float:
        """Executed commands a second."""
        return len(self.latencies_s) / self.seconds

    def latency_ms(self, percent: int) -> float:
        """A percentile; the median is 50."""
        ordered = sorted(self.latencies_s)
        return 1000 * ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


class _Connection(asyncio.Protocol):
    """Sends command after command, each when the one before is answered."""

    def __init__(self, commands: Iterator[bytes], outcome: Outcome, until: float) -> None:
        self._commands, self._outcome, self._until = commands, outcome, until
        self._received = b""
        self._sent = 0.0
        self._transport: asyncio.Transport | None = None
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._next()

    def _next(self) -> None:
        assert self._transport is not None
        self._sent = time.perf_counter()
        request = next(self._commands, None) if self._sent < self._until else None
        if request is None:
            self._transport.close()
        else:
            self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Take one answer when it is whole."""
        self._received += data
        head, found, body = self._received.partition(_BODY)
        if not found:
            return
        lengths = head.lower().partition(_LENGTH)[2]
        if len(body) < int(lengths.partition(b"\r\n")[0]):
            return
        self._received = b""
        if EXPECTED in body:
            self._outcome.latencies_s.append(time.perf_counter() - self._sent)
        else:
            self._outcome.others[head.partition(b"\r\n")[0]] += 1
        self._next()

    def connection_lost(self, error: Exception | None) -> None:
        """The end."""
        if error is not None:
            self._outcome.others[type(error).__name__.encode()] += 1
        if not self.done.done():
            self.done.set_result(None)


async def run(
    doors: Sequence[tuple[str, int]], connections: int, commands: Iterable[bytes], seconds: float
) -> Outcome:
    """Keep `connections` commands under way, spread over `doors`, for so long or as many."""
    loop, outcome, source = asyncio.get_running_loop(), Outcome(), iter(commands)
    started = time.perf_counter()
    protocols = []
    for number in range(connections):
        host, port = doors[number % len(doors)]
        _, protocol = await loop.create_connection(
            lambda: _Connection(source, outcome, started + seconds), host, port
        )
        protocols.append(protocol.done)
    await asyncio.gather(*protocols)
    outcome.seconds = time.perf_counter() - started
    return outcome
