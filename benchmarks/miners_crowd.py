"""The miners of benchmarks/miners.py: keys, what they say, and HTTP connections to say it over.

The client speaks HTTP/1.1 by hand, because its CPU time is taken from the replicas on a machine
that they share.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from bft.codec.envelope import seal
from bft.crypto.hashing import sha256, tagged_hash
from bft.crypto.identity import PrivateKey
from bft.ordering.request import seal_request
from chain.federation import api
from chain.records.contribution import (
    Profile,
    Register,
    ResourceReport,
    UpdateCommitment,
    UpdateReveal,
    UploadAuthorization,
    WorkUnit,
    commitment_digest,
)
from chain.records.federation import Genesis
from chain.records.operations import encode_operation
from chain.rules.families.registry import segment_parameters
from chain.rules.updates import update_bytes_max

_END = b"\r\n\r\n"
_LENGTH = b"content-length: "

Door = tuple[str, int]


class Call(NamedTuple):
    """One HTTP request, and whose it is."""

    miner: int
    data: bytes


@dataclass
class Answers:
    """What came back."""

    bodies: dict[int, list[bytes]] = field(default_factory=dict)  # miner -> bodies of 2xx answers
    others: Counter[bytes] = field(default_factory=Counter)  # other answers, by their first bytes


class _Connection(asyncio.Protocol):
    """Sends call after call, each when the one before is answered."""

    def __init__(self, calls: Iterator[Call], answers: Answers) -> None:
        self._calls, self._answers = calls, answers
        self._received = bytearray()
        self._miner = 0
        self._transport: asyncio.Transport | None = None
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._next()

    def _next(self) -> None:
        assert self._transport is not None
        call = next(self._calls, None)
        if call is None:
            self._transport.close()
            return
        self._miner = call.miner
        self._transport.write(call.data)

    def data_received(self, data: bytes) -> None:
        """Take one answer when it is whole."""
        self._received += data
        end = self._received.find(_END)
        if end < 0:
            return
        head = bytes(self._received[:end]).lower()
        length = int(head.partition(_LENGTH)[2].partition(b"\r\n")[0])
        if len(self._received) < end + len(_END) + length:
            return
        body = bytes(self._received[end + len(_END) :])
        self._received.clear()
        if head[9:10] == b"2":
            self._answers.bodies.setdefault(self._miner, []).append(body)
        else:
            self._answers.others[head[9:12] + b" " + body[:160]] += 1
        self._next()

    def connection_lost(self, error: Exception | None) -> None:
        """The end."""
        if error is not None:
            self._answers.others[type(error).__name__.encode()] += 1
        if not self.done.done():
            self.done.set_result(None)


async def converse(doors: Sequence[Door], calls: Sequence[Iterable[Call]], each: int) -> Answers:
    """Have all calls answered: `calls[i]` at `doors[i]`, `each` at a time."""
    loop, answers = asyncio.get_running_loop(), Answers()
    waiting = []
    for (host, port), source in zip(doors, calls, strict=True):
        connection = partial(_Connection, iter(source), answers)
        for _ in range(each):
            _, protocol = await loop.create_connection(connection, host, port)
            waiting.append(protocol.done)
    await asyncio.gather(*waiting)
    return answers


def get(path: str) -> bytes:
    """One HTTP request."""
    return f"GET {path} HTTP/1.1\r\nHost: replica\r\n\r\n".encode()


def send(method: str, path: str, body: bytes, more: str = "") -> bytes:
    """One HTTP request with a body.  `more`: further header lines."""
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: replica\r\nContent-Type: {api.OCTETS}\r\n"
        f"Content-Length: {len(body)}\r\n{more}\r\n"
    )
    return head.encode() + body


class Crowd:
    """`count` miners with real keys; each says everything once, in order."""

    def __init__(self, genesis: Genesis, count: int) -> None:
        self._genesis, self._chain_id = genesis, genesis.chain_id
        self.keys = [
            PrivateKey(tagged_hash("benchmark/miner", number.to_bytes(4, "big")))
            for number in range(count)
        ]
        self.numbers = {key.public_key: number for number, key in enumerate(self.keys)}
        self._updates = [b""] * count

    def questions(self, route: str, cycle: int) -> list[Call]:
        """Everybody asks for its own part of something."""
        return [
            Call(number, get(route.format(cycle=cycle, miner=key.public_key.hex())))
            for number, key in enumerate(self.keys)
        ]

    def registrations(self, cycle: int) -> list[Call]:
        """Everybody asks for work."""
        capacity = self._genesis.params.unit_capacity
        profile = Profile(device=b"benchmark", capacity=capacity, memory_bytes=2**30)
        register = encode_operation(Register(cycle=cycle, profile=profile))
        return [self._call(number, 1, register) for number in range(len(self.keys))]

    def commitments(self, cycle: int, units: Sequence[WorkUnit]) -> list[Call]:
        """Everybody's update, hidden.  The bytes are no update; nobody here decodes them."""
        calls = []
        for unit in units:
            number = self.numbers[unit.miner]
            size = update_bytes_max(self._genesis.job, unit.segment)
            update = (unit.miner * (size // len(unit.miner) + 1))[:size]
            self._updates[number] = update
            digest = commitment_digest(
                self._chain_id, cycle, unit.unit, unit.miner, sha256(update), self._salt(number)
            )
            commitment = UpdateCommitment(cycle=cycle, unit=unit.unit, commitment=digest)
            calls.append(self._call(number, 2, encode_operation(commitment)))
        return calls

    def uploads(self, cycle: int) -> list[Call]:
        """Everybody's update, open."""
        calls = []
        for number, key in enumerate(self.keys):
            update = self._updates[number]
            digest = sha256(update)
            asked = UploadAuthorization(
                chain_id=self._chain_id, cycle=cycle, digest=digest, size=len(update)
            )
            sealed = seal(asked, key.public_key, key.sign)
            path = api.BLOBS.format(digest=digest.hex())
            more = f"{api.UPLOAD_HEADER}: {sealed.hex()}\r\n"
            calls.append(Call(number, send("PUT", path, update, more)))
        return calls

    def reveals(
        self, cycle: int, units: Sequence[WorkUnit], receipts: dict[int, list[bytes]]
    ) -> list[Call]:
        """Everybody opens its commitment, with the receipts that the uploads gave."""
        calls = []
        for unit in units:
            number = self.numbers[unit.miner]
            update = self._updates[number]
            reveal = UpdateReveal(
                cycle=cycle,
                unit=unit.unit,
                salt=self._salt(number),
                digest=sha256(update),
                size=len(update),
                parameters=segment_parameters(self._genesis.job, unit.segment),
                resources=_RESOURCES,
                receipts=tuple(receipts.get(number, ())),
            )
            calls.append(self._call(number, 3, encode_operation(reveal)))
        return calls

    def _salt(self, number: int) -> bytes:
        return tagged_hash("benchmark/salt", number.to_bytes(4, "big"))

    def _call(self, number: int, cseq: int, operation: bytes) -> Call:
        key = self.keys[number]
        sealed = seal_request(self._chain_id, key.public_key, cseq, operation, key.sign)
        return Call(number, send("POST", api.REQUESTS, sealed))


_RESOURCES = ResourceReport(
    cpu_user_ms=900,
    cpu_system_ms=10,
    wall_ms=1_000,
    memory_peak_bytes=2**28,
    energy_mj=15_000,
    estimated=1,
)


def dealt(calls: Sequence[Call], doors: int, copies: int) -> list[list[Call]]:
    """Each call at `copies` doors, by the miner's number."""
    shares: list[list[Call]] = [[] for _ in range(doors)]
    for call in calls:
        for copy in range(copies):
            shares[(call.miner + copy) % doors].append(call)
    return shares
