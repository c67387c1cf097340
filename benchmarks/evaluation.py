"""How many candidates a replica measures in a CPU second, beside the naive loop and the floor.

    python -m benchmarks.evaluation [--model mlp|transformer] [--units N]

One thread, CPU time (so that a busy machine changes little), 32-bit floating point, one challenge
batch.  *naive* loads the whole model with each candidate's change and runs it over the batch.
*exact* is the product's evaluator, decoding and norms included, with prefixes cached.  *first pass*
is the exact integer product with one gradient, decoding included; Spearman says how its order
agrees with the exact gains.  The floor is a whole forward pass at this core's GEMM peak.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from time import process_time

import numpy as np
import torch
from msgspec.structs import replace

from benchmarks.cheating_strategies import Changes, length, scaled
from benchmarks.training import python_text
from chain.params import MINIMAL
from chain.records.contribution import WorkUnit
from chain.records.job import Job, Mode, make_sizes
from chain.rules.families.registry import record_layout, segment_parameters
from chain.rules.updates import decode_change, decode_update
from coordinator.evaluation.evaluator import Batches, Candidate, evaluate
from coordinator.evaluation.screening import first_pass, quantised_gradient
from miner.training.compression import encode_update
from miner.training.data import ENVIRONMENT, load
from miner.training.dataset import write_dataset
from miner.training.jobs import digits_job, genesis_snapshot
from miner.training.model import (
    Model,
    batch,
    cross_entropy,
    load_model,
    model_logits,
    prefix,
    read_weights,
)
from miner.training.trainer import train_changes

SEGMENTS = 4
MODES = {"joint": Mode.JOINT, "local heads": Mode.LOCAL_HEADS}
GEMM = 1024
GEMM_RUNS = 4
QUALITIES = (1.0, 0.5, 0.25, -0.5)
"""Of a segment's candidates: shares of an honest change left in noise; below 0, against it."""


def mlp() -> Job:
    """About 100 000 weights; digits, 1 024 records in the batch."""
    sizes = make_sizes(inputs=64, width=176, depth=SEGMENTS, classes=10)
    return replace(
        digits_job()[0],
        sizes=sizes,
        segments=SEGMENTS,
        batch_records=16,
        steps=15,
        train_records=773,
        heldout_records=1_024,
    )


def transformer() -> Job:
    """About 3 million weights, 2 048 bytes of text in the batch."""
    job = replace(
        digits_job()[0],
        name=b"text",
        family=b"gpt",
        sizes=make_sizes(context=64, width=256, depth=SEGMENTS, heads=4, tied=0),
        segments=SEGMENTS,
        dataset=b"text",
        train_records=512,
        heldout_records=32,
        chunk_records=32,
        batch_records=8,
        steps=3,
    )
    data = python_text(job.train_records + job.heldout_records, record_layout(job).width)
    home = Path(tempfile.mkdtemp(prefix="gristmill-evaluation-"))
    os.environ[ENVIRONMENT] = str(home)
    return replace(job, dataset_digest=write_dataset(home, data))


MODELS = {"mlp": mlp, "transformer": transformer}


def gemm_flops() -> float:
    """32-bit operations in a CPU second, the best of some runs."""
    left, right = torch.randn(GEMM, GEMM), torch.randn(GEMM, GEMM)
    best = 0.0
    for _ in range(GEMM_RUNS):
        start = process_time()
        left @ right
        best = max(best, 2 * GEMM**3 / max(process_time() - start, 1e-6))
    return best


def candidates(job: Job, base: bytes, units: int) -> list[tuple[WorkUnit, Changes]]:
    """Changes of mixed quality, the same number for every segment."""
    generator = np.random.default_rng(1)
    found: list[tuple[WorkUnit, Changes]] = []
    for segment in range(job.segments):
        unit = WorkUnit(unit=0, miner=bytes(33), segment=segment, chunk=0, steps=job.steps)
        honest = train_changes(job, base, unit, range(job.chunk_records), bytes(32))
        for number in range(units // job.segments):
            quality = QUALITIES[number % len(QUALITIES)] * generator.uniform(0.5, 1.0)
            drawn = {name: generator.normal(size=part.shape) for name, part in honest.items()}
            drawn = scaled(drawn, 0.5 * length(honest) / length(drawn))
            mixed = {name: quality * part + drawn[name] for name, part in honest.items()}
            found.append((replace(unit, unit=len(found)), mixed))
    return found


def spent(started: float, count: int) -> float:
    """Candidates in a CPU second."""
    return count / max(process_time() - started, 1e-6)


def naive(job: Job, base: bytes, items: list[tuple[WorkUnit, bytes]]) -> float:
    """The whole model for each candidate."""
    model = load_model(job, base, torch.float32)
    pool = range(job.train_records, job.train_records + job.heldout_records)
    inputs, labels = batch(job, load(job), pool, torch.float32)
    cross_entropy(model_logits(model, inputs), labels)  # warm
    started = process_time()
    for unit, data in items:
        moved = read_weights(job, decode_update(job, unit.segment, data), torch.float32)
        weights = {**model.weights}
        for name, part in moved.items():
            weights[name] = weights[name] + part / 4
        changed = Model(**{**{n: getattr(model, n) for n in fields()}, "weights": weights})
        cross_entropy(model_logits(changed, inputs), labels).item()
    return spent(started, len(items))


def fields() -> list[str]:
    """Of a `Model`."""
    return list(Model.__dataclass_fields__)


def exact(job: Job, base: bytes, items: list[tuple[WorkUnit, bytes]]) -> tuple[float, list[int]]:
    """The product's evaluator on the same batch, and the gains."""
    pool = range(job.train_records, job.train_records + job.heldout_records)
    shared = Batches(challenge=pool, control=(0,))
    tasks = [Candidate(unit, data, own=(1,)) for unit, data in items]
    started = process_time()
    rows = evaluate(job, MINIMAL, base, tasks, shared)
    return spent(started, len(items)), [row.gain for row in rows]


def screened(
    job: Job, base: bytes, items: list[tuple[WorkUnit, bytes]]
) -> tuple[float, float, list[int]]:
    """Candidates a second without the gradients, CPU seconds of the gradients, first passes."""
    model = load_model(job, base, torch.float32)
    pool = range(job.train_records, job.train_records + job.heldout_records)
    inputs, labels = batch(job, load(job), pool, torch.float32)
    started = process_time()
    gradients = {
        segment: quantised_gradient(
            model, segment, model.own(segment), prefix(model, segment, inputs), labels
        )
        for segment in range(job.segments)
    }
    backward = process_time() - started
    started = process_time()
    found = [
        first_pass(gradients[unit.segment], decode_change(job, unit.segment, data))
        for unit, data in items
    ]
    return spent(started, len(items)), backward, found


def spearman(first: list[int], second: list[int]) -> float:
    """Correlation of ranks."""
    ranks = [np.argsort(np.argsort(np.array(values, dtype=object))) for values in (first, second)]
    return float(np.corrcoef(ranks[0].astype(float), ranks[1].astype(float))[0, 1])


def measure(name: str, units: int) -> dict[str, object]:
    """All figures of one model."""
    torch.set_num_threads(1)
    plain = replace(MODELS[name](), evaluation=b"fp32")
    told: dict[str, object] = {"model": name}
    for label, mode in MODES.items():
        job = replace(plain, mode=mode)
        sparse = replace(job, compression=b"topk", keep=64, value_bits=2)
        base = genesis_snapshot(job)
        made = candidates(job, base, units)
        items = [(unit, encode_update(job, unit.segment, changes)) for unit, changes in made]
        thin = [(unit, encode_update(sparse, unit.segment, changes)) for unit, changes in made]
        if label == "joint":
            whole = sum(segment_parameters(job, segment) for segment in range(job.segments))
            layout = record_layout(job)
            floor = 2 * whole * job.heldout_records * layout.predictions
            told["parameters"] = whole
            told["predictions"] = job.heldout_records * layout.predictions
            told["floor_per_s"] = gemm_flops() / floor
            told["naive_per_s"] = slow = naive(job, base, items)
        rate, gains = exact(job, base, items)
        told[f"exact {label}"] = {"per_s": rate, "times_naive": rate / slow}
        for form, of, files in (("dense", job, items), ("sparse", sparse, thin)):
            rate, backward, found = screened(of, base, files)
            true = gains if form == "dense" else exact(sparse, base, thin)[1]
            agreed = [
                spearman([found[n] for n in of_one], [true[n] for n in of_one])
                for segment in range(job.segments)
                for of_one in [[n for n, (u, _) in enumerate(files) if u.segment == segment]]
            ]
            told[f"first pass {label}, {form}"] = {
                "per_s": rate,
                "times_naive": rate / slow,
                "gradients_s": backward,
                "spearman_by_segment": agreed,
            }
    return told


def rounded(value: object) -> object:
    """For people."""
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, dict):
        return {name: rounded(part) for name, part in value.items()}
    return [rounded(part) for part in value] if isinstance(value, list) else value


def main() -> int:
    """Both models, or one; JSON on stdout."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", choices=sorted(MODELS))
    parser.add_argument("--units", type=int, default=48)
    told = parser.parse_args()
    names = [told.model] if told.model else list(MODELS)
    json.dump([rounded(measure(name, told.units)) for name in names], sys.stdout, indent=2)
    print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
