"""One source's flood is that source's problem."""

import asyncio

import pytest

from bft.errors import Busy
from coordinator.service.inbox import Inbox
from tests.patience import PATIENCE_S


async def test_lanes_are_served_in_turn() -> None:
    inbox: Inbox[str] = Inbox()
    loud, quiet = inbox.lane(100), inbox.lane(100)
    for number in range(50):
        loud.offer(f"loud {number}")
    quiet.offer("quiet")
    assert inbox.take(3) == ["loud 0", "quiet", "loud 1"]


async def test_a_full_lane_refuses_and_the_others_do_not() -> None:
    inbox: Inbox[int] = Inbox()
    full, other = inbox.lane(2), inbox.lane(2)
    full.offer(1)
    full.offer(2)
    with pytest.raises(Busy):
        full.offer(3)
    other.offer(4)
    assert sorted(inbox.take(10)) == [1, 2, 4]


async def test_whoever_may_wait_gets_in_when_there_is_room() -> None:
    inbox: Inbox[int] = Inbox()
    lane = inbox.lane(1)
    await lane.put(1)
    second = asyncio.create_task(lane.put(2))
    third = asyncio.create_task(lane.put(3))
    for expected in (1, 2, 3):
        async with asyncio.timeout(PATIENCE_S):
            await inbox.wait()
        assert inbox.take(10) == [expected]
    await asyncio.gather(second, third)


async def test_what_did_not_fit_into_a_turn_wakes_the_next() -> None:
    inbox: Inbox[int] = Inbox()
    lane = inbox.lane(10)
    for number in range(3):
        lane.offer(number)
    await inbox.wait()
    assert inbox.take(2) == [0, 1]
    async with asyncio.timeout(PATIENCE_S):
        await inbox.wait()
    assert inbox.take(2) == [2]


async def test_time_wakes_an_empty_inbox() -> None:
    inbox: Inbox[int] = Inbox()
    inbox.lane(1)
    inbox.wake()
    async with asyncio.timeout(PATIENCE_S):
        await inbox.wait()
    assert inbox.take(5) == []
