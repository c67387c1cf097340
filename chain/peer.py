"""One peer of a chain node: its handshake, its budget, and what was asked of it.

Rates follow Chia's table (so many of each message in a minute), outcomes Bitcoin Core's: ignore,
disconnect, or disconnect and discourage; there are no scores.
Pure: time comes in.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from chain.peers.connection import Connection
from chain.records.peer_address import PeerAddress
from chain.records.peer_message import (
    CERTIFIED_HEADERS_MAX,
    NODE_NETWORK,
    NODE_NETWORK_LIMITED,
    Version,
)

PER_MINUTE = {
    "version": 2,
    "verack": 2,
    "ping": 30,
    "pong": 30,
    "inv": 600,
    "getdata": 600,
    "notfound": 120,
    "block": 60,  # that nobody asked for; those asked for are free
    "tx": 300,
    "getcerthdrs": 240,
    "getheaders": 240,
    "getblocks": 240,
    "certheaders": 240,
    "finality": 120,
    "evidence": 20,
    "getaddr": 10,
    "sendaddrv2": 2,
    "addrv2": 60,
}
AMOUNT_PER_MINUTE = {
    "taken bytes": 2 * 1024 * 1024,  # of transactions from one peer; more are not looked at
    "signatures": 20_000,  # that these ask to be checked: about a second of work
    "served bytes": 8 * 1024 * 1024,  # of transactions to one peer; more are said not to be here
}
PER_MINUTE_UNKNOWN = 60  # all commands together that we do not know
ORPHANS_MAX = 8  # blocks of one peer whose parent is unknown
ORPHAN_BYTES_MAX = 64 * 1024
WANTED_MAX = CERTIFIED_HEADERS_MAX  # blocks to be asked of one peer
IN_FLIGHT_MAX = 16  # blocks asked of one peer and not yet come
LIMITED_BLOCKS = 288 - 2  # below its tip that a pruned peer is asked for, BIP 159 and 2 to spare
NEVER_MS = 2**63 - 1
_MINUTE_MS = 60_000


@dataclass(slots=True)
class Budget:
    """A bucket that holds a minute's worth of messages, or of bytes, and refills evenly."""

    per_minute: int
    filled: int  # of them, times 60,000, so that a millisecond's refill is a whole number
    at_ms: int

    def spend(self, now_ms: int, count: int = 1) -> bool:
        """Takes so many.  False: there are less left, and none is taken."""
        passed = max(0, now_ms - self.at_ms)
        self.filled = min(self.per_minute * _MINUTE_MS, self.filled + passed * self.per_minute)
        self.at_ms = now_ms
        if self.filled < count * _MINUTE_MS:
            return False
        self.filled -= count * _MINUTE_MS
        return True


@dataclass(slots=True)
class Peer:
    """What we know of one connection."""

    number: int  # given by the edge
    kind: Connection
    since_ms: int
    endpoint: str = ""  # that was dialled
    address: PeerAddress | None = None
    version: Version | None = None
    verack: bool = False
    ping: tuple[int, int] | None = None  # (nonce, sent at) of a ping without its pong
    pinged_ms: int = 0
    ping_ms: int = NEVER_MS  # the last way there and back
    ping_ms_min: int = NEVER_MS  # the shortest
    block_ms: int = 0  # when it last brought a block that was new here
    transaction_ms: int = 0  # the same, a transaction
    wants_addrv2: bool = False
    asks_as_core: bool = False  # it has asked for Core's headers
    height: int = 0  # up to which it has blocks, as far as we know
    headers_asked_ms: int | None = None  # since when we wait for its certheaders
    wanted: deque[bytes] = field(default_factory=deque)  # at most WANTED_MAX
    requested: dict[bytes, int] = field(default_factory=dict)  # hash -> asked at
    slow: dict[bytes, int] = field(default_factory=dict)  # the same, meanwhile asked of others too
    orphans: dict[bytes, bytes] = field(default_factory=dict)  # hash -> block, oldest first
    transactions: dict[bytes, None] = field(default_factory=dict)  # asked for, oldest first
    budgets: dict[str, Budget] = field(default_factory=dict)

    @property
    def ready(self) -> bool:
        """Both sides have greeted."""
        return self.version is not None and self.verack

    @property
    def outbound(self) -> bool:
        """We dialled it."""
        return self.kind.outbound

    @property
    def group(self) -> bytes:
        """Its netgroup."""
        return b"" if self.address is None else self.address.group

    @property
    def passes_transactions(self) -> bool:
        """Both sides want to tell and hear of transactions."""
        wanted = self.version is not None and self.version.relay
        return wanted and self.kind not in (Connection.BLOCK_ONLY, Connection.FEELER)

    def may_have(self, height: int) -> bool:
        """Whether it can be asked for the block at this height.

        Pruned peers have the newest; one that promises nothing has what came since it greeted.
        """
        if height > self.height or self.version is None:
            return False
        if self.version.services & NODE_NETWORK:
            return True
        limited = self.version.services & NODE_NETWORK_LIMITED
        return height > (self.height - LIMITED_BLOCKS if limited else self.version.height)

    def spend(self, command: str, now_ms: int) -> bool:
        """Whether this peer may still send such a message now."""
        name = command if command in PER_MINUTE else "unknown"
        return self._budget(name, PER_MINUTE.get(name, PER_MINUTE_UNKNOWN), now_ms).spend(now_ms)

    def spend_amount(self, name: str, count: int, now_ms: int) -> bool:
        """Whether so many of AMOUNT_PER_MINUTE's `name` are left; they are spent then."""
        return self._budget(name, AMOUNT_PER_MINUTE[name], now_ms).spend(now_ms, count)

    def _budget(self, name: str, per_minute: int, now_ms: int) -> Budget:
        budget = self.budgets.get(name)
        if budget is None:
            budget = Budget(per_minute=per_minute, filled=per_minute * _MINUTE_MS, at_ms=now_ms)
            self.budgets[name] = budget
        return budget

    def keep_orphan(self, block: bytes, data: bytes) -> None:
        """Keeps a block until its parent comes; the oldest gives way."""
        if len(data) > ORPHAN_BYTES_MAX:
            return
        self.orphans[block] = data
        while len(self.orphans) > ORPHANS_MAX:
            del self.orphans[next(iter(self.orphans))]

    def take_orphans(self, has: Callable[[bytes], bool]) -> list[bytes]:
        """The blocks whose parent `has` come, no longer kept."""
        found = [block for block, data in self.orphans.items() if has(data[4:36])]
        return [self.orphans.pop(block) for block in found]

    def came(self, block: bytes) -> bool:
        """Whether this block was asked for; it is not awaited any more."""
        waited = self.requested.pop(block, None), self.slow.pop(block, None)
        return waited != (None, None)

    def waits_since(self, ms: int) -> bool:
        """Whether a block was asked for before `ms` and has not come."""
        return any(asked < ms for asked in (*self.requested.values(), *self.slow.values()))

    def awaits(self, block: bytes) -> bool:
        """Whether it was asked for this block, which has not come."""
        return block in self.requested or block in self.slow

    def next_requests(self, now_ms: int) -> tuple[bytes, ...]:
        """The wanted blocks that may be asked for now; they count as asked."""
        asked: list[bytes] = []
        while self.wanted and len(self.requested) < IN_FLIGHT_MAX:
            block = self.wanted.popleft()
            self.requested[block] = now_ms
            asked.append(block)
        return tuple(asked)
