"""Multilayer perceptron: rectified linear layers of one width, and a linear head.  Pure."""

from collections.abc import Mapping

from chain.records.job import Mode
from chain.rules.families.family import ZERO, RecordLayout, Shapes, Sizes, Start


class Mlp:
    """Sizes: inputs, width, depth (layers), classes."""

    bounds: Mapping[str, tuple[int, int]] = {
        "inputs": (1, 1 << 16),
        "width": (1, 1 << 14),
        "depth": (1, 64),
        "classes": (2, 256),
    }

    def objection(self, sizes: Sizes, mode: Mode, segments: int) -> str:
        """Nothing more."""
        return ""

    def record(self, sizes: Sizes) -> RecordLayout:
        """Numbers and a label."""
        return RecordLayout(
            width=sizes["inputs"], predictions=1, classes=sizes["classes"], labelled=True
        )

    def layers(self, sizes: Sizes) -> int:
        """All of one width."""
        return sizes["depth"]

    def stem(self, sizes: Sizes) -> Shapes:
        """The first layer reads the record."""
        return {}

    def layer(self, sizes: Sizes, number: int) -> Shapes:
        """(outputs, inputs), as torch has them."""
        inputs = sizes["width"] if number else sizes["inputs"]
        return {
            f"block.{number}.bias": (sizes["width"],),
            f"block.{number}.weight": (sizes["width"], inputs),
        }

    def head(self, sizes: Sizes, name: str, behind: int) -> Shapes:
        """A linear classifier."""
        return {
            f"{name}.bias": (sizes["classes"],),
            f"{name}.weight": (sizes["classes"], sizes["width"]),
        }

    def start(self, sizes: Sizes, name: str, shape: tuple[int, ...]) -> Start:
        """He et al., "Delving Deep into Rectifiers" (ICCV 2015) for layers; biases 0."""
        if name.endswith("bias"):
            return ZERO
        return Start(numerator=6 if name.startswith("block.") else 1, denominator=shape[-1])
