"""The pages that a node shows to people: blocks, transactions, addresses, what waits, peers.

Server-rendered; a script only keeps them fresh.  A node has verified all that its pages say.
"""

from typing import Any

from aiohttp import web

from bft.errors import DecodeError, Refused
from chain.bitcoin.address import GRISTMILL, decode_address, encode_address
from chain.bitcoin.ledger import Coin, Outpoint
from chain.federation.api import OCTETS
from chain.node.core import NodeCore
from chain.node.describe import describe_certificate
from chain.node.explorer import views
from chain.node.explorer.events import EVENTS, Events
from chain.node.explorer.find import find
from chain.node.guards import warnings
from chain.node.history import block_with, header_at, headers_down, spent_by
from chain.node.indexes import SCRIPTS, TRANSACTIONS
from chain.node.store import HEIGHT_DIGITS_MAX
from chain.records.block import Block, CertifiedHeader, decode_certified_header
from chain.records.transaction import Transaction
from chain.web.render import Page, Pages, Site, go, utc

LINES = 12  # blocks on the front page
PAGE = 50  # lines of a list
HISTORY = 100  # transactions of an address
WON_WINDOW = 200  # blocks among which a miner's are looked for
PLACES = (("/", "Chain"), ("/blocks", "Blocks"), ("/mempool", "Waiting"), ("/peers", "Peers"))
FOOTER = (
    "It has checked all that these pages say with one federation key; gristmill node run does "
    "the same on your machine."
)


class Explorer:
    """Handlers of the pages."""

    def __init__(self, core: NodeCore) -> None:
        name = core.genesis.name.decode("utf-8", "replace")
        self._core, self.events = core, Events(core)
        self._pages = Pages(
            Site(
                package="chain.node.explorer",
                events=EVENTS,
                places=PLACES,
                finds="Height, cycle 7, block hash, transaction id, address or miner key",
                hint="height, hash, address",
                footer=FOOTER,
                operator=f"a node of {name}",
            )
        )

    def routes(self) -> list[web.RouteDef]:
        """For the application."""
        pages: list[tuple[str, Page]] = [
            ("/", self.get_chain),
            ("/blocks", self.get_blocks),
            ("/blocks/{reference}", self.get_block),
            ("/blocks/{reference}/certificate", self.get_certificate),
            ("/transactions/{txid}", self.get_transaction),
            ("/addresses/{address}", self.get_address),
            ("/miners/{miner}", self.get_miner),
            ("/mempool", self.get_mempool),
            ("/peers", self.get_peers),
            ("/search", self.get_search),
        ]
        return [*self._pages.routes(pages), web.get(EVENTS, self.events.get_events)]

    def _lines(self, height: int, count: int) -> list[dict[str, Any]]:
        final = self._core.tree.final.height
        return [views.block_line(each, final) for each in headers_down(self._core, height, count)]

    async def get_chain(self, request: web.Request) -> web.Response:
        """The tip, what is final, and the newest blocks."""
        core, tree = self._core, self._core.tree
        coins, _, value = core.store.coins.totals()
        return self._pages.show(
            "chain.html",
            "/",
            name=core.genesis.name.decode("utf-8", "replace"),
            chain_id=core.chain_id.hex(),
            key=core.federation_key.hex(),
            tip=tree.tip.height,
            tip_utc=utc(tree.tip.time),
            final=tree.final.height,
            coins=coins,
            value=value,
            waiting=len(core.gossip.relay.pool),
            peers=sum(peer.ready for peer in core.gossip.peers.values()),
            warnings=warnings(core),
            lines=self._lines(tree.tip.height, LINES),
        )

    async def get_blocks(self, request: web.Request) -> web.Response:
        """Blocks, newest first, up to ?to=."""
        tip = self._core.tree.tip.height
        last = min(tip, _number(request, "to", tip))
        return self._pages.show(
            "blocks.html",
            "/blocks",
            lines=self._lines(last, PAGE),
            earlier=last - PAGE if last > PAGE else None,
        )

    # One block.

    def _header(self, reference: str) -> CertifiedHeader:
        """By height, or by hash as people see it."""
        core, found = self._core, None
        if reference.isdecimal() and reference.isascii() and len(reference) <= HEIGHT_DIGITS_MAX:
            found = header_at(core, int(reference))
        else:
            wanted = _digest(reference, "a height, or a block's hash of 64 hex digits")
            data = core.store.header_of(wanted)
            block = None if data is not None else core.store.block(wanted)
            if data is not None:
                found = decode_certified_header(data)
            elif block is not None:
                found = block.certified_header
        if found is None:
            raise Refused("not-found", f"No block {reference[:64]} is known here.")
        return found

    async def get_block(self, request: web.Request) -> web.Response:
        """Header, certificate in words, transactions."""
        certified, core = self._header(request.match_info["reference"]), self._core
        block, final = core.store.block(certified.hash), core.tree.final.height
        height = certified.certificate.height
        first = _number(request, "from", 0)
        best = header_at(core, height)
        return self._pages.show(
            "block.html",
            "/blocks",
            block=views.block_cards(certified, block),
            state=_state(height <= final, best is not None and best.hash == certified.hash),
            finality=core.store.finality(height) is not None,
            words=views.certificate_words(certified.certificate),
            fields=describe_certificate(certified.certificate),
            key=core.federation_key.hex(),
            chain_id=core.chain_id.hex(),
            following=header_at(core, height + 1) is not None,
            first=first,
            page=PAGE,
            transactions=None if block is None else self._of_block(block, first),
        )

    def _of_block(self, block: Block, first: int) -> list[dict[str, Any]]:
        spent = spent_by(self._core.store, block)
        chosen = block.transactions[first : first + PAGE]
        return [views.transaction_line(each, spent) for each in chosen]

    async def get_certificate(self, request: web.Request) -> web.Response:
        """The bytes of a block's certificate, for whoever checks it: 371, octets."""
        certified = self._header(request.match_info["reference"])
        return web.Response(body=certified.coinbase.certificate, content_type=OCTETS)

    # Transactions and addresses.

    async def get_transaction(self, request: web.Request) -> web.Response:
        """One that waits, or one in a block: ?block= names it, or an index knows it."""
        text, core = request.match_info["txid"], self._core
        txid = _digest(text, "a transaction's id of 64 hex digits")
        entry = core.gossip.relay.pool.get(txid)
        if entry is not None:
            found, block, spent = entry.transaction, None, self._unspent(entry.transaction)
        else:
            found, block = self._mined(txid, request.query.get("block"))
            spent = spent_by(core.store, block) or self._unspent(found)
        shown = views.transaction_page(found, spent, self._coin)
        height = None if block is None else block.certificate.height
        return self._pages.show(
            "transaction.html",
            transaction=shown,
            height=height,
            confirmations=0 if height is None else core.tree.tip.height - height + 1,
            final=height is not None and height <= core.tree.final.height,
        )

    def _mined(self, txid: bytes, reference: str | None) -> tuple[Transaction, Block]:
        core = self._core
        block = (
            block_with(core, txid)
            if reference is None
            else core.store.block(self._header(reference).hash)
        )
        found = None
        if block is not None:
            found = next((each for each in block.transactions if each.txid == txid), None)
        if block is None or found is None:
            raise Refused("not-found", _unknown(core, views.hash_text(txid)))
        return found, block

    def _coin(self, outpoint: Outpoint) -> Coin | None:
        return self._core.gossip.intake.coins_after_tip().coin(outpoint)

    def _unspent(self, transaction: Transaction) -> dict[Outpoint, Coin]:
        """Of what a transaction spends: the coins that are there after the tip."""
        outpoints = [(each.previous, each.index) for each in transaction.inputs]
        coins = {each: self._coin(each) for each in outpoints}
        return {each: coin for each, coin in coins.items() if coin is not None}

    async def get_address(self, request: web.Request) -> web.Response:
        """What an address has; what paid and spent it, if this node keeps the index."""
        core = self._core
        script = decode_address(request.match_info["address"][:100], GRISTMILL)
        above = _number(request, "above", 0)
        count, value = core.store.coins.sum_of(script)
        indexed = SCRIPTS in core.store.indexes.present
        history = self._history(script, above) if indexed else []
        return self._pages.show(
            "address.html",
            address=encode_address(script, GRISTMILL),
            count=count,
            value=value,
            height=core.store.coins.height,
            coins=[
                views.coin_line(outpoint, coin)
                for outpoint, coin in core.store.coins.of_script(script, PAGE)
            ],
            indexed=indexed,
            history=history,
            later=self._later(script, history),
        )

    def _history(self, script: bytes, above: int) -> list[dict[str, Any]]:
        """Transactions above a height, ascending; none of the last height is left out but where
        one block has more than HISTORY."""
        indexes, store = self._core.store.indexes, self._core.store
        places = indexes.places_of(script, above, HISTORY)
        if len(places) == HISTORY and places[0][0] < places[-1][0]:
            places = [each for each in places if each[0] < places[-1][0]]
        lines: list[dict[str, Any]] = []
        block: Block | None = None
        for height, place in places:
            if block is None or block.certificate.height != height:
                block = store.final_block(height)
            if block is None:  # pruned
                continue
            transaction = block.transactions[place]
            lines.append(
                {
                    "height": height,
                    "utc": utc(block.header.time),
                    "txid": views.hash_text(transaction.txid),
                    "change": _change(transaction, script, spent_by(store, block)),
                }
            )
        return lines

    def _later(self, script: bytes, history: list[dict[str, Any]]) -> int | None:
        """The height above which there is more."""
        if not history:
            return None
        last: int = history[-1]["height"]
        return last if self._core.store.indexes.places_of(script, last, 1) else None

    async def get_miner(self, request: web.Request) -> web.Response:
        """Which of the newest blocks a miner made, and where it is paid."""
        text = request.match_info["miner"]
        try:
            key = bytes.fromhex(text)
        except ValueError:
            key = b""
        if len(key) != 33:
            raise DecodeError("a miner's key of 66 hex digits is expected")
        tree = self._core.tree
        headers = list(headers_down(self._core, tree.tip.height, WON_WINDOW))
        return self._pages.show(
            "miner.html",
            miner=key.hex(),
            address=views.miner_address(key),
            window=WON_WINDOW,
            lines=views.won(headers, key, tree.final.height),
        )

    # What waits, who is there.

    async def get_mempool(self, request: web.Request) -> web.Response:
        """What waits for a block, the best payers first."""
        pool = self._core.gossip.relay.pool
        entries = sorted(pool.entries(), key=lambda entry: (-entry.rate, entry.arrived))
        return self._pages.show(
            "mempool.html",
            "/mempool",
            count=len(entries),
            weight=pool.weight,
            fees=sum(entry.fee for entry in entries),
            lines=[views.waiting_line(entry) for entry in entries[:PAGE]],
        )

    async def get_peers(self, request: web.Request) -> web.Response:
        """Connections to nodes, and how the replicas answer."""
        core = self._core
        return self._pages.show(
            "peers.html",
            "/peers",
            peers=[
                views.peer_line(peer, core.addresses.get(number, ""))
                for number, peer in sorted(core.gossip.peers.items())
            ],
            replicas=core.replica_status,
            members=[
                (member.operator.decode("utf-8", "replace"), member.api.decode("ascii", "replace"))
                for member in core.members
            ],
        )

    async def get_search(self, request: web.Request) -> web.Response:
        """To the page of what was asked for."""
        return go(find(self._core, request.query.get("q", "").strip()))


def _state(final: bool, best: bool) -> str:
    if final:
        return "final"
    return "the newest block, not final yet" if best else "a candidate that was not chosen"


def _unknown(core: NodeCore, txid: str) -> str:
    if TRANSACTIONS in core.store.indexes.present:
        return f"No transaction {txid} waits or is in a block here."
    return (
        f"No transaction {txid} waits or has an unspent output here. This node keeps no index of "
        "transactions (transaction_index), so spent ones are found through their blocks only."
    )


def _change(transaction: Transaction, script: bytes, spent: dict[Outpoint, Coin]) -> int:
    """What a transaction does to the balance of `script`."""
    came = sum(output.value for output in transaction.outputs if output.script == script)
    coins = [spent.get((entry.previous, entry.index)) for entry in transaction.inputs]
    went = sum(
        coin.output.value for coin in coins if coin is not None and coin.output.script == script
    )
    return came - went


def _digest(text: str, expected: str) -> bytes:
    try:
        data = bytes.fromhex(text)
    except ValueError:
        data = b""
    if len(data) != 32:
        raise DecodeError(f"{expected} is expected; {text[:64]!r} came")
    return data[::-1]


def _number(request: web.Request, name: str, default: int) -> int:
    text = request.query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) <= HEIGHT_DIGITS_MAX):
        raise DecodeError(f"{name} is a number; {text[:20]!r} came")
    return int(text)
