"""Certified headers above the blocks that are here: what is fetched, from whom, in which order.

Headers come first, each with a verified certificate, so a chain of them is what the federation made
and nobody's guess: header N + 1 proves block N.  Bodies then come from all peers that have them, in
any order within a window, and are connected in runs.
Source: Bitcoin Core, net_processing.cpp (`FindNextBlocksToDownload`); docs/PROTOCOL.md, "Blocks".
Pure.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from chain.records.block import CertifiedHeader
from chain.records.evidence import FederationFault, contradict, federation_fault
from chain.validation import ParentView

HEADERS_AHEAD_MAX = 2_048  # about 1 kB each; more are asked for when half of them are done
WINDOW = 64  # bodies that are asked for or wait here, of at most 1 MiB each
RUN = 16  # bodies that are connected, and saved, in one step


@dataclass(frozen=True, slots=True)
class Body:
    """A block's bytes that wait for those before it."""

    peer: int  # who brought it, and answers for it
    data: bytes


def view_of(certified: CertifiedHeader) -> ParentView:
    """A header as the next one's parent."""
    return ParentView(
        hash=certified.hash, height=certified.certificate.height, time=certified.header.time
    )


class HeaderChain:
    """Headers, each on the one before; the first on a block of the tree."""

    def __init__(self) -> None:
        self._headers: dict[bytes, CertifiedHeader] = {}  # by hash, ascending
        self._at: dict[int, bytes] = {}  # height -> hash
        self.bodies: dict[bytes, Body] = {}

    def __len__(self) -> int:
        return len(self._headers)

    def __contains__(self, block: object) -> bool:
        return block in self._headers

    def find(self, block: bytes) -> ParentView | None:
        """A header as a parent."""
        found = self._headers.get(block)
        return None if found is None else view_of(found)

    def header(self, block: bytes) -> CertifiedHeader | None:
        """With this hash."""
        return self._headers.get(block)

    @property
    def height(self) -> int:
        """Of the highest header; 0 where there is none."""
        return max(self._at, default=0)

    @property
    def proven(self) -> ParentView | None:
        """The highest header that another one stands on."""
        found = self._at.get(self.height - 1)
        return None if found is None else self.find(found)

    @property
    def full(self) -> bool:
        """No more headers are to be asked for now."""
        return len(self._headers) >= HEADERS_AHEAD_MAX

    def fault_of(self, certified: CertifiedHeader) -> FederationFault | None:
        """A contradiction between this verified certificate and that of a header here."""
        known = self._at.get(certified.certificate.height)
        if known is None:
            return None
        other = self._headers[known]
        if not contradict(other.certificate, certified.certificate):
            return None
        return federation_fault(other.coinbase.certificate, certified.coinbase.certificate)

    def extend(self, headers: Iterable[CertifiedHeader]) -> None:
        """Valid headers, each on the one before, the first on one here or on a block of the tree.

        They take the place of another header only where they lead further: the federation builds
        on one block of each height.
        """
        headers = list(headers)
        first = headers[0].certificate.height
        if headers[-1].certificate.height <= self.height:
            return
        self._cut(first)
        for certified in headers:
            self._headers[certified.hash] = certified
            self._at[certified.certificate.height] = certified.hash

    def _cut(self, height: int) -> None:
        while self._at and self.height >= height:
            block = self._at.pop(self.height)
            del self._headers[block]
            self.bodies.pop(block, None)

    def settle(self, has: Callable[[bytes], bool], final: int) -> None:
        """The tree has grown: what it `has`, or what is not above `final`, is done with."""
        for block, certified in list(self._headers.items()):
            if not (has(block) or certified.certificate.height <= final):
                if not has(certified.header.previous):
                    self.clear()  # a branch that was not taken
                return
            del self._headers[block]
            del self._at[certified.certificate.height]
            self.bodies.pop(block, None)

    def clear(self) -> None:
        """Nothing is here."""
        self._headers.clear()
        self._at.clear()
        self.bodies.clear()

    # Bodies

    def missing(self) -> Iterator[tuple[int, bytes]]:
        """(height, hash) of the window's headers without a body, ascending."""
        for _, (block, certified) in zip(range(WINDOW), self._headers.items(), strict=False):
            if block not in self.bodies:
                yield certified.certificate.height, block

    def wants(self, block: bytes) -> bool:
        """Whether this body is missing, and its turn is near enough to keep it."""
        if block not in self._headers or block in self.bodies:
            return False
        return any(block == each for _, each in self.missing())

    def run(self, *, all_there: bool = False) -> list[tuple[CertifiedHeader, Body]]:
        """The next bodies to connect: RUN of them, or fewer if nothing follows or `all_there`."""
        found: list[tuple[CertifiedHeader, Body]] = []
        for block, certified in self._headers.items():
            body = self.bodies.get(block)
            if body is None or len(found) == RUN:
                break
            found.append((certified, body))
        whole = len(found) in (RUN, len(self._headers))
        return found if whole or all_there else []
