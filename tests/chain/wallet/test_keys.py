"""Words, extended keys and descriptors: the BIPs' vectors, and btclib beside us."""

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bft.errors import DecodeError, Refused
from chain.wallet.descriptor import checksum, decode_descriptor
from chain.wallet.hdkey import HARDENED, decode_key, format_path, master_key, parse_path
from chain.wallet.words import ENTROPY_BYTES, check_words, seed_of, words_of
from tests.chain.bitcoin.core_vectors import VECTORS

BIP_32 = (VECTORS.parent / "bips" / "bip-0032-test-vectors.mediawiki").read_text()
BIP_39 = json.loads((VECTORS.parent / "bip39" / "english.json").read_text())["english"]
SEED = re.compile(r"Seed \(hex\): ([0-9a-f]+)\n(.*?)(?=\n===|\Z)", re.DOTALL)
CHAIN = re.compile(r"\* Chain (m\S*)\n\*\* ext pub: (\S+)\n\*\* ext prv: (\S+)")


def test_chains_of_bip_32() -> None:
    tried = 0
    for seed, chains in SEED.findall(BIP_32):
        root = master_key(bytes.fromhex(seed))
        for path, public, private in CHAIN.findall(chains.replace("<sub>H</sub>", "h")):
            steps = parse_path(path)
            key = root.derive(steps)
            assert (key.encode(), key.neutered.encode()) == (private, public)
            assert (decode_key(private), decode_key(public)) == (key, key.neutered)
            assert f"m/{format_path(steps)}".rstrip("/") == path
            if steps and steps[-1] < HARDENED:
                assert root.derive(steps[:-1]).neutered.child(steps[-1]) == key.neutered
            tried += 1
    assert tried >= 15


def test_keys_that_bip_32_calls_invalid() -> None:
    invalid = re.findall(r"\* (x(?:pub|prv)\S+) \(", BIP_32.split("===Test vector 5===")[1])
    assert len(invalid) >= 14
    for text in [*invalid, "xpub", "", "0" * 111, "Ltpv71G8qDifUiNes8hK1m3ZjL3bW76X4AKF3J26"]:
        with pytest.raises(DecodeError):
            decode_key(text)


def test_public_keys_have_no_hardened_children() -> None:
    root = master_key(bytes(16))
    with pytest.raises(Refused, match="hardened"):
        root.neutered.child(HARDENED)
    for size in (15, 65):
        with pytest.raises(DecodeError):
            master_key(bytes(size))
    assert root.secret is not None
    assert root.secret.hex() not in repr(root)


@pytest.mark.parametrize("text", ["1/", "x", "2147483648", "1hh", "-1", "1/ 2", "m1", "m//1"])
def test_paths_that_are_none(text: str) -> None:
    with pytest.raises(DecodeError):
        parse_path(text)


def test_words_of_bip_39() -> None:
    for entropy, words, seed, xprv in BIP_39:
        assert words_of(bytes.fromhex(entropy)) == words == check_words(f"  {words.upper()}\n")
        assert seed_of(words, "TREZOR").hex() == seed
        assert master_key(bytes.fromhex(seed)).encode() == xprv
    assert len(BIP_39) == 24


@given(st.sampled_from(ENTROPY_BYTES).flatmap(lambda n: st.binary(min_size=n, max_size=n)))
def test_exchanged_and_unknown_words_are_refused(entropy: bytes) -> None:
    words = words_of(entropy).split()
    for wrong in (words[:-1], [*words, "zoo"], ["gristmill", *words[1:]], []):
        with pytest.raises(DecodeError):
            check_words(" ".join(wrong))


def test_a_checksum_catches_most_exchanges() -> None:
    words = words_of(bytes(range(32))).split()
    caught = 0
    for at in range(23):
        swapped = [*words[:at], words[at + 1], words[at], *words[at + 2 :]]
        try:
            check_words(" ".join(swapped))
        except DecodeError:
            caught += 1
    assert caught >= 20


# BIP 380's example, and BIP 84's account of its words "abandon ... about".
ABOUT = "abandon " * 11 + "about"
BIP_84_XPUB = (
    "xpub6CatWdiZiodmUeTDp8LT5or8nmbKNcuyvz7WyksVFkKB4RHwCD3XyuvPEbvqAQY3rAPshWcMLoP2fMFMKHPJ4Z"
    "eZXYVUhLv1VMrjPC7PW6V"
)


def test_the_checksum_of_bip_380() -> None:
    assert checksum("raw(deadbeef)") == "89f8spxm"
    with pytest.raises(DecodeError):
        checksum("raw(é)")


def test_bip_84s_account_as_a_descriptor() -> None:
    root = master_key(seed_of(ABOUT))
    account = root.derive(parse_path("84h/0h/0h"))
    assert account.neutered.encode() == BIP_84_XPUB
    text = f"wpkh([{root.fingerprint.hex()}/84h/0h/0h]{BIP_84_XPUB}/<0;1>/*)"
    found = decode_descriptor(text)
    assert decode_descriptor(found.encode()) == found
    assert found.encode().startswith(text + "#")
    assert (found.key, found.origin) == (account.neutered, root.fingerprint)
    first = found.key.derive((0, 0)).public
    assert first.hex() == "0330d54fd0dd420a6e5f8d3624f5f3482cae350f79d5f0753bf5beef9c2d91af3c"


@pytest.mark.parametrize(
    "text",
    [
        "",
        BIP_84_XPUB,
        f"wpkh({BIP_84_XPUB}/0/*)",
        f"pkh({BIP_84_XPUB}/<0;1>/*)",
        f"wpkh({BIP_84_XPUB}/<0;1>/*)#00000000",
        f"wpkh({BIP_84_XPUB}/<0;1>/*)#",
        f"wpkh([73c5da0a/84]{BIP_84_XPUB}/<0;1>/*)",
        f"wpkh([73c5da0/84h]{BIP_84_XPUB}/<0;1>/*)",
        f"wpkh({master_key(bytes(16)).encode()}/<0;1>/*)",
        "wpkh(" + "x" * 400,
    ],
)
def test_descriptors_that_are_not_read(text: str) -> None:
    with pytest.raises(DecodeError):
        decode_descriptor(text)


@settings(max_examples=25, deadline=None)
@given(
    st.binary(min_size=16, max_size=64),
    st.lists(st.integers(0, 2**32 - 1), max_size=4),
)
def test_btclib_derives_the_same(seed: bytes, path: list[int]) -> None:
    bip32 = pytest.importorskip("btclib_wallet.bip32")
    ours = master_key(seed).derive(path)
    theirs = bip32.derive(bip32.rootxprv_from_seed(seed), path)
    text = theirs if isinstance(theirs, str) else theirs.b58encode()
    assert ours.encode() == (text.decode() if isinstance(text, bytes) else text)
