"""Byte-level transformer; shapes in chain/rules/families/gpt.py.

Source: Radford et al., "Language Models are Unsupervised Multitask Learners" (2019), section 2.3.
"""

import torch
from torch import Tensor
from torch.nn import functional

from chain.rules.families.family import HEAD, Sizes
from miner.training.families.family import Weights


class TorchGpt:
    """Causal self-attention and feed-forward layers, each normalised before."""

    def inputs(self, sizes: Sizes, records: Tensor) -> Tensor:
        """(B, context) int64: all bytes of a record but the last."""
        return records[:, :-1].long()

    def stem(self, sizes: Sizes, weights: Weights, inputs: Tensor) -> Tensor:
        """(B, T, width): a byte and its place, added; T is at most the context."""
        places = weights["embedding.positions"][: inputs.shape[1]]
        return functional.embedding(inputs, weights["embedding.tokens"]) + places

    def layer(self, sizes: Sizes, weights: Weights, number: int, activations: Tensor) -> Tensor:
        """(B, T, width)."""
        name = f"block.{number}"
        seen = _attention(sizes, weights, name, _norm(weights, f"{name}.norm1", activations))
        activations = activations + seen
        wide = _linear(weights, f"{name}.up", _norm(weights, f"{name}.norm2", activations))
        return activations + _linear(weights, f"{name}.down", functional.gelu(wide))

    def logits(self, sizes: Sizes, weights: Weights, head: str, activations: Tensor) -> Tensor:
        """(B, T, 256)."""
        tied = sizes["tied"] and head == HEAD
        matrix = weights["embedding.tokens" if tied else f"{head}.weight"]
        return functional.linear(_norm(weights, f"{head}.norm", activations), matrix)


def _attention(sizes: Sizes, weights: Weights, name: str, activations: Tensor) -> Tensor:
    """Each byte looks at itself and those before."""
    records, length, width = activations.shape
    mixed = _linear(weights, f"{name}.attention", activations)
    split = mixed.reshape(records, length, 3, sizes["heads"], width // sizes["heads"])
    query, key, value = split.permute(2, 0, 3, 1, 4)
    seen: Tensor = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
    joined = seen.transpose(1, 2).reshape(records, length, width)
    return _linear(weights, f"{name}.projection", joined)


def _linear(weights: Weights, name: str, activations: Tensor) -> Tensor:
    return functional.linear(activations, weights[f"{name}.weight"], weights[f"{name}.bias"])


def _norm(weights: Weights, name: str, activations: Tensor) -> Tensor:
    shape = torch.Size([activations.shape[-1]])
    return functional.layer_norm(
        activations, shape, weights[f"{name}.weight"], weights[f"{name}.bias"]
    )
