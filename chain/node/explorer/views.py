"""From blocks, transactions and coins to what a page shows.

Hashes of blocks and transactions are shown reversed, as all of Bitcoin's tools do.
Pure.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from chain.bitcoin.address import GRISTMILL, encode_address
from chain.bitcoin.ledger import Coin, Outpoint, weight
from chain.bitcoin.script import is_unspendable
from chain.bitcoin.text import disassemble, template_of
from chain.mempool import Entry
from chain.peer import Peer
from chain.peers.connection import Connection
from chain.records.block import Block, CertifiedHeader
from chain.records.certificate import BlockCertificate
from chain.records.coinbase import pay_to_key
from chain.records.transaction import Transaction, TxIn, TxOut
from chain.web.render import utc

ENTRIES_SHOWN = 500
"""Inputs, and outputs, of one transaction."""
SCRIPT_SHOWN = 2_000  # characters


def hash_text(digest: bytes) -> str:
    """A block's hash or a transaction's id, for people."""
    return digest[::-1].hex()


def block_line(certified: CertifiedHeader, final_height: int) -> dict[str, Any]:
    """One line of a list of blocks."""
    certificate = certified.certificate
    return {
        "height": certificate.height,
        "hash": hash_text(certified.hash),
        "cycle": certificate.cycle,
        "utc": utc(certified.header.time),
        "winner": certificate.winner.hex(),
        "reward": certified.coinbase.reward,
        "final": certificate.height <= final_height,
    }


def certificate_words(certificate: BlockCertificate) -> dict[str, Any]:
    """What a page says of a certificate in sentences."""
    return {
        "cycle": certificate.cycle,
        "height": certificate.height,
        "rank": certificate.rank,
        "winner": certificate.winner.hex(),
        "from": utc(certificate.not_before),
        "to": utc(certificate.not_after),
        "tickets": certificate.tickets,
        "total": certificate.tickets_total,
        "part": f"{100 * certificate.tickets / max(1, certificate.tickets_total):.1f} %",
        "parameters": certificate.parameters,
        "loss_reduction": certificate.loss_reduction,
    }


def block_cards(certified: CertifiedHeader, block: Block | None) -> dict[str, Any]:
    """A header's fields, and of the body what there is."""
    header = certified.header
    return {
        "height": certified.certificate.height,
        "hash": hash_text(certified.hash),
        "previous": hash_text(header.previous),
        "merkle_root": hash_text(header.merkle_root),
        "utc": utc(header.time),
        "version": header.version,
        "reward": certified.coinbase.reward,
        "evidence": len(certified.coinbase.evidence),
        "payee": encode_address(certified.coinbase.payee, GRISTMILL),
        "bytes": None if block is None else len(block.data),
        "transactions": None if block is None else len(block.transactions),
    }


def transaction_line(transaction: Transaction, spent: Mapping[Outpoint, Coin]) -> dict[str, Any]:
    """One line of a block's or a pool's transactions."""
    return {
        "txid": hash_text(transaction.txid),
        "coinbase": transaction.is_coinbase,
        "inputs": len(transaction.inputs),
        "outputs": len(transaction.outputs),
        "value": sum(output.value for output in transaction.outputs),
        "weight": weight(transaction),
        "fee": fee_of(transaction, spent),
    }


def fee_of(transaction: Transaction, spent: Mapping[Outpoint, Coin]) -> int | None:
    """What a transaction leaves to the winner; None where what it spends is not known here."""
    if transaction.is_coinbase:
        return None
    coins = [spent.get((entry.previous, entry.index)) for entry in transaction.inputs]
    known = [coin.output.value for coin in coins if coin is not None]
    if len(known) < len(coins):
        return None
    return sum(known) - sum(output.value for output in transaction.outputs)


def waiting_line(entry: Entry) -> dict[str, Any]:
    """One line of what waits for a block."""
    line = transaction_line(entry.transaction, {})
    return {**line, "fee": entry.fee, "rate": entry.rate}


def transaction_page(
    transaction: Transaction,
    spent: Mapping[Outpoint, Coin],
    coin: Callable[[Outpoint], Coin | None],
) -> dict[str, Any]:
    """A transaction with its inputs and outputs, scripts decoded.

    Args:
        spent: what its inputs spend, as far as it is known.
        coin: whether an outpoint is unspent.
    """
    data, heavy = transaction.encode(), weight(transaction)
    return {
        "txid": hash_text(transaction.txid),
        "wtxid": hash_text(transaction.wtxid),
        "coinbase": transaction.is_coinbase,
        "version": transaction.version,
        "locktime": transaction.locktime,
        "bytes": len(data),
        "weight": heavy,
        "fee": fee_of(transaction, spent),
        "value": sum(output.value for output in transaction.outputs),
        "inputs": [
            _input(entry, spent.get((entry.previous, entry.index)), transaction.is_coinbase)
            for entry in transaction.inputs[:ENTRIES_SHOWN]
        ],
        "outputs": [
            {
                **_output(output),
                "place": place,
                "state": _state(output, coin((transaction.txid, place))),
            }
            for place, output in enumerate(transaction.outputs[:ENTRIES_SHOWN])
        ],
        "hidden": max(0, len(transaction.inputs) - ENTRIES_SHOWN)
        + max(0, len(transaction.outputs) - ENTRIES_SHOWN),
    }


def _input(entry: TxIn, coin: Coin | None, coinbase: bool) -> dict[str, Any]:
    return {
        "txid": None if coinbase else hash_text(entry.previous),
        "place": entry.index,
        "sequence": entry.sequence,
        "script": _cut(entry.script.hex() if coinbase else disassemble(entry.script)),
        "witness": [_cut(item.hex()) for item in entry.witness],
        "coin": None if coin is None else _output(coin.output),
    }


def _output(output: TxOut) -> dict[str, Any]:
    return {
        "value": output.value,
        "address": encode_address(output.script, GRISTMILL),
        "type": template_of(output.script),
        "asm": _cut(disassemble(output.script)),
    }


def _state(output: TxOut, coin: Coin | None) -> str:
    if is_unspendable(output.script):
        return "cannot be spent"
    return "spent" if coin is None else "unspent"


def _cut(text: str) -> str:
    return text if len(text) <= SCRIPT_SHOWN else text[:SCRIPT_SHOWN] + "\u2026"


def coin_line(outpoint: Outpoint, coin: Coin) -> dict[str, Any]:
    """One unspent output of an address."""
    return {
        "txid": hash_text(outpoint[0]),
        "place": outpoint[1],
        "value": coin.output.value,
        "height": coin.height,
        "coinbase": coin.coinbase,
    }


_DIALLED = {
    Connection.INBOUND: "the peer",
    Connection.MANUAL: "this node: it is named",
    Connection.FULL_RELAY: "this node",
    Connection.BLOCK_ONLY: "this node, for blocks alone",
    Connection.FEELER: "this node, to see whether it answers",
}


def peer_line(peer: Peer, address: str) -> dict[str, Any]:
    """One connection."""
    version = peer.version
    return {
        "number": peer.number,
        "address": address,
        "dialled": _DIALLED[peer.kind],
        "since": utc(peer.since_ms // 1000),
        "agent": "" if version is None else version.user_agent.decode("utf-8", "replace"),
        "protocol": None if version is None else version.protocol,
        "height": peer.height,
        "ready": peer.ready,
    }


def miner_address(key: bytes) -> str | None:
    """Where a miner is paid unless it says otherwise."""
    return encode_address(pay_to_key(key), GRISTMILL)


def won(lines: Sequence[CertifiedHeader], key: bytes, final: int) -> list[dict[str, Any]]:
    """Those blocks that one miner made."""
    return [block_line(each, final) for each in lines if each.certificate.winner == key]
