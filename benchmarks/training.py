"""What cooperation costs: one machine, DiLoCo and our segments, dense and compressed, side by side.

    python -m benchmarks.training [--task digits|fashion|text] [--rounds N] [--steps N] [--seeds N]
                                  [--budget CPU_SECONDS] [--schemes PART,PART] [--json]

Every scheme sees the same number of samples.  Updates, their decoding and the outer step are the
product's; "sent" is what all miners upload, DiLoCo's in 32-bit floating point.  Losses are told
beside the best DiLoCo so far (outer rate / momentum) that keeps the inner optimiser's moments; our
miners begin each unit without any.  With a budget the number of rounds is what fits, measured on
one of DiLoCo's, and the table says it.
"""

import argparse
import json
import sys
import sysconfig
from collections.abc import Callable, Sequence
from functools import cache
from math import fsum
from pathlib import Path
from time import process_time

import numpy as np
from msgspec.structs import replace

from benchmarks.training_schemes import Outcome, Scheme, Task, parameters_of, run
from chain.records.job import Job, Mode, make_sizes
from chain.rules.families.registry import record_layout
from miner.training.data import source_path
from miner.training.dataset import Dataset
from miner.training.jobs import digits_job
from miner.training.sources import SOURCES

MEGABYTE = 1e6
TEXT_BYTES_MAX = 8 << 20


def job(name: str, **changes: object) -> Job:
    """The demonstration's job with another model, data and work."""
    return replace(digits_job()[0], name=name.encode(), **changes)


@cache
def digits() -> Task:
    """scikit-learn's digits."""
    made = job("digits", sizes=make_sizes(inputs=64, width=128, depth=4, classes=10))
    made = replace(made, learning_rate_ppm=1_000, batch_records=16)
    return task(made, SOURCES[b"digits"], miners=8, steps=10, rounds=40)


@cache
def fashion() -> Task:
    """Fashion-MNIST, from Debian's package or a path of GRISTMILL_DATA."""
    made = job(
        "fashion",
        sizes=make_sizes(inputs=784, width=128, depth=2, classes=10),
        train_records=20_000,
        heldout_records=2_000,
        learning_rate_ppm=1_000,
        batch_records=16,
    )
    return task(made, SOURCES[b"fashion-mnist"], miners=4, steps=40, rounds=50)


@cache
def text() -> Task:
    """The standard library's own modules, byte by byte."""
    made = job(
        "text",
        family=b"gpt",
        sizes=make_sizes(context=32, width=32, depth=2, heads=2, tied=0),
        train_records=100_000,
        heldout_records=1_000,
        learning_rate_ppm=3_000,
        batch_records=8,
    )
    return task(made, None, miners=4, steps=40, rounds=25)


TASKS: dict[str, Callable[[], Task]] = {"digits": digits, "fashion": fashion, "text": text}


def task(made: Job, source: object, **numbers: int) -> Task:
    """With its records."""
    layout, name = record_layout(made), made.name.decode()
    if callable(source):
        path = source_path("fashion-mnist") if name == "fashion" else None
        data = source(path, made.train_records, made.heldout_records, layout)
    else:
        data = python_text(made.train_records + made.heldout_records, layout.width)
    return Task(name=name, job=made, data=data, **numbers)


def python_text(records: int, width: int) -> Dataset:
    """Windows of the standard library's modules in an order of their own."""
    home = Path(sysconfig.get_path("stdlib"))
    found = bytearray()
    for path in sorted([*home.glob("*.py"), *home.glob("[a-su-z]*/*.py")]):
        if "site-packages" not in path.parts and len(found) < TEXT_BYTES_MAX:
            found += path.read_bytes()
    windows = np.frombuffer(bytes(found), np.uint8)[: len(found) // width * width]
    windows = windows.reshape(-1, width)
    order = np.random.default_rng(0).permutation(len(windows))[:records]
    if len(order) < records:
        sys.exit(f"the standard library has {len(windows)} records of {width} bytes; {records}")
    return Dataset(records=windows[order], labels=np.empty(0, np.uint8), scale_shift=0)


KEPT, DROPPED = "DiLoCo fp32, moments kept", "DiLoCo fp32, moments dropped"
LOCAL, JOINT, SHARD = Mode.LOCAL_HEADS, Mode.JOINT, Mode.SHARD
ALONE = Scheme("AdamW on one machine", alone=True)
DILOCO = Scheme(f"{KEPT}, 0.7/0.5", rate=(7, 10), momentum=0.5, exact=True, keeps_moments=True)
SCHEMES = (
    ALONE,
    DILOCO,
    Scheme(f"{KEPT}, 0.7/0.9", rate=(7, 10), momentum=0.9, exact=True, keeps_moments=True),
    Scheme(f"{KEPT}, 1/0", exact=True, keeps_moments=True),
    Scheme(f"{DROPPED}, 0.7/0.5", rate=(7, 10), momentum=0.5, exact=True),
    Scheme(f"{DROPPED}, 1/0", exact=True),
    Scheme("data-parallel int8"),
    Scheme("data-parallel top 128, 2 bits", keep=128, value_bits=2),
    Scheme("the same, moments kept (no product)", keep=128, value_bits=2, keeps_moments=True),
    Scheme("data-parallel top 64, 2 bits", keep=64, value_bits=2),
    Scheme("local heads int8", mode=LOCAL, segments=2),
    Scheme("local heads top 128, 2 bits", mode=LOCAL, segments=2, keep=128, value_bits=2),
    Scheme("joint int8, rate 1/2", mode=JOINT, segments=2, rate=(1, 2)),
    Scheme("joint top 128, 2 bits", mode=JOINT, segments=2, keep=128, value_bits=2),
    Scheme("shard int8, rate 1/2", mode=SHARD, segments=2, rate=(1, 2)),
    Scheme("shard top 128, 2 bits", mode=SHARD, segments=2, keep=128, value_bits=2),
)


def fitted(made: Task, budget_s: float | None, schemes: int, seeds: int) -> Task:
    """With as many rounds as the budget has time for."""
    if budget_s is None:
        return made
    started = process_time()
    run(Task(**vars_of(made) | {"rounds": 1}), DILOCO, 0)
    each = max(process_time() - started, 1e-3)
    rounds = int(budget_s / (each * schemes * seeds))
    return Task(**vars_of(made) | {"rounds": max(1, min(made.rounds, rounds))})


def vars_of(made: Task) -> dict[str, object]:
    """Fields by name."""
    return {name: getattr(made, name) for name in made.__dataclass_fields__}


def mean(outcomes: Sequence[Outcome], name: str) -> float:
    """Over the seeds."""
    return fsum(getattr(one, name) for one in outcomes) / len(outcomes)


def compare(made: Task, schemes: Sequence[Scheme], seeds: int) -> list[dict[str, object]]:
    """One row for each scheme, printed as they come."""
    samples = made.miners * made.steps * made.rounds * made.job.batch_records
    print(
        f"\n{made.name}: {parameters_of(made)} parameters, {made.miners} miners, {made.rounds} "
        f"rounds of {made.steps} steps of {made.job.batch_records}, {samples} samples, "
        f"{seeds} seeds",
        file=sys.stderr,
    )
    print(
        f"{'':36}{'loss':>8}{'to DiLoCo':>11}{'right':>8}{'sent MB':>9}{'smaller':>9}{'CPU s':>7}",
        file=sys.stderr,
    )
    rows: list[dict[str, object]] = []
    anchor = None
    for scheme in schemes:
        outcomes = [run(made, scheme, seed) for seed in range(seeds)]
        loss = mean(outcomes, "loss")
        if scheme.exact and scheme.keeps_moments:
            anchor = loss if anchor is None else min(anchor, loss)
        row = {
            "task": made.name,
            "scheme": scheme.name,
            "loss": round(loss, 4),
            "losses": [round(one.loss, 4) for one in outcomes],
            "to_best_diloco": None if anchor is None else round(loss / anchor - 1, 4),
            "accuracy": round(mean(outcomes, "accuracy"), 4),
            "sent_mb": round(mean(outcomes, "upload_bytes") / MEGABYTE, 3),
            "smaller": round(mean(outcomes, "smaller"), 1),
            "cpu_s": round(mean(outcomes, "cpu_s"), 1),
            "rounds": made.rounds,
        }
        rows.append(row)
        told = "" if anchor is None else f"{100 * (loss / anchor - 1):+.1f} %"
        print(
            f"{scheme.name:36}{loss:8.4f}{told:>11}{100 * mean(outcomes, 'accuracy'):7.1f}%"
            f"{row['sent_mb']:9}{row['smaller']:9}{row['cpu_s']:7}",
            file=sys.stderr,
            flush=True,
        )
    return rows


def main(argv: Sequence[str] | None = None) -> int:
    """0 when all was run."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--task", choices=sorted(TASKS), action="append")
    parser.add_argument("--rounds", type=int, help="outer steps")
    parser.add_argument("--steps", type=int, help="of a miner between two outer steps")
    parser.add_argument("--budget", type=float, help="CPU seconds for each task")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument(
        "--schemes", help="only those whose names have one of these parts (A,B), and DiLoCo"
    )
    parser.add_argument("--json", action="store_true", help="rows on stdout")
    chosen = parser.parse_args(argv)
    schemes = [
        one
        for one in SCHEMES
        if not chosen.schemes
        or one == DILOCO
        or any(part in one.name for part in chosen.schemes.split(","))
    ]
    rows = []
    for name in chosen.task or sorted(TASKS):
        made = TASKS[name]()
        asked = {"rounds": chosen.rounds, "steps": chosen.steps}
        made = Task(**vars_of(made) | {name: asked[name] for name in asked if asked[name]})
        made = fitted(made, chosen.budget, len(schemes), chosen.seeds)
        rows += compare(made, schemes, chosen.seeds)
    if chosen.json:
        print(json.dumps(rows, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
