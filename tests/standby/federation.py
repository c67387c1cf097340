"""Four replicas as their operators run them, the last one as two processes with one identity.

The pair has one address for links and one for the API, as behind a floating address: only the
process that holds the key listens.
"""

import asyncio
import sqlite3
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
from msgspec.structs import replace

from bft.codec.canonical import decode
from bft.ordering.proof import QuorumProof
from chain.federation import api
from chain.params import MINIMAL
from chain.records.score_log import LogEntry
from coordinator.config import Home, load_setup
from coordinator.guard.claims import Domain
from coordinator.service.journal import Journal
from tests.patience import PATIENCE_S
from tests.ports import federation_here
from tests.sample import JOB, SNAPSHOT
from tests.standby.trial import Signed, contradictions

GRISTMILL = [sys.executable, "-m", "gristmill"]
PAIR = 3
"""The replica that two processes stand for."""
EMPTY = replace(MINIMAL, registration_ms=2_000)
"""Nobody registers: cycle after cycle closes empty, and there is always something to sign."""
TAKEN = "this process holds the key now"
LOOK_EVERY_S = 0.05


class Replica:
    """A home and the process on it."""

    def __init__(self, home: Path) -> None:
        self.home = Home(home)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """`gristmill operator run`."""
        assert not self.runs
        command = [*GRISTMILL, "operator", "run", "--home", str(self.home.path), "--log-file"]
        self.process = subprocess.Popen(command)

    @property
    def runs(self) -> bool:
        """Whether its process lives."""
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        """kill -9, and collect it."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def log(self) -> str:
        """All that it has logged."""
        return self.home.log.read_text() if self.home.log.exists() else ""

    def signed(self) -> list[Signed]:
        """What its journal says that it signed.  Its process must be dead."""
        if not self.home.journal.exists():
            return []
        setup = load_setup(self.home.path)
        journal = Journal(setup.home.journal, setup.genesis.chain_id, setup.identity.public_key)
        try:
            claims = journal.recover().guarded.claims
        finally:
            journal.close()
        name = self.home.path.name
        return [
            Signed(name, Domain(claim.domain), claim.slot, claim.rank, claim.digest.hex())
            for claim in claims
        ]


class Pair:
    """The federation.  Call `open`, and `close` in any case."""

    def __init__(self, root: Path, etcd: list[str], lease_s: int) -> None:
        genesis, homes = federation_here(root, 4, EMPTY, JOB, SNAPSHOT)
        self.others = [Replica(home) for home in homes[:PAIR]]
        self.twins = [Replica(homes[PAIR]), Replica(root / "standby")]
        self._urls = [f"http://{member.api.decode()}" for member in genesis.members]
        self._settings = f"standby: {{etcd: [{', '.join(map(repr, etcd))}], lease_s: {lease_s}}}\n"
        self._root = root
        self.signed: list[Signed] = []

    async def open(self) -> None:
        """Start all; returns when the federation has its key and the second twin has its share."""
        first, second = self.twins
        with first.home.config.open("a") as settings:
            settings.write(self._settings)
        packed = self._root / "backup.tar"
        await operator("keys", "backup", "--home", first.home.path, "--output", packed, "--plain")
        await operator("keys", "restore", "--home", second.home.path, packed)
        await operator("guard", "standby", "--home", second.home.path)
        for replica in (*self.others, first):
            replica.start()
        await self.until("the federation's key", self._has_key)
        await self.until_signs()
        share = first.home.ceremony_key.read_bytes()
        second.home.ceremony_key.write_bytes(share)
        second.home.ceremony_key.chmod(0o600)
        second.start()
        await self.until_says(second, "the signing key is held by")

    def close(self) -> None:
        """Nothing of it runs afterwards."""
        for replica in (*self.others, *self.twins):
            replica.kill()

    async def take_over(self, holder: Replica, heir: Replica) -> float:
        """Seconds from kill -9 of the holder until its heir's signature stands under a decision."""
        size = await self.size()
        killed = time.monotonic()
        holder.kill()
        at_death = max(size, await self.size())
        self.reckon(holder)
        await self.until_signs(at_death)
        took = time.monotonic() - killed
        holder.start()
        await self.until_says(holder, "the signing key is held by", holder.log())
        assert heir.runs
        return took

    def holder(self) -> Replica:
        """Who of the pair took the key last, by what their logs say."""

        def taken(twin: Replica) -> str:
            lines = [line for line in twin.log().splitlines() if TAKEN in line]
            return lines[-1].split()[0] if lines else ""  # its time, in UTC

        return max(self.twins, key=taken)

    def reckon(self, dead: Replica) -> None:
        """Note what the dead process had signed."""
        self.signed += dead.signed()

    def faults(self) -> list[str]:
        """What was signed twice, by the pair's journals and by what the others saw of it."""
        found = contradictions(self.signed)
        for replica in self.others:
            with sqlite3.connect(f"file:{replica.home.journal}?mode=ro", uri=True) as seen:
                found += [
                    f"{replica.home.path.name} accuses replica {culprit}: {text}"
                    for culprit, text in seen.execute("SELECT culprit, text FROM accusations")
                ]
            seen.close()
        return found

    # What the others have.

    async def size(self) -> int:
        """Entries in the first replica's log."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(self._urls[0] + api.STATUS) as answer,
        ):
            told = await answer.json()
        return int(told["log_size"])

    async def _has_key(self) -> bool:
        return await self.size() > 0

    async def grows(self) -> None:
        """Wait until the log has grown: the federation goes on."""
        size = await self.size()

        async def grown() -> bool:
            return await self.size() > size

        await self.until("another entry", grown)

    async def until_signs(self, first: int = 0) -> None:
        """Wait until the pair's signature stands under a decision at `first` or later."""
        at = first

        async def signs() -> bool:
            nonlocal at
            entries = await self._entries(at)
            at += len(entries)
            proofs = [decode(QuorumProof, entry.proof) for entry in entries if entry.proof]
            return any(
                signature.replica == PAIR for proof in proofs for signature in proof.signatures
            )

        await self.until("the pair's signature", signs)

    async def _entries(self, first: int) -> tuple[LogEntry, ...]:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{self._urls[0]}{api.LOG}?from={first}") as answer,
        ):
            if answer.status != 200:
                return ()
            return decode(tuple[LogEntry, ...], await answer.read())

    # Waiting.

    async def until_says(self, replica: Replica, text: str, before: str = "") -> None:
        """Wait until its log says so, after what it said `before`."""

        async def said() -> bool:
            assert replica.runs or text in replica.log()[len(before) :], replica.log()[-2_000:]
            return text in replica.log()[len(before) :]

        await self.until(f"{replica.home.path.name}: {text}", said)

    async def until(self, what: str, condition: Callable[[], Awaitable[bool]]) -> None:
        """Raises AssertionError: patience has ended."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            try:
                if await condition():
                    return
            except aiohttp.ClientError:
                pass  # it begins, or begins anew
            await asyncio.sleep(LOOK_EVERY_S)
        logs = "\n".join(f"{one.home.path.name}: {one.log()[-600:]}" for one in self.twins)
        raise AssertionError(f"waited {PATIENCE_S} s for {what}\n{logs}")


async def operator(*words: object) -> str:
    """`gristmill operator WORDS`: its output; raises AssertionError when it fails."""
    process = await asyncio.create_subprocess_exec(
        *GRISTMILL,
        "operator",
        *map(str, words),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    told, _ = await process.communicate()
    assert process.returncode == 0, f"operator {words}: {told.decode()}"
    return told.decode()
