"""The auditor's view of changes of members: proposals, resharing, proof, certificate, boundary.

Written from docs/PROTOCOL.md, section 7, not from the machine that it checks.  A session's public
fold is bft/dkg/fold.py: it needs no secret, so auditors run it too.
Pure.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from bft import quorum
from bft.codec.canonical import Record
from bft.crypto.threshold import PublicPolynomial, combine, verify_share
from bft.dkg import fold as dkg
from bft.dkg.messages import DkgComplaint, DkgDealing, DkgKeys, DkgReady, Message
from bft.dkg.messages import Phase as Ceremony
from bft.dkg.transcript import Transcript, open_resharing
from bft.errors import BadSignature, ConfigError, Refused
from bft.membership import Membership
from chain.audit.books import Books, Change
from chain.audit.ceremony import accuse_of_fault
from chain.network import check_signers
from chain.records.federation import FederationKey, activation_message
from chain.records.membership import (
    ActivationShare,
    Approve,
    CeremonyElapsed,
    Propose,
    ShareProof,
    VoidReason,
    Withdraw,
    sharing_message,
)
from chain.records.phase import Phase
from chain.records.score_log import KeyActivated, MembersApproved, ResharingFailed, SharingProven
from chain.rules.limits import RESHARING_ATTEMPTS
from chain.rules.membership import boundary, check_next_members, text


class Signing(NamedTuple):
    """The signature that a change of members waits for."""

    message: bytes
    public: PublicPolynomial
    signers: dict[bytes, int]  # identity key -> index under `public`
    epoch: int  # of that sharing


def hear_proposal(books: Books, author: bytes, proposal: Propose) -> bool:
    """A member proposes the next epoch's list, while nothing else is open."""
    index = books.membership.index_by_key.get(author)
    if books.phase < Phase.REGISTRATION or books.change is not None or books.successor is not None:
        return False
    if index is None or proposal.epoch != books.membership.epoch + 1:
        return False
    if proposal.reason and not text(proposal.reason, "utf-8"):
        return False
    try:
        check_next_members(proposal.members)
        check_signers(books.params, books.membership.keys, proposal.members)
    except ConfigError:
        return False
    mining = set(books.registrations) | {unit.miner for unit in books.now.units}
    if any(new.key in mining for new in proposal.members):
        return False
    books.change = Change(proposal=proposal, proposer=author, cycle=books.cycle, approvals={index})
    return True


def hear_approval(books: Books, author: bytes, approve: Approve) -> bool:
    """A member's approval of what is open counts once."""
    change = _waiting(books, approve.proposal)
    index = books.membership.index_by_key.get(author)
    if change is None or index is None or index in change.approvals:
        return False
    change.approvals.add(index)
    return True


def hear_withdrawal(books: Books, author: bytes, withdraw: Withdraw) -> bool:
    """Its proposer may take back what is not approved."""
    change = _waiting(books, withdraw.proposal)
    if change is None or change.proposer != author:
        return False
    books.void(VoidReason.WITHDRAWN)
    return True


def hear_session(books: Books, author: bytes, message: Message) -> bool:
    """One message of a resharing; whether it counts.  Faults are held against their authors."""
    change = books.change
    if change is None or change.session is None or change.session.phase is Ceremony.DONE:
        return False
    before = change.session
    try:
        after = dkg.hear(before, author, message)
    except Refused:
        return False
    accuse_of_fault(books, before, after, message)
    _go_on(change, after)
    return True


def hear_session_clock(books: Books, author: bytes, elapsed: CeremonyElapsed) -> bool:
    """A member's clock counts for exactly this session and phase, once, until the proof."""
    change, index = books.change, books.membership.index_by_key.get(author)
    if change is None or change.session is None or change.proof or index is None:
        return False
    here = (change.session.session, change.session.phase)
    if (elapsed.session, elapsed.phase) != here or index in change.elapsed:
        return False
    change.elapsed.add(index)
    return True


def hear_new_share(books: Books, author: bytes, said: ShareProof | ActivationShare) -> bool:
    """A share of the proof or of the certificate counts once; a bad one has an author."""
    change, signing = books.change, _signing(books)
    if change is None or change.session is None or signing is None:
        return False
    due = ActivationShare if change.proof else ShareProof
    index = signing.signers.get(author)
    if type(said) is not due or said.session != change.session.session:
        return False
    if index is None or index in change.given:
        return False
    change.given.add(index)
    try:
        verify_share(signing.public, index, said.share, signing.message)
    except BadSignature:
        what = (-1, signing.epoch, change.session.attempt)
        name = "certificate" if change.proof else "proof of shares"
        shown = f"the share of the {name} of epoch {change.proposal.epoch}"
        told = f"{shown} is not under replica {index}'s part of the key"
        books.accuse("bad-share", index, what, told, books.cycle, signing.epoch)
    else:
        change.shares[index] = said.share
    return True


FROM_ANYBODY: dict[type[Record], Callable[[Books, bytes, Any], bool]] = {
    Propose: hear_proposal,
    Approve: hear_approval,
    Withdraw: hear_withdrawal,
    **dict.fromkeys((DkgKeys, DkgDealing, DkgComplaint, DkgReady), hear_session),
    CeremonyElapsed: hear_session_clock,
    ShareProof: hear_new_share,
    ActivationShare: hear_new_share,
}


def move_change(books: Books) -> bool:
    """What follows for the change of members; whether anything did."""
    change = books.change
    if change is None:
        return False
    if change.session is None:
        return _begin(books, change)
    if change.session.phase is not Ceremony.DONE:
        return _move_session(books, change, change.session)
    return _move_signature(books, change, change.session)


def end_epoch(books: Books) -> bool:
    """Whether the batch at hand was its epoch's last; then the next one's members go on."""
    if books.successor is None or books.sequence != books.successor[0].boundary:
        return False
    activated, transcript = books.successor
    key = activated.federation_key
    places = key.membership.index_by_key
    moved = {
        index: places[identity]
        for index, identity in enumerate(books.membership.keys)
        if identity in places
    }
    now = books.now
    books.elapsed = {moved[index] for index in books.elapsed if index in moved}
    now.tables = {moved[index]: now.tables[index] for index in now.tables if index in moved}
    now.votes = {moved[index]: now.votes[index] for index in now.votes if index in moved}
    now.seen = {moved[index]: now.seen[index] for index in now.seen if index in moved}
    now.told = {moved[index]: now.told[index] for index in now.told if index in moved}
    books.shares, books.given = {}, set()
    books.members, books.membership = key.members, key.membership
    books.key, books.transcript = key, transcript
    books.began, books.successor = books.sequence, None
    for judged in (books.judged, books.judged_before):
        judged.accused.clear()  # indices name others now
    return True


def _waiting(books: Books, proposal: bytes) -> Change | None:
    change = books.change
    if change is None or change.session is not None or change.proposal.digest != proposal:
        return None
    return change


def _begin(books: Books, change: Change) -> bool:
    if len(change.approvals) < books.membership.strong:
        return False
    proposal = change.proposal
    approved = MembersApproved(
        epoch=proposal.epoch, proposal=proposal.digest, approvals=tuple(sorted(change.approvals))
    )
    books.write(approved)
    change.session = _session(books, change, 0)
    return True


def _session(books: Books, change: Change, attempt: int) -> Transcript:
    keys = tuple(new.key for new in change.proposal.members)
    assert books.key is not None
    return open_resharing(
        books.chain_id,
        change.proposal.epoch,
        attempt,
        keys,
        quorum.strong(len(keys)),
        books.membership.keys,
        books.key.commitments,
    )


def _move_session(books: Books, change: Change, session: Transcript) -> bool:
    if session.phase is Ceremony.FAILED:
        _fail(books, change, session, session.awaited)
        return True
    if len(change.elapsed) < books.membership.weak:
        return False
    closed = dkg.close(session)
    if closed.phase is Ceremony.FAILED:
        _fail(books, change, session, session.awaited)
    else:
        _go_on(change, closed)
    return True


def _move_signature(books: Books, change: Change, session: Transcript) -> bool:
    signing = _signing(books)
    assert signing is not None
    if len(change.shares) < signing.public.threshold:
        if change.proof or len(change.elapsed) < books.membership.weak:
            return False
        silent = tuple(index for index in session.holders if index not in change.given)
        _fail(books, change, session, silent)
        return True
    signature, bad = combine(signing.public, signing.message, change.shares)
    assert not bad, "every share was verified when it came"
    if not change.proof:
        proven = SharingProven(epoch=session.epoch, attempt=session.attempt, signature=signature)
        books.write(proven)
        change.proof = signature
        change.elapsed, change.shares, change.given = set(), {}, set()
        return True
    key = FederationKey(
        chain_id=books.chain_id,
        epoch=session.epoch,
        members=change.proposal.members,
        commitments=session.public.commitments,
        qualified=tuple(dealt.author for dealt in session.qualified),
        activation=signature,
    )
    activated = KeyActivated(federation_key=key, boundary=boundary(books.sequence, books.params))
    books.write(activated)
    books.change, books.successor = None, (activated, session)
    return True


def _fail(books: Books, change: Change, session: Transcript, awaited: tuple[int, ...]) -> None:
    failed = ResharingFailed(
        epoch=session.epoch,
        attempt=session.attempt,
        phase=int(session.phase),
        awaited=awaited,
    )
    books.write(failed)
    if session.attempt + 1 == RESHARING_ATTEMPTS:
        books.void(VoidReason.FAILED)
    else:
        _go_on(change, _session(books, change, session.attempt + 1))


def _go_on(change: Change, session: Transcript) -> None:
    """The session as far as it has come; another phase begins with fresh clocks and no shares."""
    before = change.session
    assert before is not None
    if (before.session, before.phase) != (session.session, session.phase):
        change.elapsed, change.shares, change.given = set(), {}, set()
    change.session = session


def _signing(books: Books) -> Signing | None:
    """What is signed now: new members prove their shares, then members sign the certificate."""
    change = books.change
    if change is None or change.session is None or change.session.phase is not Ceremony.DONE:
        return None
    session, proposal = change.session, change.proposal
    commitments = session.public.commitments
    if not change.proof:
        receivers = {key: index for index, key in enumerate(session.members)}
        message = sharing_message(session.session, commitments)
        return Signing(message, session.public, receivers, proposal.epoch)
    message = activation_message(books.chain_id, proposal.epoch, proposal.members, commitments)
    members: Membership = books.membership
    return Signing(message, books.transcript.public, members.index_by_key, members.epoch)
