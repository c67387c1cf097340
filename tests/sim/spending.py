"""Money in a simulated world: replicas count coins from their own disks, winners spend theirs."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

from chain.bitcoin.ledger import COINBASE_MATURITY, Coin, Outpoint
from chain.bitcoin.sighash import SignatureHasher
from chain.bitcoin.signing import Keyring, sign_input
from chain.node.coins import CoinTable
from chain.records.block import decode_block
from chain.records.coinbase import pay_to_key
from chain.records.transaction import Transaction, TxIn, TxOut
from chain.validation import ParentView
from coordinator.cycle.state import Tip
from tests.chain.bitcoin.regtest import KINDS, RING_SCRIPTS, SECRETS, TEMPLATES
from tests.chain.coins_fixture import coins_from

LOCKED_UNTIL = 106  # what TEMPLATES lock can be spent from this height on
RELATIVE = 3  # blocks that TEMPLATES make inputs wait
INPUTS_MAX, OUTPUTS_MAX = 3, 3
FEE_MAX = 5_000
DUST = 1_000


class CountedCoins:
    """One replica's coins after its newest final block, counted from the blocks that it holds."""

    def __init__(self, genesis: ParentView) -> None:
        self._table = coins_from(genesis)

    def at(self, tip: Tip, blocks: Mapping[bytes, bytes]) -> CoinTable | None:
        """None where a final block up to `tip` is not here."""
        path, wanted = [], tip.hash
        for _ in range(tip.height - self._table.height):
            data = blocks.get(wanted)
            if data is None:
                return None
            path.append(decode_block(data))
            wanted = path[-1].header.previous
        for block in reversed(path):
            self._table.apply(block)
        return self._table


def spends(
    coins: CoinTable, secret: bytes, key: bytes, rng: Random, count: int
) -> tuple[tuple[Transaction, ...], int]:
    """Up to `count` valid transactions for the next block, and what they leave as fees.

    They spend rewards of `key` (33 bytes) and what such transactions paid before; outputs of all
    kinds that wallets make, signatures of all kinds.
    """
    height = coins.height + 1
    if height < LOCKED_UNTIL:
        return (), 0
    ring = Keyring([*SECRETS, secret], RING_SCRIPTS)
    free = [
        (outpoint, coin)
        for script in (pay_to_key(key), *TEMPLATES)
        for outpoint, coin in coins.of_script(script)
        if height - coin.height >= (COINBASE_MATURITY if coin.coinbase else RELATIVE)
    ]
    made: list[Transaction] = []
    fees = 0
    for _ in range(count):
        if not free:
            break
        chosen = [
            free.pop(rng.randrange(len(free)))
            for _ in range(min(len(free), rng.randint(1, INPUTS_MAX)))
        ]
        fee = rng.randint(200, FEE_MAX)
        if sum(coin.output.value for _, coin in chosen) < fee + DUST * OUTPUTS_MAX:
            continue
        made.append(_spend(chosen, fee, height, ring, key, rng))
        fees += sum(c.output.value for _, c in chosen) - sum(o.value for o in made[-1].outputs)
    return tuple(made), fees


def _spend(
    chosen: list[tuple[Outpoint, Coin]],
    fee: int,
    height: int,
    ring: Keyring,
    key: bytes,
    rng: Random,
) -> Transaction:
    shares = rng.randint(1, OUTPUTS_MAX)
    value = (sum(coin.output.value for _, coin in chosen) - fee) // shares
    scripts = [rng.choice((*TEMPLATES, pay_to_key(key))) for _ in range(shares)]
    draft = Transaction(
        version=2,
        inputs=tuple(
            TxIn(previous=txid, index=at, script=b"", sequence=RELATIVE) for (txid, at), _ in chosen
        ),
        outputs=tuple(TxOut(value=value, script=script) for script in scripts),
        locktime=height - 1,
    )
    hasher = SignatureHasher(draft)
    signed = tuple(
        sign_input(hasher, at, coin.output, ring, rng.choice(KINDS))
        for at, (_, coin) in enumerate(chosen)
    )
    return Transaction(version=2, inputs=signed, outputs=draft.outputs, locktime=height - 1)
