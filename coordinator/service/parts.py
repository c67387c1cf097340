"""One miner's part of the records that list all units of a cycle.

Thousands of miners ask in the same second, each for its own rows: a record is sorted by miner once,
its Merkle tree is built once, and both are kept while the record is new.
Pure.
"""

from bft.codec.canonical import encode
from bft.crypto.merkle import Tree
from chain.records.contribution import WorkUnit
from chain.records.score_log import Assigned, Scored


class AssignedParts:
    """An assignment, by miner."""

    def __init__(self, record: Assigned) -> None:
        self._record = record
        self._of: dict[bytes, list[WorkUnit]] = {}
        for unit in record.units:
            self._of.setdefault(unit.miner, []).append(unit)

    def of(self, miner: bytes) -> Assigned:
        """The assignment with this miner's units only; it may have none."""
        record = self._record
        return Assigned(
            cycle=record.cycle,
            seed=record.seed,
            base=record.base,
            units=tuple(self._of.get(miner, ())),
        )


class ScoredParts:
    """A cycle's scores, by miner, and the tree whose root the certificate has."""

    def __init__(self, record: Scored) -> None:
        self._record = record
        self.leaves = [encode(row) for row in record.rows]
        self._tree = Tree(self.leaves)
        self._of: dict[bytes, list[int]] = {}
        for index, row in enumerate(record.rows):
            self._of.setdefault(row.miner, []).append(index)

    @property
    def root(self) -> bytes:
        """32 bytes, the contributions root."""
        return self._record.contributions_root

    def tickets(self, index: int) -> int:
        """Of the row at `index`."""
        return self._record.rows[index].tickets

    def indices(self, miner: bytes) -> tuple[int, ...]:
        """Where this miner's rows stand, ascending."""
        return tuple(self._of.get(miner, ()))

    def proof(self, index: int) -> tuple[bytes, ...]:
        """That the row at `index` stands there; see `bft.crypto.merkle.verify_inclusion`."""
        return self._tree.proof(index)

    def of(self, miner: bytes) -> Scored:
        """The scores with this miner's rows only; it may have none."""
        record = self._record
        return Scored(
            cycle=record.cycle,
            evaluators=record.evaluators,
            references=record.references,
            rows=tuple(record.rows[index] for index in self.indices(miner)),
            tickets_total=record.tickets_total,
            contributions_root=record.contributions_root,
            struck=tuple(key for key in record.struck if key == miner),
        )
