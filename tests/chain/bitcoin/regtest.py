"""A chain of plain Bitcoin regtest blocks, kept by our ledger, with random spends and mistakes."""

import random
from dataclasses import dataclass, field, replace

from bft.crypto.hashing import double_sha256, sha256
from bft.errors import Refused
from chain.bitcoin.ledger import COINBASE_MATURITY, Coin, Connected, Outpoint, connect
from chain.bitcoin.opcodes import Op
from chain.bitcoin.script import (
    encode_number,
    multisig,
    pay_to_key_hash,
    pay_to_script_hash,
    pay_to_witness,
    push,
)
from chain.bitcoin.sighash import ALL, ANYONE_CAN_PAY, NONE, SINGLE, SignatureHasher
from chain.bitcoin.signing import Keyring, hash160, sign_input
from chain.records.coinbase import COMMITMENT_MAGIC, WITNESS_RESERVED, height_script
from chain.records.serialization import compact_size
from chain.records.transaction import (
    NULL_ID,
    NULL_INDEX,
    Transaction,
    TxIn,
    TxOut,
    bitcoin_merkle_root,
)

GENESIS = bytes.fromhex("0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206")[::-1]
GENESIS_TIME = 1_296_688_602
BITS = 0x207FFFFF
SUBSIDY, HALVING = 50 * 100_000_000, 150
SPACING_S = 600
KINDS = (ALL, NONE, SINGLE, ALL | ANYONE_CAN_PAY, SINGLE | ANYONE_CAN_PAY)

SECRETS = [sha256(b"regtest key %d" % at) for at in range(4)]
PUBLIC = Keyring(SECRETS).public_keys
TWO_OF_THREE = multisig(2, PUBLIC[:3])
_LOCK = push(encode_number(105)) + bytes([Op.CHECKLOCKTIMEVERIFY, Op.DROP])
_WAIT = push(encode_number(3)) + bytes([Op.CHECKSEQUENCEVERIFY, Op.DROP])
LOCKED = _LOCK + push(PUBLIC[0]) + bytes([Op.CHECKSIG])
WAITING = _WAIT + push(PUBLIC[1]) + bytes([Op.CHECKSIG])
NESTED = pay_to_witness(0, hash160(PUBLIC[2]))
RING_SCRIPTS = (TWO_OF_THREE, LOCKED, WAITING, NESTED, pay_to_witness(0, sha256(LOCKED)))
RING = Keyring(SECRETS, RING_SCRIPTS)
TEMPLATES = (
    pay_to_key_hash(hash160(PUBLIC[0])),
    pay_to_witness(0, hash160(PUBLIC[1])),
    pay_to_script_hash(hash160(NESTED)),
    pay_to_script_hash(hash160(TWO_OF_THREE)),
    pay_to_witness(0, sha256(TWO_OF_THREE)),
    pay_to_script_hash(hash160(LOCKED)),
    pay_to_witness(0, sha256(WAITING)),
    pay_to_script_hash(hash160(pay_to_witness(0, sha256(LOCKED)))),
    push(PUBLIC[3]) + bytes([Op.CHECKSIG]),
    TWO_OF_THREE,
)


@dataclass
class Ledger:
    """Coins and times in memory (chain.bitcoin.ledger.Coins)."""

    coins: dict[Outpoint, Coin] = field(default_factory=dict)
    times: list[int] = field(default_factory=lambda: [GENESIS_TIME])
    tip: bytes = GENESIS

    @property
    def height(self) -> int:
        return len(self.times) - 1

    def coin(self, outpoint: Outpoint) -> Coin | None:
        return self.coins.get(outpoint)

    def time(self, height: int) -> int:
        return self.times[height]

    def apply(self, transactions: list[Transaction], block: bytes) -> None:
        changes = connect(transactions, self.height + 1, self)
        for outpoint in changes.spent:
            del self.coins[outpoint]
        self.coins |= changes.created
        self.tip = double_sha256(block[:80])
        self.times.append(int.from_bytes(block[68:72], "little"))


def coinbase(height: int, reward: int, script: bytes, root: bytes | None = None) -> Transaction:
    """With BIP 141's commitment to `root` over the wtxids, where there is one."""
    entry = TxIn(
        previous=NULL_ID,
        index=NULL_INDEX,
        script=height_script(height),
        witness=() if root is None else (WITNESS_RESERVED,),
    )
    outputs = [TxOut(value=reward, script=script)]
    if root is not None:
        commitment = double_sha256(root + WITNESS_RESERVED)
        outputs.append(TxOut(value=0, script=b"\x6a" + push(COMMITMENT_MAGIC + commitment)))
    return Transaction(version=2, inputs=(entry,), outputs=tuple(outputs), locktime=0)


def assemble_block(ledger: Ledger, spends: list[Transaction], reward: int, script: bytes) -> bytes:
    """A block on the ledger's tip, ground."""
    return seal(ledger, block_transactions(ledger, spends, reward, script))


def block_transactions(
    ledger: Ledger, spends: list[Transaction], reward: int, script: bytes
) -> list[Transaction]:
    root = bitcoin_merkle_root([NULL_ID, *(spend.wtxid for spend in spends)])
    return [coinbase(ledger.height + 1, reward, script, root), *spends]


def seal(ledger: Ledger, transactions: list[Transaction]) -> bytes:
    """Header with a nonce that satisfies regtest's target, and the transactions."""
    root = bitcoin_merkle_root([transaction.txid for transaction in transactions])
    start = (2**29).to_bytes(4, "little") + ledger.tip + root
    start += (ledger.times[-1] + SPACING_S).to_bytes(4, "little") + BITS.to_bytes(4, "little")
    nonce = 0
    while double_sha256(start + nonce.to_bytes(4, "little"))[31] >= 0x7F:
        nonce += 1
    body = b"".join(transaction.encode() for transaction in transactions)
    return start + nonce.to_bytes(4, "little") + compact_size(len(transactions)) + body


def subsidy(height: int) -> int:
    return SUBSIDY >> (height // HALVING)


def random_spend(ledger: Ledger, rng: random.Random, taken: set[Outpoint]) -> Transaction | None:
    """One to three coins to one to three outputs; now and then too early, too late, or wrong."""
    height = ledger.height + 1
    careful = rng.random() < 0.9
    free = sorted(
        outpoint
        for outpoint, coin in ledger.coins.items()
        if outpoint not in taken
        and not (careful and coin.coinbase and height - coin.height < COINBASE_MATURITY)
    )
    if not free:
        return None
    chosen = rng.sample(free, min(len(free), rng.randint(1, 3)))
    sequence = rng.choice((0xFFFFFFFE, 0xFFFFFFFE, 3, 3, 0xFFFFFFFF, 2, 4, 1 << 22 | 3))
    inputs = [TxIn(previous=p, index=i, script=b"", sequence=sequence) for p, i in chosen]
    value = sum(ledger.coins[outpoint].output.value for outpoint in chosen)
    fee = rng.randint(0, min(value, 10_000))
    shares = rng.randint(1, 3)
    values = [(value - fee) // shares] * shares
    if rng.random() < 0.03:
        values[0] += fee + 1_000
    transaction = Transaction(
        version=rng.choice((1, 2, 2)),
        inputs=tuple(inputs),
        outputs=tuple(TxOut(value=v, script=rng.choice(TEMPLATES)) for v in values),
        locktime=rng.choice((105, 105, height - 1, height - 1, 0, height, GENESIS_TIME)),
    )
    signed = []
    for at, outpoint in enumerate(chosen):
        output = ledger.coins[outpoint].output
        signed.append(sign_input(SignatureHasher(transaction), at, output, RING, rng.choice(KINDS)))
    transaction = replace(transaction, inputs=tuple(signed))
    taken.update(chosen)
    return damage(transaction, rng) if rng.random() < 0.15 else transaction


def damage(transaction: Transaction, rng: random.Random) -> Transaction:
    """One byte of a script or a witness changed."""
    at = rng.randrange(len(transaction.inputs))
    entry = transaction.inputs[at]

    def flipped(data: bytes) -> bytes:
        if not data:
            return b"\x01"
        where = rng.randrange(len(data))
        return data[:where] + bytes([data[where] ^ 1 << rng.randrange(8)]) + data[where + 1 :]

    if entry.witness and (not entry.script or rng.random() < 0.7):
        which = rng.randrange(len(entry.witness))
        items = list(entry.witness)
        items[which] = flipped(items[which])
        entry = replace(entry, witness=tuple(items))
    else:
        entry = replace(entry, script=flipped(entry.script))
    inputs = (*transaction.inputs[:at], entry, *transaction.inputs[at + 1 :])
    return replace(transaction, inputs=inputs)


def judge(ledger: Ledger, transactions: list[Transaction]) -> Connected | str:
    """What our rules say: the changes, or the reason."""
    try:
        changes = connect(transactions, ledger.height + 1, ledger)
    except Refused as error:
        return error.code
    paid = sum(output.value for output in transactions[0].outputs)
    return changes if paid <= subsidy(ledger.height + 1) + changes.fees else "reward-too-high"
