"""What families compute: the same as torch's own modules, cut or not, whatever the mode."""

import numpy as np
import pytest
import torch
from msgspec.structs import replace
from torch import Tensor, nn

from chain.records.job import Job, Mode
from chain.rules.families.registry import record_layout, segment_shapes, span
from miner.training.dataset import Dataset
from miner.training.families.registry import BUILT_IN
from miner.training.jobs import genesis_snapshot
from miner.training.model import (
    Model,
    batch,
    cross_entropy,
    load_model,
    model_logits,
    prefix,
    segment_loss,
)
from tests.chain.rules.families.test_cut import CUTS, cut_job

RECORDS = 5


def made(family: bytes, mode: Mode, segments: int) -> tuple[Job, Model, Tensor, Tensor]:
    """A job, its first model, and a batch of random records."""
    job = replace(cut_job(family, mode, segments), name=b"%s %d" % (family, mode))
    layout = record_layout(job)
    generator = np.random.default_rng(7)
    dataset = Dataset(
        records=generator.integers(0, 256, (RECORDS, layout.width), np.uint8),
        labels=generator.integers(0, layout.classes, RECORDS).astype(np.uint8),
        scale_shift=8,
    )
    inputs, labels = batch(job, dataset, range(RECORDS), torch.float64)
    return job, load_model(job, genesis_snapshot(job), torch.float64), inputs, labels


def mlp(model: Model) -> nn.Module:
    sizes = model.sizes
    widths = [sizes["inputs"], *[sizes["width"]] * sizes["depth"]]
    layers: list[nn.Module] = []
    for number in range(sizes["depth"]):
        layers += [nn.Linear(widths[number], widths[number + 1]), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(sizes["width"], sizes["classes"]))


def cnn(model: Model) -> nn.Module:
    """16 pixels are halved twice; then 4 are left."""
    width = model.sizes["width"]
    layers: list[nn.Module] = []
    for number in range(model.sizes["depth"]):
        layers += [nn.Conv2d(width if number else 1, width, 3, padding=1), nn.ReLU()]
        layers += [nn.MaxPool2d(2)] if number < 2 else []
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(16 * width, 3))


class Gpt(nn.Module):
    """Of torch's own encoder layers, which are before-normalised on demand."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        sizes = model.sizes
        self.tokens = nn.Embedding(256, sizes["width"])
        self.positions = nn.Embedding(sizes["context"], sizes["width"])
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                sizes["width"],
                sizes["heads"],
                4 * sizes["width"],
                dropout=0.0,
                activation="gelu",
                batch_first=True,
                norm_first=True,
            )
            for _ in range(sizes["depth"])
        )
        self.norm = nn.LayerNorm(sizes["width"])
        self.head = nn.Linear(sizes["width"], 256, bias=False)

    def forward(self, inputs: Tensor) -> Tensor:
        length = inputs.shape[1]
        hidden = self.tokens(inputs) + self.positions(torch.arange(length))
        mask = nn.Transformer.generate_square_subsequent_mask(length, dtype=hidden.dtype)
        for block in self.blocks:
            hidden = block(hidden, src_mask=mask)
        answer: Tensor = self.head(self.norm(hidden))
        return answer


def gpt(model: Model) -> nn.Module:
    return Gpt(model)


GPT_NAMES = {
    "embedding.": "",
    "block.": "blocks.",
    "attention.": "self_attn.in_proj_",
    "projection.": "self_attn.out_proj.",
    "up.": "linear1.",
    "down.": "linear2.",
    "head.norm": "norm",
}


def torch_names(family: bytes, weights: dict[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
    """Our tensors under the names of torch's module."""
    if family != b"gpt":
        theirs = list(module.state_dict())
        ours = [name for number in range(4) for name in (f"block.{number}.weight",)]
        order = [part for name in ours for part in (name, name.replace("weight", "bias"))]
        return dict(
            zip(theirs, (weights[n] for n in (*order, "head.weight", "head.bias")), strict=True)
        )
    named = {}
    for name, part in weights.items():
        for ours_part, theirs_part in GPT_NAMES.items():
            name = name.replace(ours_part, theirs_part)
        if name in ("tokens", "positions"):
            name += ".weight"
        named[name] = part
    return named


@pytest.mark.parametrize("family", sorted(BUILT_IN))
def test_the_model_computes_what_torchs_own_modules_compute(family: bytes) -> None:
    _, model, inputs, _ = made(family, Mode.DATA_PARALLEL, 1)
    module = {b"mlp": mlp, b"cnn": cnn, b"gpt": gpt}[family](model).double()
    module.load_state_dict(torch_names(family, model.weights, module))
    with torch.no_grad():
        torch.testing.assert_close(model_logits(model, inputs), module(inputs))


@pytest.mark.parametrize(("family", "mode", "segments"), CUTS)
def test_a_segments_loss_is_the_whole_models_unless_its_head_is_its_own(
    family: bytes, mode: Mode, segments: int
) -> None:
    job, model, inputs, labels = made(family, mode, segments)
    whole = cross_entropy(model_logits(model, inputs), labels)
    for number in range(segments):
        activations = prefix(model, number, inputs)
        loss = segment_loss(model, number, model.own(number), activations, labels)
        if span(job, number).head == "head":
            torch.testing.assert_close(loss, whole)
        else:
            assert not torch.isclose(loss, whole)


@pytest.mark.parametrize(("family", "mode", "segments"), CUTS)
def test_every_tensor_of_a_segment_has_a_gradient_and_none_of_another(
    family: bytes, mode: Mode, segments: int
) -> None:
    job, model, inputs, labels = made(family, mode, segments)
    for number in range(segments):
        own = {n: part.clone().requires_grad_() for n, part in model.own(number).items()}
        assert list(own) == list(segment_shapes(job, number))
        loss = segment_loss(model, number, own, prefix(model, number, inputs), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        assert all(part.grad is not None and part.grad.any() for part in own.values())
        assert not any(part.requires_grad for part in model.weights.values())


def test_a_long_prefix_is_computed_in_slices_with_the_same_result(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, model, inputs, _ = made(b"cnn", Mode.JOINT, 4)
    whole = prefix(model, 3, inputs)
    monkeypatch.setattr("miner.training.model.ELEMENTS_MAX", 1)
    torch.testing.assert_close(prefix(model, 3, inputs), whole)
    assert len(prefix(model, 3, inputs)) == RECORDS
