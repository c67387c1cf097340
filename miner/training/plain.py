"""An exported model in plain PyTorch: nothing else of Gristmill is needed.

`gristmill model export` puts this file as model.py beside model.safetensors and config.json.  Then

    from model import load
    model = load(".")
    logits = model(inputs)

Inputs are float32 of shape (batch, inputs), for a cnn (batch, channels, side, side), both times
`input_scale` of config.json if they come from the records of the data set; for a gpt int64 bytes
(batch, up to context).  Logits are (batch, classes), for a gpt (batch, length, 256).
"""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional


class Mlp(nn.Module):
    """Rectified linear layers, a linear head."""

    def __init__(self, inputs: int, width: int, depth: int, classes: int) -> None:
        super().__init__()
        self.block = nn.ModuleList(
            nn.Linear(width if number else inputs, width) for number in range(depth)
        )
        self.head = nn.Linear(width, classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """(batch, classes)."""
        for layer in self.block:
            inputs = functional.relu(layer(inputs))
        logits: Tensor = self.head(inputs)
        return logits


class Cnn(nn.Module):
    """Padded 3 x 3 convolutions, halved while 4 pixels are left, a head over 4 x 4 averages."""

    def __init__(self, side: int, channels: int, width: int, depth: int, classes: int) -> None:
        super().__init__()
        self.side = side
        self.block = nn.ModuleList(
            nn.Conv2d(width if number else channels, width, 3, padding=1) for number in range(depth)
        )
        self.head = nn.Linear(16 * width, classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """(batch, classes)."""
        for number, layer in enumerate(self.block):
            inputs = functional.relu(layer(inputs))
            if self.side >> (number + 1) >= 4:
                inputs = functional.max_pool2d(inputs, 2)
        logits: Tensor = self.head(functional.adaptive_avg_pool2d(inputs, 4).flatten(1))
        return logits


class Block(nn.Module):
    """Causal self-attention and feed-forward, each normalised before and added."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention, self.projection = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, hidden: Tensor) -> Tensor:
        """(batch, length, width)."""
        batch, length, width = hidden.shape
        mixed = self.attention(self.norm1(hidden)).reshape(batch, length, 3, self.heads, -1)
        query, key, value = mixed.permute(2, 0, 3, 1, 4)
        seen = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        hidden = hidden + self.projection(seen.transpose(1, 2).reshape(batch, length, width))
        behind: Tensor = hidden + self.down(functional.gelu(self.up(self.norm2(hidden))))
        return behind


class Embedding(nn.Module):
    """A byte and its place."""

    def __init__(self, context: int, width: int) -> None:
        super().__init__()
        self.tokens = nn.Parameter(torch.empty(256, width))
        self.positions = nn.Parameter(torch.empty(context, width))

    def forward(self, inputs: Tensor) -> Tensor:
        """(batch, length, width)."""
        return functional.embedding(inputs, self.tokens) + self.positions[: inputs.shape[1]]


class Head(nn.Module):
    """A norm, and a matrix onto the bytes."""

    def __init__(self, width: int, tied: nn.Parameter | None) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.weight = nn.Parameter(torch.empty(256, width)) if tied is None else tied

    def forward(self, hidden: Tensor) -> Tensor:
        """(batch, length, 256)."""
        return functional.linear(self.norm(hidden), self.weight)


class Gpt(nn.Module):
    """Predicts the next byte."""

    def __init__(self, context: int, width: int, depth: int, heads: int, tied: int) -> None:
        super().__init__()
        self.embedding = Embedding(context, width)
        self.block = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.head = Head(width, self.embedding.tokens if tied else None)

    def forward(self, inputs: Tensor) -> Tensor:
        """(batch, length, 256)."""
        hidden = self.embedding(inputs)
        for layer in self.block:
            hidden = layer(hidden)
        logits: Tensor = self.head(hidden)
        return logits


FAMILIES: dict[str, type[nn.Module]] = {"mlp": Mlp, "cnn": Cnn, "gpt": Gpt}


def load(directory: str | Path) -> nn.Module:
    """The model of a directory, ready to be used."""
    config = json.loads((Path(directory) / "config.json").read_text())
    model = FAMILIES[config["family"]](**config["sizes"])
    weights = load_file(Path(directory) / "model.safetensors")
    if config["sizes"].get("tied"):
        weights["head.weight"] = weights["embedding.tokens"]
    model.load_state_dict(weights)
    return model.eval()
