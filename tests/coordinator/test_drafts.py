"""Profile signet: replicas sign a winner's draft, one for a rank, if its block would be valid."""

from collections.abc import Callable
from functools import cache

import pytest
from msgspec.structs import replace

from bft.crypto import identity
from bft.errors import Refused
from chain.network import network_of
from chain.records.block import Block, build_block, decode_block
from chain.records.certificate import decode_certificate
from chain.records.profile import SIGNET
from chain.rules.reward import subsidy
from chain.signet.draft import Collecting, message_of
from coordinator.blocks import BLOCKS_JUDGED_MAX
from coordinator.cycle.state import Phase
from coordinator.drafts import DraftJudge, unguarded_drafts
from coordinator.effects import BlockArrived, BlockRefused, DraftArrived, DraftSigned, Effect
from tests.sim.miners import FOREVER, Habits
from tests.sim.world import PARAMS, World

SIGNED = replace(
    PARAMS, profile=SIGNET.number, block_ms=SIGNET.block_ms_min, halving_interval=210_000
)


@cache
def waiting() -> World:
    """A federation that waits for the first rank's block, which nobody makes."""
    world = World(720, miners=(Habits(blocks_from=FOREVER),) * 2, params=SIGNED)
    world.run_to(Phase.BLOCK)
    return world


def draft_of(world: World, later: int = 0, more: int = 0) -> Block:
    """The winner's draft; `later` and `more` make another one of it."""
    certificate, _ = decode_certificate(world.state.certificate)
    winner = {miner.name: miner for miner in world.miners}[certificate.winner]
    return decode_block(
        build_block(
            world.state.certificate,
            time=certificate.not_before + later,
            subsidy=subsidy(certificate.height, world.rules.params) + more,
            sign=winner.key.sign,
            winner=winner.name,
            profile=network_of(world.genesis),
        )
    )


def said(world: World, replica: int, draft: bytes) -> DraftSigned | BlockRefused:
    """What a replica answers."""
    effects: list[Effect] = world.hosts[replica].replica.step(
        DraftArrived(draft), world.now, world.wall_ms
    )
    (answer,) = (each for each in effects if isinstance(each, DraftSigned | BlockRefused))
    return answer


def code(answer: DraftSigned | BlockRefused) -> str:
    return answer.code if isinstance(answer, BlockRefused) else ""


def test_each_replica_signs_a_valid_draft_with_its_identity() -> None:
    world, draft = waiting(), draft_of(waiting())
    profile = network_of(world.genesis)
    collecting = Collecting(draft, profile)
    for index in range(4):
        answer = said(world, index, draft.data)
        assert isinstance(answer, DraftSigned)
        assert answer.key == world.keys[index].public_key
        identity.verify(answer.key, answer.signature, message_of(draft, profile))
        collecting.take(answer.key, answer.signature)
        assert said(world, index, draft.data) == answer, "asked again, it says the same"
    assert collecting.count == 4
    ready = collecting.solved()
    effects = world.hosts[0].replica.step(BlockArrived(ready), world.now, world.wall_ms)
    codes = [each.code for each in effects if isinstance(each, BlockRefused)]
    assert codes == ["high-hash"], "all of it is right, but nobody has worked"


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda draft: b"", "malformed"),
        (lambda draft: draft.data[:-1], "malformed"),
        (lambda draft: draft.data[:76] + b"\x01" + draft.data[77:], "header-fields"),
        (lambda draft: draft_of(waiting(), more=1).data, "reward-too-high"),
        (lambda draft: draft_of(waiting(), later=10**6).data, "too-late"),
    ],
)
def test_what_is_no_valid_draft_is_not_signed(
    spoil: Callable[[Block], bytes], expected: str
) -> None:
    assert code(said(waiting(), 1, spoil(draft_of(waiting())))) == expected


def test_a_winner_has_so_many_drafts_judged_under_one_certificate() -> None:
    world = waiting()
    key = world.keys[0]
    judge = DraftJudge(world.rules, key.public_key, unguarded_drafts(key.sign))
    drafts = [draft_of(world, later).data for later in range(BLOCKS_JUDGED_MAX + 1)]
    codes = [code(judge.judge(world.state, draft, None)) for draft in drafts]
    assert codes == [""] * BLOCKS_JUDGED_MAX + ["too-many-blocks"]


def test_what_the_guard_does_not_let_out_is_refused() -> None:
    world = waiting()
    judge = DraftJudge(world.rules, world.keys[0].public_key, lambda cycle, rank, message: None)
    answer = judge.judge(world.state, draft_of(world).data, None)
    assert code(answer) == "another-draft"


def test_a_draft_is_no_block_and_a_block_no_draft() -> None:
    world = waiting()
    draft = draft_of(world)
    effects = world.hosts[2].replica.step(BlockArrived(draft.data), world.now, world.wall_ms)
    assert [each.code for each in effects if isinstance(each, BlockRefused)] == ["high-hash"]
    collecting = Collecting(draft, network_of(world.genesis))
    for index in range(3):
        answer = said(world, index, draft.data)
        assert isinstance(answer, DraftSigned)
        collecting.take(answer.key, answer.signature)
    assert code(said(world, 2, collecting.solved())) == "solution"


def test_where_no_block_is_due_or_no_profile_wants_it_nothing_is_signed() -> None:
    plain = World(721, miners=(Habits(),) * 2)
    plain.run_to(Phase.BLOCK)
    assert code(said(plain, 0, bytes(100))) == "unsigned-profile"
    early = World(722, miners=(Habits(),) * 2, params=SIGNED)
    assert code(said(early, 0, draft_of(waiting()).data)) == "no-block-due"
    with pytest.raises(Refused):
        Collecting(draft_of(waiting()), network_of(waiting().genesis)).solved()
