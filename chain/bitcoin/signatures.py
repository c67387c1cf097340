"""ECDSA signatures and public keys as scripts hold them: DER and a kind of hash, SEC keys.

Source: Bitcoin Core, script/interpreter.cpp (`IsValidSignatureEncoding`) and pubkey.cpp
(`ecdsa_signature_parse_der_lax`); BIP 66, 146.
Pure.
"""

from coincurve import PublicKey
from coincurve._libsecp256k1 import ffi, lib
from coincurve.context import GLOBAL_CONTEXT

from chain.bitcoin.sighash import ALL, ANYONE_CAN_PAY, SINGLE

DER_BYTES_MAX = 73  # with the byte for the kind of hash
_ORDER_HALF = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0


def is_strict_der(signature: bytes) -> bool:
    """BIP 66; `signature` ends with the byte for the kind of hash."""
    size = len(signature)
    if not 9 <= size <= DER_BYTES_MAX or signature[0] != 0x30 or signature[1] != size - 3:
        return False
    r_size = signature[3]
    if 5 + r_size >= size:
        return False
    s_size = signature[5 + r_size]
    if r_size + s_size + 7 != size:
        return False
    return _is_integer(signature, 2, r_size) and _is_integer(signature, 4 + r_size, s_size)


def _is_integer(signature: bytes, at: int, size: int) -> bool:
    """A positive DER integer of `size` bytes in its shortest form at `at`."""
    if signature[at] != 0x02 or size == 0 or signature[at + 2] & 0x80:
        return False
    return not (size > 1 and signature[at + 2] == 0 and not signature[at + 3] & 0x80)


def is_low_s(signature: bytes) -> bool:
    """Whether a strict DER signature has the smaller of its two possible s (BIP 146)."""
    s_at = 6 + signature[3]
    s_size = signature[5 + signature[3]]
    return int.from_bytes(signature[s_at : s_at + s_size], "big") <= _ORDER_HALF


def is_known_kind(signature: bytes) -> bool:
    """Whether the last byte is one of the six kinds of hash that there are."""
    return bool(signature) and ALL <= signature[-1] & ~ANYONE_CAN_PAY <= SINGLE


def is_key(key: bytes) -> bool:
    """Whether it looks like a compressed or an uncompressed SEC key."""
    return is_compressed(key) or (len(key) == 65 and key[0] == 4)


def is_compressed(key: bytes) -> bool:
    """Whether it looks like a compressed SEC key."""
    return len(key) == 33 and key[0] in (2, 3)


def verify_digest(key: bytes, signature: bytes, digest: bytes) -> bool:
    """Whether `signature` (lax DER, without the kind of hash) is `key`'s on `digest`."""
    parsed = _parse_lax(signature)
    if parsed is None or len(key) not in (33, 65):
        return False
    try:
        public_key = PublicKey(key)
    except ValueError:
        return False
    context = GLOBAL_CONTEXT.ctx
    compact = ffi.new("secp256k1_ecdsa_signature *")
    if not lib.secp256k1_ecdsa_signature_parse_compact(context, compact, parsed):
        return False
    lib.secp256k1_ecdsa_signature_normalize(context, compact, compact)  # high s was valid once
    return bool(lib.secp256k1_ecdsa_verify(context, compact, digest, public_key.public_key))


def _parse_lax(data: bytes) -> bytes | None:
    """r and s, 32 bytes each, from what OpenSSL took for DER; zeros where a number is too large."""
    reader = _Lax(data)
    if reader.byte() != 0x30:
        return None
    size = reader.byte()
    if size is None:
        return None
    if size & 0x80 and reader.take(size & 0x7F) is None:  # the sequence's length is ignored
        return None
    r, s = reader.integer(), reader.integer()
    if r is None or s is None:
        return None
    if len(r) > 32 or len(s) > 32:
        return bytes(64)
    return r.rjust(32, b"\0") + s.rjust(32, b"\0")


class _Lax:
    """Takes bytes off the front; None once there are too few."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, count: int) -> bytes | None:
        if count > len(self._data) - self._at:
            return None
        self._at += count
        return self._data[self._at - count : self._at]

    def byte(self) -> int | None:
        taken = self.take(1)
        return None if taken is None else taken[0]

    def integer(self) -> bytes | None:
        """An integer's bytes without leading zeros."""
        if self.byte() != 0x02:
            return None
        size = self.byte()
        if size is not None and size & 0x80:
            length = self.take(size & 0x7F)
            if length is None or len(length.lstrip(b"\0")) > 4:
                return None
            size = int.from_bytes(length, "big")
        found = None if size is None else self.take(size)
        return None if found is None else found.lstrip(b"\0")
