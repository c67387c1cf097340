"""Scripts as bytes: operations, pushes, numbers, and the templates that wallets know.

Source: Bitcoin Core, script/script.{h,cpp} and script/solver.cpp; BIP 16 and 141.
Pure.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from bft.errors import DecodeError
from chain.bitcoin.opcodes import Op

PUSH_BYTES_MAX = 520
PUBLIC_KEYS_MAX = 20  # of one CHECKMULTISIG
NUMBER_BYTES_MAX = 4
MULTISIG_SIGOPS = 20  # what a CHECKMULTISIG of unknown size counts


class TruncatedPush(DecodeError):
    """A push says that more bytes follow than do."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of a script."""

    code: int  # a byte
    data: bytes | None  # what a push pushes; None where it pushes no bytes of the script
    start: int  # where it begins
    end: int  # where the next one begins


def operations(script: bytes) -> Iterator[Operation]:
    """The operations of `script`, in order.

    Raises:
        TruncatedPush: when the iteration comes to a push beyond the end.
    """
    at = 0
    while at < len(script):
        start, code = at, script[at]
        at += 1
        if code > Op.PUSHDATA4:
            yield Operation(code, None, start, at)
            continue
        size = code
        if code >= Op.PUSHDATA1:
            width = 1 << (code - Op.PUSHDATA1)
            if at + width > len(script):
                raise TruncatedPush(f"a push's length is cut short at byte {at}")
            size = int.from_bytes(script[at : at + width], "little")
            at += width
        if at + size > len(script):
            raise TruncatedPush(f"a push of {size} bytes at byte {at}; {len(script) - at} are left")
        at += size
        yield Operation(code, script[at - size : at], start, at)


def push(data: bytes) -> bytes:
    """The shortest script that pushes `data` (at most PUSH_BYTES_MAX bytes are spendable)."""
    if not data:
        return bytes([Op.PUSH_0])
    if len(data) == 1 and 1 <= data[0] <= 16:
        return bytes([Op.PUSH_1 + data[0] - 1])
    if data == b"\x81":
        return bytes([Op.NEGATE_1])
    return _push_prefix(len(data)) + data


def literal_push(data: bytes) -> bytes:
    """As `push`, but the bytes always stand in the script: what FindAndDelete looks for."""
    return _push_prefix(len(data)) + data


def _push_prefix(size: int) -> bytes:
    if size < Op.PUSHDATA1:
        return bytes([size])
    if size < 2**8:
        return bytes([Op.PUSHDATA1, size])
    if size < 2**16:
        return bytes([Op.PUSHDATA2]) + size.to_bytes(2, "little")
    return bytes([Op.PUSHDATA4]) + size.to_bytes(4, "little")


def is_minimal_push(operation: Operation) -> bool:
    """Whether no shorter operation pushes the same bytes."""
    data = operation.data
    if data is None:
        return True
    shortest = push(data)
    return shortest[0] == operation.code


def encode_number(value: int) -> bytes:
    """Little-endian magnitude with a sign bit, shortest form; zero has no bytes."""
    if value == 0:
        return b""
    data = bytearray(abs(value).to_bytes((abs(value).bit_length() + 7) // 8, "little"))
    if data[-1] & 0x80:
        data.append(0)
    if value < 0:
        data[-1] |= 0x80
    return bytes(data)


def decode_number(data: bytes, *, minimal: bool, bytes_max: int = NUMBER_BYTES_MAX) -> int:
    """Raises DecodeError: too long, or, where `minimal`, not in the shortest form."""
    if len(data) > bytes_max:
        raise DecodeError(f"a script number of {len(data)} bytes; at most {bytes_max} allowed")
    if not data:
        return 0
    magnitude = int.from_bytes(data, "little") & ((1 << (8 * len(data) - 1)) - 1)
    value = -magnitude if data[-1] & 0x80 else magnitude
    if minimal and encode_number(value) != data:
        raise DecodeError("a script number is not in its shortest form")
    return value


def is_truthy(data: bytes) -> bool:
    """Zero and negative zero, of any length, are false."""
    return any(data[:-1]) or (bool(data) and data[-1] not in (0, 0x80))


def is_push_only(script: bytes) -> bool:
    """Whether it only pushes (OP_RESERVED counts as a push)."""
    try:
        return all(operation.code <= Op.PUSH_16 for operation in operations(script))
    except TruncatedPush:
        return False


def count_signature_checks(script: bytes, *, accurate: bool) -> int:
    """Signature operations in `script` as written, run or not.

    Args:
        accurate: a CHECKMULTISIG after a small number counts as many, else MULTISIG_SIGOPS.
    """
    total, last = 0, -1
    try:
        for operation in operations(script):
            if operation.code in (Op.CHECKSIG, Op.CHECKSIGVERIFY):
                total += 1
            elif operation.code in (Op.CHECKMULTISIG, Op.CHECKMULTISIGVERIFY):
                known = accurate and Op.PUSH_1 <= last <= Op.PUSH_16
                total += last - Op.PUSH_1 + 1 if known else MULTISIG_SIGOPS
            last = operation.code
    except TruncatedPush:
        pass  # what stands before it counts
    return total


def last_push(script: bytes) -> bytes:
    """What the last operation of a push-only script pushes; empty where it cannot be known."""
    found = b""
    try:
        for operation in operations(script):
            if operation.code > Op.PUSH_16:
                return b""
            found = operation.data or b""
    except TruncatedPush:
        return b""
    return found


# Templates


def pay_to_key_hash(key_hash: bytes) -> bytes:
    """P2PKH; `key_hash`: 20 bytes."""
    return bytes([Op.DUP, Op.HASH160, 20]) + key_hash + bytes([Op.EQUALVERIFY, Op.CHECKSIG])


def pay_to_script_hash(script_hash: bytes) -> bytes:
    """P2SH; `script_hash`: 20 bytes."""
    return bytes([Op.HASH160, 20]) + script_hash + bytes([Op.EQUAL])


def pay_to_witness(version: int, program: bytes) -> bytes:
    """P2WPKH (version 0, 20 bytes), P2WSH (version 0, 32 bytes), or a later version's program."""
    return bytes([Op.PUSH_1 + version - 1 if version else Op.PUSH_0, len(program)]) + program


def multisig(required: int, keys: tuple[bytes, ...]) -> bytes:
    """`required` of `keys` (at most 16 stand as small numbers)."""
    if not 1 <= required <= len(keys) <= 16:
        raise ValueError(f"{required} of {len(keys)} keys; 1 to 16 keys can be asked for")
    body = b"".join(push(key) for key in keys)
    return (
        bytes([Op.PUSH_1 + required - 1])
        + body
        + bytes([Op.PUSH_1 + len(keys) - 1, Op.CHECKMULTISIG])
    )


def is_script_hash(script: bytes) -> bool:
    """Whether it is P2SH (BIP 16)."""
    return len(script) == 23 and script[:2] == bytes([Op.HASH160, 20]) and script[22] == Op.EQUAL


def is_key_hash(script: bytes) -> bool:
    """Whether it is P2PKH."""
    return len(script) == 25 and script == pay_to_key_hash(script[3:23])


def witness_program(script: bytes) -> tuple[int, bytes] | None:
    """(version, program) of a witness output (BIP 141), else None."""
    if not 4 <= len(script) <= 42 or script[1] != len(script) - 2 or script[1] > 40:
        return None
    if script[0] == Op.PUSH_0:
        return 0, script[2:]
    if Op.PUSH_1 <= script[0] <= Op.PUSH_16:
        return script[0] - Op.PUSH_1 + 1, script[2:]
    return None


def is_unspendable(script: bytes) -> bool:
    """Whether nobody can ever spend it, so that no coin has to be kept."""
    return script[:1] == bytes([Op.RETURN]) or len(script) > 10_000
