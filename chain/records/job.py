"""What is trained: a job is data, never code.

Pure.
"""

from typing import Annotated

from msgspec import Meta

from bft.codec.canonical import Record
from bft.codec.types import U8, U32, Bytes32, Name


class Job(Record):
    """A model, its cut into segments, its data and its optimisers.  All integers.

    A segment is a run of layers with a local head of its own (decoupled greedy training), so that
    it trains without the segments behind it.  `parameters` of a segment include its head.
    """

    TAG = "gristmill.job/1"

    name: Name
    model: Name  # registry name of the family, for example b"mlp"
    input_width: U32
    segment_widths: Annotated[tuple[U32, ...], Meta(min_length=1, max_length=64)]  # hidden widths
    classes: U32
    dataset: Name  # registry name, for example b"digits"
    dataset_digest: Bytes32  # SHA-256 of the preprocessed records
    train_records: U32  # records 0 .. train_records - 1 are dealt to miners in chunks
    heldout_records: U32  # the records after them are never dealt
    chunk_records: U32  # records in one work unit
    steps: U32  # inner optimiser steps per work unit
    batch_records: U32  # records per inner step
    learning_rate_ppm: U32  # inner AdamW, parts per million
    outer_rate_numerator: U32  # outer step = numerator / denominator of the merged update
    outer_rate_denominator: U32
    fraction_bits: U8  # weights are integers in units of 2**-fraction_bits
    genesis_model: Bytes32  # SHA-256 of the first snapshot's bytes

    @property
    def segments(self) -> int:
        """Number of segments."""
        return len(self.segment_widths)

    def segment_parameters(self, segment: int) -> int:
        """Weights and biases of one segment's layer and of its local head."""
        before = self.segment_widths[segment - 1] if segment else self.input_width
        width = self.segment_widths[segment]
        return (before + 1) * width + (width + 1) * self.classes
