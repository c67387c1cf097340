"""Stores of nodes and snapshots of them, for the tests."""

from dataclasses import replace
from io import BytesIO
from pathlib import Path

from chain.gossip_events import SaveBlock, Saved, SaveFinal, SaveFinality
from chain.node.store import Store
from chain.records.block import Block
from chain.snapshot.export import export_snapshot
from chain.snapshot.file import SnapshotHead, coin_elements, write_snapshot
from chain.snapshot.muhash import digest_of
from tests.chain.federation_fixture import CHAIN_ID, START, finality_of, make_chain, view_of

LENGTH = 5


def steps(blocks: tuple[Block, ...]) -> list[Saved]:
    """What a node saves of final blocks; the federation's word on the last one."""
    saved: list[Saved] = []
    for block in blocks:
        saved += [SaveBlock(block=block), SaveFinal(view=view_of(block))]
    return [*saved, SaveFinality(finality=finality_of(blocks[-1]))]


def full_store(path: Path, length: int = LENGTH) -> Store:
    """One that has followed from block 0."""
    store = Store(path, CHAIN_ID, START)
    store.save(steps(make_chain(length)))
    return store


def make_snapshot(directory: Path, length: int = LENGTH) -> tuple[Path, SnapshotHead]:
    """The file, and what it says of itself."""
    directory.mkdir(parents=True, exist_ok=True)
    store = full_store(directory / "full.sqlite", length)
    path = directory / "coins.snapshot"
    head = export_snapshot(store, CHAIN_ID, path)
    store.close()
    return path, head


def planted(directory: Path, head: SnapshotHead, *, honest_head: bool) -> tuple[bytes, bytes]:
    """(a snapshot file with one coin of another value, the digest that it says).

    `honest_head`: it says the digest of the true coins.
    """
    store = full_store(directory / "planting.sqlite")
    blocks = make_chain(LENGTH)
    coins = list(coin_elements(store.coins.all()))
    store.close()
    coins[0] = coins[0][:40] + b"\xff" + coins[0][41:]
    if not honest_head:
        head = replace(head, digest=digest_of(coins))
    parts = [each.certified_header.encode() for each in blocks]
    out = BytesIO()
    word = finality_of(blocks[-1]).encode()
    write_snapshot(out, head, [*parts, word, blocks[-1].data], coins)
    return out.getvalue(), head.digest
