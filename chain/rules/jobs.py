"""What a job must satisfy so that it can be trained, and its arithmetic stays exact.

Pure.
"""

from bft.errors import ConfigError
from chain.records.job import Job

FRACTION_BITS_MIN, FRACTION_BITS_MAX = 12, 24
OUTER_RATE_MAX = 64  # of the outer rate's numerator; see chain/rules/aggregation.py
OUTER_DAMPING_MAX = 1 << 16  # of its denominator


def check_job(job: Job) -> None:
    """Raises ConfigError: a job whose numbers the rules here cannot keep exact, or cannot train."""
    wrong = None
    if not FRACTION_BITS_MIN <= job.fraction_bits <= FRACTION_BITS_MAX:
        wrong = f"fraction_bits is {job.fraction_bits}; {FRACTION_BITS_MIN} to {FRACTION_BITS_MAX}"
    elif not 1 <= job.outer_rate_numerator <= OUTER_RATE_MAX:
        wrong = f"outer_rate_numerator is {job.outer_rate_numerator}; 1 to {OUTER_RATE_MAX}"
    elif not 1 <= job.outer_rate_denominator <= OUTER_DAMPING_MAX:
        wrong = f"outer_rate_denominator is {job.outer_rate_denominator}; 1 to {OUTER_DAMPING_MAX}"
    elif min(job.input_width, job.classes, *job.segment_widths) < 1:
        wrong = "a width or the number of classes is 0; at least 1"
    elif not 1 <= job.batch_records <= job.chunk_records <= job.train_records:
        wrong = "batch_records, chunk_records and train_records must ascend from 1"
    elif min(job.steps, job.heldout_records) < 1:
        wrong = "steps or heldout_records is 0; at least 1"
    if wrong:
        raise ConfigError(f"job {job.name!r}: {wrong} allowed")
