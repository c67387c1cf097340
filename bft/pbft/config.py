"""How one replica is set up, and what its journal gives back after a restart.

Source of the defaults: docs/CONSENSUS.md, "Constants".  Pure.
"""

from dataclasses import dataclass

from bft.codec.envelope import Sign
from bft.errors import ConfigError
from bft.membership import Membership
from bft.ordering.batch import BATCH_REQUESTS_MAX
from bft.pbft.messages import REPLICAS_MAX, WINDOW_MAX


@dataclass(frozen=True, slots=True)
class Era:
    """An epoch that is over."""

    membership: Membership
    last: int  # its last sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Membership, own key, and limits.  Replicas must agree on interval and window only."""

    membership: Membership  # of the epoch that this replica runs in
    index: int  # this replica, in that epoch's list
    sign: Sign
    past: tuple[Era, ...] = ()  # earlier epochs, the one before this last; empty in epoch 0
    checkpoint_interval: int = 128  # K, batches
    window: int = 256  # L, batches; a multiple of K, at least 2 K
    pipeline: int = 16  # undecided batches that a primary keeps in flight
    batch_requests: int = BATCH_REQUESTS_MAX
    batch_bytes: int = 1024 * 1024
    batch_ms: int = 15  # while others are in flight, a batch waits at least so long for requests
    batch_ms_max: int = 250  # or half as long as the last decision took, but no longer than this
    request_ms: int = 4_000  # a pending request older than this is the primary's fault
    progress_ms: int = 2_000  # an assigned, undecided batch older than this as well
    view_change_ms: int = 4_000  # T_base at most; doubles with each failed view
    view_change_ms_min: int = 2_000  # T_base at least, however fast decisions are
    view_change_ms_max: int = 60_000
    reign_ms: int = 60_000  # a primary that was used for so long is replaced by the next
    retransmit_ms: int = 500  # VIEW-CHANGE; doubles up to the maximum
    retransmit_ms_max: int = 4_000
    status_ms: int = 500
    forward_ms: int = 500
    fetch_ms: int = 250  # the next replica is asked for a missing batch
    history_ms: int = 2_000  # the next replica is asked for missing history
    probation_ms: int = 0  # a started replica listens so long before it votes
    history_batches_max: int = 2_048  # a gap larger than this is closed by a state transfer
    transfer_ms: int = 1_000  # the next replica is asked for a manifest or a chunk
    pin_ms: int = 30_000  # a state that somebody fetches is kept so long after a question for it
    skew_ms: int = 10_000  # a proposal further ahead of our wall clock is held
    lag_ms: int = 60_000  # a fresh proposal further behind it is held: time must not be frozen
    pool_client: int = 64  # pending requests of one client
    pool_requests: int = 10_000
    pool_bytes: int = 64 * 1024 * 1024

    def __post_init__(self) -> None:
        interval, window = self.checkpoint_interval, self.window
        if not 1 <= self.membership.n <= REPLICAS_MAX:
            raise ConfigError(f"{self.membership.n} replicas; 1 to {REPLICAS_MAX} expected")
        if not 0 <= self.index < self.membership.n:
            raise ConfigError(f"replica {self.index} of {self.membership.n}")
        if interval < 1 or window < 2 * interval or window % interval or window > WINDOW_MAX:
            raise ConfigError(
                f"window is {window}; a multiple of the checkpoint interval {interval}, "
                f"at least twice as large and at most {WINDOW_MAX} expected"
            )
        if not 1 <= self.batch_requests <= BATCH_REQUESTS_MAX:
            raise ConfigError(f"batch_requests is {self.batch_requests}")
        timeouts = (self.request_ms, self.progress_ms, self.view_change_ms, self.reign_ms)
        if min(self.pipeline, *timeouts) < 1:
            raise ConfigError("pipeline and timeouts must be above 0")
        self._check_past()

    def _check_past(self) -> None:
        epochs = [era.membership.epoch for era in self.past]
        epoch = self.membership.epoch
        if epochs != list(range(epoch - len(epochs), epoch)) or (epoch > 0 and not epochs):
            raise ConfigError(f"epoch {epoch} does not follow the epochs {epochs}")
        if self.first % self.checkpoint_interval:
            raise ConfigError(f"there is no checkpoint at {self.first}, where epoch {epoch} begins")

    @property
    def first(self) -> int:
        """The last sequence of the epoch before; 0 in epoch 0.  This one begins behind it."""
        return self.past[-1].last if self.past else 0


@dataclass(frozen=True, slots=True)
class Inherited:
    """What another process may have signed with our key, which our journal does not tell."""

    sequence: int = 0  # votes and checkpoints through here
    view: int = 0  # in views through this one

    def covers(self, sequence: int, view: int) -> bool:
        """Whether it may have voted at (view, sequence)."""
        return sequence <= self.sequence and view <= self.view


NOTHING = Inherited()


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """What was durable when the process ended.  The default is a replica's first start."""

    records: tuple[tuple[int, bytes], ...] = ()  # (lsn, record), ascending, all that are unpruned
    executed: int = 0  # last sequence that the application holds, with batch and proof stored
    state: tuple[int, bytes] | None = None  # the newest saved state, with its sequence
    gap: tuple[int, int] | None = None  # first and last sequence whose batches are not stored
    last: int | None = None  # of the configured epoch, if what was executed has ended it
    inherited: Inherited = NOTHING  # of a standby that took over, see bft/pbft/standby.py
