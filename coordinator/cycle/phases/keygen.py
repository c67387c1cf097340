"""Key generation and activation: the federation makes its key before it does anything else.

A session (bft/dkg) folds the ordered messages; the key counts only when enough replicas have
signed with their shares of it.
Pure.
"""

from bft.dkg.fold import apply, expire
from bft.dkg.messages import Message
from bft.dkg.messages import Phase as Ceremony
from chain.records.federation import FederationKey
from chain.records.score_log import KeyActivated
from coordinator.cycle.draft import Draft
from coordinator.cycle.phases import signing
from coordinator.cycle.phases.clock import timed_out
from coordinator.cycle.state import Phase, Rules


def on_message(rules: Rules, draft: Draft, author: int, message: Message) -> Draft:
    """Fold one message of the ceremony.  Raises Refused, see bft/dkg/fold.py."""
    return draft.set(transcript=apply(draft.state.transcript, author, message))


def advance_keygen(rules: Rules, draft: Draft) -> Draft:
    """On to activation when the ceremony is complete; a new attempt when its time is over."""
    ceremony = draft.state.transcript.phase
    if ceremony is Ceremony.DONE:
        return draft.enter(Phase.ACTIVATION)
    if ceremony is Ceremony.FAILED or timed_out(rules, draft.state):
        return draft.set(transcript=expire(draft.state.transcript)).extend()
    return draft


def advance_activation(rules: Rules, draft: Draft) -> Draft:
    """On to the first cycle when the new key has signed."""
    draft, signature = signing.combined(rules, draft)
    if signature is None:
        return draft
    transcript = draft.state.transcript
    key = FederationKey(
        chain_id=rules.chain_id,
        epoch=draft.state.epoch,
        members=draft.state.members,
        commitments=transcript.public.commitments,
        qualified=tuple(dealt.author for dealt in transcript.qualified),
        activation=signature,
    )
    draft = draft.log(KeyActivated(federation_key=key, boundary=0))
    return draft.enter(Phase.REGISTRATION, federation_key=key, cycle=1)
