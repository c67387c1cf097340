"""What can be asked of a node: Bitcoin Core's names, parameters and shapes.

Source: Bitcoin Core, rpc/{blockchain,mempool,rawtransaction,net,server}.cpp.  What Core has beyond
these names is not there; `help` lists what is.  Fields about work say what this chain has: none.
"""

from collections.abc import Callable
from typing import Any

from bft.errors import DecodeError, Refused, Unavailable
from chain.bitcoin.address import GRISTMILL, decode_address
from chain.bitcoin.ledger import median_time, weight
from chain.bitcoin.script import witness_program
from chain.bitcoin.text import amount, describe_script, describe_transaction
from chain.gossip_events import BlockSubmitted, Event, TransactionSubmitted
from chain.mempool import FEE_RATE_MIN, POOL_WEIGHT_MAX, Entry
from chain.node.core import USER_AGENT, NodeCore
from chain.node.describe import describe_certificate
from chain.node.rpc import (
    ALREADY_IN_CHAIN,
    INVALID_ADDRESS_OR_KEY,
    INVALID_PARAMETER,
    TYPE_ERROR,
    VERIFY_ERROR,
    Method,
    RpcError,
)
from chain.records.block import Block
from chain.records.peer_message import PROTOCOL_VERSION, SERVICES
from chain.records.transaction import decode_transaction

HEX_MAX = 2 * 1024 * 1024
RESERVED_FIELDS = {"difficulty": 0, "chainwork": "00" * 32}
"""Named for tools that expect them; certificates stand in the place of work."""


class Methods:
    """All of them; `table` goes to chain/node/rpc.py."""

    def __init__(self, core: NodeCore, step: Callable[[Event], None]) -> None:
        self._core, self._step = core, step

    @property
    def table(self) -> dict[str, Method]:
        """By name: every public method of this class."""
        names = [name for name in vars(Methods) if not name.startswith("_") and name != "table"]
        return {name: getattr(self, name) for name in sorted(names)}

    def help(self, command: str = "") -> str:
        """What there is, or one of them."""
        if not _text(command, "command"):
            return "\n".join(self.table)
        method = self.table.get(command)
        if method is None:
            return f"help: unknown command: {command:.40}"
        return f"{command}\n\n{method.__doc__}"

    # Blocks

    def getblockcount(self) -> int:
        """Height of the best block."""
        return self._core.tree.tip.height

    def getbestblockhash(self) -> str:
        """Hash of the best block."""
        return self._core.tree.tip.hash[::-1].hex()

    def getblockhash(self, height: int) -> str:
        """Hash of the block at a height of the best chain."""
        _check_int(height, "height")
        tip = self._core.tree.tip
        if not 0 <= height <= tip.height:
            raise RpcError(INVALID_PARAMETER, "Block height out of range")
        found = tip.hash if height == tip.height else self._core.store.final_hash(height)
        if found is None:
            raise RpcError(INVALID_PARAMETER, "Block height out of range")
        return found[::-1].hex()

    def getblockchaininfo(self) -> dict[str, Any]:
        """How far this node is."""
        core = self._core
        tip = core.tree.tip
        return {
            "chain": core.genesis.name.decode("utf-8", "replace"),
            "blocks": tip.height,
            "headers": tip.height,
            "bestblockhash": tip.hash[::-1].hex(),
            **RESERVED_FIELDS,
            "time": tip.time,
            "mediantime": median_time(core.gossip.intake.coins_after_tip(), tip.height),
            "verificationprogress": 1,
            "initialblockdownload": False,
            "pruned": False,
            "finalblocks": core.tree.final.height,
            "warnings": ["the federation contradicted itself"]
            * (core.gossip.intake.fault is not None),
        }

    def getblockheader(self, blockhash: str, verbose: bool = True) -> Any:
        """One block's header: fields, or hex if not `verbose`."""
        block = self._block(blockhash)
        return self._header(block) if verbose else block.header.encode().hex()

    def getblock(self, blockhash: str, verbosity: int = 1) -> Any:
        """One block: 0 hex, 1 with transaction ids, 2 with whole transactions."""
        _check_int(verbosity, "verbosity")
        block = self._block(blockhash)
        if verbosity == 0:
            return block.data.hex()
        transactions: list[Any] = [entry.txid[::-1].hex() for entry in block.transactions]
        if verbosity >= 2:
            transactions = [describe_transaction(each, GRISTMILL) for each in block.transactions]
        stripped = sum(len(entry.encode(witness=False)) for entry in block.transactions)
        return {
            **self._header(block),
            "size": len(block.data),
            "strippedsize": 81 + stripped,
            "weight": 4 * 81 + sum(weight(entry) for entry in block.transactions),
            "tx": transactions,
            "certificate": describe_certificate(block.certificate),
        }

    def submitblock(self, hexdata: str) -> None:
        """A block from outside; null if it was taken."""
        self._submit(BlockSubmitted(data=_bytes(hexdata)), VERIFY_ERROR)

    def _header(self, block: Block) -> dict[str, Any]:
        height, tip = block.certificate.height, self._core.tree.tip
        best = block.hash in (tip.hash, self._core.store.final_hash(height))
        following = self._core.store.final_hash(height + 1)
        if following is None and height + 1 == tip.height:
            following = tip.hash
        return {
            "hash": block.hash[::-1].hex(),
            "confirmations": tip.height - height + 1 if best else -1,
            "height": height,
            "version": block.header.version,
            "versionHex": f"{block.header.version:08x}",
            "merkleroot": block.header.merkle_root[::-1].hex(),
            "time": block.header.time,
            "nonce": block.header.nonce,
            "bits": f"{block.header.bits:08x}",
            **RESERVED_FIELDS,
            "nTx": len(block.transactions),
            "previousblockhash": block.header.previous[::-1].hex(),
            **({"nextblockhash": following[::-1].hex()} if best and following else {}),
        }

    def _block(self, blockhash: str) -> Block:
        found = self._core.store.block(_hash(blockhash, "blockhash"))
        if found is None:
            raise RpcError(INVALID_ADDRESS_OR_KEY, "Block not found")
        return found

    # Transactions

    def getrawmempool(self, verbose: bool = False) -> Any:
        """Ids of the transactions that wait, or all about them."""
        entries = self._core.gossip.relay.pool.entries()
        if verbose:
            return {entry.txid[::-1].hex(): _waiting(entry) for entry in entries}
        return [entry.txid[::-1].hex() for entry in entries]

    def getmempoolentry(self, txid: str) -> dict[str, Any]:
        """One that waits."""
        entry = self._core.gossip.relay.pool.get(_hash(txid, "txid"))
        if entry is None:
            raise RpcError(INVALID_ADDRESS_OR_KEY, "Transaction not in mempool")
        return _waiting(entry)

    def getmempoolinfo(self) -> dict[str, Any]:
        """How much waits, and what it takes to wait here."""
        pool = self._core.gossip.relay.pool
        rate = amount(FEE_RATE_MIN * 4)
        return {
            "loaded": True,
            "size": len(pool),
            "bytes": -(-pool.weight // 4),
            "total_fee": amount(sum(entry.fee for entry in pool.entries())),
            "maxmempool": POOL_WEIGHT_MAX // 4,
            "mempoolminfee": rate,
            "minrelaytxfee": rate,
            "fullrbf": True,
        }

    def sendrawtransaction(self, hexstring: str) -> str:
        """Takes a signed transaction and passes it on; its id."""
        data = _bytes(hexstring)
        txid = decode_transaction(data).txid
        if self._core.gossip.intake.coins_after_tip().coin((txid, 0)) is not None:
            raise RpcError(ALREADY_IN_CHAIN, "Transaction outputs already in utxo set")
        try:
            self._submit(TransactionSubmitted(data=data), VERIFY_ERROR)
        except Refused as error:
            if error.code != "known":
                raise
        return txid[::-1].hex()

    def decoderawtransaction(self, hexstring: str) -> dict[str, Any]:
        """What a transaction says."""
        return describe_transaction(decode_transaction(_bytes(hexstring)), GRISTMILL)

    def getrawtransaction(self, txid: str, verbosity: int = 0, blockhash: str | None = None) -> Any:
        """One that waits, or one of the block that is named."""
        wanted = _hash(txid, "txid")
        entry = self._core.gossip.relay.pool.get(wanted)
        found = None if entry is None else entry.transaction
        if blockhash is not None:
            block = self._block(blockhash)
            found = next((each for each in block.transactions if each.txid == wanted), None)
        if found is None:
            raise RpcError(
                INVALID_ADDRESS_OR_KEY,
                "No such mempool transaction. Name the block: there is no index of transactions",
            )
        return describe_transaction(found, GRISTMILL) if verbosity else found.encode().hex()

    def gettxout(self, txid: str, n: int, include_mempool: bool = True) -> Any:
        """An unspent output; null if it is spent or unknown."""
        _check_int(n, "n")
        if not 0 <= n < 2**32:
            return None
        outpoint = (_hash(txid, "txid"), n)
        pool = self._core.gossip.relay.pool
        if include_mempool and pool.is_spent(outpoint):
            return None
        coin = self._core.gossip.intake.coins_after_tip().coin(outpoint)
        if coin is None:
            return None
        tip = self._core.tree.tip
        return {
            "bestblock": tip.hash[::-1].hex(),
            "confirmations": tip.height - coin.height + 1,
            "value": amount(coin.output.value),
            "scriptPubKey": describe_script(coin.output.script, GRISTMILL),
            "coinbase": coin.coinbase,
        }

    def scantxoutset(self, action: str, scanobjects: list[Any] | None = None) -> dict[str, Any]:
        """Unspent final outputs of addresses: action "start", objects "addr(ADDRESS)"."""
        if action != "start" or not isinstance(scanobjects, list) or not scanobjects:
            raise RpcError(INVALID_PARAMETER, 'only "start" with a list of "addr(ADDRESS)"')
        unspents, total = [], 0
        for item in scanobjects:
            text = item.get("desc") if isinstance(item, dict) else item
            script = _script_of(text)
            for (txid, at), coin in self._core.store.coins.of_script(script):
                total += coin.output.value
                unspents.append(
                    {
                        "txid": txid[::-1].hex(),
                        "vout": at,
                        "scriptPubKey": script.hex(),
                        "desc": text,
                        "amount": amount(coin.output.value),
                        "coinbase": coin.coinbase,
                        "height": coin.height,
                    }
                )
        return {
            "success": True,
            "height": self._core.store.coins.height,
            "bestblock": self._core.tree.final.hash[::-1].hex(),
            "unspents": unspents,
            "total_amount": amount(total),
        }

    def validateaddress(self, address: str) -> dict[str, Any]:
        """Whether an address is one of this network."""
        try:
            script = decode_address(_text(address, "address"), GRISTMILL)
        except DecodeError as error:
            return {"isvalid": False, "error": str(error)}
        found = witness_program(script)
        more = {} if found is None else {"witness_version": found[0]}
        return {
            "isvalid": True,
            "address": address,
            "scriptPubKey": script.hex(),
            "iswitness": found is not None,
            **more,
        }

    def _submit(self, event: Event, code: int) -> None:
        try:
            self._step(event)
        except Unavailable as error:
            raise RpcError(code, str(error)) from None

    # The network

    def getconnectioncount(self) -> int:
        """Peers that have greeted."""
        return sum(peer.ready for peer in self._core.gossip.peers.values())

    def getnetworkinfo(self) -> dict[str, Any]:
        """What this node speaks."""
        return {
            "subversion": USER_AGENT.decode("ascii"),
            "protocolversion": PROTOCOL_VERSION,
            "localservices": f"{SERVICES:016x}",
            "localrelay": True,
            "connections": self.getconnectioncount(),
            "relayfee": amount(FEE_RATE_MIN * 4),
            "incrementalfee": amount(FEE_RATE_MIN * 4),
            "warnings": [],
        }

    def getpeerinfo(self) -> list[dict[str, Any]]:
        """Each connection."""
        return [
            {
                "id": peer.number,
                "inbound": not peer.outbound,
                "version": peer.version.protocol if peer.version else 0,
                "subver": peer.version.user_agent.decode("utf-8", "replace")
                if peer.version
                else "",
                "startingheight": peer.version.height if peer.version else -1,
                "inflight": len(peer.requested),
            }
            for _, peer in sorted(self._core.gossip.peers.items())
        ]


def _waiting(entry: Entry) -> dict[str, Any]:
    return {
        "vsize": -(-entry.weight // 4),
        "weight": entry.weight,
        "fees": {"base": amount(entry.fee)},
        "depends": [txid[::-1].hex() for txid in sorted(entry.parents)],
        "wtxid": entry.transaction.wtxid[::-1].hex(),
    }


def _script_of(text: Any) -> bytes:
    if not isinstance(text, str) or not text.startswith("addr("):
        raise RpcError(INVALID_ADDRESS_OR_KEY, f"addr(ADDRESS) expected; {text!r:.60} came")
    try:
        return decode_address(text[5:].split(")")[0], GRISTMILL)
    except DecodeError as error:
        raise RpcError(INVALID_ADDRESS_OR_KEY, str(error)) from None


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise RpcError(TYPE_ERROR, f"{name} must be a string")
    return value


def _check_int(value: Any, name: str) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise RpcError(TYPE_ERROR, f"{name} must be a whole number")


def _hash(value: Any, name: str) -> bytes:
    try:
        found = bytes.fromhex(_text(value, name))
    except ValueError:
        found = b""
    if len(found) != 32:
        raise RpcError(INVALID_PARAMETER, f"{name} must be of length 64, in hex")
    return found[::-1]


def _bytes(value: Any) -> bytes:
    text = _text(value, "hex")
    if len(text) > HEX_MAX + 2:
        raise RpcError(INVALID_PARAMETER, f"{len(text)} digits; at most {HEX_MAX}")
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise DecodeError("hex digits expected") from None
