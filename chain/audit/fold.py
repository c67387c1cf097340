"""The auditor's fold: from ordered requests to the derived leaves that must follow them.

Independent of the machine that it checks: neither the coordinator nor the PBFT engine is imported.
Pure.
"""

from collections.abc import Callable, Sequence
from typing import Any

from bft.codec.canonical import Record
from bft.dkg.messages import DkgComplaint, DkgDealing, DkgKeys, DkgReady
from bft.errors import DecodeError
from bft.ordering.request import Request
from chain.audit.books import TIMED, Books
from chain.audit.ceremony import hear_ceremony, move_activation, move_keygen
from chain.audit.certify import (
    hear_block,
    hear_vote,
    move_aggregation,
    move_block,
    move_certification,
    move_finality,
)
from chain.audit.epochs import FROM_ANYBODY, end_epoch, move_change
from chain.audit.measure import hear_table, move_challenge, move_draw, move_evaluation
from chain.audit.signing import hear_share
from chain.audit.window import RequestWindow
from chain.audit.work import (
    hear_commitment,
    hear_evidence,
    hear_register,
    hear_reveal,
    move_registration,
    move_reveal,
    move_training,
)
from chain.records.commands import split_operations
from chain.records.contribution import Register, UpdateCommitment, UpdateReveal
from chain.records.conviction import ShowEvidence
from chain.records.evaluation import EvaluationTable, SnapshotVote
from chain.records.federation import Genesis
from chain.records.operations import decode_operation
from chain.records.phase import Phase
from chain.records.score_log import entry_hash
from chain.records.votes import BlockSeen, Elapsed, SignatureShare


def hear_elapsed(books: Books, author: int, elapsed: Elapsed) -> bool:
    """A replica's clock counts for exactly this phase and attempt, once, where time runs."""
    counts = (
        books.phase in TIMED
        and (elapsed.cycle, elapsed.phase) == (books.cycle, books.phase)
        and elapsed.attempt == books.attempt
        and author not in books.elapsed
    )
    if counts:
        books.elapsed.add(author)
    return counts


FROM_CLIENTS: dict[type[Record], Callable[[Books, bytes, Any], bool]] = {
    Register: hear_register,
    UpdateCommitment: hear_commitment,
    UpdateReveal: hear_reveal,
    ShowEvidence: hear_evidence,
}
FROM_REPLICAS: dict[type[Record], Callable[[Books, int, Any], bool]] = {
    **dict.fromkeys((DkgKeys, DkgDealing, DkgComplaint, DkgReady), hear_ceremony),
    EvaluationTable: hear_table,
    SnapshotVote: hear_vote,
    SignatureShare: hear_share,
    Elapsed: hear_elapsed,
    BlockSeen: hear_block,
}
MOVES: dict[Phase, Callable[[Books], bool]] = {
    Phase.KEYGEN: move_keygen,
    Phase.ACTIVATION: move_activation,
    Phase.REGISTRATION: move_registration,
    Phase.TRAINING: move_training,
    Phase.REVEAL: move_reveal,
    Phase.CHALLENGE: move_challenge,
    Phase.EVALUATION: move_evaluation,
    Phase.DRAW: move_draw,
    Phase.AGGREGATION: move_aggregation,
    Phase.CERTIFICATION: move_certification,
    Phase.BLOCK: move_block,
    Phase.FINALITY: move_finality,
}


class Fold:
    """What follows, batch after batch."""

    def __init__(self, genesis: Genesis) -> None:
        self.books = Books(genesis)
        self.window = RequestWindow()

    def apply(
        self, entry: int, leaf: bytes, sequence: int, agreed_ms: int, requests: Sequence[Request]
    ) -> tuple[Record, ...]:
        """The derived records that must follow the ordered `leaf` (encoded) at index `entry`.

        Raises:
            Underivable: see chain/audit/certify.py.
        """
        books = self.books
        books.entry, books.sequence, books.agreed_ms = entry, sequence, agreed_ms
        books.derived = []
        books.frontier = books.frontier.push(entry_hash(leaf))
        for request in requests:
            if self.window.fresh(request.client, request.cseq) and self._hear_request(request):
                self.window.mark(request.client, request.cseq)
        if end_epoch(books):
            self._move_on()
        return tuple(books.derived)

    def _move_on(self) -> None:
        """Through the phases, and on with a change of members, until both have to wait."""
        moved = True
        while moved:
            cycle = MOVES[self.books.phase](self.books)
            moved = move_change(self.books) or cycle

    def _hear_request(self, request: Request) -> bool:
        """Whether one of the request's operations counts; each moves the phases on for itself."""
        try:
            operations = split_operations(request.operation)
        except DecodeError:
            return False
        counts = False
        for operation in operations:
            if self._hear(request.client, operation):
                counts = True
                self._move_on()
        return counts

    def _hear(self, client: bytes, encoded: bytes) -> bool:
        """Whether one operation of `client` counts."""
        try:
            operation = decode_operation(encoded)
        except DecodeError:
            return False
        kind = type(operation)
        if kind in FROM_ANYBODY and self.books.phase >= Phase.REGISTRATION:
            return FROM_ANYBODY[kind](self.books, client, operation)
        if kind in FROM_CLIENTS:
            return FROM_CLIENTS[kind](self.books, client, operation)
        author = self.books.membership.index_by_key.get(client)
        hear = FROM_REPLICAS.get(kind)
        return author is not None and hear is not None and hear(self.books, author, operation)
