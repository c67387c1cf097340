"""Byte-level transformer that predicts the next byte: GPT-2's layers, before-normalised.  Pure.

Source: Radford et al., "Language Models are Unsupervised Multitask Learners" (2019), section 2.3,
without dropout; first values have its standard deviation of 0.02, and the
projections back into the residual stream 1 / sqrt(2 * depth) of it.
"""

from collections.abc import Mapping

from chain.records.job import Mode
from chain.rules.families.family import HEAD, ONE, ZERO, RecordLayout, Shapes, Sizes, Start

BYTES = 256
EXPANSION = 4
"""The feed-forward layer is so many times as wide."""

_SPREAD = (12, 10_000)  # (0.02 * sqrt(3)) ** 2: a uniform value of standard deviation 0.02
_RESIDUAL = (".down.weight", ".projection.weight")


class Gpt:
    """Sizes: context (bytes), width, depth, heads, tied (1: the head is the embedding)."""

    bounds: Mapping[str, tuple[int, int]] = {
        "context": (1, 1 << 16),
        "width": (1, 1 << 14),
        "depth": (1, 64),
        "heads": (1, 256),
        "tied": (0, 1),
    }

    def objection(self, sizes: Sizes, mode: Mode, segments: int) -> str:
        """Heads share the width evenly, and a tied head needs the whole model's loss."""
        if sizes["width"] % sizes["heads"]:
            return f"width {sizes['width']} is no multiple of heads {sizes['heads']}"
        if sizes["tied"] and mode is Mode.LOCAL_HEADS:
            return "a tied head reads the embedding, so segments with local heads have tied 0"
        return ""

    def record(self, sizes: Sizes) -> RecordLayout:
        """context + 1 bytes of text: each but the first is predicted from those before."""
        return RecordLayout(
            width=sizes["context"] + 1,
            predictions=sizes["context"],
            classes=BYTES,
            labelled=False,
        )

    def layers(self, sizes: Sizes) -> int:
        """Transformer blocks."""
        return sizes["depth"]

    def stem(self, sizes: Sizes) -> Shapes:
        """What a byte is, and where it stands."""
        return {
            "embedding.positions": (sizes["context"], sizes["width"]),
            "embedding.tokens": (BYTES, sizes["width"]),
        }

    def layer(self, sizes: Sizes, number: int) -> Shapes:
        """Attention (query, key and value in one matrix) and feed-forward, each normalised."""
        width, at = sizes["width"], f"block.{number}"
        return {
            **_norm(f"{at}.norm1", width),
            **_linear(f"{at}.attention", width, 3 * width),
            **_linear(f"{at}.projection", width, width),
            **_norm(f"{at}.norm2", width),
            **_linear(f"{at}.up", width, EXPANSION * width),
            **_linear(f"{at}.down", EXPANSION * width, width),
        }

    def head(self, sizes: Sizes, name: str, behind: int) -> Shapes:
        """A norm, and a matrix onto the bytes unless the embedding is one."""
        shapes = _norm(f"{name}.norm", sizes["width"])
        if not (sizes["tied"] and name == HEAD):
            shapes[f"{name}.weight"] = (BYTES, sizes["width"])
        return shapes

    def start(self, sizes: Sizes, name: str, shape: tuple[int, ...]) -> Start:
        """Norms start as the identity, biases at 0."""
        if name.endswith("bias"):
            return ZERO
        if ".norm" in name:
            return ONE
        deeper = 2 * sizes["depth"] if name.endswith(_RESIDUAL) else 1
        return Start(numerator=_SPREAD[0], denominator=_SPREAD[1] * deeper)


def _linear(name: str, inputs: int, outputs: int) -> Shapes:
    return {f"{name}.bias": (outputs,), f"{name}.weight": (outputs, inputs)}


def _norm(name: str, width: int) -> Shapes:
    return {f"{name}.bias": (width,), f"{name}.weight": (width,)}
