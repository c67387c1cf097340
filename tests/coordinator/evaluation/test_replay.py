"""The audit: an honest update is the replica's own; less work, or other work, is another update."""

import dataclasses
from math import isqrt

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


def test_honest_updates_are_the_replicas_own_on_every_segment() -> None:
    """On one kind of processor to the bit, so rounding to bytes costs nothing."""
    for number, unit in NOW.units.items():
        assert told(unit, NOW.train(number)) == ONE


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


def test_an_update_that_leaves_out_all_but_one_tensor_fails_it() -> None:
    """What it tells is right to the bit, so the weights that it leaves out count as well."""
    unit = NOW.units[0]
    honest = decode_change(JOB, unit.segment, NOW.train(0))
    values = honest.values.copy()
    values[values.size // 2 :] = 0
    change = Change(honest.elements, honest.places, values)
    assert replay(JOB, GENESIS, unit, NOW.chunk(0), NOW.seed, change) < MINIMAL.audit_cosine


def test_nine_tenths_of_the_work_at_full_length_fail_it() -> None:
    unit = NOW.units[0]
    less = replace(unit, steps=unit.steps * 9 // 10)
    honest = decode_change(JOB, unit.segment, NOW.train(0))
    update = train_unit(JOB, GENESIS, less, NOW.chunk(0), training_seed(NOW.seed, unit))
    short = decode_change(JOB, unit.segment, update)
    values = short.values * isqrt(honest.squared_norm) // isqrt(short.squared_norm)
    change = Change(short.elements, short.places, values)
    assert replay(JOB, GENESIS, unit, NOW.chunk(0), NOW.seed, change) < MINIMAL.audit_cosine


def test_only_audited_units_are_trained_again() -> None:
    item = NOW.candidate(0, NOW.train(0))
    audited = dataclasses.replace(item, chunk=NOW.chunk(0))
    plain, again = evaluate(JOB, MINIMAL, GENESIS, [item, audited], NOW.batches())
    assert plain.replay == 0
    assert MINIMAL.audit_cosine <= again.replay <= ONE
    assert replace(again, replay=0) == plain
