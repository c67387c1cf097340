"""Keys that grow from one seed: extended keys, their children, and their text form.

Source: BIP 32; secp256k1 by coincurve.
Pure.
"""

import hashlib
import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TypedDict

from coincurve import PrivateKey, PublicKey

from bft.errors import DecodeError, Refused
from chain.bitcoin import base58
from chain.bitcoin.signing import hash160

HARDENED = 1 << 31
DEPTH_MAX = 255
SEED_BYTES_MIN, SEED_BYTES_MAX = 16, 64
_PUBLIC, _PRIVATE = bytes.fromhex("0488b21e"), bytes.fromhex("0488ade4")  # xpub, xprv
_TEXT_BYTES = 78
_STEP = re.compile(r"(\d{1,10})(['hH]?)")


class Place(TypedDict):
    """Where a key stands in its tree."""

    depth: int
    parent: bytes
    number: int


ROOT: Place = {"depth": 0, "parent": bytes(4), "number": 0}


@dataclass(frozen=True, kw_only=True, slots=True)
class ExtendedKey:
    """A key and what its children are made with."""

    public: bytes  # 33
    secret: bytes | None = field(repr=False)  # 32; None: only public children
    chain_code: bytes = field(repr=False)  # 32
    depth: int = 0  # u8
    parent: bytes = bytes(4)  # fingerprint
    number: int = 0  # u32, among the parent's children

    @property
    def fingerprint(self) -> bytes:
        """4 bytes."""
        return hash160(self.public)[:4]

    def child(self, number: int) -> "ExtendedKey":
        """The child `number`; from HARDENED on only a secret key has them.

        Raises:
            Refused: "no-secret"; "too-deep"; "no-such-child" (once in 2**127, BIP 32 skips it).
        """
        if self.depth >= DEPTH_MAX:
            raise Refused("too-deep", f"a key has at most {DEPTH_MAX} ancestors")
        if number >= HARDENED:
            if self.secret is None:
                raise Refused("no-secret", "only a secret key has hardened children")
            data = b"\0" + self.secret
        else:
            data = self.public
        mac = hmac.digest(self.chain_code, data + number.to_bytes(4, "big"), "sha512")
        place: Place = {"depth": self.depth + 1, "parent": self.fingerprint, "number": number}
        try:
            if self.secret is None:
                public = PublicKey(self.public).add(mac[:32]).format()
                return ExtendedKey(public=public, secret=None, chain_code=mac[32:], **place)
            secret = PrivateKey(self.secret).add(mac[:32]).secret
        except ValueError:
            raise Refused("no-such-child", f"there is no child {number}; take the next") from None
        return _private(secret, mac[32:], place)

    def derive(self, path: Iterable[int]) -> "ExtendedKey":
        """The descendant at the end of `path`."""
        key = self
        for number in path:
            key = key.child(number)
        return key

    @property
    def neutered(self) -> "ExtendedKey":
        """The same key without its secret."""
        return replace(self, secret=None)

    def encode(self) -> str:
        """xprv with its secret, xpub without."""
        head = (_PUBLIC if self.secret is None else _PRIVATE) + bytes([self.depth]) + self.parent
        tail = self.public if self.secret is None else b"\0" + self.secret
        return base58.encode_check(head + self.number.to_bytes(4, "big") + self.chain_code + tail)


def _private(secret: bytes, chain_code: bytes, place: Place = ROOT) -> ExtendedKey:
    public = PrivateKey(secret).public_key.format()
    return ExtendedKey(public=public, secret=secret, chain_code=chain_code, **place)


def master_key(seed: bytes) -> ExtendedKey:
    """The root of all.  Raises DecodeError: too short or too long, or (never seen) no key."""
    if not SEED_BYTES_MIN <= len(seed) <= SEED_BYTES_MAX:
        raise DecodeError(f"a seed of {len(seed)} bytes came; {SEED_BYTES_MIN} to {SEED_BYTES_MAX}")
    mac = hmac.new(b"Bitcoin seed", seed, hashlib.sha512).digest()
    try:
        return _private(mac[:32], mac[32:])
    except ValueError:
        raise DecodeError("this seed gives no key") from None


def decode_key(text: str) -> ExtendedKey:
    """Raises DecodeError: mistyped, or no extended key."""
    data = base58.decode_check(text)
    if len(data) != _TEXT_BYTES or data[:4] not in (_PUBLIC, _PRIVATE):
        raise DecodeError("no extended key: xpub or xprv and 107 letters are expected")
    depth, parent, number = data[4], data[5:9], int.from_bytes(data[9:13], "big")
    chain_code, tail = data[13:45], data[45:]
    if depth == 0 and (parent != bytes(4) or number):
        raise DecodeError("an extended key without ancestors that has a parent")
    place: Place = {"depth": depth, "parent": parent, "number": number}
    try:
        if data[:4] == _PRIVATE:
            if tail[0]:
                raise DecodeError("an xprv holds 00 and 32 bytes of secret")
            return _private(tail[1:], chain_code, place)
        public = PublicKey(tail).format()
        return ExtendedKey(public=public, secret=None, chain_code=chain_code, **place)
    except ValueError:
        raise DecodeError("the key in this extended key is none of secp256k1") from None


def parse_path(text: str) -> tuple[int, ...]:
    """Numbers of children from the steps of a path such as 84h/0h/0h; m/ may stand before them.

    Raises:
        DecodeError: a step that is none.
    """
    steps = "" if text == "m" else text.removeprefix("m/")
    found = []
    for step in steps.split("/") if steps else []:
        match = _STEP.fullmatch(step)
        if match is None or int(match[1]) >= HARDENED:
            raise DecodeError(f"{step!r} is no step of a path: a number, with h if hardened")
        found.append(int(match[1]) + HARDENED * bool(match[2]))
    return tuple(found)


def format_path(path: Iterable[int]) -> str:
    """Steps with / between two."""
    return "/".join(
        f"{number - HARDENED}h" if number >= HARDENED else str(number) for number in path
    )
