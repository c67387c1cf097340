"""Reading the journal beside the writer: log ranges, history for peers, where records stand.

SQLite in WAL mode lets one connection read while another writes.  Its methods block, so they run
in a thread of their own.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import cast

from bft.codec.canonical import decode
from chain.records.block import block_hash
from chain.records.score_log import BlockFinal, LogEntry, Ordered, decode_leaf
from coordinator.epochs import Noted
from coordinator.service.journal import JournalError, checksum

INTEGER_MAX = 2**63 - 1  # what SQLite holds
BLOCKS_AT_MAX = 64  # of one height, that are read together


class JournalReader:
    """A second, read-only connection for those who ask.  Its methods block."""

    def __init__(self, path: Path) -> None:
        """`path`: an existing journal."""
        self._connection = sqlite3.connect(
            f"{path.resolve().as_uri()}?mode=ro", uri=True, check_same_thread=False
        )

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def _rows(self, query: str, parameters: Sequence[object]) -> Iterable[tuple[object, ...]]:
        try:
            yield from self._connection.execute(query, parameters)
        except sqlite3.Error as error:
            raise JournalError(f"the journal cannot be read: {error}") from error

    def entries(
        self, first: int, limit: int, bytes_max: int, derived_only: bool = False
    ) -> tuple[LogEntry, ...]:
        """Log entries from `first` on: at most `limit`, at most `bytes_max` but at least one.

        None where the log has a gap, and none beyond it: what is handed out is contiguous.
        """
        found: list[LogEntry] = []
        size = 0
        for row in self._rows(
            "SELECT idx, leaf, proof, crc FROM log WHERE idx >= ?1"
            " AND idx < coalesce((SELECT end_idx FROM gap WHERE ?1 < end_idx), ?2)"
            " AND (sequence IS NULL OR NOT ?3) ORDER BY idx LIMIT ?4",
            (first, INTEGER_MAX, derived_only, limit),
        ):
            index, leaf, proof, crc = cast(tuple[int, bytes, bytes, int], row)
            if checksum(index, leaf, proof) != crc:
                raise JournalError(f"entry {index} of the log is damaged on this replica's disk")
            size += len(leaf) + len(proof)
            if found and size > bytes_max:
                break
            found.append(LogEntry(index=index, leaf=leaf, proof=proof))
        return tuple(found)

    def epoch(self) -> Noted | None:
        """The newest epoch that this replica has lived in; None: its journal knows of none."""
        query = "SELECT epoch, note, crc FROM epochs ORDER BY epoch DESC LIMIT 1"
        for row in self._rows(query, ()):
            number, note, crc = cast(tuple[int, bytes, int], row)
            if checksum(number, note) != crc:
                raise JournalError(f"epoch {number} is damaged on this replica's disk")
            return decode(Noted, note)
        return None

    def history(
        self, first: int, last: int, limit: int, bytes_max: int
    ) -> tuple[tuple[int, bytes, bytes], ...]:
        """(sequence, batch, proof) of decided batches, bounded as `entries`."""
        found: list[tuple[int, bytes, bytes]] = []
        size = 0
        for row in self._rows(
            "SELECT idx, leaf, proof, crc FROM log WHERE sequence BETWEEN ?1 AND ?2 AND sequence"
            " <= coalesce((SELECT last_sequence FROM gap WHERE ?1 <= last_sequence), ?2)"
            " ORDER BY sequence LIMIT ?3",
            (first, last, limit),
        ):
            index, leaf, proof, crc = cast(tuple[int, bytes, bytes, int], row)
            if checksum(index, leaf, proof) != crc:
                raise JournalError(f"entry {index} of the log is damaged on this replica's disk")
            ordered = decode_leaf(leaf)
            assert isinstance(ordered, Ordered)
            size += len(leaf) + len(proof)
            if found and size > bytes_max:
                break
            found.append((ordered.sequence, ordered.batch, proof))
        return tuple(found)

    def places(self, kind: str, first: int, last: int) -> tuple[tuple[int, int], ...]:
        """(number, index) of the log records of `kind` with numbers first..last, ascending."""
        query = (
            "SELECT number, idx FROM marks WHERE kind = ? AND number BETWEEN ? AND ?"
            " ORDER BY number, idx"
        )
        return tuple(cast(Iterable[tuple[int, int]], self._rows(query, (kind, first, last))))

    def last_place(self, kind: str) -> int | None:
        """Index of the log record of `kind` with the highest number."""
        query = "SELECT idx FROM marks WHERE kind = ? ORDER BY number DESC, idx DESC LIMIT 1"
        for row in self._rows(query, (kind,)):
            return cast(int, row[0])
        return None

    def block(self, block_hash: bytes) -> bytes | None:
        """The block with this hash (32 bytes), if it is here."""
        for row in self._rows("SELECT block FROM blocks WHERE hash = ?", (block_hash,)):
            return cast(bytes, row[0])
        return None

    def blocks_at(self, height: int) -> tuple[bytes, ...]:
        """Blocks of this height that are here, final or not, in the order in which they came."""
        query = "SELECT block FROM blocks WHERE height = ? ORDER BY rowid LIMIT ?"
        rows = self._rows(query, (height, BLOCKS_AT_MAX))
        return tuple(cast(bytes, block) for (block,) in rows)

    def final_blocks(self, above: int, limit: int) -> tuple[tuple[int, bytes, bool], ...]:
        """(height, hash, whether its bytes are here) of the lowest final blocks above a height."""
        query = (
            "SELECT marks.number, log.leaf FROM marks JOIN log ON log.idx = marks.idx"
            " WHERE marks.kind = 'height' AND marks.number > ? ORDER BY marks.number LIMIT ?"
        )
        found = []
        for row in self._rows(query, (above, limit)):
            height, leaf = cast(tuple[int, bytes], row)
            final = decode_leaf(leaf)
            assert isinstance(final, BlockFinal)
            hashed = block_hash(final.header)
            held = any(self._rows("SELECT 1 FROM blocks WHERE hash = ?", (hashed,)))
            found.append((height, hashed, held))
        return tuple(found)

    def latest_places(self, kind: str, limit: int) -> tuple[int, ...]:
        """Indices of the `limit` log records of `kind` with the highest numbers, newest first."""
        query = "SELECT idx FROM marks WHERE kind = ? ORDER BY number DESC, idx DESC LIMIT ?"
        return tuple(cast(int, row[0]) for row in self._rows(query, (kind, limit)))

    def accusations(self) -> tuple[tuple[int, str], ...]:
        """(culprit, text) of all evidence, by culprit."""
        query = "SELECT culprit, text FROM accusations ORDER BY culprit, text"
        return tuple(cast(Iterable[tuple[int, str]], self._rows(query, ())))
