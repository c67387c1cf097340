"""A real process under attack: a replica or a node, raw sockets to it, its memory and its log."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from chain.federation import api
from chain.node.config import save_config
from chain.records.federation import Genesis
from tests.chain.node.homes import make_config
from tests.patience import PATIENCE_S
from tests.ports import claim_ports, federation_here
from tests.sample import JOB, SNAPSHOT, STILL

ROOT = Path(__file__).parents[2]
GROWTH_BYTES_MAX = 64 * 1024 * 1024
"""So much may a process grow in one storm: buffers, caches, and what the allocator keeps."""
ANSWER_BYTES_MAX = 1 << 23


class Victim:
    """One running process."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        logs: tuple[Path, ...],
        http: str,
        p2p: str = "",
    ) -> None:
        """`logs`: files that it writes; `http`, `p2p`: host:port."""
        self.process, self.http, self.p2p = process, http, p2p
        self._logs = logs

    @property
    def logged(self) -> str:
        """Everything that it said so far."""
        return "".join(path.read_text(errors="replace") for path in self._logs if path.exists())

    @property
    def resident_bytes(self) -> int:
        """Physical memory that the process holds."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("the process is gone")

    @property
    def open_files(self) -> int:
        """Descriptors that the process holds."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    async def connect(
        self, address: str | None = None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A plain connection; to the API unless another address is given."""
        host, _, port = (address or self.http).rpartition(":")
        return await asyncio.open_connection(host, int(port), limit=ANSWER_BYTES_MAX)

    async def raw(self, data: bytes, *, end: bool = False) -> bytes:
        """Everything that comes back for these bytes, until the other side closes.

        `end`: we close our side at once, which a server may take as leaving.
        """
        reader, writer = await self.connect()
        answer = b""
        try:
            async with asyncio.timeout(PATIENCE_S):
                try:
                    writer.write(data)
                    await writer.drain()
                    if end:
                        writer.write_eof()
                except ConnectionError:
                    pass  # refused while we were still sending: the answer may be there
                try:
                    while len(answer) < ANSWER_BYTES_MAX:
                        part = await reader.read(1 << 16)
                        if not part:
                            break
                        answer += part
                except ConnectionError:
                    pass
        finally:
            writer.close()
        return answer

    async def answers(self) -> bool:
        """Whether it serves an honest client now."""
        answer = await self.raw(
            f"GET {api.STATUS} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
        )
        return answer.startswith(b"HTTP/1.1 200")

    async def end(self) -> None:
        """SIGTERM; it must end well, and nothing that looks like a bug may stand in its log."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE_S):
            code = await self.process.wait()
        assert code == 0, self.logged[-4000:]
        assert "Traceback" not in self.logged, self.logged[-8000:]

    @asynccontextmanager
    async def storm(self) -> AsyncIterator[None]:
        """What happens inside must leave the process answering, and not grown."""
        assert await self.answers()
        before = self.resident_bytes
        yield
        assert await self.answers()
        grown = self.resident_bytes - before
        assert grown <= GROWTH_BYTES_MAX, f"grown by {grown} bytes"


async def _start(log: Path, *command: str) -> asyncio.subprocess.Process:
    with log.open("wb") as file:
        return await asyncio.create_subprocess_exec(
            sys.executable, *command, cwd=ROOT, stdout=file, stderr=file
        )


@asynccontextmanager
async def _running(victim: Victim) -> AsyncIterator[Victim]:
    try:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                assert victim.process.returncode is None, victim.logged
                try:
                    if await victim.answers():
                        break
                except OSError:
                    await asyncio.sleep(0.05)
        yield victim
        await victim.end()
    finally:
        if victim.process.returncode is None:
            victim.process.kill()
            await victim.process.wait()


@asynccontextmanager
async def replica(
    root: Path, *, members: int = 1, settings: str = "", snapshot: bytes = SNAPSHOT
) -> AsyncIterator[tuple[Victim, Genesis, tuple[Path, ...]]]:
    """Replica 0 of a federation of which nobody else runs; all homes are the attacker's."""
    genesis, homes = federation_here(root, members, STILL, JOB, snapshot)
    if settings:
        path = homes[0] / "replica.yaml"
        path.write_text(path.read_text() + settings + "\n")
    command = ("-m", "tests.coordinator.one_replica", str(homes[0]))
    process = await _start(root / "victim.log", *command)
    http = genesis.members[0].api.decode()
    async with _running(
        Victim(process, (root / "victim.log", homes[0] / "replica.log"), http)
    ) as victim:
        yield victim, genesis, homes


@asynccontextmanager
async def node(root: Path) -> AsyncIterator[Victim]:
    """A chain node without peers."""
    p2p, http = (f"127.0.0.1:{port}" for port in claim_ports(2))
    save_config(make_config(root, p2p=p2p, http=http))
    command = ("-m", "gristmill", "node", "run", "-v", "--home", str(root))
    process = await _start(root / "victim.log", *command)
    async with _running(Victim(process, (root / "victim.log",), http, p2p)) as victim:
        yield victim
