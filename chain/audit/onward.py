"""A copy of the log from some entry on, with a look at whether it is the log that was seen before.

Where only new entries are asked for, the one before them must be the one that is known.  Where the
whole copy passes anyway, all that was seen is hashed again.
Pure: the copies are iterators.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from bft.crypto.merkle import Frontier
from chain.audit.findings import Finding, Severity
from chain.audit.split import leaf_of
from chain.records.score_log import entry_hash


@dataclass(frozen=True, slots=True)
class Seen:
    """A log that passed, or that is being audited and follows so far."""

    chain_id: bytes
    size: int
    root: bytes


@dataclass(slots=True)
class Onward:
    """How a copy goes on from what was seen."""

    seen: Seen | None = None
    findings: list[Finding] = field(default_factory=list)

    def asked(
        self, name: str, entries: Callable[[int], Iterator[bytes]], first: int, last: bytes | None
    ) -> Iterator[bytes]:
        """The entries from `first` on, of a copy that can be asked for them.

        Args:
            last: hash of the leaf before them, where it is known.
        """
        if not first or last is None:
            yield from entries(first)
        else:
            yield from self._after(name, entries(first - 1), first, last)

    def _after(
        self, name: str, entries: Iterator[bytes], first: int, last: bytes
    ) -> Iterator[bytes]:
        again = next(entries, None)
        if again is None:
            if self.seen is not None and first <= self.seen.size:
                self.findings.append(shorter(first - 1, self.seen, f" at {name}"))
        elif entry_hash(leaf_of(again)) != last:
            text = f"another entry stands at {name} than the one that you have seen there"
            self.findings.append(_finding(first, "rewritten", text))
        else:
            yield from entries

    def passing(self, name: str, entries: Iterator[bytes], first: int) -> Iterator[bytes]:
        """The entries from `first` on, of a copy that passes as a whole."""
        frontier, seen = Frontier(), self.seen
        for index, entry in enumerate(entries):
            if seen is not None and index < seen.size:
                frontier = frontier.push(entry_hash(leaf_of(entry)))
                if frontier.size == seen.size and frontier.root() != seen.root:
                    self.findings.append(rewritten(seen, frontier.root(), f" at {name}"))
                    return
            if index >= first:
                yield entry
        if seen is not None and frontier.size < seen.size:
            self.findings.append(shorter(frontier.size, seen, f" at {name}"))


def shorter(entries: int, seen: Seen, where: str = "") -> Finding:
    """The log ends before what was seen of it."""
    text = f"the log ends after {entries} entries{where}; when you last audited it, it had "
    return _finding(entries, "shorter", f"{text}{seen.size}")


def rewritten(seen: Seen, root: bytes | None, where: str = "") -> Finding:
    """The log has another past than the one that was seen."""
    text = (
        f"when you last audited this log, its first {seen.size} entries had root "
        f"{seen.root.hex()[:16]}; now they have {root.hex()[:16] if root else 'none'}{where}"
    )
    return _finding(seen.size, "rewritten", text)


def _finding(size: int, rule: str, text: str) -> Finding:
    """A finding about the first `size` entries."""
    return Finding(
        severity=Severity.BROKEN, entry=max(0, size - 1), sequence=0, cycle=0, rule=rule, text=text
    )
