"""A job file: what people write in YAML -> the job record, whose numbers are all integers.

Decimal fractions are exact: a learning rate must be whole in parts per million, a share is rounded
to units of 2**-16.  Only names of families and data sets stand in a file, never code.
"""

from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec.structs import fields, replace

from bft.codec.canonical import Record, decode, encode
from bft.errors import ConfigError, DecodeError
from chain.params import PRESETS, Params
from chain.records.job import Job, Mode, make_sizes
from chain.settings import SETTINGS_BYTES_MAX, parse_settings, says

MODES = {
    "local-heads": Mode.LOCAL_HEADS,
    "joint": Mode.JOINT,
    "shard": Mode.SHARD,
    "data-parallel": Mode.DATA_PARALLEL,
}
_PPM = 1_000_000
_SHARE = 1 << 16
_INT8_BITS = 8

R = TypeVar("R", bound=Record)


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of the file; a key that it does not have is refused."""


class ModelSection(Section, frozen=True):
    """Family, sizes, cut."""

    family: Annotated[str, says("mlp, cnn, gpt, or one that is installed.", "gpt")]
    sizes: Annotated[
        dict[str, int],
        says(
            "What the family asks for.  mlp: inputs, width, depth, classes.  cnn: side, channels, "
            "width, depth, classes.  gpt: context, width, depth, heads, tied.",
            {"context": 64, "width": 96, "depth": 4, "heads": 4, "tied": 0},
        ),
    ]
    mode: Annotated[
        Literal["local-heads", "joint", "shard", "data-parallel"],
        says("Which tensors a segment holds, and how far its loss runs; docs/JOBS.md, Modes."),
    ] = "local-heads"
    segments: Annotated[int, says("Into how many segments the model is cut.")] = 1


class DataSection(Section, frozen=True):
    """Name of the source, and how many records."""

    name: Annotated[str, says("digits, fashion-mnist, text or arrays.", "text")]
    train: Annotated[int, says("Records to train on; a multiple of chunk.", 15360)]
    heldout: Annotated[int, says("Records that no miner trains on.", 512)]
    chunk: Annotated[int, says("Records of one work unit.", 1024)]


class WorkSection(Section, frozen=True):
    """One work unit."""

    steps: Annotated[int, says("Optimiser steps.", 128)]
    batch: Annotated[int, says("Records of a step.", 8)]
    learning_rate: Annotated[Decimal, says("Whole in parts per million.", 0.002)]
    optimizer: Annotated[str, says("adamw or sgd.")] = "adamw"
    redundancy: Annotated[int, says("Miners for one segment and chunk.")] = 1


class OuterSection(Section, frozen=True):
    """What becomes of the updates."""

    rate: Annotated[str | int, says("A fraction; it scales the merged update.")] = "1/2"
    momentum: Annotated[Decimal, says("Nesterov's, rounded to 2^-16.")] = Decimal(0)
    backtracking: Annotated[int, says("How many halves of the step are tried too.")] = 0
    aggregation: Annotated[str, says("mean, median, trimmed-mean or multi-krum.")] = "mean"
    agreement: Annotated[
        Decimal, says("Largest cosine distance of an update from the others' mean; 0: no filter.")
    ] = Decimal(0)
    trim: Annotated[int, says("Updates that trimmed-mean and multi-krum take for wrong.")] = 0


class CompressionSection(Section, frozen=True):
    """How updates travel."""

    method: Annotated[str, says("int8 or topk.")] = "int8"
    keep: Annotated[int, says("Of each 4096 weights, with topk.")] = 0
    value_bits: Annotated[int, says("Bits of one weight's change.")] = _INT8_BITS


class PrivacySection(Section, frozen=True):
    """What is done to the data."""

    method: Annotated[str, says("none is the only one.")] = "none"
    parameter: Annotated[int, says("Of the method.")] = 0


class ParamsSection(Section, frozen=True):
    """Constants of the chain that suit the job: a preset, and what differs from it."""

    preset: Annotated[str, says("main, minimal for rehearsals, or signet (docs/INTEROP.md).")] = (
        "main"
    )
    changes: Annotated[
        dict[str, int], says("Constants (chain/params.py) that differ from the preset's.")
    ] = {}


class JobFile(Section, frozen=True):
    """The whole file."""

    name: Annotated[str, says("For people.", "plays")]
    model: Annotated[ModelSection, says("Family, sizes and cut.")]
    data: Annotated[DataSection, says("The source, and how many records.")]
    work: Annotated[WorkSection, says("One work unit.")]
    outer: Annotated[OuterSection, says("What becomes of the updates.")] = OuterSection()
    compression: Annotated[CompressionSection, says("How updates travel.")] = CompressionSection()
    privacy: Annotated[PrivacySection, says("What is done to the data.")] = PrivacySection()
    evaluation: Annotated[str, says("fp64 or fp32: what replicas compute scores in.")] = "fp64"
    fraction_bits: Annotated[int, says("Of the numbers that are merged.")] = 20
    params: Annotated[ParamsSection, says("Constants of the chain.")] = ParamsSection()


def read_job_file(path: Path) -> JobFile:
    """Raises ConfigError: no such file, or it is not one; the text names file and key."""
    try:
        with path.open("rb") as file:
            data = file.read(SETTINGS_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    return parse_settings(JobFile, data, str(path))


def job_of(file: JobFile) -> Job:
    """The job, without the digests of its data and of its first model (32 zeros each).

    Raises:
        ConfigError: a number that its field cannot hold; the text names the key.
    """
    model, work, outer = file.model, file.work, file.outer
    rate = _fraction(outer.rate)
    job = Job(
        name=file.name.encode(),
        family=model.family.encode(),
        sizes=make_sizes(**model.sizes),
        mode=MODES[model.mode],
        segments=model.segments,
        redundancy=work.redundancy,
        dataset=file.data.name.encode(),
        dataset_digest=bytes(32),
        train_records=file.data.train,
        heldout_records=file.data.heldout,
        chunk_records=file.data.chunk,
        optimizer=work.optimizer.encode(),
        steps=work.steps,
        batch_records=work.batch,
        learning_rate_ppm=_ppm(work.learning_rate),
        outer_rate_numerator=rate.numerator,
        outer_rate_denominator=rate.denominator,
        outer_momentum=round(outer.momentum * _SHARE),
        backtracking=outer.backtracking,
        aggregation=outer.aggregation.encode(),
        agreement=round(outer.agreement * _SHARE),
        trim=outer.trim,
        compression=file.compression.method.encode(),
        keep=file.compression.keep,
        value_bits=file.compression.value_bits,
        privacy=file.privacy.method.encode(),
        privacy_parameter=file.privacy.parameter,
        evaluation=file.evaluation.encode(),
        fraction_bits=file.fraction_bits,
        genesis_model=bytes(32),
    )
    return _whole(Job, job)


def params_of(file: JobFile) -> Params:
    """Raises ConfigError: no such preset or constant, or a number that does not fit."""
    section = file.params
    if section.preset not in PRESETS:
        known = ", ".join(sorted(PRESETS))
        raise ConfigError(f"params.preset is {section.preset!r}; {known} are known")
    known_names = {field.name for field in fields(Params)} - {"name"}
    unknown = sorted(section.changes.keys() - known_names)
    if unknown:
        raise ConfigError(f"params.changes: no constant {unknown[0]!r}")
    return _whole(Params, replace(PRESETS[section.preset], **section.changes))


def _whole(kind: type[R], record: R) -> R:
    """The record, every field within its width.  Raises ConfigError, which names the field."""
    for field in fields(kind):
        value = getattr(record, field.name)
        try:
            msgspec.convert(msgspec.to_builtins(value, builtin_types=(bytes,)), field.type)
        except msgspec.ValidationError as error:
            raise ConfigError(f"{field.name}: {error}") from None
        except OverflowError:
            raise ConfigError(f"{field.name} is {value}, which no field holds") from None
    try:
        return decode(kind, encode(record))
    except DecodeError as error:
        raise ConfigError(str(error)) from None


def _fraction(text: str | int) -> Fraction:
    try:
        return Fraction(text)
    except (ValueError, ZeroDivisionError):
        raise ConfigError(f"outer.rate is {text!r}; a fraction such as 1/2 is expected") from None


def _ppm(rate: Decimal) -> int:
    scaled = rate * _PPM
    if not rate.is_finite() or scaled != int(scaled):
        raise ConfigError(f"work.learning_rate is {rate}; whole parts per million are expected")
    return int(scaled)
