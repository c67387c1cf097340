"""Partially signed transactions: what travels between who builds, who signs and who sends.

Source: BIP 174 (version 0).  Read and written are transactions with inputs and outputs; of fields
those of P2PKH, P2WPKH, P2SH and P2WSH have meaning here, all others are carried along.
Pure.
"""

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from bft.errors import DecodeError, Refused
from chain.records.serialization import Reader, blob, compact_size
from chain.records.transaction import (
    Transaction,
    TxOut,
    decode_transaction,
)

MAGIC = b"psbt\xff"
PSBT_BYTES_MAX = 4 * 1024 * 1024
ENTRIES_MAX = 1_000  # in one map
VALUE_BYTES_MAX = 1024 * 1024

UNSIGNED = b"\x00"
GLOBAL_VERSION = b"\xfb"
PREVIOUS, SPENT = b"\x00", b"\x01"  # of an input: whole transaction, or its output alone
PARTIAL_SIGNATURE, KIND = 0x02, b"\x03"
REDEEM_SCRIPT, WITNESS_SCRIPT = b"\x04", b"\x05"
DERIVATION = 0x06
FINAL_SCRIPT, FINAL_WITNESS = b"\x07", b"\x08"
OUTPUT_REDEEM_SCRIPT, OUTPUT_WITNESS_SCRIPT, OUTPUT_DERIVATION = b"\x00", b"\x01", 0x02
_ALONE = {0x00, 0x01, 0x03, 0x04, 0x05, 0x07, 0x08, 0x09}  # input types whose key has no data
_OUTPUT_ALONE = {0x00, 0x01}

Entries = Mapping[bytes, bytes]  # key with its type in front -> value


@dataclass(frozen=True, kw_only=True, slots=True)
class Psbt:
    """One of them; its maps are in the order in which they came."""

    unsigned: Transaction  # without scripts and witnesses in its inputs
    globals: Entries  # without the transaction
    inputs: tuple[Entries, ...]
    outputs: tuple[Entries, ...]

    def encode(self) -> bytes:
        """Its bytes."""
        head = {UNSIGNED: self.unsigned.encode(witness=False), **self.globals}
        return MAGIC + b"".join(map(_encode_map, (head, *self.inputs, *self.outputs)))

    def encode_text(self) -> str:
        """Base 64."""
        return base64.b64encode(self.encode()).decode("ascii")

    def spent(self, index: int) -> TxOut | None:
        """The output that an input spends, where the input says it.

        Raises:
            DecodeError: what the input says of it contradicts itself.
        """
        entries, entry = self.inputs[index], self.unsigned.inputs[index]
        alone = read_output(entries[SPENT]) if SPENT in entries else None
        if PREVIOUS not in entries:
            return alone
        previous = decode_transaction(entries[PREVIOUS])
        if previous.txid != entry.previous or entry.index >= len(previous.outputs):
            raise DecodeError(f"input {index} spends another transaction than the one it shows")
        found = previous.outputs[entry.index]
        if alone is not None and alone != found:
            raise DecodeError(f"input {index} shows two different outputs that it spends")
        return found


def create(unsigned: Transaction) -> Psbt:
    """A PSBT that knows nothing yet but its transaction (the Creator's role)."""
    bare = tuple(replace(entry, script=b"", witness=()) for entry in unsigned.inputs)
    return Psbt(
        unsigned=replace(unsigned, inputs=bare),
        globals={},
        inputs=tuple({} for _ in unsigned.inputs),
        outputs=tuple({} for _ in unsigned.outputs),
    )


def decode_psbt(data: bytes) -> Psbt:
    """The PSBT that is all of `data`.

    Raises:
        DecodeError: malformed, another version, a key twice or of a wrong form, a transaction with
            signatures in it, or without inputs or outputs.
    """
    if len(data) > PSBT_BYTES_MAX:
        raise DecodeError(f"{len(data)} bytes came; a PSBT has at most {PSBT_BYTES_MAX}")
    reader = Reader(data)
    if reader.take(len(MAGIC)) != MAGIC:
        raise DecodeError("no PSBT: it does not begin with psbt ff")
    head = _read_map(reader)
    unsigned = _transaction_of(head)
    inputs = tuple(_checked_input(_read_map(reader)) for _ in unsigned.inputs)
    outputs = tuple(_checked_output(_read_map(reader)) for _ in unsigned.outputs)
    reader.end()
    rest = {key: value for key, value in head.items() if key != UNSIGNED}
    found = Psbt(unsigned=unsigned, globals=rest, inputs=inputs, outputs=outputs)
    for index in range(len(inputs)):
        found.spent(index)
    return found


def decode_text(text: str) -> Psbt:
    """Raises DecodeError: no base 64, or as `decode_psbt`."""
    try:
        return decode_psbt(base64.b64decode("".join(text.split()), validate=True))
    except (binascii.Error, ValueError):
        raise DecodeError("a PSBT in text is base 64") from None


def _transaction_of(head: Entries) -> Transaction:
    if UNSIGNED not in head:
        raise DecodeError("a PSBT without its transaction")
    for key, value in head.items():
        if key[0] in (UNSIGNED[0], GLOBAL_VERSION[0]) and len(key) != 1:
            raise DecodeError(f"a global key of type {key[0]:#x} with data after it")
        if key[:1] == GLOBAL_VERSION and value != bytes(4):
            raise DecodeError("version 0 of PSBTs is read here")
        if key[0] == 1 and (len(key) != 79 or not value or len(value) % 4):
            raise DecodeError("an xpub that has another form than BIP 174's")
    unsigned = decode_transaction(head[UNSIGNED])
    if any(entry.script or entry.witness for entry in unsigned.inputs):
        raise DecodeError("the transaction of a PSBT has no scripts and witnesses in its inputs")
    return unsigned


def _checked_input(entries: Entries) -> Entries:
    for key, value in entries.items():
        kind = key[0]
        if kind in _ALONE and len(key) != 1:
            raise DecodeError(f"an input's key of type {kind:#x} with data after it")
        if kind in (PARTIAL_SIGNATURE, DERIVATION):
            _check_key(key)
        if kind == DERIVATION:
            read_derivation(value)
        elif kind == PARTIAL_SIGNATURE and not value:
            raise DecodeError("an empty signature")
        elif key == SPENT:
            read_output(value)
        elif key == KIND and len(value) != 4:
            raise DecodeError(f"a kind of hash of {len(value)} bytes; 4 expected")
        elif key == FINAL_WITNESS:
            read_witness(value)
    return entries


def _checked_output(entries: Entries) -> Entries:
    for key, value in entries.items():
        if key[0] in _OUTPUT_ALONE and len(key) != 1:
            raise DecodeError(f"an output's key of type {key[0]:#x} with data after it")
        if key[0] == OUTPUT_DERIVATION:
            _check_key(key)
            read_derivation(value)
    return entries


def _check_key(key: bytes) -> None:
    if (len(key), key[1:2]) not in ((34, b"\x02"), (34, b"\x03"), (66, b"\x04")):
        raise DecodeError(f"a public key of {len(key) - 1} bytes, or of unknown kind")


def read_derivation(value: bytes) -> tuple[bytes, tuple[int, ...]]:
    """(fingerprint of the root, path).  Raises DecodeError: of another length."""
    if len(value) < 4 or len(value) % 4:
        raise DecodeError(f"a derivation of {len(value)} bytes; a fingerprint and steps of 4")
    steps = range(4, len(value), 4)
    return value[:4], tuple(int.from_bytes(value[at : at + 4], "little") for at in steps)


def write_derivation(fingerprint: bytes, path: Sequence[int]) -> bytes:
    """As `read_derivation` reads it."""
    return fingerprint + b"".join(step.to_bytes(4, "little") for step in path)


def read_output(value: bytes) -> TxOut:
    """An output as it stands in a transaction.  Raises DecodeError."""
    reader = Reader(value)
    found = TxOut(value=reader.integer(8), script=reader.blob(VALUE_BYTES_MAX))
    reader.end()
    return found


def read_witness(value: bytes) -> tuple[bytes, ...]:
    """A final witness.  Raises DecodeError."""
    reader = Reader(value)
    count = reader.count(item_bytes_min=1, items_max=ENTRIES_MAX)
    items = tuple(reader.blob(VALUE_BYTES_MAX) for _ in range(count))
    reader.end()
    return items


def write_witness(items: Sequence[bytes]) -> bytes:
    """As `read_witness` reads it."""
    return compact_size(len(items)) + b"".join(map(blob, items))


def _read_map(reader: Reader) -> Entries:
    found: dict[bytes, bytes] = {}
    while key := reader.blob(VALUE_BYTES_MAX):
        if key in found:
            raise DecodeError(f"the key {key[:40].hex()} stands twice in one map")
        if len(found) >= ENTRIES_MAX:
            raise DecodeError(f"a map of a PSBT has at most {ENTRIES_MAX} entries")
        found[key] = reader.blob(VALUE_BYTES_MAX)
    return found


def _encode_map(entries: Entries) -> bytes:
    return b"".join(blob(key) + blob(value) for key, value in entries.items()) + b"\0"


def combine(several: Sequence[Psbt]) -> Psbt:
    """One with all that is known of them (the Combiner's role); what stands earlier is kept.

    Raises:
        Refused: "other-transaction": they are not about the same one.
    """
    first = several[0]
    for other in several[1:]:
        if other.unsigned != first.unsigned:
            raise Refused("other-transaction", "the PSBTs are of two different transactions")
        first = replace(
            first,
            globals=_sorted({**other.globals, **first.globals}),
            inputs=_joined(first.inputs, other.inputs),
            outputs=_joined(first.outputs, other.outputs),
        )
    return first


def _joined(ours: Sequence[Entries], theirs: Sequence[Entries]) -> tuple[Entries, ...]:
    return tuple(_sorted({**b, **a}) for a, b in zip(ours, theirs, strict=True))


def _sorted(entries: Entries) -> Entries:
    """By key, the order in which Bitcoin Core writes them."""
    return dict(sorted(entries.items()))
