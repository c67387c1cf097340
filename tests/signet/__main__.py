"""`python -m tests.signet --blocks 3 --budget 300`: a real signet federation before its judges.

Runs `gristmill demo --params signet` (processes, sockets, training, signatures, work, audit) and
then asks of every block that it made:

* Bitcoin Core's own script engine (py-bitcoinkernel): it takes the solution, and none of a block
  with one signature less, another certificate, another reward, or without a solution;
* python-bitcoinlib: follows the node's P2P port from BIP 325's block 0 to the tip, checks work.

A judge that is not installed is named and passed over; status 1: a judge says something else.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from bft.codec.canonical import decode
from chain.bitcoin import signet
from chain.bitcoin.script import operations, push
from chain.network import magic_of, network_of
from chain.node.config import NodeConfig
from chain.node.service import NodeService
from chain.records.block import Block, CertifiedHeader
from chain.records.federation import GENESIS_BYTES_MAX, Genesis
from chain.records.profile import Profile
from chain.records.serialization import blob
from tests.chain.differential.oracle import kernel_takes
from tests.signet import follower

CYCLES_TO_SPARE = 1  # on a busy machine nobody may have registered in time
NOT_ALL_CERTIFIED = 6  # the demonstration's status then


def made_by_federation(blocks: int, home: Path, budget_s: int) -> dict[str, Any]:
    """What the demonstration tells of itself."""
    command = [sys.executable, "-m", "gristmill", "demo", "--params", "signet", "--json"]
    command += ["--cycles", str(blocks + CYCLES_TO_SPARE), "--home", str(home)]
    done = subprocess.run(command, stdout=subprocess.PIPE, timeout=budget_s, check=False)
    if done.returncode not in (0, NOT_ALL_CERTIFIED):
        raise SystemExit(f"gristmill demo ended with status {done.returncode}")
    told: dict[str, Any] = json.loads(done.stdout)["data"]
    return told


def core_takes(certified: CertifiedHeader, profile: Profile) -> bool:
    """Bitcoin Core's verdict on the solution of a block."""
    coinbase = certified.coinbase.transaction()
    to_sign, spent = signet.solved(certified.header, coinbase, certified.branch, profile.challenge)
    return kernel_takes(to_sign.encode(), 0, spent.script, spent.value, signet.FLAGS)


def damaged(block: Block) -> dict[str, CertifiedHeader]:
    """The block with what its replicas signed altered, each in another way."""
    coinbase, certified = block.coinbase, block.certified_header
    assert coinbase.solution is not None
    script, _ = signet.read_solution(coinbase.solution)
    signatures = [part.data or b"" for part in operations(script)][1:]
    less = blob(b"\x00" + b"".join(map(push, signatures[:-1]))) + b"\x00"
    certificate = bytes([coinbase.certificate[0] ^ 1]) + coinbase.certificate[1:]
    changes: dict[str, dict[str, Any]] = {
        "one signature less": {"solution": less},
        "another certificate": {"certificate": certificate},
        "another reward": {"reward": coinbase.reward - 1},
        "no solution": {"solution": None},
    }
    return {
        name: replace(certified, coinbase=replace(coinbase, **change))
        for name, change in changes.items()
    }


async def judged(home: Path, told: dict[str, Any]) -> list[str]:
    """What is wrong; empty: nothing.  Prints as it goes."""
    genesis_file = home / "replica-0" / "genesis.bin"
    genesis = decode(Genesis, genesis_file.read_bytes(), bytes_max=GENESIS_BYTES_MAX)
    profile, wrong = network_of(genesis), []
    node = NodeService(
        NodeConfig(
            genesis=str(genesis_file),
            home=str(home / "node-0"),
            federation_key=told["federation_key"],
            p2p="127.0.0.1:0",
            http="127.0.0.1:0",
        )
    )
    await node.start()
    try:
        tip = node.core.tree.final
        print(f"challenge {profile.challenge.hex()}\nmagic {magic_of(genesis).hex()}")
        for height in range(1, tip.height + 1):
            block = node.core.store.final_block(height)
            assert block is not None
            verdicts = {"as it is": core_takes(block.certified_header, profile)}
            verdicts |= {name: core_takes(it, profile) for name, it in damaged(block).items()}
            wrong += [
                f"block {height}, {name}: Bitcoin Core's engine says {took}"
                for name, took in verdicts.items()
                if took != (name == "as it is")
            ]
            shown = ", ".join(f"{name}: {took}" for name, took in verdicts.items())
            print(f"block {height} {block.hash[::-1].hex()}: {shown}")
        if not follower.available():
            print("SKIPPED: python-bitcoinlib is not installed, nobody follows the P2P port")
        else:
            chain = await asyncio.to_thread(follower.follow, node.p2p_endpoint, magic_of(genesis))
            if len(chain) != tip.height or chain[-1] != tip.hash:
                wrong.append(f"python-bitcoinlib came to {len(chain)} blocks of {tip.height}")
            print(f"python-bitcoinlib's tip: {len(chain)} {chain[-1][::-1].hex()}")
    finally:
        await node.stop()
    return wrong


def main() -> int:
    """Parse, run, judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, default=3)
    parser.add_argument("--budget", type=int, default=300, help="seconds for the federation")
    arguments = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="gristmill-signet-") as directory:
        home = Path(directory) / "net"
        told = made_by_federation(arguments.blocks, home, arguments.budget)
        wrong = asyncio.run(judged(home, told))
    heights = [cycle["height"] for cycle in told["cycles"] if cycle["height"]]
    if not told["audit"]["passed"]:
        wrong.append("the audit failed")
    if len(heights) < arguments.blocks:
        wrong.append(f"the federation made {len(heights)} blocks of {arguments.blocks}")
    for text in wrong:
        print(f"WRONG: {text}", file=sys.stderr)
    print(f"{len(heights)} blocks, {time.monotonic() - began:.0f} s")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
