"""A snapshot file: all coins after one final block, and the headers that lead to it.

MAGIC; head (108 bytes); then records, each with its length in front (u32): the certified headers of
blocks 1 to `height`, the federation's word on the last of them, that block, and `coins` coins in
ascending order of outpoints; at the end the SHA-256 of all before.  One set of coins has one file,
but for what signatures are under the last word.  Integers are little-endian, as Bitcoin's.

Nothing in it is believed for being there: see chain/snapshot/load.py.
Source: Bitcoin Core, node/utxo_snapshot.h, for what a head says; docs/PROTOCOL.md, "Snapshots".
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from bft.errors import DecodeError, Refused
from chain.bitcoin.ledger import Coin, Outpoint
from chain.federation.api import BLOCK_BYTES_MAX
from chain.records.block import CERTIFIED_HEADER_BYTES_MAX
from chain.records.serialization import Reader
from chain.snapshot.coin_bytes import COIN_BYTES_MAX, decode_coin, encode_coin
from chain.snapshot.muhash import MuHash

MAGIC = b"gristmill coins 1\n"
HEAD_BYTES = 32 + 4 + 32 + 8 + 32
FINALITY_BYTES = 84
CHECKSUM_BYTES = 32


@dataclass(frozen=True, kw_only=True, slots=True)
class SnapshotHead:
    """What a file says of itself."""

    chain_id: bytes  # 32
    height: int  # u32, of the final block after which these coins are there
    block: bytes  # 32, its hash
    coins: int  # u64
    digest: bytes  # 32, MuHash3072 of the coins

    def encode(self) -> bytes:
        """HEAD_BYTES bytes."""
        height, coins = self.height.to_bytes(4, "little"), self.coins.to_bytes(8, "little")
        return self.chain_id + height + self.block + coins + self.digest


def decode_head(data: bytes) -> SnapshotHead:
    """Raises DecodeError: not HEAD_BYTES bytes, or of block 0."""
    reader = Reader(data)
    head = SnapshotHead(
        chain_id=reader.take(32),
        height=reader.integer(4),
        block=reader.take(32),
        coins=reader.integer(8),
        digest=reader.take(32),
    )
    reader.end()
    if head.height == 0:
        raise DecodeError("a snapshot of block 0 came; block 0 has no coins")
    return head


def write_snapshot(
    file: BinaryIO, head: SnapshotHead, parts: Iterable[bytes], coins: Iterable[bytes]
) -> None:
    """`parts`: headers, finality, block; `coins`: encoded, in their order."""
    hashed = hashlib.sha256()

    def write(data: bytes) -> None:
        hashed.update(data)
        file.write(data)

    write(MAGIC + head.encode())
    for several in (parts, coins):
        for data in several:
            write(len(data).to_bytes(4, "little") + data)
    file.write(hashed.digest())


class SnapshotReader:
    """Reads a file once, in its order; everything is bounded, and memory does not grow."""

    def __init__(self, file: BinaryIO) -> None:
        """Raises DecodeError: no such file, or its head is malformed."""
        self._file, self._hashed = file, hashlib.sha256()
        magic = self._take(len(MAGIC))
        if magic != MAGIC:
            raise DecodeError(f"no snapshot: it begins with {magic!r}; {MAGIC!r} expected")
        self.head = decode_head(self._take(HEAD_BYTES))

    def headers(self) -> Iterator[bytes]:
        """The encoded certified headers of blocks 1 to `head.height`."""
        for _ in range(self.head.height):
            yield self._record(CERTIFIED_HEADER_BYTES_MAX)

    def finality(self) -> bytes:
        """The federation's word on the last of them."""
        return self._record(FINALITY_BYTES)

    def block(self) -> bytes:
        """The last block's bytes."""
        return self._record(BLOCK_BYTES_MAX)

    def coins(self) -> Iterator[tuple[Outpoint, Coin]]:
        """All coins; once the last was taken, order, digest, checksum and end are checked.

        Raises:
            DecodeError: malformed, out of order, or more bytes come.
            Refused: "snapshot-digest" or "snapshot-checksum".
        """
        before: Outpoint | None = None
        made = MuHash()
        for _ in range(self.head.coins):
            data = self._record(COIN_BYTES_MAX)
            outpoint, coin = decode_coin(data)
            if before is not None and outpoint <= before:
                raise DecodeError("coins do not ascend; one of them would be there twice")
            if coin.height > self.head.height:
                raise DecodeError(f"a coin of block {coin.height} in one of {self.head.height}")
            made.add(data)
            before = outpoint
            yield outpoint, coin
        if made.digest() != self.head.digest:
            raise Refused(
                "snapshot-digest", "the coins in the file have another digest than it says"
            )
        self._end()

    def _end(self) -> None:
        expected = self._hashed.digest()
        if self._take(CHECKSUM_BYTES) != expected:
            raise Refused("snapshot-checksum", "the file's SHA-256 does not stand at its end")
        if self._file.read(1):
            raise DecodeError("more bytes come after the end of the snapshot")

    def _record(self, bytes_max: int) -> bytes:
        size = int.from_bytes(self._take(4), "little")
        if size > bytes_max:
            raise DecodeError(f"a record of {size} bytes came; at most {bytes_max} can be here")
        return self._take(size)

    def _take(self, count: int) -> bytes:
        data = self._file.read(count)
        if len(data) != count:
            raise DecodeError(f"the snapshot ends {count - len(data)} bytes too early")
        self._hashed.update(data)
        return data


def coin_elements(coins: Iterable[tuple[Outpoint, Coin]]) -> Iterator[bytes]:
    """Their bytes, in the same order."""
    return (encode_coin(outpoint, coin) for outpoint, coin in coins)
