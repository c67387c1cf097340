"""Data sets by name: deterministic preprocessing to unsigned bytes, checked against the job.

Records are integers with a digest, so that miners and replicas provably train and measure on the
same ones; no library's random generator decides their order.
"""

import gzip
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bft.crypto.hashing import tagged_hash
from bft.errors import ConfigError
from chain.records.job import Job
from chain.rules.sampling import permutation

_DIGEST = "gristmill/dataset/v1"
_ORDER = "gristmill/dataset/order/v1"
_ORDER_SEED = bytes(32)  # digits come sorted by writer; held-out records shall be of all writers


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Records in their agreed order."""

    records: NDArray[np.uint8]  # (N, input_width)
    labels: NDArray[np.uint8]  # (N,), 0 .. classes - 1
    scale_shift: int  # a record's bytes times 2**-scale_shift are the model's inputs

    @property
    def digest(self) -> bytes:
        """32 bytes over sizes, scale, records and labels."""
        count, width = self.records.shape
        sizes = b"".join(part.to_bytes(4, "big") for part in (count, width, self.scale_shift))
        return tagged_hash(_DIGEST, sizes + self.records.tobytes() + self.labels.tobytes())


def load(job: Job) -> Dataset:
    """The job's data set.

    Raises:
        ConfigError: no data set of that name, not installed, or other records than the job names.
    """
    if job.dataset not in DATASETS:
        known = ", ".join(sorted(name.decode() for name in DATASETS))
        raise ConfigError(f"no data set {job.dataset!r}; known: {known}")
    dataset = DATASETS[job.dataset]()
    if dataset.digest != job.dataset_digest:
        came, wanted = dataset.digest.hex(), job.dataset_digest.hex()
        raise ConfigError(f"data set {job.dataset!r} has digest {came}; the job names {wanted}")
    if job.train_records + job.heldout_records > len(dataset.records):
        raise ConfigError(f"data set {job.dataset!r} has only {len(dataset.records)} records")
    return dataset


@cache
def digits() -> Dataset:
    """Handwritten digits: 1797 records of 8 x 8 pixels, 0 .. 16, ten classes.

    Read from the file that scikit-learn ships; importing that library would cost each process a
    second.
    """
    package = importlib.util.find_spec("sklearn")
    if package is None or not package.submodule_search_locations:
        raise ConfigError('the data set "digits" comes with scikit-learn, which is not installed')
    path = Path(package.submodule_search_locations[0]) / "datasets" / "data" / "digits.csv.gz"
    try:
        with gzip.open(path, "rt", encoding="ascii") as lines:
            table = np.array([[round(float(cell)) for cell in line.split(",")] for line in lines])
    except OSError as error:
        raise ConfigError(f'the data set "digits" cannot be read: {error}') from None
    table = table.astype(np.uint8)[list(permutation(_ORDER, _ORDER_SEED, len(table)))]
    records, labels = np.ascontiguousarray(table[:, :-1]), np.ascontiguousarray(table[:, -1])
    return Dataset(records=records, labels=labels, scale_shift=4)


DATASETS: dict[bytes, Callable[[], Dataset]] = {b"digits": digits}
