"""A job file: what people write in YAML -> the job record, whose numbers are all integers.

Decimal fractions are exact: a learning rate must be whole in parts per million, a share is rounded
to units of 2**-16.  Only names of families and data sets stand in a file, never code.
"""

from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Literal, TypeVar

import msgspec
from msgspec.structs import fields, replace

from bft.codec.canonical import Record, decode, encode
from bft.errors import ConfigError, DecodeError
from chain.params import PRESETS, Params
from chain.records.job import Job, Mode, make_sizes
from chain.settings import SETTINGS_BYTES_MAX, parse_settings

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

    family: str
    sizes: dict[str, int]
    mode: Literal["local-heads", "joint", "shard", "data-parallel"] = "local-heads"
    segments: int = 1


class DataSection(Section, frozen=True):
    """Name of the source, and how many records."""

    name: str
    train: int
    heldout: int
    chunk: int


class WorkSection(Section, frozen=True):
    """One work unit."""

    steps: int
    batch: int
    learning_rate: Decimal
    optimizer: str = "adamw"
    redundancy: int = 1


class OuterSection(Section, frozen=True):
    """What becomes of the updates."""

    rate: str | int = "1/2"  # a fraction
    momentum: Decimal = Decimal(0)
    backtracking: int = 0
    aggregation: str = "mean"
    agreement: Decimal = Decimal(0)  # largest cosine distance; 0: no filter
    trim: int = 0


class CompressionSection(Section, frozen=True):
    """How updates travel."""

    method: str = "int8"
    keep: int = 0  # of each 4096 weights
    value_bits: int = _INT8_BITS


class PrivacySection(Section, frozen=True):
    """What is done to the data."""

    method: str = "none"
    parameter: int = 0


class ParamsSection(Section, frozen=True):
    """Constants of the chain that suit the job: a preset, and what differs from it."""

    preset: str = "main"
    changes: dict[str, int] = {}


class JobFile(Section, frozen=True):
    """The whole file."""

    name: str
    model: ModelSection
    data: DataSection
    work: WorkSection
    outer: OuterSection = OuterSection()
    compression: CompressionSection = CompressionSection()
    privacy: PrivacySection = PrivacySection()
    evaluation: str = "fp64"
    fraction_bits: int = 20
    params: ParamsSection = ParamsSection()


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
