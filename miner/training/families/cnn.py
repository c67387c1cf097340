"""Small convolutional network; shapes and the places of pooling in chain/rules/families/cnn.py."""

from torch import Tensor
from torch.nn import functional

from chain.rules.families.cnn import GRID, KERNEL, halved
from chain.rules.families.family import Sizes
from miner.training.families.family import Weights


class TorchCnn:
    """Padded convolutions with rectifiers, pooling, a linear head over averages."""

    def inputs(self, sizes: Sizes, records: Tensor) -> Tensor:
        """(B, channels, side, side)."""
        return records.reshape(-1, sizes["channels"], sizes["side"], sizes["side"])

    def stem(self, sizes: Sizes, weights: Weights, inputs: Tensor) -> Tensor:
        """There is none."""
        return inputs

    def layer(self, sizes: Sizes, weights: Weights, number: int, activations: Tensor) -> Tensor:
        """(B, width, height, width of the image)."""
        name = f"block.{number}"
        weight, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
        image = functional.relu(functional.conv2d(activations, weight, bias, padding=KERNEL // 2))
        return functional.max_pool2d(image, 2) if halved(sizes, number) else image

    def logits(self, sizes: Sizes, weights: Weights, head: str, activations: Tensor) -> Tensor:
        """(B, classes)."""
        pooled = functional.adaptive_avg_pool2d(activations, GRID).flatten(1)
        return functional.linear(pooled, weights[f"{head}.weight"], weights[f"{head}.bias"])
