"""The block tree: what is final, which blocks compete on top of it, and which of them is the tip.

A certificate's parent is a final block, because the federation certifies on its finalised tip only.
So a valid child makes its parent final, and what is not yet final is never deeper than one block:
the tree is the final tip and the candidates on it.  A reorganisation replaces a candidate, and
never reaches below the final tip.

Fork choice among candidates: the latest cycle (its certificate shows that earlier cycles at this
height were closed without a block), then the lowest rank, then the smaller hash.
Source: docs/PROTOCOL.md, "Blocks"; design notes on finality.
Pure: blocks that come in here are valid (chain/validation.py).
"""

from dataclasses import dataclass, replace

from bft.errors import Refused
from chain.records.block import CertifiedHeader
from chain.records.evidence import (
    Equivocation,
    FederationFault,
    Finality,
    contradict,
    equivocation,
    federation_fault,
    signed_once,
)
from chain.validation import ParentView

CANDIDATES_MAX = 64  # blocks on the final tip, over all its ranks and cycles
BLOCKS_PER_CERTIFICATE_MAX = 2  # the first, and one more as evidence


@dataclass(frozen=True, kw_only=True, slots=True)
class TipChanged:
    """The best block is another one now.  Hashes; `disconnected` from the top down."""

    view: ParentView
    disconnected: tuple[bytes, ...]
    connected: tuple[bytes, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Finalised:
    """This block is final; others at its height have lost."""

    view: ParentView


Change = TipChanged | Finalised | Equivocation | FederationFault


@dataclass(frozen=True, slots=True)
class BlockTree:
    """Immutable; steps return the next tree with what changed."""

    final: ParentView
    final_certified: CertifiedHeader | None = None  # None: block 0
    finality: Finality | None = None  # the federation's word on `final`, where we have it
    candidates: tuple[CertifiedHeader, ...] = ()  # all on `final`, in order of arrival

    @property
    def best(self) -> CertifiedHeader | None:
        """The best candidate."""
        return max(self.candidates, key=_preference, default=None)

    @property
    def tip(self) -> ParentView:
        """The best block: a candidate, or the final one."""
        best = self.best
        return self.final if best is None else _view(best)

    def find(self, block: bytes) -> ParentView | None:
        """A block of the tree, as a parent."""
        if block == self.final.hash:
            return self.final
        found = self._candidate(block)
        return None if found is None else _view(found)

    def _candidate(self, block: bytes) -> CertifiedHeader | None:
        return next((c for c in self.candidates if c.hash == block), None)

    def fault_of(self, certified: CertifiedHeader) -> FederationFault | None:
        """A contradiction between this verified certificate and what the federation said before."""
        mine = certified.coinbase.certificate
        known = [c for c in (*self.candidates, self.final_certified) if c is not None]
        for other in known:
            if contradict(other.certificate, certified.certificate):
                return federation_fault(other.coinbase.certificate, mine)
        if self.finality is not None and contradict(self.finality, certified.certificate):
            return federation_fault(self.finality.encode(), mine)
        return None

    def fault_of_finality(self, finality: Finality) -> FederationFault | None:
        """A contradiction between this verified finality and what the federation said before."""
        if self.finality is not None and contradict(self.finality, finality):
            return federation_fault(self.finality.encode(), finality.encode())
        for other in self.candidates:
            if contradict(other.certificate, finality):
                return federation_fault(other.coinbase.certificate, finality.encode())
        return None

    def add(
        self, certified: CertifiedHeader, *, wanted: bool = False
    ) -> tuple["BlockTree", tuple[Change, ...]]:
        """The tree with one more valid block.

        Args:
            certified: of a block that is valid on its parent in this tree.
            wanted: the federation finalised this very block, so no bound keeps it out.

        Raises:
            Refused: "stale" (at or below the final height), "unknown-parent", or "too-many".
        """
        if self.find(certified.hash) is not None:
            return self, ()
        if self.final_certified is not None and _same_certificate(self.final_certified, certified):
            if signed_once(self.final_certified, certified):
                raise Refused("stale", "that block's contents are final already")
            return self, (equivocation(self.final_certified, certified),)
        if certified.certificate.height <= self.final.height:
            raise Refused("stale", f"height {self.final.height} is final already")
        parent = certified.header.previous
        if self.find(parent) is None:
            raise Refused("unknown-parent", f"no block {parent[::-1].hex()[:16]} to build on")
        tree, changes = self._finalise_candidate(parent)
        twins = [twin for twin in tree._twins(certified) if not signed_once(twin, certified)]
        changes += tuple(equivocation(twin, certified) for twin in twins[:1])
        if not wanted:
            tree.check_twins(certified)
        tree = replace(tree, candidates=(*tree.candidates, certified))
        if len(tree.candidates) > CANDIDATES_MAX:
            keep = certified.hash if wanted else tree.tip.hash
            worst = min((c for c in tree.candidates if c.hash != keep), key=_preference)
            if worst is certified:
                raise Refused("too-many", f"{CANDIDATES_MAX} better blocks are known already")
            rest = tuple(c for c in tree.candidates if c is not worst)
            tree = replace(tree, candidates=rest)
        return tree, (*changes, *_tip_change(self, tree))

    def _twins(self, certified: CertifiedHeader) -> list[CertifiedHeader]:
        return [c for c in self.candidates if _same_certificate(c, certified)]

    def check_twins(self, certified: CertifiedHeader) -> None:
        """Raises Refused: "too-many" other blocks of this certificate are here."""
        if len(self._twins(certified)) >= BLOCKS_PER_CERTIFICATE_MAX:
            raise Refused("too-many", "two blocks of this certificate are known already")

    def finalise(self, finality: Finality) -> tuple["BlockTree", tuple[Change, ...]]:
        """The tree after the federation's verified word on one of its blocks.

        Raises:
            Refused: "stale" (below the final height), or "unknown-block" at that height.
        """
        if finality.height < self.final.height:
            raise Refused("stale", f"height {self.final.height} is final already")
        found = self.find(finality.block)
        if found is None or found.height != finality.height:
            raise Refused(
                "unknown-block",
                f"no block {finality.block[::-1].hex()[:16]} at height {finality.height} here",
            )
        tree, changes = self._finalise_candidate(finality.block)
        tree = replace(tree, finality=finality)
        return tree, (*changes, *_tip_change(self, tree))

    def _finalise_candidate(self, block: bytes) -> tuple["BlockTree", tuple[Change, ...]]:
        found = self._candidate(block)
        if found is None:
            return self, ()
        tree = BlockTree(final=_view(found), final_certified=found)
        return tree, (Finalised(view=tree.final),)


def _view(certified: CertifiedHeader) -> ParentView:
    return ParentView(
        hash=certified.hash,
        height=certified.certificate.height,
        time=certified.header.time,
    )


def _preference(certified: CertifiedHeader) -> tuple[int, int, int]:
    """Greater is better."""
    certificate = certified.certificate
    return certificate.cycle, -certificate.rank, -int.from_bytes(certified.hash, "big")


def _same_certificate(one: CertifiedHeader, other: CertifiedHeader) -> bool:
    return one.coinbase.certificate == other.coinbase.certificate


def _tip_change(before: BlockTree, after: BlockTree) -> tuple[TipChanged, ...]:
    """What to undo and what to apply, from one tip to the other, above `before.final`."""
    old, new = _path(before, before.final), _path(after, before.final)
    common = 0
    while old[common : common + 1] == new[common : common + 1] != ():
        common += 1
    if old == new:
        return ()
    undone, applied = tuple(reversed(old[common:])), new[common:]
    return (TipChanged(view=after.tip, disconnected=undone, connected=applied),)


def _path(tree: BlockTree, base: ParentView) -> tuple[bytes, ...]:
    """Hashes from above `base`, which is `tree.final` or its parent, up to the tip."""
    final = () if tree.final == base else (tree.final.hash,)
    return final if tree.best is None else (*final, tree.best.hash)
