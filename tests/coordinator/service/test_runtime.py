"""The driver contract: durable before sent, and an end that is clean."""

import asyncio
import sqlite3
from pathlib import Path

import aiohttp
import pytest
from msgspec.structs import replace

from bft.codec.canonical import decode
from bft.errors import Unavailable
from bft.membership import Membership
from bft.ordering.request import open_request
from bft.pbft.config import Config
from bft.pbft.events import Persist
from bft.pbft.messages import ForwardedRequests, PrePrepare, RequestBundle, Status, open_message
from chain.records.block import build_block, decode_block
from chain.records.certificate import decode_certificate
from chain.records.operations import decode_operation
from chain.records.phase import Phase
from chain.records.votes import BlockSeen
from coordinator.config import Setup, load_setup
from coordinator.cycle.duties import Measurement, OuterStep
from coordinator.cycle.state import Rules
from coordinator.effects import BlockAccepted, Evaluated, Stepped
from coordinator.replica import CoordinatorReplica
from coordinator.service.journal import Journal
from coordinator.service.reader import JournalReader
from coordinator.service.runtime import Halted, Runtime
from coordinator.service.vault import Vault
from coordinator.service.work import ATTEMPTS
from tests.coordinator.service.grinding import GRINDING, EasyPool, Grinder
from tests.coordinator.service.mill import JOB, SNAPSHOT, STILL, running
from tests.ports import federation_here
from tests.sim.miners import FOREVER, Habits
from tests.sim.world import World

PATIENCE_S = 20.0


class Idle:
    """No cycle gets as far as measuring here."""

    async def evaluate(self, measurement: Measurement) -> Evaluated:
        raise AssertionError(measurement)

    async def make_snapshot(self, step: OuterStep) -> Stepped:
        raise AssertionError(step)


class Wire:
    """Looks, at every message, at what the disk holds; stops the runtime after some."""

    def __init__(self, setup: Setup, runtime: Runtime, limit: int) -> None:
        self._disk = sqlite3.connect(f"file:{setup.home.journal}?mode=ro", uri=True)
        self._membership = setup.genesis.membership
        self._runtime, self._limit = runtime, limit
        self.sent: list[tuple[type, int]] = []  # message, promises on the disk when it left

    def send(self, to: int | None, message: bytes) -> None:
        """See `Network`."""
        (promises,) = self._disk.execute("SELECT count(*) FROM wal").fetchone()
        kind = type(open_message(message, self._membership).message)
        self.sent.append((kind, promises))
        if len(self.sent) == self._limit:
            self._runtime.stop()

    def promises_at(self, kind: type) -> list[int]:
        """Promises on the disk, each time such a message left."""
        return [promises for sent, promises in self.sent if sent is kind]

    def close(self) -> None:
        """Let go of the disk."""
        self._disk.close()


def assemble(setup: Setup) -> tuple[Runtime, Journal, JournalReader]:
    """A replica on its journal, without links and HTTP."""
    path = setup.home.journal
    journal = Journal(path, setup.genesis.chain_id, setup.identity.public_key)
    recovery = journal.recover()
    member = setup.genesis.membership
    replica = CoordinatorReplica(
        Rules(setup.genesis),
        Config(membership=member, index=setup.index, sign=setup.identity.sign),
        Vault(setup.keystore).secrets,
        recovery.consensus,
        recovery.saved,
        recovery.tail,
    )
    reader = JournalReader(path)
    lsn = max((number for number, _ in recovery.consensus.records), default=0)
    vault = Vault(setup.keystore)
    return Runtime(replica, journal, reader, Idle(), vault, durable_lsn=lsn), journal, reader


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    """The primary of four; the others are not there."""
    _, homes = federation_here(tmp_path, 4, STILL, JOB, SNAPSHOT)
    return load_setup(homes[0])


async def run(setup: Setup, limit: int) -> Wire:
    """Until so many messages have left."""
    runtime, journal, reader = assemble(setup)
    wire = Wire(setup, runtime, limit)
    try:
        async with asyncio.timeout(PATIENCE_S):
            await runtime.run(wire)
    finally:
        wire.close()
        reader.close()
        journal.close()
    return wire


async def test_a_promise_is_on_the_disk_before_it_is_sent(setup: Setup) -> None:
    """The primary proposes its own request: the proposal leaves only behind its record."""
    proposals = (await run(setup, limit=5)).promises_at(PrePrepare)
    assert proposals and min(proposals) >= 1


async def test_a_second_life_begins_with_the_promises_of_the_first(setup: Setup) -> None:
    first = await run(setup, limit=5)
    second = await run(setup, limit=3)
    assert second.sent[0][1] >= max(first.promises_at(PrePrepare)) >= 1


async def test_work_that_fails_is_done_again_while_the_duty_stands(tmp_path: Path) -> None:
    """A worker that dies and a bug in it delay the table and the model; neither is given up."""
    failures = [*([Unavailable("a worker died")] * ATTEMPTS), ValueError("a bug")]
    pool = EasyPool(measuring=failures, stepping=failures)
    async with (
        running(tmp_path, 1, GRINDING, pool=lambda: pool) as mill,
        aiohttp.ClientSession() as session,
    ):
        base = mill.state().model
        await Grinder(mill, session).cycle(b"an update")
        assert pool.measuring == pool.stepping == [] and pool.models == 1
        assert mill.state().model != base


async def test_work_for_a_duty_that_is_gone_is_not_done_again(tmp_path: Path) -> None:
    impatient = replace(GRINDING, evaluation_ms=100)
    pool = EasyPool([Unavailable("no worker")] * 1_000)
    async with (
        running(tmp_path, 1, impatient, pool=lambda: pool) as mill,
        aiohttp.ClientSession() as session,
    ):
        await Grinder(mill, session).cycle(b"an update")
        assert pool.models == 0
        await mill.until(
            lambda: not any(task.get_name() == "evaluate" for task in asyncio.all_tasks())
        )


async def test_a_journal_that_refuses_halts_the_replica_and_nothing_is_sent(
    setup: Setup,
) -> None:
    runtime, journal, reader = assemble(setup)
    wire = Wire(setup, runtime, limit=100)
    journal.commit([Persist(1, b"somebody else wrote here")])
    with pytest.raises(Halted, match="nothing unwritten was sent"):
        await runtime.run(wire)
    assert {kind for kind, _ in wire.sent} <= {Status}  # which promises nothing
    wire.close()
    reader.close()
    journal.close()


class Ears:
    """Hears what a replica asks for, and stops it when it votes for a block."""

    def __init__(self, membership: Membership) -> None:
        self._membership = membership
        self.runtime: Runtime | None = None
        self.votes: list[BlockSeen] = []

    def send(self, to: int | None, message: bytes) -> None:
        """See `Network`."""
        found = open_message(message, self._membership)
        if not isinstance(found.message, ForwardedRequests):
            return
        for sealed in decode(RequestBundle, found.attachment).requests:
            request = open_request(sealed, self._membership.chain_id)
            operation = decode_operation(request.operation)
            if isinstance(operation, BlockSeen) and self.runtime is not None:
                self.votes.append(operation)
                self.runtime.stop()


async def test_a_replica_that_starts_anew_votes_for_the_block_that_it_holds(
    tmp_path: Path, setup: Setup
) -> None:
    """All may have been restarted after they took the block, and its maker be gone."""
    world = World(1006, miners=(Habits(blocks_from=FOREVER),))
    world.run_to(Phase.BLOCK)
    host = next(host for host in world.up if host.replica.primary != host.index)
    certificate = host.settled.certificate
    block = build_block(
        certificate,
        time=decode_certificate(certificate)[0].not_before,
        subsidy=0,
        sign=world.miners[0].key.sign,
        winner=world.miners[0].name,
    )
    header = decode_block(block).header
    journal = Journal(tmp_path / "journal", world.rules.chain_id, bytes(33))
    kept = BlockAccepted(host.settled.tip.height + 1, header.hash, block)
    journal.commit([kept])
    reader = JournalReader(tmp_path / "journal")
    ears = Ears(world.genesis.membership)
    lsn = host.disk.recovered().records[-1][0]
    ears.runtime = Runtime(
        host.build(), journal, reader, Idle(), Vault(setup.keystore), durable_lsn=lsn
    )
    try:
        async with asyncio.timeout(PATIENCE_S):
            await ears.runtime.run(ears)
    finally:
        reader.close()
        journal.close()
    assert [vote.header for vote in ears.votes] == [header.encode()]
