"""A unit's training, kept while it runs, so that a crash costs seconds and not the unit.

One safetensors file: the segment's weights, the optimiser's state, and what they are of.  A file of
anything else, or one that is malformed, is as good as none: training starts at the first step.
On the same machine a resumed unit ends in the same bytes as one that was never interrupted.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import monotonic

import safetensors
import torch
from safetensors.torch import save
from torch import Tensor

from bft.codec.canonical import encode
from bft.crypto.hashing import sha256, tagged_hash
from chain.records.contribution import WorkUnit
from chain.records.job import Job
from miner.files import write_durably
from miner.training.optimizer import Optimizer

EVERY_S = 5.0
_TAG = "gristmill/miner/unfinished/v1"
_OWN, _STATE = "own.", "state."


def work_digest(
    job: Job, base: bytes, unit: WorkUnit, records: Sequence[int], seed: bytes, device: str
) -> str:
    """What a file is of, in hex."""
    chunk = b"".join(record.to_bytes(4, "big") for record in records)
    parts = (encode(job), base, encode(unit), chunk, seed, device.encode(), torch.__version__)
    hashes = (sha256(part.encode() if isinstance(part, str) else part) for part in parts)
    return tagged_hash(_TAG, b"".join(hashes)).hex()


class Unfinished:
    """The file of one unit; `path` None keeps nothing."""

    def __init__(self, path: Path | None, work: str, every_s: float = EVERY_S) -> None:
        self._path, self._work, self._every_s = path, work, every_s
        self._kept_s = monotonic()

    def resume(self, own: Mapping[str, Tensor], optimizer: Optimizer) -> int:
        """Fill in what was kept; returns the number of steps that are done."""
        if self._path is None or not self._path.is_file():
            return 0
        try:
            with safetensors.safe_open(self._path, "pt") as file:
                told = json.loads((file.metadata() or {}).get("told", "{}"))
                if told.get("work") != self._work:
                    return 0
                kept = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            places = self._places(own, optimizer)
            if {name: part.shape for name, part in kept.items()} != {
                name: part.shape for name, part in places.items()
            }:
                return 0
        except (OSError, ValueError, safetensors.SafetensorError):
            return 0
        with torch.no_grad():
            for name, part in places.items():
                part.copy_(kept[name])
        return int(told["step"])

    def keep(self, step: int, own: Mapping[str, Tensor], optimizer: Optimizer) -> None:
        """Write the file, if the last time is long enough ago."""
        if self._path is None or monotonic() - self._kept_s < self._every_s:
            return
        tensors = {
            name: part.detach().cpu().contiguous()
            for name, part in self._places(own, optimizer).items()
        }
        told = json.dumps({"work": self._work, "step": step})
        write_durably(self._path, save(tensors, metadata={"told": told}), mode=0o600)
        self._kept_s = monotonic()

    def drop(self) -> None:
        """The unit is done."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def _places(self, own: Mapping[str, Tensor], optimizer: Optimizer) -> dict[str, Tensor]:
        state = {f"{_STATE}{number}": part for number, part in enumerate(optimizer.state)}
        return {**{_OWN + name: part for name, part in own.items()}, **state}
