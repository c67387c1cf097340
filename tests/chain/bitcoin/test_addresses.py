"""Addresses and exported keys: Bitcoin Core's and the BIPs' own examples."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bft.errors import DecodeError
from chain.bitcoin import base58, bech32
from chain.bitcoin.address import (
    BITCOIN,
    GRISTMILL,
    REGTEST,
    TESTNET,
    decode_address,
    decode_secret,
    encode_address,
    encode_secret,
)
from tests.chain.bitcoin.core_vectors import VECTORS, load

NETWORKS = {"main": BITCOIN, "regtest": REGTEST, "signet": TESTNET, "testnet4": TESTNET}
BIPS = VECTORS.parent / "bips"


def _strings(name: str, begin: str, end: str) -> list[str]:
    """The strings that a list of a BIP shows, without those that need a byte outside of ASCII."""
    text = (BIPS / name).read_text().split(begin)[1].split(end)[0]
    lines = [line for line in text.splitlines() if line.startswith("* <tt>")]
    return [re.findall("<tt>(.*?)</tt>", line)[0] for line in lines if "+ 0x" not in line]


def test_bitcoin_cores_addresses_and_keys_read_and_write() -> None:
    for text, payload, meta in load("key_io_valid.json"):
        network = NETWORKS[meta["chain"]]
        if meta["isPrivkey"]:
            secret, compressed = decode_secret(text, network)
            assert (secret.hex(), compressed) == (payload, meta["isCompressed"])
            assert encode_secret(secret, network, compressed=compressed) == text
        else:
            assert decode_address(text, network).hex() == payload
            assert encode_address(bytes.fromhex(payload), network) == text
            flipped = text.swapcase()
            if meta.get("tryCaseFlip"):
                assert decode_address(flipped, network).hex() == payload


def test_what_bitcoin_core_refuses_is_refused() -> None:
    for (text,) in json.loads((VECTORS / "key_io_invalid.json").read_text()):
        for network in NETWORKS.values():
            with pytest.raises(DecodeError):
                decode_address(text, network)
            with pytest.raises(DecodeError):
                decode_secret(text, network)


def test_base58_is_bitcoin_cores() -> None:
    for data, text in load("base58_encode_decode.json"):
        assert base58.encode(bytes.fromhex(data)) == text
        assert base58.decode(text) == bytes.fromhex(data)


@pytest.mark.parametrize(
    ("name", "kind", "constant"),
    [
        ("bip-0173-test-vectors.mediawiki", "Bech32", bech32.BECH32),
        ("bip-0350-test-vectors.mediawiki", "Bech32m", bech32.BECH32M),
    ],
)
def test_checksums_of_the_bips(name: str, kind: str, constant: int) -> None:
    valid = _strings(name, f"are valid {kind}:", "not valid")
    invalid = _strings(name, f"not valid {kind}", "\n\n===" if "350" in name else "\n\nThe f")
    assert len(valid) >= 7
    assert len(invalid) >= 8
    for text in valid:
        prefix, values, found = bech32.decode(text)
        assert found == constant
        assert bech32.encode(prefix, values, constant) == text.lower()
    for text in invalid:
        with pytest.raises(DecodeError):
            bech32.decode(text)


def test_invalid_witness_addresses_of_bip_350() -> None:
    for text in _strings("bip-0350-test-vectors.mediawiki", "invalid segwit addresses", "XXX"):
        for network in (BITCOIN, TESTNET):
            with pytest.raises(DecodeError):
                decode_address(text, network)


@given(st.binary(min_size=20, max_size=20), st.data())
def test_a_mistyped_letter_is_noticed(key_hash: bytes, data: st.DataObject) -> None:
    text = encode_address(b"\x00\x14" + key_hash, GRISTMILL)
    assert text is not None
    assert decode_address(text, GRISTMILL) == b"\x00\x14" + key_hash
    at = data.draw(st.integers(0, len(text) - 1))
    letter = data.draw(st.sampled_from("qpzry9x8gf2tvdw0s3jn54khce6mua7l").filter(text[at].__ne__))
    with pytest.raises(DecodeError):
        decode_address(text[:at] + letter + text[at + 1 :], GRISTMILL)


def test_another_networks_address_is_refused() -> None:
    text = encode_address(b"\x00\x14" + bytes(20), BITCOIN)
    assert text is not None
    with pytest.raises(DecodeError):
        decode_address(text, GRISTMILL)
