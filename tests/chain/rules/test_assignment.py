"""Who trains what: by capacity, never by identity; every chunk once, and no more than fits."""

from collections import Counter

from msgspec.structs import replace

from bft.codec.canonical import encode
from bft.crypto.hashing import sha256
from bft.ordering.request import REQUEST_BYTES_MAX
from chain.params import MAIN
from chain.records.contribution import Profile
from chain.records.evaluation import UNITS_MAX, EvaluationRow, EvaluationTable
from chain.records.operations import encode_operation
from chain.records.score_log import ENTRY_BYTES_MAX, Assigned, encode_leaf
from chain.rules.assignment import assign, chunk_records, units_earned
from tests.chain.audit.mill import JOB, key

SEED = sha256(b"assignment")
PARAMS = replace(MAIN, unit_capacity=100, newcomer_units=UNITS_MAX)


def profile(capacity: int) -> Profile:
    return Profile(device=b"cpu", capacity=capacity, memory_bytes=1)


def miners(*capacities: int) -> dict[bytes, Profile]:
    """Identity keys with these capacities."""
    return {key(f"miner {i}").public_key: profile(c) for i, c in enumerate(capacities)}


def test_units_follow_capacity_rounded_down_to_a_bound() -> None:
    """Paper, section V-A 2."""
    most = PARAMS.units_per_miner_max
    for capacity, units in ((99, 0), (100, 1), (299, 2), (100 * most, most), (2**63 - 1, most)):
        assert units_earned(profile(capacity), PARAMS) == units


def test_one_machine_split_over_identities_earns_no_unit_more() -> None:
    whole = assign(SEED, miners(390), {}, PARAMS, JOB)
    split = assign(SEED, miners(130, 130, 130), {}, PARAMS, JOB)
    assert len(whole) == len(split) == 3


def test_units_are_numbered_by_place_each_with_a_chunk_of_its_own_and_segments_in_turn() -> None:
    units = assign(SEED, miners(300, 200, 100), {}, PARAMS, JOB)
    assert [unit.unit for unit in units] == [unit.chunk for unit in units] == list(range(6))
    assert {units[at].segment for at in (0, 1)} == {0, 1}
    assert all(units[at].segment == units[at + 2].segment for at in range(4))
    records = [record for unit in units for record in chunk_records(SEED, JOB, unit.chunk)]
    assert len(set(records)) == 6 * JOB.chunk_records
    assert set(records) <= set(range(JOB.train_records))


def test_too_few_chunks_are_dealt_round_by_round() -> None:
    units = assign(SEED, miners(900, 900, 900), {}, PARAMS, JOB)
    assert len(units) == JOB.train_records // JOB.chunk_records == 10
    assert sorted(Counter(unit.miner for unit in units).values()) == [3, 3, 4]


def test_the_order_in_which_miners_registered_changes_nothing() -> None:
    registered = miners(300, 200, 100)
    backwards = dict(reversed(registered.items()))
    assert assign(SEED, registered, {}, PARAMS, JOB) == assign(SEED, backwards, {}, PARAMS, JOB)
    other = assign(sha256(b"another seed"), registered, {}, PARAMS, JOB)
    assert other != assign(SEED, registered, {}, PARAMS, JOB)


def test_a_cycle_has_no_more_units_than_a_replica_can_report_in_one_request() -> None:
    """Else capacity that miners merely claim would keep every replica from giving its table."""
    job = replace(JOB, train_records=20_000, chunk_records=1, batch_records=1)
    claimed = miners(*[2**63 - 1] * (UNITS_MAX // PARAMS.units_per_miner_max + 2))
    units = assign(SEED, claimed, {}, PARAMS, job)
    assert len(units) == UNITS_MAX
    rows = tuple(
        EvaluationRow(
            unit=unit.unit,
            valid=1,
            gain=-(2**31),
            advantage=-(2**16),
            norm=2**32 - 1,
            replay=2**16,
        )
        for unit in units
    )
    table = EvaluationTable(cycle=2**63 - 1, rows=rows)
    assert len(encode_operation(table)) <= REQUEST_BYTES_MAX
    assigned = Assigned(cycle=1, seed=SEED, base=SEED, units=units)
    assert len(encode_leaf(assigned)) <= ENTRY_BYTES_MAX
    assert len(encode(table)) > REQUEST_BYTES_MAX // 2  # the bound is not idly low
