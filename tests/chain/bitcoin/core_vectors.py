"""Bitcoin Core's test data as our types."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from chain.bitcoin.flags import Flag
from chain.bitcoin.opcodes import Op
from chain.bitcoin.script import encode_number, literal_push, push
from chain.records.transaction import Transaction, TxIn, TxOut

VECTORS = Path(__file__).parents[2] / "vectors" / "bitcoin-core"

_SPELLED = {
    "NEGATE_1": "1NEGATE",
    "DROP_2": "2DROP",
    "DUP_2": "2DUP",
    "DUP_3": "3DUP",
    "OVER_2": "2OVER",
    "ROT_2": "2ROT",
    "SWAP_2": "2SWAP",
    "ADD_1": "1ADD",
    "SUB_1": "1SUB",
    "MUL_2": "2MUL",
    "DIV_2": "2DIV",
    "NOTEQUAL_0": "0NOTEQUAL",
}
_WORDS = {
    _SPELLED.get(op.name, op.name): op.value for op in Op if op >= Op.NOP or op == Op.RESERVED
}
_WORDS |= {f"NOP{n}": Op.NOP1 + n - 1 for n in range(1, 11)}


@cache
def load(name: str) -> list[Any]:
    """One file's entries without its comments."""
    entries: list[Any] = json.loads((VECTORS / name).read_text())
    return [entry for entry in entries if not isinstance(entry, list) or len(entry) > 1]


def assemble(text: str) -> bytes:
    """A script in the notation of Core's tests (test/util/script... `ParseScript`)."""
    parts = []
    for word in text.split():
        if word.lstrip("-").isdecimal():
            value = int(word)
            small = value == -1 or 0 <= value <= 16
            number = encode_number(value)
            parts.append(push(number) if small else literal_push(number))
        elif word.startswith("0x"):
            parts.append(bytes.fromhex(word[2:]))
        elif word.startswith("'"):
            parts.append(literal_push(word[1:-1].encode()))
        else:
            parts.append(bytes([_WORDS[word.removeprefix("OP_")]]))
    return b"".join(parts)


def flags(text: str) -> Flag:
    """Comma-separated names."""
    found = Flag(0)
    for name in text.split(","):
        if name not in ("", "NONE"):
            found |= Flag[name]
    return found


def spending(
    script: bytes, witness: tuple[bytes, ...], spent: bytes, value: int
) -> tuple[Transaction, TxOut]:
    """The two transactions around which script_tests.json is written."""
    output = TxOut(value=value, script=spent)
    start = TxIn(previous=bytes(32), index=0xFFFFFFFF, script=b"\0\0")
    credit = Transaction(version=1, inputs=(start,), outputs=(output,), locktime=0)
    entry = TxIn(previous=credit.txid, index=0, script=script, witness=witness)
    out = TxOut(value=value, script=b"")
    return Transaction(version=1, inputs=(entry,), outputs=(out,), locktime=0), output
