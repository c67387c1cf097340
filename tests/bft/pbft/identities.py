"""Who is who in the tests: deterministic keys, memberships and signed requests.

Signing and opening are remembered: a search spends most of its time in them otherwise.
"""

from collections.abc import Callable
from functools import cache
from typing import Protocol

from bft.codec.canonical import encode
from bft.crypto.hashing import sha256
from bft.crypto.identity import PrivateKey
from bft.errors import DecodeError
from bft.membership import Membership
from bft.ordering.request import seal_request
from bft.pbft.messages import Verified, open_message

CHAIN = sha256(b"test federation")


class Key(Protocol):
    """What a test needs of a private key."""

    public_key: bytes

    def sign(self, message: bytes) -> bytes: ...


make_key: Callable[[bytes], Key] = PrivateKey  # tests/keyed_signatures.py puts another here


@cache
def key(name: str) -> Key:
    """A deterministic identity."""
    return make_key(sha256(name.encode()))


@cache
def members(n: int) -> Membership:
    """n replicas with deterministic keys."""
    return membership(0, tuple(range(n)))


@cache
def membership(epoch: int, machines: tuple[int, ...]) -> Membership:
    """The list of an epoch: the keys of these machines."""
    keys = tuple(key(f"replica {i}").public_key for i in machines)
    return Membership(chain_id=CHAIN, epoch=epoch, keys=keys)


_signed: dict[tuple[int, bytes], bytes] = {}
_opened: dict[tuple[int, tuple[bytes, ...], bytes], Verified | None] = {}


def signer(index: int) -> Callable[[bytes], bytes]:
    """Signs as replica `index`; RFC 6979 is deterministic, so remembering changes nothing."""
    private = key(f"replica {index}")

    def sign(message: bytes) -> bytes:
        found = _signed.get((index, message))
        if found is None:
            if len(_signed) > 200_000:
                _signed.clear()
            found = _signed[index, message] = private.sign(message)
        return found

    return sign


def opened(data: bytes, listed: Membership) -> Verified | None:
    """`open_message`, remembered; None where it refuses."""
    name = (listed.epoch, listed.keys, data)
    try:
        return _opened[name]
    except KeyError:
        if len(_opened) > 50_000:
            _opened.clear()
    try:
        found = open_message(data, listed)
    except DecodeError:
        found = None
    _opened[name] = found
    return found


def request(client: int, cseq: int, operation: bytes = b"op") -> bytes:
    """A signed request of test client `client`."""
    private = key(f"client {client}")
    name = encode((client, cseq, operation))
    if (-1, name) not in _signed:
        _signed[-1, name] = seal_request(CHAIN, private.public_key, cseq, operation, private.sign)
    return _signed[-1, name]
