"""Base58 with a checksum: the older kind of address, and exported keys.

Source: Bitcoin Core, base58.cpp.
Pure.
"""

from bft.crypto.hashing import double_sha256
from bft.errors import DecodeError

TEXT_MAX = 400
_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_VALUES = {letter: value for value, letter in enumerate(_ALPHABET)}


def encode(data: bytes) -> str:
    """`data` without a checksum; leading zero bytes are leading ones."""
    number, letters = int.from_bytes(data, "big"), []
    while number:
        number, digit = divmod(number, 58)
        letters.append(_ALPHABET[digit])
    zeros = len(data) - len(data.lstrip(b"\0"))
    return "1" * zeros + "".join(reversed(letters))


def decode(text: str) -> bytes:
    """Raises DecodeError: a letter that is none of the 58, or more than TEXT_MAX letters."""
    if len(text) > TEXT_MAX:
        raise DecodeError(f"{len(text)} letters came; at most {TEXT_MAX} can be")
    number = 0
    for letter in text:
        value = _VALUES.get(letter)
        if value is None:
            raise DecodeError(f"{letter!r} is no letter of base 58")
        number = number * 58 + value
    zeros = len(text) - len(text.lstrip("1"))
    return bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8, "big")


def encode_check(data: bytes) -> str:
    """`data` with four bytes of checksum."""
    return encode(data + double_sha256(data)[:4])


def decode_check(text: str) -> bytes:
    """Raises DecodeError: not base 58, or a checksum that does not stand."""
    data = decode(text)
    if len(data) < 4 or double_sha256(data[:-4])[:4] != data[-4:]:
        raise DecodeError("the checksum does not stand: is a letter mistyped?")
    return data[:-4]
