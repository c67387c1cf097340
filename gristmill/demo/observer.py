"""Watches a running federation from outside, through the doors that everybody has."""

import asyncio
import contextlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from bft.codec.canonical import Record, decode
from chain.federation import api
from chain.records.score_log import LogEntry, decode_leaf

TIMEOUT = aiohttp.ClientTimeout(total=5)
EVENTS_READ_MAX = 1024 * 1024


@dataclass(slots=True)
class MinerView:
    """What a miner wrote about itself last."""

    event: str = "starting"
    segment: int | None = None
    step: int = 0
    steps: int = 0
    loss: float | None = None
    tickets: int | None = None
    cycle: int = 0


@dataclass(slots=True)
class Picture:
    """Everything that a person is shown."""

    replicas: list[dict[str, Any] | None] = field(default_factory=list)
    nodes: list[dict[str, Any] | None] = field(default_factory=list)
    miners: list[MinerView] = field(default_factory=list)


class Observer:
    """Polls replicas, nodes and the miners' event files."""

    def __init__(self, replicas: list[str], nodes: list[str], events: list[Path]) -> None:
        self._replicas, self._nodes, self._events = replicas, nodes, events
        self._offsets = [0] * len(events)
        self._next_entry = 0
        self.picture = Picture(
            replicas=[None] * len(replicas),
            nodes=[None] * len(nodes),
            miners=[MinerView() for _ in events],
        )
        self._session = aiohttp.ClientSession(timeout=TIMEOUT)

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def look(self) -> list[Record]:
        """Refresh the picture; returns the records that are new in the score log."""
        picture = self.picture
        picture.replicas, picture.nodes = await asyncio.gather(
            self._statuses(self._replicas), self._statuses(self._nodes)
        )
        for place, path in enumerate(self._events):
            self._read_events(place, path)
        return await self._new_records()

    async def _statuses(self, urls: list[str]) -> list[dict[str, Any] | None]:
        return list(await asyncio.gather(*(self._status(url) for url in urls)))

    async def _status(self, url: str) -> dict[str, Any] | None:
        with contextlib.suppress(aiohttp.ClientError, TimeoutError, json.JSONDecodeError):
            async with self._session.get(url + api.STATUS) as answer:
                if answer.status == 200:
                    status: dict[str, Any] = await answer.json()
                    return status
        return None

    async def _new_records(self) -> list[Record]:
        """From the first replica that answers; any replica's log is a prefix of any other's."""
        for place, status in enumerate(self.picture.replicas):
            if status is None or status["log_size"] <= self._next_entry:
                continue
            url = f"{self._replicas[place]}{api.LOG}?from={self._next_entry}"
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with self._session.get(f"{url}&limit={api.LOG_LIMIT_MAX}") as answer:
                    if answer.status != 200:
                        continue
                    entries = decode(tuple[LogEntry, ...], await answer.read())
                self._next_entry += len(entries)
                return [decode_leaf(entry.leaf) for entry in entries]
        return []

    def _read_events(self, place: int, path: Path) -> None:
        with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
            file.seek(self._offsets[place])
            data = file.read(EVENTS_READ_MAX)
            whole = data.rfind(b"\n") + 1
            self._offsets[place] += whole
            for line in data[:whole].splitlines():
                self._take_event(self.picture.miners[place], json.loads(line))

    @staticmethod
    def _take_event(view: MinerView, event: dict[str, Any]) -> None:
        view.event = str(event["event"])
        for name in ("segment", "step", "steps", "loss", "tickets", "cycle"):
            if name in event:
                setattr(view, name, event[name])
