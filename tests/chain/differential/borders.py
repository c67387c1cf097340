"""Spends at the borders of rules: times, sequences, numbers, pushes, branches, witness programs."""

from dataclasses import replace
from random import Random

from bft.crypto.hashing import sha256
from chain.bitcoin.opcodes import Op
from chain.bitcoin.script import encode_number, literal_push, pay_to_witness
from chain.records.transaction import Transaction, TxIn, TxOut
from tests.chain.differential.material import random_transaction

NUMBERS = (
    *(-1, 0, 1, 0xFFFF, 0x10000, 1 << 22, (1 << 22) | 1),  # BIP 68's flag and mask
    *(499_999_999, 500_000_000, 500_000_001),  # from here on a time
    *(2**31 - 1, 2**31, 2**31 | 5, 2**32 - 1, 2**32, -(2**31)),
    *(2**39 - 1, 2**39, -(2**39)),  # five bytes and six
)
PUSHES = (0, 1, 75, 76, 77, 255, 256, 519, 520, 521)  # bytes
CONDITIONS = (b"", b"\x01", b"\x02", b"\x00", b"\x80", b"\x01\x00")
PROGRAMS = (1, 2, 3, 19, 20, 21, 31, 33, 39, 40, 41)  # bytes; 32 in version 1 is Taproot
VERSIONS = (0x00, 0x51, 0x52, 0x60)  # opcodes of witness versions 0, 1, 2, 16
U32_MAX = 2**32 - 1


def border_spend(rng: Random) -> tuple[Transaction, list[TxOut]]:
    """A transaction without signatures, and what its inputs spend."""
    moment = abs(rng.choice(NUMBERS)) & U32_MAX
    near = (moment, max(moment - 1, 0), min(moment + 1, U32_MAX))
    sequences = (*near[:2], U32_MAX, U32_MAX - 1, 2**31)
    made = random_transaction(rng)
    found = [_spend(rng, replace(each, sequence=rng.choice(sequences))) for each in made.inputs]
    transaction = replace(
        made,
        version=rng.choice((0, 1, 2, 2**31, U32_MAX)),
        locktime=rng.choice(near),
        inputs=tuple(each for each, _ in found),
    )
    return transaction, [spent for _, spent in found]


def _spend(rng: Random, each: TxIn) -> tuple[TxIn, TxOut]:
    code, arguments = _program(rng)
    match rng.randrange(3):
        case 0:
            script = b"".join(map(literal_push, arguments))
            return replace(each, script=script, witness=()), TxOut(value=5, script=code)
        case 1:
            spent = TxOut(value=5, script=pay_to_witness(0, sha256(code)))
            return replace(each, script=b"", witness=(*arguments, code)), spent
        case _:
            program = bytes([1]) * rng.choice(PROGRAMS)
            script = bytes([rng.choice(VERSIONS), len(program)]) + program
            witness = rng.choice(((), (b"x",)))
            return replace(each, script=b"", witness=witness), TxOut(value=5, script=script)


def _program(rng: Random) -> tuple[bytes, list[bytes]]:
    """(a script, what it takes from the stack)."""
    true = bytes([Op.DROP, Op.PUSH_1])
    match rng.randrange(4):
        case 0:
            return literal_push(bytes(rng.choice(PUSHES))) + true, []
        case 1:
            code = bytes([Op.IF, Op.PUSH_1, Op.ELSE, Op.PUSH_1, Op.ENDIF])
            return code, [rng.choice(CONDITIONS)]
        case _:
            number = encode_number(rng.choice(NUMBERS)) + rng.choice((b"", b"", b"", b"\x00"))
            check = rng.choice((Op.CHECKLOCKTIMEVERIFY, Op.CHECKSEQUENCEVERIFY))
            return literal_push(number) + bytes([check]) + true, []
