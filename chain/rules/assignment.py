"""Who trains which segment on which data: a pure function of a seed, profiles and the job.

Work follows capacity, never identity: a miner's units are its capacity divided by the capacity of
one unit, rounded down, so splitting one machine over many identities earns nothing.
Source: paper, section V-A 2; measurements and attacks in docs/PROTOCOL.md, "Assignment".
Pure.
"""

from collections.abc import Mapping

from chain.params import Params
from chain.records.contribution import Profile, WorkUnit
from chain.records.evaluation import UNITS_MAX
from chain.records.job import Job
from chain.rules.sampling import Stream, permutation, sample

_ORDER = "gristmill/assignment/order/v1"
_CHUNKS = "gristmill/assignment/chunks/v1"
_CHALLENGE = "gristmill/evaluation/challenge/v1"
_OWN = "gristmill/evaluation/own/v1"


def units_earned(profile: Profile, params: Params) -> int:
    """Work units that a profile's capacity is good for in one cycle."""
    return min(params.units_per_miner_max, profile.capacity // params.unit_capacity)


def assign(
    seed: bytes, profiles: Mapping[bytes, Profile], params: Params, job: Job
) -> tuple[WorkUnit, ...]:
    """All work units of a cycle, in seeded order; unit u trains segment u mod S on chunk u.

    When there is more capacity than the data has chunks, or than UNITS_MAX, units are dealt round
    by round, so that every miner keeps its share as far as it goes.

    Args:
        seed: 32 bytes, the beacon randomness of the cycle before.
        profiles: identity key -> profile.
    """
    miners = sorted(profiles)
    order = [miners[place] for place in permutation(_ORDER, seed, len(miners))]
    left = {miner: units_earned(profiles[miner], params) for miner in order}
    chunks = min(UNITS_MAX, job.train_records // job.chunk_records)
    dealt: list[bytes] = []
    while len(dealt) < chunks and any(left[miner] for miner in order):
        for miner in order:
            if left[miner] and len(dealt) < chunks:
                left[miner] -= 1
                dealt.append(miner)
    first = Stream(_ORDER + "/segment", seed).below(job.segments)
    return tuple(
        WorkUnit(
            unit=unit,
            miner=miner,
            segment=(unit + first) % job.segments,
            chunk=unit,
            steps=job.steps,
        )
        for unit, miner in enumerate(dealt)
    )


def chunk_records(seed: bytes, job: Job, chunk: int) -> tuple[int, ...]:
    """Record indices of one chunk; chunks of one seed are disjoint."""
    order = permutation(_CHUNKS, seed, job.train_records)
    return order[chunk * job.chunk_records : (chunk + 1) * job.chunk_records]


def challenge_records(randomness: bytes, params: Params, job: Job) -> tuple[int, ...]:
    """Held-out records of a cycle's challenge batch; unknown while updates could still change."""
    pool = range(job.train_records, job.train_records + job.heldout_records)
    return sample(_CHALLENGE, randomness, pool, params.challenge_records)


def own_records(
    randomness: bytes, unit: int, chunk: tuple[int, ...], params: Params
) -> tuple[int, ...]:
    """Records of a unit's own chunk on which its advantage is measured."""
    return sample(_OWN, randomness + unit.to_bytes(4, "big"), chunk, params.own_records)
