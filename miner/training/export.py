"""A snapshot -> files that plain PyTorch loads: float32 tensors, their configuration, their code.

No torch here; the code that is copied (plain.py) needs torch and safetensors only.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from bft.crypto.hashing import sha256
from bft.errors import ConfigError
from chain.records.job import Job, sizes_of
from chain.rules.families.cut import AUXILIARY
from chain.rules.families.registry import BUILT_IN, model_shapes, record_layout
from chain.rules.updates import decode_snapshot
from miner.files import write_durably

MODEL, CONFIG, CODE = "model.safetensors", "config.json", "model.py"
_PLAIN = Path(__file__).with_name("plain.py")


def export_model(
    job: Job, snapshot: bytes, out: Path, told: dict[str, Any], scale_shift: int | None
) -> dict[str, Any]:
    """Write model.safetensors, config.json and, for families of ours, model.py.

    Heads that only segments used while they trained are left out.

    Args:
        told: what else the configuration shall say, for example the cycle.
        scale_shift: of the data set, if it is known.

    Returns:
        The configuration.

    Raises:
        ConfigError: `out` is not empty.
        DecodeError: `snapshot` is none of the job's.
    """
    if out.exists() and any(out.iterdir()):
        raise ConfigError(f"{out} is not empty")
    scale = 2.0**-job.fraction_bits
    weights = decode_snapshot(job, snapshot)
    tensors = {
        name: (weights[name] * scale).astype(np.float32)
        for name in model_shapes(job)
        if not name.startswith(AUXILIARY)
    }
    config: dict[str, Any] = {
        "family": job.family.decode(),
        "sizes": sizes_of(job),
        "classes": record_layout(job).classes,
        "job": job.name.decode(errors="replace"),
        "dataset": job.dataset.decode(errors="replace"),
        "dataset_digest": job.dataset_digest.hex(),
        "snapshot": sha256(snapshot).hex(),
        "parameters": sum(part.size for part in tensors.values()),
        **told,
    }
    if scale_shift is not None:
        config["input_scale"] = 2.0**-scale_shift
    out.mkdir(parents=True, exist_ok=True)
    write_durably(out / MODEL, save(tensors))
    write_durably(out / CONFIG, json.dumps(config, indent=2).encode() + b"\n")
    if job.family in BUILT_IN:
        write_durably(out / CODE, _PLAIN.read_bytes())
    return config
