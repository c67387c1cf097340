"""Stores of nodes and snapshots of them, for the tests."""

from pathlib import Path

from chain.gossip_events import SaveBlock, Saved, SaveFinal, SaveFinality
from chain.node.store import Store
from chain.records.block import Block
from chain.snapshot.export import export_snapshot
from chain.snapshot.file import SnapshotHead
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
