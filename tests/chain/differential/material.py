"""Random material that is nearly right: what is plainly wrong is refused for the first reason."""

from dataclasses import replace
from random import Random

from chain.bitcoin.flags import Flag
from chain.bitcoin.opcodes import Op
from chain.bitcoin.script import encode_number, literal_push, operations, push
from chain.bitcoin.sighash import SignatureHasher
from chain.bitcoin.signing import sign_input
from chain.records.transaction import Transaction, TxIn, TxOut
from tests.chain.bitcoin.regtest import KINDS, PUBLIC, RING, TEMPLATES
from tests.chain.differential.oracle import CONSENSUS

SCRIPT_MAX, ITEMS_MAX, EDITS_MAX = 60, 4, 3
POLICY = (
    *("STRICTENC", "LOW_S", "SIGPUSHONLY", "MINIMALDATA", "DISCOURAGE_UPGRADABLE_NOPS"),
    *("DISCOURAGE_UPGRADABLE_WITNESS_PROGRAM", "MINIMALIF", "NULLFAIL", "WITNESS_PUBKEYTYPE"),
    "CONST_SCRIPTCODE",
)
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141  # of secp256k1


def edited(rng: Random, data: bytes, other: bytes = b"") -> bytes:
    """`data` with up to EDITS_MAX bytes changed, cut out, doubled, or taken from `other`."""
    found = bytearray(data)
    for _ in range(rng.randint(1, EDITS_MAX)):
        at = rng.randint(0, len(found))
        match rng.randrange(6):
            case 0 if at < len(found):
                found[at] ^= 1 << rng.randrange(8)
            case 1:
                found[at:at] = rng.randbytes(rng.randint(1, 3))
            case 2:
                del found[at : at + rng.randint(1, 4)]
            case 3 if at < len(found):  # as a length in a longer form
                found[at : at + 1] = bytes([0xFD, found[at], 0])
            case 4:
                found[at:at] = found[at : at + rng.randint(1, 40)]
            case _:
                begin = rng.randint(0, len(other))
                found[at : at + rng.randint(0, 8)] = other[begin : begin + rng.randint(1, 40)]
    return bytes(found)


def rewritten(rng: Random, transaction: Transaction) -> Transaction:
    """One signature, if the input chosen has any, with the other s, padded, or of another kind."""
    at = rng.randrange(len(transaction.inputs))
    entry = transaction.inputs[at]
    change = rng.choice((_other_s, _padded, lambda der: der[:-1] + rng.randbytes(1)))
    if entry.witness:
        items = list(entry.witness)
        which = rng.randrange(len(items))
        items[which] = change(items[which]) if _is_signature(items[which]) else items[which]
        entry = replace(entry, witness=tuple(items))
    else:
        items = [part.data or b"" for part in operations(entry.script)]
        which = rng.randrange(len(items)) if items else 0
        if items and _is_signature(items[which]):
            items[which] = change(items[which])
            entry = replace(entry, script=b"".join(push(item) for item in items))
    inputs = (*transaction.inputs[:at], entry, *transaction.inputs[at + 1 :])
    return replace(transaction, inputs=inputs)


def _is_signature(item: bytes) -> bool:
    return len(item) > 60 and item[0] == 0x30 and item[1] == len(item) - 3


def _integers(der: bytes) -> tuple[bytes, bytes]:
    size = der[3]
    return der[4 : 4 + size], der[6 + size : -1]


def _joined(r: bytes, s: bytes, kind: bytes) -> bytes:
    body = b"".join(bytes([2, len(part)]) + part for part in (r, s))
    return bytes([0x30, len(body)]) + body + kind


def _other_s(der: bytes) -> bytes:
    r, s = _integers(der)
    other = (ORDER - int.from_bytes(s, "big")).to_bytes(33, "big").lstrip(b"\0")
    return _joined(r, b"\0" * (other[0] >> 7) + other, der[-1:])


def _padded(der: bytes) -> bytes:
    r, s = _integers(der)
    return _joined(b"\0" + r, s, der[-1:])


def random_script(rng: Random) -> bytes:
    """Pushes and operations at random, more of them those that find something on the stack."""
    parts: list[bytes] = []
    for _ in range(rng.randint(0, 12)):
        choice = rng.random()
        if choice < 0.35:
            parts.append(push(encode_number(rng.choice((-1, 0, 1, 2, 3, 16, 17, 127, 128, 255)))))
        elif choice < 0.45:
            parts.append(literal_push(rng.randbytes(rng.choice((0, 1, 2, 4, 5, 33, 76)))))
        elif choice < 0.5:
            parts.append(push(rng.choice(PUBLIC)))
        elif choice < 0.95:
            parts.append(bytes([rng.choice(list(Op))]))
        else:
            parts.append(bytes([rng.randrange(256)]))
    return b"".join(parts)


def random_flags(rng: Random) -> Flag:
    """Rules in a combination that Core allows: WITNESS with P2SH, CLEANSTACK with both."""
    chosen = {name for name in (*CONSENSUS, *POLICY) if rng.random() < 0.5}
    if "WITNESS" in chosen:
        chosen.add("P2SH")
        if rng.random() < 0.3:
            chosen.add("CLEANSTACK")
    found = Flag(0)
    for name in chosen:
        found |= Flag[name]
    return found


def random_transaction(rng: Random) -> Transaction:
    """One to four inputs with scripts and witnesses, one to four outputs."""

    def some_bytes() -> bytes:
        return rng.randbytes(rng.randint(0, SCRIPT_MAX))

    def witness() -> tuple[bytes, ...]:
        return tuple(some_bytes() for _ in range(rng.randint(0, 3))) if rng.random() < 0.5 else ()

    inputs = tuple(
        TxIn(
            previous=rng.randbytes(32),
            index=rng.choice((0, 1, 2**32 - 1, rng.getrandbits(32))),
            script=some_bytes(),
            sequence=rng.choice((0, 2**32 - 1, rng.getrandbits(32))),
            witness=witness(),
        )
        for _ in range(rng.randint(1, ITEMS_MAX))
    )
    outputs = tuple(
        TxOut(value=rng.choice((0, 1, rng.randrange(21 * 10**14))), script=some_bytes())
        for _ in range(rng.randint(1, ITEMS_MAX))
    )
    return Transaction(
        version=rng.choice((0, 1, 2, rng.getrandbits(32))),
        inputs=inputs,
        outputs=outputs,
        locktime=rng.choice((0, 105, rng.getrandbits(32))),
    )


def signed_spend(rng: Random) -> tuple[Transaction, list[TxOut]]:
    """A transaction that spends templates with signatures that stand, and what it spends."""
    draft = random_transaction(rng)
    spent = [
        TxOut(value=rng.randrange(21 * 10**14), script=rng.choice(TEMPLATES)) for _ in draft.inputs
    ]
    sequences = (0xFFFFFFFE, 0xFFFFFFFF, 3, 2, 1 << 22 | 3)
    unsigned = replace(
        draft,
        version=rng.choice((1, 2)),
        locktime=rng.choice((0, 104, 105, 500_000_000)),
        inputs=tuple(
            replace(entry, script=b"", witness=(), sequence=rng.choice(sequences))
            for entry in draft.inputs
        ),
    )
    hasher = SignatureHasher(unsigned)
    inputs = tuple(
        sign_input(hasher, at, output, RING, rng.choice(KINDS)) for at, output in enumerate(spent)
    )
    return replace(unsigned, inputs=inputs), spent
