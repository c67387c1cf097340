"""What every segment of every family holds, derived a second time: docs/PROTOCOL.md, section 12."""

from random import Random

import pytest
from msgspec.structs import replace

from bft.codec.canonical import encode
from bft.errors import ConfigError
from chain.records.job import Job, Mode, make_sizes
from chain.rules.families.registry import segment_shapes
from chain.rules.jobs import check_job
from tests.chain.rules.training_job import JOB
from tests.oracle import model, records

SEEDS = 60


def some_job(random: Random) -> Job:
    """Any family, any cut; some of them are none that may be founded."""
    depth, width = random.randint(1, 9), random.choice((2, 4, 12))
    family = random.choice((b"mlp", b"cnn", b"gpt"))
    sizes = {
        b"mlp": {"inputs": random.randint(1, 70), "classes": random.randint(2, 10)},
        b"cnn": {
            "side": random.choice((8, 12, 28)),
            "channels": random.randint(1, 3),
            "classes": random.randint(2, 10),
        },
        b"gpt": {
            "context": random.randint(2, 16),
            "heads": random.choice((1, 2)),
            "tied": random.randint(0, 1),
        },
    }[family]
    mode = random.choice(list(Mode))
    segments = 1 if mode == Mode.DATA_PARALLEL else random.randint(1, depth)
    return replace(
        JOB,
        family=family,
        sizes=make_sizes(width=width, depth=depth, **sizes),
        mode=mode,
        segments=segments,
    )


def shapes_of(seed: int) -> bool:
    """Whether this seed's job may be founded; then all its segments are compared."""
    job = some_job(Random(seed))
    try:
        check_job(job)
    except ConfigError:
        return False
    plain = records.decode("Job", encode(job))
    for segment in range(job.segments):
        assert model.segment(plain, segment) == dict(segment_shapes(job, segment)), segment
    return True


@pytest.mark.parametrize("first", range(0, SEEDS, 20))
def test_segments_hold_the_same_tensors(first: int) -> None:
    assert sum(shapes_of(seed) for seed in range(first, first + 20)) > 5
