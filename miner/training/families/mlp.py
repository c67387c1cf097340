"""Multilayer perceptron; shapes in chain/rules/families/mlp.py."""

from torch import Tensor
from torch.nn import functional

from chain.rules.families.family import Sizes
from miner.training.families.family import Weights


class TorchMlp:
    """Rectified linear layers, a linear head."""

    def inputs(self, sizes: Sizes, records: Tensor) -> Tensor:
        """(B, inputs): records as they are."""
        return records

    def stem(self, sizes: Sizes, weights: Weights, inputs: Tensor) -> Tensor:
        """There is none."""
        return inputs

    def layer(self, sizes: Sizes, weights: Weights, number: int, activations: Tensor) -> Tensor:
        """(B, width)."""
        name = f"block.{number}"
        weight, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
        return functional.relu(functional.linear(activations, weight, bias))

    def logits(self, sizes: Sizes, weights: Weights, head: str, activations: Tensor) -> Tensor:
        """(B, classes)."""
        return functional.linear(activations, weights[f"{head}.weight"], weights[f"{head}.bias"])
