"""Whom a client asks, in which order, and when it has heard enough.

No single replica is waited for: one that is silent for HEDGE_S is overtaken by another, and one
that gave no usable answer is asked last the next time.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

from bft.errors import FederationError, Unavailable

HEDGE_S = 1.0  # a question without a conclusion for so long is put to one more replica
TROUBLES_TOLD_MAX = 4

A = TypeVar("A")
T = TypeVar("T")


class Panel:
    """The addresses of a federation's replicas, each of another replica."""

    def __init__(self, urls: Sequence[str]) -> None:
        self._urls = list(urls)
        self._turn = 0
        self._silent: set[str] = set()  # gave no answer the last time

    def _order(self) -> list[str]:
        """All addresses: each question starts with another one, the silent ones come last."""
        self._turn = (self._turn + 1) % len(self._urls)
        turned = self._urls[self._turn :] + self._urls[: self._turn]
        return sorted(turned, key=lambda url: url in self._silent)

    async def ask(
        self,
        ask: Callable[[str], Awaitable[A]],
        conclude: Callable[[list[A], bool], T | None],
        at_once: int,
        *,
        hedge_s: float = HEDGE_S,
    ) -> T:
        """Put one question to replica after replica until their answers allow a conclusion.

        Args:
            ask: raises a FederationError where a replica gave no usable answer.
            conclude: (all answers so far, at least one; whether they are the last) -> conclusion,
                or None.
            at_once: how many replicas are asked in the beginning.

        Raises:
            Unavailable: all were asked, and nothing follows from what they said.
        """
        waiting = self._order()
        running: dict[asyncio.Future[A], str] = {}
        answers: list[A] = []
        troubles: list[str] = []

        def start() -> None:
            url = waiting.pop(0)
            running[asyncio.ensure_future(ask(url))] = url

        try:
            while True:
                while waiting and len(running) < max(1, at_once - len(answers)):
                    start()
                if not running:
                    raise Unavailable(nothing_follows(len(answers), troubles))
                done = await _some(list(running), hedge_s if waiting else None)
                if not done:
                    start()  # nobody has spoken for a while
                    continue
                for task in done:
                    self._take(task, running.pop(task), answers, troubles)
                last = not running and not waiting
                conclusion = conclude(answers, last) if answers else None
                if conclusion is not None:
                    return conclusion
        finally:
            await _cancel(list(running))

    def _take(
        self, task: asyncio.Future[A], url: str, answers: list[A], troubles: list[str]
    ) -> None:
        try:
            answers.append(task.result())
            self._silent.discard(url)
        except FederationError as error:
            self._silent.add(url)
            troubles.append(str(error))


async def gather_enough(
    questions: Sequence[Coroutine[Any, Any, T]], enough: int, grace_s: float
) -> list[T]:
    """The answers to questions asked all at once: at least `enough`, all that come soon.

    Once `enough` are in hand, the rest have as long as no `grace_s` passes without one of them.

    Raises:
        Unavailable: fewer than `enough` answered without a FederationError.
    """
    pending = [asyncio.ensure_future(question) for question in questions]
    answers: list[T] = []
    troubles: list[str] = []
    try:
        while pending:
            done = await _some(pending, grace_s if len(answers) >= enough else None)
            if not done:
                break
            pending = [task for task in pending if task not in done]
            for task in done:
                try:
                    answers.append(task.result())
                except FederationError as error:
                    troubles.append(str(error))
    finally:
        await _cancel(pending)
    if len(answers) < enough:
        raise Unavailable(nothing_follows(len(answers), troubles))
    return answers


async def _some(
    tasks: Sequence[asyncio.Future[T]], timeout_s: float | None
) -> set[asyncio.Future[T]]:
    done, _ = await asyncio.wait(tasks, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    return done


async def _cancel(tasks: Sequence[asyncio.Future[T]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def nothing_follows(answers: int, troubles: Sequence[str]) -> str:
    """Why a question stayed open, for people."""
    told = "; ".join(troubles[:TROUBLES_TOLD_MAX])
    text = f"{answers} usable answers came, from which nothing follows"
    return f"{text} ({told})" if told else text
