"""Profile signet, the winner: a draft is signed once, worked for, and goes on after a crash."""

import asyncio
from dataclasses import replace

import pytest

from bft.errors import Unavailable
from chain.records.block import decode_block
from chain.records.profile import REGTEST, Profile
from miner.grinding import grind
from miner.solving import finished
from tests.chain.signet_fixture import PROFILE, draft_on, golden, solved
from tests.patience import PATIENCE_S

LIGHT = replace(PROFILE, target=2**240)  # 65 536 hashes
HOPELESS = replace(PROFILE, target=0)
SOLVED = solved(draft_on(), (0, 1, 2))


class Winner:
    """What is asked of replicas, and what is kept."""

    def __init__(self) -> None:
        self.kept: list[bytes] = []
        self.asked = 0

    async def solve(self, draft: bytes, profile: Profile) -> bytes:
        self.asked += 1
        assert draft == draft_on().data
        return SOLVED

    async def finish(
        self, made: bytes, profile: Profile = LIGHT, patience_s: float = PATIENCE_S
    ) -> bytes:
        return await finished(
            made, profile, self.solve, self.kept.append, lambda tried: None, patience_s
        )


async def test_a_draft_is_signed_then_worked_for_and_each_step_is_kept() -> None:
    winner = Winner()
    made = await winner.finish(draft_on().data)
    assert LIGHT.meets(made[:80])
    assert winner.kept == [SOLVED, made] and winner.asked == 1
    before, after = decode_block(SOLVED), decode_block(made)
    assert after.header == replace(before.header, nonce=after.header.nonce)
    assert after.transactions == before.transactions


async def test_after_a_crash_it_goes_on_where_it_was() -> None:
    winner = Winner()
    assert LIGHT.meets((await winner.finish(SOLVED))[:80])
    assert winner.asked == 0, "whoever signed is not asked for another draft"
    ready = golden()
    assert await winner.finish(ready, PROFILE) == ready
    assert len(winner.kept) == 1


async def test_where_nobody_works_nothing_changes() -> None:
    winner = Winner()
    assert await winner.finish(b"any block", REGTEST) == b"any block"
    assert winner.kept == [] and winner.asked == 0


async def test_work_ends_when_somebody_elses_turn_has_come() -> None:
    winner = Winner()
    with pytest.raises(Unavailable, match="of work gave no block"):
        await winner.finish(SOLVED, HOPELESS, patience_s=0.5)
    assert winner.kept == [], "the solution was there before"


async def test_who_cancels_the_work_ends_its_workers() -> None:
    told = asyncio.Event()
    work = asyncio.ensure_future(grind(SOLVED, HOPELESS, 2, lambda tried: told.set()))
    async with asyncio.timeout(PATIENCE_S):
        await told.wait()
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
