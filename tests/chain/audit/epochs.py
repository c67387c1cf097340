"""Changes of members on the mill: what operators, old members and new ones say.

change_members(mill, (0, 1, 2, 5))    # who the next members are, by operator's number
"""

from collections.abc import Iterable

from bft.codec.canonical import Record
from bft.crypto.threshold import KeyShare, sign_share
from bft.dkg import participant
from bft.dkg.messages import Message
from bft.dkg.messages import Phase as Ceremony
from chain.records.membership import ActivationShare, Approve, CeremonyElapsed, Propose, ShareProof
from coordinator.cycle.phases import resharing
from coordinator.cycle.phases.membership import Stage, stage
from tests.chain.audit.mill import Mill, make_member


def standing(mill: Mill) -> Stage:
    """Where the change of members stands."""
    return stage(mill.state)


def proposal(mill: Mill, numbers: Iterable[int], epoch: int | None = None) -> Propose:
    """These operators are to be the members of the next epoch."""
    following = mill.state.epoch + 1 if epoch is None else epoch
    members = tuple(make_member(number) for number in numbers)
    return Propose(epoch=following, members=members, reason=b"a test")


def propose(mill: Mill, numbers: Iterable[int], by: int = 0) -> list[str]:
    """Member `by` proposes."""
    return mill.say(mill.replicas[by], proposal(mill, numbers))


def approval(mill: Mill) -> Approve:
    """Of the proposal that is open."""
    assert mill.state.change is not None
    return Approve(proposal=mill.state.change.proposal.digest)


def approve(mill: Mill, members: Iterable[int]) -> list[str]:
    """These members approve it."""
    said = approval(mill)
    return mill.all_say(lambda _: said, members)


def session_messages(mill: Mill, person: bytes) -> tuple[Message, ...]:
    """What this person still has to say in the session."""
    _, transcript = resharing.under_way(mill.state)
    secrets = mill.secrets_in(transcript, person)
    dealer = mill.state.membership.index_by_key.get(person)
    if dealer is not None:
        secrets = secrets.with_share(mill.state.epoch, mill.key_share(dealer))
    receiver = transcript.members.index(person) if person in transcript.members else None
    return participant.owed(transcript, receiver, dealer, secrets)


def persons(mill: Mill) -> tuple[bytes, ...]:
    """Everybody who has a part in the session, by key: members first, then joiners."""
    _, transcript = resharing.under_way(mill.state)
    return tuple(dict.fromkeys((*transcript.dealers, *transcript.members)))


def session_round(mill: Mill, silent: Iterable[bytes] = ()) -> list[str]:
    """All that is owed in the session, in one batch, but by the silent."""
    out = frozenset(silent)
    return mill.order(
        *(
            mill.request(mill.people[person], message)
            for person in persons(mill)
            if person not in out
            for message in session_messages(mill, person)
        )
    )


def session_elapsed(mill: Mill, members: Iterable[int] | None = None) -> list[str]:
    """The clocks of these members (`weak` of them) say that the session's phase had its time."""
    _, transcript = resharing.under_way(mill.state)
    said = CeremonyElapsed(session=transcript.session, phase=int(transcript.phase))
    weak = range(mill.state.membership.weak)
    return mill.all_say(lambda _: said, weak if members is None else members)


def new_share(mill: Mill, receiver: int) -> KeyShare:
    """A new member's key share in the sharing that the session made."""
    _, transcript = resharing.under_way(mill.state)
    person = transcript.members[receiver]
    return participant.key_share(transcript, receiver, mill.secrets_in(transcript, person))


def share_proof(mill: Mill, receiver: int) -> ShareProof:
    """What a new member has to say in PROOF."""
    _, transcript = resharing.under_way(mill.state)
    message = resharing.signed_message(mill.rules, mill.state)
    share = sign_share(new_share(mill, receiver), message)
    return ShareProof(session=transcript.session, share=share)


def prove(mill: Mill, receivers: Iterable[int] | None = None) -> list[str]:
    """These new members (all) prove their shares, in one batch."""
    _, transcript = resharing.under_way(mill.state)
    indices = range(len(transcript.members)) if receivers is None else receivers
    said: list[tuple[bytes, Record]] = [
        (transcript.members[index], share_proof(mill, index)) for index in indices
    ]
    return mill.order(*(mill.request(mill.people[person], record) for person, record in said))


def activation_share(mill: Mill, member: int) -> ActivationShare:
    """What a member has to say in ACTIVATION."""
    _, transcript = resharing.under_way(mill.state)
    message = resharing.signed_message(mill.rules, mill.state)
    share = sign_share(mill.key_share(member), message)
    return ActivationShare(session=transcript.session, share=share)


def activate(mill: Mill, members: Iterable[int] | None = None) -> list[str]:
    """These members (all) sign the next epoch's certificate, in one batch."""
    indices = range(mill.state.membership.n) if members is None else members
    return mill.all_say(lambda index: activation_share(mill, index), indices)


def reshare(mill: Mill) -> None:
    """The session as far as PROOF, everybody doing its part."""
    while standing(mill) is Stage.RESHARING:
        session_round(mill)
    _, transcript = resharing.under_way(mill.state)
    assert transcript.phase is Ceremony.DONE


def to_boundary(mill: Mill) -> None:
    """Null batches until the epoch ends."""
    assert mill.state.successor is not None
    epoch = mill.state.epoch
    while mill.state.epoch == epoch:
        mill.order(timestamp_ms=0)


def to_successor(mill: Mill, numbers: Iterable[int]) -> None:
    """Until the next epoch is activated."""
    assert propose(mill, numbers) == ["accepted"]
    approve(mill, range(1, mill.state.membership.strong))
    reshare(mill)
    prove(mill)
    activate(mill)
    assert standing(mill) is Stage.ENDING


def change_members(mill: Mill, numbers: Iterable[int]) -> None:
    """A whole change of members, until the next epoch runs."""
    to_successor(mill, numbers)
    to_boundary(mill)
