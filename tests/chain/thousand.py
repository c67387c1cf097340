"""`python -m tests.chain.thousand --blocks 1000`: a federation's blocks before three judges.

Four simulated replicas (the real core and cycle machine, key generation, PBFT, virtual time) make a
chain of the profile regtest whose winners spend what they earned.  Bitcoin Core's engine, our node
with its store, and our light client follow the chain; before some blocks they are shown damaged
ones, which each must refuse if it can see the damage.
"""

import argparse
import json
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import msgspec

from bft.codec.canonical import encode
from bft.crypto.identity import PrivateKey
from bft.errors import FederationError
from chain.gossip_events import BlockSubmitted, Event, FinalitySubmitted
from chain.light.follow import LightChain, begin, finalise, follow
from chain.node.config import NodeConfig
from chain.node.core import NodeCore, unix_ms
from chain.records.block import Block, block_hash, build_block, decode_block
from chain.records.evidence import Finality
from chain.records.profile import REGTEST
from chain.records.score_log import BlockFinal, KeyActivated
from chain.records.transaction import Transaction
from tests.chain.bitcoin.kernel import Kernel
from tests.chain.federation_fixture import assemble
from tests.sim.miners import Habits
from tests.sim.world import PARAMS, World

SPENDS = 6  # transactions in a block, at the most
DAMAGED = 0.3  # of the blocks come after a spoilt one
MINERS = 2
CYCLE_MS_MAX = 60_000


class Disagreement(AssertionError):
    """A judge takes what it must refuse, or the other way round."""


class Judges:
    """Three who follow one chain; the seconds that each of them took."""

    def __init__(self, world: World, federation_key: bytes, home: Path) -> None:
        genesis = home / "genesis.bin"
        genesis.write_bytes(encode(world.genesis))
        config = NodeConfig(
            genesis=str(genesis), home=str(home), federation_key=federation_key.hex()
        )
        self.node = NodeCore(config, unix_ms)
        self.light: LightChain = begin(world.genesis, federation_key)
        kernel_home = home / "kernel"
        kernel_home.mkdir()
        self.kernel = Kernel(kernel_home)
        self.seconds: defaultdict[str, float] = defaultdict(float)

    def close(self) -> None:
        """The node's home is free again."""
        self.node.close()

    def accept(self, block: Block, finality: Finality) -> None:
        """All three take it.  Raises Disagreement."""
        for name, takes in self._doors(block).items():
            if not takes():
                raise Disagreement(f"{name} refuses block {block.certificate.height}")
        self._step(FinalitySubmitted(finality=finality))
        self.light = finalise(self.light, finality)
        height = block.certificate.height
        reached = {
            "kernel": self.kernel.height,
            "node": self.node.tree.final.height,
            "light": self.light.proven.height,
        }
        if set(reached.values()) != {height} or self.light.proven != self.node.tree.final:
            raise Disagreement(f"after block {height}: {reached}")

    def refuse(self, block: bytes, who: tuple[str, ...], what: str) -> None:
        """These refuse it.  Raises Disagreement."""
        doors = self._doors(decode_block(block))
        for name in who:
            if doors[name]():
                raise Disagreement(f"{name} takes a block with {what}")

    def _doors(self, block: Block) -> dict[str, Callable[[], bool]]:
        def node() -> bool:
            self._step(BlockSubmitted(data=block.data))
            return self.node.tree.find(block.hash) is not None

        def light() -> bool:
            self.light = follow(self.light, [block.certified_header.encode()])
            return True

        doors = {"kernel": lambda: self.kernel.takes(block.data), "node": node, "light": light}
        return {name: self._timed(name, door) for name, door in doors.items()}

    def _timed(self, name: str, door: Callable[[], bool]) -> Callable[[], bool]:
        def takes() -> bool:
            began = time.process_time()
            try:
                return door()
            except FederationError:
                return False
            finally:
                self.seconds[name] += time.process_time() - began

        return takes

    def _step(self, event: Event) -> None:
        self.node.step(event, lambda effect: None)


@dataclass(frozen=True)
class Damage:
    """One way to spoil a block, and who can see it."""

    name: str
    who: tuple[str, ...]
    make: Callable[[Block, PrivateKey, Random], bytes | None]  # None: this block has no such place


def _rebuilt(
    block: Block,
    winner: PrivateKey,
    *,
    certificate: bytes | None = None,
    more: int = 0,
    transactions: tuple[Transaction, ...] | None = None,
) -> bytes:
    """By its own winner, who signs whatever it is."""
    return build_block(
        block.coinbase.certificate if certificate is None else certificate,
        time=block.header.time,
        subsidy=block.coinbase.reward + more,
        sign=winner.sign,
        winner=winner.public_key,
        transactions=block.transactions[1:] if transactions is None else transactions,
        profile=REGTEST,
    )


def _greedy(block: Block, winner: PrivateKey, rng: Random) -> bytes:
    return _rebuilt(block, winner, more=1)


def _bad_spend(block: Block, winner: PrivateKey, rng: Random) -> bytes | None:
    spends = list(block.transactions[1:])
    if not spends:
        return None
    at = rng.randrange(len(spends))
    spends[at] = replace(spends[at], locktime=spends[at].locktime - 1)  # every signature covers it
    return _rebuilt(block, winner, transactions=tuple(spends))


def _spent_twice(block: Block, winner: PrivateKey, rng: Random) -> bytes | None:
    spends = block.transactions[1:]
    if not spends:
        return None
    again = replace(spends[0], locktime=spends[0].locktime - 1)
    return _rebuilt(block, winner, transactions=(*spends, again))


def _other_root(block: Block, winner: PrivateKey, rng: Random) -> bytes:
    header = replace(block.header, merkle_root=rng.randbytes(32))
    ground = replace(header, nonce=REGTEST.nonce(header.encode()))
    return assemble(ground, *block.transactions)


def _other_witness(block: Block, winner: PrivateKey, rng: Random) -> bytes | None:
    """Witnesses that the commitment does not cover; ids and signatures stay."""
    for at, each in enumerate(block.transactions[1:], start=1):
        if each.inputs[0].witness:
            item = (*each.inputs[0].witness, b"")
            entry = replace(each.inputs[0], witness=item)
            changed = replace(each, inputs=(entry, *each.inputs[1:]))
            rest = (*block.transactions[:at], changed, *block.transactions[at + 1 :])
            return assemble(block.header, *rest)
    return None


def _no_work(block: Block, winner: PrivateKey, rng: Random) -> bytes:
    header = block.header
    while REGTEST.meets(header.encode()):
        header = replace(header, nonce=header.nonce + 1)
    return assemble(header, *block.transactions)


def _forged(block: Block, winner: PrivateKey, rng: Random) -> bytes:
    certificate = bytearray(block.coinbase.certificate)
    certificate[rng.randrange(len(certificate))] ^= 1 << rng.randrange(8)
    try:
        return _rebuilt(block, winner, certificate=bytes(certificate))
    except FederationError:
        return _rebuilt(block, winner, certificate=block.coinbase.certificate[:-1] + b"\x00")


def _unsigned(block: Block, winner: PrivateKey, rng: Random) -> bytes:
    """A stranger puts other contents under the winner's certificate."""
    stranger = PrivateKey(rng.randbytes(32))
    return build_block(
        block.coinbase.certificate,
        time=block.header.time,
        subsidy=block.coinbase.reward,
        sign=stranger.sign,
        winner=winner.public_key,
        transactions=block.transactions[1:],
        profile=REGTEST,
    )


BITCOIN, OURS = ("kernel", "node"), ("node", "light")
ALL = ("kernel", "node", "light")
DAMAGES = (
    Damage("a reward that is too high", BITCOIN, _greedy),
    Damage("a spend that its coin does not allow", BITCOIN, _bad_spend),
    Damage("a coin that is spent twice", BITCOIN, _spent_twice),
    Damage("another Merkle root", ALL, _other_root),
    Damage("witnesses that are not committed to", BITCOIN, _other_witness),
    Damage("a hash above the target", ALL, _no_work),
    Damage("a certificate that the federation did not sign", OURS, _forged),
    Damage("contents that the winner did not sign", OURS, _unsigned),
)
"""Core's engine does not know certificates, so it is not asked about the last two."""


def make_world(seed: int) -> World:
    """Replicas and miners of the profile regtest."""
    params = msgspec.structs.replace(PARAMS, profile=REGTEST.number)
    return World(seed, miners=(Habits(spends=SPENDS),) * MINERS, params=params)


def make_blocks(world: World, count: int) -> Iterator[tuple[Block, Finality]]:
    """The final blocks, from height 1 on, as the federation makes them."""
    read = 0  # batches
    made = 0
    while made < count:
        world.run_cycles(made + 1, CYCLE_MS_MAX)
        host = max(world.up, key=lambda each: len(each.disk.safe.batches))
        batches = host.disk.safe.batches
        for kept in batches[read:]:
            for record in kept.records:
                if isinstance(record, BlockFinal):
                    made += 1
                    yield _final(world, record)
        read = len(batches)


def _final(world: World, record: BlockFinal) -> tuple[Block, Finality]:
    wanted = block_hash(record.header)
    data = next(h.disk.safe.blocks[wanted] for h in world.hosts if wanted in h.disk.safe.blocks)
    finality = Finality(height=record.height, block=wanted, signature=record.signature)
    return decode_block(data), finality


def federation_key(world: World) -> bytes:
    """The ONE key, once the replicas have made it."""
    world.run_until(lambda: bool(_keys(world)), CYCLE_MS_MAX)
    return _keys(world)[0]


def _keys(world: World) -> list[bytes]:
    return [r.federation_key.key for r in world.records() if isinstance(r, KeyActivated)]


def run(blocks: int, seed: int, home: Path, damaged: float = DAMAGED) -> dict[str, object]:
    """Figures for people; `damaged`: how many blocks come after a spoilt one.

    Raises:
        Disagreement: the judges do not say the same.
    """
    world, rng = make_world(seed), Random(f"{seed}/damage")
    judges = Judges(world, federation_key(world), home)
    owners = {miner.name: miner.key for miner in world.miners}
    refused: Counter[str] = Counter()
    spends = inputs = 0
    try:
        for block, finality in make_blocks(world, blocks):
            if rng.random() < damaged:
                each = rng.choice(DAMAGES)
                spoilt = each.make(block, owners[block.certificate.winner], rng)
                if spoilt is not None:
                    judges.refuse(spoilt, each.who, each.name)
                    refused[each.name] += 1
            judges.accept(block, finality)
            spends += len(block.transactions) - 1
            inputs += sum(len(each.inputs) for each in block.transactions[1:])
            if block.certificate.height == blocks:
                break
    finally:
        judges.close()
    return {
        "blocks": blocks,
        "spends": spends,
        "inputs": inputs,
        "refused": dict(sorted(refused.items())),
        "cpu_s": {name: round(seconds, 1) for name, seconds in judges.seconds.items()},
        "tip": judges.light.proven.hash[::-1].hex(),
    }


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        print(json.dumps(run(chosen.blocks, chosen.seed, Path(home)), indent=2))


if __name__ == "__main__":
    main()
