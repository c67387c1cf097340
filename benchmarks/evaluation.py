"""How many candidates a replica measures in a CPU second, beside the naive loop and the floor.

    python -m benchmarks.evaluation [--model mlp|transformer] [--segments N] [--units N]

One thread, CPU time (so that a busy machine changes little), 32-bit floating point, one challenge
batch, the best of some rounds of each.  *naive* loads the whole model with each candidate's change
and runs it over the challenge batch.  *exact* is the product's evaluator: the same gains, with
prefixes cached; decoding, norms and what it computes once for all candidates included.  *tested* is
that with an own-data test of a few records, which the naive loop has not.  *first pass* is the
exact integer product with one gradient, decoding included; Spearman says how its order agrees with
the exact gains.  The floor is a whole forward pass at this core's GEMM peak; a ceiling says how
many times naive an exact path could be that pays for nothing but the weights of its segments'
spans.
"""

import argparse
import dataclasses
import json
import os
import sys
import tempfile
from math import prod
from pathlib import Path
from time import process_time

import numpy as np
import torch
from msgspec.structs import replace
from torch import Tensor
from torch.nn import functional

from benchmarks.cheating_strategies import Changes, length, scaled
from benchmarks.training import python_text
from chain.params import MINIMAL
from chain.records.contribution import WorkUnit
from chain.records.job import Job, Mode, make_sizes, sizes_of
from chain.rules.families.cut import Span
from chain.rules.families.family import HEAD
from chain.rules.families.registry import (
    family_named,
    record_layout,
    segment_parameters,
    span,
)
from chain.rules.updates import decode_update
from coordinator.evaluation.evaluator import Batches, Candidate, evaluate
from coordinator.evaluation.screening import quantised_gradient
from coordinator.evaluation.screening_many import first_passes
from miner.training.compression import encode_update
from miner.training.data import ENVIRONMENT, load
from miner.training.dataset import Dataset, write_dataset
from miner.training.jobs import digits_job, genesis_snapshot
from miner.training.model import (
    Model,
    batch,
    load_model,
    prefix,
    read_weights,
)
from miner.training.trainer import train_changes

SEGMENTS = 8
MODES = {"joint": Mode.JOINT, "local heads": Mode.LOCAL_HEADS}
ROUNDS = 3
UNITS = {"mlp": 256, "transformer": 64}
"""A cycle has up to thousands: what is computed once for all is a small part of each."""
MANY = 4  # times that a first pass sees each candidate, as it is made for crowds
OWN_SHARE = 8  # of the challenge batch, the records of the own-data test; the controls are thrice
GEMM = 1024
GEMM_RUNS = 4
QUALITIES = (1.0, 0.5, 0.25, -0.5)
"""Of a segment's candidates: shares of an honest change left in noise; below 0, against it."""


def mlp(segments: int, home: Path) -> Job:
    """About 140 000 weights for records of Fashion-MNIST's size; 1 024 of them in the batch."""
    random = np.random.default_rng(0)
    job = replace(
        digits_job()[0],
        sizes=make_sizes(inputs=784, width=96, depth=segments, classes=10),
        segments=segments,
        dataset=b"benchmark",
        train_records=512,
        heldout_records=1_024,
        chunk_records=512,
        batch_records=32,
        steps=16,
    )
    labels = random.integers(0, 10, job.train_records + job.heldout_records).astype(np.uint8)
    means = random.integers(0, 256, (10, 784))
    noise = random.normal(0, 128, (labels.size, 784))
    records = np.clip(means[labels] + noise, 0, 255).astype(np.uint8)
    data = Dataset(records=records, labels=labels, scale_shift=8)
    return replace(job, dataset_digest=write_dataset(home, data))


def transformer(segments: int, home: Path) -> Job:
    """About 3 million weights, 2 048 bytes of text in the batch."""
    width = round((3_000_000 / 12 / segments) ** 0.5 / 16) * 16
    job = replace(
        digits_job()[0],
        name=b"text",
        family=b"gpt",
        sizes=make_sizes(context=64, width=width, depth=segments, heads=4, tied=0),
        segments=segments,
        dataset=b"text",
        train_records=512,
        heldout_records=32,
        chunk_records=32,
        batch_records=8,
        steps=3,
    )
    data = python_text(job.train_records + job.heldout_records, record_layout(job).width)
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


def challenge(job: Job) -> range:
    """Every held-out record."""
    return range(job.train_records, job.train_records + job.heldout_records)


def naive(job: Job, base: bytes, items: list[tuple[WorkUnit, bytes]]) -> float:
    """The whole model for each candidate: how much less it loses on the challenge batch."""
    model = load_model(job, base, torch.float32)
    inputs, labels = batch(job, load(job), challenge(job), torch.float32)
    before = _losses(model, inputs, labels)
    started = process_time()
    for unit, data in items:
        moved = read_weights(job, decode_update(job, unit.segment, data), torch.float32)
        weights = {**model.weights}
        for name, part in moved.items():
            weights[name] = torch.add(weights[name], part, alpha=2.0**-MINIMAL.step_shift)
        removed = before - _losses(dataclasses.replace(model, weights=weights), inputs, labels)
        removed.mean().item()
    return spent(started, len(items))


def _losses(model: Model, inputs: Tensor, labels: Tensor) -> Tensor:
    """(B,), all records in one go."""
    with torch.no_grad():
        seen = model.family.stem(model.sizes, model.weights, inputs)
        for number in range(model.layers):
            seen = model.family.layer(model.sizes, model.weights, number, seen)
        logits = model.family.logits(model.sizes, model.weights, HEAD, seen).flatten(0, -2)
        losses = functional.cross_entropy(logits, labels.flatten(), reduction="none")
        return losses.view(len(inputs), -1).mean(dim=1)


def exact(
    job: Job, base: bytes, items: list[tuple[WorkUnit, bytes]], own: range = range(0)
) -> tuple[float, list[int]]:
    """The product's evaluator on the same records, and the gains.  `own`: of the own-data test."""
    control = range(own.stop, own.stop + 3 * len(own))
    shared = Batches(challenge=challenge(job), control=control)
    tasks = [Candidate(unit, data, own=own) for unit, data in items]
    started = process_time()
    rows = evaluate(job, MINIMAL, base, tasks, shared)
    return spent(started, len(items)), [row.gain for row in rows]


def ceiling(job: Job) -> float:
    """How many times as many weights the whole model runs through as a span does, on average."""
    family, sizes = family_named(job.family), sizes_of(job)

    def weights(where: Span) -> int:
        shapes = {} if where.first else family.stem(sizes)
        for number in range(where.first, where.last):
            shapes |= family.layer(sizes, number)
        shapes |= family.head(sizes, where.head, where.last - 1)
        return sum(map(prod, shapes.values()))

    whole = weights(Span(0, family.layers(sizes), HEAD))
    return job.segments * whole / sum(weights(span(job, n)) for n in range(job.segments))


def screened(
    job: Job, base: bytes, items: list[tuple[WorkUnit, bytes]]
) -> tuple[float, float, list[int]]:
    """Candidates a second without the gradients, CPU seconds of the gradients, first passes."""
    model = load_model(job, base, torch.float32)
    inputs, labels = batch(job, load(job), challenge(job), torch.float32)
    started = process_time()
    gradients = [
        quantised_gradient(
            model, segment, model.own(segment), prefix(model, segment, inputs), labels
        )
        for segment in range(job.segments)
    ]
    backward = process_time() - started
    found: dict[int, int] = {}
    started = process_time()
    for segment, gradient in enumerate(gradients):
        of_it = [(unit.unit, data) for unit, data in items if unit.segment == segment]
        files = [data for _, data in of_it] * MANY
        told = first_passes(job, segment, gradient, files)[: len(of_it)]
        found |= {unit: number or 0 for (unit, _), number in zip(of_it, told, strict=True)}
    return spent(started, len(items) * MANY), backward, [found[unit.unit] for unit, _ in items]


def spearman(first: list[int], second: list[int]) -> float:
    """Correlation of ranks."""
    ranks = [np.argsort(np.argsort(np.array(values, dtype=object))) for values in (first, second)]
    return float(np.corrcoef(ranks[0].astype(float), ranks[1].astype(float))[0, 1])


def measure(name: str, segments: int, units: int, rounds: int, home: Path) -> dict[str, object]:
    """All figures of one model."""
    torch.set_num_threads(1)
    plain = replace(MODELS[name](segments, home), evaluation=b"fp32", mode=Mode.JOINT)
    whole, predictions = _size(plain)
    told: dict[str, object] = {
        "model": name,
        "segments": segments,
        "parameters": whole,
        "predictions": predictions,
        "floor_per_s": gemm_flops() / (2 * whole * predictions),
    }
    slow = 0.0
    for label, mode in MODES.items():
        job = replace(plain, mode=mode)
        base = genesis_snapshot(job)
        made = candidates(job, base, units)
        items = [(unit, encode_update(job, unit.segment, changes)) for unit, changes in made]
        best, gains = 0.0, [0]
        for _ in range(rounds):
            if mode is Mode.JOINT:
                slow = max(slow, naive(job, base, items))
            rate, gains = exact(job, base, items)
            best = max(best, rate)
        told["naive_per_s"] = slow
        told[f"exact {label}"] = {
            "per_s": best,
            "times_naive": best / slow,
            "ceiling": ceiling(job),
            "tested_per_s": exact(job, base, items, range(job.heldout_records // OWN_SHARE))[0],
        }
        sparse = replace(job, compression=b"topk", keep=64, value_bits=2)
        thin = [(unit, encode_update(sparse, unit.segment, changes)) for unit, changes in made]
        for form, of, files in (("dense", job, items), ("sparse", sparse, thin)):
            true = gains if form == "dense" else exact(sparse, base, thin)[1]
            passes = [screened(of, base, files) for _ in range(rounds)]
            rate, backward, found = max(passes)
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


def _size(job: Job) -> tuple[int, int]:
    """Weights of the model, predictions in the challenge."""
    whole = sum(segment_parameters(job, segment) for segment in range(job.segments))
    return whole, job.heldout_records * record_layout(job).predictions


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
    parser.add_argument("--segments", type=int, default=SEGMENTS)
    parser.add_argument("--units", type=int, help="candidates; default: 256 of the perceptron, 64")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    told = parser.parse_args()
    names = [told.model] if told.model else list(MODELS)
    with tempfile.TemporaryDirectory(prefix="gristmill-evaluation-") as place:
        os.environ[ENVIRONMENT] = place
        for name in names:
            units = told.units or UNITS[name]
            found = measure(name, told.segments, units, told.rounds, Path(place))
            print(json.dumps(rounded(found), indent=2), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
