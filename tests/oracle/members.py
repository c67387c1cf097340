"""Changes of members: docs/PROTOCOL.md, section 7, "Members"."""

import re
from typing import Any

from tests.oracle import blocks
from tests.oracle.fold import Fold
from tests.oracle.primitives import strong, tagged, weak
from tests.oracle.records import encode, numbers
from tests.oracle.session import DONE, FAILED, TAKEN, Session
from tests.oracle.state import Refused, require

Fields = dict[str, Any]
NONE, PROPOSED, RESHARING, PROOF, SIGNING, ENDING = range(6)
MEMBERS_MAX = 63
PROPOSAL_CYCLES = 32
ATTEMPTS_MAX = 4
SIGNET = 2  # the profile
UNSHOWN = (
    *((0, 0x1F), (0x7F, 0x9F)),
    *((0x61C, 0x61C), (0x200E, 0x200F), (0x2028, 0x202E), (0x2066, 0x2069)),
)
SESSION_MESSAGES = ("DkgKeys", "DkgDealing", "DkgComplaint", "DkgReady")


class Change:
    """From a proposal to its activation."""

    def __init__(self, proposal: Fields, proposer: bytes, index: int, cycle: int) -> None:
        self.proposal, self.proposer, self.cycle = proposal, proposer, cycle
        self.digest = tagged("gristmill.propose/1", encode("Propose", proposal))
        self.approvals = {index}
        self.session: Session | None = None
        self.proven = False
        self.begin_phase()

    def begin_phase(self) -> None:
        """Fresh clocks and shares."""
        self.elapsed: set[int] = set()
        self.shares: dict[int, bytes] = {}


class Mill(Fold):
    """The cycle with changes of members beside it."""

    def __init__(self, genesis: bytes, claimed: frozenset[bytes]) -> None:
        super().__init__(genesis, claimed)
        self.change: Change | None = None
        self.successor: tuple[Fields, Session, int] | None = None  # record, session, boundary

    @property
    def stage(self) -> int:
        """Where the change stands."""
        if self.successor is not None:
            return ENDING
        if self.change is None:
            return NONE
        if self.change.session is None:
            return PROPOSED
        if self.change.session.phase != DONE:
            return RESHARING
        return SIGNING if self.change.proven else PROOF

    def operate(self, author: bytes, name: str, said: Fields) -> None:
        """One operation, and everything that follows.  Raises Refused."""
        if self.cycle and (step := STEPS.get((self.stage, name))) is not None:
            getattr(self, step)(author, name, said)
        elif name in MEMBERSHIP:
            raise Refused("wrong-stage")
        elif name in SESSION_MESSAGES:
            require(not self.cycle and author in self.keys, "wrong-phase")
            self.on_ceremony(self.keys.index(author), name, said)
        else:
            self.take(author, name, said)
        self.advance()

    def advance(self) -> None:
        """The cycle one step, the change one step, until neither can."""
        while True:
            cycle = self.move()
            if not self.move_change() and not cycle:
                return

    # Operations.

    def _member(self, author: bytes) -> int:
        require(author in self.keys, "not-a-member")
        return self.keys.index(author)

    def on_propose(self, author: bytes, name: str, said: Fields) -> None:
        """A list for the next epoch."""
        index = self._member(author)
        require(said["epoch"] == self.epoch + 1, "wrong-epoch")
        require(not said["reason"] or printable(said["reason"]), "no-text")
        require(can_be_an_epochs(said["members"]), "no-members")
        same = {member["key"] for member in said["members"]} == set(self.keys)
        require(self.params["profile"] != SIGNET or same, "no-members")
        miners = set(self.registered) | {unit["miner"] for unit in self.units}
        require(not any(member["key"] in miners for member in said["members"]), "miner")
        self.change = Change(said, author, index, self.cycle)
        self.coming = said["members"]

    def _open(self, said: Fields) -> Change:
        assert self.change is not None
        require(said["proposal"] == self.change.digest, "other-proposal")
        return self.change

    def on_approve(self, author: bytes, name: str, said: Fields) -> None:
        """One more member wants it."""
        index, change = self._member(author), self._open(said)
        require(index not in change.approvals, "twice")
        change.approvals.add(index)

    def on_withdraw(self, author: bytes, name: str, said: Fields) -> None:
        """Its proposer does not."""
        require(self._open(said).proposer == author, "not-its-proposer")
        self._void("WITHDRAWN")

    def on_session(self, author: bytes, name: str, said: Fields) -> None:
        """A message of the resharing."""
        change, session = self._under_way()
        before = session.phase
        word = session.hear(author, name, said)
        require(word == TAKEN, word)
        if session.phase != before:
            change.begin_phase()

    def on_session_elapsed(self, author: bytes, name: str, said: Fields) -> None:
        """A member's clock."""
        change, session = self._under_way()
        index = self._member(author)
        require((said["session"], said["phase"]) == (session.id, session.phase), "late")
        require(index not in change.elapsed, "twice")
        change.elapsed.add(index)

    def on_proof(self, author: bytes, name: str, said: Fields) -> None:
        """A new member's share."""
        change, session = self._under_way()
        require(author in session.receivers, "not-a-member")
        self._share(change, session, session.receivers.index(author), said)

    def on_activation(self, author: bytes, name: str, said: Fields) -> None:
        """A member's share."""
        change, session = self._under_way()
        self._share(change, session, self._member(author), said)

    def _share(self, change: Change, session: Session, index: int, said: Fields) -> None:
        require(said["session"] == session.id, "late")
        require(index not in change.shares, "twice")
        change.shares[index] = said["share"]

    def _under_way(self) -> tuple[Change, Session]:
        assert self.change is not None and self.change.session is not None
        return self.change, self.change.session

    # Moves.

    def move_change(self) -> bool:
        """One step, if the change can go on."""
        moves = {
            PROPOSED: self._begin,
            RESHARING: self._close_phase,
            PROOF: self._prove,
            SIGNING: self._activate,
        }
        return self.stage in moves and moves[self.stage]()

    def _begin(self) -> bool:
        change = self.change
        assert change is not None and self.key_record is not None
        if len(change.approvals) < strong(self.n):
            return False
        receivers = [member["key"] for member in change.proposal["members"]]
        epoch, old = change.proposal["epoch"], self.key_record["commitments"]
        change.session = Session(self.chain, epoch, 0, receivers, self.keys, old)
        self.log(
            "MembersApproved",
            {
                "epoch": epoch,
                "proposal": change.digest,
                "approvals": sorted(change.approvals),
            },
        )
        return True

    def _close_phase(self) -> bool:
        change, session = self._under_way()
        if session.phase == FAILED:
            self._fail(FAILED, [])
            return True
        if len(change.elapsed) < weak(self.n):
            return False
        phase, awaited = session.phase, session.awaited
        session.close()
        if session.phase == FAILED:
            self._fail(phase, awaited)
        else:
            change.begin_phase()
        return True

    def _fail(self, phase: int, awaited: list[int]) -> None:
        change, session = self._under_way()
        self.log(
            "ResharingFailed",
            {
                "epoch": session.epoch,
                "attempt": session.attempt,
                "phase": phase,
                "awaited": awaited,
            },
        )
        if session.attempt + 1 >= ATTEMPTS_MAX:
            self._void("FAILED")
            return
        attempt = session.attempt + 1
        change.session = Session(
            self.chain, session.epoch, attempt, session.receivers, session.dealers, session.old
        )
        change.begin_phase()

    def _prove(self) -> bool:
        change, session = self._under_way()
        message = blocks.sharing_message(session.id, session.commitments)
        signature = self.made(change.shares, session.commitments, message)
        if signature is None:
            if len(change.elapsed) < weak(self.n):
                return False
            self._fail(DONE, [r for r in sorted(session.keys) if r not in change.shares])
            return True
        change.proven = True
        change.begin_phase()
        self.log(
            "SharingProven",
            {"epoch": session.epoch, "attempt": session.attempt, "signature": signature},
        )
        return True

    def _activate(self) -> bool:
        change, session = self._under_way()
        assert self.key_record is not None
        epoch, members = session.epoch, change.proposal["members"]
        message = blocks.activation_message(self.chain, epoch, members, session.commitments)
        signature = self.made(change.shares, self.key_record["commitments"], message)
        if signature is None:
            return False
        record = {
            "chain_id": self.chain,
            "epoch": epoch,
            "members": members,
            "commitments": session.commitments,
            "qualified": session.qualified,
            "activation": signature,
        }
        K, L = self.params["checkpoint_interval"], self.params["window"]
        boundary = -(-(self.sequence + L) // K) * K
        self.log("KeyActivated", {"federation_key": record, "boundary": boundary})
        self.newest_record = record
        self.successor, self.change = (record, session, boundary), None
        return True

    def _void(self, reason: str) -> None:
        change = self.change
        assert change is not None
        number = numbers("VoidReason")[reason]
        told = {"epoch": change.proposal["epoch"], "proposal": change.digest, "reason": number}
        self.log("ProposalVoided", told)
        self.change, self.coming = None, []

    def before_close(self) -> None:
        """A proposal that waits too long is void."""
        change = self.change
        if self.stage == PROPOSED and change is not None:
            late = self.cycle >= change.cycle + PROPOSAL_CYCLES
            if late:
                self._void("EXPIRED")

    def end_batch(self) -> None:
        """At the boundary the next epoch's members take over."""
        if self.successor is None or self.sequence != self.successor[2]:
            return
        record, session, _ = self.successor
        places = {member["key"]: index for index, member in enumerate(record["members"])}
        moved = {index: places[key] for index, key in enumerate(self.keys) if key in places}
        for held in (self.tables, self.votes, self.seen):
            said: dict[int, Any] = dict(held)
            held.clear()
            held.update({moved[index]: said[index] for index in said if index in moved})
        self.elapsed = {moved[index] for index in self.elapsed if index in moved}
        self.epoch, self.members, self.shares = record["epoch"], record["members"], {}
        self.key_record, self.session = record, session
        self.successor, self.coming = None, []
        self.advance()


def printable(text: bytes) -> bool:
    """Section 7: UTF-8 without what nobody can see."""
    try:
        points = [ord(sign) for sign in text.decode()]
    except UnicodeDecodeError:
        return False
    return not any(first <= point <= last for point in points for first, last in UNSHOWN)


def is_address(address: bytes) -> bool:
    """Section 7: host:port."""
    found = re.fullmatch(rb"[!-~]+:([0-9]+)", address)
    return bool(found and 1 <= int(found[1]) <= 65535 and not re.search(rb"[/?#@\\]", address))


def can_be_an_epochs(members: list[Fields]) -> bool:
    """Section 7: what a list of members must be."""
    if not (len(members) == 1 or 4 <= len(members) <= MEMBERS_MAX):
        return False
    for name in ("key", "tls_certificate", "link", "api"):
        if len({member[name] for member in members}) != len(members):
            return False
    addresses = [member[name] for member in members for name in ("link", "api")]
    names = [member["operator"] for member in members]
    return all(map(printable, names)) and all(map(is_address, addresses))


MEMBERSHIP = (
    *("Propose", "Approve", "Withdraw", "CeremonyElapsed", "ShareProof", "ActivationShare"),
)
STEPS: dict[tuple[int, str], str] = {
    (NONE, "Propose"): "on_propose",
    (PROPOSED, "Approve"): "on_approve",
    (PROPOSED, "Withdraw"): "on_withdraw",
    **{(RESHARING, name): "on_session" for name in SESSION_MESSAGES},
    (RESHARING, "CeremonyElapsed"): "on_session_elapsed",
    (PROOF, "CeremonyElapsed"): "on_session_elapsed",
    (PROOF, "ShareProof"): "on_proof",
    (SIGNING, "ActivationShare"): "on_activation",
}
"""(stage, operation) -> who takes it."""
