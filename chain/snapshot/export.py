"""Writing a snapshot of a node's coins; the node may be running meanwhile."""

import os
from collections.abc import Iterator
from pathlib import Path

from bft.errors import Unavailable
from chain.node.store import Store
from chain.records.evidence import Finality
from chain.snapshot.file import SnapshotHead, coin_elements, write_snapshot
from chain.snapshot.muhash import digest_of


def export_snapshot(store: Store, chain_id: bytes, path: Path) -> SnapshotHead:
    """Writes the coins after the newest final block; the whole file or none is at `path` after it.

    Raises:
        FileExistsError: something is at `path` already.
        Unavailable: no block is final, or the federation's word on it is not here.
    """
    if path.exists():
        raise FileExistsError(17, "exists already", str(path))
    partial = path.with_name(path.name + ".partial")
    with store.reading():
        head, word = head_of(store, chain_id)
        with partial.open("wb") as file:
            coins = coin_elements(store.coins.all())
            write_snapshot(file, head, _parts(store, head, word), coins)
            file.flush()
            os.fsync(file.fileno())
    partial.replace(path)
    return head


def head_of(store: Store, chain_id: bytes) -> tuple[SnapshotHead, Finality]:
    """What the newest snapshot would say, and the federation's word on its block.

    Raises:
        Unavailable: as `export_snapshot`.
    """
    height = store.coins.height
    if height <= 0:
        raise Unavailable("no block is final here yet")
    word = store.finality(height)
    block = store.final_hash(height)
    if word is None or word.block != block:
        raise Unavailable(f"the federation's word on block {height} is not here yet; try again")
    head = SnapshotHead(
        chain_id=chain_id,
        height=height,
        block=word.block,
        coins=store.coins.totals()[0],
        digest=digest_of(coin_elements(store.coins.all())),
    )
    return head, word


def _parts(store: Store, head: SnapshotHead, word: Finality) -> Iterator[bytes]:
    for height in range(1, head.height + 1):
        header = store.final_header(height)
        assert header is not None, "headers of final blocks stay"
        yield header
    yield word.encode()
    block = store.block_data(head.block)
    assert block is not None, "the newest final block stays"
    yield block
