"""Summaries of cycles, kept in a file that has no name: an audit's memory does not grow.

Edge.
"""

import tempfile
from collections.abc import Iterator
from typing import IO

import msgspec

from chain.audit.archive import LENGTH_BYTES, frame
from chain.audit.findings import CycleSummary


class Spool:
    """Written first, then read as often as one likes."""

    def __init__(self) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by __exit__
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(CycleSummary)

    def __enter__(self) -> "Spool":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, summary: CycleSummary) -> None:
        """The next cycle's."""
        self._file.write(frame(self._encoder.encode(summary)))

    def __iter__(self) -> Iterator[CycleSummary]:
        self._file.seek(0)
        while head := self._file.read(LENGTH_BYTES):
            yield self._decoder.decode(self._file.read(int.from_bytes(head, "big")))
        self._file.seek(0, 2)
