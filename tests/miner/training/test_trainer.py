"""Training one unit: its segment only, in the order of a seed, with progress."""

from itertools import islice

import pytest
from msgspec.structs import replace

from bft.errors import ConfigError, DecodeError
from chain.rules.families.registry import segment_parameters
from chain.rules.updates import decode_update, update_bytes_max
from miner.training.benchmark import measure_capacity
from miner.training.jobs import digits_job
from miner.training.trainer import minibatches, train_unit
from tests.miner.training.training_run import GENESIS, JOB, cycle

NOW = cycle(GENESIS, 1)
UNIT = replace(NOW.units[0], steps=5)
CHUNK = NOW.chunk(0)
SEED = bytes(32)


def test_a_unit_becomes_an_update_of_its_segment() -> None:
    data = train_unit(JOB, GENESIS, UNIT, CHUNK, SEED)
    assert len(data) == update_bytes_max(JOB, UNIT.segment)
    assert all(part.any() for part in decode_update(JOB, UNIT.segment, data).values())


def test_training_again_with_the_same_seed_gives_the_same_bytes() -> None:
    data = train_unit(JOB, GENESIS, UNIT, CHUNK, SEED)
    assert train_unit(JOB, GENESIS, UNIT, CHUNK, SEED) == data
    assert train_unit(JOB, GENESIS, UNIT, CHUNK, bytes([1]) * 32) != data


def test_progress_is_told_after_every_step() -> None:
    told: list[tuple[int, int, float]] = []
    job = replace(JOB, batch_records=32)
    train_unit(job, GENESIS, UNIT, CHUNK, SEED, lambda *done: told.append(done))
    assert [step for step, _, _ in told] == [1, 2, 3, 4, 5]
    assert {steps for _, steps, _ in told} == {5}
    assert told[-1][2] < told[0][2]


def test_every_record_comes_once_before_any_comes_twice() -> None:
    batches = list(islice(minibatches(10, 4, SEED), 5))
    assert [len(batch) for batch in batches] == [4] * 5
    places = [place for batch in batches for place in batch]
    assert sorted(places[:10]) == sorted(places[10:]) == list(range(10))


def test_a_base_that_is_no_snapshot_is_refused() -> None:
    with pytest.raises(DecodeError):
        train_unit(JOB, GENESIS[:-1], UNIT, CHUNK, SEED)


def test_an_unknown_model_family_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(ConfigError, match="known: cnn, gpt, mlp"):
        train_unit(replace(JOB, family=b"rnn"), GENESIS, UNIT, CHUNK, SEED)


def test_capacity_is_measured_on_the_jobs_segment() -> None:
    job, snapshot = digits_job()
    assert measure_capacity(job, snapshot) > segment_parameters(job, 1)
