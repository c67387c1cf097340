"""That transactions are in a block, for whoever has its header: a partial Merkle tree.

The bytes are those of Bitcoin's `merkleblock` message and of Core's `gettxoutproof`, so other
tools read them.
Source: BIP 37, "Partial Merkle branch format"; Bitcoin Core, merkleblock.cpp
(`CPartialMerkleTree`).
Pure.  Ids are in internal byte order.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from bft.crypto.hashing import double_sha256
from bft.errors import DecodeError
from chain.records.block import HEADER_BYTES, TRANSACTIONS_MAX, Block, BlockHeader, decode_header
from chain.records.serialization import Reader, compact_size

FLAG_BYTES_MAX = (2 * TRANSACTIONS_MAX + 64) // 8 + 1  # a bit for each node of the tree
PROOF_BYTES_MAX = HEADER_BYTES + 4 + 9 + 32 * TRANSACTIONS_MAX + 9 + FLAG_BYTES_MAX


@dataclass(frozen=True, kw_only=True, slots=True)
class MerkleBlock:
    """A header, and transactions that stand under its Merkle root."""

    header: BlockHeader
    count: int  # transactions in the block, as the proof claims
    levels: int  # of the tree above its leaves
    matched: tuple[tuple[int, bytes], ...]  # (place in the block, id)


def encode_merkle_block(header: bytes, ids: Sequence[bytes], wanted: Collection[bytes]) -> bytes:
    """The proof that `wanted` are among `ids`, all of the block with this header (80 bytes).

    Raises:
        DecodeError: one of `wanted` is not in the block.
    """
    missing = [each for each in wanted if each not in ids]
    if missing:
        raise DecodeError(f"transaction {missing[0][::-1].hex()} is not in this block")
    rows = [(list(ids), [each in wanted for each in ids])]
    while len(rows[-1][0]) > 1:
        rows.append(_row_above(*rows[-1]))
    hashes: list[bytes] = []
    bits: list[bool] = []

    def walk(level: int, at: int) -> None:
        row, has = rows[level]
        bits.append(has[at])
        if level == 0 or not has[at]:
            hashes.append(row[at])
            return
        walk(level - 1, 2 * at)
        if 2 * at + 1 < len(rows[level - 1][0]):
            walk(level - 1, 2 * at + 1)

    walk(len(rows) - 1, 0)
    packed = bytearray((len(bits) + 7) // 8)
    for at, bit in enumerate(bits):
        packed[at // 8] |= bit << at % 8
    count = len(ids).to_bytes(4, "little")
    body = compact_size(len(hashes)) + b"".join(hashes)
    return header + count + body + compact_size(len(packed)) + bytes(packed)


def prove_in_block(block: Block, txid: bytes) -> bytes | None:
    """The proof that a transaction (id in internal byte order) is in a block; None: it is not."""
    ids = [transaction.txid for transaction in block.transactions]
    if txid not in ids:
        return None
    return encode_merkle_block(block.header.encode(), ids, {txid})


def _row_above(row: list[bytes], has: list[bool]) -> tuple[list[bytes], list[bool]]:
    if len(row) & 1:
        row, has = [*row, row[-1]], [*has, has[-1]]
    pairs = range(0, len(row), 2)
    above = [double_sha256(row[at] + row[at + 1]) for at in pairs]
    return above, [has[at] or has[at + 1] for at in pairs]


def decode_merkle_block(data: bytes) -> MerkleBlock:
    """What `data` proves: its ids are under its header's Merkle root; the header is not judged.

    A proof for a tree of another depth could show an inner node as a transaction of 64 bytes
    (CVE-2017-12842): compare `levels` with the depth at which the coinbase is known to stand.

    Raises:
        DecodeError: malformed, more hashes or bits than the tree has nodes, or another root.
    """
    reader = Reader(data)
    header = decode_header(reader.take(HEADER_BYTES))
    count = reader.integer(4)
    if not 1 <= count <= TRANSACTIONS_MAX:
        raise DecodeError(f"{count} transactions came; a block has 1 to {TRANSACTIONS_MAX}")
    hashes = [reader.take(32) for _ in range(reader.count(item_bytes_min=32, items_max=2 * count))]
    flags = reader.blob(FLAG_BYTES_MAX)
    reader.end()
    widths = [count]
    while widths[-1] > 1:
        widths.append((widths[-1] + 1) // 2)
    tree = _Walk(hashes, flags, widths)
    if tree.root(len(widths) - 1, 0) != header.merkle_root:
        raise DecodeError("the proof leads to another Merkle root than the header's")
    tree.end()
    return MerkleBlock(
        header=header, count=count, levels=len(widths) - 1, matched=tuple(tree.matched)
    )


class _Walk:
    """Takes hashes and bits in the order of the tree, depth first."""

    def __init__(self, hashes: list[bytes], flags: bytes, widths: list[int]) -> None:
        self._hashes, self._flags, self._widths = hashes, flags, widths
        self._hash_at = self._bit_at = 0
        self.matched: list[tuple[int, bytes]] = []

    def root(self, level: int, at: int) -> bytes:
        """The hash of the node `at` of its row."""
        has = self._bit()
        if level == 0 or not has:
            found = self._hash()
            if has:
                self.matched.append((at, found))
            return found
        left = self.root(level - 1, 2 * at)
        if 2 * at + 1 >= self._widths[level - 1]:
            return double_sha256(left + left)
        right = self.root(level - 1, 2 * at + 1)
        if left == right:
            raise DecodeError("two equal nodes side by side (CVE-2012-2459)")
        return double_sha256(left + right)

    def end(self) -> None:
        """All hashes and bits must have been taken; what fills the last byte is zero."""
        padded = range(self._bit_at, 8 * len(self._flags))
        if self._hash_at != len(self._hashes) or len(padded) > 7:
            raise DecodeError("the proof holds more than its tree")
        if any(self._flags[at // 8] >> at % 8 & 1 for at in padded):
            raise DecodeError("the proof's last bits are not zero")

    def _bit(self) -> bool:
        at = self._bit_at
        if at >= 8 * len(self._flags):
            raise DecodeError("the proof ends before its tree does")
        self._bit_at += 1
        return bool(self._flags[at // 8] >> at % 8 & 1)

    def _hash(self) -> bytes:
        if self._hash_at >= len(self._hashes):
            raise DecodeError("the proof ends before its tree does")
        self._hash_at += 1
        return self._hashes[self._hash_at - 1]
