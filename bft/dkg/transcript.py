"""What was said in one session of key generation or resharing, in log order, and what it means.

Genesis: joint Feldman.  Every member announces one-time keys, every member deals, whoever received
a bad share proves it by revealing the one-time key; the sum of the first t surviving dealings, in
log order, is the federation's polynomial.  Nobody ever knows its secret.

Resharing: the members of the old epoch deal their key shares to those of the new one by the same
messages; the first t_old surviving dealings, weighted by Lagrange's multipliers, are a sharing of
the same secret.  The federation key does not change.

Source: Gennaro, Jarecki, Krawczyk, Rabin, "Secure distributed key generation for discrete-log
based cryptosystems" (J. Cryptology 2007), joint Feldman; Wong, Wang, Wing, "Verifiable secret
redistribution for archive systems" (2002); ETHDKG (Schindler et al. 2019) for complaints that
reveal a key on the ordered log.
Pure.
"""

from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

from bft.codec.canonical import Record, encode
from bft.codec.types import U16, U32, Bytes32, GroupKey, IdentityKey
from bft.crypto import shamir
from bft.crypto.hashing import tagged_hash
from bft.crypto.threshold import PublicPolynomial
from bft.dkg.dealing import Verdict
from bft.dkg.messages import (
    MEMBERS_MAX,
    DkgComplaint,
    DkgDealing,
    DkgKeys,
    Message,
    Phase,
    Role,
)
from bft.errors import Refused

_GENESIS_TAG = "dkg.session/1"
_RESHARING_TAG = "dkg.resharing/1"

Indices = Annotated[tuple[U16, ...], Meta(max_length=MEMBERS_MAX)]
Members = Annotated[tuple[IdentityKey, ...], Meta(min_length=1, max_length=MEMBERS_MAX)]
Commitments = Annotated[tuple[GroupKey, ...], Meta(max_length=MEMBERS_MAX)]


class Announced(Record):
    """Receiver `author`'s one-time keys, as ordered."""

    author: U16
    message: DkgKeys


class Dealt(Record):
    """Dealer `author`'s dealing, as ordered, and what everyone sees of it."""

    author: U16
    message: DkgDealing
    verdict: Verdict


class Complained(Record):
    """Receiver `author`'s complaint, as ordered; `proven` is 1 if the dealer was at fault."""

    author: U16
    message: DkgComplaint
    proven: Annotated[int, Meta(ge=0, le=1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Somebody broke the rules, and these messages, signed by their requests, prove it."""

    role: Role
    index: int  # in that role's list
    key: bytes  # identity key
    reason: bytes  # b"void-dealing", b"bad-share" or b"false-complaint"
    evidence: tuple[Message, ...]


class Transcript(Record):
    """Everything said in one session, in log order, and what follows from it."""

    TAG = "dkg.transcript/1"

    chain_id: Bytes32
    epoch: U32  # whose sharing this makes
    attempt: U32
    members: Members  # the receivers
    threshold: U16  # t = 2f + 1 of the members
    dealers: Members  # at genesis the members, in a resharing those of the epoch before
    old: Commitments = ()  # resharing: of the polynomial that the dealers hold shares of
    missing: Annotated[tuple[IdentityKey, ...], Meta(max_length=MEMBERS_MAX)] = ()
    # Whose silence ended the attempt before; when FAILED, whose silence ended this one.
    phase: Phase = Phase.KEYS
    keys: Annotated[tuple[Announced, ...], Meta(max_length=MEMBERS_MAX)] = ()
    dealings: Annotated[tuple[Dealt, ...], Meta(max_length=MEMBERS_MAX)] = ()
    complaints: Annotated[tuple[Complained, ...], Meta(max_length=MEMBERS_MAX**2)] = ()
    ready: Indices = ()
    commitments: Commitments = ()  # when DONE

    @property
    def session(self) -> bytes:
        """32 bytes that every message must name: no message serves another session."""
        told = (self.chain_id, self.epoch, self.attempt, self.threshold, self.members)
        if not self.old:
            return tagged_hash(_GENESIS_TAG, encode(told))
        return tagged_hash(_RESHARING_TAG, encode((*told, self.dealers, self.old)))

    @property
    def dealings_needed(self) -> int:
        """How many dealings make the key: t at genesis, t of the old sharing in a resharing."""
        return len(self.old) or self.threshold

    @property
    def holders(self) -> tuple[int, ...]:
        """Receivers that announced keys and so get shares, ascending."""
        return tuple(sorted(said.author for said in self.keys))

    @property
    def surviving(self) -> tuple[Dealt, ...]:
        """Dealings that stand and against which nothing is proven, in log order."""
        out = {c.message.dealer for c in self.complaints if c.proven}
        return tuple(
            dealt
            for dealt in self.dealings
            if dealt.verdict is Verdict.STANDS and dealt.author not in out
        )

    @property
    def qualified(self) -> tuple[Dealt, ...]:
        """QUAL, the dealings that make the key: the first surviving ones."""
        return self.surviving[: self.dealings_needed]

    @property
    def weights(self) -> tuple[int, ...]:
        """What each qualified dealing is multiplied by: 1, in a resharing Lagrange's multiplier."""
        if not self.old:
            return (1,) * len(self.qualified)
        return shamir.lagrange_at_zero([shamir.x_of(dealt.author) for dealt in self.qualified])

    @property
    def faults(self) -> tuple[Fault, ...]:
        """Who broke the rules, and how: void dealings in log order, then complaints."""
        void = [
            self._fault(Role.DEALER, dealt.author, b"void-dealing", (dealt.message,))
            for dealt in self.dealings
            if dealt.verdict is not Verdict.STANDS
        ]
        return (*void, *(self._complaint_fault(complained) for complained in self.complaints))

    @property
    def awaited(self) -> tuple[int, ...]:
        """Who has to speak before the phase ends by itself, ascending, in the phase's role."""
        match self.phase:
            case Phase.KEYS:
                expected, spoken = range(len(self.members)), [said.author for said in self.keys]
            case Phase.DEALING:
                expected, spoken = range(len(self.dealers)), [d.author for d in self.dealings]
            case Phase.COMPLAINT:
                return tuple(i for i in self.holders if i not in self.ready)
            case _:
                return ()
        return tuple(i for i in expected if i not in spoken)

    @property
    def awaited_keys(self) -> tuple[bytes, ...]:
        """The same by identity key."""
        who = self.dealers if self.phase is Phase.DEALING else self.members
        return tuple(who[index] for index in self.awaited)

    @property
    def public(self) -> PublicPolynomial:
        """The federation's public polynomial.  Raises Refused ("not-done") before DONE."""
        if self.phase is not Phase.DONE:
            raise Refused("not-done", f"phase {self.phase.name} came; a key exists when DONE")
        return PublicPolynomial(commitments=self.commitments)

    def index_of(self, key: bytes, role: Role) -> int | None:
        """The index of the identity key in this role, if it has the role."""
        who = self.dealers if role is Role.DEALER else self.members
        return who.index(key) if key in who else None

    def share_key_of(self, dealer: int) -> bytes | None:
        """In a resharing the 96-byte key of the share that `dealer` must deal; at genesis None."""
        return PublicPolynomial(commitments=self.old).share_key(dealer) if self.old else None

    def keys_of(self, author: int) -> DkgKeys | None:
        """What receiver `author` announced, if it did."""
        return next((said.message for said in self.keys if said.author == author), None)

    def dealt_by(self, author: int) -> Dealt | None:
        """What dealer `author` dealt, if it did."""
        return next((dealt for dealt in self.dealings if dealt.author == author), None)

    def sealed_for(self, receiver: int, dealing: DkgDealing) -> bytes:
        """The ciphertext for `receiver`, who announced keys, in a dealing that stands."""
        return dealing.ciphertexts[self.holders.index(receiver)]

    def has_complained(self, author: int, dealer: int) -> bool:
        """Whether receiver `author`'s complaint about `dealer` is here."""
        return any(c.author == author and c.message.dealer == dealer for c in self.complaints)

    def _complaint_fault(self, complained: Complained) -> Fault:
        dealer = complained.message.dealer
        dealt = self.dealt_by(dealer)
        assert dealt is not None  # nobody complains about what is not there
        evidence = (dealt.message, complained.message)
        if complained.proven:
            return self._fault(Role.DEALER, dealer, b"bad-share", evidence)
        return self._fault(Role.RECEIVER, complained.author, b"false-complaint", evidence)

    def _fault(self, role: Role, index: int, reason: bytes, evidence: tuple[Message, ...]) -> Fault:
        key = (self.dealers if role is Role.DEALER else self.members)[index]
        return Fault(role=role, index=index, key=key, reason=reason, evidence=evidence)


def open_session(
    chain_id: bytes,
    epoch: int,
    attempt: int,
    members: tuple[bytes, ...],
    threshold: int,
) -> Transcript:
    """A genesis session in which nobody has spoken.  It insists on all members in every phase.

    Raises:
        ValueError: no members, more than MEMBERS_MAX, one twice, or a threshold beyond them.
    """
    _check_members(members, threshold)
    return Transcript(
        chain_id=chain_id,
        epoch=epoch,
        attempt=attempt,
        members=members,
        threshold=threshold,
        dealers=members,
    )


def open_resharing(
    chain_id: bytes,
    epoch: int,
    attempt: int,
    members: tuple[bytes, ...],
    threshold: int,
    dealers: tuple[bytes, ...],
    old: tuple[bytes, ...],
) -> Transcript:
    """A resharing in which nobody has spoken.

    Args:
        epoch: the new one, whose `members` get shares; its predecessor's members are `dealers`.
        threshold: t of the new sharing.
        old: commitments of the sharing in force, as many as its threshold, the key first.

    Raises:
        ValueError: no members or dealers, too many, one twice, or a threshold beyond them.
    """
    _check_members(members, threshold)
    _check_members(dealers, len(old))
    return Transcript(
        chain_id=chain_id,
        epoch=epoch,
        attempt=attempt,
        members=members,
        threshold=threshold,
        dealers=dealers,
        old=old,
    )


def _check_members(members: tuple[bytes, ...], threshold: int) -> None:
    if not 1 <= len(members) <= MEMBERS_MAX or len(set(members)) != len(members):
        raise ValueError(f"a session has 1 to {MEMBERS_MAX} different members")
    if not 1 <= threshold <= len(members):
        raise ValueError(f"threshold {threshold} of {len(members)} members")
