"""AdamW, the inner optimiser.

Written out because torch.optim pulls in torch's compiler: a second of CPU in every process.  A test
holds it against torch.optim.AdamW.
Source: Loshchilov, Hutter, "Decoupled Weight Decay Regularization" (ICLR 2019), algorithm 2.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

BETA1, BETA2, EPSILON, WEIGHT_DECAY = 0.9, 0.999, 1e-8, 0.01


class AdamW:
    """Moments of a fixed list of parameters."""

    def __init__(self, parameters: Sequence[Tensor], learning_rate: float) -> None:
        self._parameters = list(parameters)
        self._rate = learning_rate
        self._first = [torch.zeros_like(parameter) for parameter in parameters]
        self._second = [torch.zeros_like(parameter) for parameter in parameters]
        self._steps = 0

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor]) -> None:
        """Move the parameters in place, against their gradients."""
        self._steps += 1
        rate = self._rate / (1 - BETA1**self._steps)
        correction = (1 - BETA2**self._steps) ** 0.5
        moments = zip(self._parameters, gradients, self._first, self._second, strict=True)
        for parameter, gradient, first, second in moments:
            first.lerp_(gradient, 1 - BETA1)
            second.mul_(BETA2).addcmul_(gradient, gradient, value=1 - BETA2)
            parameter.mul_(1 - self._rate * WEIGHT_DECAY)
            parameter.addcdiv_(first, (second.sqrt() / correction).add_(EPSILON), value=-rate)
