"""Records by docs/PROTOCOL.md, section 1, and docs/RECORDS.md, which is read as it stands.

A record is a dict here; whatever is not in its one encoding raises `Malformed`.
"""

import re
import struct
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

PAGE = Path(__file__).resolve().parents[2] / "docs" / "RECORDS.md"
RANGES = {
    "U8": (0, 2**8 - 1),
    "U16": (0, 2**16 - 1),
    "U32": (0, 2**32 - 1),
    "U63": (0, 2**63 - 1),
    "I32": (-(2**31), 2**31 - 1),
    "I64": (-(2**63), 2**63 - 1),
    "integer": (-(2**63), 2**64 - 1),
}
Fields = dict[str, Any]


class Malformed(Exception):
    """These bytes are no such record."""


class Layout(NamedTuple):
    """One record of the page."""

    name: str
    tag: str  # "" if it has none
    fields: tuple[tuple[str, str], ...]  # (name, type), in order


@cache
def layouts() -> dict[str, Layout]:
    """Record name -> layout."""
    found = {}
    for part in PAGE.read_text(encoding="utf-8").split("\n### ")[1:]:
        part = part.split("\n## ")[0]
        name = part.split("\n")[0]
        tag = re.search(r"^`(.+)`$", part, re.MULTILINE)
        rows = re.findall(r"^\| (\w+) \| (.+?) \| .*\|$", part, re.MULTILINE)
        fields = tuple((field, kind) for field, kind in rows if field != "field")
        found[name] = Layout(name, tag[1] if tag else "", fields)
    return found


@cache
def numbers(title: str) -> dict[str, int]:
    """An enumeration of the page's last section: word -> number."""
    (told,) = re.findall(
        rf"^\*\*{title}\*\*: (.+)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE
    )
    return {word: int(number) for number, word in (each.split() for each in told.split(", "))}


@cache
def name_of(tag: bytes, section: str) -> str | None:
    """The record with this tag, among those of a section of the page."""
    text = PAGE.read_text(encoding="utf-8")
    own = text.split(f"\n## {section}\n")[1].split("\n## ")[0]
    named = (kind for kind in layouts().values() if kind.tag.encode() == tag)
    return next((kind.name for kind in named if f"### {kind.name}\n" in own), None)


# MessagePack: integers in their shortest form, byte strings, arrays, nil.


def pack(value: Any) -> bytes:
    """The one encoding of integers, bytes, lists and None."""
    if value is None:
        return b"\xc0"
    if isinstance(value, bytes):
        return _headed(len(value), (("\xc4", "B"), ("\xc5", ">H"), ("\xc6", ">I"))) + value
    if isinstance(value, int):
        if -32 <= value < 128:
            return struct.pack("b" if value < 0 else "B", value)
        unsigned = (("\xcc", ">B"), ("\xcd", ">H"), ("\xce", ">I"), ("\xcf", ">Q"))
        signed = (("\xd0", ">b"), ("\xd1", ">h"), ("\xd2", ">i"), ("\xd3", ">q"))
        return _headed(value, unsigned if value >= 0 else signed)
    inside = b"".join(pack(each) for each in value)
    if len(value) < 16:
        return bytes([0x90 + len(value)]) + inside
    return _headed(len(value), (("\xdc", ">H"), ("\xdd", ">I"))) + inside


def _headed(number: int, forms: tuple[tuple[str, str], ...]) -> bytes:
    for head, form in forms:
        try:
            return head.encode("latin-1") + struct.pack(form, number)
        except struct.error:
            continue
    raise Malformed(f"{number} has no encoding")


def unpack(data: bytes) -> Any:
    """The value whose one encoding is all of `data`."""
    try:
        value, end = _read(data, 0)
    except (IndexError, struct.error):
        raise Malformed("it ends too early") from None
    if end != len(data) or pack(value) != data:
        raise Malformed("it is not in its one form")
    return value


_SIZED = {
    **{0xC4: ">B", 0xC5: ">H", 0xC6: ">I", 0xDC: ">H", 0xDD: ">I"},
    **{
        0xCC: ">B",
        0xCD: ">H",
        0xCE: ">I",
        0xCF: ">Q",
        0xD0: ">b",
        0xD1: ">h",
        0xD2: ">i",
        0xD3: ">q",
    },
}


def _read(data: bytes, at: int) -> tuple[Any, int]:
    head = data[at]
    at += 1
    if head < 0x80 or head >= 0xE0:
        return head - 256 * (head >= 0xE0), at
    if head == 0xC0:
        return None, at
    if 0x90 <= head < 0xA0:
        return _list(data, at, head - 0x90)
    if head not in _SIZED:
        raise Malformed(f"{head:#x} begins none of our values")
    form = _SIZED[head]
    (number,) = struct.unpack_from(form, data, at)
    at += struct.calcsize(form)
    if head in (0xDC, 0xDD):
        return _list(data, at, number)
    if head <= 0xC6:
        if at + number > len(data):
            raise Malformed("it ends too early")
        return data[at : at + number], at + number
    return number, at


def _list(data: bytes, at: int, count: int) -> tuple[list[Any], int]:
    values = []
    for _ in range(count):
        value, at = _read(data, at)
        values.append(value)
    return values, at


# Records.


def decode(name: str, data: bytes) -> Fields:
    """The record of this name."""
    found: Fields = _typed(unpack(data), name)
    return found


def encode(name: str, fields: Fields) -> bytes:
    """Its bytes."""
    return pack(_plain(name, fields))


def _plain(kind: str, value: Any) -> Any:
    if kind in layouts():
        return [_plain(inner, value[field]) for field, inner in layouts()[kind].fields]
    if kind.startswith("list of "):
        return [_plain(_inner(kind)[0], each) for each in value]
    return value


def _inner(kind: str) -> tuple[str, int, int | None]:
    """`list of X (1..64)` -> (X, 1, 64)."""
    match = re.fullmatch(r"list of (.+?)(?: \((\d+)(?:\.\.(\d*))?\))?", kind)
    assert match, kind
    inner, low, high = match.groups()
    if low is None:
        return inner, 0, None
    if high is None:
        return inner, int(low), int(low)
    return inner, int(low), int(high) if high else None


def _typed(value: Any, kind: str) -> Any:
    """The value, if it is of this kind."""
    if kind in layouts():
        fields = layouts()[kind].fields
        if not isinstance(value, list) or len(value) != len(fields):
            raise Malformed(f"{kind} has {len(fields)} fields")
        return {
            field: _typed(each, inner) for (field, inner), each in zip(fields, value, strict=True)
        }
    if kind.startswith("list of "):
        inner, low, high = _inner(kind)
        if not isinstance(value, list) or not low <= len(value) <= (high or len(value)):
            raise Malformed(f"{kind} expected")
        return [_typed(each, inner) for each in value]
    if kind.startswith("bytes"):
        least, _, most = kind.removeprefix("bytes").strip().partition("..")
        bounds = (int(least or 0), int(most or least or 2**32))
        if not isinstance(value, bytes) or not bounds[0] <= len(value) <= bounds[1]:
            raise Malformed(f"{kind} expected")
        return value
    if kind.startswith("one of "):
        if value not in numbers(kind.removeprefix("one of ")).values():
            raise Malformed(f"{kind} expected")
        return value
    low_number, high_number = RANGES[kind]
    if not isinstance(value, int) or not low_number <= value <= high_number:
        raise Malformed(f"{kind} expected")
    return value
