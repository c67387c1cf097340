"""Real miners in processes of their own, for tests."""

import asyncio
import json
import multiprocessing
import sys
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

from miner.config import create_home
from miner.main import run_miner
from tests.miner.small_federation import SmallFederation
from tests.patience import PATIENCE_S

LOOK_S = 0.02


async def until(condition: Callable[[], object]) -> None:
    """Wait for a condition that other processes bring about."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110  what is awaited happens in other processes
            await asyncio.sleep(LOOK_S)


def mine(home: Path, urls: list[str]) -> None:
    """The target of a miner's process."""
    sys.exit(run_miner(home, urls))


class Miners:
    """Miner processes, ended with the test."""

    def __init__(self, root: Path, federation: SmallFederation, urls: list[str]) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["miner.main", "miner.training.trainer"])
        self._context, self._root, self._urls = context, root, urls
        self._federation = federation
        self._all: list[BaseProcess] = []
        self.processes: dict[str, BaseProcess] = {}  # the newest of each name
        self.keys: dict[str, bytes] = {}

    def home(self, name: str) -> Path:
        return self._root / name

    def start(self, name: str) -> None:
        if name not in self.keys:
            self.keys[name] = create_home(self.home(name), self._federation.genesis)
        process = self._context.Process(target=mine, args=(self.home(name), self._urls))
        process.start()
        self.processes[name] = process
        self._all.append(process)

    def told(self, name: str, event: str) -> list[dict[str, object]]:
        """What the miner told of itself."""
        path = self.home(name) / "events.jsonl"
        lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
        return [told for line in lines if (told := json.loads(line))["event"] == event]

    def end(self) -> None:
        for process in self._all:
            process.kill()
            process.join()
