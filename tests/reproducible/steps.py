"""One outer step of every kind, from whole numbers that follow from SHA-256: prints their digests.

    python -m tests.reproducible.steps [CYCLES]

What it prints must not depend on the machine, its threads or what its processor can do.
"""

import sys
from collections.abc import Iterator

import numpy as np
from msgspec.structs import replace

from bft.crypto.hashing import sha256
from chain.records.job import Job, make_sizes
from chain.rules.aggregation import outer_step
from chain.rules.sampling import permutation
from chain.rules.sparse import encode_sparse
from chain.rules.tensors import Tensor, encode_tensors
from chain.rules.updates import (
    EXPONENTS,
    SPARSE,
    VELOCITY,
    Ints,
    snapshot_layout,
    sparse_format,
    update_layout,
)
from tests.chain.rules.training_job import JOB, row

UNITS = 12
WIDE = replace(JOB, sizes=make_sizes(inputs=300, width=61, depth=2, classes=7))
BRISK = replace(WIDE, outer_momentum=58_982, backtracking=2, outer_rate_numerator=3)
JOBS: dict[str, Job] = {
    "mean": WIDE,
    "momentum": BRISK,
    "median": replace(BRISK, aggregation=b"median"),
    "trimmed-mean": replace(BRISK, aggregation=b"trimmed-mean", trim=1),
    "multi-krum": replace(BRISK, aggregation=b"multi-krum", trim=1),
    "agreement": replace(BRISK, agreement=58_000),
    "sparse": replace(BRISK, compression=SPARSE, keep=64, value_bits=2),
    "sparse-krum": replace(
        BRISK, compression=SPARSE, keep=200, value_bits=5, aggregation=b"multi-krum", trim=1
    ),
}


def numbers(seed: bytes, count: int, below: int) -> Ints:
    """(count,) of 0 .. below - 1."""
    words = (sha256(seed + number.to_bytes(8, "big")) for number in range(-(-count // 16)))
    found = np.frombuffer(b"".join(words), ">u2")[:count].astype(np.int64)
    return found % below


def first_model(job: Job) -> bytes:
    """Weights up to 2**15, velocities 0."""
    tensors: dict[str, Tensor] = {}
    for name, (_, shape) in snapshot_layout(job).items():
        flat = numbers(name.encode(), int(np.prod(shape)), 1 << 16) - (1 << 15)
        if name.startswith(VELOCITY):
            flat = np.zeros_like(flat)
        tensors[name] = flat.astype(np.int32).reshape(shape)
    return encode_tensors(tensors)


def update(job: Job, segment: int, seed: bytes, common: bytes) -> bytes:
    """Of the job's format; dense ones with the same `common` agree."""
    if job.compression != SPARSE:
        tensors: dict[str, Tensor] = {}
        for name, (_, shape) in update_layout(job, segment).items():
            count = int(np.prod(shape))
            if name.endswith(EXPONENTS):
                flat = numbers(seed + name.encode(), count, 3)
            else:
                flat = numbers(seed + name.encode(), count, 128) - 128
                flat += numbers(common + name.encode(), count, 128)
            tensors[name] = flat.astype(np.int8).reshape(shape)
        return encode_tensors(tensors)
    form = sparse_format(job, segment)
    places = []
    for chunk, (length, kept) in enumerate(zip(form.lengths, form.kept, strict=True)):
        order = permutation("tests/reproducible", seed + bytes([chunk]), int(length))
        places.append(np.sort(np.array(order[: int(kept)])) + chunk * 4096)
    odd = 2 * numbers(seed + b"odd", form.entries, 1 << form.value_bits - 1) + 1
    signs = 1 - 2 * numbers(seed + b"sign", form.entries, 2)
    exponents = numbers(seed + b"exponent", form.chunks, 12)
    return encode_sparse(form, np.concatenate(places), odd * signs, exponents)


def digests(job: Job, cycles: int) -> Iterator[str]:
    """Of every candidate of every cycle; each cycle begins with the last candidate."""
    model = first_model(job)
    for cycle in range(cycles):
        units = []
        for unit in range(UNITS):
            seed = sha256(b"%d %d" % (cycle, unit))
            segment = unit % job.segments
            scored = row(unit, segment, 1 + int.from_bytes(seed[:2], "big"))
            common = seed if unit % 5 == 4 else b"%d" % cycle
            units.append((scored, update(job, segment, seed, common)))
        made = outer_step(job, model, units, sha256(b"draw %d" % cycle))
        yield from (sha256(one).hex() for one in made)
        model = made[-1]


def main(cycles: int) -> None:
    """One line for each kind: its name, and a digest over all of its models."""
    for name, job in JOBS.items():
        print(name, sha256("".join(digests(job, cycles)).encode()).hex())


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2)
