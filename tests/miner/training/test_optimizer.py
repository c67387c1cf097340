"""Our optimisers are torch's."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from bft.errors import ConfigError
from miner.training.optimizer import (
    BETA1,
    BETA2,
    EPSILON,
    MOMENTUM,
    WEIGHT_DECAY,
    optimizer_named,
)

RATE = 0.01


def adamw(parameters: list[Tensor]) -> torch.optim.Optimizer:
    return torch.optim.AdamW(
        parameters, lr=RATE, betas=(BETA1, BETA2), eps=EPSILON, weight_decay=WEIGHT_DECAY
    )


def sgd(parameters: list[Tensor]) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=RATE, momentum=MOMENTUM)


@pytest.mark.parametrize(("name", "theirs"), [(b"adamw", adamw), (b"sgd", sgd)])
def test_twenty_steps_agree_with_torch(
    name: bytes, theirs: Callable[[list[Tensor]], torch.optim.Optimizer]
) -> None:
    start = [torch.linspace(-1, 1, 12).reshape(3, 4), torch.linspace(0, 2, 5)]
    ours = [part.clone() for part in start]
    parameters = [part.clone().requires_grad_() for part in start]
    mine, other = optimizer_named(name, ours, RATE), theirs(parameters)
    for step in range(20):
        gradients = [torch.cos(part + step) for part in start]
        mine.step(gradients)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient.clone()
        other.step()
    for ours_part, theirs_part in zip(ours, parameters, strict=True):
        torch.testing.assert_close(ours_part, theirs_part.detach(), rtol=1e-5, atol=1e-7)


def test_an_unknown_optimizer_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(ConfigError, match="known: adamw, sgd"):
        optimizer_named(b"lion", [], RATE)
