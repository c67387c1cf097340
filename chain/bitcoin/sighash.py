"""What a signature in a transaction signs: the legacy digest and BIP 143's.

Source: Bitcoin Core, script/interpreter.cpp (`SignatureHash`); BIP 143.
Pure.
"""

import hashlib
from functools import cached_property
from typing import TYPE_CHECKING

from bft.crypto.hashing import double_sha256, sha256
from chain.bitcoin.opcodes import Op
from chain.bitcoin.script import TruncatedPush, operations
from chain.records.serialization import blob, compact_size
from chain.records.transaction import Transaction, TxIn, TxOut

if TYPE_CHECKING:
    from hashlib import _Hash as Hash

ALL = 1
NONE = 2
SINGLE = 3
ANYONE_CAN_PAY = 0x80
_BASE = 0x1F
_BLANK_INPUT_BYTES = 32 + 4 + 1 + 4
_ONE = (1).to_bytes(32, "little")  # what SINGLE signs where there is no output of its number


class SignatureHasher:
    """Digests of one transaction; what its inputs share is put together once.

    A script may ask for the legacy digest at each of its operations.  What precedes the kind is
    hashed once for each script code, so a hundred CHECKSIG cost one pass over the transaction
    (Bitcoin Core 30's SigHashCache).
    """

    def __init__(self, transaction: Transaction) -> None:
        self.transaction = transaction
        self._begun_of = -1  # the input whose begun hashes are kept
        self._begun: dict[tuple[bytes, int, bool], Hash] = {}

    def legacy(self, index: int, script_code: bytes, kind: int) -> bytes:
        """32 bytes that a signature of `kind` (its low 32 bits) in input `index` signs."""
        if kind & _BASE == SINGLE and index >= len(self.transaction.outputs):
            return _ONE
        return sha256(self.legacy_once(index, script_code, kind))

    def legacy_once(self, index: int, script_code: bytes, kind: int) -> bytes:
        """32 bytes whose SHA-256 is `legacy`'s digest, for keys that hash what they sign."""
        base = kind & _BASE
        base = base if base in (NONE, SINGLE) else ALL
        if self._begun_of != index:
            self._begun_of, self._begun = index, {}
        name = (script_code, base, bool(kind & ANYONE_CAN_PAY))
        begun = self._begun.get(name)
        if begun is None:
            begun = self._begun[name] = self._begin_legacy(index, *name)
        last = begun.copy()
        last.update((kind & 0xFFFFFFFF).to_bytes(4, "little"))
        return last.digest()

    def _begin_legacy(self, index: int, script_code: bytes, base: int, alone: bool) -> "Hash":
        """The hash of everything but the kind."""
        tx, entry = self.transaction, self.transaction.inputs[index]
        code = blob(without_code_separators(script_code))
        own = _place(entry) + code + entry.sequence.to_bytes(4, "little")
        begun = hashlib.sha256(tx.version.to_bytes(4, "little"))
        if alone:
            begun.update(compact_size(1) + own)
        else:
            others = memoryview(self._blank_inputs if base == ALL else self._free_inputs)
            begun.update(compact_size(len(tx.inputs)))
            begun.update(others[: _BLANK_INPUT_BYTES * index])
            begun.update(own)
            begun.update(others[_BLANK_INPUT_BYTES * (index + 1) :])
        begun.update(self._legacy_outputs(index, base))
        begun.update(tx.locktime.to_bytes(4, "little"))
        return begun

    def _legacy_outputs(self, index: int, base: int) -> bytes:
        outputs = self.transaction.outputs
        if base == NONE:
            return compact_size(0)
        if base == SINGLE:
            blank = (2**64 - 1).to_bytes(8, "little") + compact_size(0)
            return compact_size(index + 1) + blank * index + encode_output(outputs[index])
        return compact_size(len(outputs)) + self._outputs

    @cached_property
    def _blank_inputs(self) -> bytes:
        """All inputs with empty scripts, _BLANK_INPUT_BYTES each."""
        inputs = self.transaction.inputs
        return b"".join(_place(e) + b"\0" + e.sequence.to_bytes(4, "little") for e in inputs)

    @cached_property
    def _free_inputs(self) -> bytes:
        """The same, with sequences of 0."""
        return b"".join(_place(entry) + bytes(5) for entry in self.transaction.inputs)

    @cached_property
    def _outputs(self) -> bytes:
        return b"".join(encode_output(output) for output in self.transaction.outputs)

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
        return double_sha256(b"".join(_place(entry) for entry in self.transaction.inputs))

    @cached_property
    def _all_sequences(self) -> bytes:
        sequences = (entry.sequence.to_bytes(4, "little") for entry in self.transaction.inputs)
        return double_sha256(b"".join(sequences))

    @cached_property
    def _all_outputs(self) -> bytes:
        return double_sha256(self._outputs)


def _place(entry: TxIn) -> bytes:
    """36 bytes: what an input spends."""
    return entry.previous + entry.index.to_bytes(4, "little")


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
