"""Who trains which segment on which data: a pure function of a seed, profiles, standings and the
job.

Work follows proven capacity, never identity: a miner gets the units that its capacity is good for,
as far as it has proven them; the rest of all demand shares the newcomers' units.
Source: paper, section V-A 2; measurements and attacks in docs/PROTOCOL.md, "Assignment".
Pure.
"""

from collections.abc import Mapping, Sequence

from bft.codec.canonical import encode
from bft.crypto.hashing import tagged_hash
from chain.params import Params
from chain.records.contribution import Profile, Standing, WorkUnit
from chain.records.evaluation import UNITS_MAX
from chain.records.job import Job
from chain.rules.sampling import Stream, permutation, sample
from chain.rules.standing import proven

_ORDER = "gristmill/assignment/order/v1"
_CHUNKS = "gristmill/assignment/chunks/v1"
_CHALLENGE = "gristmill/evaluation/challenge/v1"
_OWN = "gristmill/evaluation/own/v1"
_CONTROL = "gristmill/evaluation/control/v1"
_TRAINING = "gristmill/training/seed/v1"


def units_earned(profile: Profile, params: Params) -> int:
    """Work units that a profile's capacity is good for in one cycle."""
    return min(params.units_per_miner_max, profile.capacity // params.unit_capacity)


def assign(
    seed: bytes,
    profiles: Mapping[bytes, Profile],
    standings: Mapping[bytes, Standing],
    params: Params,
    job: Job,
) -> tuple[WorkUnit, ...]:
    """All work units of a cycle, in seeded order; unit u is on chunk u.

    First what miners have proven, then what they ask for beyond it, at most `newcomer_units`; each
    dealt round by round, so that every miner keeps its share when there are too few chunks.

    Args:
        seed: 32 bytes, the newest beacon randomness.
        profiles: identity key -> profile.
        standings: identity key -> what the miner has proven.
    """
    miners = sorted(profiles)
    order = [miners[place] for place in permutation(_ORDER, seed, len(miners))]
    asked = {miner: units_earned(profiles[miner], params) for miner in order}
    entitled = {miner: min(asked[miner], proven(standings, miner)) for miner in order}
    beyond = {miner: asked[miner] - entitled[miner] for miner in order}
    chunks = min(UNITS_MAX, job.train_records // job.chunk_records)
    dealt = _deal(order, entitled, chunks)
    dealt += _deal(order, beyond, min(params.newcomer_units, chunks - len(dealt)))
    first = Stream(_ORDER + "/segment", seed).below(job.segments)
    segments = _segments(dealt, standings, first, job.segments)
    return tuple(
        WorkUnit(unit=unit, miner=miner, segment=segment, chunk=unit, steps=job.steps)
        for unit, (miner, segment) in enumerate(zip(dealt, segments, strict=True))
    )


def _deal(order: Sequence[bytes], wanted: Mapping[bytes, int], count: int) -> list[bytes]:
    """At most `count` units, one to each miner that still wants one, round after round."""
    dealt: list[bytes] = []
    left = [(miner, wanted[miner]) for miner in order if wanted[miner]]
    while left and len(dealt) < count:
        dealt += [miner for miner, _ in left[: count - len(dealt)]]
        left = [(miner, units - 1) for miner, units in left if units > 1]
    return dealt


def _segments(
    dealt: Sequence[bytes], standings: Mapping[bytes, Standing], first: int, segments: int
) -> list[int]:
    """Each unit's segment: the miner's last one where it is free, else the next that is.

    From `first` on, segments are as often trained as one another, or once more.
    """
    ring = [(first + place) % segments for place in range(segments)]
    left = {
        segment: len(dealt) // segments + (place < len(dealt) % segments)
        for place, segment in enumerate(ring)
    }
    found: dict[int, int] = {}
    for unit, miner in enumerate(dealt):
        standing = standings.get(miner)
        if standing and standing.units and left.get(standing.segment):
            left[standing.segment] -= 1
            found[unit] = standing.segment
    place = 0
    for unit in range(len(dealt)):
        if unit not in found:
            while not left[ring[place % segments]]:
                place += 1
            found[unit] = ring[place % segments]
            left[found[unit]] -= 1
            place += 1
    return [found[unit] for unit in range(len(dealt))]


def training_seed(seed: bytes, unit: WorkUnit) -> bytes:
    """32 bytes that order the minibatches of a unit, for its miner and for whoever audits it."""
    return tagged_hash(_TRAINING, seed + encode(unit))


def chunk_records(seed: bytes, job: Job, chunk: int) -> tuple[int, ...]:
    """Record indices of one chunk; chunks of one seed are disjoint."""
    order = permutation(_CHUNKS, seed, job.train_records)
    return order[chunk * job.chunk_records : (chunk + 1) * job.chunk_records]


def challenge_records(randomness: bytes, params: Params, job: Job) -> tuple[int, ...]:
    """Held-out records of a cycle's challenge batch; unknown while updates could still change."""
    pool = range(job.train_records, job.train_records + job.heldout_records)
    return sample(_CHALLENGE, randomness, pool, params.challenge_records)


def control_records(randomness: bytes, params: Params, job: Job) -> tuple[int, ...]:
    """Training records that a cycle's own-data tests compare with; of a unit, those not its own."""
    return sample(_CONTROL, randomness, range(job.train_records), params.control_records)


def own_records(
    randomness: bytes, unit: int, chunk: tuple[int, ...], params: Params
) -> tuple[int, ...]:
    """Records of a unit's own chunk on which its own-data test is made."""
    return sample(_OWN, randomness + unit.to_bytes(4, "big"), chunk, params.own_records)
