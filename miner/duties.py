"""What a miner knows of its cycles, and what follows that it should do.

Level-triggered: what is owed follows from what is known, so a miner that was restarted, or whose
request got lost, finds out by itself what to do.
Pure.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum

from chain.records.certificate import BlockCertificate
from chain.records.contribution import WorkUnit
from chain.records.phase import Phase
from chain.records.score_log import Assigned, Scored
from miner.actions import (
    Action,
    Commit,
    FetchAssignment,
    FetchCertificate,
    FetchScores,
    KeepContribution,
    MakeBlock,
    Register,
    Reveal,
    Train,
    Update,
    Upload,
)


class Stage(IntEnum):
    """How far a unit is."""

    ASSIGNED = 0
    TRAINED = 1  # kept on disk
    COMMITTED = 2
    UPLOADED = 3
    REVEALED = 4
    DROPPED = 5  # late, or refused


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitWork:
    """One unit of ours."""

    stage: Stage
    unit: WorkUnit | None = None  # known while it is to be trained
    update: Update | None = None
    receipts: tuple[bytes, ...] = ()
    attempts: int = 0  # trainings that failed
    uncertain: bool = False  # more of it may have been ordered than this process knows


@dataclass(frozen=True, slots=True, kw_only=True)
class CycleWork:
    """One cycle of ours."""

    cycle: int
    assigned: Assigned | None = None
    units: Mapping[int, UnitWork] = field(default_factory=dict)
    scored: Scored | None = None
    certificate: BlockCertificate | None = None
    certificate_data: bytes = b""
    final: bool = False  # the certificate was asked for after the cycle's end
    offered: int = -1  # highest rank of ours whose block was taken by somebody
    misses: int = 0
    over: bool = False

    @property
    def revealed(self) -> bool:
        """Whether scores of ours may exist."""
        return any(
            work.stage == Stage.REVEALED or (work.uncertain and work.stage != Stage.DROPPED)
            for work in self.units.values()
        )

    def tickets(self, miner: bytes) -> int:
        """The miner's tickets, 0 while they are not known."""
        rows = self.scored.rows if self.scored is not None else ()
        return sum(row.tickets for row in rows if row.miner == miner)


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What the miner knows.  A step gives a new one."""

    miner: bytes  # 33 bytes, identity key
    place: tuple[int, Phase] = (0, Phase.KEYGEN)
    registered: int = 0  # highest cycle whose registration was answered
    works: Mapping[int, CycleWork] = field(default_factory=dict)
    busy: frozenset[Action] = frozenset()  # asked of the edge, not answered
    resting: frozenset[Action] = frozenset()  # answered; not asked again before the next `Seen`

    def in_flight(self, cycle: int, unit: int | None = None) -> bool:
        """Whether a request or upload for this unit, or any of the cycle, waits for its answer."""
        return any(
            action.update.cycle == cycle and unit in (None, action.update.unit)
            for action in self.busy
            if isinstance(action, Commit | Upload | Reveal)
        )

    def with_work(self, work: CycleWork) -> "Session":
        """With this cycle's work changed."""
        return replace(self, works={**self.works, work.cycle: work})

    def with_unit(self, cycle: int, unit: int, work: UnitWork) -> "Session":
        """With this unit's work changed; a cycle that was given up stays so."""
        of = self.works.get(cycle)
        if of is None:
            return self
        return self.with_work(replace(of, units={**of.units, unit: work}))


def owed(session: Session) -> Iterator[Action]:
    """All that the miner would do now, whether it is under way or not."""
    cycle, phase = session.place
    if phase < Phase.REGISTRATION:
        return
    opening = cycle if phase == Phase.REGISTRATION else cycle + 1
    if opening > session.registered:
        yield Register(opening)
    here = session.works.get(cycle)
    unknown = here is None or (here.assigned is None and not here.over)
    if phase in (Phase.TRAINING, Phase.REVEAL) and unknown:
        yield FetchAssignment(cycle)
    for number in sorted(session.works):
        work = session.works[number]
        if work.over:
            continue
        for unit in sorted(work.units):
            yield from _owed_for_unit(work, work.units[unit], session.place)
        yield from _owed_for_cycle(session, work)


def _owed_for_unit(work: CycleWork, unit: UnitWork, place: tuple[int, Phase]) -> Iterator[Action]:
    training = place == (work.cycle, Phase.TRAINING)
    revealing = place == (work.cycle, Phase.REVEAL)
    if unit.stage == Stage.ASSIGNED and training:
        assert work.assigned is not None and unit.unit is not None
        yield Train(work.cycle, work.assigned.base, work.assigned.seed, unit.unit)
    if unit.update is None:
        return
    if unit.stage == Stage.TRAINED and training:
        yield Commit(unit.update)
    committed = unit.stage == Stage.COMMITTED or (unit.stage == Stage.TRAINED and unit.uncertain)
    if committed and revealing:
        yield Upload(unit.update)
    if unit.stage == Stage.UPLOADED and revealing:
        yield Reveal(unit.update, unit.receipts)


def _owed_for_cycle(session: Session, work: CycleWork) -> Iterator[Action]:
    """Scores, certificates and blocks, once the reveals are over."""
    cycle, place = work.cycle, session.place
    if not work.revealed or place < (cycle, Phase.DRAW):
        return
    if work.scored is None:
        yield FetchScores(cycle)
        return
    if place == (cycle, Phase.BLOCK) and work.tickets(session.miner):
        yield FetchCertificate(cycle)
        if (
            work.certificate is not None
            and work.certificate.winner == session.miner
            and work.certificate.rank > work.offered
        ):
            yield MakeBlock(work.certificate_data)
    if place[0] > cycle:
        if not work.final:
            yield FetchCertificate(cycle)
        elif work.certificate is not None:
            yield KeepContribution(work.scored, work.certificate_data)
