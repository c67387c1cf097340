"""Scripts and transactions as people and Bitcoin Core's tools read them.

Source: Bitcoin Core, core_write.cpp and script/solver.cpp; field names are its RPC's.
Pure.
"""

from decimal import Decimal
from typing import Any

from bft.crypto.hashing import double_sha256
from bft.errors import ConfigError, DecodeError
from chain.bitcoin.address import AddressFormat, encode_address
from chain.bitcoin.ledger import MONEY_MAX, weight
from chain.bitcoin.opcodes import Op
from chain.bitcoin.script import (
    Operation,
    decode_number,
    is_key_hash,
    is_push_only,
    is_script_hash,
    operations,
    witness_program,
)
from chain.records.transaction import Transaction, TxIn

DECIMALS = 8  # of a coin
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
OPCODE_NAMES = {
    **{op.value: "OP_" + _SPELLED.get(op.name, op.name) for op in Op if op > Op.PUSH_16},
    **{Op.NOP1.value + at: f"OP_NOP{at + 1}" for at in range(10) if at not in (1, 2)},
    Op.RESERVED.value: "OP_RESERVED",
}
_NUMBER_BYTES = 4  # pushes up to here are shown as numbers


def amount(value: int) -> Decimal:
    """A value in coins, with all eight decimals."""
    return Decimal(value).scaleb(-DECIMALS)


def parse_amount(text: str) -> int | None:
    """Coins as people write them, in the smallest unit; None for "all".

    Raises:
        ConfigError: neither a number with at most eight decimals nor "all".
    """
    if text == "all":
        return None
    try:
        value = Decimal(text).scaleb(DECIMALS)
    except ArithmeticError:  # no number, or beyond what decimals hold
        value = Decimal(-1)
    if not value.is_finite() or value != value.to_integral_value() or not 0 < value <= MONEY_MAX:
        raise ConfigError(f"{text!r} came; an amount such as 12.5, or all, is expected")
    return int(value)


def disassemble(script: bytes) -> str:
    """Operations by name, pushes as numbers or hex; what is broken ends with [error]."""
    words: list[str] = []
    try:
        for operation in operations(script):
            words.append(_word(operation))
    except DecodeError:
        words.append("[error]")
    return " ".join(words)


def _word(operation: Operation) -> str:
    code = operation.code
    if operation.data is not None:
        if len(operation.data) > _NUMBER_BYTES:
            return operation.data.hex()
        return str(decode_number(operation.data, minimal=False))
    if code == Op.NEGATE_1 or Op.PUSH_1 <= code <= Op.PUSH_16:
        return str(code - Op.RESERVED)
    return OPCODE_NAMES.get(code, "OP_UNKNOWN")


def template_of(script: bytes) -> str:
    """Core's name of the template that a script follows."""
    found = witness_program(script)
    if is_key_hash(script):
        return "pubkeyhash"
    if is_script_hash(script):
        return "scripthash"
    if found is not None:
        names = {(0, 20): "witness_v0_keyhash", (0, 32): "witness_v0_scripthash"}
        names[1, 32] = "witness_v1_taproot"
        return names.get((found[0], len(found[1])), "witness_unknown")
    if script[:1] == bytes([Op.RETURN]) and is_push_only(script[1:]):
        return "nulldata"
    return _bare_template(script)


def _bare_template(script: bytes) -> str:
    try:
        parts = list(operations(script))
    except DecodeError:
        return "nonstandard"
    keys = [part for part in parts[:-1] if part.data and len(part.data) in (33, 65)]
    if len(parts) == 2 and keys and parts[1].code == Op.CHECKSIG:
        return "pubkey"
    if len(parts) == len(keys) + 3 > 3 and parts[-1].code == Op.CHECKMULTISIG:
        return "multisig"
    return "nonstandard"


def describe_script(script: bytes, network: AddressFormat) -> dict[str, Any]:
    """An output's script."""
    address = encode_address(script, network)
    return {
        "asm": disassemble(script),
        "hex": script.hex(),
        **({} if address is None else {"address": address}),
        "type": template_of(script),
    }


def describe_transaction(transaction: Transaction, network: AddressFormat) -> dict[str, Any]:
    """As Core's decoderawtransaction, with its bytes."""
    data, heavy = transaction.encode(), weight(transaction)
    return {
        "txid": transaction.txid[::-1].hex(),
        "hash": double_sha256(data)[::-1].hex(),
        "version": transaction.version,
        "size": len(data),
        "vsize": -(-heavy // 4),
        "weight": heavy,
        "locktime": transaction.locktime,
        "vin": [_describe_input(entry, transaction.is_coinbase) for entry in transaction.inputs],
        "vout": [
            {
                "value": amount(output.value),
                "n": at,
                "scriptPubKey": describe_script(output.script, network),
            }
            for at, output in enumerate(transaction.outputs)
        ],
        "hex": data.hex(),
    }


def _describe_input(entry: TxIn, coinbase: bool) -> dict[str, Any]:
    witness = {"txinwitness": [item.hex() for item in entry.witness]} if entry.witness else {}
    if coinbase:
        return {"coinbase": entry.script.hex(), **witness, "sequence": entry.sequence}
    return {
        "txid": entry.previous[::-1].hex(),
        "vout": entry.index,
        "scriptSig": {"asm": disassemble(entry.script), "hex": entry.script.hex()},
        **witness,
        "sequence": entry.sequence,
    }
