"""Two processes of one replica, a real etcd: whoever holds the key votes, the other one waits.

Peers reach the identity at one address.  What an operator's floating address or proxy does, a
forwarder of bytes does here; TLS goes through it untouched.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bft.errors import ConfigError
from coordinator.config import Home, load_setup
from coordinator.guard.claims import Claim
from coordinator.guard.moving import make_second
from coordinator.main import OK
from coordinator.service.app import ReplicaService
from coordinator.service.journal import Journal
from tests.coordinator.service.mill import BUSY, Mill, NoPool, running
from tests.coordinator.test_main import Process
from tests.patience import PATIENCE_S
from tests.ports import claim_ports

pytestmark = [pytest.mark.integration, pytest.mark.slow]

INDEX = 3
LEASE_S = 3
SHARED = ("identity.key", "tls.key", "tls.crt", "genesis.bin", "member.bin")


class Forwarder:
    """Every connection goes to where `to` pointed when it came."""

    def __init__(self) -> None:
        self._port, self._ends = 0, set[asyncio.StreamWriter]()

    def to(self, port: int) -> None:
        """From now on there; what went elsewhere is cut."""
        self._port = port
        for end in self._ends:
            end.transport.abort()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._ends.add(writer)
        try:
            with contextlib.suppress(OSError):
                inner, outer = await asyncio.open_connection("127.0.0.1", self._port)
                self._ends.add(outer)
                try:
                    await asyncio.gather(pour(reader, outer), pour(inner, writer))
                finally:
                    self._ends.discard(outer)
                    outer.transport.abort()
        finally:
            self._ends.discard(writer)
            writer.transport.abort()


async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Until one side ends."""
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
    raise ConnectionResetError


class Twin:
    """One of the processes: its home, its own addresses."""

    def __init__(self, home: Path, etcd: str) -> None:
        self.home = Home(home)
        self.link, api = claim_ports(2)
        self.url = f"http://127.0.0.1:{api}"
        self.home.config.write_text(
            "api_version: gristmill/v1\nkind: Replica\n"
            f'listen: {{link: "127.0.0.1:{self.link}", api: "127.0.0.1:{api}"}}\n'
            f'standby: {{etcd: ["{etcd}"], lease_s: {LEASE_S}}}\n'
        )
        self.process: Process | None = None

    def start(self) -> Process:
        self.process = Process(self.home.path, self.url)
        return self.process

    def end(self) -> None:
        if self.process is not None:
            self.process.kill()

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        os.kill(self.process.process.pid, number)

    async def says(self, text: str) -> None:
        """Wait until its log says so."""
        assert self.process is not None
        async with asyncio.timeout(PATIENCE_S):
            while text not in (self.home.log.read_text() if self.home.log.exists() else ""):
                assert self.process.process.poll() is None, self.home.log.read_text()
                await asyncio.sleep(0.05)

    def claims(self) -> tuple[Claim, ...]:
        """What its journal says that it signed."""
        setup = load_setup(self.home.path)
        journal = Journal(setup.home.journal, setup.genesis.chain_id, setup.identity.public_key)
        try:
            return journal.recover().guarded.claims
        finally:
            journal.close()


def second_home(home: Path, other: Path, etcd: str) -> Twin:
    """What an operator copies, and a guard that knows that it is not the first."""
    other.mkdir()
    for name in SHARED:
        shutil.copy2(home / name, other / name)
    twin = Twin(other, etcd)
    make_second(twin.home.guard, load_setup(other).identity.public_key)
    return twin


@contextlib.asynccontextmanager
async def twins(root: Path, etcd: str) -> AsyncIterator[tuple[Mill, Forwarder, Twin, Twin]]:
    """Three members, and two processes that have the fourth one's key."""
    async with running(root / "mill", 4, BUSY, start=INDEX) as mill:
        first = Twin(mill.homes[INDEX], etcd)
        second = second_home(mill.homes[INDEX], root / "second", etcd)
        forwarder = Forwarder()
        host, _, port = mill.genesis.members[INDEX].link.decode().rpartition(":")
        server = await asyncio.start_server(forwarder.accept, host, int(port))
        try:
            yield mill, forwarder, first, second
        finally:
            first.end()
            second.end()
            server.close()
            forwarder.to(0)


async def voting(twin: Twin, mill: Mill, forwarder: Forwarder) -> None:
    """Wait until it holds the key, send peers there, and wait for its votes."""
    assert twin.process is not None
    await twin.process.becomes("member")
    forwarder.to(twin.link)
    size = mill.state().log.size
    await twin.process.votes(INDEX, size, mill.urls[0])


async def test_a_standby_votes_after_the_holders_death_and_no_key_signs_twice(
    tmp_path: Path, etcd_endpoint: str
) -> None:
    async with twins(tmp_path, etcd_endpoint) as (mill, forwarder, first, second):
        second.start()
        await second.says("etcd has no memory of this key yet")
        first.start()
        await voting(first, mill, forwarder)
        await second.says("the signing key is held by")
        await mill.until(lambda: mill.state().cycle > 1)  # the federation has its key
        shutil.copy2(first.home.ceremony_key, second.home.ceremony_key)

        first.end()  # kill -9
        await voting(second, mill, forwarder)

        first.start()
        await first.says("the signing key is held by")
        second.signal(signal.SIGSTOP)  # beyond its lease
        await voting(first, mill, forwarder)
        second.signal(signal.SIGCONT)
        await second.says(" no more")
        cycle = mill.state().cycle
        await mill.until(lambda: mill.state().cycle > cycle + 1)
        await voting(first, mill, forwarder)
        assert first.process is not None
        first.signal(signal.SIGTERM)
        assert await first.process.wait() == OK
        await voting(second, mill, forwarder)
    for index in range(INDEX):
        found = sqlite3.connect(Home(mill.homes[index]).journal)
        accused = found.execute("SELECT culprit, text FROM accusations").fetchall()
        found.close()
        assert accused == []
    said = {(one.domain, one.slot, one.rank): one.digest for one in first.claims()}
    others = second.claims()
    assert said and others
    assert all(said.get((o.domain, o.slot, o.rank), o.digest) == o.digest for o in others)


async def test_a_standbys_guard_signs_nothing_without_etcd(tmp_path: Path) -> None:
    async with running(tmp_path / "mill", 4, BUSY, start=0) as mill:
        twin = second_home(mill.homes[INDEX], tmp_path / "second", "127.0.0.1:1")
        twin.home.config.write_text("api_version: gristmill/v1\nkind: Replica\n")
        with pytest.raises(ConfigError, match="is a standby's"):
            await ReplicaService.open(load_setup(twin.home.path), NoPool())
