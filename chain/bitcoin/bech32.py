"""Bech32 and Bech32m: the newer kind of address.

Source: BIP 173 and 350.
Pure.
"""

from bft.errors import DecodeError

TEXT_MAX = 90
CHECKSUM_LETTERS = 6
BECH32, BECH32M = 1, 0x2BC830A3
_ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)


def _checksum(values: list[int]) -> int:
    state = 1
    for value in values:
        top = state >> 25
        state = (state & 0x1FFFFFF) << 5 ^ value
        for bit, word in enumerate(_GENERATOR):
            if top >> bit & 1:
                state ^= word
    return state


def _expanded(prefix: str) -> list[int]:
    codes = [ord(letter) for letter in prefix]
    return [code >> 5 for code in codes] + [0] + [code & 31 for code in codes]


def encode(prefix: str, values: list[int], constant: int) -> str:
    """`values`, numbers below 32, under `prefix` with a checksum of BECH32 or BECH32M."""
    state = _checksum(_expanded(prefix) + values + [0] * CHECKSUM_LETTERS) ^ constant
    tail = [state >> 5 * (CHECKSUM_LETTERS - 1 - at) & 31 for at in range(CHECKSUM_LETTERS)]
    return prefix + "1" + "".join(_ALPHABET[value] for value in values + tail)


def decode(text: str) -> tuple[str, list[int], int]:
    """(prefix, values, BECH32 or BECH32M).

    Raises:
        DecodeError: mixed case, a letter that cannot be, no separator, or no checksum that stands.
    """
    if any(not 33 <= ord(letter) <= 126 for letter in text):
        raise DecodeError("a letter that no address has")
    if text.lower() != text and text.upper() != text:
        raise DecodeError("small and capital letters mixed")
    if len(text) > TEXT_MAX:
        raise DecodeError(f"{len(text)} letters came; at most {TEXT_MAX} can be")
    text = text.lower()
    at = text.rfind("1")
    if at < 1 or at + 1 + CHECKSUM_LETTERS > len(text):
        raise DecodeError("no separator between prefix and data")
    prefix, data = text[:at], text[at + 1 :]
    if any(letter not in _ALPHABET for letter in data):
        raise DecodeError("a letter that is none of the 32")
    values = [_ALPHABET.index(letter) for letter in data]
    constant = _checksum(_expanded(prefix) + values)
    if constant not in (BECH32, BECH32M):
        raise DecodeError("the checksum does not stand: is a letter mistyped?")
    return prefix, values[:-CHECKSUM_LETTERS], constant


def regroup(values: list[int] | bytes, width: int, to_width: int, *, pad: bool) -> list[int]:
    """Numbers of `width` bits as numbers of `to_width` bits.

    Raises:
        DecodeError: without `pad`, more than a partial group of zeros is left over.
    """
    buffer = bits = 0
    out: list[int] = []
    for value in values:
        buffer, bits = buffer << width | value, bits + width
        while bits >= to_width:
            bits -= to_width
            out.append(buffer >> bits & (1 << to_width) - 1)
        buffer &= (1 << bits) - 1
    if pad:
        if bits:
            out.append(buffer << to_width - bits & (1 << to_width) - 1)
    elif bits >= width or buffer:
        raise DecodeError("bits are left over that belong to no byte")
    return out
