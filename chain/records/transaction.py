"""Bitcoin transactions as bytes, their ids, and the Merkle tree over ids.

Source: Bitcoin Core, primitives/transaction.h; BIP 141 and 144 for witnesses; consensus/merkle.cpp.
Pure.  Ids are in internal byte order; people see them reversed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from bft.crypto.hashing import double_sha256
from bft.errors import DecodeError
from chain.records.serialization import Reader, blob, compact_size

SCRIPT_BYTES_MAX = 10_000
WITNESS_ITEM_BYTES_MAX = 100_000
WITNESS_ITEMS_MAX = 1_000
INPUTS_MAX = 20_000
OUTPUTS_MAX = 20_000
VALUE_MAX = 2**63 - 1

NULL_ID = bytes(32)
NULL_INDEX = 0xFFFFFFFF
FINAL_SEQUENCE = 0xFFFFFFFF
_SEGWIT = b"\x00\x01"  # marker and flag of BIP 144


@dataclass(frozen=True, kw_only=True, slots=True)
class TxIn:
    """Spends output `index` of transaction `previous`."""

    previous: bytes  # 32, transaction id
    index: int  # u32
    script: bytes
    sequence: int = FINAL_SEQUENCE  # u32
    witness: tuple[bytes, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class TxOut:
    """Pays `value` to whoever satisfies `script`."""

    value: int  # smallest unit, 0 .. VALUE_MAX
    script: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Transaction:
    """One transaction of a block."""

    version: int  # u32
    inputs: tuple[TxIn, ...]
    outputs: tuple[TxOut, ...]
    locktime: int  # u32

    @property
    def is_coinbase(self) -> bool:
        """One input, which spends nothing."""
        first = self.inputs[0]
        return len(self.inputs) == 1 and (first.previous, first.index) == (NULL_ID, NULL_INDEX)

    def encode(self, *, witness: bool = True) -> bytes:
        """Its bytes; without witnesses, what its id hashes."""
        segwit = witness and any(entry.witness for entry in self.inputs)
        parts = [self.version.to_bytes(4, "little"), _SEGWIT if segwit else b""]
        parts.append(compact_size(len(self.inputs)))
        for entry in self.inputs:
            parts += (entry.previous, entry.index.to_bytes(4, "little"), blob(entry.script))
            parts.append(entry.sequence.to_bytes(4, "little"))
        parts.append(compact_size(len(self.outputs)))
        for output in self.outputs:
            parts += (output.value.to_bytes(8, "little"), blob(output.script))
        if segwit:
            for entry in self.inputs:
                parts.append(compact_size(len(entry.witness)))
                parts += [blob(item) for item in entry.witness]
        parts.append(self.locktime.to_bytes(4, "little"))
        return b"".join(parts)

    @property
    def txid(self) -> bytes:
        """32 bytes; signatures in witnesses do not change it."""
        return double_sha256(self.encode(witness=False))

    @property
    def wtxid(self) -> bytes:
        """32 bytes over everything; by BIP 141 a coinbase counts as 32 zero bytes."""
        return NULL_ID if self.is_coinbase else double_sha256(self.encode())


def read_transaction(reader: Reader) -> Transaction:
    """The transaction at the front of `reader`.

    Raises:
        DecodeError: cut short, beyond a limit, no inputs or outputs, or a second encoding of the
            same transaction.
    """
    version = reader.integer(4)
    segwit = reader.peek(1) == _SEGWIT[:1]
    if segwit and reader.take(2) != _SEGWIT:
        raise DecodeError("a transaction has no inputs, or an unknown witness flag")
    inputs = [
        _read_input(reader) for _ in range(reader.count(item_bytes_min=41, items_max=INPUTS_MAX))
    ]
    outputs = tuple(
        _read_output(reader) for _ in range(reader.count(item_bytes_min=9, items_max=OUTPUTS_MAX))
    )
    if not inputs or not outputs:
        raise DecodeError("a transaction has at least one input and one output")
    if segwit:
        witnesses = [_read_witness(reader) for _ in inputs]
        if not any(witnesses):
            raise DecodeError("a transaction is marked as having witnesses, but has none")
        inputs = [
            TxIn(
                previous=entry.previous,
                index=entry.index,
                script=entry.script,
                sequence=entry.sequence,
                witness=witness,
            )
            for entry, witness in zip(inputs, witnesses, strict=True)
        ]
    return Transaction(
        version=version, inputs=tuple(inputs), outputs=outputs, locktime=reader.integer(4)
    )


def _read_input(reader: Reader) -> TxIn:
    return TxIn(
        previous=reader.take(32),
        index=reader.integer(4),
        script=reader.blob(SCRIPT_BYTES_MAX),
        sequence=reader.integer(4),
    )


def _read_output(reader: Reader) -> TxOut:
    value = reader.integer(8)
    if value > VALUE_MAX:
        raise DecodeError(f"an output of {value} came; at most {VALUE_MAX} can be")
    return TxOut(value=value, script=reader.blob(SCRIPT_BYTES_MAX))


def _read_witness(reader: Reader) -> tuple[bytes, ...]:
    count = reader.count(item_bytes_min=1, items_max=WITNESS_ITEMS_MAX)
    return tuple(reader.blob(WITNESS_ITEM_BYTES_MAX) for _ in range(count))


def decode_transaction(data: bytes) -> Transaction:
    """The transaction that is all of `data`.  Raises DecodeError, as `read_transaction`."""
    reader = Reader(data)
    transaction = read_transaction(reader)
    reader.end()
    return transaction


def bitcoin_merkle_root(ids: Sequence[bytes]) -> bytes:
    """32 bytes: pairs are hashed, an odd one with itself.

    Raises:
        DecodeError: no ids, or two equal ones side by side, which would let another list of
            transactions have the same root (CVE-2012-2459).
    """
    if not ids:
        raise DecodeError("a block has at least one transaction")
    row = list(ids)
    while len(row) > 1:
        if any(row[at] == row[at + 1] for at in range(0, len(row) - 1, 2)):
            raise DecodeError("two equal transactions side by side")
        row = _next_row(row)
    return row[0]


def first_branch(ids: Sequence[bytes]) -> tuple[bytes, ...]:
    """What leads from the first id up to the root."""
    row, branch = list(ids), []
    while len(row) > 1:
        branch.append(row[1])
        row = _next_row(row)
    return tuple(branch)


def climb(first: bytes, branch: Sequence[bytes]) -> bytes:
    """The root above the first id."""
    for sibling in branch:
        first = double_sha256(first + sibling)
    return first


def _next_row(row: list[bytes]) -> list[bytes]:
    if len(row) & 1:
        row = [*row, row[-1]]
    return [double_sha256(row[at] + row[at + 1]) for at in range(0, len(row), 2)]
