"""Where a model is cut: the tensors of each segment, and which layers its loss runs through.

Pure.
"""

from dataclasses import dataclass
from math import prod

from chain.records.job import Mode
from chain.rules.families.family import HEAD, Family, Shapes, Sizes

AUXILIARY = "auxiliary."
"""Begins the names of heads that serve training only."""


@dataclass(frozen=True, slots=True)
class Span:
    """Layers first .. last - 1 and a head: what is computed behind the frozen prefix.

    The prefix is layers 0 .. first - 1.  Where `first` is 0, the stem comes first.
    """

    first: int
    last: int
    head: str  # name of the head behind layer last - 1


def model_parts(family: Family, sizes: Sizes) -> Shapes:
    """All tensors of the whole model, without local heads."""
    shapes = family.stem(sizes)
    for number in range(family.layers(sizes)):
        shapes |= family.layer(sizes, number)
    return shapes | family.head(sizes, HEAD, family.layers(sizes) - 1)


def segments_max(family: Family, sizes: Sizes, mode: Mode) -> int:
    """The most segments that the model can be cut into."""
    if mode is Mode.DATA_PARALLEL:
        return 1
    return len(model_parts(family, sizes)) if mode is Mode.SHARD else family.layers(sizes)


def cut(family: Family, sizes: Sizes, mode: Mode, segments: int) -> tuple[Shapes, ...]:
    """Tensors by segment, each tensor in exactly one, sorted by name."""
    if mode in (Mode.SHARD, Mode.DATA_PARALLEL):
        parts = _dealt(model_parts(family, sizes), segments)
    else:
        parts = [_run(family, sizes, mode, segments, number) for number in range(segments)]
    return tuple({name: part[name] for name in sorted(part)} for part in parts)


def span_of(family: Family, sizes: Sizes, mode: Mode, segments: int, number: int) -> Span:
    """What segment `number` learns by."""
    layers = family.layers(sizes)
    if mode in (Mode.SHARD, Mode.DATA_PARALLEL):
        return Span(0, layers, HEAD)
    first, last = _layers(layers, segments, number)
    if mode is Mode.JOINT:
        return Span(first, layers, HEAD)
    return Span(first, last, _head_name(segments, number))


def _head_name(segments: int, number: int) -> str:
    """The last segment's head is the model's; those before it serve training only."""
    return HEAD if number == segments - 1 else f"{AUXILIARY}{number}"


def _layers(layers: int, segments: int, number: int) -> tuple[int, int]:
    """First layer of a segment, and the first one behind it."""
    return number * layers // segments, (number + 1) * layers // segments


def _run(family: Family, sizes: Sizes, mode: Mode, segments: int, number: int) -> Shapes:
    """A contiguous segment: its layers, the stem if it is the first, and its head if it has one."""
    first, last = _layers(family.layers(sizes), segments, number)
    shapes = {} if number else family.stem(sizes)
    for layer in range(first, last):
        shapes |= family.layer(sizes, layer)
    if mode is Mode.LOCAL_HEADS or number == segments - 1:
        shapes |= family.head(sizes, _head_name(segments, number), last - 1)
    return shapes


def _dealt(shapes: Shapes, segments: int) -> list[Shapes]:
    """The largest tensor first, each to the shard that has least so far; ties by name and number.

    Source: Graham, "Bounds on Multiprocessing Timing Anomalies" (1969): longest processing time.
    """
    parts: list[Shapes] = [{} for _ in range(segments)]
    loads = [0] * segments
    for name in sorted(shapes, key=lambda name: (-prod(shapes[name]), name)):
        least = loads.index(min(loads))
        parts[least][name] = shapes[name]
        loads[least] += prod(shapes[name])
    return parts
