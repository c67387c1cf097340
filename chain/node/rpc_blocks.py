"""JSON-RPC about blocks and coins.  Source: Bitcoin Core, rpc/{blockchain,txoutproof}.cpp."""

from collections.abc import Callable
from typing import Any

from bft.errors import DecodeError, Unavailable
from chain.bitcoin.address import GRISTMILL, decode_address
from chain.bitcoin.ledger import Coin, Outpoint, median_time, weight
from chain.bitcoin.merkle_block import decode_merkle_block, encode_merkle_block
from chain.bitcoin.text import amount, describe_script, describe_transaction
from chain.gossip_events import BlockSubmitted, Event
from chain.node.core import NodeCore
from chain.node.describe import describe_certificate
from chain.node.guards import warnings
from chain.node.history import spent_by
from chain.node.rpc import (
    INVALID_ADDRESS_OR_KEY,
    INVALID_PARAMETER,
    MISC_ERROR,
    VERIFY_ERROR,
    RpcError,
)
from chain.node.rpc_arguments import bytes_of, check_int, hash_of, text
from chain.records.block import HEADER_BYTES, Block, block_hash, decode_certified_header
from chain.records.transaction import Transaction, TxOut
from chain.snapshot.file import coin_elements
from chain.snapshot.muhash import digest_of

RESERVED_FIELDS: dict[str, Any] = {"difficulty": 0, "chainwork": "00" * 32}
"""Named for tools that expect them; certificates stand in the place of work."""
PROVED_MAX = 1_000  # transactions in one proof
SCANNED_MAX = 1_000  # scripts in one scantxoutset
DIGEST_COINS_MAX = 50_000  # about a second, in which nothing else is answered


class BlockMethods:
    """Each public method is one of Core's."""

    def __init__(self, core: NodeCore, step: Callable[[Event], None]) -> None:
        self._core, self._step = core, step

    def getblockcount(self) -> int:
        """Height of the best block."""
        return self._core.tree.tip.height

    def getbestblockhash(self) -> str:
        """Hash of the best block."""
        return self._core.tree.tip.hash[::-1].hex()

    def getblockhash(self, height: int) -> str:
        """Hash of the block at a height of the best chain."""
        check_int(height, "height")
        tip = self._core.tree.tip
        if not 0 <= height <= tip.height:
            raise RpcError(INVALID_PARAMETER, "Block height out of range")
        found = tip.hash if height == tip.height else self._core.store.final_hash(height)
        if found is None:
            raise RpcError(INVALID_PARAMETER, "Block height out of range")
        return found[::-1].hex()

    def getdifficulty(self) -> int:
        """None: certificates stand in the place of work."""
        return 0

    def getblockchaininfo(self) -> dict[str, Any]:
        """How far this node is."""
        core = self._core
        tip, headers = core.tree.tip, core.gossip.sync.height
        pruned = core.store.pruned_height
        return {
            "chain": core.genesis.name.decode("utf-8", "replace"),
            "blocks": tip.height,
            "headers": headers,
            "bestblockhash": tip.hash[::-1].hex(),
            **RESERVED_FIELDS,
            "time": tip.time,
            "mediantime": median_time(core.gossip.intake.coins_after_tip(), tip.height),
            "verificationprogress": 1 if headers == tip.height else tip.height / headers,
            "initialblockdownload": headers > tip.height + 1,
            "size_on_disk": core.config.database.stat().st_size,
            "pruned": core.pruned,
            **({"pruneheight": pruned + 1} if core.pruned else {}),
            "finalblocks": core.tree.final.height,
            "warnings": warnings(core),
        }

    def getchainstates(self) -> dict[str, Any]:
        """How far blocks are checked: of a node that began from a snapshot, on both sides of it."""
        core, origin = self._core, self._core.store.origin
        states = []
        if origin is not None and core.history is not None and not origin.validated:
            states.append(self._chainstate(core.history.height, origin.height, validated=True))
        headers, tip = core.gossip.sync.height, core.tree.tip
        validated = origin is None or origin.validated is True
        newest = self._chainstate(tip.height, headers, validated=validated)
        if origin is not None:
            newest["snapshot_blockhash"] = origin.block[::-1].hex()
        return {"headers": headers, "chainstates": [*states, newest]}

    def _chainstate(self, height: int, of: int, *, validated: bool) -> dict[str, Any]:
        return {
            "blocks": height,
            "bestblockhash": self.getblockhash(height),
            "difficulty": 0,
            "verificationprogress": height / of if of else 1,
            "validated": validated,
        }

    def getchaintips(self) -> list[dict[str, Any]]:
        """The best block, and candidates that compete with it."""
        tree = self._core.tree
        tips: list[dict[str, Any]] = [
            {
                "height": each.certificate.height,
                "hash": each.hash[::-1].hex(),
                "branchlen": int(each is not tree.best),
                "status": "active" if each is tree.best else "valid-fork",
            }
            for each in tree.candidates
        ]
        if tree.best is None:
            final = tree.final
            place: dict[str, Any] = {"height": final.height, "hash": final.hash[::-1].hex()}
            tips.append({**place, "branchlen": 0, "status": "active"})
        return tips

    def getblockheader(self, blockhash: str, verbose: bool = True) -> Any:
        """One block's header: fields, or hex if not `verbose`."""
        wanted = hash_of(blockhash, "blockhash")
        block = self._core.store.block(wanted)
        if block is not None:
            return self._header(block) if verbose else block.header.encode().hex()
        data = self._core.store.header_of(wanted)
        if data is None:
            raise RpcError(INVALID_ADDRESS_OR_KEY, "Block not found")
        if verbose:
            raise RpcError(MISC_ERROR, "Block not available (pruned data); ask for it not verbose")
        return decode_certified_header(data).header.encode().hex()

    def getblock(self, blockhash: str, verbosity: int = 1) -> Any:
        """One block: 0 hex, 1 with transaction ids, 2 with whole transactions, 3 with what they
        spend."""
        verbosity = int(verbosity) if isinstance(verbosity, bool) else verbosity
        check_int(verbosity, "verbosity")
        block = self._block(blockhash)
        if verbosity <= 0:
            return block.data.hex()
        transactions: list[Any] = [entry.txid[::-1].hex() for entry in block.transactions]
        if verbosity >= 2:
            spent = spent_by(self._core.store, block)
            transactions = [
                _describe(each, spent, prevout=verbosity >= 3) for each in block.transactions
            ]
        stripped = sum(len(entry.encode(witness=False)) for entry in block.transactions)
        return {
            **self._header(block),
            "size": len(block.data),
            "strippedsize": 81 + stripped,
            "weight": 4 * 81 + sum(weight(entry) for entry in block.transactions),
            "tx": transactions,
            "certificate": describe_certificate(block.certificate),
        }

    def submitblock(self, hexdata: str) -> str | None:
        """A block from outside; null if it was taken, "inconclusive" while its scripts are run."""
        data = bytes_of(hexdata)
        try:
            self._step(BlockSubmitted(data=data))
        except Unavailable as error:
            raise RpcError(VERIFY_ERROR, str(error)) from None
        waits = block_hash(data[:HEADER_BYTES]) in self._core.gossip.intake.waiting
        return "inconclusive" if waits else None

    # Coins

    def gettxout(self, txid: str, n: int, include_mempool: bool = True) -> Any:
        """An unspent output; null if it is spent or unknown."""
        check_int(n, "n")
        if not 0 <= n < 2**32:
            return None
        outpoint = (hash_of(txid, "txid"), n)
        pool = self._core.gossip.relay.pool
        if include_mempool and pool.is_spent(outpoint):
            return None
        coin = self._core.gossip.intake.coins_after_tip().coin(outpoint)
        tip = self._core.tree.tip
        confirmations = 0 if coin is None else tip.height - coin.height + 1
        if coin is None and include_mempool:
            entry = pool.get(outpoint[0])
            if entry is not None and n < len(entry.transaction.outputs):
                coin = Coin(entry.transaction.outputs[n], tip.height + 1, False)
        if coin is None:
            return None
        return {
            "bestblock": tip.hash[::-1].hex(),
            "confirmations": confirmations,
            "value": amount(coin.output.value),
            "scriptPubKey": describe_script(coin.output.script, GRISTMILL),
            "coinbase": coin.coinbase,
        }

    def gettxoutsetinfo(self, hash_type: str = "none") -> dict[str, Any]:
        """All final coins together; their digest with hash_type "muhash"."""
        if text(hash_type, "hash_type") not in ("none", "muhash"):
            raise RpcError(INVALID_PARAMETER, f"'{hash_type:.40}' is not a valid hash_type")
        final, coins = self._core.tree.final, self._core.store.coins
        outputs, transactions, value = coins.totals()
        digest = {}
        if hash_type == "muhash":
            if outputs > DIGEST_COINS_MAX:
                known = f"{outputs} coins; of more than {DIGEST_COINS_MAX} it takes too long here"
                raise RpcError(MISC_ERROR, f"{known}: gristmill node snapshot digest")
            digest = {"muhash": digest_of(coin_elements(coins.all()))[::-1].hex()}
        return {
            "height": final.height,
            "bestblock": final.hash[::-1].hex(),
            "txouts": outputs,
            **digest,
            "transactions": transactions,
            "total_amount": amount(value),
        }

    def scantxoutset(self, action: str, scanobjects: list[Any] | None = None) -> dict[str, Any]:
        """Unspent final outputs of addresses: action "start", objects "addr(ADDRESS)" or
        "raw(SCRIPT)"."""
        if action != "start" or not isinstance(scanobjects, list) or not scanobjects:
            raise RpcError(INVALID_PARAMETER, 'only "start" with a list of "addr(ADDRESS)"')
        if len(scanobjects) > SCANNED_MAX:
            raise RpcError(INVALID_PARAMETER, f"{len(scanobjects)} objects; at most {SCANNED_MAX}")
        unspents, total = [], 0
        described_by: dict[bytes, Any] = {}  # each script once, however often it is named
        for item in scanobjects:
            described = item.get("desc") if isinstance(item, dict) else item
            described_by.setdefault(script_of(described), described)
        for script, described in described_by.items():
            for (txid, at), coin in self._core.store.coins.of_script(script):
                total += coin.output.value
                unspents.append(
                    {
                        "txid": txid[::-1].hex(),
                        "vout": at,
                        "scriptPubKey": script.hex(),
                        "desc": described,
                        "amount": amount(coin.output.value),
                        "coinbase": coin.coinbase,
                        "height": coin.height,
                    }
                )
        return {
            "success": True,
            "txouts": self._core.store.coins.totals()[0],
            "height": self._core.store.coins.height,
            "bestblock": self._core.tree.final.hash[::-1].hex(),
            "unspents": unspents,
            "total_amount": amount(total),
        }

    # Proofs

    def gettxoutproof(self, txids: list[Any], blockhash: str | None = None) -> str:
        """Proof that transactions are in a block, in hex.  Without an index of transactions the
        block must be named, or an output must be unspent."""
        if not isinstance(txids, list) or not 0 < len(txids) <= PROVED_MAX:
            raise RpcError(INVALID_PARAMETER, f"1 to {PROVED_MAX} transaction ids are expected")
        wanted = {hash_of(each, "txid") for each in txids}
        block = self._holding(wanted) if blockhash is None else self._block(blockhash)
        ids = [transaction.txid for transaction in block.transactions]
        if not wanted <= set(ids):
            raise RpcError(
                INVALID_ADDRESS_OR_KEY, "Not all transactions found in specified or retrieved block"
            )
        return encode_merkle_block(block.header.encode(), ids, wanted).hex()

    def verifytxoutproof(self, proof: str) -> list[str]:
        """The transactions that a proof is of; none if its block is not of the best chain."""
        found = decode_merkle_block(bytes_of(proof))
        data = self._core.store.header_of(found.header.hash)
        block = self._core.store.block(found.header.hash)
        if data is not None:
            levels = len(decode_certified_header(data).branch)
        elif block is not None and block.hash == self._core.tree.tip.hash:
            levels = len(block.certified_header.branch)
        else:
            raise RpcError(INVALID_ADDRESS_OR_KEY, "Block not found in chain")
        if found.levels != levels:
            return []
        return [txid[::-1].hex() for _, txid in found.matched]

    def _holding(self, wanted: set[bytes]) -> Block:
        """The block with one of them."""
        store = self._core.store
        for txid in sorted(wanted):
            height = store.indexes.height_of(txid)
            if height is None:
                height = store.coins.height_of(txid)
            block = None if height is None else store.final_block(height)
            if block is not None:
                return block
        raise RpcError(INVALID_ADDRESS_OR_KEY, "Transaction not yet in block")

    def _header(self, block: Block) -> dict[str, Any]:
        height, tip = block.certificate.height, self._core.tree.tip
        best = block.hash in (tip.hash, self._core.store.final_hash(height))
        following = self._core.store.final_hash(height + 1)
        if following is None and height + 1 == tip.height:
            following = tip.hash
        coins = self._core.gossip.intake.coins_after_tip()
        return {
            "hash": block.hash[::-1].hex(),
            "confirmations": tip.height - height + 1 if best else -1,
            "height": height,
            "version": block.header.version,
            "versionHex": f"{block.header.version:08x}",
            "merkleroot": block.header.merkle_root[::-1].hex(),
            "time": block.header.time,
            **({"mediantime": median_time(coins, height)} if best else {}),
            "nonce": block.header.nonce,
            "bits": f"{block.header.bits:08x}",
            **RESERVED_FIELDS,
            "nTx": len(block.transactions),
            "previousblockhash": block.header.previous[::-1].hex(),
            **({"nextblockhash": following[::-1].hex()} if best and following else {}),
        }

    def _block(self, blockhash: str) -> Block:
        wanted = hash_of(blockhash, "blockhash")
        found = self._core.store.block(wanted)
        if found is None and self._core.store.header_of(wanted) is not None:
            raise RpcError(MISC_ERROR, "Block not available (pruned data)")
        if found is None:
            raise RpcError(INVALID_ADDRESS_OR_KEY, "Block not found")
        return found


def script_of(described: Any) -> bytes:
    """The script that "addr(ADDRESS)" or "raw(HEX)" names.  Raises RpcError."""
    if isinstance(described, str):
        kind, _, rest = described.partition("(")
        inner = rest.split(")")[0]
        try:
            if kind == "addr":
                return decode_address(inner, GRISTMILL)
            if kind == "raw":
                return bytes_of(inner)
        except DecodeError as error:
            raise RpcError(INVALID_ADDRESS_OR_KEY, str(error)) from None
    raise RpcError(INVALID_ADDRESS_OR_KEY, f"addr(ADDRESS) expected; {described!r:.60} came")


def _describe(
    transaction: Transaction, spent: dict[Outpoint, Coin], *, prevout: bool
) -> dict[str, Any]:
    described = describe_transaction(transaction, GRISTMILL)
    if transaction.is_coinbase:
        return described
    coins = [spent.get((entry.previous, entry.index)) for entry in transaction.inputs]
    known = [coin for coin in coins if coin is not None]
    if len(known) < len(coins):
        return described
    paid = sum(output.value for output in transaction.outputs)
    described["fee"] = amount(sum(coin.output.value for coin in known) - paid)
    if prevout:
        for entry, coin in zip(described["vin"], known, strict=True):
            entry["prevout"] = _describe_coin(coin)
    return described


def _describe_coin(coin: Coin) -> dict[str, Any]:
    output: TxOut = coin.output
    return {
        "generated": coin.coinbase,
        "height": coin.height,
        "value": amount(output.value),
        "scriptPubKey": describe_script(output.script, GRISTMILL),
    }
