"""Who the replicas of one epoch are, as links need it."""

from typing import Protocol

from bft.membership import Membership
from chain.records.federation import MemberRecord


class Roster(Protocol):
    """The genesis record for the first epoch, the machine's state for the one that runs."""

    @property
    def members(self) -> tuple[MemberRecord, ...]:
        """Certificates and addresses, by index."""

    @property
    def membership(self) -> Membership:
        """Identity keys, by index."""
