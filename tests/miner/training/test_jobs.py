"""The demonstration's job: its bytes are pinned, because they are part of a chain's identity."""

from bft.crypto.hashing import sha256
from chain.rules.jobs import check_job
from chain.rules.updates import decode_snapshot
from miner.training.jobs import digits_job

GENESIS_MODEL = "98ec11f26c07a3026ddbe1b0a711932cb0b55e6301609c15d7a1574e77dc8e23"


def test_the_genesis_model_is_the_same_bytes_on_every_machine() -> None:
    job, snapshot = digits_job()
    assert sha256(snapshot) == job.genesis_model
    assert job.genesis_model.hex() == GENESIS_MODEL


def test_genesis_weights_fill_their_range_and_biases_are_zero() -> None:
    job, snapshot = digits_job()
    check_job(job)
    for name, tensor in decode_snapshot(job, snapshot).items():
        if name.endswith("bias"):
            assert not tensor.any()
            continue
        bound = ((6 if "block." in name else 1) / tensor.shape[1]) ** 0.5 * 2**job.fraction_bits
        assert 0.99 * bound < abs(tensor).max() <= bound
        assert abs(tensor.mean()) < 0.05 * bound


def test_the_chunks_are_enough_for_the_demonstrations_miners() -> None:
    job, _ = digits_job()
    assert job.train_records // job.chunk_records >= 6
