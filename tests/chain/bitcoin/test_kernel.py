"""Bitcoin Core's own engine judges the same blocks as our ledger, and judges the same."""

import random
from pathlib import Path

from chain.bitcoin.ledger import Connected
from chain.records.transaction import Transaction
from tests.chain.bitcoin.kernel import Kernel
from tests.chain.bitcoin.regtest import (
    TEMPLATES,
    Ledger,
    block_transactions,
    judge,
    random_spend,
    seal,
    subsidy,
)

MATURE = 101
BLOCKS, SPENDS_MAX = 160, 6


def _spends(ledger: Ledger, rng: random.Random) -> list[Transaction]:
    taken: set[tuple[bytes, int]] = set()
    found = [random_spend(ledger, rng, taken) for _ in range(rng.randint(0, SPENDS_MAX))]
    return [spend for spend in found if spend is not None]


def _each_valid(ledger: Ledger, spends: list[Transaction]) -> list[Transaction]:
    """Those that our rules take by themselves."""
    alone = [[spend] for spend in spends]
    kept = [
        one
        for one in alone
        if isinstance(judge(ledger, block_transactions(ledger, one, 0, TEMPLATES[0])), Connected)
    ]
    return [spend for one in kept for spend in one]


def test_the_kernel_judges_random_blocks_as_we_do(tmp_path: Path) -> None:
    kernel, ledger, rng = Kernel(tmp_path), Ledger(), random.Random(0)
    refused: set[str] = set()
    taken = spent = 0
    while ledger.height < BLOCKS:
        height = ledger.height + 1
        spends = _spends(ledger, rng) if height > MATURE else []
        candidates = [spends, _each_valid(ledger, spends)] if spends else [[]]
        for chosen in candidates:
            fees = _fees(ledger, chosen)
            reward = subsidy(height) + fees + (rng.random() < 0.05)
            transactions = block_transactions(ledger, chosen, reward, rng.choice(TEMPLATES))
            ours = judge(ledger, transactions)
            block = seal(ledger, transactions)
            assert kernel.takes(block) == isinstance(ours, Connected), (height, ours)
            if isinstance(ours, Connected):
                ledger.apply(transactions, block)
                taken, spent = taken + 1, spent + len(chosen)
                break
            refused.add(ours)
    assert kernel.height == ledger.height == BLOCKS
    assert spent > 50
    assert len(refused) >= 5, refused


def _fees(ledger: Ledger, spends: list[Transaction]) -> int:
    found = judge(ledger, block_transactions(ledger, spends, 0, TEMPLATES[0]))
    return found.fees if isinstance(found, Connected) else 0
