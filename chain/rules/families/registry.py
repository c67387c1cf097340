"""Families by name, and what their shapes mean for a job.

A consortium adds a family of its own as an installed package with an entry point in the group
"gristmill.families" (and its torch half in "gristmill.families.torch"); a job only names it.
Pure: what is installed does not change while a program runs.
"""

from collections.abc import Mapping
from functools import cache, lru_cache
from importlib.metadata import entry_points
from math import prod

from bft.errors import ConfigError
from chain.records.job import Job, Mode, sizes_of
from chain.rules.families.cnn import Cnn
from chain.rules.families.cut import Span, cut, span_of
from chain.rules.families.family import Family, RecordLayout, Shapes
from chain.rules.families.gpt import Gpt
from chain.rules.families.mlp import Mlp

ENTRY_POINTS = "gristmill.families"
JOBS_CACHED_MAX = 64
SPANS_CACHED_MAX = 1 << 10

BUILT_IN: Mapping[bytes, Family] = {b"cnn": Cnn(), b"gpt": Gpt(), b"mlp": Mlp()}


@cache
def family_named(name: bytes) -> Family:
    """Raises ConfigError: none of that name comes with Gristmill or is installed."""
    if name in BUILT_IN:
        return BUILT_IN[name]
    installed = {point.name.encode(): point for point in entry_points(group=ENTRY_POINTS)}
    if name in installed:
        family: Family = installed[name].load()()
        return family
    known = ", ".join(sorted(key.decode() for key in {*BUILT_IN, *installed}))
    raise ConfigError(f"no model family {name!r}; known: {known}")


def segment_shapes(job: Job, segment: int) -> Shapes:
    """Tensors of one segment, sorted by name.  Raises ValueError: no such segment."""
    return dict(_plan(job)[_number(job, segment)][0])


def segment_parameters(job: Job, segment: int) -> int:
    """Numbers in one segment's tensors.  Raises ValueError: no such segment."""
    return _plan(job)[_number(job, segment)][1]


@lru_cache(maxsize=SPANS_CACHED_MAX)
def span(job: Job, segment: int) -> Span:
    """Layers and head of a segment's loss.  Raises ValueError: no such segment."""
    number = _number(job, segment)
    family = family_named(job.family)
    return span_of(family, sizes_of(job), Mode(job.mode), job.segments, number)


def model_shapes(job: Job) -> Shapes:
    """All tensors of the job's snapshots."""
    return {name: shape for shapes, _ in _plan(job) for name, shape in shapes.items()}


def record_layout(job: Job) -> RecordLayout:
    """What a record of the job's data set must be."""
    return family_named(job.family).record(sizes_of(job))


def heldout_predictions(job: Job) -> int:
    """Predictions that a model is measured by: so many for each held-out record."""
    return job.heldout_records * record_layout(job).predictions


@lru_cache(maxsize=JOBS_CACHED_MAX)
def _plan(job: Job) -> tuple[tuple[Shapes, int], ...]:
    """Shapes and parameters by segment."""
    family = family_named(job.family)
    parts = cut(family, sizes_of(job), Mode(job.mode), job.segments)
    return tuple((part, sum(map(prod, part.values()))) for part in parts)


def _number(job: Job, segment: int) -> int:
    if not 0 <= segment < job.segments:
        raise ValueError(f"segment {segment}; this job has {job.segments}")
    return segment
