"""Signing what one's keys own, for the templates that wallets know.

Source: Bitcoin Core, script/sign.cpp; RFC 6979 nonces and low s by libsecp256k1.
Pure: keys come from outside as bytes.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace

from coincurve import PrivateKey

from bft.crypto.hashing import sha256
from bft.errors import DecodeError, Refused
from chain.bitcoin.opcodes import Op
from chain.bitcoin.script import (
    Operation,
    is_key_hash,
    is_script_hash,
    operations,
    push,
    witness_program,
)
from chain.bitcoin.sighash import ALL, SignatureHasher
from chain.records.ripemd160 import ripemd160
from chain.records.transaction import TxIn, TxOut


def hash160(data: bytes) -> bytes:
    """20 bytes: RIPEMD-160 of SHA-256."""
    return ripemd160(sha256(data))


class Keyring:
    """Private keys by public key, and the scripts behind script hashes."""

    def __init__(self, secrets: Iterable[bytes], scripts: Iterable[bytes] = ()) -> None:
        """`secrets`: 32 bytes each; their compressed public keys are theirs."""
        keys = [PrivateKey(secret) for secret in secrets]
        self._keys = {key.public_key.format(compressed=True): key for key in keys}
        self._by_hash = {hash160(public): public for public in self._keys}
        self._scripts: dict[bytes, bytes] = {}
        for script in scripts:
            self._scripts[hash160(script)] = self._scripts[sha256(script)] = script

    @property
    def public_keys(self) -> tuple[bytes, ...]:
        """33 bytes each, in the order of their secrets."""
        return tuple(self._keys)

    def owner(self, key_hash: bytes) -> bytes:
        """The public key with this hash.  Raises Refused: "unknown-key"."""
        found = self._by_hash.get(key_hash)
        if found is None:
            raise Refused("unknown-key", f"no key with the hash {key_hash.hex()} here")
        return found

    def script(self, script_hash: bytes) -> bytes:
        """The script with this hash of 20 or 32 bytes.  Raises Refused: "unknown-script"."""
        found = self._scripts.get(script_hash)
        if found is None:
            raise Refused("unknown-script", f"no script with the hash {script_hash.hex()} here")
        return found

    def has(self, public_key: bytes) -> bool:
        """Whether it can sign for this key."""
        return public_key in self._keys

    def sign(self, public_key: bytes, digest: bytes, kind: int) -> bytes:
        """DER and the byte for the kind of hash."""
        return self._keys[public_key].sign(digest, hasher=None) + bytes([kind])

    def __repr__(self) -> str:
        return f"Keyring({len(self._keys)} keys)"


_Digest = Callable[[bytes], bytes]


def sign_input(
    hasher: SignatureHasher, index: int, spent: TxOut, keyring: Keyring, kind: int = ALL
) -> TxIn:
    """Input `index` with what `spent` asks for.

    Raises:
        Refused: "unknown-key", "unknown-script", or "unknown-template".
    """
    entry = hasher.transaction.inputs[index]
    script, nested = spent.script, b""
    if is_script_hash(script):
        script = keyring.script(script[2:22])
        nested = push(script)
    found = witness_program(script)
    if found is None:
        items = _solve(script, keyring, lambda code: hasher.legacy(index, code, kind), kind)
        return replace(entry, script=b"".join(push(item) for item in items) + nested, witness=())

    def digest(code: bytes) -> bytes:
        return hasher.witness(index, code, spent.value, kind)

    version, program = found
    if version or len(program) not in (20, 32):
        raise Refused("unknown-template", f"witness version {version}")
    if len(program) == 20:
        code = bytes([Op.DUP, Op.HASH160, 20]) + program + bytes([Op.EQUALVERIFY, Op.CHECKSIG])
        return replace(entry, script=nested, witness=_solve(code, keyring, digest, kind))
    code = keyring.script(program)
    return replace(entry, script=nested, witness=(*_solve(code, keyring, digest, kind), code))


def _solve(script: bytes, keyring: Keyring, digest: _Digest, kind: int) -> tuple[bytes, ...]:
    """What satisfies a script that is not a hash of another."""
    if is_key_hash(script):
        key = keyring.owner(script[3:23])
        return keyring.sign(key, digest(script), kind), key
    try:
        parts = list(operations(script))
    except DecodeError:
        parts = []
    at = _after_lock(parts)
    if len(parts) == at + 2 and parts[at].data and parts[at + 1].code == Op.CHECKSIG:
        key = parts[at].data or b""
        if not keyring.has(key):
            raise Refused("unknown-key", f"no key {key.hex()} here")
        return (keyring.sign(key, digest(script), kind),)
    if len(parts) > at + 3 and parts[-1].code == Op.CHECKMULTISIG:
        keys = [part.data or b"" for part in parts[at + 1 : -2]]
        required = parts[at].code - Op.PUSH_1 + 1
        mine = [key for key in keys if keyring.has(key)][:required]
        if len(mine) < required:
            raise Refused("unknown-key", f"{len(mine)} of {required} keys are here")
        return (b"", *(keyring.sign(key, digest(script), kind) for key in mine))
    raise Refused("unknown-template", f"no way known to satisfy {script[:16].hex()}...")


def _after_lock(parts: list[Operation]) -> int:
    """Where a script goes on after `time CHECKLOCKTIMEVERIFY DROP`, or 0."""
    locks = (Op.CHECKLOCKTIMEVERIFY, Op.CHECKSEQUENCEVERIFY)
    is_locked = len(parts) > 3 and parts[1].code in locks and parts[2].code == Op.DROP
    return 3 if is_locked else 0
