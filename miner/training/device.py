"""Where training runs: the processor, or an accelerator if the machine has one.

Tested on processors only; on CUDA and MPS the same code runs, but nobody has run it here.  Replicas
train audited units again, and what is computed in bfloat16 is another update to them (likeness
0.990 to 0.9996 where 0.999 is asked for).  So only jobs that are not audited, those with sparse
updates, multiply matrices in bfloat16 on the CUDA devices that have it; weights and optimiser stay
in float32.
"""

from contextlib import AbstractContextManager, nullcontext

import torch

from bft.errors import ConfigError
from miner.config import DEVICES

AUTO = "auto"


def choose_device(name: str) -> torch.device:
    """The device of that name; `auto` is the fastest that there is.

    Raises:
        ConfigError: no such name, or this machine or this build of torch has none.
    """
    if name not in DEVICES:
        raise ConfigError(f"device is {name!r}; {', '.join(DEVICES)} are known")
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == AUTO:
        return torch.device(next((kind for kind, found in there.items() if found), "cpu"))
    if not there.get(name, True):
        raise ConfigError(f"device is {name}; torch {torch.__version__} finds none here")
    return torch.device(name)


def has_bfloat16(device: torch.device) -> bool:
    """Whether it is faster than float32."""
    return device.type == "cuda" and torch.cuda.is_bf16_supported()


def autocast(device: torch.device, audited: bool) -> AbstractContextManager[object]:
    """Around forward passes.

    Args:
        audited: replicas may train the unit again, so it is computed in float32 throughout.
    """
    if audited:
        torch.backends.cudnn.allow_tf32 = False
    if audited or not has_bfloat16(device):
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)
