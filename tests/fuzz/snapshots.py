"""Readers of `chain/snapshot`: a coin, and a snapshot file as a whole."""

from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

from chain.bitcoin.ledger import Coin
from chain.records.transaction import TxOut
from chain.snapshot.coin_bytes import decode_coin, encode_coin
from chain.snapshot.file import (
    SnapshotHead,
    SnapshotReader,
    coin_elements,
    decode_head,
    write_snapshot,
)
from chain.snapshot.load import load_snapshot
from chain.snapshot.muhash import digest_of
from tests.chain import federation_fixture as chain
from tests.fuzz.target import Target

COINS = tuple(
    encode_coin((bytes([number]) * 32, number), Coin(TxOut(value=5, script=b"\x51"), 1, True))
    for number in range(3)
)


def _coin(data: bytes) -> bytes:
    return encode_coin(*decode_coin(data))


def _head(data: bytes) -> bytes:
    return decode_head(data).encode()


def _file(data: bytes) -> bytes:
    reader, out = SnapshotReader(BytesIO(data)), BytesIO()
    parts = [*reader.headers(), reader.finality(), reader.block()]
    write_snapshot(out, reader.head, parts, list(coin_elements(reader.coins())))
    return out.getvalue()


def _load(data: bytes) -> None:
    """Into a store, with whatever digest the file itself says."""
    with TemporaryDirectory(prefix="fuzz-") as directory:
        path = Path(directory) / "coins.snapshot"
        path.write_bytes(data)
        digest = SnapshotReader(BytesIO(data)).head.digest
        database = Path(directory) / "chain.sqlite"
        load_snapshot(path, database, chain.GENESIS, chain.FEDERATION_KEY, digest)


def _sample() -> tuple[bytes, bytes]:
    """(head, file)."""
    (block,) = chain.make_chain(1)
    head = SnapshotHead(
        chain_id=chain.CHAIN_ID,
        height=1,
        block=block.hash,
        coins=len(COINS),
        digest=digest_of(COINS),
    )
    out = BytesIO()
    parts = [block.certified_header.encode(), chain.finality_of(block).encode(), block.data]
    write_snapshot(out, head, parts, COINS)
    return head.encode(), out.getvalue()


def targets() -> list[Target]:
    """All of this room."""
    head, file = _sample()
    return [
        Target(
            name="snapshot-coin",
            read=_coin,
            samples=COINS,
            covers=("chain.snapshot.coin_bytes:decode_coin",),
        ),
        Target(
            name="snapshot-head",
            read=_head,
            samples=(head,),
            covers=("chain.snapshot.file:decode_head",),
        ),
        Target(name="snapshot-file", read=_file, samples=(file,)),
        Target(
            name="snapshot-load",
            read=_load,
            samples=(file,),
            covers=("chain.snapshot.load:load_snapshot", "chain.snapshot.cli:load"),
            slow=True,
        ),
    ]
