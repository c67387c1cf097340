"""A data set: records in an agreed order, cut into shards that are named by their content.

    ROOT/index.bin       the header and the digests of the shards
    ROOT/DIGEST.shard    up to SHARD_BYTES of records, then their labels

ROOT is the RFC 6962 root over header and digests, in hex, and stands in the job: whoever has a
shard can prove that it belongs to the job, and a changed byte is noticed when it is read.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from bft.codec.canonical import Record, decode, encode
from bft.codec.types import U8, U32, Bytes32, Name
from bft.crypto.hashing import sha256
from bft.crypto.merkle import merkle_root
from bft.errors import ConfigError, DecodeError
from miner.files import write_durably

SHARD_BYTES = 1 << 20
DATASET_BYTES_MAX = 1 << 32
INDEX = "index.bin"
NUMBERS: dict[bytes, np.dtype[np.integer[Any]]] = {b"u1": np.dtype("u1"), b"i2": np.dtype("<i2")}
"""What a record is made of, little-endian."""


class Header(Record):
    """What the bytes of the shards mean."""

    TAG = "gristmill.dataset/1"

    records: U32
    width: U32  # numbers in a record
    numbers: Name  # a key of NUMBERS
    scale_shift: U8  # a number times 2**-scale_shift is an input of the model
    labelled: U8  # 1: a byte for each record follows the records of a shard


class Index(Record):
    """The file that names the shards."""

    header: Header
    shards: Annotated[tuple[Bytes32, ...], Meta(max_length=1 << 16)]

    @property
    def root(self) -> bytes:
        """32 bytes."""
        return merkle_root([Header.TAG.encode() + encode(self.header), *self.shards])


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Records that are trained on, then records that are held out."""

    records: NDArray[np.integer[Any]]  # (N, width), uint8 or int16
    labels: NDArray[np.uint8]  # (N,), from 0; (0,) where a record is its own label
    scale_shift: int  # a number times 2**-scale_shift is an input of the model

    @property
    def digest(self) -> bytes:
        """32 bytes, the root."""
        return index_of(self).root

    @property
    def header(self) -> Header:
        """Raises ConfigError: records of a type that no shard holds, or too many."""
        kinds = [kind for kind, dtype in NUMBERS.items() if dtype == self.records.dtype]
        if not kinds:
            raise ConfigError(f"records are {self.records.dtype}; uint8 and int16 can be kept")
        if self.records.nbytes > DATASET_BYTES_MAX:
            raise ConfigError(f"{self.records.nbytes} bytes; at most {DATASET_BYTES_MAX} allowed")
        return Header(
            records=len(self.records),
            width=self.records.shape[1],
            numbers=kinds[0],
            scale_shift=self.scale_shift,
            labelled=int(self.labels.size > 0),
        )


def index_of(dataset: Dataset) -> Index:
    """Header and digests."""
    return Index(header=dataset.header, shards=tuple(map(sha256, shards_of(dataset))))


def shards_of(dataset: Dataset) -> Iterator[bytes]:
    """The shards' bytes, in order."""
    header = dataset.header
    for places in _places(header):
        numbers = dataset.records[places].astype(NUMBERS[header.numbers]).tobytes()
        yield numbers + (dataset.labels[places].tobytes() if header.labelled else b"")


def write_dataset(directory: Path, dataset: Dataset) -> bytes:
    """Keep the shards in `directory`/ROOT; returns the root."""
    index = index_of(dataset)
    home = directory / index.root.hex()
    home.mkdir(parents=True, exist_ok=True)
    for digest, data in zip(index.shards, shards_of(dataset), strict=True):
        path = home / f"{digest.hex()}.shard"
        if not path.exists() or path.stat().st_size != len(data):
            write_durably(path, data)
    write_durably(home / INDEX, encode(index))
    return index.root


def read_dataset(home: Path, root: bytes) -> Dataset:
    """The data set in a directory, every byte checked against the root.

    Raises:
        ConfigError: a file is missing, or holds something else; the text names it.
    """
    try:
        index = decode(Index, (home / INDEX).read_bytes())
    except (OSError, DecodeError) as error:
        raise ConfigError(f"{home / INDEX}: {error}") from None
    if index.root != root:
        raise ConfigError(f"{home / INDEX} has root {index.root.hex()}; {root.hex()} is expected")
    header = index.header
    if header.numbers not in NUMBERS:
        raise ConfigError(f"{home / INDEX}: records of {header.numbers!r} are unknown here")
    if header.records * header.width * NUMBERS[header.numbers].itemsize > DATASET_BYTES_MAX:
        raise ConfigError(f"{home / INDEX}: more than {DATASET_BYTES_MAX} bytes of records")
    places = list(_places(header))
    if len(places) != len(index.shards):
        raise ConfigError(
            f"{home / INDEX} names {len(index.shards)} shards; {len(places)} expected"
        )
    records = np.empty((header.records, header.width), NUMBERS[header.numbers])
    labels = np.empty(header.records if header.labelled else 0, np.uint8)
    for place, digest in zip(places, index.shards, strict=True):
        _read_shard(home / f"{digest.hex()}.shard", digest, records[place], labels[place])
    return Dataset(records=records, labels=labels, scale_shift=header.scale_shift)


def _read_shard(
    path: Path, digest: bytes, records: NDArray[np.integer[Any]], labels: NDArray[np.uint8]
) -> None:
    """Fill in one shard's records and labels.  Raises ConfigError."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    if sha256(data) != digest or len(data) != records.nbytes + labels.nbytes:
        raise ConfigError(f"{path} was changed: it is not the shard that its name says")
    flat = np.frombuffer(data, records.dtype, records.size)
    records[:] = flat.reshape(records.shape)
    labels[:] = np.frombuffer(data, np.uint8, labels.size, offset=records.nbytes)


def _places(header: Header) -> Iterator[slice]:
    """Which records stand in each shard."""
    size = NUMBERS[header.numbers].itemsize * header.width + header.labelled
    step = max(1, SHARD_BYTES // max(1, size))
    for start in range(0, header.records, step):
        yield slice(start, min(start + step, header.records))
