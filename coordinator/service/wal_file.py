"""Rot inside SQLite's write-ahead log, which SQLite itself takes for the log's end.

SQLite reads the log up to the first frame whose checksum is wrong, and forgets the rest without a
word: right for a write that was torn when the power went, wrong for a synced frame that has rotted,
since promises stood behind it.  The two differ: only so many transactions are written before one
waits for the disk (coordinator/service/journal.py), so a torn write has no more than these behind
it.  What rots among the newest ones looks like a torn write all the same; peers find that out.
Source: https://www.sqlite.org/fileformat2.html#the_write_ahead_log.  Reads one file, once a start.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

HEADER_BYTES = 32
FRAME_HEADER_BYTES = 24
_MAGIC = 0x377F0682  # its lowest bit says big-endian checksums
_U32 = 0xFFFFFFFF


class Frame(NamedTuple):
    """One page as the log holds it."""

    whole: bool  # its checksum, which covers all before it, is right
    ours: bool  # it was written since the log was last begun anew
    commits: bool  # it ends a transaction


def rotten(path: Path, unsynced_max: int) -> bool:
    """Whether the write-ahead log at `path` is damaged where it was synced once.

    Args:
        unsynced_max: transactions that a power failure may undo.
    """
    lost = 0  # transactions that end behind the first damaged frame
    damaged = False
    for frame in frames(path.read_bytes() if path.exists() else b""):
        damaged = damaged or not frame.whole
        lost += damaged and frame.ours and frame.commits
    return lost > unsynced_max


def frames(data: bytes) -> Iterator[Frame]:
    """All frames that are there in full, also behind the first bad one."""
    if len(data) < HEADER_BYTES:
        return
    magic, _, page_bytes, _, salt_1, salt_2, *sums = struct.unpack(">8I", data[:HEADER_BYTES])
    if magic & ~1 != _MAGIC or page_bytes == 0:
        return
    order = ">" if magic & 1 else "<"
    good = checksum(data[: HEADER_BYTES - 8], order, (0, 0)) == tuple(sums)
    state = (sums[0], sums[1])
    size = FRAME_HEADER_BYTES + page_bytes
    for at in range(HEADER_BYTES, len(data) - size + 1, size):
        head = struct.unpack(">6I", data[at : at + FRAME_HEADER_BYTES])
        ours = head[2:4] == (salt_1, salt_2)
        if good and ours:  # behind a bad frame nothing is whole, and nothing need be computed
            state = checksum(data[at : at + 8], order, state)
            state = checksum(data[at + FRAME_HEADER_BYTES : at + size], order, state)
            good = state == head[4:6]
        yield Frame(whole=good and ours, ours=ours, commits=head[1] != 0)
        good = good and ours


def checksum(data: bytes, order: str, start: tuple[int, int]) -> tuple[int, int]:
    """SQLite's checksum over a multiple of 8 bytes, continued from `start`."""
    first, second = start
    for x, y in struct.iter_unpack(f"{order}2I", data):
        first = first + x + second & _U32
        second = second + y + first & _U32
    return first, second
