"""A whole training run of the demonstration's job: the model learns, and only work is paid.

docs/PROTOCOL.md, "Scores": nothing for noise, zeros and copies; less for less work.
"""

import numpy as np
import pytest
from msgspec.structs import replace

from chain.params import MINIMAL
from chain.records.evaluation import References, ScoreRow
from chain.rules.families.registry import segment_shapes
from chain.rules.scoring import initial_references
from chain.rules.updates import decode_update
from coordinator.evaluation.evaluator import heldout
from miner.training.compression import encode_update
from miner.training.trainer import train_unit
from tests.miner.training.training_run import GENESIS, JOB, Cycle, cycle, finish

CYCLES = 3

Run = list[tuple[Cycle, dict[int, bytes], tuple[References, ...], tuple[ScoreRow, ...], bytes]]


@pytest.fixture(scope="module")
def run() -> Run:
    """Three cycles of six honest miners."""
    base, references = GENESIS, initial_references(MINIMAL, JOB)
    done: Run = []
    for number in range(1, CYCLES + 1):
        now = cycle(base, number)
        updates = {unit: now.train(unit) for unit in sorted(now.units)}
        base, after, rows = finish(now, updates, references)
        done.append((now, updates, references, rows, base))
        references = after
    return done


def test_held_out_accuracy_rises_and_loss_falls_in_every_cycle(run: Run) -> None:
    measured = [heldout(JOB, GENESIS), *(heldout(JOB, after) for *_, after in run)]
    losses = [loss for loss, _, _ in measured]
    assert losses == sorted(losses, reverse=True)
    percent = [100 * correct // records for _, correct, records in measured]
    assert percent[0] < 30
    assert percent[1] >= 65
    assert percent[2] >= 80
    assert percent[3] >= 88


def test_every_honest_unit_earns_tickets_in_every_cycle(run: Run) -> None:
    for *_, rows, _ in run:
        assert len(rows) == 6
        assert all(row.valid and row.gain > 0 and row.advantage > 0 for row in rows)
        assert all(row.tickets > 0 for row in rows)


def test_noise_and_zeros_earn_nothing(run: Run) -> None:
    for now, _, references, honest, _ in run:
        generator = np.random.default_rng(1)
        noise, zeros = [], []
        for number, unit in sorted(now.units.items()):
            shapes = segment_shapes(JOB, unit.segment)
            drawn = {name: generator.normal(0, 0.02, shape) for name, shape in shapes.items()}
            noise.append((number, encode_update(JOB, unit.segment, drawn)))
            nothing = {name: np.zeros(shape) for name, shape in shapes.items()}
            zeros.append((number, encode_update(JOB, unit.segment, nothing)))
        assert {row.tickets for row in now.score(zeros, references)} == {0}
        earned = sum(row.tickets for row in now.score(noise, references))
        assert 50 * earned < sum(row.tickets for row in honest)


def test_copies_of_another_units_update_earn_a_fraction_of_honest_work(run: Run) -> None:
    copied = honest = 0
    for now, updates, references, rows, _ in run:
        partners = [
            (unit, other)
            for unit in now.units
            for other in now.units
            if unit != other and now.units[unit].segment == now.units[other].segment
        ]
        copies = [(unit, updates[other]) for unit, other in partners]
        copied += sum(row.tickets for row in now.score(copies, references))
        honest += sum(row.tickets for row in rows)
    assert 5 * copied < honest


def test_half_the_work_earns_less_than_all_of_it(run: Run) -> None:
    """Without any audit; benchmarks/cheating.py has the whole table."""
    lazy = honest = 0
    for now, _, references, rows, _ in run:
        skimped = []
        for number, unit in now.units.items():
            chunk = now.chunk(number)[: JOB.chunk_records // 2]
            short = replace(unit, steps=unit.steps // 2)
            skimped.append((number, train_unit(JOB, now.base, short, chunk, now.seed)))
        lazy += sum(row.tickets for row in now.score(skimped, references))
        honest += sum(row.tickets for row in rows)
    assert 10 * lazy < 9 * honest


def test_scaling_an_update_up_pays_nothing(run: Run) -> None:
    """Ten times the honest change, from the second cycle on, when norms are known."""
    for now, updates, references, rows, _ in run[1:]:
        louder = []
        for number, unit in sorted(now.units.items()):
            changes = decode_update(JOB, unit.segment, updates[number])
            told = {name: part * 10 / 2**JOB.fraction_bits for name, part in changes.items()}
            louder.append((number, encode_update(JOB, unit.segment, told)))
        earned = sum(row.tickets for row in now.score(louder, references))
        honest = sum(row.tickets for row in rows)
        assert 4 * earned < 5 * honest


def test_a_copy_for_another_segment_of_another_shape_is_invalid(run: Run) -> None:
    now, updates, references, _, _ = run[0]
    pairs = [
        (unit, updates[other])
        for unit in now.units
        for other in now.units
        if now.units[unit].segment != now.units[other].segment
    ]
    assert {(row.valid, row.tickets) for row in now.score(pairs, references)} == {(0, 0)}
