"""Addresses and exported keys as people type them, and the scripts that they stand for.

Source: Bitcoin Core, key_io.cpp and kernel/chainparams.cpp; BIP 13, 173, 350.
Pure.
"""

from dataclasses import dataclass

from bft.errors import DecodeError
from chain.bitcoin import base58, bech32
from chain.bitcoin.script import (
    is_key_hash,
    is_script_hash,
    pay_to_key_hash,
    pay_to_script_hash,
    pay_to_witness,
    witness_program,
)

WITNESS_VERSION_MAX = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class AddressFormat:
    """How one network writes its addresses, so that none is taken for another's."""

    name: str
    key_hash: int  # first byte of a P2PKH address
    script_hash: int  # first byte of a P2SH address
    secret: int  # first byte of an exported private key
    witness: str  # prefix of a witness address


BITCOIN = AddressFormat(name="main", key_hash=0, script_hash=5, secret=128, witness="bc")
TESTNET = AddressFormat(name="test", key_hash=111, script_hash=196, secret=239, witness="tb")
REGTEST = AddressFormat(name="regtest", key_hash=111, script_hash=196, secret=239, witness="bcrt")
GRISTMILL = AddressFormat(name="gristmill", key_hash=38, script_hash=63, secret=166, witness="gr")


def encode_address(script: bytes, network: AddressFormat) -> str | None:
    """The address of an output's script, or None where it has none."""
    if is_key_hash(script):
        return base58.encode_check(bytes([network.key_hash]) + script[3:23])
    if is_script_hash(script):
        return base58.encode_check(bytes([network.script_hash]) + script[2:22])
    found = witness_program(script)
    if found is None or not _is_program(*found):
        return None
    version, program = found
    constant = bech32.BECH32M if version else bech32.BECH32
    return bech32.encode(
        network.witness, [version, *bech32.regroup(program, 8, 5, pad=True)], constant
    )


def decode_address(text: str, network: AddressFormat) -> bytes:
    """The script that an address stands for.

    Raises:
        DecodeError: mistyped, of another network, or of a form that does not exist.
    """
    prefix = network.witness + "1"
    if text[: len(prefix)].lower() == prefix:
        return _decode_witness(text)
    data = base58.decode_check(text)
    if len(data) == 21 and data[0] == network.key_hash:
        return pay_to_key_hash(data[1:])
    if len(data) == 21 and data[0] == network.script_hash:
        return pay_to_script_hash(data[1:])
    raise DecodeError(f"no address of the network {network.name}")


def _decode_witness(text: str) -> bytes:
    _, values, constant = bech32.decode(text)
    if not values:
        raise DecodeError("a witness address without a version")
    version, program = values[0], bytes(bech32.regroup(values[1:], 5, 8, pad=False))
    if constant != (bech32.BECH32M if version else bech32.BECH32):
        raise DecodeError(f"witness version {version} with the other versions' checksum (BIP 350)")
    if not _is_program(version, program):
        raise DecodeError(f"witness version {version} with a program of {len(program)} bytes")
    return pay_to_witness(version, program)


def _is_program(version: int, program: bytes) -> bool:
    if version == 0:
        return len(program) in (20, 32)
    return version <= WITNESS_VERSION_MAX and 2 <= len(program) <= 40


def encode_secret(secret: bytes, network: AddressFormat, *, compressed: bool = True) -> str:
    """A private key (32 bytes) as wallets export it (WIF)."""
    return base58.encode_check(bytes([network.secret]) + secret + b"\x01" * compressed)


def decode_secret(text: str, network: AddressFormat) -> tuple[bytes, bool]:
    """(32 bytes, whether its public key is compressed).

    Raises:
        DecodeError: mistyped, of another network, or no private key.
    """
    data = base58.decode_check(text)
    if data[:1] != bytes([network.secret]) or len(data) not in (33, 34):
        raise DecodeError(f"no private key of the network {network.name}")
    if len(data) == 34 and data[33] != 1:
        raise DecodeError("a private key ends with 01 or with nothing")
    return data[1:33], len(data) == 34
