"""A first pass over very many candidates: one backward for all, then an exact inner product each.

    first_pass = -<gradient, change>

with the gradient of the segment's loss, quantised to 16 bits: to first order the loss that the
update removes, in units of its own.  It ranks; what is paid is measured by the evaluator.
Nothing is agreed upon by it yet: docs/SCORING.md says what is missing for that.
Source: the linear term of Aumann-Shapley's integral along the merged step.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chain.rules.changes import DELTA_MAX, Change
from miner.training.families.family import Weights
from miner.training.model import Model, segment_loss

QUANTUM_MAX = 2**15 - 1
BLOCK = 1 << 18

assert DELTA_MAX * QUANTUM_MAX * BLOCK < 1 << 63


def quantised_gradient(
    model: Model, segment: int, own: Weights, activations: Tensor, labels: Tensor
) -> NDArray[np.int16]:
    """(elements,) of the segment's vector, the largest component being QUANTUM_MAX.

    Args:
        own: the segment's tensors, at the base or at the middle of the merged step.
        activations, labels: of the challenge batch, see `segment_loss`.
    """
    held = {name: part.detach().clone().requires_grad_() for name, part in own.items()}
    loss = segment_loss(model, segment, held, activations, labels)
    parts = torch.autograd.grad(loss, list(held.values()))
    flat = torch.cat([part.flatten() for part in parts]).double().numpy()
    largest = float(np.abs(flat).max())
    if largest == 0 or not np.isfinite(largest):
        return np.zeros(flat.size, np.int16)
    return np.rint(flat * (QUANTUM_MAX / largest)).astype(np.int16)


def first_pass(gradient: NDArray[np.int16], change: Change) -> int:
    """Minus the inner product: exact, so the same on every machine; above 0 is a gain."""
    told = gradient if change.places is None else gradient[change.places]
    total = 0
    for start in range(0, told.size, BLOCK):
        part = told[start : start + BLOCK].astype(np.int64)
        total += int(np.dot(change.values[start : start + BLOCK], part))
    return -total
