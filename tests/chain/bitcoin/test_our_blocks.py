"""Our blocks, certificate and all, in Bitcoin Core's engine: it takes what we take.

The federation's chain begins at Core's regtest genesis here, and a winner chooses its block's time
so that the header's hash is below regtest's target; nothing else differs.
"""

import random
from pathlib import Path

import pytest

from bft.errors import FederationError
from chain.bitcoin.ledger import COINBASE_MATURITY
from chain.node.coins import CoinTable
from chain.params import MINIMAL
from chain.records.block import Block
from chain.records.evidence import encode_evidence, equivocation
from chain.records.transaction import Transaction
from chain.rules.reward import subsidy
from chain.validation import ParentView, validate_block
from tests.chain.bitcoin.kernel import Kernel
from tests.chain.bitcoin.regtest import GENESIS, GENESIS_TIME, damage
from tests.chain.coins_fixture import coins_from
from tests.chain.federation_fixture import CHAIN_ID, FEDERATION_KEY, block_on, view_of
from tests.chain.test_mempool import child_of
from tests.chain.test_spending import spend_of

START = ParentView(hash=GENESIS, height=0, time=GENESIS_TIME)
BLOCKS = COINBASE_MATURITY + 40
EASY = 0x7F  # regtest's target: the hash's highest byte is below


def ground(
    parent: ParentView,
    transactions: tuple[Transaction, ...] = (),
    fees: int = 0,
    evidence: bytes = b"",
) -> Block:
    """The winner's block at the first time that satisfies regtest's target."""
    reward = subsidy(parent.height + 1, MINIMAL) + fees
    for time in range(parent.time + 1, parent.time + 500):
        block = block_on(
            parent, time=time, reward=reward, transactions=transactions, evidence=evidence
        )
        if block.hash[31] < EASY:
            return block
    raise AssertionError("no time in 500 s fits")


def test_the_kernel_follows_our_chain_with_its_spends(tmp_path: Path) -> None:
    kernel, coins, parent, rng = Kernel(tmp_path), coins_from(START), START, random.Random(1)
    chain: list[Block] = []
    spent = 0
    while len(chain) < BLOCKS:
        ours: tuple[Transaction, ...] = ()
        if len(chain) >= COINBASE_MATURITY:
            first = spend_of(chain[len(chain) - COINBASE_MATURITY], fee=2_000)
            ours = (first, child_of(first, fee=500)) if rng.random() < 0.5 else (first,)
            if rng.random() < 0.3:
                _both_refuse(kernel, coins, parent, (damage(ours[0], rng), *ours[1:]))
        block = ground(parent, ours, fees=sum((2_000, 500)[: len(ours)]))
        validate_block(block.data, FEDERATION_KEY, CHAIN_ID, MINIMAL, parent, coins)
        assert kernel.takes(block.data), f"Core refuses our block {block.certificate.height}"
        coins.apply(block)
        chain.append(block)
        parent, spent = view_of(block), spent + len(ours)
    assert kernel.height == BLOCKS
    assert spent > 40


def _both_refuse(
    kernel: Kernel, coins: CoinTable, parent: ParentView, transactions: tuple[Transaction, ...]
) -> None:
    block = ground(parent, transactions)
    with pytest.raises(FederationError):
        validate_block(block.data, FEDERATION_KEY, CHAIN_ID, MINIMAL, parent, coins)
    assert not kernel.takes(block.data)


def test_both_refuse_a_reward_that_is_too_high(tmp_path: Path) -> None:
    kernel, coins = Kernel(tmp_path), coins_from(START)
    block = ground(START, fees=1)
    with pytest.raises(FederationError, match="may pay"):
        validate_block(block.data, FEDERATION_KEY, CHAIN_ID, MINIMAL, START, coins)
    assert not kernel.takes(block.data)
    assert kernel.takes(ground(START).data)


def test_the_kernel_takes_a_coinbase_with_evidence(tmp_path: Path) -> None:
    """It does not know that a reward is void then: our rule is the stricter one."""
    kernel = Kernel(tmp_path)
    first = ground(START)
    twin = block_on(START, time=first.header.time + 1)
    evidence = encode_evidence(equivocation(first.certified_header, twin.certified_header))
    assert kernel.takes(first.data)
    assert kernel.takes(ground(view_of(first), evidence=evidence).data)
