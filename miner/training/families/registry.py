"""The torch halves of the model families, by name; the other halves: chain/rules/families."""

from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points

from bft.errors import ConfigError
from miner.training.families.cnn import TorchCnn
from miner.training.families.family import TorchFamily
from miner.training.families.gpt import TorchGpt
from miner.training.families.mlp import TorchMlp

ENTRY_POINTS = "gristmill.families.torch"

BUILT_IN: Mapping[bytes, TorchFamily] = {b"cnn": TorchCnn(), b"gpt": TorchGpt(), b"mlp": TorchMlp()}


@cache
def torch_family(name: bytes) -> TorchFamily:
    """Raises ConfigError: none of that name comes with Gristmill or is installed."""
    if name in BUILT_IN:
        return BUILT_IN[name]
    installed = {point.name.encode(): point for point in entry_points(group=ENTRY_POINTS)}
    if name in installed:
        family: TorchFamily = installed[name].load()()
        return family
    known = ", ".join(sorted(key.decode() for key in {*BUILT_IN, *installed}))
    raise ConfigError(f"no model family {name!r} can be computed here; known: {known}")
