"""What a job must satisfy so that it can be trained, and its arithmetic stays exact.

The names and bounds below are of what is built: a chain is not founded on a knob that does nothing.
Pure.
"""

from collections.abc import Iterator
from math import prod

from bft.errors import ConfigError
from chain.records.evaluation import HALVINGS_MAX
from chain.records.job import Job, Mode, make_sizes, sizes_of
from chain.rules.families.cut import segments_max
from chain.rules.families.registry import family_named, model_shapes
from chain.rules.limits import CHUNK_ELEMENTS, VALUE_BITS_MAX, VALUE_BITS_MIN

FRACTION_BITS_MIN, FRACTION_BITS_MAX = 12, 24
OUTER_RATE_MAX = 64  # of the outer rate's numerator; see chain/rules/aggregation.py
OUTER_DAMPING_MAX = 1 << 16  # of its denominator
OUTER_MOMENTUM_MAX = (1 << 16) - 1
BACKTRACKING_MAX = HALVINGS_MAX
AGREEMENT_MAX = 2 << 16  # a cosine distance is at most 2
TRIM_MAX = 64
SEGMENTS_MAX = 64
REDUNDANCY_MAX = 1
PARAMETERS_MAX = 1 << 25  # a snapshot of so many has 2**27 bytes, an artifact at most 2**28
TENSORS_MAX = 300  # the header of a file with twice as many fits chain/rules/tensors.py

OPTIMIZERS = (b"adamw", b"sgd")
TRIMMING = (b"trimmed-mean", b"multi-krum")
BY_COORDINATE = (b"median", b"trimmed-mean")
AGGREGATIONS = (b"mean", b"median", *TRIMMING)
COMPRESSIONS = (b"int8", b"topk")
PRIVACIES = (b"none",)
EVALUATIONS = (b"fp64", b"fp32")


def check_job(job: Job) -> None:
    """Raises ConfigError: a job whose numbers the rules here cannot keep exact, or cannot train.

    The text names the field, what it is, and what is allowed.
    """
    wrong = next(_objections(job), None)
    if wrong:
        raise ConfigError(f"job {job.name!r}: {wrong}")


def _objections(job: Job) -> Iterator[str]:
    """What is wrong, first things first: what comes later may rely on what came before."""
    yield from _of_model(job)
    yield from _of_ranges(job)
    yield from _of_names(job)
    if not 1 <= job.batch_records <= job.chunk_records <= job.train_records:
        yield (
            f"batch_records {job.batch_records}, chunk_records {job.chunk_records} and "
            f"train_records {job.train_records} came; only numbers that ascend from 1 are allowed"
        )
    yield from _of_updates(job)
    if job.privacy_parameter:
        yield f"privacy_parameter is {job.privacy_parameter}; without privacy only 0 is allowed"


def _of_model(job: Job) -> Iterator[str]:
    """Family, sizes and the cut."""
    try:
        family = family_named(job.family)
    except ConfigError as error:
        yield str(error)
        return
    sizes = sizes_of(job)
    if job.sizes != make_sizes(**sizes) or sizes.keys() != family.bounds.keys():
        came = ", ".join(repr(size.name) for size in job.sizes)
        yield f"sizes are {came}; exactly {', '.join(sorted(family.bounds))} are allowed"
    for name, (least, most) in sorted(family.bounds.items()):
        if not least <= sizes[name] <= most:
            yield f"size {name} is {sizes[name]}; {least} to {most} allowed"
    modes = {mode.value for mode in Mode}
    if job.mode not in modes:
        yield f"mode is {job.mode}; {min(modes)} to {max(modes)} allowed"
    mode = Mode(job.mode)
    objection = family.objection(sizes, mode, job.segments)
    if objection:
        yield objection
    most = min(SEGMENTS_MAX, segments_max(family, sizes, mode))
    if not 1 <= job.segments <= most:
        yield f"segments is {job.segments}; 1 to {most} allowed for this model in mode {mode.name}"
    shapes = model_shapes(job)
    parameters = sum(map(prod, shapes.values()))
    most = PARAMETERS_MAX // 2 if job.outer_momentum else PARAMETERS_MAX
    if parameters > most:
        yield f"the model has {parameters} parameters; at most {most} allowed"
    if len(shapes) > TENSORS_MAX:
        yield f"the model has {len(shapes)} tensors; at most {TENSORS_MAX} allowed"


def _of_updates(job: Job) -> Iterator[str]:
    """Compression and aggregation, and whether they fit together."""
    if job.compression == b"int8":
        if (job.keep, job.value_bits) != (0, 8):
            yield f"keep {job.keep} and value_bits {job.value_bits} came; int8 has 0 and 8 allowed"
    elif not 1 <= job.keep <= CHUNK_ELEMENTS:
        yield f"keep is {job.keep}; 1 to {CHUNK_ELEMENTS} allowed"
    elif not VALUE_BITS_MIN <= job.value_bits <= VALUE_BITS_MAX:
        yield f"value_bits is {job.value_bits}; {VALUE_BITS_MIN} to {VALUE_BITS_MAX} allowed"
    elif job.aggregation in BY_COORDINATE:
        # Most updates tell nothing of a weight, so the middle one of them says 0 of every weight.
        yield f"aggregation is {job.aggregation!r}; with topk mean or multi-krum allowed"
    name = job.aggregation.decode("ascii", "replace")
    if job.aggregation not in TRIMMING and job.trim:
        yield f"trim is {job.trim}; with aggregation {name} only 0 is allowed"
    if job.aggregation in TRIMMING and not 1 <= job.trim <= TRIM_MAX:
        yield f"trim is {job.trim}; with aggregation {name} 1 to {TRIM_MAX} allowed"


def _of_ranges(job: Job) -> Iterator[str]:
    for name, value, least, most in (
        ("fraction_bits", job.fraction_bits, FRACTION_BITS_MIN, FRACTION_BITS_MAX),
        ("outer_rate_numerator", job.outer_rate_numerator, 1, OUTER_RATE_MAX),
        ("outer_rate_denominator", job.outer_rate_denominator, 1, OUTER_DAMPING_MAX),
        ("outer_momentum", job.outer_momentum, 0, OUTER_MOMENTUM_MAX),
        ("backtracking", job.backtracking, 0, BACKTRACKING_MAX),
        ("agreement", job.agreement, 0, AGREEMENT_MAX),
        ("redundancy", job.redundancy, 1, REDUNDANCY_MAX),
    ):
        if not least <= value <= most:
            yield f"{name} is {value}; {least} to {most} allowed"
    for name, value in (("steps", job.steps), ("heldout_records", job.heldout_records)):
        if value < 1:
            yield f"{name} is 0; at least 1 allowed"


def _of_names(job: Job) -> Iterator[str]:
    for name, value, allowed in (
        ("optimizer", job.optimizer, OPTIMIZERS),
        ("aggregation", job.aggregation, AGGREGATIONS),
        ("compression", job.compression, COMPRESSIONS),
        ("privacy", job.privacy, PRIVACIES),
        ("evaluation", job.evaluation, EVALUATIONS),
    ):
        if value not in allowed:
            yield f"{name} is {value!r}; {b' or '.join(allowed).decode()} allowed"
