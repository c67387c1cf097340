"""A unit that was interrupted ends as one that was not; and on which device it runs."""

import os
import signal
from pathlib import Path

import pytest
import torch
from msgspec.structs import replace

from bft.errors import ConfigError
from chain.records.job import SPARSE, Job
from miner.training import device, trainer, unfinished
from miner.training.device import choose_device
from miner.training.trainer import train_changes, train_unit
from tests.miner.training.training_run import GENESIS, JOB, cycle

NOW = cycle(GENESIS, 1)
UNIT = replace(NOW.units[0], steps=8)
CHUNK = NOW.chunk(0)
SEED = bytes(32)


class Crash(Exception):
    """Something ends the training."""


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A unfinished after every step."""
    monkeypatch.setattr(unfinished.Unfinished.__init__, "__defaults__", (0.0,))


def interrupted(job: Job, path: Path, at: int) -> list[int]:
    """Train until step `at`, then crash; returns the steps that were done."""
    done = []

    def crash(step: int, _: int, __: float) -> None:
        done.append(step)
        if step == at:
            raise Crash

    with pytest.raises(Crash):
        train_unit(job, GENESIS, UNIT, CHUNK, SEED, crash, unfinished=path)
    return done


@pytest.mark.parametrize("optimizer", [b"adamw", b"sgd"])
def test_a_resumed_unit_ends_in_the_same_bytes(tmp_path: Path, optimizer: bytes) -> None:
    job, path = replace(JOB, optimizer=optimizer), tmp_path / "unit"
    whole = train_unit(job, GENESIS, UNIT, CHUNK, SEED)
    assert interrupted(job, path, 3) == [1, 2, 3]
    assert interrupted(job, path, 6) == [3, 4, 5, 6], "step 3 crashed before it was kept"
    steps: list[int] = []
    resumed = train_unit(
        job, GENESIS, UNIT, CHUNK, SEED, lambda step, *_: steps.append(step), unfinished=path
    )
    assert steps == [6, 7, 8]
    assert resumed == whole
    assert not path.exists()


def test_a_process_that_was_killed_resumes(tmp_path: Path) -> None:
    """kill -9 itself between two steps."""
    path = tmp_path / "unit"
    whole = train_unit(JOB, GENESIS, UNIT, CHUNK, SEED)
    child = os.fork()
    if child == 0:

        def die(step: int, _: int, __: float) -> None:
            if step == 5:
                os.kill(os.getpid(), signal.SIGKILL)

        train_unit(JOB, GENESIS, UNIT, CHUNK, SEED, die, unfinished=path)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert path.exists()
    assert train_unit(JOB, GENESIS, UNIT, CHUNK, SEED, unfinished=path) == whole


def test_a_unfinished_of_other_work_or_of_nothing_is_not_resumed(tmp_path: Path) -> None:
    path = tmp_path / "unit"
    interrupted(JOB, path, 4)
    other = bytes([1]) * 32
    fresh = train_unit(JOB, GENESIS, UNIT, CHUNK, other)
    assert train_unit(JOB, GENESIS, UNIT, CHUNK, other, unfinished=path) == fresh
    for rubbish in (b"", b"rubbish", b"\xff" * 100):
        path.write_bytes(rubbish)
        assert train_unit(JOB, GENESIS, UNIT, CHUNK, other, unfinished=path) == fresh


def test_a_changed_unfinished_is_resumed_only_if_it_is_of_this_work(tmp_path: Path) -> None:
    path = tmp_path / "unit"
    interrupted(JOB, path, 4)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    assert train_unit(JOB, GENESIS, UNIT, CHUNK, SEED, unfinished=path) == train_unit(
        JOB, GENESIS, UNIT, CHUNK, SEED
    )


def test_a_device_that_is_not_there_is_refused() -> None:
    assert choose_device("cpu").type == "cpu"
    assert choose_device("auto").type in ("cpu", "cuda", "mps")
    with pytest.raises(ConfigError, match="cpu, cuda, mps, auto are known"):
        choose_device("tpu")
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="finds none here"):
            choose_device("cuda")


def test_training_in_bfloat16_learns_nearly_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the processor, where it is not faster; accelerators take the same path."""
    exact = train_changes(JOB, GENESIS, UNIT, CHUNK, SEED)
    monkeypatch.setattr(device, "has_bfloat16", lambda _: True)
    assert isinstance(trainer.autocast(torch.device("cpu"), audited=False), torch.autocast)
    sparse = replace(JOB, compression=SPARSE, keep=64, value_bits=4)
    rough = train_changes(sparse, GENESIS, UNIT, CHUNK, SEED)
    for name, part in exact.items():
        cosine = (part * rough[name]).sum() / ((part**2).sum() * (rough[name] ** 2).sum()) ** 0.5
        assert 0.9 < cosine < 1


def test_what_an_audit_may_compare_is_trained_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = train_changes(JOB, GENESIS, UNIT, CHUNK, SEED)
    monkeypatch.setattr(device, "has_bfloat16", lambda _: True)
    again = train_changes(JOB, GENESIS, UNIT, CHUNK, SEED)
    assert all((exact[name] == again[name]).all() for name in exact)
