"""Who waits for which answer, and what a repeated request gets."""

import asyncio
from dataclasses import dataclass, field

import pytest

from bft.errors import Busy, Refused
from bft.ordering.request import Request
from bft.pbft.events import Submitted
from coordinator.cycle.machine import Answer, Outcome
from coordinator.service import requests as module
from coordinator.service.requests import REMEMBERED_MAX, Requests

CLIENT = b"\x02" * 33


def request(cseq: int) -> Request:
    return Request(chain_id=bytes(32), client=CLIENT, cseq=cseq, operation=b"")


def answered(cseq: int, code: str, text: str, operations: int = 1) -> Answer:
    return Answer(CLIENT, cseq, 0, 7, (Outcome(code, text),) * operations)


@dataclass
class Door:
    """What was submitted, and what counts as executed."""

    submitted: list[Submitted] = field(default_factory=list)
    executed: set[int] = field(default_factory=set)

    def requests(self) -> Requests:
        return Requests(self.submitted.append, lambda _, cseq: cseq not in self.executed)


async def ask(requests: Requests, sealed: bytes, cseq: int) -> asyncio.Task[Answer | None]:
    """Ask, and let the question come through."""
    task = asyncio.create_task(requests.ask(sealed, request(cseq), 30))
    await asyncio.sleep(0)
    return task


async def test_everybody_who_asked_the_same_gets_the_answer() -> None:
    requests = Door().requests()
    first, second = await ask(requests, b"sealed", 1), await ask(requests, b"sealed", 1)
    answer = answered(1, "accepted", "")
    requests.executed([b"sealed"], [answer])
    assert await first == await second == answer


async def test_an_accepted_request_that_comes_again_is_answered_and_not_submitted() -> None:
    door = Door()
    requests = door.requests()
    requests.executed([b"sealed"], [answered(1, "accepted", "")])
    assert await requests.ask(b"sealed", request(1), 30) == answered(1, "accepted", "")
    assert door.submitted == []


async def test_another_request_under_a_used_number_is_refused() -> None:
    requests = Door().requests()
    requests.executed([b"sealed"], [answered(1, "accepted", "")])
    with pytest.raises(Refused) as refused:
        await requests.ask(b"other", request(1), 30)
    assert refused.value.code == "executed-before"


async def test_a_number_used_before_the_restart_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "SETTLING_S", 0.0)
    door = Door(executed={1})
    with pytest.raises(Refused, match="was executed"):
        await door.requests().ask(b"sealed", request(1), 30)
    assert door.submitted == []


async def test_a_request_that_was_executed_and_is_not_durable_yet_waits_for_its_answer() -> None:
    """It came here second; the first copy's batch is on its way to the disk."""
    door = Door(executed={1})
    requests = door.requests()
    task = await ask(requests, b"sealed", 1)
    requests.executed([b"sealed"], [answered(1, "accepted", "")])
    assert await task == answered(1, "accepted", "")
    assert door.submitted == []


async def test_a_refused_request_that_comes_again_gets_the_same_refusal() -> None:
    """It may come here for the first time: a slow connection, and the others have executed it."""
    door = Door()
    requests = door.requests()
    refusal = answered(1, "wrong-phase", "too early")
    requests.executed([b"sealed"], [refusal])
    assert await requests.ask(b"sealed", request(1), 30) == refusal
    assert door.submitted == []


async def test_a_refused_request_that_is_ordered_once_more_and_accepted_is_accepted() -> None:
    """Whoever leads may order it again, and refusals use up no number."""
    door = Door()
    requests = door.requests()
    requests.executed([b"sealed"], [answered(1, "wrong-phase", "too early")])
    requests.executed([b"sealed"], [answered(1, "accepted", "")])
    assert await requests.ask(b"sealed", request(1), 30) == answered(1, "accepted", "")


async def test_another_request_under_a_refused_number_is_submitted() -> None:
    door = Door()
    requests = door.requests()
    requests.executed([b"sealed"], [answered(1, "wrong-phase", "too early")])
    task = await ask(requests, b"other", 1)
    assert door.submitted == [Submitted(b"other")]
    requests.executed([b"other"], [answered(1, "accepted", "")])
    assert await task == answered(1, "accepted", "")


async def test_refusals_are_remembered_within_a_bound() -> None:
    door = Door()
    requests = door.requests()
    for cseq in range(REMEMBERED_MAX + 1):
        requests.executed([b"%d" % cseq], [answered(cseq, "wrong-phase", "")])
    last = REMEMBERED_MAX
    assert await requests.ask(b"%d" % last, request(last), 30) == answered(last, "wrong-phase", "")
    assert await requests.ask(b"0", request(0), 0) is None
    assert door.submitted == [Submitted(b"0")]


async def test_a_request_with_many_outcomes_takes_the_place_of_as_many() -> None:
    requests = Door().requests()
    requests.executed([b"first"], [answered(1, "accepted", "")])
    for cseq in range(2, 2 + REMEMBERED_MAX // 64 + 1):
        requests.executed([b"%d" % cseq], [answered(cseq, "accepted", "", operations=64)])
    last = b"%d" % cseq
    assert await requests.ask(last, request(cseq), 30) == answered(cseq, "accepted", "", 64)
    assert await requests.ask(b"first", request(1), 0) is None, "forgotten: asked for anew"


async def test_who_waits_too_long_gets_none_and_leaves_nothing_behind() -> None:
    requests = Door().requests()
    assert await requests.ask(b"sealed", request(1), 0) is None
    requests.executed([b"sealed"], [answered(1, "accepted", "")])


async def test_a_full_runtime_refuses_at_once() -> None:
    def full(_: Submitted) -> None:
        raise Busy("full")

    with pytest.raises(Busy):
        await Requests(full, lambda *_: True).ask(b"sealed", request(1), 30)
