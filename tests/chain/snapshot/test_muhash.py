"""The coins' digest: Bitcoin Core's vectors, and that neither order nor detours count."""

from hypothesis import given, settings
from hypothesis import strategies as st

from chain.bitcoin.ledger import Coin
from chain.records.transaction import TxOut
from chain.snapshot.coin_bytes import decode_coin, encode_coin
from chain.snapshot.muhash import MODULUS, MuHash, digest_of, number_of

SETS = st.lists(st.binary(max_size=80), max_size=6)


def of_int(number: int) -> bytes:
    """An element of Core's test: 32 bytes, the first of them `number`."""
    return bytes([number]) + bytes(31)


def test_bitcoin_cores_vector() -> None:
    """muhash_tests of src/test/crypto_tests.cpp, and test_framework/crypto/muhash.py."""
    made = MuHash()
    made.add(of_int(0))
    made.add(of_int(1))
    made.remove(of_int(2))
    shown = made.digest()[::-1].hex()
    assert shown == "10d312b100cbd32ada024a6646e40d3482fcff103668d2625f10002a607d5863"


def test_the_empty_set_is_bitcoin_cores() -> None:
    """gettxoutsetinfo "muhash" of a chain that has block 0 alone."""
    shown = MuHash().digest()[::-1].hex()
    assert shown == "dd5ad2a105c2d29495f577245c357409002329b9f4d6182c0af3dc2f462555c8"


@given(kept=SETS, passing=SETS, data=st.data())
@settings(max_examples=40, deadline=None)
def test_neither_order_nor_what_came_and_went_counts(
    kept: list[bytes], passing: list[bytes], data: st.DataObject
) -> None:
    steps = [(each, True) for each in kept + passing] + [(each, False) for each in passing]
    made = MuHash()
    for element, comes in data.draw(st.permutations(steps)):
        (made.add if comes else made.remove)(element)
    assert made.digest() == digest_of(kept)


@given(elements=st.lists(st.binary(max_size=80), min_size=1, max_size=6))
@settings(max_examples=40, deadline=None)
def test_one_element_less_is_another_set(elements: list[bytes]) -> None:
    assert digest_of(elements) != digest_of(elements[1:])
    assert number_of(elements[0]) % MODULUS > 0


@given(
    txid=st.binary(min_size=32, max_size=32),
    output=st.integers(0, 2**32 - 1),
    value=st.integers(0, 2**63 - 1),
    script=st.binary(max_size=300),
    height=st.integers(0, 2**31 - 1),
    coinbase=st.booleans(),
)
def test_a_coin_is_read_as_it_was_written(
    txid: bytes, output: int, value: int, script: bytes, height: int, coinbase: bool
) -> None:
    coin = Coin(TxOut(value=value, script=script), height, coinbase)
    assert decode_coin(encode_coin((txid, output), coin)) == ((txid, output), coin)
