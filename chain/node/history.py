"""Where blocks, cycles and transactions are, and what a block spent: questions about the past."""

from collections.abc import Iterator

from chain.bitcoin.ledger import Coin, Outpoint
from chain.gossip_events import ServeCoreHeaders
from chain.node.core import NodeCore
from chain.node.store import Store
from chain.records.block import (
    HEADER_BYTES,
    Block,
    CertifiedHeader,
    block_hash,
    decode_certified_header,
)
from chain.records.core_message import HEADERS_MAX, encode_headers
from chain.records.peer_message import INVENTORY_MAX, encode_inventory


def spent_by(store: Store, block: Block) -> dict[Outpoint, Coin]:
    """What a final block spent, its own outputs as well; empty for one that is not final."""
    height = block.certificate.height
    if store.final_hash(height) != block.hash:
        return {}
    own = {
        (each.txid, at): Coin(output, height, each.is_coinbase)
        for each in block.transactions
        for at, output in enumerate(each.outputs)
    }
    return own | store.undo(height)


def header_at(core: NodeCore, height: int) -> CertifiedHeader | None:
    """The certified header at a height of the best chain; None for block 0 and beyond the tip."""
    data = core.store.final_header(height)
    if data is not None:
        return decode_certified_header(data)
    best = core.tree.best
    return best if best is not None and best.certificate.height == height else None


def answer_core(store: Store, asked: ServeCoreHeaders) -> tuple[str, bytes]:
    """(command, payload): plain headers of final blocks, or their hashes.

    They begin after the first of the locator that is final here; if none is, with block 1.
    """
    if asked.inventory:
        hashes = [block_hash(header) for header in _after(store, asked, INVENTORY_MAX)]
        return "inv", encode_inventory(hashes)
    return "headers", encode_headers(_after(store, asked, HEADERS_MAX))


def _after(store: Store, asked: ServeCoreHeaders, most: int) -> list[bytes]:
    known = next(filter(None, map(store.header_of, asked.locator)), None)
    height = 0 if known is None else decode_certified_header(known).certificate.height
    headers: list[bytes] = []
    while len(headers) < most:
        found = store.final_header(height + len(headers) + 1)
        if found is None:
            break
        headers.append(found[:HEADER_BYTES])
        if block_hash(headers[-1]) == asked.stop:
            break
    return headers


def headers_down(core: NodeCore, height: int, count: int) -> Iterator[CertifiedHeader]:
    """At most `count` certified headers of the best chain, from `height` down."""
    for each in range(height, max(0, height - count), -1):
        found = header_at(core, each)
        if found is not None:
            yield found


def header_of_cycle(core: NodeCore, cycle: int) -> CertifiedHeader | None:
    """That of the block of a cycle; cycles ascend with heights, so it is bisected for."""
    low, high = 1, core.tree.tip.height
    while low <= high:
        middle = (low + high) // 2
        found = header_at(core, middle)
        if found is None or found.certificate.cycle == cycle:
            return found
        if found.certificate.cycle < cycle:
            low = middle + 1
        else:
            high = middle - 1
    return None


def block_with(core: NodeCore, txid: bytes) -> Block | None:
    """The block with a transaction: the tip; or a final one, by the index of transactions, or
    while one of its outputs is unspent."""
    tip = core.store.block(core.tree.tip.hash)
    if tip is not None and any(each.txid == txid for each in tip.transactions):
        return tip
    height = core.store.indexes.height_of(txid)
    if height is None:
        height = core.store.coins.height_of(txid)
    return None if height is None else core.store.final_block(height)
