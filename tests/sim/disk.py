"""A replica's disk: transactions count from their sync on; a crash loses what was not synced.

What it gives back after a crash is what coordinator/effects.py promises: the journal of consensus
without what was pruned, the newest saved state, and the batches decided after it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from bft.codec.canonical import Record
from bft.dkg.secrets import Secrets
from bft.pbft.config import Recovered
from bft.pbft.events import Persist, Prune
from chain.records.score_log import LogEntry, Ordered, encode_leaf
from coordinator.effects import Append, BlockAccepted, Effect, Installed, Restored, SaveState
from coordinator.epochs import Noted
from coordinator.refill import LogGap

Kept = Persist | Prune | Append | SaveState | Installed | Restored | BlockAccepted
STATES_KEPT = 2


@dataclass(slots=True)
class Content:
    """What is safe from a crash."""

    records: dict[int, bytes] = field(default_factory=dict)  # lsn -> journal record
    batches: list[Append] = field(default_factory=list)  # sequence 1 first, without any hole
    gap: Installed | None = None  # left out by a state transfer
    after: list[Append] = field(default_factory=list)  # batches behind the gap
    states: list[SaveState] = field(default_factory=list)
    blocks: dict[bytes, bytes] = field(default_factory=dict)  # hash -> block


class Disk:
    """One replica's."""

    def __init__(self) -> None:
        self.safe = Content()
        self.transactions = 0  # synced so far
        self.secrets = Secrets()  # in files of their own
        self.noted: dict[int, Noted] = {}  # the epochs that this replica has lived in
        self._waiting: list[Kept] = []

    @staticmethod
    def keeps(effects: Iterable[Effect]) -> list[Kept]:
        """Those effects that belong on a disk, in order."""
        return [effect for effect in effects if isinstance(effect, Kept)]

    def write(self, transaction: Iterable[Kept]) -> None:
        """Not safe yet."""
        self._waiting += transaction

    def sync(self) -> None:
        """All that was written is safe now."""
        for effect in self._waiting:
            self._apply(effect)
        self._waiting = []
        self.transactions += 1

    def crash(self) -> None:
        """What was not synced is gone."""
        self._waiting = []

    def _apply(self, effect: Kept) -> None:
        safe = self.safe
        match effect:
            case Persist(lsn=lsn, record=record):
                assert lsn == max(safe.records, default=lsn - 1) + 1, "journal records have a hole"
                safe.records[lsn] = record
            case Prune(up_to_lsn=pruned):
                safe.records = {lsn: safe.records[lsn] for lsn in safe.records if lsn > pruned}
            case Append():
                assert effect.sequence == self.executed + 1, "batches have a hole"
                (safe.batches if safe.gap is None else safe.after).append(effect)
            case Installed():
                assert safe.gap is None and effect.base_sequence == len(safe.batches)
                safe.gap = effect
                safe.states.append(SaveState(effect.sequence, effect.state))
            case Restored():
                assert safe.gap is not None and effect.append.sequence == len(safe.batches) + 1
                safe.batches.append(effect.append)
                if effect.base is not None:
                    base = (effect.append.sequence, effect.base)
                    safe.gap = replace(safe.gap, base_sequence=base[0], base=base[1])
                assert effect.closed == (effect.append.sequence == safe.gap.sequence)
                if effect.closed:
                    safe.batches += safe.after
                    safe.gap, safe.after = None, []
            case SaveState():
                safe.states = [*safe.states, effect][-STATES_KEPT:]
            case BlockAccepted(block_hash=block_hash, block=block):
                safe.blocks[block_hash] = block

    @property
    def executed(self) -> int:
        """The last sequence whose effects are safe."""
        safe = self.safe
        if safe.gap is None:
            return len(safe.batches)
        return safe.after[-1].sequence if safe.after else safe.gap.sequence

    # What a restart and readers get.

    def recovered(self) -> Recovered:
        """For consensus."""
        records = tuple(sorted(self.safe.records.items()))
        return Recovered(records=records, executed=self.executed)

    def gap(self) -> LogGap | None:
        """What a state transfer left out."""
        gap, batches = self.safe.gap, self.safe.batches
        if gap is None:
            return None
        return LogGap(
            sequence=len(batches),
            index=sum(len(kept.records) for kept in batches),
            last_sequence=gap.sequence,
            end_index=gap.end_index,
            state_root=gap.state_root,
            base=gap.base,
            batches=tuple((kept.sequence, kept.batch) for kept in batches[gap.base_sequence :]),
        )

    def saved(self) -> bytes | None:
        """The newest saved state."""
        return self.safe.states[-1].state if self.safe.states else None

    def tail(self) -> tuple[tuple[int, bytes], ...]:
        """(sequence, batch) after the newest saved state."""
        after = self.safe.states[-1].sequence if self.safe.states else 0
        kept_batches = self.safe.batches if self.safe.gap is None else self.safe.after
        return tuple((kept.sequence, kept.batch) for kept in kept_batches if kept.sequence > after)

    def history(self, first: int, last: int) -> tuple[tuple[int, bytes, bytes], ...]:
        """(sequence, batch, proof) for another replica."""
        inside = self.safe.gap is not None and first > len(self.safe.batches)
        held = self.safe.after if inside else self.safe.batches
        chosen = [kept for kept in held if first <= kept.sequence <= last]
        if chosen and chosen[0].sequence != first:
            return ()
        return tuple((kept.sequence, kept.batch, kept.proof) for kept in chosen)

    def log(self) -> tuple[LogEntry, ...]:
        """The score log as an auditor gets it."""
        entries: list[LogEntry] = []
        for kept in self.safe.batches:
            assert kept.first_index == len(entries)
            for record in kept.records:
                proof = kept.proof if isinstance(record, Ordered) else b""
                leaf = encode_leaf(record)
                entries.append(LogEntry(index=len(entries), leaf=leaf, proof=proof))
        return tuple(entries)

    def records(self) -> tuple[Record, ...]:
        """The score log's records, decoded."""
        return tuple(record for kept in self.safe.batches for record in kept.records)
