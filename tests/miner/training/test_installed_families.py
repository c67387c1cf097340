"""A consortium's own family: installed by name, never code from a job."""

from collections.abc import Iterator
from importlib.metadata import EntryPoint, EntryPoints

import pytest
import torch
from msgspec.structs import replace
from torch import Tensor

from bft.crypto.hashing import sha256
from chain.records.contribution import WorkUnit
from chain.records.job import Mode, make_sizes
from chain.rules.families import registry
from chain.rules.families.family import Sizes
from chain.rules.families.mlp import Mlp
from chain.rules.jobs import check_job
from chain.rules.updates import decode_update
from miner.training.families import registry as torch_registry
from miner.training.families.family import Weights
from miner.training.families.mlp import TorchMlp
from miner.training.jobs import genesis_snapshot
from miner.training.trainer import train_unit
from tests.miner.training.training_run import JOB

HERE = __name__


class Wave(Mlp):
    """An MLP of another name."""


class TorchWave(TorchMlp):
    """With sines instead of rectifiers."""

    def layer(self, sizes: Sizes, weights: Weights, number: int, activations: Tensor) -> Tensor:
        name = f"block.{number}"
        return torch.sin(activations @ weights[f"{name}.weight"].T + weights[f"{name}.bias"])


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def points(group: str) -> EntryPoints:
        kinds = {registry.ENTRY_POINTS: "Wave", torch_registry.ENTRY_POINTS: "TorchWave"}
        return EntryPoints([EntryPoint("wave", f"{HERE}:{kinds[group]}", group)])

    for module in (registry, torch_registry):
        monkeypatch.setattr(module, "entry_points", points)
    registry.family_named.cache_clear()
    torch_registry.torch_family.cache_clear()
    yield
    registry.family_named.cache_clear()
    torch_registry.torch_family.cache_clear()


@pytest.mark.usefixtures("installed")
def test_an_installed_family_is_checked_cut_and_trained() -> None:
    sizes = make_sizes(inputs=64, width=8, depth=2, classes=10)
    job = replace(JOB, family=b"wave", sizes=sizes, mode=Mode.JOINT, segments=2)
    check_job(job)
    snapshot = genesis_snapshot(job)
    job = replace(job, genesis_model=sha256(snapshot))
    unit = WorkUnit(unit=0, miner=bytes(33), segment=1, chunk=0, steps=3)
    update = train_unit(job, snapshot, unit, range(job.chunk_records), bytes(32))
    assert any(part.any() for part in decode_update(job, 1, update).values())
