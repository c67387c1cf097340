"""Reading the journal beside the writer: log ranges, history for peers, where records stand.

SQLite in WAL mode lets one connection read while another writes.  Its methods block, so they run
in a thread of their own.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import cast

from chain.records.score_log import LogEntry, Ordered, decode_leaf
from coordinator.service.journal import JournalError, checksum


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
        """Log entries from `first` on: at most `limit`, at most `bytes_max` but at least one."""
        found: list[LogEntry] = []
        size = 0
        for row in self._rows(
            "SELECT idx, leaf, proof, crc FROM log WHERE idx >= ?"
            " AND (sequence IS NULL OR NOT ?) ORDER BY idx LIMIT ?",
            (first, derived_only, limit),
        ):
            index, leaf, proof, crc = cast(tuple[int, bytes, bytes, int], row)
            if checksum(index, leaf, proof) != crc:
                raise JournalError(f"entry {index} of the log is damaged on this replica's disk")
            size += len(leaf) + len(proof)
            if found and size > bytes_max:
                break
            found.append(LogEntry(index=index, leaf=leaf, proof=proof))
        return tuple(found)

    def history(
        self, first: int, last: int, limit: int, bytes_max: int
    ) -> tuple[tuple[int, bytes, bytes], ...]:
        """(sequence, batch, proof) of decided batches, bounded as `entries`."""
        found: list[tuple[int, bytes, bytes]] = []
        size = 0
        for row in self._rows(
            "SELECT idx, leaf, proof, crc FROM log WHERE sequence BETWEEN ? AND ?"
            " ORDER BY sequence LIMIT ?",
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

    def block(self, block_hash: bytes) -> bytes | None:
        """The block with this hash (32 bytes), if it is here."""
        for row in self._rows("SELECT block FROM blocks WHERE hash = ?", (block_hash,)):
            return cast(bytes, row[0])
        return None

    def accusations(self) -> tuple[tuple[int, str], ...]:
        """(culprit, text) of all evidence, by culprit."""
        query = "SELECT culprit, text FROM accusations ORDER BY culprit, text"
        return tuple(cast(Iterable[tuple[int, str]], self._rows(query, ())))
