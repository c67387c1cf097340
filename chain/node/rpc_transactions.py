"""JSON-RPC about transactions, waiting and final.

Source: Bitcoin Core, rpc/{mempool,rawtransaction,fees,util}.cpp.
"""

from collections.abc import Callable
from typing import Any

from bft.errors import DecodeError, Refused, Unavailable
from chain.bitcoin.address import GRISTMILL, decode_address, encode_address
from chain.bitcoin.script import pay_to_script_hash, witness_program
from chain.bitcoin.signing import hash160
from chain.bitcoin.text import amount, describe_script, describe_transaction
from chain.gossip_events import Event, TransactionSubmitted
from chain.mempool import FEE_RATE_MIN, POOL_WEIGHT_MAX, Entry
from chain.node.core import NodeCore
from chain.node.indexes import SCRIPTS, TRANSACTIONS
from chain.node.rpc import (
    ALREADY_IN_CHAIN,
    INVALID_ADDRESS_OR_KEY,
    INVALID_PARAMETER,
    MISC_ERROR,
    VERIFY_ERROR,
    RpcError,
)
from chain.node.rpc_arguments import bytes_of, check_int, hash_of, text
from chain.node.rpc_blocks import script_of
from chain.records.block import Block
from chain.records.transaction import Transaction, decode_transaction

TESTED_MAX = 25  # transactions in one testmempoolaccept
HISTORY_MAX = 1_000  # entries in one answer
TARGET_MAX = 1_008  # blocks, as in Core


class TransactionMethods:
    """Each public method is one of Core's, but for getaddresshistory."""

    def __init__(self, core: NodeCore, step: Callable[[Event], None]) -> None:
        self._core, self._step = core, step

    # What waits

    def getrawmempool(self, verbose: bool = False) -> Any:
        """Ids of the transactions that wait, or all about them."""
        entries = self._core.gossip.relay.pool.entries()
        if verbose:
            return {entry.txid[::-1].hex(): self._waiting(entry) for entry in entries}
        return [entry.txid[::-1].hex() for entry in entries]

    def getmempoolentry(self, txid: str) -> dict[str, Any]:
        """One that waits."""
        return self._waiting(self._entry(txid))

    def getmempoolancestors(self, txid: str, verbose: bool = False) -> Any:
        """What waits and it builds on."""
        pool = self._core.gossip.relay.pool
        return self._several(pool.ancestors(self._entry(txid)), verbose=verbose)

    def getmempooldescendants(self, txid: str, verbose: bool = False) -> Any:
        """What waits and builds on it."""
        pool = self._core.gossip.relay.pool
        return self._several(pool.descendants(self._entry(txid)), verbose=verbose)

    def getmempoolinfo(self) -> dict[str, Any]:
        """How much waits, and what it takes to wait here."""
        pool = self._core.gossip.relay.pool
        rate = amount(FEE_RATE_MIN * 4)
        return {
            "loaded": True,
            "size": len(pool),
            "bytes": -(-pool.weight // 4),
            "usage": pool.weight,
            "total_fee": amount(sum(entry.fee for entry in pool.entries())),
            "maxmempool": POOL_WEIGHT_MAX // 4,
            "mempoolminfee": rate,
            "minrelaytxfee": rate,
            "incrementalrelayfee": rate,
            "unbroadcastcount": 0,
            "fullrbf": True,
        }

    def estimatesmartfee(self, conf_target: int, estimate_mode: str = "") -> dict[str, Any]:
        """A fee rate: the lowest that is taken, or that of what one block leaves out."""
        check_int(conf_target, "conf_target")
        if not 1 <= conf_target <= TARGET_MAX:
            raise RpcError(
                INVALID_PARAMETER, f"Invalid conf_target, must be between 1 and {TARGET_MAX}"
            )
        rate = self._core.gossip.relay.pool.rate_to_beat(conf_target)
        return {"feerate": amount(4 * max(rate, FEE_RATE_MIN)), "blocks": conf_target}

    def sendrawtransaction(self, hexstring: str, maxfeerate: Any = None) -> str:
        """Takes a signed transaction and passes it on; its id.  There is no highest fee rate."""
        data = bytes_of(hexstring)
        txid = decode_transaction(data).txid
        if self._core.gossip.intake.coins_after_tip().coin((txid, 0)) is not None:
            raise RpcError(ALREADY_IN_CHAIN, "Transaction outputs already in utxo set")
        try:
            self._step(TransactionSubmitted(data=data))
        except Unavailable as error:
            raise RpcError(VERIFY_ERROR, str(error)) from None
        except Refused as error:
            if error.code != "known":
                raise
        return txid[::-1].hex()

    def testmempoolaccept(self, rawtxs: list[Any], maxfeerate: Any = None) -> list[dict[str, Any]]:
        """Whether transactions would be taken, each by itself; nothing changes."""
        if not isinstance(rawtxs, list) or not 0 < len(rawtxs) <= TESTED_MAX:
            raise RpcError(
                INVALID_PARAMETER, f"Array must contain between 1 and {TESTED_MAX} transactions."
            )
        return [self._tested(decode_transaction(bytes_of(each))) for each in rawtxs]

    def _tested(self, transaction: Transaction) -> dict[str, Any]:
        said: dict[str, Any] = {
            "txid": transaction.txid[::-1].hex(),
            "wtxid": transaction.wtxid[::-1].hex(),
        }
        pool = self._core.gossip.relay.pool
        try:
            entry = pool.test(transaction, self._core.gossip.intake.coins_after_tip())
        except Refused as error:
            return {**said, "allowed": False, "reject-reason": error.code}
        size = {"vsize": -(-entry.weight // 4)}
        return {**said, "allowed": True, **size, "fees": {"base": amount(entry.fee)}}

    def _entry(self, txid: str) -> Entry:
        entry = self._core.gossip.relay.pool.get(hash_of(txid, "txid"))
        if entry is None:
            raise RpcError(INVALID_ADDRESS_OR_KEY, "Transaction not in mempool")
        return entry

    def _several(self, entries: tuple[Entry, ...], *, verbose: bool) -> Any:
        if verbose:
            return {entry.txid[::-1].hex(): self._waiting(entry) for entry in entries}
        return [entry.txid[::-1].hex() for entry in entries]

    def _waiting(self, entry: Entry) -> dict[str, Any]:
        pool = self._core.gossip.relay.pool
        above, below = pool.ancestors(entry), pool.descendants(entry)
        children = [each for each in below if entry.txid in each.parents]
        fees = {
            "base": entry.fee,
            "modified": entry.fee,
            "ancestor": entry.fee + sum(each.fee for each in above),
            "descendant": entry.fee + sum(each.fee for each in below),
        }
        return {
            "vsize": -(-entry.weight // 4),
            "weight": entry.weight,
            "height": self._core.tree.tip.height,
            "descendantcount": 1 + len(below),
            "descendantsize": -(-(entry.weight + sum(each.weight for each in below)) // 4),
            "ancestorcount": 1 + len(above),
            "ancestorsize": -(-(entry.weight + sum(each.weight for each in above)) // 4),
            "wtxid": entry.transaction.wtxid[::-1].hex(),
            "fees": {name: amount(fee) for name, fee in fees.items()},
            "depends": [txid[::-1].hex() for txid in sorted(entry.parents)],
            "spentby": [each.txid[::-1].hex() for each in children],
            "bip125-replaceable": True,
            "unbroadcast": False,
        }

    # What is final

    def getrawtransaction(self, txid: str, verbosity: int = 0, blockhash: str | None = None) -> Any:
        """One that waits, one of the block that is named, or any with an index of transactions."""
        wanted = hash_of(txid, "txid")
        entry = self._core.gossip.relay.pool.get(wanted)
        found, block = None if entry is None else entry.transaction, None
        if blockhash is not None:
            block = self._core.store.block(hash_of(blockhash, "blockhash"))
            if block is None:
                raise RpcError(INVALID_ADDRESS_OR_KEY, "Block hash not found")
        elif found is None:
            height = self._core.store.indexes.height_of(wanted)
            block = None if height is None else self._core.store.final_block(height)
        if block is not None:
            found = next((each for each in block.transactions if each.txid == wanted), None)
        if found is None:
            raise RpcError(INVALID_ADDRESS_OR_KEY, self._not_found(blockhash))
        if not verbosity:
            return found.encode().hex()
        described = describe_transaction(found, GRISTMILL)
        return described if block is None else {**self._place(block), **described}

    def _not_found(self, blockhash: str | None) -> str:
        if blockhash is not None:
            return "No such transaction found in the provided block"
        if TRANSACTIONS in self._core.store.indexes.present:
            return "No such mempool or blockchain transaction"
        return "No such mempool transaction. Name the block: there is no index of transactions"

    def _place(self, block: Block) -> dict[str, Any]:
        tip, height = self._core.tree.tip, block.certificate.height
        best = block.hash in (tip.hash, self._core.store.final_hash(height))
        return {
            "in_active_chain": best,
            "blockhash": block.hash[::-1].hex(),
            "confirmations": tip.height - height + 1 if best else 0,
            "time": block.header.time,
            "blocktime": block.header.time,
        }

    def getaddresshistory(self, descriptor: str, above: int = 0) -> list[dict[str, Any]]:
        """Final transactions that pay or spend "addr(ADDRESS)", above a height, at most 1000; needs
        the index of addresses."""
        check_int(above, "above")
        indexes, store = self._core.store.indexes, self._core.store
        if SCRIPTS not in indexes.present:
            raise RpcError(MISC_ERROR, "This node has no index of addresses (address_index)")
        places = indexes.places_of(script_of(descriptor), above, HISTORY_MAX)
        blocks: dict[int, Block | None] = {}
        found = []
        for height, place in places:
            if height not in blocks:
                blocks = {height: store.final_block(height)}
            block = blocks[height]
            if block is not None:  # else it was pruned
                txid = block.transactions[place].txid[::-1].hex()
                found.append({"height": height, "txid": txid, "blocktime": block.header.time})
        return found

    def getindexinfo(self, index_name: str = "") -> dict[str, Any]:
        """The indexes that are kept; each is as far as the chain."""
        height = self._core.tree.final.height
        names = {TRANSACTIONS: "txindex", SCRIPTS: "address index"}
        present = sorted(names[each] for each in self._core.store.indexes.present)
        state = {"synced": True, "best_block_height": height}
        return {name: state for name in present if text(index_name, "index_name") in ("", name)}

    # What bytes say

    def decoderawtransaction(self, hexstring: str, iswitness: bool | None = None) -> dict[str, Any]:
        """What a transaction says."""
        described = describe_transaction(decode_transaction(bytes_of(hexstring)), GRISTMILL)
        del described["hex"]
        return described

    def decodescript(self, hexstring: str) -> dict[str, Any]:
        """What an output's script says, and the address that pays to its hash."""
        script = bytes_of(hexstring)
        described = describe_script(script, GRISTMILL)
        del described["hex"]
        if described["type"] in ("scripthash", "nulldata") or witness_program(script):
            return described
        return {**described, "p2sh": encode_address(pay_to_script_hash(hash160(script)), GRISTMILL)}

    def validateaddress(self, address: str) -> dict[str, Any]:
        """Whether an address is one of this network."""
        try:
            script = decode_address(text(address, "address"), GRISTMILL)
        except DecodeError as error:
            return {"isvalid": False, "error_locations": [], "error": str(error)}
        found = witness_program(script)
        more = (
            {}
            if found is None
            else {
                "witness_version": found[0],
                "witness_program": found[1].hex(),
            }
        )
        return {
            "isvalid": True,
            "address": address,
            "scriptPubKey": script.hex(),
            "isscript": script[:1] == b"\xa9" or (found is not None and len(found[1]) == 32),
            "iswitness": found is not None,
            **more,
        }
