"""What a model family must say about itself, without torch: tensors, sizes, records.

A model is layers in a row, something before the first (the stem, perhaps nothing) and a head behind
the last.  Replicas, auditors and miners read shapes here; how a layer computes stands in
miner/training/families.
Pure.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from chain.records.job import Mode

Sizes = Mapping[str, int]
Shapes = dict[str, tuple[int, ...]]
"""Tensor name -> shape."""

HEAD = "head"
"""Prefix of the tensors of the head behind the last layer."""


@dataclass(frozen=True, slots=True)
class RecordLayout:
    """One record, as the family reads it."""

    width: int  # bytes or numbers
    predictions: int  # how many the model makes for one record, each with a loss of its own
    classes: int  # that a prediction chooses from
    labelled: bool  # whether the label comes beside the record; else the record is its own label


@dataclass(frozen=True, slots=True)
class Start:
    """First values of a tensor: `constant`, or uniform within sqrt(numerator / denominator)."""

    constant: int = 0
    numerator: int = 0
    denominator: int = 1


ZERO, ONE = Start(), Start(constant=1)


class Family(Protocol):
    """One model family.  Functions of sizes that lie within `bounds`."""

    @property
    def bounds(self) -> Mapping[str, tuple[int, int]]:
        """Every size that the family has -> least and largest value."""

    def objection(self, sizes: Sizes, mode: Mode, segments: int) -> str:
        """What else is wrong with sizes that are within their bounds; empty when nothing is."""

    def record(self, sizes: Sizes) -> RecordLayout:
        """What a record must be."""

    def layers(self, sizes: Sizes) -> int:
        """Layers that a cut may fall between."""

    def stem(self, sizes: Sizes) -> Shapes:
        """Tensors before the first layer."""

    def layer(self, sizes: Sizes, number: int) -> Shapes:
        """Tensors of layer `number`, from 0."""

    def head(self, sizes: Sizes, name: str, behind: int) -> Shapes:
        """Tensors of a head behind layer `behind`; their names begin with `name` and a dot."""

    def start(self, sizes: Sizes, name: str, shape: tuple[int, ...]) -> Start:
        """First values of the tensor `name`."""
