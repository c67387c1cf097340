"""Jobs that come with Gristmill: what is trained, and the model it starts from."""

from functools import cache
from math import isqrt, prod

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from bft.crypto.hashing import sha256, tagged_hash
from chain.records.job import Job, Mode, make_sizes, sizes_of
from chain.rules.families.registry import family_named, model_shapes
from chain.rules.jobs import check_job
from chain.rules.tensors import Tensor, encode_tensors
from chain.rules.updates import VELOCITY, snapshot_layout

_GENESIS = "gristmill/genesis-model/v2"
DIGITS_DATASET = bytes.fromhex("541d01f6f20808cd8b171a3a218611a30f4e0dea0dc24c55644d691725d74368")


@cache
def digits_job() -> tuple[Job, bytes]:
    """Handwritten digits: three segments of width 256, a tenth of a second of training in a unit.

    A unit sees each record of its chunk once, so that who skips steps skips data.

    Returns:
        The job and the bytes of its first snapshot.
    """
    job = Job(
        name=b"digits",
        family=b"mlp",
        sizes=make_sizes(inputs=64, width=256, depth=3, classes=10),
        mode=Mode.LOCAL_HEADS,
        segments=3,
        redundancy=1,
        dataset=b"digits",
        dataset_digest=DIGITS_DATASET,
        train_records=1440,
        heldout_records=357,
        chunk_records=240,
        optimizer=b"adamw",
        steps=120,
        batch_records=2,
        learning_rate_ppm=2_000,
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
    check_job(job)
    snapshot = genesis_snapshot(job)
    return replace(job, genesis_model=sha256(snapshot)), snapshot


def genesis_snapshot(job: Job) -> bytes:
    """A first model: integers from SHA-256, so that no library's generator decides them.

    Each tensor starts as its family says (chain/rules/families); of a 64-bit word's remainder the
    values are uniform within 2**-38.
    """
    family, sizes = family_named(job.family), sizes_of(job)
    one = 1 << job.fraction_bits
    tensors: dict[str, Tensor] = {}
    for name, shape in model_shapes(job).items():
        start = family.start(sizes, name, shape)
        if start.numerator:
            bound = isqrt(start.numerator * one**2 // start.denominator)
            words = _words(sha256(job.name) + name.encode(), prod(shape)) % np.uint64(2 * bound + 1)
            tensors[name] = (words.astype(np.int64) - bound).astype(np.int32).reshape(shape)
        else:
            tensors[name] = np.full(shape, start.constant * one, np.int32)
    for name, (_, shape) in snapshot_layout(job).items():
        if name.startswith(VELOCITY):
            tensors[name] = np.zeros(shape, np.int32)
    return encode_tensors(tensors)


def _words(seed: bytes, count: int) -> NDArray[np.uint64]:
    """64-bit words, four from each hash of seed and counter."""
    hashes = (
        tagged_hash(_GENESIS, seed + number.to_bytes(8, "big")) for number in range(-(-count // 4))
    )
    return np.frombuffer(b"".join(hashes), ">u8")[:count].astype(np.uint64)
