"""f = 1 of 4 replicas lies: what the median, the signatures and the views hold against it."""

from contextlib import suppress

import pytest

from bft.codec.canonical import decode
from bft.codec.envelope import Envelope
from bft.errors import Refused
from bft.ordering.batch import decode_batch
from bft.ordering.request import Request
from chain.records.operations import decode_operation
from chain.records.score_log import Aggregated, BlockFinal, Drawn, RankVoided, Scored
from coordinator.application import Application
from coordinator.cycle.draft import Draft
from coordinator.cycle.machine import apply
from coordinator.cycle.state import Phase
from tests.sim.faults import (
    Equivocator,
    FalseWitness,
    Impatient,
    LyingScorer,
    Mute,
    ShareCorrupter,
    WrongModel,
)
from tests.sim.world import Settings, World

LIAR = 1


def run(seed: int, *, kinds: dict[int, type] | None = None, noise: int = 300) -> World:
    world = World(seed, kinds=kinds, settings=Settings(noise_micronats=noise))
    world.run_cycles(2)
    return world


def test_a_lying_scorer_changes_no_winner_and_the_audit_names_it() -> None:
    """Where honest replicas measure the same, the lower median of four is theirs to the bit."""
    honest, lied = run(500, noise=0), run(500, noise=0, kinds={LIAR: LyingScorer})
    for kind in (Scored, Drawn):
        expected = [record for record in honest.records() if isinstance(record, kind)]
        assert [record for record in lied.records() if isinstance(record, kind)] == expected
    assert not honest.verdict().accusations
    assert {finding.replicas for finding in lied.verdict().accusations} == {(LIAR,)}


def test_a_median_lies_between_honest_measurements_whoever_lies() -> None:
    """Design 5: the integer median of at least 2f + 1 tables lies between honest values."""
    world = World(501, kinds={LIAR: LyingScorer})
    world.run_until(lambda: len(world.state.tables) == 3, 60_000)
    tables = world.state.tables
    world.run_cycles(1)
    world.verdict()
    scored = next(record for record in world.records() if isinstance(record, Scored))
    tolerance = world.settings.noise_micronats
    honest = [tables[index] for index in sorted(tables) if index != LIAR]
    for table in honest:
        for row, agreed in zip(table.rows, scored.rows, strict=True):
            assert abs(row.gain - agreed.gain) <= tolerance
            assert abs(row.advantage - agreed.advantage) <= tolerance


def test_a_bad_signature_share_is_thrown_out_and_its_author_is_known() -> None:
    """ADR 1: shares are ordered, so a bad one has a signed author; the others' make it up."""
    world = run(502, kinds={LIAR: ShareCorrupter})
    report = world.verdict()
    assert blamed(world) == {LIAR}
    assert {finding.replicas for finding in report.accusations} == {(LIAR,)}
    assert world.state.tip.height == 2


def blamed(world: World) -> set[int]:
    """Replicas that stood in `state.faulty` after any single operation of the log."""
    replay, found = Application(world.rules), set[int]()
    for kept in world.up[0].disk.safe.batches:
        batch = decode_batch(kept.batch)
        draft = Draft(replay.state).log(kept.records[0])
        for sealed in batch.requests:
            request = decode(Request, decode(Envelope, sealed).body)
            operation = decode_operation(request.operation)
            with suppress(Refused):
                draft = apply(world.rules, draft, request.client, operation)
            found |= set(draft.state.faulty)
        replay.execute(kept.sequence, kept.batch)
    return found


@pytest.mark.parametrize("liar", [0, 2], ids=["primary", "backup"])
def test_a_mute_replica_stops_nothing(liar: int) -> None:
    """From the ceremony's end on it never sends a byte; as primary it is replaced."""
    world = run(503, kinds={liar: Mute})
    world.verdict()
    assert world.state.tip.height == 2


def test_an_equivocating_primary_is_replaced_and_proven_guilty() -> None:
    """Two batches for one sequence number: no two logs, and evidence at whoever saw both."""
    world = run(504, kinds={0: Equivocator})
    world.verdict()
    assert world.checkers.accused <= {0}
    assert all(host.replica.view > 0 for host in world.up)
    assert [record.height for record in world.records() if isinstance(record, BlockFinal)] == [1, 2]


def test_one_impatient_clock_ends_no_phase() -> None:
    """ADR 2: weak = f + 1 clocks end a phase, so at least one correct clock agrees."""
    world = World(505, kinds={LIAR: Impatient})
    world.run_until(lambda: world.state.phase == Phase.TRAINING, 30_000)
    assert world.now >= world.rules.params.registration_ms
    world.run_cycles(2)
    world.verdict()
    assert world.state.tip.height == 2
    assert not [record for record in world.records() if isinstance(record, RankVoided)]


def test_one_false_witness_makes_no_block() -> None:
    """`weak` votes for one header contain a correct replica's check of the whole block."""
    world = run(506, kinds={LIAR: FalseWitness})
    world.verdict()
    assert world.state.tip.height == 2


def test_a_wrong_model_is_outvoted_and_its_author_is_known() -> None:
    """A strong quorum computes the next model bit for bit; who votes for another is accused."""
    honest, lied = run(507), run(507, kinds={LIAR: WrongModel})
    expected = [record.digest for record in honest.records() if isinstance(record, Aggregated)]
    found = [record.digest for record in lied.records() if isinstance(record, Aggregated)]
    assert found == expected
    assert {finding.replicas for finding in lied.verdict().accusations} == {(LIAR,)}
