"""A genesis record under which some rule could not be applied is refused, with the field named."""

import pytest
from msgspec.structs import replace

from bft.codec.canonical import encode
from bft.errors import ConfigError
from bft.membership import REPLICAS_MAX
from bft.pbft.config import Config
from chain.params import MAIN, MINIMAL
from chain.records.federation import Genesis
from chain.rules.founding import check_genesis, open_genesis
from tests.chain.audit.mill import JOB, make_genesis

GENESIS = make_genesis()
LABORIOUS = replace(
    JOB, steps=2**32 - 1, batch_records=2**31, chunk_records=2**31, train_records=2**31
)


def test_both_presets_can_be_founded() -> None:
    for params in (MAIN, MINIMAL):
        check_genesis(make_genesis(params=params))


@pytest.mark.parametrize(
    ("genesis", "text"),
    [
        (replace(GENESIS, version=2), "genesis version 2"),
        (replace(GENESIS, members=GENESIS.members[:1] * 2), "have one key"),
        (make_genesis(64), "64 members"),
        (replace(GENESIS, created_ms=2**32 * 1000), "block times end"),
        (make_genesis(params=replace(MAIN, block_ms=1_800_001)), "params.block_ms is 1800001"),
        (make_genesis(job=replace(JOB, train_records=99)), "there are 99 records"),
        (make_genesis(job=LABORIOUS), "volume_shift"),
    ],
)
def test_what_cannot_be_founded_is_named(genesis: Genesis, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        check_genesis(genesis)


@pytest.mark.parametrize(
    "address", [b"\xff\xff:1", b"host", b":7400", b"host:0", b"host:65536", b"host:+1", b"a/b:1"]
)
def test_every_member_has_addresses_that_can_be_dialled(address: bytes) -> None:
    """One operator's record must not stop every client of the chain."""
    for field in ("link", "api"):
        bad = replace(GENESIS.members[2], **{field: address})
        with pytest.raises(ConfigError, match="member 2 has the address"):
            check_genesis(replace(GENESIS, members=(*GENESIS.members[:2], bad)))


@pytest.mark.parametrize("name", [b"\xff", b"two\nlines", b"\x1b[2J"])
def test_names_are_text(name: bytes) -> None:
    bad = replace(GENESIS.members[0], operator=name)
    for genesis in (replace(GENESIS, name=name), replace(GENESIS, members=(bad,))):
        with pytest.raises(ConfigError, match="not printable UTF-8"):
            check_genesis(genesis)


@pytest.mark.parametrize(
    "field",
    [
        "miners_max",
        "units_per_miner_max",
        "unit_capacity",
        "ranks_max",
        "gain_reference_micronats",
        "advantage_reference",
    ],
)
def test_no_divisor_and_no_bound_of_the_parameters_is_nothing(field: str) -> None:
    check_genesis(make_genesis(params=replace(MINIMAL, **{field: 1})))
    with pytest.raises(ConfigError, match=f"params.{field} is 0"):
        check_genesis(make_genesis(params=replace(MINIMAL, **{field: 0})))


@pytest.mark.parametrize("field", ["chunk_records", "outer_rate_denominator"])
def test_no_divisor_of_the_job_is_nothing(field: str) -> None:
    with pytest.raises(ConfigError, match=f"job.{field} is 0"):
        check_genesis(make_genesis(job=replace(JOB, **{field: 0})))


def test_as_many_members_as_consensus_takes_are_the_most() -> None:
    genesis = make_genesis(REPLICAS_MAX)
    check_genesis(genesis)
    Config(membership=genesis.membership, index=0, sign=bytes)


def test_a_job_that_cannot_stay_exact_cannot_be_founded() -> None:
    with pytest.raises(ConfigError, match="fraction_bits is 25"):
        check_genesis(make_genesis(job=replace(JOB, fraction_bits=25)))


def test_a_genesis_file_is_read_with_all_conditions_and_named() -> None:
    assert open_genesis(encode(GENESIS)) == GENESIS
    for data, text in (
        (b"no", "here: .*Genesis"),
        (encode(make_genesis(101)), "here: .*length <= 100"),
        (encode(replace(GENESIS, version=2)), "here: genesis version 2"),
    ):
        with pytest.raises(ConfigError, match=text):
            open_genesis(data, "here")
