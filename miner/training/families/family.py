"""What a model family computes.  What it is made of stands in chain/rules/families."""

from collections.abc import Mapping
from typing import Protocol

from torch import Tensor

from chain.rules.families.family import Sizes

Weights = Mapping[str, Tensor]
"""Tensor name -> values, all of one floating type."""


class TorchFamily(Protocol):
    """Functions of weights and activations; none keeps anything, none changes its arguments."""

    def inputs(self, sizes: Sizes, records: Tensor) -> Tensor:
        """What the first layer's stem reads: (B, ...) from records (B, width) of the data set."""

    def stem(self, sizes: Sizes, weights: Weights, inputs: Tensor) -> Tensor:
        """Activations that the first layer takes."""

    def layer(self, sizes: Sizes, weights: Weights, number: int, activations: Tensor) -> Tensor:
        """Activations behind layer `number`."""

    def logits(self, sizes: Sizes, weights: Weights, head: str, activations: Tensor) -> Tensor:
        """(B, classes), or (B, predictions, classes) of a family with several predictions."""
