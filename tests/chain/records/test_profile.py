"""Profiles: what a header's unsigned fields must be, and block 0, on networks that tools know."""

from dataclasses import replace

import msgspec
import pytest

from bft.errors import ConfigError, Refused
from chain.params import MINIMAL
from chain.records.block import decode_block, decode_header, genesis_header
from chain.records.profile import MAIN, REGTEST, profile_of
from chain.rules.founding import check_genesis
from chain.validation import check_alone, genesis_view
from tests.chain.bitcoin.regtest import GENESIS as CORE_BLOCK_0
from tests.chain.federation_fixture import GENESIS, START, block_on, resigned

PARAMS = msgspec.structs.replace(MINIMAL, profile=REGTEST.number)


def test_block_0_of_regtest_is_bitcoin_cores() -> None:
    genesis = msgspec.structs.replace(GENESIS, params=PARAMS)
    check_genesis(genesis)
    assert genesis_view(genesis).hash == CORE_BLOCK_0
    assert genesis_header(genesis) == REGTEST.block_0
    assert REGTEST.meets(REGTEST.block_0)


def test_a_header_has_one_nonce_only() -> None:
    """Nobody signs it, so that a third party could make another block of the same contents."""
    block = block_on(START)
    nonce = REGTEST.nonce(block.header.encode())
    ground = replace(block.header, nonce=nonce)
    check_alone(decode_block(resigned(block)).certified_header, MAIN)
    ready = replace(block.certified_header, header=ground)
    check_alone(ready, REGTEST)
    another = next(
        found
        for at in range(nonce + 1, nonce + 200)
        if REGTEST.meets((found := replace(ground, nonce=at)).encode())
    )
    with pytest.raises(Refused, match="are the only ones allowed"):
        check_alone(replace(ready, header=another), REGTEST)
    with pytest.raises(Refused, match="are the only ones allowed"):
        check_alone(replace(ready, header=another), MAIN)


def test_a_hash_above_the_target_is_refused() -> None:
    block = block_on(START)
    late = next(
        found
        for time in range(block.header.time, block.header.time + 200)
        if not REGTEST.meets((found := block_on(START, time=time)).header.encode())
    )
    check_alone(late.certified_header, MAIN)
    with pytest.raises(Refused, match="nonce 0 came"):
        check_alone(late.certified_header, REGTEST)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"profile": 9}, "params.profile is 9"),
        ({"profile": 1, "subsidy": 50 * 10**8 + 1}, "params.subsidy"),
        ({"profile": 1, "halving_interval": 210_000}, "params.halving_interval"),
    ],
)
def test_what_the_network_would_refuse_cannot_be_founded(fields: dict[str, int], text: str) -> None:
    params = msgspec.structs.replace(MINIMAL, **fields)
    with pytest.raises(ConfigError, match=text):
        check_genesis(msgspec.structs.replace(GENESIS, params=params))


def test_numbers_name_profiles() -> None:
    assert [profile_of(number).name for number in (0, 1)] == ["main", "regtest"]
    assert decode_header(REGTEST.block_0).bits == REGTEST.bits
