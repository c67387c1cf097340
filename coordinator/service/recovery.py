"""What was durable when a replica's process ended: the journal's content, every row checked.

Damage of any kind is refused: a replica that has forgotten a promise must not vote again.
"""

import sqlite3
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from bft.codec.canonical import decode
from bft.errors import ConfigError, DecodeError
from bft.pbft.config import Recovered
from chain.records.score_log import Ordered, decode_leaf
from coordinator.epochs import Noted
from coordinator.guard.rows import read_guarded
from coordinator.guard.rules import NOTHING_SIGNED, Guarded
from coordinator.refill import LogGap

FORGOTTEN = (
    "A replica without its whole journal has forgotten what it promised and could contradict "
    "itself, so it must not vote under its key again.  Put back the undamaged file of this very "
    "replica if it never ran since; otherwise make a new identity (`gristmill operator init`) and "
    "have the federation replace this member (`gristmill operator propose --replace`)."
)


@dataclass(frozen=True, slots=True)
class Recovery:
    """What was durable when the process ended."""

    consensus: Recovered
    saved: bytes | None  # newest state
    saved_sequence: int  # 0 without a state
    tail: tuple[tuple[int, bytes], ...]  # (sequence, batch) after it, in order
    log_size: int  # through the newest entry, whatever is missing before
    gap: LogGap | None = None
    guarded: Guarded = NOTHING_SIGNED  # what this replica's keys have signed
    noted: dict[int, Noted] = field(default_factory=dict)  # the epochs that it has lived in
    forgotten: str | None = None  # why this replica must not vote under its key again


def checksum(number: int, *parts: bytes) -> int:
    """CRC-32 over a row's key and content: finds damage by disks, not by people."""
    crc = zlib.crc32(number.to_bytes(8, "big"))
    for part in parts:
        crc = zlib.crc32(part, zlib.crc32(len(part).to_bytes(8, "big"), crc))
    return crc


def gap_checksum(last: int, end: int, root: bytes, base_sequence: int, base: bytes) -> int:
    numbers = b"".join(number.to_bytes(8, "big") for number in (end, base_sequence))
    return checksum(last, numbers, root, base)


class JournalCheck:
    """Reads a journal from one end to the other."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        """`path` is for messages."""
        self._path, self._connection = path, connection

    def read(self) -> Recovery:
        """What was durable when the process ended, every row of it checked.

        Raises:
            ConfigError: damage; see FORGOTTEN.
        """
        try:
            records = tuple(self._checked_wal())
            noted = {note.epoch: note for note in self._noted()}
            forgotten = self._forgotten()
            guarded = read_guarded(self._connection)
            gap = self._gap()
            before, log_size, executed = self._check_log(gap)
            after = 0 if gap is None else gap.last_sequence
            saved_sequence, saved = self._newest_state(after, executed)
            tail = tuple(self._batches(saved_sequence, executed))
            if gap is not None:
                gap = self._complete(gap, before)
        except (sqlite3.Error, DecodeError) as error:
            raise ConfigError(f"{self._path}: {error}.  {FORGOTTEN}") from None
        if saved is None and gap is not None:
            raise ConfigError(f"{self._path}: no state after the gap is undamaged.  {FORGOTTEN}")
        self._check_sequences(tail, saved_sequence, executed)
        return Recovery(
            consensus=Recovered(records=records, executed=executed),
            saved=saved,
            saved_sequence=saved_sequence,
            tail=tail,
            log_size=log_size,
            gap=gap,
            guarded=guarded,
            noted=noted,
            forgotten=forgotten,
        )

    def _noted(self) -> Iterable[Noted]:
        for epoch, note, crc in self._connection.execute("SELECT epoch, note, crc FROM epochs"):
            if checksum(epoch, note) != crc:
                raise ConfigError(f"{self._path}: epoch {epoch} is damaged.  {FORGOTTEN}")
            yield decode(Noted, note)

    def _forgotten(self) -> str | None:
        """What the journal itself says of its loss, see Journal.forget."""
        row = self._connection.execute("SELECT value FROM meta WHERE key = 'forgotten'").fetchone()
        return None if row is None else bytes(row[0]).decode("utf-8", "replace")

    def _check_sequences(self, found: Iterable[tuple[int, bytes]], after: int, last: int) -> None:
        if [sequence for sequence, _ in found] != list(range(after + 1, last + 1)):
            raise ConfigError(f"{self._path}: decided batches are missing.  {FORGOTTEN}")

    def _gap(self) -> LogGap | None:
        """The gap, as yet without where it begins."""
        row = self._connection.execute(
            "SELECT last_sequence, end_idx, root, base_sequence, base, crc FROM gap"
        ).fetchone()
        if row is None:
            return None
        last, end, root, base_sequence, base, crc = row
        if gap_checksum(last, end, root, base_sequence, base) != crc:
            raise ConfigError(f"{self._path}: the table gap is damaged.  {FORGOTTEN}")
        return LogGap(
            sequence=base_sequence,
            index=0,
            last_sequence=last,
            end_index=end,
            state_root=root,
            base=base,
            batches=(),
        )

    def _complete(self, gap: LogGap, index: int) -> LogGap:
        """The gap, which begins at `index`, with the batches between its base and there."""
        (sequence,) = self._connection.execute(
            "SELECT coalesce(max(sequence), 0) FROM log WHERE sequence <= ?", (gap.last_sequence,)
        ).fetchone()
        batches = tuple(self._batches(gap.sequence, sequence))
        self._check_sequences(batches, gap.sequence, sequence)
        return replace(gap, sequence=sequence, index=index, batches=batches)

    def _checked_wal(self) -> Iterable[tuple[int, bytes]]:
        for lsn, record, crc in self._connection.execute(
            "SELECT lsn, record, crc FROM wal ORDER BY lsn"
        ):
            if checksum(lsn, record) != crc:
                raise ConfigError(f"{self._path}: record {lsn} of wal is damaged.  {FORGOTTEN}")
            yield lsn, record

    def _check_log(self, gap: LogGap | None) -> tuple[int, int, int]:
        """(index of the first missing entry, size of the log, last sequence)."""
        expected, before, executed = 0, None, 0 if gap is None else gap.last_sequence
        for index, sequence, leaf, proof, crc in self._connection.execute(
            "SELECT idx, sequence, leaf, proof, crc FROM log ORDER BY idx"
        ):
            if gap is not None and before is None and index == gap.end_index != expected:
                before, expected = expected, index
            if index != expected or checksum(index, leaf, proof) != crc:
                raise ConfigError(f"{self._path}: entry {expected} of log is damaged.  {FORGOTTEN}")
            expected += 1
            executed = executed if sequence is None else max(executed, sequence)
        if gap is not None and before is None:  # nothing was executed since the state came
            return expected, gap.end_index, executed
        return expected if before is None else before, expected, executed

    def _newest_state(self, first: int, executed: int) -> tuple[int, bytes | None]:
        """The newest undamaged state from `first` on; without one, all batches are replayed."""
        for sequence, state, crc in self._connection.execute(
            "SELECT sequence, state, crc FROM states WHERE sequence BETWEEN ? AND ?"
            " ORDER BY sequence DESC",
            (first, executed),
        ):
            if checksum(sequence, state) == crc:
                return sequence, state
        return 0, None

    def _batches(self, after: int, last: int) -> Iterable[tuple[int, bytes]]:
        for (leaf,) in self._connection.execute(
            "SELECT leaf FROM log WHERE sequence > ? AND sequence <= ? ORDER BY sequence",
            (after, last),
        ):
            ordered = decode_leaf(leaf)
            if not isinstance(ordered, Ordered):
                raise DecodeError("a decided batch is not where it should be")
            yield ordered.sequence, ordered.batch
