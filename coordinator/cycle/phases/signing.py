"""The phases that wait for a federation signature: collect shares, combine, go on.

Shares are ordered like everything else, so the signature follows from the log and a bad share has
an author.  A replica releases its share only after the state that asks for it was executed from a
committed batch; before that, nobody can know the signature, nor the randomness in it.
Pure.
"""

from typing import NamedTuple

from bft.crypto.hashing import tagged_hash
from bft.crypto.threshold import TooFewShares, combine
from bft.errors import Refused
from chain.records.block import block_hash
from chain.records.certificate import BlockCertificate, finality_message
from chain.records.federation import activation_message
from chain.records.votes import Purpose, SignatureShare
from chain.rules.beacon import round_message
from chain.rules.rounds import challenge_round, draw_round
from coordinator.cycle.draft import Draft
from coordinator.cycle.state import Phase, Rules, State


class Asked(NamedTuple):
    """The signature that a phase waits for."""

    purpose: Purpose
    subject: int
    rank: int
    epoch: int  # under whose sharing
    message: bytes  # what is signed


def asked(rules: Rules, state: State) -> Asked | None:
    """What the federation is to sign in this state, if anything."""
    chain_id, cycle = rules.chain_id, state.cycle
    match state.phase:
        case Phase.ACTIVATION:
            commitments = state.transcript.public.commitments
            message = activation_message(chain_id, state.epoch, state.members, commitments)
            return Asked(Purpose.ACTIVATION, state.epoch, 0, state.epoch, message)
        case Phase.CHALLENGE:
            number = challenge_round(cycle)
            return Asked(Purpose.BEACON, number, 0, state.epoch, round_message(number))
        case Phase.DRAW:
            number = draw_round(cycle)
            return Asked(Purpose.BEACON, number, 0, state.epoch, round_message(number))
        case Phase.CERTIFICATION:
            message = tagged_hash(BlockCertificate.TAG, state.certificate)
            return Asked(Purpose.CERTIFICATE, cycle, state.rank, state.epoch, message)
        case Phase.FINALITY:
            height = state.tip.height + 1
            message = finality_message(chain_id, height, block_hash(state.header))
            return Asked(Purpose.FINALITY, cycle, state.rank, state.epoch, message)
    return None


def on_share(rules: Rules, draft: Draft, author: int, share: SignatureShare) -> Draft:
    """Take one replica's share of the signature that this phase waits for.

    Raises:
        Refused: "late" for another signature, "twice" for a second share of one replica.
    """
    state, expected = draft.state, asked(rules, draft.state)
    assert expected is not None, "the table lets shares in only where a signature is asked for"
    if (share.purpose, share.subject, share.rank, share.epoch) != expected[:4]:
        raise Refused("late", f"this state asks for the signature {expected[:4]}")
    if author in state.shares or author in state.faulty:
        raise Refused("twice", f"replica {author} has given its share")
    return draft.set(shares={**state.shares, author: share.share})


def combined(rules: Rules, draft: Draft) -> tuple[Draft, bytes | None]:
    """The federation signature once enough good shares are there; bad ones are thrown out."""
    state, expected = draft.state, asked(rules, draft.state)
    assert expected is not None
    public = state.transcript.public
    if len(state.shares) < public.threshold:
        return draft, None
    try:
        signature, bad = combine(public, expected.message, state.shares)
    except TooFewShares as error:
        return _without(draft, error.bad), None
    return _without(draft, bad), signature


def _without(draft: Draft, bad: tuple[int, ...]) -> Draft:
    """Bad shares are forgotten; their authors are not asked again in this phase."""
    if not bad:
        return draft
    shares = {index: draft.state.shares[index] for index in draft.state.shares if index not in bad}
    return draft.set(shares=shares, faulty=tuple(sorted((*draft.state.faulty, *bad))))
