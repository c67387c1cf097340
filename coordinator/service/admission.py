"""Who may have what ordered through a member's HTTP door.

Miners their work; anybody evidence against a winner; members' operators a change of members; who
is to join what that asks of it.  Members say all else on their links.  What is let in here is
checked by the machine all the same; this keeps out what could never be accepted.
"""

from bft.codec.canonical import Record
from bft.dkg.messages import DkgComplaint, DkgKeys, DkgReady
from bft.errors import Refused
from bft.ordering.request import Request
from chain.barring import judge
from chain.records.commands import split_operations
from chain.records.conviction import ShowEvidence
from chain.records.membership import Approve, Propose, ShareProof, Withdraw
from chain.records.operations import (
    MINER_OPERATIONS,
    PUBLIC_OPERATIONS,
    decode_operation,
)
from coordinator.cycle.phases.membership import replicas
from coordinator.cycle.state import Rules, State

OPERATORS: tuple[type[Record], ...] = (Propose, Approve, Withdraw)
JOINERS: tuple[type[Record], ...] = (DkgKeys, DkgComplaint, DkgReady, ShareProof)


def check_operations(opened: Request, state: State) -> None:
    """Returns if the request's client may say at this door all that stands in it.

    Raises:
        DecodeError: an operation is malformed, or of no known kind.
        Refused: "not-for-clients".
    """
    member = opened.client in state.membership.index_by_key
    joiner = not member and opened.client in replicas(state)
    allowed = OPERATORS if member else JOINERS if joiner else MINER_OPERATIONS
    for encoded in split_operations(opened.operation):
        operation = decode_operation(encoded)
        if not isinstance(operation, (*allowed, *PUBLIC_OPERATIONS)):
            kind = type(operation).__name__
            who = "a member" if member else "who is to join" if joiner else "a client"
            raise Refused("not-for-clients", f"{kind} is nothing that {who} says at this door")


def check_evidence(opened: Request, rules: Rules, state: State) -> None:
    """Returns unless the request holds evidence against a winner that bars nobody here and now.

    A replica checks it once at its door, so that only a faulty member can have all of them do so.

    Raises:
        DecodeError: an operation is malformed, or of no known kind.
        Refused: as `chain.barring.judge`.
    """
    for encoded in split_operations(opened.operation):
        operation = decode_operation(encoded)
        if isinstance(operation, ShowEvidence) and state.federation_key is not None:
            judge(
                operation,
                federation_key=state.federation_key.key,
                chain_id=rules.chain_id,
                cycle=state.cycle,
                standings=state.standings,
                params=rules.params,
            )
