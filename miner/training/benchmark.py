"""How fast this machine trains: measured on the job's real segment, so that work can follow it."""

from functools import partial
from time import perf_counter

from chain.records.contribution import WorkUnit
from chain.records.job import Job
from chain.rules.families.registry import segment_parameters
from miner.training.data import load
from miner.training.trainer import train_unit

MEASURED_S = 0.3
_STEPS_FIRST = 4
_BATCHES = 4  # different ones; what stands before the segment is computed for these only


def measure_capacity(job: Job, base: bytes, device: str = "cpu") -> int:
    """Parameter-samples per second of training the job's largest segment, at least 1.

    Trains for about MEASURED_S seconds: longer and longer runs until one is long enough.

    Raises:
        ConfigError, DecodeError: as `train_unit`.
    """
    segment = max(range(job.segments), key=partial(segment_parameters, job))
    records = range(min(job.chunk_records, _BATCHES * job.batch_records))
    load(job)
    steps = _STEPS_FIRST
    while True:
        unit = WorkUnit(unit=0, miner=bytes(33), segment=segment, chunk=0, steps=steps)
        start = perf_counter()
        train_unit(job, base, unit, records, bytes(32), device=device)
        elapsed = max(perf_counter() - start, 1e-6)
        if elapsed >= MEASURED_S / 2:
            samples = steps * job.batch_records
            return max(1, int(segment_parameters(job, segment) * samples / elapsed))
        steps *= 2
