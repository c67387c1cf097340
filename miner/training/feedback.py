"""Error feedback: what a sparse update did not tell is added to the next change of that segment.

Kept in one file for each segment and update, whole or not at all, so that it survives a crash.  A
unit that is trained again after one, from the same base, begins from what stood before it and so
gives the same update.  A file that is lost, damaged or of another job is as if there had been no
remainder: training goes on, only what it held is not told any more.
Source: Karimireddy et al., "Error Feedback Fixes SignSGD" (ICML 2019).
"""

import logging
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

from bft.codec.canonical import Record, decode, encode
from bft.codec.types import U16, U32, U63, Bytes32
from bft.errors import DecodeError
from miner.files import write_durably
from miner.training.sparsify import Floats

GENERATIONS_KEPT = 4  # of each segment
MARK_BYTES_MAX = 256
_LENGTH_BYTES = 2
_DIGEST_BYTES = 32
_VALUE_BYTES = 4

log = logging.getLogger("gristmill.miner")


class Mark(Record):
    """Whose remainder a file holds."""

    job: Bytes32  # SHA-256 of the encoded job
    base: Bytes32  # SHA-256 of the snapshot that the update started from
    unit: U32
    segment: U16
    generation: U63  # 1 is the segment's first; each update has the next
    elements: U32


@dataclass(frozen=True, slots=True, eq=False)
class Remainder:
    """What is to be added to a change, and the mark of what will remain of the sum."""

    values: Floats  # (elements,) units of 2**-fraction_bits
    mark: Mark


class FeedbackStore:
    """Remainders of one miner, in a directory of their own."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory = directory

    def before(self, job: bytes, base: bytes, unit: int, segment: int, elements: int) -> Remainder:
        """What remains from the update before this one; zeros if there was none.

        Args:
            job, base: 32 bytes each, see `Mark`.
            elements: weights of the segment.
        """
        kept = [
            (mark, values)
            for mark, values in self._kept(segment)
            if (mark.job, mark.elements) == (job, elements)
        ]
        newest = max((mark.generation for mark, _ in kept), default=0)
        same = [mark.generation for mark, _ in kept if (mark.base, mark.unit) == (base, unit)]
        generation = max(same) if same else newest + 1
        older = [pair for pair in kept if pair[0].generation < generation]
        values = np.zeros(elements, np.float32)
        if older:
            values = max(older, key=lambda pair: pair[0].generation)[1]
        mark = Mark(
            job=job,
            base=base,
            unit=unit,
            segment=segment,
            generation=generation,
            elements=elements,
        )
        return Remainder(values=values, mark=mark)

    def keep(self, remainder: Remainder) -> None:
        """Durable on return; the oldest of the segment go."""
        mark = encode(remainder.mark)
        values = remainder.values.astype("<f4").tobytes()
        body = len(mark).to_bytes(_LENGTH_BYTES, "big") + mark + values
        path = self._directory / f"{remainder.mark.segment:05d}-{remainder.mark.generation:012d}"
        write_durably(path, body + sha256(body).digest(), mode=0o600)
        for old in self._paths(remainder.mark.segment)[:-GENERATIONS_KEPT]:
            old.unlink(missing_ok=True)

    def _paths(self, segment: int) -> list[Path]:
        return sorted(self._directory.glob(f"{segment:05d}-*"))

    def _kept(self, segment: int) -> list[tuple[Mark, Floats]]:
        found = []
        for path in self._paths(segment):
            try:
                mark, values = _read(path.read_bytes())
            except (OSError, DecodeError) as error:
                log.warning("%s is not used: %s", path, error)
                continue
            if mark.segment == segment:
                found.append((mark, values))
        return found


def _read(data: bytes) -> tuple[Mark, Floats]:
    """A file's mark and values.  Raises DecodeError: not what `keep` wrote."""
    body, digest = data[:-_DIGEST_BYTES], data[-_DIGEST_BYTES:]
    if sha256(body).digest() != digest:
        raise DecodeError(f"{len(data)} bytes do not end with their digest")
    start = _LENGTH_BYTES + int.from_bytes(body[:_LENGTH_BYTES], "big")
    mark = decode(Mark, body[_LENGTH_BYTES:start], bytes_max=MARK_BYTES_MAX)
    if len(body) - start != _VALUE_BYTES * mark.elements:
        raise DecodeError(f"{len(body) - start} bytes of values; {mark.elements} values expected")
    return mark, np.frombuffer(body, "<f4", offset=start).astype(np.float32)
