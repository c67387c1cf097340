"""Where records come from: each source reads what it knows and puts it in one agreed order.

A source is read when a job is created; from then on only its shards count (dataset.py).  digits and
fashion-mnist can also be read again on any machine that has them, and give the same shards.
"""

import gzip
import importlib.util
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bft.errors import ConfigError
from chain.rules.families.family import RecordLayout
from chain.rules.sampling import permutation
from miner.training.dataset import DATASET_BYTES_MAX, Dataset

_ORDER = "gristmill/dataset/order/v1"
_ORDER_SEED = bytes(32)  # held-out records shall be of all writers, classes and chapters

FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")  # Debian's package dataset-fashion-mnist
_IDX_IMAGES, _IDX_LABELS = 0x803, 0x801  # unsigned bytes in 3 and in 1 dimension
_BYTES_SHIFT = 8  # of a pixel in 0 .. 255
_ARRAYS = ("records", "labels")


def digits(path: Path | None, train: int, heldout: int, layout: RecordLayout) -> Dataset:
    """Handwritten digits: 1797 records of 8 x 8 pixels, 0 .. 16, ten classes.

    Read from the file that scikit-learn ships; importing that library would cost each process a
    second.
    """
    package = importlib.util.find_spec("sklearn")
    if package is None or not package.submodule_search_locations:
        raise ConfigError('the data set "digits" comes with scikit-learn, which is not installed')
    file = Path(package.submodule_search_locations[0]) / "datasets" / "data" / "digits.csv.gz"
    try:
        with gzip.open(file, "rt", encoding="ascii") as lines:
            table = np.array([[round(float(cell)) for cell in line.split(",")] for line in lines])
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise ConfigError(f'the data set "digits" cannot be read: {error}') from None
    pool = _shuffled(table.astype(np.uint8))
    return _of(pool[:, :-1], pool[:, -1], 4, train, heldout)


def fashion_mnist(path: Path | None, train: int, heldout: int, layout: RecordLayout) -> Dataset:
    """Articles of clothing, 28 x 28 grey pixels, ten classes: from its 60 000 records for training,
    and held out from its 10 000 for testing.

    Source: Xiao, Rasul, Vollgraf, "Fashion-MNIST" (2017); files in MNIST's idx format.
    """
    home = path or FASHION_MNIST
    parts = []
    for kind, wanted in (("train", train), ("t10k", heldout)):
        images = _idx(home / f"{kind}-images-idx3-ubyte.gz", _IDX_IMAGES)
        labels = _idx(home / f"{kind}-labels-idx1-ubyte.gz", _IDX_LABELS)
        if wanted > len(images):
            raise ConfigError(f'"fashion-mnist" has only {len(images)} records in {kind}')
        parts.append((images.reshape(len(images), -1)[:wanted], labels[:wanted]))
    records = np.concatenate([images for images, _ in parts])
    labels = np.concatenate([labels for _, labels in parts])
    return Dataset(records=records, labels=labels, scale_shift=_BYTES_SHIFT)


def text(path: Path | None, train: int, heldout: int, layout: RecordLayout) -> Dataset:
    """Windows of a text's bytes, one behind the other, the held-out ones last.

    `path` is a file, or a directory whose files are read in the order of their paths; those that
    are no UTF-8 are left out.
    """
    if path is None:
        raise ConfigError('the data set "text" needs a file or a directory: --data PATH')
    if not path.exists():
        raise ConfigError(f"{path} does not exist")
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    wanted = (train + heldout) * layout.width
    found = bytearray()
    for file in files:
        if len(found) >= wanted:
            break
        found += _utf8(file)
    if len(found) < wanted:
        raise ConfigError(
            f"{path} has {len(found)} bytes; {train} + {heldout} records of {layout.width} "
            f"need {wanted}"
        )
    records = np.frombuffer(bytes(found[:wanted]), np.uint8).reshape(-1, layout.width)
    return Dataset(records=records, labels=np.empty(0, np.uint8), scale_shift=0)


def arrays(path: Path | None, train: int, heldout: int, layout: RecordLayout) -> Dataset:
    """uint8 or int16 `records` (N, ...) and uint8 `labels` (N,), in a safetensors file or in a
    directory of .npy files; 8 bits of a number stand behind the point."""
    if path is None:
        raise ConfigError('the data set "arrays" needs a safetensors file or a directory of .npy')
    found = _arrays(path)
    records, labels = found["records"], found["labels"]
    if records.dtype not in (np.uint8, np.int16) or labels.dtype != np.uint8:
        raise ConfigError(
            f"{path}: records are {records.dtype} and labels {labels.dtype}; uint8 or int16 and "
            "uint8 are expected: scale other numbers before, so that all machines have the same"
        )
    if labels.shape != (len(records),):
        raise ConfigError(f"{path}: labels have shape {labels.shape}; ({len(records)},) expected")
    order = list(permutation(_ORDER, _ORDER_SEED, len(records)))
    flat = records.reshape(len(records), -1)
    return _of(flat[order], labels[order], _BYTES_SHIFT, train, heldout)


Source = Callable[[Path | None, int, int, RecordLayout], Dataset]
"""(path, records to train on, records held out, layout).  Raises ConfigError: not to be had."""

SOURCES: Mapping[bytes, Source] = {
    b"arrays": arrays,
    b"digits": digits,
    b"fashion-mnist": fashion_mnist,
    b"text": text,
}


def _of(
    records: NDArray[Any], labels: NDArray[Any], shift: int, train: int, heldout: int
) -> Dataset:
    """The first records of a pool."""
    if train + heldout > len(records):
        raise ConfigError(f"{train} + {heldout} records wanted; there are only {len(records)}")
    chosen = slice(train + heldout)
    return Dataset(
        records=np.ascontiguousarray(records[chosen]),
        labels=np.ascontiguousarray(labels[chosen]),
        scale_shift=shift,
    )


def _shuffled(table: NDArray[Any]) -> NDArray[Any]:
    """Rows in an order that does not depend on any library."""
    return table[list(permutation(_ORDER, _ORDER_SEED, len(table)))]


def _utf8(path: Path) -> bytes:
    """The file's bytes; none if they are no UTF-8.  Raises ConfigError."""
    try:
        with path.open("rb") as file:
            data = file.read(DATASET_BYTES_MAX)
        data.decode()
    except UnicodeDecodeError:
        return b""
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    return data


def _idx(path: Path, magic: int) -> NDArray[np.uint8]:
    """An idx file of unsigned bytes.  Raises ConfigError."""
    try:
        with gzip.open(path, "rb") as file:
            data = file.read(DATASET_BYTES_MAX + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ConfigError(f"{path}: {error}") from None
    dimensions = magic & 0xFF
    start = 4 * (1 + dimensions)
    if len(data) < start or int.from_bytes(data[:4], "big") != magic:
        raise ConfigError(f"{path} is no idx file of unsigned bytes in {dimensions} dimensions")
    shape = [int(size) for size in np.frombuffer(data, ">u4", dimensions, 4)]
    size = 1
    for length in shape:
        size *= length
    if len(data) != start + size:
        raise ConfigError(f"{path} has {len(data) - start} bytes of data; its header says {size}")
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Records and labels as they stand in the files.  Raises ConfigError."""
    try:
        if path.is_dir():
            files = {name: path / f"{name}.npy" for name in _ARRAYS}
            return {name: np.load(file, allow_pickle=False) for name, file in files.items()}
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            found = load_file(path)
        except SafetensorError as error:
            raise ConfigError(f"{path}: {error}") from None
        return {name: found[name] for name in _ARRAYS}
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: {error}") from None
    except KeyError as error:
        raise ConfigError(f"{path} has no array {error}; records and labels expected") from None
