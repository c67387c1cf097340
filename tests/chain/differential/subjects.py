"""What is compared: each subject makes one random input and asks everybody about it."""

from collections.abc import Callable
from random import Random
from typing import Any

from btclib.b58 import prv_key_data_from_wif
from btclib.block.partial_merkle_tree import PartialMerkleTree
from btclib.exceptions import BTClibException
from btclib.hashes import hash256, merkle_root_and_mutated_from_hashes
from btclib.script.script_pub_key import ScriptPubKey
from btclib.script.sig_hash import legacy, segwit_v0
from btclib.tx.tx import Tx

from bft.errors import DecodeError, Refused
from chain.bitcoin.address import (
    BITCOIN,
    REGTEST,
    TESTNET,
    decode_address,
    decode_secret,
    encode_address,
    encode_secret,
)
from chain.bitcoin.flags import Flag
from chain.bitcoin.merkle_block import decode_merkle_block, encode_merkle_block
from chain.bitcoin.script import pay_to_key_hash, pay_to_script_hash, pay_to_witness
from chain.bitcoin.sighash import SignatureHasher
from chain.bitcoin.verify import verify_input
from chain.records.block import BlockHeader, decode_header
from chain.records.transaction import (
    Transaction,
    TxOut,
    bitcoin_merkle_root,
    decode_transaction,
)
from tests.chain.bitcoin.core_vectors import assemble, flags, load, spending
from tests.chain.bitcoin.regtest import damage
from tests.chain.differential.borders import border_spend
from tests.chain.differential.material import (
    edited,
    random_flags,
    random_script,
    random_transaction,
    rewritten,
    signed_spend,
)
from tests.chain.differential.oracle import (
    CONSENSUS,
    Difference,
    btclib_transaction,
    btclib_verdict,
    kernel_takes,
    kernel_transaction,
    pbk,
)

OURS_ALONE = (
    "at most",  # our bounds of lists, scripts and witness items, all above what nodes pass on
    "at least one input and one output",  # Core's parser takes none; its rules then refuse it
    "has no inputs, or an unknown witness flag",
    "bytes too many",  # Core's parser leaves what follows a transaction alone
)
"""What we refuse and an oracle's parser does not; everything else must be refused by all."""
NETWORKS = (BITCOIN, TESTNET, REGTEST)
_RULES = Flag(0)
for _name in CONSENSUS:
    _RULES |= Flag[_name]
_ENTRIES = [
    entry
    for entry in load("script_tests.json")
    if not (isinstance(entry[0], list) and any("#" in str(item) for item in entry[0]))
]
_RAW = [bytes.fromhex(entry[1]) for entry in load("tx_valid.json") if len(entry) == 3]


def transactions(rng: Random) -> None:
    """Bytes that are a transaction for one are the same transaction for all."""
    data = random_transaction(rng).encode() if rng.random() < 0.7 else rng.choice(_RAW)
    if rng.random() < 0.8:
        data = edited(rng, data, rng.choice(_RAW))
    core, other = kernel_transaction(data), btclib_transaction(data)
    try:
        found = decode_transaction(data)
    except DecodeError as error:
        if core is not None and not any(text in str(error) for text in OURS_ALONE):
            raise Difference(f"Core takes {data.hex()}; we say: {error}") from None
        return
    if found.encode() != data:
        raise Difference(f"{data.hex()} is encoded otherwise by us")
    if core != found.txid:
        raise Difference(f"{data.hex()}: id {found.txid.hex()}; Core says {core!r}")
    if other is not None and (other.id[::-1], other.hash[::-1]) != (found.txid, _plain_hash(found)):
        raise Difference(f"{data.hex()}: btclib says {other.id.hex()} {other.hash.hex()}")


def _plain_hash(transaction: Transaction) -> bytes:
    """The hash of all bytes, also for a coinbase."""
    return kernel_hash(transaction.encode())


def kernel_hash(data: bytes) -> bytes:
    """Double SHA-256 by the standard library alone."""
    from hashlib import sha256

    return sha256(sha256(data).digest()).digest()


def verdict(transaction: Transaction, index: int, spent: TxOut, rules: Flag) -> str:
    """Ours: "OK" or the error's code."""
    try:
        verify_input(SignatureHasher(transaction), index, spent, rules)
    except Refused as error:
        return error.code
    return "OK"


def _compare(transaction: Transaction, spent: list[TxOut], rules: Flag) -> None:
    data = transaction.encode()
    outputs = [(each.script, each.value) for each in spent]
    for index, (script, value) in enumerate(outputs):
        told = f"input {index} of {data.hex()} spends {script.hex()} ({value})"
        consensus = rules & _RULES
        ours = verdict(transaction, index, spent[index], consensus)
        core = kernel_takes(data, index, script, value, consensus)
        if (ours == "OK") != core:
            raise Difference(f"{told} under {consensus!r}: we say {ours}, Core says {core}")
        ours = verdict(transaction, index, spent[index], rules)
        theirs = btclib_verdict(data, index, outputs, rules)
        if ours != theirs:
            raise Difference(f"{told} under {rules!r}: we say {ours}, btclib says {theirs}")


def scripts(rng: Random) -> None:
    """Core's script tests, edited; and programs of random operations."""
    entry = rng.choice(_ENTRIES)
    witness: tuple[bytes, ...] = ()
    value = 0
    if isinstance(entry[0], list):
        *items, amount = entry[0]
        witness, value = tuple(map(bytes.fromhex, items)), round(amount * 10**8)
        entry = entry[1:]
    script, spent, rules = assemble(entry[0]), assemble(entry[1]), flags(entry[2])
    choice = rng.random()
    if choice < 0.3:
        script = edited(rng, script, spent)
    elif choice < 0.6:
        spent = edited(rng, spent, script)
    elif choice < 0.75 and witness:
        at = rng.randrange(len(witness))
        witness = (*witness[:at], edited(rng, witness[at], spent), *witness[at + 1 :])
    else:
        script, spent = random_script(rng), random_script(rng)
    if rng.random() < 0.5 or not _is_possible(rules):
        rules = random_flags(rng)
    transaction, output = spending(script, witness, spent, value)
    _compare(transaction, [output], rules)


def _is_possible(rules: Flag) -> bool:
    """Core asserts these combinations."""
    needs_p2sh = rules & (Flag.WITNESS | Flag.CLEANSTACK)
    return not needs_p2sh or bool(rules & Flag.P2SH and rules & Flag.WITNESS)


def spends(rng: Random) -> None:
    """Signed spends of all templates, some of them damaged."""
    transaction, spent = signed_spend(rng)
    if rng.random() < 0.4:
        transaction = rewritten(rng, transaction)
    elif rng.random() < 0.5:
        transaction = damage(transaction, rng)
    _compare(transaction, spent, random_flags(rng) if rng.random() < 0.5 else _RULES)


def borders(rng: Random) -> None:
    """Times, sequences, numbers, pushes, branches and programs, just inside and just outside."""
    transaction, spent = border_spend(rng)
    rules = random_flags(rng)
    _compare(transaction, spent, rules if _is_possible(rules) else _RULES)


def digests(rng: Random) -> None:
    """What a signature signs."""
    transaction = random_transaction(rng)
    theirs = Tx.parse(transaction.encode(), check_validity=False)
    hasher = SignatureHasher(transaction)
    for _ in range(4):
        index = rng.randrange(len(transaction.inputs))
        code = random_script(rng)
        kind = rng.choice((0, 1, 2, 3, 0x81, 0x82, 0x83, rng.randrange(256)))
        value = rng.randrange(21 * 10**14)
        told = f"kind {kind} of input {index} of {transaction.encode().hex()}, {code.hex()}"
        if hasher.legacy(index, code, kind) != legacy(code, theirs, index, kind):
            raise Difference(f"legacy digest: {told}")
        if hasher.witness(index, code, value, kind) != segwit_v0(code, theirs, index, kind, value):
            raise Difference(f"witness digest: {told}, {value}")


def addresses(rng: Random) -> None:
    """An address of Bitcoin's networks stands for one script, or for none, everywhere."""
    network = rng.choice(NETWORKS)
    program = rng.randbytes(rng.choice((2, 20, 20, 32, 32, 40)))
    script = rng.choice(
        (
            pay_to_key_hash(rng.randbytes(20)),
            pay_to_script_hash(rng.randbytes(20)),
            pay_to_witness(rng.choice((0, 0, 1, 2, 16)), program),
        )
    )
    text = encode_address(script, network) or "bc1"
    if rng.random() < 0.7:
        text = _mistyped(rng, text)
    ours = {_or_none(lambda n=each: decode_address(text, n)) for each in NETWORKS} - {None}
    try:
        theirs = {ScriptPubKey.from_address(text).script}
    except (BTClibException, ValueError):
        theirs = set()
    if ours != theirs:
        raise Difference(f"address {text!r}: we say {ours}, btclib says {theirs}")
    _secrets(rng)


def _secrets(rng: Random) -> None:
    network = rng.choice((BITCOIN, TESTNET))
    secret = (1 + rng.randrange(2**255)).to_bytes(32, "big")
    text = encode_secret(secret, network, compressed=rng.random() < 0.5)
    if rng.random() < 0.7:
        text = _mistyped(rng, text)
    ours = {_or_none(lambda n=each: decode_secret(text, n)) for each in (BITCOIN, TESTNET)} - {None}
    try:
        key = prv_key_data_from_wif(text)
        theirs = {(key.q.to_bytes(32, "big"), key.compressed)}
    except (BTClibException, ValueError):
        theirs = set()
    if ours != theirs:
        raise Difference(f"secret {text!r}: we say {ours}, btclib says {theirs}")


def _or_none(act: Callable[[], Any]) -> Any:
    try:
        return act()
    except DecodeError:
        return None


def _mistyped(rng: Random, text: str) -> str:
    at = rng.randrange(len(text))
    letter = rng.choice("qpzry9x8gf2tvdw0s3jn54khce6mua7lBCDEFGHJKLMNPQRSTUVWXYZb1io")
    match rng.randrange(4):
        case 0:
            return text[:at] + letter + text[at + 1 :]
        case 1:
            return text[:at] + letter + text[at:]
        case 2:
            return text[:at] + text[at + 1 :]
        case _:
            return text.swapcase() if rng.random() < 0.5 else text[:at] + text[at:].swapcase()


def headers(rng: Random) -> None:
    """Header hashes, Merkle roots, proofs of inclusion."""
    ids = [rng.randbytes(32) for _ in range(rng.randint(1, 40))]
    if rng.random() < 0.2:
        ids.append(ids[-1])
    root, mutated = merkle_root_and_mutated_from_hashes(ids, hash256)
    ours = _or_none(lambda: bitcoin_merkle_root(ids))
    if ours != (None if mutated else root):
        shown = [each.hex() for each in ids]
        raise Difference(f"root of {shown}: {ours!r}, {root.hex()} {mutated}")
    if ours is None:
        return
    header = BlockHeader(
        version=rng.getrandbits(32),
        previous=rng.randbytes(32),
        merkle_root=ours,
        time=rng.getrandbits(32),
        bits=rng.getrandbits(32),
        nonce=rng.getrandbits(32),
    )
    data = header.encode()
    if decode_header(data).hash != bytes(pbk.BlockHeader(data).block_hash):
        raise Difference(f"hash of header {data.hex()}")
    wanted = set(rng.sample(ids, rng.randint(0, min(4, len(ids)))))
    proof = encode_merkle_block(data, ids, wanted)
    if rng.random() < 0.6:
        more = rng.choice((b"", b"", b"\0", b"\1", rng.randbytes(32)))
        count = proof[84]  # of hashes, below 0xfd here
        longer = bytes([count + 1]) + proof[85 : 85 + 32 * count] + rng.randbytes(32)
        flag_bytes = proof[85 + 32 * count :]
        longer_flags = bytes([flag_bytes[0] + 1]) + flag_bytes[1:] + rng.choice((b"\0", b"\1"))
        proof = rng.choice(
            (
                data + edited(rng, proof[80:]),
                proof + more,
                proof[:84] + longer + flag_bytes,
                proof[: 85 + 32 * count] + longer_flags,
            )
        )
    _compare_proofs(data, proof)


def _compare_proofs(header: bytes, proof: bytes) -> None:
    refused = "?"
    try:
        found = decode_merkle_block(proof)
        ours = found.header.merkle_root, {txid for _, txid in found.matched}
    except DecodeError as error:
        ours, refused = None, str(error)
    try:
        tree = PartialMerkleTree.parse(proof[80:])
        root = tree.merkle_root[::-1]
        theirs = (root, {each[::-1] for _, each in tree.matches})
        if root != header[36:68]:
            theirs = None
    except (BTClibException, ValueError):
        theirs = None
    stricter = "last bits are not zero" in refused or "1 to" in refused
    if ours != theirs and not (ours is None and stricter):
        raise Difference(f"proof {proof.hex()}: we say {ours} ({refused}), btclib says {theirs}")


SUBJECTS: dict[str, Callable[[Random], None]] = {
    "transactions": transactions,
    "scripts": scripts,
    "spends": spends,
    "borders": borders,
    "digests": digests,
    "addresses": addresses,
    "headers": headers,
}
