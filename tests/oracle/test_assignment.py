"""Who trains what, derived a second time: docs/PROTOCOL.md, section 9."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from bft.codec.canonical import Record, encode
from chain.params import MINIMAL
from chain.records.contribution import Profile, Standing
from chain.rules.assignment import assign
from tests.chain.audit.mill import JOB, key
from tests.oracle import records, scores

KEYS = [key(f"miner {number}").public_key for number in range(9)]


@st.composite
def standings(draw: st.DrawFn) -> dict[bytes, Standing]:
    """Some of the miners have trained before; who has not proven anything may be barred."""
    return {
        miner: Standing(
            units=draw(st.integers(0, 6)),
            segment=draw(st.integers(0, 1)),
            cycle=draw(st.integers(1, 9)),
            barred_until=0,
        )
        for miner in draw(st.lists(st.sampled_from(KEYS), unique=True))
    }


@settings(deadline=None)
@given(
    st.binary(min_size=32, max_size=32),
    st.dictionaries(st.sampled_from(KEYS), st.integers(10_000, 200_000), max_size=9),
    standings(),
    st.integers(1, 5),
    st.integers(0, 12),
    st.integers(40, 400),
)
def test_units_are_dealt_alike(
    seed: bytes,
    capacities: dict[bytes, int],
    proven: dict[bytes, Standing],
    most: int,
    newcomers: int,
    chunk: int,
) -> None:
    params = replace(MINIMAL, units_per_miner_max=most, newcomer_units=newcomers)
    job = replace(JOB, chunk_records=chunk)
    profiles = {
        miner: Profile(device=b"cpu", capacity=capacity, memory_bytes=1)
        for miner, capacity in capacities.items()
    }
    expected = scores.assigned(
        seed,
        {miner: plain(each) for miner, each in profiles.items()},
        {miner: fields(each) for miner, each in proven.items()},
        plain(params),
        plain(job),
    )
    found = assign(seed, profiles, proven, params, job)
    assert [plain(unit) for unit in found] == expected


def plain(record: Record) -> dict[str, Any]:
    """As the oracle reads it off its bytes."""
    return records.decode(type(record).__name__, encode(record))


def fields(record: Record) -> dict[str, Any]:
    """Of a record that stands in replicated state only."""
    return {name: getattr(record, name) for name in record.__struct_fields__}
