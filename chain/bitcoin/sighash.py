"""What a signature in a transaction signs: the legacy digest and BIP 143's.

Source: Bitcoin Core, script/interpreter.cpp (`SignatureHash`); BIP 143.
Pure.
"""

from functools import cached_property

from bft.crypto.hashing import double_sha256
from chain.bitcoin.opcodes import Op
from chain.bitcoin.script import TruncatedPush, operations
from chain.records.serialization import blob, compact_size
from chain.records.transaction import Transaction, TxOut

ALL = 1
NONE = 2
SINGLE = 3
ANYONE_CAN_PAY = 0x80
_BASE = 0x1F
_ONE = (1).to_bytes(32, "little")  # what SINGLE signs where there is no output of its number


class SignatureHasher:
    """Digests of one transaction; what its inputs share is hashed once."""

    def __init__(self, transaction: Transaction) -> None:
        self.transaction = transaction

    def legacy(self, index: int, script_code: bytes, kind: int) -> bytes:
        """32 bytes that a signature of `kind` (its low 32 bits) in input `index` signs."""
        tx = self.transaction
        base = kind & _BASE
        if base == SINGLE and index >= len(tx.outputs):
            return _ONE
        code = without_code_separators(script_code)
        alone = bool(kind & ANYONE_CAN_PAY)
        parts = [tx.version.to_bytes(4, "little")]
        chosen = [index] if alone else range(len(tx.inputs))
        parts.append(compact_size(len(chosen)))
        for at in chosen:
            entry = tx.inputs[at]
            free = at != index and base in (NONE, SINGLE)
            parts += (
                entry.previous,
                entry.index.to_bytes(4, "little"),
                blob(code if at == index else b""),
                (0 if free else entry.sequence).to_bytes(4, "little"),
            )
        parts += self._legacy_outputs(index, base)
        parts += (tx.locktime.to_bytes(4, "little"), (kind & 0xFFFFFFFF).to_bytes(4, "little"))
        return double_sha256(b"".join(parts))

    def _legacy_outputs(self, index: int, base: int) -> list[bytes]:
        outputs = self.transaction.outputs
        if base == NONE:
            return [compact_size(0)]
        if base == SINGLE:
            blank = (2**64 - 1).to_bytes(8, "little") + compact_size(0)
            return [compact_size(index + 1), blank * index, encode_output(outputs[index])]
        return [compact_size(len(outputs)), *(encode_output(output) for output in outputs)]

    def witness(self, index: int, script_code: bytes, value: int, kind: int) -> bytes:
        """32 bytes by BIP 143; `value` is what the spent output holds."""
        tx = self.transaction
        base, alone = kind & _BASE, bool(kind & ANYONE_CAN_PAY)
        entry = tx.inputs[index]
        outputs = bytes(32)
        if base not in (NONE, SINGLE):
            outputs = self._all_outputs
        elif base == SINGLE and index < len(tx.outputs):
            outputs = double_sha256(encode_output(tx.outputs[index]))
        parts = (
            tx.version.to_bytes(4, "little"),
            bytes(32) if alone else self._all_previous,
            bytes(32) if alone or base in (NONE, SINGLE) else self._all_sequences,
            entry.previous,
            entry.index.to_bytes(4, "little"),
            blob(script_code),
            value.to_bytes(8, "little"),
            entry.sequence.to_bytes(4, "little"),
            outputs,
            tx.locktime.to_bytes(4, "little"),
            (kind & 0xFFFFFFFF).to_bytes(4, "little"),
        )
        return double_sha256(b"".join(parts))

    @cached_property
    def _all_previous(self) -> bytes:
        places = (e.previous + e.index.to_bytes(4, "little") for e in self.transaction.inputs)
        return double_sha256(b"".join(places))

    @cached_property
    def _all_sequences(self) -> bytes:
        sequences = (entry.sequence.to_bytes(4, "little") for entry in self.transaction.inputs)
        return double_sha256(b"".join(sequences))

    @cached_property
    def _all_outputs(self) -> bytes:
        return double_sha256(b"".join(encode_output(o) for o in self.transaction.outputs))


def encode_output(output: TxOut) -> bytes:
    """An output as it stands in a transaction."""
    return output.value.to_bytes(8, "little") + blob(output.script)


def without_code_separators(script: bytes) -> bytes:
    """`script` without OP_CODESEPARATOR; what follows a broken push stays as it is."""
    if Op.CODESEPARATOR not in script:
        return script
    kept, begin = bytearray(), 0
    try:
        for operation in operations(script):
            if operation.code == Op.CODESEPARATOR:
                kept += script[begin : operation.start]
                begin = operation.end
    except TruncatedPush:
        pass
    return bytes(kept + script[begin:])
