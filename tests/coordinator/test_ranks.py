"""The winner's block, rank after rank: who may make it, and when its turn is over."""

from typing import TypeVar

import pytest
from msgspec.structs import replace

from bft.codec.canonical import Record, decode, encode
from bft.codec.envelope import Envelope
from bft.ordering.batch import Batch, decode_batch
from bft.ordering.request import Request
from chain.records.block import block_hash, build_block, decode_block
from chain.records.certificate import decode_certificate
from chain.records.operations import decode_operation
from chain.records.score_log import (
    Assigned,
    BlockFinal,
    Certified,
    CloseReason,
    Committed,
    CycleClosed,
    EvidenceShown,
    RankVoided,
    Revealed,
)
from chain.records.votes import Elapsed
from chain.rules.reward import subsidy
from coordinator.application import Application
from coordinator.blocks import BlockJudge
from coordinator.cycle.state import Phase, State
from coordinator.effects import BlockAccepted, BlockArrived, BlockRefused
from tests.sim.miners import FOREVER, HONEST, Habits
from tests.sim.world import World

R = TypeVar("R", bound=Record)


def of(world: World, kind: type[R]) -> list[R]:
    """The log's records of this kind, in order."""
    return [record for record in world.records() if isinstance(record, kind)]


def ranks(world: World) -> list[int]:
    """Of all certificates, in order."""
    return [decode_certificate(record.certificate)[0].rank for record in of(world, Certified)]


def test_a_winner_that_is_offline_loses_its_turn_to_the_next_rank() -> None:
    """Design 7: backup ranks only after an ordered timeout voids the rank before."""
    world = World(700, miners=(Habits(blocks_from=1),) * 3)
    world.run_cycles(1)
    world.verdict()
    assert [(void.cycle, void.rank) for void in of(world, RankVoided)] == [(1, 0)]
    assert ranks(world) == [0, 1]
    (final,) = of(world, BlockFinal)
    assert final.height == 1


def test_when_all_ranks_are_offline_the_cycle_closes_without_a_block() -> None:
    """The next cycle opens on the same tip."""
    world = World(701, miners=(Habits(blocks_from=FOREVER),) * 2)
    world.run_cycles(2)
    world.verdict()
    assert ranks(world) == [0, 1, 0, 1]
    assert [closed.reason for closed in of(world, CycleClosed)] == [CloseReason.NO_BLOCK] * 2
    assert world.state.tip.height == 0


def test_of_two_blocks_by_one_winner_one_becomes_final() -> None:
    """Every replica votes once, for the first that it saw; both are kept as evidence."""
    world = World(702, miners=(Habits(blocks="two"),) * 3)
    world.run_cycles(2)
    world.verdict()
    assert [final.height for final in of(world, BlockFinal)] == [1, 2]
    kept = {known for host in world.hosts for known in host.disk.safe.blocks}
    assert len(kept) == 4


def test_a_winner_of_two_blocks_loses_its_reward_to_the_next_winners_evidence() -> None:
    """Design 7: evidence in a later coinbase makes the output unspendable."""
    world = World(707, miners=(Habits(blocks="two", shows=True),) * 2)
    world.run_cycles(3)
    world.verdict()
    finals = of(world, BlockFinal)
    assert [final.height for final in finals] == [1, 2, 3]
    blocks = {known: data for host in world.hosts for known, data in host.disk.safe.blocks.items()}
    chain = [decode_block(blocks[block_hash(final.header)]) for final in finals]
    assert [bool(block.coinbase.evidence) for block in chain] == [False, True, True]
    coins = world.hosts[0].coins
    assert coins is not None
    owned = [coins.coin((block.transactions[0].txid, 0)) is not None for block in chain]
    assert owned == [False, False, True], "the last one's two blocks were not shown yet"


def test_a_winner_whose_two_blocks_somebody_shows_is_out_of_the_lottery() -> None:
    """Design 7: its key is barred for some cycles; the honest one goes on alone."""
    world = World(708, miners=(Habits(blocks="two"), Habits(tells=True)))
    world.run_until(lambda: bool(of(world, EvidenceShown)), 600_000)
    shown = of(world, EvidenceShown)[0]
    first = world.state.cycle
    world.run_cycles(first + 1)
    world.verdict()
    assert of(world, EvidenceShown) == [shown], "once"
    culprit = world.miners[0].name
    assert shown.miner == culprit
    assert world.state.standings[culprit].barred_until == shown.barred_until
    after = [each for each in of(world, Assigned) if each.cycle > first]
    assert after
    assert {unit.miner for each in after for unit in each.units} == {world.miners[1].name}


def test_a_block_that_pays_too_much_is_refused_by_all_and_an_honest_one_still_counts() -> None:
    """A certificate authorises nobody's contents."""
    world = World(703, miners=(Habits(blocks="greedy"),) * 3)
    world.run_cycles(1)
    world.verdict()
    refused = [(index, code) for index, code in world.checkers.refused if code == "reward-too-high"]
    assert sorted(refused) == [(index, "reward-too-high") for index in range(4)]
    assert [final.height for final in of(world, BlockFinal)] == [1]


def test_a_miner_that_dies_after_its_commitment_stops_nothing() -> None:
    """Its unit is not revealed; the others' are measured, scored and drawn."""
    world = World(704, miners=(HONEST, HONEST, Habits(dies_in=1)))
    world.run_cycles(2)
    world.verdict()
    assert [len(committed.units) for committed in of(world, Committed)] == [3, 2]
    assert [len(revealed.units) for revealed in of(world, Revealed)] == [2, 2]
    assert [final.height for final in of(world, BlockFinal)] == [1, 2]


def test_a_cycle_in_which_nobody_reveals_is_closed() -> None:
    """All committed, all died."""
    world = World(705, miners=(Habits(dies_in=1),) * 2)
    world.run_cycles(1)
    world.verdict()
    assert [closed.reason for closed in of(world, CycleClosed)] == [CloseReason.NO_REVEALS]


# Blocks at the door of one replica.


def refusal(world: World, block: bytes) -> str:
    """The word with which replica 0 refuses `block`; "" if it takes it."""
    effects = world.hosts[0].replica.step(BlockArrived(block), world.now, world.wall_ms)
    codes = [effect.code for effect in effects if isinstance(effect, BlockRefused)]
    return codes[0] if codes else ""


def block_of(
    world: World, state: State, maker: int | None = None, later: int = 0, more: int = 0
) -> bytes:
    """A block under the state's certificate, by its winner or by miner number `maker`.

    `later`: seconds after the window's beginning; `more`: what it pays beyond the subsidy.
    """
    certificate, _ = decode_certificate(state.certificate)
    by_name = {miner.name: miner for miner in world.miners}
    miner = by_name[certificate.winner] if maker is None else world.miners[maker]
    return build_block(
        state.certificate,
        time=certificate.not_before + later,
        subsidy=subsidy(certificate.height, world.rules.params) + more,
        sign=miner.key.sign,
        winner=miner.name,
    )


@pytest.fixture(scope="module")
def waiting() -> World:
    """A federation that waits for the first rank's block, which nobody makes."""
    world = World(706, miners=(Habits(blocks_from=2),) * 3)
    world.run_to(Phase.BLOCK)
    return world


def test_bytes_that_are_no_block_are_refused(waiting: World) -> None:
    assert refusal(waiting, b"") == "malformed"
    assert refusal(waiting, bytes(500)) == "malformed"
    assert refusal(waiting, block_of(waiting, waiting.state)[:-1]) == "malformed"


def test_another_miner_than_the_winner_cannot_make_the_block(waiting: World) -> None:
    """Neither does the reward go elsewhere, nor is another signature good."""
    winner = decode_certificate(waiting.state.certificate)[0].winner
    for number, miner in enumerate(waiting.miners):
        if miner.name != winner:
            assert refusal(waiting, block_of(waiting, waiting.state, number)) != ""


def test_a_winner_has_so_many_blocks_judged_and_each_of_them_once(waiting: World) -> None:
    """What a block's scripts cost, nobody can ask for again."""
    world = World(706, miners=(Habits(blocks_from=2),) * 3)
    world.run_to(Phase.BLOCK)
    state, judge = world.state, BlockJudge(world.rules)
    greedy = [block_of(world, state, later=later, more=1) for later in range(3)]
    for _ in range(2):
        for block, code in zip(greedy[:2], ("reward-too-high",) * 2, strict=True):
            assert getattr(judge.judge(state, block, None)[0], "code", "") == code
    first, again = (judge.judge(state, greedy[0], None) for _ in range(2))
    assert first is again
    assert getattr(judge.judge(state, greedy[2], None)[0], "code", "") == "too-many-blocks"
    assert getattr(judge.judge(state, block_of(world, state), None)[0], "code", "") != ""
    after = replace(state, certificate=bytes(len(state.certificate)))
    assert getattr(judge.judge(after, greedy[0], None)[0], "code", "") == "void-certificate"
    assert isinstance(judge.judge(state, block_of(world, state), None)[0], BlockAccepted)


def test_nobody_but_the_winner_uses_up_what_a_certificate_has(waiting: World) -> None:
    judge, state = BlockJudge(waiting.rules), waiting.state
    winner = decode_certificate(state.certificate)[0].winner
    other = next(n for n, miner in enumerate(waiting.miners) if miner.name != winner)
    for later in range(5):
        assert isinstance(
            judge.judge(state, block_of(waiting, state, other, later=later), None)[0], BlockRefused
        )
    assert isinstance(judge.judge(state, block_of(waiting, state), None)[0], BlockAccepted)


def test_a_block_is_refused_where_none_is_due_and_under_a_void_certificate(waiting: World) -> None:
    """Rank 0's block after its timeout, and again when the cycle is over."""
    state = waiting.state
    block = block_of(waiting, state)
    assert refusal(waiting, block) == ""
    fresh = World(706, miners=(Habits(blocks_from=2),) * 3)
    fresh.run_until(lambda: (fresh.state.phase, fresh.state.rank) == (Phase.BLOCK, 1), 60_000)
    fresh.run_for(500)
    assert refusal(fresh, block) == "void-certificate"
    fresh.run_to(Phase.CERTIFICATION, cycle=1)
    assert refusal(fresh, block) == "no-block-due"


# Clocks.


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
