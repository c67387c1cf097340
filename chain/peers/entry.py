"""What an address book knows of one address, and what that is worth.

Source: Bitcoin Core, addrman.cpp (`AddrInfo::IsTerrible`, `AddrInfo::GetChance`).
Pure.
"""

from dataclasses import dataclass

from chain.records.peer_address import PeerAddress

HORIZON_S = 30 * 24 * 60 * 60  # an address that nobody has seen for so long is forgotten
FAILURES_NEW_MAX = 3  # of an address that never answered
FAILURES_MAX = 10  # of one that has not answered for
SILENT_S = 7 * 24 * 60 * 60
FUTURE_S = 10 * 60  # clocks differ
LATELY_S = 60  # just tried: the outcome may not be known yet
RETRY_S = 10 * 60  # tried so lately: hardly ever chosen
CHANCE_ONE = 1 << 30
_FAILURES_COUNTED = 8


@dataclass(slots=True)
class Entry:
    """One address.  Times in Unix seconds, 0: never."""

    address: PeerAddress
    source_group: bytes  # of whoever told of it first
    services: int
    seen_s: int  # when it was last said to be there
    succeeded_s: int = 0
    attempted_s: int = 0
    counted_s: int = 0  # the last attempt that counts as a failure if nothing follows
    failures: int = 0
    tried: bool = False  # in the table of those that answered once
    bucket: int = 0
    position: int = 0

    def is_terrible(self, now_s: int) -> bool:
        """Whether it may give its place to any other."""
        if self.attempted_s and now_s - self.attempted_s <= LATELY_S:
            return False
        if self.seen_s > now_s + FUTURE_S or now_s - self.seen_s > HORIZON_S:
            return True
        if not self.succeeded_s:
            return self.failures >= FAILURES_NEW_MAX
        return now_s - self.succeeded_s > SILENT_S and self.failures >= FAILURES_MAX

    def chance(self, now_s: int) -> int:
        """How likely it is taken when it is drawn, of CHANCE_ONE."""
        chance = CHANCE_ONE
        if now_s - self.attempted_s < RETRY_S:
            chance //= 100
        for _ in range(min(self.failures, _FAILURES_COUNTED)):
            chance = chance * 66 // 100
        return chance
