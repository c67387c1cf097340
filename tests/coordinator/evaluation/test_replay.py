"""The audit: an honest update is the replica's own; less work, or other work, is another update."""

import dataclasses

from msgspec.structs import replace

from chain.params import MINIMAL
from chain.records.contribution import WorkUnit
from chain.rules.assignment import training_seed
from chain.rules.changes import Change
from chain.rules.updates import decode_change
from coordinator.evaluation.evaluator import evaluate
from coordinator.evaluation.replay import ONE, replay
from miner.training.trainer import train_unit
from tests.miner.training.training_run import GENESIS, JOB, cycle

NOW = cycle(GENESIS, 1)


def told(unit: WorkUnit, update: bytes) -> int:
    change = decode_change(JOB, unit.segment, update)
    return replay(JOB, GENESIS, unit, NOW.chunk(unit.unit), NOW.seed, change)


def test_honest_updates_pass_the_audit_on_every_segment() -> None:
    for number, unit in NOW.units.items():
        assert told(unit, NOW.train(number)) >= MINIMAL.audit_cosine


def test_less_work_fails_it() -> None:
    unit = NOW.units[0]
    seed = training_seed(NOW.seed, unit)
    for steps in (unit.steps // 10, unit.steps // 2, unit.steps * 3 // 4):
        less = replace(unit, steps=steps)
        update = train_unit(JOB, GENESIS, less, NOW.chunk(0), seed)
        assert told(unit, update) < MINIMAL.audit_cosine


def test_other_work_fails_it() -> None:
    unit, other = (
        NOW.units[0],
        next(u for u in NOW.units.values() if u.segment == NOW.units[0].segment and u.unit),
    )
    assert told(unit, NOW.train(other.unit)) < MINIMAL.audit_cosine


def test_the_same_work_at_another_length_fails_it() -> None:
    unit = NOW.units[0]
    honest = decode_change(JOB, unit.segment, NOW.train(0))
    for halves in (1, 3):
        changed = Change(honest.elements, honest.places, honest.values * halves // 2)
        told = replay(JOB, GENESIS, unit, NOW.chunk(0), NOW.seed, changed)
        assert told < MINIMAL.audit_cosine


def test_only_audited_units_are_trained_again() -> None:
    item = NOW.candidate(0, NOW.train(0))
    audited = dataclasses.replace(item, chunk=NOW.chunk(0))
    plain, again = evaluate(JOB, MINIMAL, GENESIS, [item, audited], NOW.batches())
    assert plain.replay == 0
    assert MINIMAL.audit_cosine <= again.replay <= ONE
    assert replace(again, replay=0) == plain
