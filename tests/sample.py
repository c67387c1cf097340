"""The job that most tests and benchmarks found a federation with, where nothing is ever trained."""

from msgspec.structs import replace

from chain.params import MINIMAL
from chain.records.job import Job

SNAPSHOT = b"the first model"
JOB = Job(
    name=b"trial",
    model=b"mlp",
    input_width=64,
    segment_widths=(16, 16),
    classes=10,
    dataset=b"digits",
    dataset_digest=bytes(32),
    train_records=1440,
    heldout_records=357,
    chunk_records=144,
    steps=10,
    batch_records=32,
    learning_rate_ppm=1_000,
    outer_rate_numerator=1,
    outer_rate_denominator=2,
    fraction_bits=20,
    genesis_model=bytes(32),
)
STILL = replace(MINIMAL, registration_ms=3_600_000)
"""The first cycle's registration stays open."""
