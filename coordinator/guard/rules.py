"""Never sign twice: what a key has promised, and what it may still promise.

Exact memory: for the newest slots of each domain, which digest was signed at which rank.  The same
claim again is the same signature (both schemes are deterministic) and passes; another digest at a
known place, a lower rank, a slot that was forgotten, or a vote in a view that was left is refused.

Reservation: an upper bound over everything that may have been signed, kept apart from the exact
memory and raised before it is crossed.  Whoever holds the key but not the exact memory (a standby,
a restored copy) knows from it where to stay silent: it is the high watermark of EIP-3076, drawn a
window ahead so that one durable write serves many votes.

Source: EIP-3076 "Slashing Protection Interchange Format"; CometBFT's privval (CheckHRS); the
reservation is ours, see docs/adr/0011-signing-guard.md.  Pure.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from bft.errors import Refused
from bft.pbft.messages import WINDOW_MAX
from coordinator.guard.claims import VOTES, Claim, Domain

REMEMBERED: Mapping[Domain, int] = {
    Domain.PREPARE: WINDOW_MAX,  # no replica votes further below its newest vote
    Domain.COMMIT: WINDOW_MAX,
    Domain.CHECKPOINT: WINDOW_MAX,
    Domain.VIEW_CHANGE: 1,
    Domain.NEW_VIEW: 1,
    Domain.BEACON: 64,
    Domain.CERTIFICATE: 64,
    Domain.FINALITY: 64,
    Domain.BLOCK: 64,
}
"""Slots of each domain that stay in the exact memory; what is older is refused."""


class SigningRefused(Refused):
    """The key would contradict what it has promised.  Nothing was signed.

    Attributes:
        claim: what was asked for.
    """

    def __init__(self, code: str, claim: Claim, why: str) -> None:
        super().__init__(code, f"refused to sign {claim}: {why}")
        self.claim = claim


@dataclass(frozen=True, slots=True)
class Bound:
    """Everything signed in a domain is at or below `slot`, and at or below `rank`."""

    slot: int
    rank: tuple[int, int]

    def covers(self, claim: Claim) -> bool:
        """Whether `claim` may have been signed under this bound."""
        return claim.slot <= self.slot and claim.rank <= self.rank


@dataclass(frozen=True, slots=True)
class Reservation:
    """The bounds of all domains.  Nothing may be signed beyond them."""

    number: int = 0  # how often it was raised; copies are compared by it
    bounds: Mapping[Domain, Bound] = field(default_factory=dict)

    def covers(self, claim: Claim) -> bool:
        """Whether `claim` is within the bounds."""
        bound = self.bounds.get(claim.domain)
        return bound is not None and bound.covers(claim)

    def raised(self, claims: Iterable[Claim], window: int) -> "Reservation":
        """The next one: over all that is in here, over `claims`, and `window` slots ahead."""
        bounds = dict(self.bounds)
        for claim in claims:
            bound = bounds.get(claim.domain, Bound(0, (0, 0)))
            ahead = claim.slot + min(window, REMEMBERED[claim.domain])
            bounds[claim.domain] = Bound(max(bound.slot, ahead), max(bound.rank, claim.rank))
        return Reservation(self.number + 1, bounds)

    def merged(self, other: "Reservation") -> "Reservation":
        """Over everything that either is over."""
        bounds = dict(self.bounds)
        for domain, bound in other.bounds.items():
            mine = bounds.get(domain, bound)
            bounds[domain] = Bound(max(mine.slot, bound.slot), max(mine.rank, bound.rank))
        return Reservation(max(self.number, other.number), bounds)


@dataclass(frozen=True, slots=True)
class Guarded:
    """What the journal writes with the promises: their claims, and the bounds in force."""

    number: int  # of the reservation
    claims: tuple[Claim, ...]


NOTHING_SIGNED = Guarded(0, ())


class Guard:
    """One key's memory.  `check`, sign, and let nothing out before `unsaved` is durable."""

    def __init__(
        self,
        claims: Iterable[Claim] = (),
        inherited: Reservation | None = None,
    ) -> None:
        """Args:
        claims: the exact memory, in any order.
        inherited: what others that held this key may have signed; None: nobody else did.
        """
        self._known: dict[Domain, dict[int, Claim]] = {domain: {} for domain in Domain}
        self._highest: dict[Domain, int] = {}
        self._unsaved: list[Claim] = []
        self._inherited = Reservation() if inherited is None else inherited
        for claim in claims:
            self._remember(claim)

    @property
    def inherited(self) -> Reservation:
        """What others that held this key may have signed."""
        return self._inherited

    def known(self) -> tuple[Claim, ...]:
        """The exact memory, by domain and slot."""
        return tuple(
            slots[slot] for _, slots in sorted(self._known.items()) for slot in sorted(slots)
        )

    def highest(self, domain: Domain) -> Claim | None:
        """The claim of the highest slot."""
        slot = self._highest.get(domain)
        return None if slot is None else self._known[domain][slot]

    def allows(self, claim: Claim) -> bool:
        """Whether `check` would return."""
        known = self._known[claim.domain].get(claim.slot)
        try:
            if known != claim:
                self._refuse(claim, known)
        except SigningRefused:
            return False
        return True

    def check(self, claim: Claim) -> None:
        """Returns if `claim` may be signed, and remembers it.

        Raises:
            SigningRefused: "double-sign", "regressed", "view-left", "too-old" or "inherited"; the
                memory stays as it was.
        """
        known = self._known[claim.domain].get(claim.slot)
        if known == claim:
            return
        self._refuse(claim, known)
        self._remember(claim)
        self._unsaved.append(claim)

    def _refuse(self, claim: Claim, known: Claim | None) -> None:
        if known is not None and claim.rank == known.rank:
            raise SigningRefused("double-sign", claim, "another digest was signed there")
        if known is not None and claim.rank < known.rank:
            raise SigningRefused("regressed", claim, f"{known} was signed since")
        floor = self._highest.get(claim.domain, 0) - REMEMBERED[claim.domain]
        if claim.slot <= floor:
            raise SigningRefused("too-old", claim, f"slots through {floor} are forgotten")
        left = self._known[Domain.VIEW_CHANGE].get(0)
        if left is not None and claim.domain in VOTES and claim.rank < left.rank:
            raise SigningRefused("view-left", claim, f"{left} was signed since")
        if self._inherited.covers(claim):
            raise SigningRefused(
                "inherited", claim, "another holder of this key may have signed it"
            )

    def _remember(self, claim: Claim) -> None:
        slots = self._known[claim.domain]
        known = slots.get(claim.slot)
        if known is None or known.rank <= claim.rank:
            slots[claim.slot] = claim
        highest = max(self._highest.get(claim.domain, claim.slot), claim.slot)
        self._highest[claim.domain] = highest
        if len(slots) > 2 * REMEMBERED[claim.domain]:  # all at once: this is on every vote's path
            floor = highest - REMEMBERED[claim.domain]
            self._known[claim.domain] = {slot: kept for slot, kept in slots.items() if slot > floor}

    def unsaved(self) -> tuple[Claim, ...]:
        """What was checked since the last call; to be made durable before anything leaves."""
        found, self._unsaved = tuple(self._unsaved), []
        return found


def due(reservation: Reservation, claims: Iterable[Claim], window: int) -> tuple[Claim, ...]:
    """Those of `claims` for which `reservation` has to be raised soon, or now.

    Soon: less than half of the window is left above them.
    """
    return tuple(
        claim
        for claim in claims
        if not reservation.covers(
            replace(claim, slot=claim.slot + min(window, REMEMBERED[claim.domain]) // 2)
        )
    )
