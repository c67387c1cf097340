"""What callers of JSON-RPC give, checked as Bitcoin Core checks it."""

import re
from typing import Any

from bft.errors import DecodeError
from chain.node.rpc import INVALID_PARAMETER, TYPE_ERROR, RpcError

HEX_MAX = 2 * 1024 * 1024
# Not what bytes.fromhex takes: that lets spaces and line ends pass.
_HASH = re.compile(r"[0-9a-fA-F]{64}")
_BYTES = re.compile(r"[0-9a-fA-F]*")


def text(value: Any, name: str) -> str:
    """Raises RpcError: no string."""
    if not isinstance(value, str):
        raise RpcError(TYPE_ERROR, f"{name} must be a string")
    return value


def check_int(value: Any, name: str) -> None:
    """Raises RpcError: no whole number."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise RpcError(TYPE_ERROR, f"{name} must be a whole number")


def hash_of(value: Any, name: str) -> bytes:
    """32 bytes, internal byte order.  Raises RpcError: no 64 hex digits."""
    if not _HASH.fullmatch(text(value, name)):
        raise RpcError(INVALID_PARAMETER, f"{name} must be of length 64, in hex")
    return bytes.fromhex(value)[::-1]


def bytes_of(value: Any) -> bytes:
    """Raises RpcError: too long, or no text; DecodeError: no hex digits."""
    digits = text(value, "hex")
    if len(digits) > HEX_MAX + 2:
        raise RpcError(INVALID_PARAMETER, f"{len(digits)} digits; at most {HEX_MAX}")
    if len(digits) % 2 or not _BYTES.fullmatch(digits):
        raise DecodeError("hex digits expected, two a byte")
    return bytes.fromhex(digits)
