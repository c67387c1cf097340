"""Several copies of one log, walked side by side: a federation shows everybody the same leaves.

Copies may be of different length (a replica may be behind) and hold different quorum proofs for one
batch; leaves must be equal as far as both go, or two of them are not one log.
Pure: the copies are iterators.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from bft.codec.canonical import decode
from bft.crypto.merkle import Frontier
from bft.errors import DecodeError, Unavailable
from chain.audit.findings import Finding, Severity
from chain.audit.replay import LOG_ENTRY_BYTES_MAX
from chain.records.score_log import LogEntry, entry_hash


@dataclass(slots=True)
class Copy:
    """One source's copy, as far as it was compared."""

    name: str  # URL
    entries: Iterator[bytes]
    common: Frontier = field(default_factory=Frontier)  # over the leaves that both copies hold
    first: int = 0  # those before were compared in an earlier audit, if at all
    state: str = "same"  # then "shorter", "split" or "lost"
    text: str = ""

    def line(self) -> str:
        """For people."""
        why = f" ({self.text})" if self.text else ""
        new = f", compared from entry {self.first} on" if self.first else ""
        return (
            f"{self.name}: {self.state}{why}; {self.common.size} entries in common{new}, "
            f"log root there {self.common.root().hex()}"
        )


class SideBySide:
    """Iterates over the first copy; the others are compared on the way."""

    def __init__(
        self, first: str, copies: Mapping[str, Iterator[bytes]], start: Frontier | None = None
    ) -> None:
        """Args:
        copies: by name, `first` among them.
        start: the log before their entries; None: they begin with the first.
        """
        self._start = Frontier() if start is None else start
        self._first = Copy(first, copies[first])
        self.others = [
            Copy(name, copies[name], self._start, self._start.size)
            for name in copies
            if name != first
        ]
        self.findings: list[Finding] = []

    def __iter__(self) -> Iterator[bytes]:
        frontier = self._start
        for index, entry in enumerate(self._first.entries, self._start.size):
            leaf = leaf_of(entry)
            frontier = frontier.push(entry_hash(leaf))
            for copy in self.others:
                if copy.state == "same":
                    self._compare(copy, index, leaf, frontier)
            yield entry

    def _compare(self, copy: Copy, index: int, leaf: bytes, frontier: Frontier) -> None:
        try:
            entry = next(copy.entries, None)
        except (Unavailable, DecodeError) as error:
            copy.state, copy.text = "lost", str(error)
            return
        if entry is None:
            copy.state = "shorter"
        elif leaf_of(entry) == leaf:
            copy.common = frontier
        else:
            copy.state = "split"
            self.findings.append(_split(self._first.name, copy.name, index))


def leaf_of(entry: bytes) -> bytes:
    """The leaf of an encoded entry; all of it where it cannot be read."""
    try:
        return decode(LogEntry, entry, bytes_max=LOG_ENTRY_BYTES_MAX).leaf
    except DecodeError:
        return entry


def _split(first: str, other: str, index: int) -> Finding:
    return Finding(
        severity=Severity.BROKEN,
        entry=index,
        sequence=0,
        cycle=0,
        rule="split-view",
        text=f"{first} and {other} serve different leaves here; their logs are not one",
    )
