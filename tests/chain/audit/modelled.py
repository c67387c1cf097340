"""A mill whose models are real: updates are files, and votes name what the outer step makes."""

from dataclasses import dataclass, field

import numpy as np
from msgspec.structs import replace

from bft.crypto.hashing import sha256
from chain.records.contribution import WorkUnit
from chain.records.evaluation import NextModel, SnapshotVote
from chain.records.job import Job
from chain.rules.aggregation import outer_step
from chain.rules.families.registry import segment_shapes
from chain.rules.tensors import encode_tensors
from chain.rules.updates import snapshot_layout
from coordinator.cycle.state import State
from miner.training.compression import encode_update
from tests.chain.audit.mill import JOB, Mill, make_genesis


def job_with(**changes: object) -> tuple[Job, bytes]:
    """The mill's job with these changes, and its first model: zeros."""
    job = replace(JOB, **changes)
    tensors = {name: np.zeros(shape, np.int32) for name, (_, shape) in snapshot_layout(job).items()}
    model = encode_tensors(tensors)
    return replace(job, genesis_model=sha256(model)), model


def some_change(job: Job, unit: WorkUnit, cycle: int) -> bytes:
    """An update that a seed decides."""
    generator = np.random.default_rng([cycle, unit.unit])
    shapes = segment_shapes(job, unit.segment)
    changes = {name: generator.normal(0.01, 0.02, shape) for name, shape in shapes.items()}
    return encode_update(job, unit.segment, changes)


@dataclass
class ModelledMill(Mill):
    """Keeps every artifact by its digest."""

    artifacts: dict[bytes, bytes] = field(default_factory=dict)

    def digest(self, unit: WorkUnit) -> bytes:
        data = some_change(self.rules.job, unit, self.state.cycle)
        return self.keep(data)

    def keep(self, data: bytes) -> bytes:
        """Its digest."""
        self.artifacts[sha256(data)] = data
        return sha256(data)

    def made(self, state: State) -> tuple[bytes, ...]:
        """The models that follow."""
        assert state.scored is not None and state.drawn is not None
        updates = [
            (row, self.artifacts[state.reveals[row.unit].digest])
            for row in state.scored.rows
            if row.tickets
        ]
        base = self.artifacts[state.model]
        return outer_step(self.rules.job, base, updates, state.drawn.randomness)

    def vote(self, replica: int, digest: bytes | None = None) -> SnapshotVote:
        models = tuple(
            NextModel(
                digest=self.keep(data),
                challenge_loss=int.from_bytes(sha256(data)[:2], "big"),
                loss=1_000_000 + replica,
                correct=300,
            )
            for data in self.made(self.state)
        )
        records = self.rules.job.heldout_records
        return SnapshotVote(cycle=self.state.cycle, models=models, records=records)


def modelled(**changes: object) -> ModelledMill:
    """A founded mill on such a job."""
    job, model = job_with(**changes)
    mill = ModelledMill(genesis=make_genesis(job=job))
    mill.keep(model)
    mill.found()
    return mill
