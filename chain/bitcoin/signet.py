"""Block signatures of Bitcoin's signet: k of n replicas' ECDSA signatures over one block.

A stock Bitcoin Core whose signet challenge is the federation's keys takes a block with such a
solution, and no other.  The solution stands in the coinbase, as a further push of the witness
commitment's output; it signs version, parent, time and the Merkle root with its own slot emptied,
so certificate and winner's signature are under it.  Bits and nonce are not: work is done after.
Source: BIP 325; Bitcoin Core, signet.cpp (`SignetTxs::Create`, `CheckSignetBlockSolution`).
Pure.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from coincurve.ecdsa import cdata_to_der, deserialize_compact

from bft.crypto.hashing import double_sha256, sha256
from bft.errors import DecodeError, Refused
from chain.bitcoin.flags import Flag
from chain.bitcoin.opcodes import Op
from chain.bitcoin.script import PUBLIC_KEYS_MAX, TruncatedPush, operations
from chain.bitcoin.script import push as push_minimal
from chain.bitcoin.sighash import ALL, SignatureHasher
from chain.bitcoin.verify import verify_input
from chain.records.block import BlockHeader
from chain.records.coinbase import (
    COMMITMENT_MAGIC,
    SOLUTION_BYTES_MAX,
    SOLUTION_MAGIC,
    push,
    pushes,
)
from chain.records.profile import SIGNET
from chain.records.serialization import Reader, blob, compact_size
from chain.records.transaction import (
    NULL_ID,
    NULL_INDEX,
    WITNESS_ITEM_BYTES_MAX,
    WITNESS_ITEMS_MAX,
    Transaction,
    TxIn,
    TxOut,
    climb,
)

BITS, TARGET = SIGNET.bits, SIGNET.target
SIGNATURE_BYTES_MAX = 73  # DER with its kind of hash
FLAGS = Flag.P2SH | Flag.WITNESS | Flag.DERSIG | Flag.NULLDUMMY  # no Taproot: BIP 325
SMALL_NUMBER_MAX = 16  # has an opcode of its own
_OP_RETURN, _OP_0 = b"\x6a", b"\x00"


def challenge_of(keys: Sequence[bytes], required: int) -> bytes:
    """The script that signs blocks: `required` of `keys` (33 bytes each), bare CHECKMULTISIG.

    The challenge is the network: other members are another signet.
    """
    assert 1 <= required <= len(keys) <= PUBLIC_KEYS_MAX
    assert required <= SMALL_NUMBER_MAX
    count = push_minimal(bytes([len(keys)]))
    listed = b"".join(map(push_minimal, keys))
    return push_minimal(bytes([required])) + listed + count + bytes([Op.CHECKMULTISIG])


def message_start(challenge: bytes) -> bytes:
    """4 bytes in front of every P2P message of the challenge's signet."""
    return double_sha256(blob(challenge))[:4]


def split_coinbase(coinbase: Transaction) -> tuple[Transaction, bytes | None]:
    """(the coinbase with its slot emptied, the solution in it; None: there is none).

    Raises:
        DecodeError: no output commits to witnesses, or its pushes are not in their shortest form.
    """
    at = _commitment_at(coinbase)
    found = pushes(coinbase.outputs[at].script)
    slots = [place for place, slot in enumerate(found) if slot[:4] == SOLUTION_MAGIC]
    if not slots:
        return coinbase, None
    emptied = [*found]
    emptied[slots[0]] = SOLUTION_MAGIC
    return _with_pushes(coinbase, at, emptied), found[slots[0]][4:]


def with_solution(coinbase: Transaction, solution: bytes) -> Transaction:
    """The coinbase with a solution in its slot; empty bytes open the slot for signing.

    Raises:
        DecodeError: as `split_coinbase`, or too long a solution.
    """
    if len(solution) > SOLUTION_BYTES_MAX:
        raise DecodeError(f"a solution of {len(solution)} bytes; at most {SOLUTION_BYTES_MAX}")
    at = _commitment_at(coinbase)
    kept = [slot for slot in pushes(coinbase.outputs[at].script) if slot[:4] != SOLUTION_MAGIC]
    return _with_pushes(coinbase, at, [*kept, SOLUTION_MAGIC + solution])


def _commitment_at(coinbase: Transaction) -> int:
    """The last output with BIP 141's commitment, the one that counts."""
    head = _OP_RETURN + bytes([36]) + COMMITMENT_MAGIC
    for at in range(len(coinbase.outputs) - 1, -1, -1):
        script = coinbase.outputs[at].script
        if script.startswith(head) and len(script) >= 38:
            return at
    raise DecodeError("the coinbase has no witness commitment")


def _with_pushes(coinbase: Transaction, at: int, slots: Sequence[bytes]) -> Transaction:
    script = _OP_RETURN + b"".join(push(slot) for slot in slots)
    outputs = [*coinbase.outputs]
    outputs[at] = replace(outputs[at], script=script)
    return replace(coinbase, outputs=tuple(outputs))


def _virtual(
    header: BlockHeader, emptied: Transaction, branch: Sequence[bytes], challenge: bytes
) -> tuple[Transaction, TxOut]:
    """(`to_sign` without its solution, the output of `to_spend` that it spends)."""
    root = climb(emptied.txid, branch)
    data = header.version.to_bytes(4, "little") + header.previous + root
    data += header.time.to_bytes(4, "little")
    entry = TxIn(previous=NULL_ID, index=NULL_INDEX, script=_OP_0 + push(data), sequence=0)
    spent = TxOut(value=0, script=challenge)
    to_spend = Transaction(version=0, inputs=(entry,), outputs=(spent,), locktime=0)
    spending = TxIn(previous=to_spend.txid, index=0, script=b"", sequence=0)
    nothing = TxOut(value=0, script=_OP_RETURN)
    to_sign = Transaction(version=0, inputs=(spending,), outputs=(nothing,), locktime=0)
    return to_sign, spent


def digest(
    header: BlockHeader, coinbase: Transaction, branch: Sequence[bytes], challenge: bytes
) -> bytes:
    """32 bytes that a solution's ECDSA signatures are over.

    Args:
        coinbase: with its slot open (`with_solution`) or filled; that makes no difference.
        branch: from the coinbase's id up to the Merkle root.

    Raises:
        DecodeError: as `split_coinbase`; or there is no slot.
    """
    return sha256(message(header, coinbase, branch, challenge))


def message(
    header: BlockHeader, coinbase: Transaction, branch: Sequence[bytes], challenge: bytes
) -> bytes:
    """32 bytes that a replica signs with its identity key, whose signatures are over a SHA-256.

    Args and Raises: as `digest`, which is their SHA-256.
    """
    emptied, found = split_coinbase(coinbase)
    if found is None:
        raise DecodeError("the coinbase has no slot for a solution")
    to_sign, _ = _virtual(header, emptied, branch, challenge)
    return SignatureHasher(to_sign).legacy_once(0, challenge, ALL)


def der_of(signature: bytes) -> bytes:
    """An identity's signature (64 bytes) as it stands in scripts, without its kind of hash."""
    return bytes(cdata_to_der(deserialize_compact(signature)))


def solution_of(challenge: bytes, signatures: Mapping[bytes, bytes]) -> bytes:
    """The solution of a challenge by `challenge_of`.

    Args:
        signatures: DER without kind of hash, by public key (33 bytes); more than enough is fine.

    Raises:
        Refused: "not-enough-signatures".
    """
    parts = list(operations(challenge))
    required = required_of(challenge)
    keys = [part.data or b"" for part in parts[1:-2]]
    there = [signatures[key] + bytes([ALL]) for key in keys if key in signatures][:required]
    if len(there) < required:
        raise Refused("not-enough-signatures", f"{len(there)} of {required} signatures are here")
    script = _OP_0 + b"".join(map(push_minimal, there))
    return blob(script) + compact_size(0)


def required_of(challenge: bytes) -> int:
    """How many signatures a challenge by `challenge_of` wants."""
    return challenge[0] - (Op.PUSH_1 - 1)


def check_form(solution: bytes, challenge: bytes) -> None:
    """Returns if a solution has the form that `solution_of` gives; its signatures are not checked.

    Raises:
        DecodeError: malformed; Refused: "solution", another form.
    """
    script, witness = read_solution(solution)
    try:
        parts = list(operations(script))
    except TruncatedPush as error:
        raise DecodeError(f"a solution whose script breaks off: {error}") from None
    pushed = [part.data or b"" for part in parts[1:]]
    shape = _OP_0 + b"".join(map(push_minimal, pushed))
    fits = all(1 < len(data) <= SIGNATURE_BYTES_MAX for data in pushed)
    if witness or shape != script or not fits or len(pushed) != required_of(challenge):
        raise Refused(
            "solution",
            f"a solution is OP_0 and {required_of(challenge)} signatures, and has no witness",
        )


def read_solution(solution: bytes) -> tuple[bytes, tuple[bytes, ...]]:
    """(script, witness).  Raises DecodeError: malformed."""
    reader = Reader(solution)
    script = reader.blob(SOLUTION_BYTES_MAX)
    count = reader.count(item_bytes_min=1, items_max=WITNESS_ITEMS_MAX)
    witness = tuple(reader.blob(WITNESS_ITEM_BYTES_MAX) for _ in range(count))
    reader.end()
    return script, witness


def solved(
    header: BlockHeader, coinbase: Transaction, branch: Sequence[bytes], challenge: bytes
) -> tuple[Transaction, TxOut]:
    """(`to_sign` with the solution of the coinbase, what it spends), for any script engine.

    A coinbase without a slot has an empty solution, which a challenge of OP_TRUE takes.

    Raises:
        DecodeError: as `split_coinbase` and `read_solution`.
    """
    emptied, found = split_coinbase(coinbase)
    to_sign, spent = _virtual(header, emptied, branch, challenge)
    script, witness = (b"", ()) if found is None else read_solution(found)
    entry = replace(to_sign.inputs[0], script=script, witness=witness)
    return replace(to_sign, inputs=(entry,)), spent


def verify_solution(
    header: BlockHeader, coinbase: Transaction, branch: Sequence[bytes], challenge: bytes
) -> None:
    """Returns if a block's solution satisfies the challenge.

    Raises:
        DecodeError: malformed; Refused: it does not, with the script engine's code.
    """
    to_sign, spent = solved(header, coinbase, branch, challenge)
    verify_input(SignatureHasher(to_sign), 0, spent, FLAGS)
