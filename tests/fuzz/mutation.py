"""Edits that turn valid bytes into hostile ones.  Pure: the same edits give the same bytes.

Flips, cuts, extensions, splices of two samples, other types in a field, huge announced lengths,
deep nesting: for MessagePack, for Bitcoin's serialisation, for JSON and YAML.
"""

from collections.abc import Sequence
from random import Random
from typing import NamedTuple

INPUT_BYTES_MAX = 1 << 18
NESTING_MAX = 60_000
EDITS_MAX = 6

TOKENS: tuple[bytes, ...] = (
    # MessagePack: nil, unused, false, true, integers of all widths, not in their shortest form too
    *(bytes([head]) for head in (0xC0, 0xC1, 0xC2, 0xC3, 0x00, 0x7F, 0xE0, 0xFF, 0x80, 0x90, 0xA0)),
    bytes.fromhex("cc00"),
    bytes.fromhex("cdffff"),
    bytes.fromhex("ce00000001"),
    bytes.fromhex("ceffffffff"),
    bytes.fromhex("cf0000000000000001"),
    bytes.fromhex("cfffffffffffffffff"),
    bytes.fromhex("cf7fffffffffffffff"),
    bytes.fromhex("d38000000000000000"),
    # floats: 0.0, infinity, not a number
    bytes.fromhex("ca00000000"),
    bytes.fromhex("cb7ff0000000000000"),
    bytes.fromhex("cb7ff8000000000000"),
    # text, bytes, arrays, maps and extensions, with lengths that lie
    bytes.fromhex("a3616263"),
    bytes.fromhex("a2fffe"),
    bytes.fromhex("c400"),
    bytes.fromhex("c420") + bytes(32),
    bytes.fromhex("c4ff"),
    bytes.fromhex("c5ffff"),
    bytes.fromhex("c6ffffffff"),
    bytes.fromhex("d9ff"),
    bytes.fromhex("dbffffffff"),
    bytes.fromhex("dc0000"),
    bytes.fromhex("dcffff"),
    bytes.fromhex("dd00ffffff"),
    bytes.fromhex("ddffffffff"),
    bytes.fromhex("8101c0"),
    bytes.fromhex("dfffffffff"),
    bytes.fromhex("d6ff00000000"),
    bytes.fromhex("c9ffffffffff"),
    # Bitcoin: compact sizes in long forms, and lying ones
    bytes.fromhex("fd0000"),
    bytes.fromhex("fdffff"),
    bytes.fromhex("feffffffff"),
    bytes.fromhex("ff0000000000000080"),
    bytes.fromhex("ffffffffffffffffff"),
    b"\x00\x01",
    # text formats
    b"[",
    b"{",
    b'"',
    b": ",
    b"\n- ",
    b"&a [*a]",
    b"!!python/object/apply:os.system [x]",
    b"!!int ",
    b"!!timestamp x",
    b"!!float ''",
    b"2024-99-99",
    b"\xf0\x9f",
    b"\x00",
    b"NaN",
    b"1e999",
    b"-1",
    b"9" * 5_000,
    b"%00",
    b"../",
)
NESTS: tuple[bytes, ...] = (b"\x91", b"\x81\x01", b"\xdc\x00\x01", b"[", b'{"a":', b"- ", b"\x01")
LENGTHS: tuple[int, ...] = (1, 31, 32, 33, 48, 64, 255, 256, 65_535, 65_536, 131_072)

KINDS = (
    "flip",
    "set",
    "cut",
    "drop",
    "extend",
    "fill",
    "repeat",
    "splice",
    "token",
    "over",
    "nest",
    "swap",
)


class Edit(NamedTuple):
    """`kind` at a place in thousandths of the length, with a number that chooses the rest."""

    kind: str
    place: int  # 0..1000
    number: int  # u32


def edited(data: bytes, edits: Sequence[Edit], other: bytes = b"") -> bytes:
    """`data` after all edits; splices take from `other`."""
    for edit in edits:
        data = _edited(data, edit, other)[:INPUT_BYTES_MAX]
    return data


def _edited(data: bytes, edit: Edit, other: bytes) -> bytes:
    kind, _, number = edit
    at = edit.place * len(data) // 1000
    before, after = data[:at], data[at:]
    match kind:
        case "flip":
            return before + bytes([after[0] ^ 1 << number % 8]) + after[1:] if after else data
        case "set":
            return before + bytes([number % 256]) + after[1:]
        case "cut":
            return before
        case "drop":
            return before + after[1 + number % 64 :]
        case "extend":
            return data + (number.to_bytes(4, "big") * 16)[: 1 + number % 64]
        case "fill":
            return before + bytes([number % 256]) * LENGTHS[number // 256 % len(LENGTHS)] + after
        case "repeat":
            return before + after[: 1 + number % 64] * (2 + number % 7) + after
        case "splice":
            return before + other[number % (len(other) + 1) :]
        case "token":
            return before + TOKENS[number % len(TOKENS)] + after
        case "over":
            token = TOKENS[number % len(TOKENS)]
            return before + token + after[len(token) :]
        case "nest":
            depth = 1 + number // len(NESTS) % NESTING_MAX
            return before + NESTS[number % len(NESTS)] * depth + after
    size = 1 + number % 32
    return before + after[size : 2 * size] + after[:size] + after[2 * size :]


def random_edits(random: Random) -> tuple[Edit, ...]:
    """Some edits, few more often than many."""
    count = min(EDITS_MAX, 1 + int(random.expovariate(1.0)))
    return tuple(
        Edit(random.choice(KINDS), random.randrange(1001), random.getrandbits(32))
        for _ in range(count)
    )
