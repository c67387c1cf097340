"""A job trained by a whole federation of processes, and its model taken home.

    python -m tests.live_training [--job NAME]... [--cycles N] [--data PATH] [--budget SECONDS]

For each job: the demonstration (real sockets, fsync, torch, audit), then the certified model is
exported from the last snapshot and run by plain PyTorch on the held-out records: its loss must be
what the replicas agreed on.  The text is the standard library's source, unless --data names one.
Exit status 1 when a loss did not fall, the audit failed, or plain PyTorch disagrees.

Jobs are those that come with Gristmill, with smaller units and phases that a busy machine cannot
miss: a phase ends as soon as everybody has delivered, so on a quiet one nobody waits for them.
`digits-sparse` trains digits with sparse updates, data-parallel.
"""

import argparse
import json
import os
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from coordinator.service.blobs import blob_path
from miner.training.data import ENVIRONMENT, load
from miner.training.export import export_model
from miner.training.jobdir import DATA, find_job_file, open_job

PATIENT = {
    "training_ms": 1_200_000,
    "reveal_ms": 300_000,
    "evaluation_ms": 1_200_000,
    "snapshot_ms": 600_000,
    "block_ms": 60_000,
}
"""Limits of the phases; registration keeps its own, which is waited for once."""
SMALL: dict[str, dict[str, dict[str, Any]]] = {
    "digits": {},
    "digits-sparse": {
        "model": {"mode": "data-parallel", "segments": 1},
        "compression": {"method": "topk", "keep": 128, "value_bits": 2},
        "outer": {"rate": 1},
    },
    "fashion-mlp": {},
    "fashion-cnn": {
        "data": {"train": 18_000, "heldout": 1_000, "chunk": 1_500},
        "work": {"steps": 47},
    },
    "text": {"data": {"train": 8_192, "heldout": 256, "chunk": 512}},
}
"""What differs from the job file of that name (of the part before the dash's `sparse`)."""
SPARSE = "-sparse"
LOSS_TOLERANCE = 1e-4  # nats; float32 beside the replicas' float64
SHOWN_MAX = 2_000  # characters of what a command said last
RUN = (sys.executable, "-m", "gristmill")
PLAIN = Path(__file__).with_name("plain_heldout.py")


def main() -> int:
    """Every job that was asked for, as long as the budget lasts."""
    parser = argparse.ArgumentParser(prog="python -m tests.live_training")
    parser.add_argument("--job", action="append", choices=SMALL)
    parser.add_argument("--cycles", type=int, default=3)
    parser.add_argument("--data", type=Path, help="a text, for the job text")
    parser.add_argument("--budget", type=float, default=1800, help="no job starts after so long")
    chosen = parser.parse_args()
    started, good = time.monotonic(), True
    for name in chosen.job or SMALL:
        if time.monotonic() - started > chosen.budget:
            print(f"{name}: not run, the budget is used up")
            continue
        with tempfile.TemporaryDirectory(prefix="gristmill-live-") as place:
            good &= trained(name, Path(place), chosen.cycles, chosen.data)
    return 0 if good else 1


def trained(name: str, place: Path, cycles: int, data: Path | None) -> bool:
    """One job; whether everything held."""
    source = data or Path(sysconfig.get_paths()["stdlib"])
    where = ("--data", str(source)) if name == "text" else ()
    called("job", "create", job_file(name, place), "--out", place / "job", *where)
    started = time.monotonic()
    arguments = ("--cycles", cycles, "--home", place / "home", "--job", place / "job")
    told = called("demo", *arguments)
    losses = [cycle["loss"] for cycle in told["cycles"]]
    plain = by_plain_pytorch(place, told["cycles"][-1]["model"])
    good = told["ok"] and losses[-1] < losses[0] and abs(plain - losses[-1]) < LOSS_TOLERANCE
    shown = " ".join(f"{loss:.4f}" for loss in losses)
    accuracy = 100 * told["cycles"][-1]["accuracy"]
    print(
        f"{name}: held-out loss {shown} nats, accuracy {accuracy:.1f} %, plain PyTorch "
        f"{plain:.4f}, audit {'passed' if told['audit']['passed'] else 'FAILED'}, "
        f"{time.monotonic() - started:.0f} s: {'good' if good else 'BAD'}",
        flush=True,
    )
    return good


def job_file(name: str, place: Path) -> Path:
    """The job file, written to `place`."""
    told = yaml.safe_load(find_job_file(name.removesuffix(SPARSE)).read_text("utf-8"))
    for section, changes in SMALL[name].items():
        told[section] = told.get(section, {}) | changes
    told["params"]["changes"] = told["params"].get("changes", {}) | PATIENT
    out = place / f"{name}.yaml"
    out.write_text(yaml.safe_dump(told), "utf-8")
    return out


def by_plain_pytorch(place: Path, digest: str) -> float:
    """Held-out loss of a snapshot, computed without Gristmill."""
    os.environ[ENVIRONMENT] = str(place / "job" / DATA)
    job = open_job(place / "job").job
    snapshot = (
        place / "home" / "replica-0" / "blobs" / blob_path(bytes.fromhex(digest))
    ).read_bytes()
    dataset, out = load(job), place / "model"
    export_model(job, snapshot, out, {}, dataset.scale_shift)
    heldout = slice(job.train_records, job.train_records + job.heldout_records)
    np.save(out / "records.npy", dataset.records[heldout])
    np.save(out / "labels.npy", dataset.labels[heldout])
    done = subprocess.run(
        [sys.executable, PLAIN, out], cwd=out, capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def called(*arguments: object) -> dict[str, Any]:
    """What a command of ours says with --json."""
    done = subprocess.run(
        [*RUN, *map(str, arguments), "--json"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"gristmill {arguments[0]} failed: {done.stderr[-SHOWN_MAX:]}")
    told: dict[str, Any] = json.loads(done.stdout)["data"]
    return told


if __name__ == "__main__":
    raise SystemExit(main())
