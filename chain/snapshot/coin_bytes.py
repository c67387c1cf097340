"""A coin as bytes: an element of the coins' digest, and a line of a snapshot file.

Outpoint (32 bytes txid, u32 output), u32 (twice the height, one more for a coinbase's), output.
Source: Bitcoin Core, kernel/coinstats.cpp, `TxOutSer`.
Pure.
"""

from bft.errors import DecodeError
from chain.bitcoin.ledger import Coin, Outpoint
from chain.records.serialization import Reader, blob
from chain.records.transaction import TxOut

SCRIPT_BYTES_MAX = 1_000_000  # no block of ours has room for a longer one
COIN_BYTES_MAX = 32 + 4 + 4 + 8 + 5 + SCRIPT_BYTES_MAX


def encode_coin(outpoint: Outpoint, coin: Coin) -> bytes:
    """Of any coin of the chain."""
    txid, output = outpoint
    code = 2 * coin.height + coin.coinbase
    return (
        txid
        + output.to_bytes(4, "little")
        + code.to_bytes(4, "little")
        + coin.output.value.to_bytes(8, "little")
        + blob(coin.output.script)
    )


def decode_coin(data: bytes) -> tuple[Outpoint, Coin]:
    """Raises DecodeError: not exactly one coin."""
    reader = Reader(data)
    outpoint = (reader.take(32), reader.integer(4))
    code, value = reader.integer(4), reader.integer(8)
    if value >= 2**63:
        raise DecodeError(f"a coin of value {value} came; values are below 2**63")
    script = reader.blob(SCRIPT_BYTES_MAX)
    reader.end()
    return outpoint, Coin(TxOut(value=value, script=script), code >> 1, bool(code & 1))
