"""The miner's cycle as steps: register, train, commit, reveal, keep the certificate, make blocks.

Each event changes what is known; what is owed then (miner/duties.py) and not under way goes out.
An action that failed is owed again at the next `Seen`, never at once.  A step that the federation
refused is reported and its unit given up; the next cycle goes on as if nothing had been.
Source: paper, section V-A, steps 1 to 4 and 9; docs/PROTOCOL.md, "The cycle".
Pure.
"""

from dataclasses import replace

from chain.records.phase import Phase
from miner.actions import (
    Answered,
    AssignmentSeen,
    BlockOffered,
    CertificateSeen,
    Commit,
    ContributionKept,
    Effect,
    Event,
    Failed,
    Forget,
    Register,
    Report,
    Restored,
    Reveal,
    ScoresSeen,
    Seen,
    StopTraining,
    Train,
    Trained,
    Uploaded,
)
from miner.duties import CycleWork, Session, Stage, UnitWork, owed

ACCEPTED = "accepted"
DONE_BEFORE = "twice"
"""The refusal that says: an earlier request of ours, whose answer was lost, did it."""
WORKS_MAX = 8  # cycles that are followed at once; the oldest is given up
MISSES_MAX = 5  # how often "there is none" is heard before it is believed
TRAININGS_MAX = 3  # attempts at one unit

Effects = tuple[Effect, ...]


def step(session: Session, event: Event) -> tuple[Session, Effects]:
    """Everything that follows from one event."""
    if not isinstance(event, Seen | Restored):
        session = replace(
            session,
            busy=session.busy - {event.action},
            resting=session.resting | {event.action},
        )
    session, effects = _fold(session, event)
    session, closing = _close(session)
    known = session.busy | session.resting
    fresh = tuple(action for action in owed(session) if action not in known)
    return replace(session, busy=session.busy | set(fresh)), (*effects, *closing, *fresh)


def _fold(session: Session, event: Event) -> tuple[Session, Effects]:
    match event:
        case Restored():
            return _on_restored(session, event), ()
        case Seen():
            return _on_seen(session, event)
        case AssignmentSeen():
            return _on_assignment(session, event)
        case Trained():
            return _on_trained(session, event)
        case Answered():
            return _on_answer(session, event)
        case Uploaded():
            update = event.action.update
            work = UnitWork(stage=Stage.UPLOADED, update=update, receipts=event.receipts)
            told = (
                ("cycle", update.cycle),
                ("unit", update.unit),
                ("bytes", update.size),
                ("receipts", len(event.receipts)),
            )
            after = session.with_unit(update.cycle, update.unit, work)
            return after, (Report("uploaded", told),)
        case ScoresSeen():
            return _on_scores(session, event)
        case CertificateSeen():
            return _on_certificate(session, event)
        case BlockOffered():
            return _on_block(session, event)
        case ContributionKept():
            cycle = event.action.scored.cycle
            file = (("cycle", cycle), ("file", event.name))
            kept = Report("certificate", file) if event.name else Report("not-certified", file[:1])
            return _over(session, cycle), (kept,)
        case Failed():
            return _on_failure(session, event)


# What each event changes.


def _on_restored(session: Session, event: Restored) -> Session:
    for update in event.updates:
        work = session.works.get(update.cycle, CycleWork(cycle=update.cycle))
        session = session.with_work(work)
        kept = UnitWork(stage=Stage.TRAINED, update=update, uncertain=True)
        session = session.with_unit(update.cycle, update.unit, kept)
    return session


def _on_seen(session: Session, event: Seen) -> tuple[Session, Effects]:
    place = max(session.place, (event.cycle, event.phase))
    session = replace(session, place=place, resting=frozenset())
    effects: list[Effect] = []
    for cycle in sorted(session.works):
        work = session.works[cycle]
        late: dict[int, str] = {}
        for unit in sorted(work.units):
            reason = _too_late(work.units[unit], cycle, place)
            if reason and not session.in_flight(cycle, unit):
                late[unit] = reason
        if any(work.units[unit].stage == Stage.ASSIGNED for unit in late):
            effects.append(StopTraining(cycle))
        for unit, reason in late.items():
            told = (("cycle", cycle), ("unit", unit), ("reason", reason))
            effects.append(Report("late", told))
            dropped = replace(work.units[unit], stage=Stage.DROPPED)
            session = session.with_unit(cycle, unit, dropped)
    return session, tuple(effects)


def _too_late(work: UnitWork, cycle: int, place: tuple[int, Phase]) -> str:
    """Why the unit can earn nothing any more; empty when it can."""
    if work.uncertain:
        return ""  # the scores will tell
    if work.stage <= Stage.TRAINED and place > (cycle, Phase.TRAINING):
        return "training ended before the unit was committed"
    if work.stage in (Stage.COMMITTED, Stage.UPLOADED) and place > (cycle, Phase.REVEAL):
        return "the reveals ended before the unit was revealed"
    return ""


def _on_assignment(session: Session, event: AssignmentSeen) -> tuple[Session, Effects]:
    assigned, cycle = event.assigned, event.action.cycle
    if assigned is None or assigned.cycle != cycle:
        return session, ()
    before = session.works.get(cycle, CycleWork(cycle=cycle))
    own = [unit for unit in assigned.units if unit.miner == session.miner]
    fresh = {
        unit.unit: UnitWork(stage=Stage.ASSIGNED, unit=unit)
        for unit in own
        if unit.unit not in before.units
    }
    after = replace(before, assigned=assigned, units={**before.units, **fresh})
    if not own:
        return session.with_work(after), (Report("idle", (("cycle", cycle),)),)
    told = tuple(
        Report(
            "assigned",
            (
                ("cycle", cycle),
                ("unit", unit.unit),
                ("segment", unit.segment),
                ("chunk", unit.chunk),
                ("steps", unit.steps),
            ),
        )
        for unit in own
    )
    return session.with_work(after), told


def _on_trained(session: Session, event: Trained) -> tuple[Session, Effects]:
    action, update = event.action, event.update
    work = session.works.get(action.cycle)
    if work is None:
        return session, (Forget(action.cycle),)
    if work.units[update.unit].stage != Stage.ASSIGNED:
        return session, ()
    trained = UnitWork(stage=Stage.TRAINED, unit=action.unit, update=update)
    used = update.resources
    told = (
        ("cycle", update.cycle),
        ("unit", update.unit),
        ("bytes", update.size),
        ("cpu_ms", used.cpu_user_ms + used.cpu_system_ms),
        ("wall_ms", used.wall_ms),
        ("memory_peak_bytes", used.memory_peak_bytes),
        ("energy_mj", used.energy_mj),
        ("energy_estimated", used.estimated),
    )
    return session.with_unit(update.cycle, update.unit, trained), (Report("trained", told),)


def _on_answer(session: Session, event: Answered) -> tuple[Session, Effects]:
    action = event.action
    taken = event.code in (ACCEPTED, DONE_BEFORE)
    refused = Report(
        "refused",
        (("step", type(action).__name__), ("code", event.code), ("reason", event.text)),
    )
    if isinstance(action, Register):
        session = replace(session, registered=max(session.registered, action.cycle))
        return session, (Report("registered", (("cycle", action.cycle),)) if taken else refused,)
    update = action.update
    told = (("cycle", update.cycle), ("unit", update.unit))
    if not taken:
        dropped = UnitWork(stage=Stage.DROPPED, update=update)
        return session.with_unit(update.cycle, update.unit, dropped), (refused,)
    if isinstance(action, Commit):
        work = UnitWork(stage=Stage.COMMITTED, update=update)
        return session.with_unit(update.cycle, update.unit, work), (Report("committed", told),)
    work = UnitWork(stage=Stage.REVEALED, update=update)
    return session.with_unit(update.cycle, update.unit, work), (Report("revealed", told),)


def _on_scores(session: Session, event: ScoresSeen) -> tuple[Session, Effects]:
    work = session.works.get(event.action.cycle)
    if work is None or work.scored is not None:
        return session, ()
    scored = event.scored
    if scored is None or scored.cycle != work.cycle:
        return session.with_work(replace(work, misses=work.misses + 1)), ()
    work = replace(work, scored=scored, misses=0)
    own = [row for row in scored.rows if row.miner == session.miner]
    told = [
        Report(
            "measured",
            (
                ("cycle", row.cycle),
                ("unit", row.unit),
                ("gain_micronats", row.gain),
                ("advantage", row.advantage),
                ("coverage", row.coverage),
                ("quality", row.quality),
                ("merit", row.merit),
                ("tickets", row.tickets),  # 0 while the miner is on trial
            ),
        )
        for row in own
    ]
    total = (
        ("cycle", work.cycle),
        ("tickets", work.tickets(session.miner)),
        ("tickets_total", scored.tickets_total),
    )
    session = session.with_work(replace(work, over=not own))
    return session, (*told, Report("scored", total))


def _on_certificate(session: Session, event: CertificateSeen) -> tuple[Session, Effects]:
    work = session.works.get(event.action.cycle)
    if work is None:
        return session, ()
    after_end = session.place[0] > work.cycle
    certificate = event.certificate
    if certificate is None:
        return session.with_work(replace(work, misses=work.misses + 1)), ()
    work = replace(work, final=after_end, misses=0)
    if work.certificate is not None and certificate.rank <= work.certificate.rank:
        return session.with_work(work), ()
    work = replace(work, certificate=certificate, certificate_data=event.data)
    told = (
        ("cycle", work.cycle),
        ("rank", certificate.rank),
        ("winner", certificate.winner.hex()),
        ("winner_tickets", certificate.tickets),
        ("tickets_total", certificate.tickets_total),
    )
    name = "won" if certificate.winner == session.miner else "drawn"
    return session.with_work(work), (Report(name, told),)


def _on_block(session: Session, event: BlockOffered) -> tuple[Session, Effects]:
    for cycle in sorted(session.works):
        work = session.works[cycle]
        if work.certificate is not None and work.certificate_data == event.action.certificate:
            if event.accepted:
                session = session.with_work(replace(work, offered=work.certificate.rank))
            told = (
                ("cycle", cycle),
                ("height", event.height),
                ("hash", event.block_hash[::-1].hex()),
                ("accepted", event.accepted),
            )
            return session, (Report("block", told),)
    return session, ()


def _on_failure(session: Session, event: Failed) -> tuple[Session, Effects]:
    action = event.action
    if isinstance(action, Commit | Reveal):
        update = action.update
        work = session.works.get(update.cycle)
        if work is not None:
            unsure = replace(work.units[update.unit], uncertain=True)
            session = session.with_unit(update.cycle, update.unit, unsure)
    if isinstance(action, Train):
        session = _count_attempt(session, action)
    told = (("step", type(action).__name__), ("reason", event.reason))
    return session, (Report("failed", told),)


def _count_attempt(session: Session, action: Train) -> Session:
    """Training failed; a unit that fails again and again is given up."""
    of = session.works.get(action.cycle)
    if of is None:
        return session
    work = of.units[action.unit.unit]
    failed = replace(work, attempts=work.attempts + 1)
    if failed.attempts >= TRAININGS_MAX:
        failed = replace(failed, stage=Stage.DROPPED)
    return session.with_unit(action.cycle, action.unit.unit, failed)


# The end of a cycle.


def _over(session: Session, cycle: int) -> Session:
    work = session.works.get(cycle)
    return session if work is None else session.with_work(replace(work, over=True))


def _close(session: Session) -> tuple[Session, Effects]:
    """Forget cycles from which nothing more can come."""
    effects: list[Effect] = []
    works = dict(session.works)
    for cycle in sorted(works):
        work = works[cycle]
        if session.place[0] <= cycle:
            continue
        crowded = len(works) > WORKS_MAX
        if work.misses > MISSES_MAX or (crowded and not work.over):
            effects.append(Report("not-certified", (("cycle", cycle),)))
        elif (work.revealed and not work.over) or session.in_flight(cycle):
            continue
        del works[cycle]
        effects.append(Forget(cycle))
    return replace(session, works=works), tuple(effects)
