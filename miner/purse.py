"""A miner's rewards: what its key owns on the chain, and how it pays with it.

The miner's identity key is also the key of its rewards, so this is the smallest wallet there is:
one key, one address.  The node is the miner's own: what it says of coins is believed.
"""

from dataclasses import dataclass
from decimal import Decimal

from bft.crypto.identity import PrivateKey
from bft.errors import DecodeError
from chain.bitcoin.address import GRISTMILL, decode_address, encode_address
from chain.bitcoin.ledger import COINBASE_MATURITY, Outpoint
from chain.bitcoin.signing import Keyring
from chain.bitcoin.text import DECIMALS
from chain.federation.rpc_client import NodeRpc
from chain.payment import Payment, pay
from chain.records.coinbase import pay_to_key
from chain.records.transaction import TxOut


@dataclass(frozen=True, slots=True)
class Held:
    """One final coin of the key."""

    outpoint: Outpoint
    value: int  # smallest unit
    mature: bool  # whether the next block may spend it


@dataclass(frozen=True, slots=True)
class Holdings:
    """What the key owns after the final block at `height`."""

    height: int
    coins: tuple[Held, ...]

    @property
    def spendable(self) -> int:
        """Smallest unit."""
        return sum(coin.value for coin in self.coins if coin.mature)

    @property
    def immature(self) -> int:
        """Rewards that are not COINBASE_MATURITY blocks old yet."""
        return sum(coin.value for coin in self.coins if not coin.mature)


def address_of(public_key: bytes) -> str:
    """Where rewards of this identity key (33 bytes) arrive."""
    address = encode_address(pay_to_key(public_key), GRISTMILL)
    assert address is not None
    return address


def holdings(public_key: bytes, node: NodeRpc) -> Holdings:
    """What a node says that a key owns.

    Raises:
        DecodeError: the answer has another form; and what `NodeRpc.call` raises.
    """
    answer = node.call("scantxoutset", "start", [f"addr({address_of(public_key)})"])
    try:
        height = int(answer["height"])
        coins = tuple(
            Held(
                (bytes.fromhex(coin["txid"])[::-1], int(coin["vout"])),
                int(Decimal(coin["amount"]).scaleb(DECIMALS)),
                not coin["coinbase"] or height + 1 - int(coin["height"]) >= COINBASE_MATURITY,
            )
            for coin in answer["unspents"]
        )
    except (KeyError, TypeError, ValueError, ArithmeticError):
        raise DecodeError("the node's list of coins has another form than expected") from None
    return Holdings(height, coins)


def prepare(key: PrivateKey, node: NodeRpc, to: str, value: int | None, fee_rate: int) -> Payment:
    """A signed payment to an address, not sent yet; `value` None pays everything.

    Args:
        fee_rate: smallest units per virtual byte.

    Raises:
        DecodeError: `to` is no address of this network; Refused: see `pay`.
    """
    script = decode_address(to, GRISTMILL)
    mine = pay_to_key(key.public_key)
    spendable = [
        (coin.outpoint, TxOut(value=coin.value, script=mine))
        for coin in holdings(key.public_key, node).coins
        if coin.mature and _waits(node, coin.outpoint)
    ]
    ring = Keyring([key.secret])
    # A thousandth of weight is a quarter of a virtual byte.
    return pay(spendable, script, value, mine, ring, fee_rate=fee_rate * 250)


def _waits(node: NodeRpc, outpoint: Outpoint) -> bool:
    """Whether nothing that waits for a block spends it."""
    return node.call("gettxout", outpoint[0][::-1].hex(), outpoint[1]) is not None


def send(node: NodeRpc, payment: Payment) -> str:
    """The transaction's id, once the node has taken it.  Raises Refused: it does not."""
    return str(node.call("sendrawtransaction", payment.transaction.encode().hex()))
