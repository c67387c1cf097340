"""The chain beside the log: every final block of the log stands on it, and no other does.

Blocks come as certified headers, verified as a light client verifies them (chain/light/follow.py),
in the order of their heights, while the log is replayed.  A server may be behind the log, or ahead
of this copy of it; what is proven on the chain and is not in the log, or the other way round, is a
finding.
Source: docs/PROTOCOL.md, "Blocks"; docs/AUDITING.md, "The chain beside the log".
Pure: `ask` brings the headers; memory for one page of them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from bft.errors import DecodeError, Refused, Unavailable
from chain.audit.books import Books
from chain.audit.findings import Finding, Severity
from chain.audit.roots import Roots
from chain.light.follow import LightChain, begin, follow
from chain.records.block import CertifiedHeader, decode_certified_header
from chain.records.certificate import BODY_BYTES
from chain.records.federation import Genesis
from chain.validation import ParentView

Ask = Callable[[int], Sequence[bytes]]
"""Encoded certified headers from a height on, as many as the server gives; raises Unavailable,
DecodeError, FileNotFoundError."""


@dataclass(slots=True)
class Chain:
    """One server's chain, as far as it was compared."""

    name: str  # URL
    first: int = 0  # height of the first block that was compared, and
    last: int = 0  # of the last; 0: none was
    state: str = "same"  # then "shorter", "longer", "other" or "lost"
    text: str = ""
    findings: list[Finding] = field(default_factory=list)

    def line(self) -> str:
        """For people."""
        why = f"; {self.text}" if self.text else ""
        if not self.last:
            compared = "no block was compared"
        elif self.first == self.last:
            compared = f"block {self.last} is that of the log"
        else:
            compared = f"blocks {self.first} to {self.last} are those of the log"
        return f"chain at {self.name}: {compared}{why}"


class BlockCheck:
    """Follows one server's chain beside the replay."""

    def __init__(self, name: str, ask: Ask, genesis: Genesis, books: Books) -> None:
        """`books`: where the replay begins; they change while it goes on."""
        self.chain = Chain(name)
        self._ask_for, self._genesis, self._books = ask, genesis, books
        self._start = ParentView(hash=books.tip_hash, height=books.tip_height, time=books.tip_time)
        self._height = books.tip_height  # compared as far as this
        self._light: LightChain | None = None
        self._headers: dict[int, CertifiedHeader] = {}  # by height, above `_height`

    def after_entry(self) -> None:
        """One more entry was replayed."""
        books = self._books
        if books.tip_height > self._height and self.chain.state == "same":
            self._compare(books)
        self._height = books.tip_height

    def finish(self, entries: int, roots: Roots) -> None:
        """The log ends after `entries`: what the chain has beyond its last block."""
        height = self._books.tip_height + 1
        while self.chain.state == "same":
            header = self._header(height)
            if header is None or self._goes_beyond(header, entries, roots):
                return
            height += 1

    def _compare(self, books: Books) -> None:
        """The log's newest final block stands on the chain."""
        height = books.tip_height
        header = self._header(height)
        if self.chain.state != "same":
            return
        if header is not None and header.hash == books.tip_hash:
            self.chain.first = self.chain.first or height
            self.chain.last = height
        elif header is not None and self._light is not None and self._light.proven.height >= height:
            shown = header.hash[::-1].hex()[:16]
            self._find(
                f"block {height} of the chain is {shown} of cycle {header.certificate.cycle}; "
                f"in the log it is {books.tip_hash[::-1].hex()[:16]}"
            )
        else:
            self.chain.state, self.chain.text = "shorter", f"it ends before block {height}"
        self._headers = {place: self._headers[place] for place in self._headers if place > height}

    def _goes_beyond(self, header: CertifiedHeader, entries: int, roots: Roots) -> bool:
        """Whether the comparison ends with this header, of which the log has no final block."""
        certificate, books = header.certificate, self._books
        height = certificate.height
        if certificate.log_size > entries:
            self.chain.state = "longer"
            self.chain.text = f"it goes on with block {height}, certified after this copy's end"
            return True
        root, running = roots.at(certificate.log_size), books.now.certificate[:BODY_BYTES]
        if root is not None and root != certificate.log_root:
            self._find(
                f"the certificate of block {height} names root {certificate.log_root.hex()[:16]} "
                f"over {certificate.log_size} entries; here it is {root.hex()[:16]}"
            )
        elif height > books.tip_height + 1:
            self._find(f"block {height - 1} is proven on the chain; the log has no such block")
        elif (certificate.cycle, certificate.rank) >= (books.cycle, books.now.rank) and (
            certificate.body() != running
        ):  # an older one is of a rank that was voided, and nothing stands on it
            where = f"cycle {certificate.cycle}, rank {certificate.rank}"
            self._find(f"block {height} has a certificate of {where} that the log has not")
        return self.chain.state != "same"

    def _header(self, height: int) -> CertifiedHeader | None:
        """The chain's block at a height, if the server has it."""
        try:
            while self._light is None or self._light.proven.height < height:
                if not self._go_on():
                    break
        except (Unavailable, DecodeError, Refused, FileNotFoundError) as error:
            self.chain.state, self.chain.text = "lost", f"not compared further: {error}"
            return None
        return self._headers.get(height)

    def _go_on(self) -> bool:
        """Ask for what follows the newest proven block; whether another one is proven now."""
        if self._books.key is None:
            return False
        if self._light is None:
            fresh = begin(self._genesis, self._books.key.key)
            self._light = replace(fresh, proven=self._start)
        before = self._light.proven.height
        page = self._ask_for(before + 1)
        self._light = follow(replace(self._light, tip=None), page)
        for header in map(decode_certified_header, page):
            if header.certificate.height > self._height:
                self._headers[header.certificate.height] = header
        return self._light.proven.height > before

    def _find(self, text: str) -> None:
        self.chain.state, self.chain.text = "other", text
        self.chain.findings.append(
            Finding(
                severity=Severity.BROKEN,
                entry=self._books.entry,
                sequence=self._books.sequence,
                cycle=self._books.cycle,
                rule="chain",
                text=f"{self.chain.name}: {text}",
            )
        )
