"""Synchronisation of a node over real sockets, beside the cost of the same signatures alone.

A chain with spends is made once; `PEERS` processes serve it, another one starts empty and follows.
The floor verifies each certificate, each winner's signature and each spend's, one by one, with the
same libraries and nothing around them.  CPU seconds, because the processes share the machine.
"""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from bft.crypto import bls, identity
from chain.bitcoin.sighash import SignatureHasher
from chain.bitcoin.signatures import verify_digest
from chain.bitcoin.signing import hash160
from chain.gossip_events import SaveBlock, Saved, SaveFinal, SaveFinality
from chain.node.core import unix_ms
from chain.node.service import NodeService
from chain.node.store import Store
from chain.params import MINIMAL
from chain.records.block import Block
from chain.records.transaction import Transaction
from chain.rules.reward import subsidy
from chain.snapshot.export import export_snapshot
from chain.snapshot.load import load_snapshot
from tests.chain.federation_fixture import (
    CHAIN_ID,
    FEDERATION_KEY,
    GENESIS,
    START,
    block_on,
    finality_of,
    view_of,
)
from tests.chain.node.homes import make_config
from tests.chain.test_mempool import child_of
from tests.chain.test_spending import spend_of

PEERS = 2
MATURITY = 100
PER_SAVE = 500
SAMPLES = 10  # of the memory, evenly over the heights


def make_chain(count: int) -> list[Block]:
    """Each block from 101 on spends the reward of 100 before it, and that payment again."""
    chain: list[Block] = []
    parent = START
    while len(chain) < count:
        ours: tuple[Transaction, ...] = ()
        if len(chain) >= MATURITY:
            matured = chain[len(chain) - MATURITY]
            if matured.coinbase.reward > 10_000:
                first = spend_of(matured)
                ours = (first, child_of(first))
        height = parent.height + 1
        block = block_on(parent, transactions=ours, reward=subsidy(height, MINIMAL))
        chain.append(block)
        parent = view_of(block)
    return chain


def floor(chain: list[Block]) -> dict[str, float]:
    """CPU seconds of every signature of the chain, verified alone."""
    jobs = [_signatures(block) for block in chain]
    began = time.process_time()
    for certificate, message, _, _, _ in jobs:
        bls.verify(FEDERATION_KEY, certificate, message)
    federation = time.process_time() - began
    began = time.process_time()
    for _, _, winner, signed, spends in jobs:
        identity.verify(winner, *signed)
        for spend in spends:
            assert verify_digest(*spend)
    return {"federation": federation, "ecdsa": time.process_time() - began}


def _signatures(block: Block) -> tuple[Any, ...]:
    certificate = block.certificate
    spends = []
    for transaction in block.transactions[1:]:
        hasher = SignatureHasher(transaction)
        for index, entry in enumerate(transaction.inputs):
            signature, key = entry.witness
            code = b"\x76\xa9\x14" + hash160(key) + b"\x88\xac"
            value = _spent_value(block, transaction)
            digest = hasher.witness(index, code, value, signature[-1])
            spends.append((key, signature[:-1], digest))
    signed = (block.coinbase.signature, block.certified_header.winner_message())
    message = certificate.message()
    return block.coinbase.certificate[-48:], message, certificate.winner, signed, spends


def _spent_value(block: Block, transaction: Transaction) -> int:
    """Both payments leave 1000 as their fee."""
    return sum(output.value for output in transaction.outputs) + 1_000


def fill(home: Path, chain: list[Block]) -> None:
    """A node's home that has all of it."""
    config = make_config(home)
    store = Store(config.database, CHAIN_ID, START)
    for at in range(0, len(chain), PER_SAVE):
        steps: list[Saved] = []
        for block in chain[at : at + PER_SAVE]:
            steps += [SaveBlock(block=block), SaveFinal(view=view_of(block))]
        store.save(steps)
    store.save([SaveFinality(finality=finality_of(chain[-1]))])
    store.close()


def begin(full: Path, home: Path) -> dict[str, float]:
    """What it takes to begin from a snapshot of what `full` has, instead of following."""
    store, file = Store(make_config(full).database, CHAIN_ID, START), home / "coins.snapshot"
    home.mkdir()
    began = time.process_time()
    head = export_snapshot(store, CHAIN_ID, file)
    exported = time.process_time()
    store.close()
    load_snapshot(file, home / "chain.sqlite", GENESIS, FEDERATION_KEY, head.digest)
    return {
        "coins": head.coins,
        "file_mib": round(file.stat().st_size / 2**20, 2),
        "export_cpu_s": round(exported - began, 2),
        "load_cpu_s": round(time.process_time() - exported, 2),
    }


def serve(home: Path) -> None:
    """Prints where it listens; until stdin ends."""

    async def run() -> None:
        service = NodeService(make_config(home), now_ms=unix_ms)
        await service.start()
        print(service.p2p_endpoint, flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        await service.stop()

    asyncio.run(run())


def follow(home: Path, peers: tuple[str, ...], height: int) -> None:
    """Prints what it took to follow `peers` up to `height`."""

    async def run() -> dict[str, Any]:
        service = NodeService(make_config(home, peers=peers), now_ms=unix_ms)
        began, cpu, memory = time.perf_counter(), time.process_time(), []
        lag = _Lag()
        watch = asyncio.create_task(lag.run())
        await service.start()
        for sample in range(1, SAMPLES + 1):
            wanted = height * sample // SAMPLES
            await service.core.until(partial(_reached, service, wanted))
            memory.append(resident_mib())
        figures = {
            "cpu_s": round(time.process_time() - cpu, 2),
            "wall_s": round(time.perf_counter() - began, 2),
            "resident_mib": memory,
            "loop_blocked_ms_max": round(lag.worst * 1000),
        }
        watch.cancel()
        await service.stop()
        return figures

    print(json.dumps(asyncio.run(run())), flush=True)


def _reached(service: NodeService, height: int) -> bool:
    return service.core.tree.tip.height >= height


class _Lag:
    """How long the event loop did not come round to a task that only sleeps."""

    def __init__(self) -> None:
        self.worst = 0.0

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            began = time.perf_counter()
            await asyncio.sleep(0.01)
            self.worst = max(self.worst, time.perf_counter() - began - 0.01)


def resident_mib() -> int:
    """Of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 2**20


def measure(blocks: int) -> dict[str, Any]:
    """The figures of one run."""
    chain = make_chain(blocks)
    spends = sum(len(block.transactions) - 1 for block in chain)
    lowest = floor(chain)
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        fill(root / "peer0", chain)
        snapshot = begin(root / "peer0", root / "begun")
        for at in range(1, PEERS):
            shutil.copytree(root / "peer0", root / f"peer{at}")
        servers = [_spawn("serve", str(root / f"peer{at}")) for at in range(PEERS)]
        try:
            endpoints = [_line(server) for server in servers]
            node = _spawn("follow", str(root / "node"), str(blocks), *endpoints)
            figures = json.loads(_line(node))
            node.wait()
        finally:
            for server in servers:
                assert server.stdin is not None
                server.stdin.close()
                server.wait()
    total = sum(lowest.values())
    return {
        "blocks": blocks,
        "spends": spends,
        "floor_cpu_s": {name: round(seconds, 2) for name, seconds in lowest.items()},
        "node": figures,
        "from_snapshot": snapshot,
        "node_over_floor": round(figures["cpu_s"] / total, 2),
        "blocks_per_cpu_s": round(blocks / figures["cpu_s"]),
    }


def _spawn(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.sync", *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(Path(sys.argv[2]))
    else:
        follow(Path(sys.argv[2]), tuple(sys.argv[4:]), int(sys.argv[3]))
