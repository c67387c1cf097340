"""Rank after rank: who may make the block, and when its turn is over."""

from bft.codec.canonical import decode, encode
from bft.codec.envelope import Envelope
from bft.ordering.batch import Batch, decode_batch
from bft.ordering.request import Request
from chain.records.operations import decode_operation
from chain.records.score_log import BlockFinal, Certified, CycleClosed, RankVoided
from chain.records.certificate import decode_certificate
from chain.records.score_log import CloseReason
from chain.records.votes import Elapsed
from coordinator.application import Application
from coordinator.cycle.state import Phase
from tests.sim.miners import FOREVER, HONEST, Habits
from tests.sim.world import World


def of(world: World, *kinds: type) -> list:
    """The log's records of these kinds, in order."""
    return [record for record in world.records() if isinstance(record, kinds)]


def test_a_clocks_vote_for_one_rank_never_counts_for_the_next() -> None:
    """Whoever saw a vote that came too late may offer it again; it must not void the next rank."""
    world = World(3, miners=(Habits(blocks_from=1),) * 3)
    world.run_cycles(1)
    replay = Application(world.rules)
    late: list[bytes] = []
    for kept in world.up[0].disk.safe.batches:
        if (replay.state.phase, replay.state.rank) == (Phase.BLOCK, 1):
            break
        for sealed in decode_batch(kept.batch).requests:
            request = decode(Request, decode(Envelope, sealed).body)
            operation = decode_operation(request.operation)
            if isinstance(operation, Elapsed) and operation.phase == Phase.BLOCK:
                late.append(sealed)
        replay.execute(kept.sequence, kept.batch)
    assert len(late) == 4
    again = encode(Batch(timestamp_ms=replay.state.agreed_ms, requests=tuple(late)))
    answers = replay.execute(replay.state.sequence + 1, again).answers
    assert sorted(answer.code for answer in answers) == ["executed-before"] * 2 + ["late"] * 2
    assert (replay.state.phase, replay.state.rank, replay.state.elapsed) == (Phase.BLOCK, 1, ())
