"""The next model, derived a second time from docs/PROTOCOL.md, section 12: the same bytes."""

from random import Random

import numpy as np
import pytest
from msgspec.structs import replace

from bft.codec.canonical import encode
from chain.records.evaluation import ScoreRow
from chain.records.job import Job, Mode, make_sizes
from chain.rules.aggregation import outer_step
from chain.rules.tensors import encode_tensors
from chain.rules.updates import snapshot_layout, sparse_format
from miner.training.sparsify import encode_topk
from tests.chain.rules.training_job import JOB, random_update, row
from tests.oracle import outer, records

AGGREGATIONS = (b"mean", b"median", b"trimmed-mean", b"multi-krum")
SPARSE = (b"mean", b"multi-krum")  # what a job with sparse updates may have
AGREEMENTS = (0, 0, 30_000, 65_536, 90_000)


def some_job(random: Random) -> Job:
    """A job of a few weights."""
    topk = random.random() < 0.5
    aggregation = random.choice(SPARSE if topk else AGGREGATIONS)
    trims = aggregation in (b"trimmed-mean", b"multi-krum")
    mode = random.choice((Mode.LOCAL_HEADS, Mode.JOINT, Mode.SHARD, Mode.DATA_PARALLEL))
    return replace(
        JOB,
        mode=mode,
        segments=1 if mode == Mode.DATA_PARALLEL else 2,
        aggregation=aggregation,
        trim=random.randint(1, 2) if trims else 0,
        agreement=random.choice(AGREEMENTS),
        outer_momentum=random.choice((0, 40_000, 58_982)),
        backtracking=random.randint(0, 2),
        outer_rate_numerator=random.randint(1, 9),
        outer_rate_denominator=random.randint(1, 9),
        compression=b"topk" if topk else b"int8",
        keep=random.choice((1, 300, 2_048, 4_096)) if topk else 0,
        value_bits=random.randint(2, 8) if topk else 8,
        fraction_bits=random.choice((12, 20)),
    )


def some_update(random: Random, job: Job, segment: int) -> bytes:
    """Of this job's form."""
    if job.compression == b"int8":
        return random_update(segment, random.randrange(2**32), job)
    form = sparse_format(job, segment)
    generator = np.random.default_rng(random.randrange(2**32))
    scale = 10 ** generator.uniform(0, 5)
    return encode_topk(form, (generator.normal(size=form.elements) * scale).astype(np.float32))


def some_base(random: Random, job: Job) -> bytes:
    """Any weights and velocities, the largest among them."""
    generator = np.random.default_rng(random.randrange(2**32))
    highest = random.choice((1_000, 2**31))
    return encode_tensors(
        {
            name: generator.integers(-highest, highest, shape).astype(np.int32)
            for name, (_, shape) in snapshot_layout(job).items()
        }
    )


def compare(random: Random, job: Job, most: int, least: int = 0) -> None:
    units: list[tuple[ScoreRow, bytes]] = []
    for unit in range(random.randint(least, most)):
        segment = random.randrange(job.segments)
        quality = random.choice((0, 1, 40_000, 65_536))
        said = row(unit, segment, quality, valid=random.choice((0, 1, 1, 1)))
        said = replace(said, cap=random.choice((0, 0, 100, 10_000, 10**6)))
        units.append((said, some_update(random, job, segment)))
    random.shuffle(units)
    base, randomness = some_base(random, job), random.randbytes(32)
    plain = records.decode("Job", encode(job))
    told = [(records.decode("ScoreRow", encode(said)), data) for said, data in units]
    expected = outer.next_models(plain, base, told, randomness)
    assert list(outer_step(job, base, units, randomness)) == expected


@pytest.mark.parametrize("seed", range(40))
def test_the_next_models_are_the_naive_ones(seed: int) -> None:
    random = Random(seed)
    compare(random, some_job(random), most=9)


def test_chunks_of_4096_weights() -> None:
    """More than one chunk, the last of them shorter."""
    random = Random(7)
    wide = replace(some_job(random), sizes=make_sizes(inputs=90, width=50, depth=2, classes=3))
    for compression, keep in ((b"int8", 0), (b"topk", 40)):
        job = replace(wide, compression=compression, keep=keep, value_bits=8 if not keep else 4)
        compare(random, replace(job, mode=Mode.JOINT, segments=2), most=3, least=2)
