"""Who trains what, derived a second time: docs/PROTOCOL.md, section 9."""

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from bft.codec.canonical import encode
from chain.params import MINIMAL
from chain.records.contribution import Profile
from chain.rules.assignment import assign
from tests.chain.audit.mill import JOB, key
from tests.oracle import records, scores

KEYS = [key(f"miner {number}").public_key for number in range(9)]


@settings(deadline=None)
@given(
    st.binary(min_size=32, max_size=32),
    st.dictionaries(st.sampled_from(KEYS), st.integers(10_000, 200_000), max_size=9),
    st.integers(1, 5),
    st.integers(40, 400),
    st.integers(1, 2),
)
def test_units_are_dealt_alike(
    seed: bytes, capacities: dict[bytes, int], most: int, chunk: int, segments: int
) -> None:
    params = replace(MINIMAL, units_per_miner_max=most)
    job = replace(JOB, chunk_records=chunk, segments=segments)
    profiles = {
        miner: Profile(device=b"cpu", capacity=capacity, memory_bytes=1)
        for miner, capacity in capacities.items()
    }
    plain = {miner: records.decode("Profile", encode(each)) for miner, each in profiles.items()}
    expected = scores.assigned(
        seed, plain, records.decode("Params", encode(params)), records.decode("Job", encode(job))
    )
    found = assign(seed, profiles, params, job)
    assert [records.decode("WorkUnit", encode(unit)) for unit in found] == expected
