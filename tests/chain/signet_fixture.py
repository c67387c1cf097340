"""A signet of the fixture's federation: its genesis, its keys, drafts, and blocks of its own.

`GOLDEN` has a block whose work was done once; `python -m tests.chain.signet_fixture` does it again,
which takes some seconds of a core.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import msgspec

from chain.network import network_of
from chain.params import MINIMAL
from chain.records.block import Block, build_block, decode_block
from chain.records.federation import Genesis
from chain.records.profile import SIGNET
from chain.rules.reward import subsidy
from chain.signet.draft import message_of, with_signatures
from chain.signet.grind import NONCES, search, with_nonce
from chain.validation import ParentView, genesis_view
from tests.chain.federation_fixture import (
    GENESIS,
    STEP_S,
    WINNER,
    certificate_on,
    key_of,
    signed,
)

PARAMS = msgspec.structs.replace(
    MINIMAL, profile=SIGNET.number, block_ms=SIGNET.block_ms_min, halving_interval=210_000
)
OURS: Genesis = msgspec.structs.replace(GENESIS, name=b"signet", params=PARAMS)
PROFILE = network_of(OURS)
START = genesis_view(OURS)
REPLICAS = tuple(key_of(f"replica {index}") for index in range(4))
GOLDEN = Path(__file__).parents[1] / "vectors" / "gristmill" / "signet-block.hex"
TIME = 1_700_000_000


@cache
def draft_on(parent: ParentView = START, reward: int | None = None, rank: int = 0) -> Block:
    """The winner's draft; replicas have not signed it."""
    certificate = certificate_on(
        parent, chain_id=OURS.chain_id, rank=rank, not_before=TIME, not_after=TIME + STEP_S
    )
    due = subsidy(parent.height + 1, PARAMS)
    data = build_block(
        signed(certificate),
        time=TIME,
        subsidy=due if reward is None else reward,
        sign=WINNER.sign,
        winner=WINNER.public_key,
        profile=PROFILE,
    )
    return decode_block(data)


def signatures_of(draft: Block, signers: Sequence[int]) -> dict[bytes, bytes]:
    """What these replicas sign."""
    message = message_of(draft, PROFILE)
    return {REPLICAS[at].public_key: REPLICAS[at].sign(message) for at in signers}


def solved(draft: Block, signers: Sequence[int]) -> bytes:
    """The block with a solution by these replicas; its work is not done."""
    return with_signatures(draft, PROFILE, signatures_of(draft, signers))


def golden() -> bytes:
    """The first block of this signet, work and all."""
    return bytes.fromhex(GOLDEN.read_text())


def _main() -> None:
    data = solved(draft_on(), (0, 1, 3))
    nonce = search(data[:80], PROFILE.target, 0, NONCES)
    assert nonce is not None
    GOLDEN.write_text(with_nonce(data, nonce).hex() + "\n")


if __name__ == "__main__":
    _main()
