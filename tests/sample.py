"""The job that most tests and benchmarks found a federation with, where nothing is ever trained."""

from msgspec.structs import replace

from chain.params import MINIMAL
from chain.records.job import Job, Mode, make_sizes

SNAPSHOT = b"the first model"
JOB = Job(
    name=b"trial",
    family=b"mlp",
    sizes=make_sizes(inputs=64, width=16, depth=2, classes=10),
    mode=Mode.LOCAL_HEADS,
    segments=2,
    redundancy=1,
    dataset=b"digits",
    dataset_digest=bytes(32),
    train_records=1440,
    heldout_records=357,
    chunk_records=144,
    optimizer=b"adamw",
    steps=10,
    batch_records=32,
    learning_rate_ppm=1_000,
    outer_rate_numerator=1,
    outer_rate_denominator=2,
    outer_momentum=0,
    backtracking=0,
    aggregation=b"mean",
    agreement=0,
    trim=0,
    compression=b"int8",
    keep=0,
    value_bits=8,
    privacy=b"none",
    privacy_parameter=0,
    evaluation=b"fp64",
    fraction_bits=20,
    genesis_model=bytes(32),
)
STILL = replace(MINIMAL, registration_ms=3_600_000)
"""The first cycle's registration stays open."""
