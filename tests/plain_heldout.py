"""Held-out loss of an exported model, in plain PyTorch: nothing of Gristmill is imported.

    python plain_heldout.py DIRECTORY

DIRECTORY holds what `gristmill model export` wrote, and records.npy and labels.npy.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch

SLICE = 256


def main(home: Path) -> float:
    """Nats per prediction."""
    sys.path.insert(0, str(home))
    from model import load  # type: ignore[import-not-found]

    model, config = load(home), json.loads((home / "config.json").read_text())
    records, labels = np.load(home / "records.npy"), np.load(home / "labels.npy")
    total, count = 0.0, 0
    for start in range(0, len(records), SLICE):
        part = torch.from_numpy(records[start : start + SLICE])
        if config["family"] == "gpt":
            inputs, wanted = part[:, :-1].long(), part[:, 1:].long()
        else:
            inputs = part.float() * config["input_scale"]
            wanted = torch.from_numpy(labels[start : start + SLICE]).long()
        if config["family"] == "cnn":
            side, channels = config["sizes"]["side"], config["sizes"]["channels"]
            inputs = inputs.reshape(-1, channels, side, side)
        with torch.no_grad():
            logits = model(inputs).flatten(0, -2)
        loss = torch.nn.functional.cross_entropy(logits, wanted.flatten(), reduction="sum")
        total, count = total + loss.item(), count + wanted.numel()
    assert not {"bft", "chain", "miner", "coordinator", "gristmill"} & set(sys.modules)
    return total / count


if __name__ == "__main__":
    print(main(Path(sys.argv[1])))
