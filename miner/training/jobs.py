"""Jobs that come with Gristmill: what is trained, and the model it starts from."""

from functools import cache
from math import isqrt, prod

import numpy as np
from msgspec.structs import replace

from bft.crypto.hashing import sha256
from chain.records.job import Job
from chain.rules.jobs import check_job
from chain.rules.sampling import Stream
from chain.rules.tensors import Tensor, encode_tensors
from chain.rules.updates import segment_shapes

_GENESIS = "gristmill/genesis-model/v1"
DIGITS_DATASET = bytes.fromhex("ba79ea642a996a7a0c6c31e91f3b5ea5a169f9f47c1e7bfaefd52f8e1e618f47")


@cache
def digits_job() -> tuple[Job, bytes]:
    """Handwritten digits: three segments of width 256, a tenth of a second of training in a unit.

    Returns:
        The job and the bytes of its first snapshot.
    """
    job = Job(
        name=b"digits",
        model=b"mlp",
        input_width=64,
        segment_widths=(256, 256, 256),
        classes=10,
        dataset=b"digits",
        dataset_digest=DIGITS_DATASET,
        train_records=1440,
        heldout_records=357,
        chunk_records=144,
        steps=200,
        batch_records=32,
        learning_rate_ppm=1_000,
        outer_rate_numerator=1,
        outer_rate_denominator=2,
        fraction_bits=20,
        genesis_model=bytes(32),
    )
    check_job(job)
    snapshot = genesis_snapshot(job)
    return replace(job, genesis_model=sha256(snapshot)), snapshot


def genesis_snapshot(job: Job) -> bytes:
    """A first model: weights uniform in integers, from SHA-256, so that no library's generator
    decides them; biases 0.

    A layer's weights are within sqrt(6 / inputs), a head's within sqrt(1 / inputs).
    Source: He et al., "Delving Deep into Rectifiers" (ICCV 2015).
    """
    stream = Stream(_GENESIS, sha256(job.name))
    one = 1 << 2 * job.fraction_bits
    tensors: dict[str, Tensor] = {}
    for segment in range(job.segments):
        for name, shape in segment_shapes(job, segment).items():
            if name.endswith("bias"):
                tensors[name] = np.zeros(shape, np.int32)
                continue
            bound = isqrt((6 if ".layer." in name else 1) * one // shape[-1])
            drawn = [stream.below(2 * bound + 1) - bound for _ in range(prod(shape))]
            tensors[name] = np.array(drawn, np.int32).reshape(shape)
    return encode_tensors(tensors)
