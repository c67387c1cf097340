"""The guard beside a replica's loop: it sees what is to be signed, and holds back what is not safe.

Signing happens in memory, in the pure core; letting go of a signature happens in the loop.  Between
the two, `secure` makes sure that the bounds cover what was signed, and hands over what the journal
has to write in the transaction that carries the promises themselves.  So a vote costs no sync of
its own: the bounds are raised a window ahead, by another thread, while votes go on below them.

    core signs --> GuardedKey.sign: what would this promise?  refused, or remembered
    loop       --> secure(): raise the bounds if the end of the window is near; wait if it is passed
    loop       --> one journal transaction: promises, and the claims behind them
    loop       --> send
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from bft.codec.envelope import Sign
from bft.crypto.threshold import KeyShare, sign_share
from bft.errors import ConfigError
from coordinator.guard.claims import Claim, claim_of, draft_claim, share_claim
from coordinator.guard.rules import Guard, Guarded, SigningRefused, due
from coordinator.guard.store import GuardStore, SqliteGuard

WINDOW_MIN, WINDOW_MAX = 4, 256
"""Slots that one durable write opens.  Small where votes are rare, so that an old copy of a journal
is noticed soon and a standby has little to stay silent about; large where they are many."""
SHARED_WINDOW_MIN, SHARED_WINDOW_MAX = 2, 4
"""The same where other processes wait for the key.  Whoever takes over is silent until so many more
batches are decided, and a bound that a burst has pushed far ahead never comes back."""
WINDOW_SHORT_S = 1.0  # a window that is used up sooner doubles
WINDOW_LONG_S = 4.0  # one that lasts longer halves
RAISES_AHEAD = 2
"""A crash finds the journal at most so many raises behind: one under way, and one waited for."""

log = logging.getLogger("gristmill.guard")

Holding = Callable[[], Awaitable[None]]
"""Returns while this process holds its key.  Raises Fenced."""


class GuardedKey:
    """A replica's keys behind its guard.  Pure but for the count of refusals."""

    def __init__(self, guard: Guard, sign: Sign, local: SqliteGuard) -> None:
        """Args:
        sign: with the identity key.
        local: counts what was refused.
        """
        self._guard, self._sign, self._local = guard, sign, local

    def sign(self, signed: bytes) -> bytes:
        """The identity key's signature, if it contradicts nothing.

        Raises:
            SigningRefused: it would.  The replica must stop.
            DecodeError: no message that may be signed at all.
        """
        claim = claim_of(signed)
        if claim is not None:
            self._check(claim)
        return self._sign(signed)

    def sign_share(
        self, share: KeyShare, purpose: int, subject: int, rank: int, message: bytes
    ) -> bytes | None:
        """A signature share over `message`, on the same terms as `sign`.

        None: another holder of the key may have given one, so this one gives none.
        """
        claim = share_claim(purpose, subject, rank, message)
        if claim is not None:
            if self._guard.inherited.covers(claim) and not self._guard.allows(claim):
                return None
            self._check(claim)
        return sign_share(share, message)

    def sign_draft(self, cycle: int, rank: int, message: bytes) -> bytes | None:
        """The identity key's signature over a winner's draft (profile signet).

        None: another draft was signed for that rank, or may have been.  Winners may ask for as
        many as they like, so that this replica goes on.
        """
        claim = draft_claim(cycle, rank, message)
        if not self._guard.allows(claim):
            return None
        self._check(claim)
        return self._sign(message)

    def _check(self, claim: Claim) -> None:
        try:
            self._guard.check(claim)
        except SigningRefused as refused:
            log.critical("%s", refused)
            self._local.refuse(refused.code, str(refused))
            raise


class Keeper:
    """Keeps the bounds above what is signed.  Belongs to one event loop."""

    def __init__(self, guard: Guard, store: GuardStore, hold: Holding | None = None) -> None:
        """Args:
        hold: returns while this process holds the key; None: it is the only one that has it.
        """
        self._hold = hold
        self._guard, self._store = guard, store
        self._window_min = WINDOW_MIN if hold is None else SHARED_WINDOW_MIN
        self._window_max = WINDOW_MAX if hold is None else SHARED_WINDOW_MAX
        self._window, self._raised_at = self._window_min, time.monotonic()
        self._writer = ThreadPoolExecutor(1, "guard")
        self._raising: asyncio.Future[None] | None = None

    async def secure(self) -> Guarded | None:
        """What to write before anything leaves that was signed until now; None: nothing.

        Raises:
            GuardError: the bounds do not cover it and could not be raised; nothing may leave.
        """
        claims = self._guard.unsaved()
        if not claims:
            return None
        if self._hold is not None:
            await self._hold()
        await self._collect()
        while not all(self._store.reservation.covers(claim) for claim in claims):
            self._begin(claims)
            assert self._raising is not None
            await asyncio.shield(self._raising)
            await self._collect()
        self._begin(claims)
        return Guarded(self._store.reservation.number, claims)

    def _begin(self, claims: Iterable[Claim]) -> None:
        """Raise the bounds beside the loop, if that is due and not under way."""
        if self._raising is not None:
            return
        wanted = due(self._store.reservation, claims, self._window)
        if not wanted:
            return
        target = self._store.reservation.raised(wanted, self._next_window())
        loop = asyncio.get_running_loop()
        self._raising = loop.run_in_executor(self._writer, self._store.raise_to, target)

    def _next_window(self) -> int:
        now = time.monotonic()
        lasted, self._raised_at = now - self._raised_at, now
        if lasted < WINDOW_SHORT_S:
            self._window = min(2 * self._window, self._window_max)
        elif lasted > WINDOW_LONG_S:
            self._window = max(self._window // 2, self._window_min)
        return self._window

    async def _collect(self) -> None:
        """Take the result of a raise that has ended.  Raises GuardError, as it did."""
        if self._raising is not None and self._raising.done():
            raising, self._raising = self._raising, None
            await raising

    async def close(self) -> None:
        """Wait for what is under way; the store stays open."""
        if self._raising is not None:
            await asyncio.wait({self._raising})
            self._raising = None
        self._writer.shutdown()


def mismatch(reserved: int, journaled: int, since: int = 0) -> str | None:
    """Why a journal is not of one time with its guard; None: it is.

    Args:
        reserved: number of the guard's bounds.
        journaled: the newest number that the journal knows.
        since: the number when the guard inherited last: what the journal lacks of before is
            within what it inherited, and is left alone.

    Raises:
        ConfigError: the guard is the older one, so nobody knows what the newest was.
    """
    if journaled > reserved:
        raise ConfigError(
            f"the guard was raised {reserved} times, the journal knows {journaled}: the guard is "
            "an old copy.  Put back the newest one, or see `gristmill operator guard reset --help`"
        )
    if max(journaled, since) < reserved - RAISES_AHEAD:
        return (
            f"the signing guard was raised {reserved} times, this journal knows {journaled}: it is "
            "an old copy, or a new one under a used key"
        )
    return None
