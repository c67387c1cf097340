"""The miners of benchmarks/crowd.py: real keys and the miners' own HTTP client, but no training.

Everybody has a client of its own (chain/federation/client.py), says everything itself, asks again
when a replica is busy or gone, and looks by itself where the cycle stands.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeVar

from bft.codec.canonical import Record, decode
from bft.codec.envelope import Envelope, seal
from bft.crypto.hashing import sha256, tagged_hash
from bft.crypto.identity import PrivateKey
from bft.errors import FederationError, Refused
from bft.ordering.request import seal_request
from chain.federation.answers import ACCEPTED, Position
from chain.federation.client import FederationClient
from chain.records.contribution import (
    Profile,
    Register,
    ResourceReport,
    StorageReceipt,
    UpdateCommitment,
    UpdateReveal,
    UploadAuthorization,
    WorkUnit,
    commitment_digest,
)
from chain.records.federation import Genesis
from chain.records.operations import encode_operation
from chain.records.phase import Phase
from chain.rules.families.registry import segment_parameters
from chain.rules.updates import update_bytes_max
from miner.agent import NUMBER_USED

CYCLE = 1
POLL_S = 5.0  # between two looks of one miner; miner/agent.py's longest
AGAIN_S = 0.5  # before something is asked again
PATIENCE_S = 600.0  # for one answer
RESOURCES = ResourceReport(
    cpu_user_ms=900,
    cpu_system_ms=10,
    wall_ms=1_000,
    memory_peak_bytes=2**28,
    energy_mj=15_000,
    estimated=1,
)

T = TypeVar("T")


@dataclass
class Seen:
    """What all miners together have measured, and how far any of them has seen the cycle go."""

    seconds: dict[str, list[float]] = field(default_factory=dict)  # of each action, with repeats
    repeats: dict[str, int] = field(default_factory=dict)
    acknowledged: dict[bytes, set[bytes]] = field(default_factory=dict)  # digest -> signers
    units: dict[int, bytes] = field(default_factory=dict)  # acknowledged: unit -> digest
    uploading: list[float] = field(default_factory=list)  # first begin, last end
    position: Position = field(default_factory=lambda: Position(0, Phase.KEYGEN))
    moved: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def reach(self, position: Position) -> None:
        """Wait until somebody has seen the federation there."""
        async with self.moved:
            await self.moved.wait_for(lambda: self.position >= position)

    async def tell(self, position: Position) -> None:
        """Somebody has seen the federation here."""
        async with self.moved:
            self.position = max(self.position, position)
            self.moved.notify_all()

    async def timed(self, name: str, action: Callable[[], Awaitable[T]]) -> T:
        """Do `action` until it succeeds; how long that took is kept.

        Raises:
            Refused: the federation does not want it; asking again would not help.
            FederationError: what went wrong last, after PATIENCE_S.
        """
        began = time.monotonic()
        while True:
            try:
                found = await action()
            except Refused:
                raise
            except FederationError:
                self.repeats[name] = self.repeats.get(name, 0) + 1
                if time.monotonic() - began > PATIENCE_S:
                    raise
                await asyncio.sleep(AGAIN_S)
                continue
            self.seconds.setdefault(name, []).append(time.monotonic() - began)
            return found


class CrowdMiner:
    """One miner through one cycle."""

    def __init__(self, genesis: Genesis, number: int, client: FederationClient, seen: Seen):
        self._genesis, self._client, self._seen = genesis, client, seen
        self._number, self._cseq = number, 0
        self.key = PrivateKey(tagged_hash("benchmark/miner", number.to_bytes(4, "big")))
        self._salt = tagged_hash("benchmark/salt", number.to_bytes(4, "big"))

    async def look(self) -> None:
        """Look where the cycle stands, now and then, until it is cancelled."""
        await asyncio.sleep(POLL_S * (self._number % 16) / 16)
        while True:
            with suppress(FederationError):  # the next look will do
                await self._seen.tell(await self._client.position())
            await asyncio.sleep(POLL_S)

    async def register(self) -> None:
        """Ask for work."""
        capacity = self._genesis.params.unit_capacity
        profile = Profile(device=b"benchmark", capacity=capacity, memory_bytes=2**30)
        await self._ordered("register", Register(cycle=CYCLE, profile=profile))

    async def unit(self) -> WorkUnit:
        """The one unit that this miner was given."""
        assigned = await self._seen.timed(
            "assignment", lambda: self._client.assignment(CYCLE, self.key.public_key)
        )
        assert assigned is not None
        (unit,) = assigned.units
        return unit

    def update(self, unit: WorkUnit) -> bytes:
        """Bytes as long as an update; nobody here decodes them."""
        size = update_bytes_max(self._genesis.job, unit.segment)
        return (self.key.public_key * (size // len(self.key.public_key) + 1))[:size]

    async def commit(self, unit: WorkUnit, update: bytes) -> None:
        """Bind this miner to its update."""
        digest = commitment_digest(
            self._genesis.chain_id,
            CYCLE,
            unit.unit,
            self.key.public_key,
            sha256(update),
            self._salt,
        )
        await self._ordered(
            "commit", UpdateCommitment(cycle=CYCLE, unit=unit.unit, commitment=digest)
        )

    async def upload(self, unit: WorkUnit, update: bytes) -> tuple[bytes, ...]:
        """Give the update to the replicas; their receipts."""
        digest, seen = sha256(update), self._seen
        authorization = self.authorization(update)
        receipt = StorageReceipt(
            chain_id=self._genesis.chain_id,
            cycle=CYCLE,
            miner=self.key.public_key,
            digest=digest,
            size=len(update),
        )
        seen.uploading.append(time.monotonic())
        receipts = await seen.timed(
            "upload", lambda: self._client.upload(update, authorization, receipt)
        )
        seen.uploading.append(time.monotonic())
        signers = {decode(Envelope, sealed).signer for sealed in receipts}
        seen.acknowledged.setdefault(digest, set()).update(signers)
        async with seen.moved:
            seen.units[unit.unit] = digest
            seen.moved.notify_all()
        return receipts

    def authorization(self, update: bytes) -> bytes:
        """Sealed, for the replicas' doors."""
        asked = UploadAuthorization(
            chain_id=self._genesis.chain_id,
            cycle=CYCLE,
            digest=sha256(update),
            size=len(update),
        )
        return seal(asked, self.key.public_key, self.key.sign)

    async def reveal(self, unit: WorkUnit, update: bytes, receipts: tuple[bytes, ...]) -> None:
        """Open the commitment."""
        reveal = UpdateReveal(
            cycle=CYCLE,
            unit=unit.unit,
            salt=self._salt,
            digest=sha256(update),
            size=len(update),
            parameters=segment_parameters(self._genesis.job, unit.segment),
            resources=RESOURCES,
            receipts=receipts,
        )
        await self._ordered("reveal", reveal)

    async def _ordered(self, name: str, record: Record) -> None:
        """Have the record ordered.  The same request is given again: it is executed once."""
        self._cseq += 1
        request = seal_request(
            self._genesis.chain_id,
            self.key.public_key,
            self._cseq,
            encode_operation(record),
            self.key.sign,
        )
        verdict = await self._seen.timed(name, lambda: self._client.submit(request))
        if verdict.code not in (ACCEPTED, NUMBER_USED):
            raise Refused(verdict.code, f"{name}: {verdict.text}")
