"""Coins after blocks that are taken in but not saved yet.

What the store has, under one flat layer for blocks that became final in this step, under one for
the candidate that is asked about.  Pure.
"""

from collections.abc import Callable

from chain.bitcoin.ledger import After, Coins, Overlay
from chain.records.block import Block
from chain.tree import BlockTree
from chain.validation import ParentView


class _Flat(Overlay):
    """Final blocks above those whose coins are saved."""

    def __init__(self, saved: Coins) -> None:
        super().__init__(saved)
        self.base = saved.height
        self._times: dict[int, int] = {}

    def time(self, height: int) -> int:
        """As `Coins.time`."""
        known = self._times.get(height)
        return super().time(height) if known is None else known

    def absorb(self, after: After) -> None:
        """One more block, which was counted on these coins."""
        changes = after.changes
        for outpoint, coin in changes.spent.items():
            self.spend(outpoint, coin)
        self.created |= changes.created
        self.height = after.height
        self._times[after.height] = after.time(after.height)


class CoinsAhead:
    """Answers for any block of the tree."""

    def __init__(self, saved: Coins, find: Callable[[bytes], Block]) -> None:
        """`saved`: the store's, which grow when it saves; `find`: a block of the tree."""
        self._saved, self._find = saved, find
        self._flat: _Flat | None = None
        self._after: dict[bytes, After] = {}  # candidates on the newest final block

    def after(self, tree: BlockTree, parent: ParentView) -> Coins:
        """The coins as `parent`, final or a candidate, leaves them."""
        final = self._final(tree)
        if parent.hash == tree.final.hash:
            return final
        known = self._after.get(parent.hash)
        if known is None:
            known = self._after[parent.hash] = _after(final, self._find(parent.hash))
        return known

    def _final(self, tree: BlockTree) -> Coins:
        saved, height = self._saved.height, tree.final.height
        if saved >= height:
            if self._flat is not None or any(a.height <= saved for a in self._after.values()):
                self._flat, self._after = None, {}
            return self._saved
        if self._flat is None or self._flat.base != saved:
            if self._flat is not None:
                self._after = {}
            self._flat = _Flat(self._saved)
        if self._flat.height < height:
            self._raise(self._flat, tree.final.hash, height)
        return self._flat

    def _raise(self, flat: _Flat, block: bytes, height: int) -> None:
        path = [self._find(block)]
        while path[-1].certificate.height > flat.height + 1:
            path.append(self._find(path[-1].header.previous))
        for each in reversed(path):
            known = self._after.get(each.hash) if len(path) == 1 else None
            flat.absorb(known or _after(flat, each))
        self._after = {}


def _after(coins: Coins, block: Block) -> After:
    return After(coins, block.transactions, block.certificate.height, block.header.time)
