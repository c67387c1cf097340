"""The heart of a coordinator: one `step` that joins consensus, the cycle machine and signing.

Events go to the PBFT core; decided batches go to the cycle machine; what the new state asks of this
replica (coordinator/cycle/duties.py) goes back to the core as this replica's own requests.
Pure: the simulator runs exactly this.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import replace

from bft.codec.canonical import Record
from bft.dkg.secrets import Secrets
from bft.errors import DecodeError
from bft.membership import Membership
from bft.ordering.request import seal_request
from bft.pbft import events as pbft
from bft.pbft import past
from bft.pbft.config import Config, Recovered
from bft.pbft.messages import Verified
from bft.pbft.replica import Replica as ConsensusReplica
from bft.pbft.snapshots import state_root
from chain.bitcoin.ledger import Coins
from chain.records.evaluation import EvaluationTable, SnapshotVote
from chain.records.membership import CeremonyElapsed
from chain.records.operations import encode_operation
from chain.records.score_log import Ordered
from chain.records.votes import BlockSeen, Elapsed, SignatureShare
from coordinator import custody
from coordinator.application import Application
from coordinator.blocks import BlockJudge
from coordinator.custody import Custody, SignShare, unguarded
from coordinator.cycle import duties
from coordinator.cycle.state import Rules, State
from coordinator.drafts import DraftJudge, SignDraft, unguarded_drafts
from coordinator.effects import (
    Announce,
    Answered,
    Append,
    BlockAccepted,
    BlockArrived,
    DraftArrived,
    Effect,
    Evaluate,
    Evaluated,
    Event,
    Installed,
    MakeSnapshot,
    SaveState,
    SecretsKept,
    Stepped,
)
from coordinator.refill import Diverged, LogGap, Refill

Duty = duties.Duty | custody.Duty

RESUBMIT_MS = 4_000
"""A duty's request that was not executed so long after it was submitted is submitted anew."""


class CoordinatorReplica:
    """One replica of the federation, without clock, disk or socket."""

    def __init__(
        self,
        rules: Rules,
        config: Config,
        secrets: Secrets,
        recovered: Recovered,
        saved: bytes | None = None,
        tail: Iterable[tuple[int, bytes]] = (),
        gap: LogGap | None = None,
        sign_share: SignShare = unguarded,
        sign_draft: SignDraft | None = None,
    ) -> None:
        """Resume from what was durable.

        Args:
            config: of the epoch that this replica votes in: the one that the state names, or the
                one before while the proof of its last state is not here.
            secrets: its seeds and key shares, as they were kept.
            saved: the newest `SaveState`, if any.
            tail: (sequence, batch) of all decided batches after it, in order.
            gap: what a state transfer left out of the log, if anything.
            sign_share: what the signing guard lets it sign with its key shares.
            sign_draft: the same for winners' drafts; None: there is no guard.
        """
        self._config = config
        self._custody = Custody(rules, config.membership.keys[config.index], secrets, sign_share)
        self._application = Application(rules, saved)
        self._refill = None if gap is None else Refill(rules, gap)
        kept = None if saved is None else (self._application.state.sequence, saved)
        for sequence, batch in tail:
            self._application.execute(sequence, batch)
        recovered = replace(
            recovered,
            state=kept,
            gap=None if self._refill is None else self._refill.sequences,
            last=self._last,
        )
        self._consensus = ConsensusReplica(config, recovered)
        self._cseq = 0
        self._submitted: dict[object, int] = {}  # duty -> when its request was last submitted
        self._started: dict[object, int] = {}  # duty -> when this replica first had it
        self._asked: set[object] = set()  # Measure and Step duties that the driver works on
        self._results: dict[object, Record] = {}  # Measure or Step duty -> operation to submit
        self._judge = BlockJudge(rules)
        own = config.membership.keys[config.index]
        self._drafts = DraftJudge(rules, own, sign_draft or unguarded_drafts(config.sign))
        self._block: tuple[duties.Witness, bytes] | None = None  # voted header

    # What the driver may read.

    @property
    def state(self) -> State:
        """The cycle machine's state."""
        return self._application.state

    @property
    def rules(self) -> Rules:
        """The chain's rules."""
        return self._application.rules

    @property
    def index(self) -> int:
        """This replica's index."""
        return self._config.index

    @property
    def view(self) -> int:
        """Consensus' view."""
        return self._consensus.view

    @property
    def active(self) -> bool:
        """False while a view change is on."""
        return self._consensus.active

    @property
    def suspects(self) -> bool:
        """Whether this replica would rather have another primary."""
        return self._consensus.suspects

    @property
    def primary(self) -> int:
        """Index of the view's primary."""
        return self._config.membership.primary(self.view)

    @property
    def members(self) -> Membership:
        """The replicas of the epoch that this one votes in."""
        return self._config.membership

    @property
    def epoch(self) -> int:
        """That epoch."""
        return self._config.membership.epoch

    def opened(self, frame: bytes) -> Verified | None:
        """The message in a frame of that epoch, or of the one before; None: nothing new.

        Raises:
            DecodeError, BadSignature: see `bft.pbft.past.open_frame`.
        """
        return past.open_frame(frame, self._config, self._consensus.needless)

    @property
    def over(self) -> bool:
        """Whether that epoch's last batch is executed: the state is the next epoch's."""
        return self.state.epoch != self.epoch

    @property
    def _last(self) -> int | None:
        """That epoch's last sequence, once it is known."""
        return self.state.began if self.over else self.state.last

    @property
    def waiting(self) -> tuple[bytes, ...]:
        """Signed requests that are not decided: for the next epoch's replica."""
        return self._consensus.pending()

    @property
    def has_share(self) -> bool:
        """Whether this replica can sign with a key share of the epoch."""
        return not self.over and self._custody.share(self.state) is not None

    @property
    def log_missing(self) -> tuple[int, int] | None:
        """Log entries that are still to come: the first, and the first after them."""
        return None if self._refill is None else self._refill.missing

    def fresh(self, client: bytes, cseq: int) -> bool:
        """Whether (client, cseq) was not executed yet."""
        return self._application.clients.fresh(client, cseq)

    # The step.

    def step(self, event: Event, now_ms: int, wall_ms: int) -> list[Effect]:
        """Everything that follows from one event; see coordinator/effects.py for the contract."""
        effects: list[Effect] = []
        sequence = self.state.sequence
        match event:
            case Evaluated():
                table = EvaluationTable(cycle=event.cycle, rows=event.rows)
                self._results[duties.Measure(event.cycle)] = table
            case Stepped():
                self._results[duties.Step(event.cycle)] = SnapshotVote(
                    cycle=event.cycle, models=event.models, records=event.records
                )
            case BlockArrived():
                effects += self._on_block(event)
            case DraftArrived():
                coins = self._coins_of(event)
                effects.append(self._drafts.judge(self.state, event.block, coins))
            case SecretsKept():
                self._custody.kept(event.secrets)
            case _:
                effects += self._consent(event, now_ms, wall_ms)
        if self.over:
            return effects  # the next epoch's replica does what this state asks
        if isinstance(event, pbft.Tick) or _is_own(event) or self.state.sequence != sequence:
            effects += self._work(now_ms, wall_ms)
        return effects

    def _consent(self, event: pbft.Event, now_ms: int, wall_ms: int) -> list[Effect]:
        """One event into consensus; batches that it decides are executed at once, in order."""
        effects: list[Effect] = []
        events: deque[pbft.Event] = deque([event])
        while events:
            for effect in self._consensus.step(events.popleft(), now_ms, wall_ms):
                match effect:
                    case pbft.Decided():
                        effects += self._execute(effect)
                        events.append(self._executed(effect, effects))
                    case pbft.InstallState():
                        effects.append(self._install(effect))
                    case pbft.Refilled():
                        effects.append(self._restore(effect))
                    case _:
                        effects.append(effect)
        return effects

    def _executed(self, decided: pbft.Decided, effects: list[Effect]) -> pbft.Executed:
        """What consensus hears of it; a state at a checkpoint is also saved."""
        if not decided.checkpoint:
            return pbft.Executed(decided.sequence, bytes(32), last=self._last)
        state = self._application.save()
        effects.append(SaveState(decided.sequence, state))
        return pbft.Executed(decided.sequence, state_root(state), state, last=self._last)

    def _install(self, effect: pbft.InstallState) -> Effect:
        """Go on from a state that a quorum signed; the batches before it come later."""
        before = self._application
        try:
            self._application = Application(self.rules, effect.state)
        except DecodeError as error:
            return pbft.Halt(f"the state that a quorum signed at {effect.sequence}: {error}")
        gap = LogGap(
            sequence=before.state.sequence,
            index=before.state.log.size,
            last_sequence=effect.sequence,
            end_index=self.state.log.size,
            state_root=effect.state_root,
            base=before.save(),
            batches=(),
        )
        self._refill = Refill(self.rules, gap)
        return Installed(
            sequence=effect.sequence,
            state=effect.state,
            state_root=effect.state_root,
            end_index=gap.end_index,
            base_sequence=gap.sequence,
            base_index=gap.index,
            base=gap.base,
        )

    def _restore(self, effect: pbft.Refilled) -> Effect:
        """One batch of those that were skipped."""
        assert self._refill is not None
        try:
            restored = self._refill.execute(effect.sequence, effect.batch, effect.proof)
        except Diverged as error:
            return pbft.Halt(str(error))
        if restored.closed:
            self._refill = None
        return restored

    def _execute(self, decided: pbft.Decided) -> list[Effect]:
        applied = self._application.execute(decided.sequence, decided.batch)
        effects: list[Effect] = [
            Append(
                sequence=decided.sequence,
                batch=decided.batch,
                proof=decided.proof,
                first_index=applied.first_index,
                records=applied.records,
            ),
            Answered(applied.answers),
        ]
        effects += [
            Announce(self.state.agreed_ms, record)
            for record in applied.records
            if not isinstance(record, Ordered)
        ]
        return effects

    def _on_block(self, event: BlockArrived) -> list[Effect]:
        """Check a block against the certificate in force; vote for the first valid one."""
        state = self.state
        said, header = self._judge.judge(state, event.block, self._coins_of(event))
        if isinstance(said, BlockAccepted):
            duty = duties.Witness(state.cycle, state.rank, state.certificate)
            if self._block is None or self._block[0] != duty:
                self._block = (duty, header)
        return [said]

    def _coins_of(self, event: BlockArrived | DraftArrived) -> Coins | None:
        """Those of the tip; coins of an earlier block say nothing about this one."""
        coins = event.coins
        return coins if coins is not None and coins.height == self.state.tip.height else None

    # Duties.

    def _work(self, now_ms: int, wall_ms: int) -> list[Effect]:
        """Do what the state asks of this replica and has not been asked for lately."""
        sequence = self.state.sequence
        owed: tuple[Duty, ...] = (
            *duties.duties(self.rules, self.state, self.index),
            *self._custody.duties(self.state),
        )
        self._forget(owed)
        wanted = self._custody.wanted(self.state)
        effects: list[Effect] = [] if wanted is None else [wanted]
        for duty in owed:
            if self.state.sequence != sequence:  # a federation of one has executed what we asked
                break  # for: something else may be owed now, and the next tick does it
            started = self._started.setdefault(duty, now_ms)
            last = self._submitted.get(duty)
            if last is not None and now_ms - last < RESUBMIT_MS:
                continue
            if isinstance(duty, duties.Measure | duties.Step) and duty not in self._results:
                effects += self._delegate(duty)
                continue
            operations = self._fulfil(duty, started, now_ms)
            if operations:
                self._submitted[duty] = now_ms
            for operation in operations:
                effects += self._consent(self._request(operation, wall_ms), now_ms, wall_ms)
        return effects

    def _forget(self, owed: tuple[Duty, ...]) -> None:
        """Drop what belongs to duties that are done or void."""
        self._submitted = {duty: at for duty, at in self._submitted.items() if duty in owed}
        self._started = {duty: at for duty, at in self._started.items() if duty in owed}
        self._results = {duty: record for duty, record in self._results.items() if duty in owed}
        self._asked = {duty for duty in self._asked if duty in owed}

    def _delegate(self, duty: duties.Measure | duties.Step) -> list[Effect]:
        """Ask the driver for a measurement or an outer step, once."""
        if duty in self._asked:
            return []
        self._asked.add(duty)
        if isinstance(duty, duties.Measure):
            return [Evaluate(duties.measurement(self.rules, self.state))]
        return [MakeSnapshot(duties.outer_step(self.rules, self.state))]

    def _fulfil(self, duty: Duty, started: int, now_ms: int) -> tuple[Record, ...]:
        """Operations to get ordered for one duty, now."""
        match duty:
            case duties.Ceremony():
                return self._custody.speak(self.state.transcript)
            case duties.Sign():
                return self._share(duty)
            case duties.Watch():
                if now_ms - started < duty.duration_ms:
                    return ()
                elapsed = Elapsed(cycle=duty.cycle, phase=duty.phase, attempt=duty.attempt)
                return (elapsed,)
            case duties.WatchResharing():
                if now_ms - started < duty.duration_ms:
                    return ()
                return (CeremonyElapsed(session=duty.session, phase=duty.phase),)
            case duties.Measure() | duties.Step():
                return (self._results[duty],)
            case duties.Witness():
                if self._block is None or self._block[0] != duty:
                    return ()
                seen = BlockSeen(cycle=duty.cycle, rank=duty.rank, header=self._block[1])
                return (seen,)
            case custody.Speak() | custody.Prove() | custody.Certify():
                return self._custody.fulfil(duty, self.state)

    def _share(self, duty: duties.Sign) -> tuple[SignatureShare, ...]:
        """None from a replica that got no key share in this epoch, or has lost it."""
        return self._custody.sign(self.state, duty.asked)

    def _request(self, operation: Record, wall_ms: int) -> pbft.Submitted:
        """This replica's own request; its sequence number outlives a lost clock and a restart."""
        key = self._config.membership.keys[self.index]
        self._cseq = max(self._cseq, self._application.clients.high(key), wall_ms) + 1
        sealed = seal_request(
            self.rules.chain_id, key, self._cseq, encode_operation(operation), self._config.sign
        )
        return pbft.Submitted(sealed)


def _is_own(event: Event) -> bool:
    """Whether the event may change what this replica can say, without a batch."""
    return isinstance(event, Evaluated | Stepped | BlockArrived | SecretsKept)
