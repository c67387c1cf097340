"""What a replica keeps to itself: a fresh seed for each session, its key share of each epoch.

A seed serves one session.  It is drawn by the driver and durable before the first message that
depends on it, and it is forgotten when the session is over: a seed that served all sessions would,
once stolen, open every sharing that ever stood in the log.  A key share is forgotten some time
after the next epoch's has signed.
Pure: nothing here draws, writes or erases.
"""

from typing import Annotated

from msgspec import Meta

from bft.codec.canonical import Record
from bft.codec.types import U16, U32, Bytes32
from bft.crypto import bls
from bft.crypto.threshold import KeyShare
from bft.errors import ConfigError

SEED_BYTES = 32
SEEDS_MAX = 64
"""Sessions whose seed is kept at a time: the attempts of one proposal, and to spare."""

SHARES_MAX = 64
"""Epochs whose key share is kept at a time: two, or more when epochs follow quickly."""


class SessionSeed(Record):
    """All secrets of one session derive from it."""

    session: Bytes32
    seed: Bytes32

    def __repr__(self) -> str:
        return f"SessionSeed(session={self.session.hex()[:16]})"


class HeldShare(Record):
    """This replica's key share in the sharing of one epoch."""

    epoch: U32
    index: U16  # of the replica in that epoch
    secret: Bytes32  # the scalar, big-endian

    def __repr__(self) -> str:
        return f"HeldShare(epoch={self.epoch}, index={self.index})"


class Secrets(Record):
    """Everything secret that key generation and signing need, oldest first."""

    seeds: Annotated[tuple[SessionSeed, ...], Meta(max_length=SEEDS_MAX)] = ()
    shares: Annotated[tuple[HeldShare, ...], Meta(max_length=SHARES_MAX)] = ()

    def seed_for(self, session: bytes) -> bytes | None:
        """The session's 32 secret bytes, if this replica has drawn them and not forgotten them."""
        return next((held.seed for held in self.seeds if held.session == session), None)

    def share_of(self, epoch: int) -> KeyShare | None:
        """The key share in the sharing of `epoch`, if this replica has one."""
        for held in self.shares:
            if held.epoch == epoch:
                return KeyShare(index=held.index, secret=bls.scalar_from_bytes(held.secret))
        return None

    def with_seed(self, session: bytes, seed: bytes) -> "Secrets":
        """These and one seed more; the oldest goes when there are SEEDS_MAX.

        Raises:
            ConfigError: `seed` is not 32 bytes, or the session has another one.
        """
        if len(seed) != SEED_BYTES:
            raise ConfigError(f"a session's seed has {SEED_BYTES} bytes; {len(seed)} came")
        held = self.seed_for(session)
        if held is not None and held != seed:
            raise ConfigError("the session has another seed already")
        if held is not None:
            return self
        added = SessionSeed(session=session, seed=seed)
        return Secrets(seeds=(*self.seeds[1 - SEEDS_MAX :], added), shares=self.shares)

    def with_share(self, epoch: int, share: KeyShare) -> "Secrets":
        """These and one key share more; the oldest goes when there are SHARES_MAX.

        Raises:
            ConfigError: the epoch has another key share.
        """
        held = self.share_of(epoch)
        if held is not None and held != share:
            raise ConfigError(f"epoch {epoch} has another key share already")
        if held is not None:
            return self
        secret = bls.scalar_to_bytes(share.secret)
        added = HeldShare(epoch=epoch, index=share.index, secret=secret)
        return Secrets(seeds=self.seeds, shares=(*self.shares[1 - SHARES_MAX :], added))

    def without_seeds(self, kept: frozenset[bytes] = frozenset()) -> "Secrets":
        """These without the seeds of all sessions but `kept`."""
        seeds = tuple(held for held in self.seeds if held.session in kept)
        return Secrets(seeds=seeds, shares=self.shares)

    def without_shares_before(self, epoch: int) -> "Secrets":
        """These without the key shares of epochs before `epoch`."""
        shares = tuple(held for held in self.shares if held.epoch >= epoch)
        return Secrets(seeds=self.seeds, shares=shares)


def for_session(session: bytes, seed: bytes) -> Secrets:
    """One session's seed and nothing else.  Raises ConfigError: it is not 32 bytes."""
    return Secrets().with_seed(session, seed)
