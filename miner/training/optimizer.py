"""The inner optimisers: AdamW, and SGD with momentum.

Written out because torch.optim pulls in torch's compiler: a second of CPU in every process.  A test
holds them against torch.optim.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from bft.errors import ConfigError

BETA1, BETA2, EPSILON, WEIGHT_DECAY = 0.9, 0.999, 1e-8, 0.01
MOMENTUM = 0.9


class Optimizer(Protocol):
    """Moves a fixed list of parameters."""

    @property
    def state(self) -> list[Tensor]:
        """Everything that the next step depends on, besides the parameters; may be filled in."""

    def step(self, gradients: Sequence[Tensor]) -> None:
        """Move the parameters in place, against their gradients."""


class AdamW:
    """Source: Loshchilov, Hutter, "Decoupled Weight Decay Regularization" (ICLR 2019), alg. 2."""

    def __init__(self, parameters: Sequence[Tensor], learning_rate: float) -> None:
        self._parameters = list(parameters)
        self._rate = learning_rate
        self._first = [torch.zeros_like(parameter) for parameter in parameters]
        self._second = [torch.zeros_like(parameter) for parameter in parameters]
        self._steps = torch.zeros((), dtype=torch.int64)

    @property
    def state(self) -> list[Tensor]:
        """Both moments, and the number of steps."""
        return [self._steps, *self._first, *self._second]

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor]) -> None:
        """One step."""
        self._steps += 1
        steps = int(self._steps)
        rate = self._rate / (1 - BETA1**steps)
        correction = (1 - BETA2**steps) ** 0.5
        moments = zip(self._parameters, gradients, self._first, self._second, strict=True)
        for parameter, gradient, first, second in moments:
            first.lerp_(gradient, 1 - BETA1)
            second.mul_(BETA2).addcmul_(gradient, gradient, value=1 - BETA2)
            parameter.mul_(1 - self._rate * WEIGHT_DECAY)
            parameter.addcdiv_(first, (second.sqrt() / correction).add_(EPSILON), value=-rate)


class Sgd:
    """Stochastic gradient descent with momentum, as torch.optim.SGD: the first velocity is the
    first gradient.  Source: Sutskever et al., "On the importance of initialization and momentum in
    deep learning" (ICML 2013), in torch's variant."""

    def __init__(self, parameters: Sequence[Tensor], learning_rate: float) -> None:
        self._parameters = list(parameters)
        self._rate = learning_rate
        self._velocity = [torch.zeros_like(parameter) for parameter in parameters]

    @property
    def state(self) -> list[Tensor]:
        """The velocities."""
        return self._velocity

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor]) -> None:
        """One step."""
        for parameter, gradient, velocity in zip(
            self._parameters, gradients, self._velocity, strict=True
        ):
            velocity.mul_(MOMENTUM).add_(gradient)
            parameter.add_(velocity, alpha=-self._rate)


def optimizer_named(name: bytes, parameters: Sequence[Tensor], learning_rate: float) -> Optimizer:
    """Raises ConfigError: none of that name."""
    if name == b"adamw":
        return AdamW(parameters, learning_rate)
    if name == b"sgd":
        return Sgd(parameters, learning_rate)
    raise ConfigError(f"no optimizer {name!r}; known: adamw, sgd")
