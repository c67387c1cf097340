"""What is trained: a job is data, never code.

Pure.
"""

from enum import IntEnum
from typing import Annotated

from msgspec import Meta

from bft.codec.canonical import Record
from bft.codec.types import U8, U16, U32, Bytes32, Name

SIZES_MAX = 16
SPARSE = b"topk"  # `compression` of sparse updates, which tell what earlier ones left out


class Mode(IntEnum):
    """How the model is cut into segments, and by which loss a segment learns.

    See chain/rules/families/cut.py for what each segment holds.
    """

    LOCAL_HEADS = 0
    """A run of layers with a head of its own: decoupled greedy training."""
    JOINT = 1
    """A run of layers, by the whole model's loss; all other layers are frozen."""
    SHARD = 2
    """Tensors of all layers dealt to segments, by the whole model's loss."""
    DATA_PARALLEL = 3
    """One segment, the whole model: DiLoCo."""


class Size(Record):
    """One of a family's sizes, for example the width of its layers."""

    name: Name
    value: U32


class Job(Record):
    """A model, its cut into segments, its data and its optimisers.  All integers."""

    TAG = "gristmill.job/2"

    name: Name

    # The model.
    family: Name  # registry name, for example b"mlp"; see chain/rules/families
    sizes: Annotated[tuple[Size, ...], Meta(min_length=1, max_length=SIZES_MAX)]  # by name
    mode: U8  # a Mode
    segments: U16
    redundancy: U8  # miners that train one (segment, chunk)

    # The data.
    dataset: Name  # registry name, for example b"digits"
    dataset_digest: Bytes32  # RFC 6962 root over the preprocessed shards
    train_records: U32  # records 0 .. train_records - 1 are dealt to miners in chunks
    heldout_records: U32  # the records after them are never dealt
    chunk_records: U32  # records in one work unit

    # Inner optimiser: what a miner does with a unit.
    optimizer: Name
    steps: U32  # per work unit
    batch_records: U32  # records per step
    learning_rate_ppm: U32  # parts per million

    # Outer optimiser: what the federation does with the updates.
    outer_rate_numerator: U32  # outer step = numerator / denominator of the merged update
    outer_rate_denominator: U32
    outer_momentum: U32  # units of 2**-16
    backtracking: U8  # halvings of the outer step that are tried after the full one
    aggregation: Name  # how updates of one segment merge
    agreement: U32  # largest cosine distance from the running mean, units of 2**-16; 0: no filter
    trim: U8  # updates that a robust aggregation leaves out on each side

    # Updates on the wire.
    compression: Name
    keep: U16  # of each 4096 weights; 0 where all are kept
    value_bits: U8  # of one weight's change

    # What is done to the data before training, and the arithmetic of evaluation.
    privacy: Name
    privacy_parameter: U32
    evaluation: Name  # data type in which replicas measure

    fraction_bits: U8  # weights are integers in units of 2**-fraction_bits
    genesis_model: Bytes32  # SHA-256 of the first snapshot's bytes


def make_sizes(**sizes: int) -> tuple[Size, ...]:
    """Sizes by name, in the record's order."""
    return tuple(Size(name=name.encode(), value=sizes[name]) for name in sorted(sizes))


def sizes_of(job: Job) -> dict[str, int]:
    """The sizes by name; of two with one name the last."""
    return {size.name.decode("ascii", "replace"): size.value for size in job.sizes}
