"""The data set that a job names: found among prepared ones, or prepared from its source.

GRISTMILL_DATA names directories, separated as in PATH.  In each may be prepared data sets
(`gristmill job create` makes them; see dataset.py) and sources by their name, for example
fashion-mnist/ with its files.
"""

import os
from functools import lru_cache
from pathlib import Path

import numpy as np
import platformdirs

from bft.errors import ConfigError
from chain.records.job import Job
from chain.rules.families.registry import record_layout
from miner.training.dataset import INDEX, Dataset, read_dataset
from miner.training.sources import SOURCES

ENVIRONMENT = "GRISTMILL_DATA"
CACHED_MAX = 2


@lru_cache(maxsize=CACHED_MAX)
def load(job: Job) -> Dataset:
    """The job's data set.

    Raises:
        ConfigError: no data set of that name, not to be had here, or other records than the job
            names or its model reads.
    """
    name, root = job.dataset.decode(errors="replace"), job.dataset_digest
    prepared = [home / root.hex() for home in directories()]
    found = next((home for home in prepared if (home / INDEX).is_file()), None)
    dataset = prepare(job, source_path(name)) if found is None else read_dataset(found, root)
    if dataset.digest != root:
        came = dataset.digest.hex()
        raise ConfigError(f"data set {name!r} has digest {came}; the job names {root.hex()}")
    _check(job, dataset)
    return dataset


def prepare(job: Job, path: Path | None) -> Dataset:
    """The job's records from their source, at `path` if the source needs one.

    Raises:
        ConfigError: no such source, or it has not what the job wants.
    """
    if job.dataset not in SOURCES:
        known = ", ".join(sorted(name.decode() for name in SOURCES))
        raise ConfigError(f"no data set {job.dataset!r}; known: {known}")
    layout = record_layout(job)
    dataset = SOURCES[job.dataset](path, job.train_records, job.heldout_records, layout)
    _check(job, dataset)
    return dataset


def directories() -> list[Path]:
    """Where data sets may be, the most important first."""
    named = os.environ.get(ENVIRONMENT, "")
    return [Path(part) for part in named.split(os.pathsep) if part] + [
        platformdirs.user_data_path("gristmill") / "data"
    ]


def name_directory(home: Path) -> None:
    """Look into `home` first, in this process and in all that it starts."""
    others = os.environ.get(ENVIRONMENT)
    os.environ[ENVIRONMENT] = os.pathsep.join([str(home.absolute()), *([others] if others else [])])


def source_path(name: str) -> Path | None:
    """A source's own files, if one of the directories has them."""
    return next((home / name for home in directories() if (home / name).exists()), None)


def _check(job: Job, dataset: Dataset) -> None:
    """Whether the model can read the records.  Raises ConfigError."""
    layout, name = record_layout(job), job.dataset.decode(errors="replace")
    count, width = dataset.records.shape
    if width != layout.width:
        raise ConfigError(
            f"data set {name!r} has records of width {width}; the model reads {layout.width}"
        )
    if job.train_records + job.heldout_records > count:
        raise ConfigError(f"data set {name!r} has only {count} records")
    if not layout.labelled:
        if dataset.records.dtype != np.uint8:
            raise ConfigError(f"data set {name!r} is no text: its records are no bytes")
        return
    if dataset.labels.shape != (count,):
        raise ConfigError(f"data set {name!r} has no labels; this family needs them")
    if dataset.labels.max() >= layout.classes:
        raise ConfigError(
            f"data set {name!r} has label {dataset.labels.max()}; the model has {layout.classes} "
            "classes"
        )
