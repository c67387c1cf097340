"""A watch-only wallet in one line of text: `wpkh([fingerprint/path]xpub/<0;1>/*)#checksum`.

Source: BIP 380 (descriptors, checksum), 382 (`wpkh`), 389 (`<0;1>`: receiving and change).
Only this one form is read; Bitcoin Core and most wallets read and write it.
Pure.
"""

import re
from dataclasses import dataclass

from bft.errors import DecodeError
from chain.wallet.hdkey import ExtendedKey, decode_key, format_path, parse_path

CHECKSUM_LETTERS = 8
TEXT_MAX = 400
_INPUT = (
    "0123456789()[],'/*abcdefgh@:$%{}"
    "IJKLMNOPQRSTUVWXYZ&+-.;<=>?!^_|~"
    'ijklmnopqrstuvwxyzABCDEFGH`#"\\ '
)
_OUTPUT = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATOR = (0xF5DEE51989, 0xA9FDCA3312, 0x1BAB10E32D, 0x3706B1677A, 0x644D626FFD)
_FORM = re.compile(r"wpkh\((?:\[([0-9a-f]{8})((?:/\d+[h'])*)\])?([1-9A-Za-z]+)/<0;1>/\*\)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Descriptor:
    """An account's public side."""

    key: ExtendedKey  # public; children 0 receive, children 1 take change
    origin: bytes  # 4, fingerprint of the root; the key's own where none was given
    path: tuple[int, ...]  # from the root to `key`

    def encode(self) -> str:
        """With its checksum."""
        path = f"/{format_path(self.path)}" if self.path else ""
        text = f"wpkh([{self.origin.hex()}{path}]{self.key.encode()}/<0;1>/*)"
        return f"{text}#{checksum(text)}"


def decode_descriptor(text: str) -> Descriptor:
    """Raises DecodeError: another form, a checksum that fails, or a secret key in it."""
    if len(text) > TEXT_MAX:
        raise DecodeError(f"{len(text)} letters came; at most {TEXT_MAX} can be")
    body, mark, told = text.strip().partition("#")
    if mark and told != checksum(body):
        raise DecodeError(f"the descriptor's checksum is {checksum(body)}; {told[:20]!r} came")
    match = _FORM.fullmatch(body)
    if match is None:
        raise DecodeError("wpkh([fingerprint/path]xpub/<0;1>/*) is the form that is read here")
    key = decode_key(match[3])
    if key.secret is not None:
        raise DecodeError("the descriptor holds a secret key; give the one with xpub")
    origin = bytes.fromhex(match[1]) if match[1] else key.fingerprint
    return Descriptor(key=key, origin=origin, path=parse_path((match[2] or "").lstrip("/")))


def checksum(text: str) -> str:
    """Eight letters over a descriptor without its checksum.  Raises DecodeError: odd letters."""
    values, group = [], []
    for letter in text:
        place = _INPUT.find(letter)
        if place < 0:
            raise DecodeError(f"{letter!r} is no letter of a descriptor")
        values.append(place & 31)
        group.append(place >> 5)
        if len(group) == 3:
            values.append(group[0] * 9 + group[1] * 3 + group[2])
            group = []
    if len(group) == 1:
        values.append(group[0])
    elif len(group) == 2:
        values.append(group[0] * 3 + group[1])
    state = 1
    for value in values + [0] * CHECKSUM_LETTERS:
        top = state >> 35
        state = (state & 0x7FFFFFFFF) << 5 ^ value
        for bit, word in enumerate(_GENERATOR):
            if top >> bit & 1:
                state ^= word
    state ^= 1
    return "".join(
        _OUTPUT[state >> 5 * (CHECKSUM_LETTERS - 1 - at) & 31] for at in range(CHECKSUM_LETTERS)
    )
