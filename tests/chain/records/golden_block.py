"""Writes tests/vectors/gristmill/block.json: one block with what it is made of, for implementers.

`python -m tests.chain.records.golden_block` rewrites it; a test holds it against the code.
"""

import json
from pathlib import Path
from typing import Any

from chain.node.describe import describe_block
from tests.chain.federation_fixture import FEDERATION_KEY, START, block_on, finality_of

PATH = Path(__file__).parents[2] / "vectors" / "gristmill" / "block.json"


def golden() -> dict[str, Any]:
    """The block at height 1 of the test chain."""
    block = block_on(START)
    return {
        "federation_key": FEDERATION_KEY.hex(),
        "genesis_hash": START.hash[::-1].hex(),
        "genesis_time": START.time,
        "certificate_message": block.certificate.message().hex(),
        "certificate": block.coinbase.certificate.hex(),
        "winner_message": block.certified_header.winner_message().hex(),
        "winner_signature": block.coinbase.signature.hex(),
        "block": block.data.hex(),
        "certified_header": block.certified_header.encode().hex(),
        "finality_signature": finality_of(block).signature.hex(),
        "decoded": describe_block(block),
    }


if __name__ == "__main__":
    PATH.write_text(json.dumps(golden(), indent=2) + "\n")
