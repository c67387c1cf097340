"""The auditor's view of key generation and activation.

The ceremony's public fold is bft/dkg/fold.py: it needs no secret, so auditors run it too.
Pure.
"""

from bft.dkg import fold as dkg
from bft.dkg.messages import DkgDealing, Message, Role
from bft.dkg.messages import Phase as Ceremony
from bft.dkg.transcript import Transcript
from bft.errors import Refused
from chain.audit.books import Books
from chain.audit.signing import signed, want
from chain.records.federation import FederationKey, activation_message
from chain.records.phase import Phase
from chain.records.score_log import KeyActivated
from chain.records.votes import Purpose
from chain.rules.limits import ATTEMPTS

_FAULTS = {
    b"void-dealing": "dealt commitments or a proof that do not stand",
    b"bad-share": "dealt a share that does not fit its commitments; the complaint here proves it",
    b"false-complaint": "complained about a share that fits",
}


def hear_ceremony(books: Books, author: int, message: Message) -> bool:
    """One message of the ceremony; whether it counts."""
    if books.phase is not Phase.KEYGEN:
        return False
    before = books.transcript
    try:
        books.transcript = dkg.apply(before, author, message)
    except Refused:
        return False
    accuse_of_fault(books, before, books.transcript, message)
    return True


def accuse_of_fault(books: Books, before: Transcript, after: Transcript, message: Message) -> None:
    """Hold the fault that `message` brought to light, if any, against its author."""
    faults = after.faults
    if len(faults) == len(before.faults):
        return
    # One message adds one at most; void dealings are listed first.
    is_dealing = isinstance(message, DkgDealing)
    fault = [f for f in faults if (f.reason == b"void-dealing") == is_dealing][-1]
    what = (-after.epoch, after.attempt, len(faults))
    text = f"replica {fault.index} {_FAULTS[fault.reason]}"
    epoch = after.epoch - 1 if after.old and fault.role is Role.DEALER else after.epoch
    rule = f"dkg-{fault.reason.decode()}"
    books.accuse(rule, fault.index, what, text, books.cycle, epoch)


def move_keygen(books: Books) -> bool:
    """Activation follows a complete ceremony; a failed or slow one starts anew."""
    if books.transcript.phase is Ceremony.DONE:
        books.enter(Phase.ACTIVATION)
        message = activation_message(
            books.chain_id,
            books.membership.epoch,
            books.members,
            books.transcript.public.commitments,
        )
        want(books, (Purpose.ACTIVATION, books.membership.epoch, 0), message)
        return True
    if books.transcript.phase is Ceremony.FAILED or books.timed_out:
        books.transcript = dkg.expire(books.transcript)
        books.attempt = (books.attempt + 1) % ATTEMPTS
        books.elapsed = set()
        return True
    return False


def move_activation(books: Books) -> bool:
    """The key counts once enough shares of it have signed; then the first cycle opens."""
    signature = signed(books)
    if signature is None:
        return False
    books.key = FederationKey(
        chain_id=books.chain_id,
        epoch=books.membership.epoch,
        members=books.members,
        commitments=books.transcript.public.commitments,
        qualified=tuple(dealt.author for dealt in books.transcript.qualified),
        activation=signature,
    )
    books.write(KeyActivated(federation_key=books.key, boundary=0))
    books.open_cycle(1)
    return True
