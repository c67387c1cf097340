"""How the federation's members stand, for operators: the epoch, and the change under way."""

from typing import Any

from aiohttp import web

from bft.codec.canonical import encode
from bft.dkg.messages import Phase, Role
from chain.federation import api
from chain.records.federation import MemberRecord
from coordinator.cycle.phases.membership import Stage, stage
from coordinator.cycle.state import State
from coordinator.service.standing import Standing


class MembershipApi:
    """Handler of one route."""

    def __init__(self, standing: Standing) -> None:
        self._standing = standing

    def routes(self) -> list[web.RouteDef]:
        """For the application."""
        return [web.get(api.MEMBERSHIP, self.get_membership)]

    async def get_membership(self, request: web.Request) -> web.Response:
        """JSON; nothing in it is proven, but what is proposed is there in full."""
        told = membership(self._standing.replica.state)
        return web.json_response(told, headers={"Cache-Control": "no-store"})


def membership(state: State) -> dict[str, Any]:
    """The members of the epoch that runs, and what is to change."""
    return {
        "epoch": state.epoch,
        "began": state.began,
        "sequence": state.sequence,
        "log_size": state.log.size,
        "stage": stage(state).name.lower(),
        "members": [encode(member).hex() for member in state.members],
        "operators": names(state.members),
        "without_share": without_share(state),
        "change": change(state),
        "ending": ending(state),
    }


def names(members: tuple[MemberRecord, ...]) -> list[str]:
    """Their operators."""
    return [member.operator.decode("utf-8", "replace") for member in members]


def without_share(state: State) -> list[int]:
    """Members that got no key share in this epoch: they were silent when it was made."""
    if state.federation_key is None:
        return []
    holders = state.transcript.holders
    return [index for index in range(len(state.members)) if index not in holders]


def change(state: State) -> dict[str, Any] | None:
    """The open change of members."""
    opened = state.change
    if opened is None:
        return None
    proposal = opened.proposal
    told: dict[str, Any] = {
        "proposal": encode(proposal).hex(),
        "digest": proposal.digest.hex(),
        "epoch": proposal.epoch,
        "operators": names(proposal.members),
        "reason": proposal.reason.decode("utf-8", "replace"),
        "proposer": state.membership.index_by_key.get(opened.proposer),
        "approvals": list(opened.approvals),
        "approvals_needed": state.membership.strong,
        "stage": stage(state).name.lower(),
    }
    session = opened.transcript
    if session is None:
        return told
    present = {member.key: member for member in (*proposal.members, *state.members)}
    awaited = [session.members[index] for index in session.awaited]
    if session.phase is Phase.DEALING:
        awaited = [session.dealers[index] for index in session.awaited]
    told["attempt"] = session.attempt
    told["phase"] = session.phase.name.lower()
    told["awaited"] = names(tuple(present[key] for key in awaited))
    told["faults"] = [
        {
            "operator": names((present[fault.key],))[0],
            "as": "dealer" if fault.role is Role.DEALER else "receiver",
            "reason": fault.reason.decode(),
        }
        for fault in session.faults
    ]
    if stage(state) is not Stage.RESHARING:
        told["shares"] = sorted(opened.shares)
    return told


def ending(state: State) -> dict[str, Any] | None:
    """The epoch that follows, once it is fixed."""
    if state.successor is None:
        return None
    key = state.successor.federation_key
    return {
        "epoch": key.epoch,
        "after_sequence": state.successor.boundary,
        "operators": names(key.members),
    }
