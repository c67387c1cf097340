"""Our AdamW is torch's AdamW."""

import torch

from miner.training.optimizer import BETA1, BETA2, EPSILON, WEIGHT_DECAY, AdamW

RATE = 0.01


def test_twenty_steps_agree_with_torch() -> None:
    start = [torch.linspace(-1, 1, 12).reshape(3, 4), torch.linspace(0, 2, 5)]
    ours = [part.clone() for part in start]
    theirs = [part.clone().requires_grad_() for part in start]
    mine = AdamW(ours, RATE)
    other = torch.optim.AdamW(
        theirs, lr=RATE, betas=(BETA1, BETA2), eps=EPSILON, weight_decay=WEIGHT_DECAY
    )
    for step in range(20):
        gradients = [torch.cos(part + step) for part in start]
        mine.step(gradients)
        for parameter, gradient in zip(theirs, gradients, strict=True):
            parameter.grad = gradient.clone()
        other.step()
    for ours_part, theirs_part in zip(ours, theirs, strict=True):
        torch.testing.assert_close(ours_part, theirs_part.detach(), rtol=1e-5, atol=1e-7)
