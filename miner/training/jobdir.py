"""A job's directory: all that a federation is founded on, and all that its miners train on.

    job.yaml           the job file that it was made from
    job.bin            the job record
    params.bin         constants of the chain that suit the job
    model.safetensors  the first snapshot; its SHA-256 stands in the record
    data/ROOT/         the data set's shards; GRISTMILL_DATA names data/

Founding needs the three in the middle (`gristmill job export`), miners and replicas need data/.
"""

from pathlib import Path
from typing import NamedTuple, TypeVar

from msgspec.structs import replace

from bft.codec.canonical import Record, decode, encode
from bft.crypto.hashing import sha256
from bft.errors import ConfigError, DecodeError
from chain.params import Params
from chain.records.job import Job
from chain.rules.jobs import check_job
from chain.rules.updates import decode_snapshot, snapshot_bytes, update_bytes_max
from miner.files import write_durably
from miner.training.data import prepare, source_path
from miner.training.dataset import write_dataset
from miner.training.jobfile import job_of, params_of, read_job_file
from miner.training.jobs import genesis_snapshot

JOB_YAML, JOB, PARAMS, MODEL, DATA = (
    "job.yaml",
    "job.bin",
    "params.bin",
    "model.safetensors",
    "data",
)
TEMPLATES = Path(__file__).parent / "templates"
RECORD_BYTES_MAX = 64 * 1024

R = TypeVar("R", bound=Record)


class JobDirectory(NamedTuple):
    """What founding needs."""

    job: Job
    params: Params
    snapshot: bytes


def find_job_file(name: str) -> Path:
    """A job file by its path, or one of those that come with Gristmill by its name.

    Raises:
        ConfigError: neither.
    """
    template = TEMPLATES / f"{name}.yaml"
    if Path(name).exists():
        return Path(name)
    if template.parent == TEMPLATES and template.is_file():
        return template
    known = ", ".join(sorted(path.stem for path in TEMPLATES.glob("*.yaml")))
    raise ConfigError(f"no job file {name}; those that come with Gristmill are {known}")


def create_job(file: Path, out: Path, data: Path | None) -> JobDirectory:
    """Prepare data and first model of a job file, and write its directory.

    Args:
        data: where the source's records are, if it needs that.

    Raises:
        ConfigError: the file, the data, or the directory, which must be new or empty.
    """
    parsed = read_job_file(file)
    job, params = job_of(parsed), params_of(parsed)
    check_job(job)
    check_fit(job, params)
    if out.exists() and any(out.iterdir()):
        raise ConfigError(f"{out} is not empty")
    dataset = prepare(job, data or source_path(parsed.data.name))
    snapshot = genesis_snapshot(job)
    job = replace(job, dataset_digest=dataset.digest, genesis_model=sha256(snapshot))
    made = JobDirectory(job=job, params=params, snapshot=snapshot)
    out.mkdir(parents=True, exist_ok=True)
    write_dataset(out / DATA, dataset)
    export_job(made, out)
    write_durably(out / JOB_YAML, file.read_bytes())
    return made


def export_job(made: JobDirectory, out: Path) -> None:
    """Write what founding needs."""
    out.mkdir(parents=True, exist_ok=True)
    write_durably(out / MODEL, made.snapshot)
    write_durably(out / PARAMS, encode(made.params))
    write_durably(out / JOB, encode(made.job))


def open_job(directory: Path) -> JobDirectory:
    """Read and check a job's directory, all but its data.

    Raises:
        ConfigError: a file is missing or malformed, or does not fit the others.
    """
    job, params = _record(directory / JOB, Job), _record(directory / PARAMS, Params)
    check_job(job)
    check_fit(job, params)
    try:
        with (directory / MODEL).open("rb") as file:
            snapshot = file.read(snapshot_bytes(job) + 1)
        decode_snapshot(job, snapshot)
    except OSError as error:
        raise ConfigError(f"{directory / MODEL}: {error.strerror}") from None
    except DecodeError as error:
        raise ConfigError(f"{directory / MODEL}: {error}") from None
    if sha256(snapshot) != job.genesis_model:
        raise ConfigError(f"{directory / MODEL} is not the model that the job begins with")
    return JobDirectory(job=job, params=params, snapshot=snapshot)


def check_fit(job: Job, params: Params) -> None:
    """Whether the chain's constants let the job's updates and chunks through.

    Raises:
        ConfigError: names the constant, what it is, and what it must be.
    """
    largest = max(update_bytes_max(job, segment) for segment in range(job.segments))
    if params.update_bytes_max < largest:
        raise ConfigError(
            f"params.update_bytes_max is {params.update_bytes_max}; an update of this job has up "
            f"to {largest} bytes"
        )


def _record(path: Path, kind: type[R]) -> R:
    try:
        with path.open("rb") as file:
            return decode(kind, file.read(RECORD_BYTES_MAX + 1), bytes_max=RECORD_BYTES_MAX)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except DecodeError as error:
        raise ConfigError(f"{path}: {error}") from None
