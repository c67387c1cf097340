"""The cycle machine: a deterministic fold over ordered operations.

One table says which operation is taken in which phase and by whom, a second one which in which
stage of a change of members; what is in neither is refused.  After every operation the machine goes
on as far as the state allows.
Pure.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from bft.codec.canonical import Record, decode
from bft.codec.envelope import Envelope
from bft.dkg.messages import DkgComplaint, DkgDealing, DkgKeys, DkgReady
from bft.errors import DecodeError, Refused
from bft.ordering.batch import decode_batch
from bft.ordering.request import Request
from bft.pbft.clients import ClientTable
from chain.records.commands import split_operations
from chain.records.contribution import Register, UpdateCommitment, UpdateReveal
from chain.records.conviction import ShowEvidence
from chain.records.evaluation import EvaluationTable, SnapshotVote
from chain.records.membership import (
    ActivationShare,
    Approve,
    CeremonyElapsed,
    Propose,
    ShareProof,
    Withdraw,
)
from chain.records.operations import (
    MEMBERSHIP_OPERATIONS,
    MINER_OPERATIONS,
    PUBLIC_OPERATIONS,
    decode_operation,
)
from chain.records.score_log import Ordered
from chain.records.votes import BlockSeen, Elapsed, SignatureShare
from coordinator.cycle.draft import Draft
from coordinator.cycle.phases import (
    aggregation,
    barring,
    block,
    certification,
    clock,
    evaluation,
    keygen,
    lottery,
    membership,
    registration,
    resharing,
    reveal,
    signing,
    training,
)
from coordinator.cycle.phases.membership import Stage
from coordinator.cycle.rebase import rebase
from coordinator.cycle.state import Phase, Rules, State

Handler = Callable[[Rules, Draft, Any, Any], Draft]
"""(rules, draft, author, operation) -> draft.  Author: a client's key or a replica's index."""

_ALL = tuple(Phase)
_CYCLE = _ALL[Phase.REGISTRATION :]
_SIGNING = (
    Phase.ACTIVATION,
    Phase.CHALLENGE,
    Phase.DRAW,
    Phase.CERTIFICATION,
    Phase.FINALITY,
)

TABLE: dict[tuple[Phase, type[Record]], Handler] = {
    **{
        (Phase.KEYGEN, kind): keygen.on_message
        for kind in (DkgKeys, DkgDealing, DkgComplaint, DkgReady)
    },
    **{(phase, Register): registration.on_register for phase in _CYCLE},
    **{(phase, ShowEvidence): barring.on_evidence for phase in _CYCLE},
    (Phase.TRAINING, UpdateCommitment): training.on_commitment,
    (Phase.REVEAL, UpdateReveal): reveal.on_reveal,
    (Phase.EVALUATION, EvaluationTable): evaluation.on_table,
    (Phase.AGGREGATION, SnapshotVote): aggregation.on_vote,
    (Phase.BLOCK, BlockSeen): block.on_seen,
    **{(phase, SignatureShare): signing.on_share for phase in _SIGNING},
    **{(phase, Elapsed): clock.on_elapsed for phase in _ALL},
}

CHANGES: dict[tuple[Stage, type[Record]], Handler] = {
    (Stage.NONE, Propose): membership.on_propose,
    (Stage.PROPOSED, Approve): membership.on_approve,
    (Stage.PROPOSED, Withdraw): membership.on_withdraw,
    **{
        (Stage.RESHARING, kind): resharing.on_message
        for kind in (DkgKeys, DkgDealing, DkgComplaint, DkgReady)
    },
    (Stage.RESHARING, CeremonyElapsed): resharing.on_elapsed,
    (Stage.PROOF, CeremonyElapsed): resharing.on_elapsed,
    (Stage.PROOF, ShareProof): resharing.on_proof,
    (Stage.ACTIVATION, ActivationShare): resharing.on_share,
}
"""From the first cycle on.  Author: an identity key, of a member or of one that is to be."""

ADVANCE: dict[Phase, Callable[[Rules, Draft], Draft]] = {
    Phase.KEYGEN: keygen.advance_keygen,
    Phase.ACTIVATION: keygen.advance_activation,
    Phase.REGISTRATION: registration.advance,
    Phase.TRAINING: training.advance,
    Phase.REVEAL: reveal.advance,
    Phase.CHALLENGE: evaluation.advance_challenge,
    Phase.EVALUATION: evaluation.advance_evaluation,
    Phase.DRAW: lottery.advance,
    Phase.AGGREGATION: aggregation.advance,
    Phase.CERTIFICATION: certification.advance,
    Phase.BLOCK: block.advance_block,
    Phase.FINALITY: block.advance_finality,
}


ACCEPTED = "accepted"
MIXED = "mixed"


class Outcome(NamedTuple):
    """What became of one operation."""

    code: str  # ACCEPTED, or a refusal's word
    text: str


class Answer(NamedTuple):
    """What became of one request."""

    client: bytes
    cseq: int
    epoch: int  # whose members decided it
    sequence: int  # of the batch that executed it
    outcomes: tuple[Outcome, ...]  # one an operation; one alone if all were refused as a whole

    @property
    def accepted(self) -> bool:
        """Whether an operation of it was: then the request is not executed again."""
        return any(outcome.code == ACCEPTED for outcome in self.outcomes)

    @property
    def code(self) -> str:
        """The outcomes' word; MIXED where they differ."""
        first = self.outcomes[0].code
        return first if all(outcome.code == first for outcome in self.outcomes) else MIXED

    @property
    def text(self) -> str:
        """Why, for people; empty where the outcomes differ."""
        return "" if self.code == MIXED else self.outcomes[0].text


class Executed(NamedTuple):
    """One batch's effects."""

    state: State
    records: tuple[Record, ...]  # new leaves of the score log, the batch's own first
    answers: tuple[Answer, ...]  # one a request, in order


def execute(
    rules: Rules, state: State, clients: ClientTable, sequence: int, batch: bytes
) -> Executed:
    """Apply a decided batch.  The client table is updated in place."""
    assert sequence == state.sequence + 1, "batches execute in order, each once"
    decoded = decode_batch(batch)
    agreed_ms = max(state.agreed_ms, decoded.timestamp_ms)
    draft = Draft(state.set(sequence=sequence, agreed_ms=agreed_ms))
    draft = draft.log(Ordered(sequence=sequence, agreed_ms=agreed_ms, batch=batch))
    answers = []
    for sealed in decoded.requests:
        # A strong quorum has verified the signature before the batch could be decided.
        request = decode(Request, decode(Envelope, sealed).body)
        draft, answer = _execute_request(rules, draft, clients, sequence, request)
        answers.append(answer)
    successor = draft.state.successor
    if successor is not None and sequence == successor.boundary:
        draft = advance(rules, Draft(state=rebase(draft.state), records=draft.records))
    return Executed(state=draft.state.settled(state), records=draft.records, answers=tuple(answers))


def _execute_request(
    rules: Rules, draft: Draft, clients: ClientTable, sequence: int, request: Request
) -> tuple[Draft, Answer]:
    client, cseq, epoch = request.client, request.cseq, draft.state.membership.epoch
    outcomes: list[Outcome] = []
    if not clients.fresh(client, cseq):
        text = f"sequence number {cseq} was executed or is too old"
        outcomes.append(Outcome("executed-before", text))
        return draft, Answer(client, cseq, epoch, sequence, tuple(outcomes))
    try:
        for operation in split_operations(request.operation):
            draft, outcome = _execute_operation(rules, draft, client, operation)
            outcomes.append(outcome)
    except DecodeError as error:
        outcomes.append(Outcome("malformed", str(error)))
    answer = Answer(client, cseq, epoch, sequence, tuple(outcomes))
    if answer.accepted:
        clients.mark(client, cseq, sequence)
    return draft, answer


def _execute_operation(
    rules: Rules, draft: Draft, client: bytes, operation: bytes
) -> tuple[Draft, Outcome]:
    try:
        after = apply(rules, draft, client, decode_operation(operation))
    except Refused as error:
        return draft, Outcome(error.code, str(error))
    except DecodeError as error:
        return draft, Outcome("malformed", str(error))
    return after, Outcome(ACCEPTED, "")


def apply(rules: Rules, draft: Draft, client: bytes, operation: Record) -> Draft:
    """One operation, and everything that follows from it.

    Raises:
        Refused: not this client's to say, not in this phase, or against the phase's rule.
    """
    kind, phase = type(operation), Phase(draft.state.phase)
    if phase >= Phase.REGISTRATION:
        change = CHANGES.get((membership.stage(draft.state), kind))
        if change is not None:
            return advance(rules, change(rules, draft, client, operation))
    if kind in MEMBERSHIP_OPERATIONS:
        where = membership.stage(draft.state).name
        raise Refused("wrong-stage", f"{kind.__name__} came; a change of members is in {where}")
    handler = TABLE.get((phase, kind))
    if handler is None:
        raise Refused("wrong-phase", f"{kind.__name__} came; the cycle is in {phase.name}")
    if kind in (*MINER_OPERATIONS, *PUBLIC_OPERATIONS):
        return advance(rules, handler(rules, draft, client, operation))
    index = draft.state.membership.index_by_key.get(client)
    if index is None:
        raise Refused("not-a-replica", f"only a replica may say {kind.__name__}")
    return advance(rules, handler(rules, draft, index, operation))


def advance(rules: Rules, draft: Draft) -> Draft:
    """Go on through the phases, and with a change of members, until both have to wait."""
    while True:
        after = resharing.advance(rules, ADVANCE[Phase(draft.state.phase)](rules, draft))
        if after is draft:
            return draft
        draft = after
