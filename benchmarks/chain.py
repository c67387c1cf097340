"""How fast blocks are made, checked and saved: `python -m benchmarks.chain`, one JSON object.

`python -m benchmarks.chain sync --blocks 10000`: how fast a node follows, see benchmarks/sync.py.

Seconds of CPU time for pure code, of wall time where the disk decides.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.sync import measure
from bft.crypto import bls
from chain.gossip_events import SaveBlock, Saved, SaveFinal
from chain.node.store import Store
from chain.params import MINIMAL
from chain.validation import validate_block, validate_header, verify_certificate
from tests.chain.federation_fixture import (
    CHAIN_ID,
    FEDERATION_KEY,
    START,
    WINNER,
    block_on,
    make_chain,
    view_of,
)

ROUNDS = 200
STORED = 200


def rate(act: Callable[[], Any], clock: Callable[[], float], rounds: int) -> float:
    """Acts in a second."""
    began = clock()
    for _ in range(rounds):
        act()
    return round(rounds / (clock() - began), 1)


def save_chain(path: Path) -> float:
    """Blocks in a second, each one step with its own fsync."""
    store = Store(path, CHAIN_ID, START)
    steps: list[list[Saved]] = [
        [SaveBlock(block=b), SaveFinal(view=view_of(b))] for b in make_chain(STORED)
    ]
    began = time.perf_counter()
    for step in steps:
        store.save(step)
    passed = time.perf_counter() - began
    store.close()
    return round(STORED / passed, 1)


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="?", choices=("parts", "sync"), default="parts")
    parser.add_argument("--blocks", type=int, default=10_000)
    chosen = parser.parse_args()
    figures = parts() if chosen.what == "parts" else measure(chosen.blocks)
    print(json.dumps(figures, indent=2))


def parts() -> dict[str, Any]:
    """Each step alone."""
    block = block_on(START)
    certificate, header = block.coinbase.certificate, block.certified_header.encode()
    bls.verify(FEDERATION_KEY, certificate[-48:], block.certificate.message())  # warm the key
    cpu = time.process_time
    with tempfile.TemporaryDirectory() as directory:
        saved = save_chain(Path(directory) / "chain.sqlite")
    return {
        "block_bytes": len(block.data),
        "certified_header_bytes": len(header),
        "certificates_verified_per_cpu_s": rate(
            lambda: verify_certificate(certificate, FEDERATION_KEY, CHAIN_ID), cpu, ROUNDS
        ),
        "headers_validated_per_cpu_s": rate(
            lambda: validate_header(header, FEDERATION_KEY, CHAIN_ID, START), cpu, ROUNDS
        ),
        "blocks_validated_per_cpu_s": rate(
            lambda: validate_block(block.data, FEDERATION_KEY, CHAIN_ID, MINIMAL, START),
            cpu,
            ROUNDS,
        ),
        "winner_signatures_per_cpu_s": rate(
            lambda: WINNER.sign(block.certified_header.winner_message()), cpu, ROUNDS
        ),
        "blocks_saved_per_wall_s": saved,
    }


if __name__ == "__main__":
    main()
