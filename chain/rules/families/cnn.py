"""Small convolutional network for square images: 3 x 3 convolutions, pooling, a linear head.  Pure.

Every layer is a padded convolution and a rectifier; while the image is large enough, a 2 x 2
maximum halves it behind the layer.  A head pools to GRID x GRID and is linear.
"""

from collections.abc import Mapping

from chain.records.job import Mode
from chain.rules.families.family import ZERO, RecordLayout, Shapes, Sizes, Start

KERNEL = 3
GRID = 4
"""Heads read GRID x GRID averages of every channel; pooling stops before an image is smaller."""


def halved(sizes: Sizes, number: int) -> bool:
    """Whether the image is halved behind layer `number`."""
    return sizes["side"] >> (number + 1) >= GRID


class Cnn:
    """Sizes: side (pixels), channels (of a record), width (channels inside), depth, classes."""

    bounds: Mapping[str, tuple[int, int]] = {
        "side": (GRID, 256),
        "channels": (1, 16),
        "width": (1, 1024),
        "depth": (1, 64),
        "classes": (2, 256),
    }

    def objection(self, sizes: Sizes, mode: Mode, segments: int) -> str:
        """Nothing more."""
        return ""

    def record(self, sizes: Sizes) -> RecordLayout:
        """Pixels by channel, row and column, and a label."""
        return RecordLayout(
            width=sizes["channels"] * sizes["side"] ** 2,
            predictions=1,
            classes=sizes["classes"],
            labelled=True,
        )

    def layers(self, sizes: Sizes) -> int:
        """Convolutions."""
        return sizes["depth"]

    def stem(self, sizes: Sizes) -> Shapes:
        """The first layer reads the record."""
        return {}

    def layer(self, sizes: Sizes, number: int) -> Shapes:
        """(outputs, inputs, height, width), as torch has them."""
        inputs = sizes["width"] if number else sizes["channels"]
        return {
            f"block.{number}.bias": (sizes["width"],),
            f"block.{number}.weight": (sizes["width"], inputs, KERNEL, KERNEL),
        }

    def head(self, sizes: Sizes, name: str, behind: int) -> Shapes:
        """Linear over the pooled image."""
        return {
            f"{name}.bias": (sizes["classes"],),
            f"{name}.weight": (sizes["classes"], sizes["width"] * GRID**2),
        }

    def start(self, sizes: Sizes, name: str, shape: tuple[int, ...]) -> Start:
        """He et al., "Delving Deep into Rectifiers" (ICCV 2015) for layers; biases 0."""
        if name.endswith("bias"):
            return ZERO
        if name.startswith("block."):
            return Start(numerator=6, denominator=shape[1] * KERNEL**2)
        return Start(numerator=1, denominator=shape[-1])
