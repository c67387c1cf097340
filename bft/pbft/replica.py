"""One PBFT replica: events in, effects out.  The dispatch table, nothing else.

Source: Castro & Liskov, "Practical Byzantine Fault Tolerance" (OSDI 1999), signature variant.
Pure: no clock, no randomness, no I/O.  The driver's part stands in `bft.pbft.events`.
"""

from collections.abc import Callable

from bft.pbft import (
    amnesia,
    catchup,
    epoch,
    history,
    normal,
    offers,
    past,
    requests,
    stable,
    standby,
    transfer,
    views,
)
from bft.pbft.config import Config as Config
from bft.pbft.config import Recovered as Recovered
from bft.pbft.core import Core
from bft.pbft.events import (
    Durable,
    Effect,
    Event,
    Executed,
    Halt,
    HistoryRead,
    Learned,
    Prune,
    Received,
    Submitted,
    Tick,
)
from bft.pbft.messages import (
    BatchBody,
    Checkpoint,
    Commit,
    Decision,
    FetchBatch,
    FetchChunk,
    FetchHistory,
    FetchState,
    ForwardedRequests,
    History,
    Message,
    NewView,
    Prepare,
    PrePrepare,
    Stable,
    StateChunk,
    StateManifest,
    Status,
    Verified,
    ViewChange,
)
from bft.pbft.recovery import restore

_HANDLERS: dict[type[Message], Callable[[Core, Verified], None]] = {
    PrePrepare: normal.on_pre_prepare,
    Prepare: normal.on_prepare,
    Commit: normal.on_commit,
    Checkpoint: stable.on_checkpoint,
    ViewChange: views.on_view_change,
    NewView: views.on_new_view,
    Status: catchup.on_status,
    Decision: catchup.on_decision,
    Stable: catchup.on_stable,
    FetchBatch: catchup.on_fetch_batch,
    BatchBody: catchup.on_batch_body,
    FetchHistory: history.on_fetch,
    History: history.on_history,
    FetchState: offers.on_fetch_state,
    StateManifest: transfer.on_manifest,
    FetchChunk: offers.on_fetch_chunk,
    StateChunk: transfer.on_chunk,
    ForwardedRequests: requests.on_forwarded,
}
_ON_PROBATION = (
    Status,
    Stable,
    FetchBatch,
    FetchHistory,
    FetchState,
    FetchChunk,
    ForwardedRequests,
)
"""What a replica handles before it votes; the rest is sent again when it is missed."""
_FROM_SELF = (Prepare, Commit, Checkpoint, ViewChange)


class Replica:
    """The state machine of one replica."""

    def __init__(self, config: Config, recovered: Recovered | None = None) -> None:
        """A first start, or a restart from what was durable.

        Raises:
            ConfigError: the journal is damaged; this replica must not vote again.
        """
        self._core = restore(config, recovered or Recovered())
        self._core.probation = config.probation_ms > 0 and len(self._core.others) > 0

    def step(self, event: Event, now_ms: int, wall_ms: int) -> list[Effect]:
        """Take one event.

        Args:
            event: see `bft.pbft.events`.
            now_ms: monotonic time of this process; drives all timers.
            wall_ms: Unix time; only for the timestamps of batches.

        Returns:
            Effects in order.  After a `Halt` there are never any more.
        """
        core = self._core
        if core.halted:
            return []
        core.now, core.wall = max(core.now, now_ms), wall_ms
        self._dispatch(event)
        standby.speak(core)
        requests.flush(core)
        self._count_durable()
        if core.wished_view > core.pending_view:
            views.wish(core)
        effects, core.effects = core.effects, []
        if core.halted:
            last = next(at for at, effect in enumerate(effects) if isinstance(effect, Halt))
            return effects[: last + 1]
        return effects

    def _dispatch(self, event: Event) -> None:
        core = self._core
        if isinstance(event, Tick):
            if amnesia.on_probation(core) or epoch.over(core):
                catchup.tell(core)
                return
            normal.deliver(core)
            catchup.tick(core)
            requests.tick(core)
            normal.propose(core)
            views.tick(core)
        elif isinstance(event, Received):
            self._receive(event.message)
        elif isinstance(event, Submitted):
            requests.submit(core, event.request)
        elif isinstance(event, Durable):
            core.durable = max(core.durable, event.lsn)
            while core.prunes and core.prunes[0][0] <= core.durable:
                core.effects.append(Prune(up_to_lsn=core.prunes.popleft()[1]))
        elif isinstance(event, Executed):
            stable.on_executed(core, event)
        elif isinstance(event, Learned):
            history.learn(core, event)
        elif isinstance(event, HistoryRead):
            history.read(core, event.to, event.entries)

    def _receive(self, found: Verified) -> None:
        core = self._core
        kind = type(found.message)
        if found.message.epoch != core.members.epoch:
            past.on_message(core, found)
            return
        if found.sender == core.index:
            amnesia.on_own(core, found)
            return
        amnesia.remember(core, found)
        if not core.probation or kind in _ON_PROBATION:
            _HANDLERS[kind](core, found)

    def _count_durable(self) -> None:
        """Our own votes count from the moment that no crash can erase them."""
        core = self._core
        while core.own_votes and core.own_votes[0][0] <= core.durable:
            vote = core.own_votes.popleft()[1]
            assert isinstance(vote.message, _FROM_SELF)
            _HANDLERS[type(vote.message)](core, vote)

    @property
    def view(self) -> int:
        """The installed view."""
        return self._core.view

    @property
    def pending_view(self) -> int:
        """The view that was last asked for; equal to `view` when active."""
        return self._core.pending_view

    @property
    def active(self) -> bool:
        """Whether this replica votes in its view."""
        return self._core.active

    @property
    def suspects(self) -> bool:
        """Whether this replica would rather be in another view, and has not left this one yet."""
        return self._core.wished_view > self._core.pending_view

    @property
    def primary(self) -> int:
        """Index of the installed view's primary."""
        return self._core.primary

    @property
    def last_decided(self) -> int:
        """All batches through here were handed up."""
        return self._core.last_decided

    @property
    def last_executed(self) -> int:
        """All batches through here were executed."""
        return self._core.last_executed

    @property
    def low_watermark(self) -> int:
        """The last stable checkpoint."""
        return self._core.log.low

    @property
    def pool_size(self) -> int:
        """Requests that wait to be decided."""
        return len(self._core.pool)

    @property
    def catching_up(self) -> bool:
        """Whether others are provably ahead of us."""
        return self._core.behind()

    @property
    def transferring(self) -> bool:
        """Whether a state is being fetched."""
        return self._core.transfer is not None

    @property
    def last_of_epoch(self) -> int | None:
        """The last sequence of this epoch, once it is known."""
        return self._core.log.last

    def needless(self, message: Message) -> bool:
        """Whether `message`, unproven as it is, may be dropped before its signature is checked."""
        return not self._core.probation and normal.needless(self._core, message)

    def pending(self) -> tuple[bytes, ...]:
        """Signed requests that wait to be decided, oldest first: for the next epoch's replica."""
        return tuple(entry.request for entry in self._core.pool.pending())

    def is_pending(self, digest: bytes) -> bool:
        """Whether the request with this SHA-256 waits to be decided here."""
        return digest in self._core.pool

    def is_executed(self, digest: bytes) -> bool:
        """Hint: whether the request with this SHA-256 was decided lately."""
        return digest in self._core.pool.executed

    def has_room(self, client: bytes, size: int) -> bool:
        """Whether one more request of `client`, `size` bytes long, would be taken by the pool."""
        return self._core.pool.has_room(client, size, self._core.index)
