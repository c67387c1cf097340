"""`gristmill job`: from a job file to what a federation is founded on.  No torch."""

from pathlib import Path
from typing import Any

import click

from bft.codec.canonical import encode
from bft.crypto.hashing import tagged_hash
from chain.command_group import InOrder
from chain.output import JSON, show_pairs
from chain.records.job import SPARSE, Job, Mode, sizes_of
from chain.rules.families.registry import record_layout, segment_parameters
from chain.rules.jobs import check_job
from miner.training.jobdir import (
    DATA,
    JobDirectory,
    check_fit,
    create_job,
    export_job,
    find_job_file,
    open_job,
)
from miner.training.jobfile import MODES, job_of, params_of, read_job_file

_directory = click.argument(
    "directory", type=click.Path(exists=True, file_okay=False, path_type=Path)
)


@click.group(cls=InOrder)
def job() -> None:
    """Describe what is trained: a model, its data, its optimisers.  A job is data, never code.

    A job file is YAML; docs/JOBS.md has every key.  Several come with Gristmill and go by their
    names: digits, fashion-mlp, fashion-cnn, text.
    """


@job.command()
@click.argument("file")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="The directory to write; must be new or empty.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Where the data set's source is: a file or a directory.",
)
@JSON
def create(file: str, out: Path, data: Path | None, as_json: bool) -> None:
    """Prepare the data set and the first model of FILE.

    FILE is a job file or the name of one.

    \b
    gristmill job create fashion-cnn --out job
    gristmill job create plays.yaml --data plays.txt --out job
    """
    made = create_job(find_job_file(file), out, data)
    show_pairs(_told(made.job) | {"out": str(out), "data": str(out / DATA)}, as_json)


@job.command()
@click.argument("file")
@JSON
def validate(file: str, as_json: bool) -> None:
    """Check FILE and say what it comes to.

    FILE is a job file, the name of one, or a job's directory.

    Ends with status 3 if it is refused.

    \b
    gristmill job validate plays.yaml
    """
    if Path(file).is_dir():
        show_pairs(_told(open_job(Path(file)).job), as_json)
        return
    parsed = read_job_file(find_job_file(file))
    checked = job_of(parsed)
    check_job(checked)
    check_fit(checked, params_of(parsed))
    show_pairs(_sizes(checked), as_json)


@job.command()
@_directory
@JSON
def show(directory: Path, as_json: bool) -> None:
    """Everything that stands in the job of DIRECTORY.

    \b
    gristmill job show job
    """
    show_pairs(_fields(open_job(directory)), as_json)


@job.command()
@_directory
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Gets job.bin, params.bin and model.safetensors.",
)
@JSON
def export(directory: Path, out: Path, as_json: bool) -> None:
    """Write what founding needs, without the data.

    `gristmill federation found --job` reads it.

    \b
    gristmill job export job --out founding
    """
    made = open_job(directory)
    export_job(made, out)
    show_pairs({"job": _digest(made.job), "out": str(out)}, as_json)


def _told(made: Job) -> dict[str, Any]:
    """A finished job, and what it comes to."""
    return {
        "job": _digest(made),
        "dataset_digest": made.dataset_digest.hex(),
        "genesis_model": made.genesis_model.hex(),
        **_sizes(made),
    }


def _sizes(made: Job) -> dict[str, Any]:
    """What a job comes to."""
    layout = record_layout(made)
    parameters = [segment_parameters(made, number) for number in range(made.segments)]
    return {
        "name": made.name.decode(errors="replace"),
        "parameters": sum(parameters),
        "segments": parameters,
        "chunks": made.train_records // made.chunk_records,
        "predictions_per_unit": made.steps * made.batch_records * layout.predictions,
        "audited": made.compression != SPARSE,
    }


def _fields(made: JobDirectory) -> dict[str, Any]:
    """Every field, as people write it."""
    told: dict[str, Any] = {"job": _digest(made.job)}
    for name in made.job.__struct_fields__:
        value = getattr(made.job, name)
        if isinstance(value, bytes):
            value = value.hex() if name.endswith(("digest", "_model")) else value.decode()
        told[name] = value
    modes = {mode: name for name, mode in MODES.items()}
    told["mode"], told["sizes"] = modes[Mode(made.job.mode)], sizes_of(made.job)
    return told | {"params": made.params.name.decode()}


def _digest(made: Job) -> str:
    """A name for the job's bytes."""
    return tagged_hash(made.TAG, encode(made)).hex()
