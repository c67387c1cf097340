"""One segment: a layer and its local head; and the frozen prefix of segments before it.

Decoupled greedy training: a segment learns by the loss of its own head, so no gradient crosses
segments and nothing behind the segment is needed.
Source: Belilovsky, Eickenberg, Oyallon, "Decoupled Greedy Learning of CNNs" (ICML 2020).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """Weights of one segment, all of one floating type."""

    layer_weight: Tensor  # (width, inputs)
    layer_bias: Tensor  # (width,)
    head_weight: Tensor  # (classes, width)
    head_bias: Tensor  # (classes,)

    @property
    def parameters(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """All four, in the order of the fields."""
        return self.layer_weight, self.layer_bias, self.head_weight, self.head_bias

    def outputs(self, inputs: Tensor) -> Tensor:
        """(B, width): rectified linear layer over (B, inputs)."""
        return functional.relu(functional.linear(inputs, self.layer_weight, self.layer_bias))

    def logits(self, inputs: Tensor) -> Tensor:
        """(B, classes): what the local head says about (B, inputs)."""
        return functional.linear(self.outputs(inputs), self.head_weight, self.head_bias)

    def loss(self, inputs: Tensor, labels: Tensor) -> Tensor:
        """Scalar: mean cross-entropy of the local head, nats per record."""
        return functional.cross_entropy(self.logits(inputs), labels)


def through(segments: Sequence[Segment], inputs: Tensor) -> Tensor:
    """Activations behind `segments`: the cached prefix's output for (B, inputs) records."""
    with torch.no_grad():
        for segment in segments:
            inputs = segment.outputs(inputs)
    return inputs
