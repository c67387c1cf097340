"""The published log on disk, and the door that serves its files as they are.

Every file but the two checkpoints says the same for ever, so any web server can mirror the
directory.  Layout: chain/tlog/tiles.py.
"""

import asyncio
import os
from collections.abc import Iterable
from pathlib import Path

from aiohttp import web

from bft.errors import DecodeError, Refused
from chain.durable import write_whole
from chain.federation.api import LOG_FILES, OCTETS
from chain.tlog.tiles import CERTIFIED, CHECKPOINT, SERVED, File
from coordinator.service.log_publisher import Publisher
from coordinator.service.outflow import Outflow

IMMUTABLE = "public, max-age=31536000, immutable"
FILE_MODE = 0o644
GENESIS_FILE = "genesis"


class LogFiles:
    """The directory.  Its methods block."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)

    def read(self, name: str) -> bytes:
        """Raises DecodeError: it is not there."""
        try:
            return (self.path / name).read_bytes()
        except FileNotFoundError:
            raise DecodeError(f"{self.path / name} is missing") from None

    def write(self, files: Iterable[File]) -> None:
        """Each whole and synced, in this order.  Raises OSError."""
        for name, data in files:
            path = self.path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, data, FILE_MODE)

    def sweep(self, kept: Iterable[str]) -> int:
        """Delete partial files other than these; how many those were."""
        names, gone = frozenset(kept), 0
        for directory, _, found in os.walk(self.path):
            place = Path(directory)
            if place.suffix != ".p":
                continue
            for name in found:
                path = place / name
                if path.relative_to(self.path).as_posix() not in names:
                    path.unlink(missing_ok=True)
                    gone += 1
            if not any(place.iterdir()):
                place.rmdir()
        return gone


class LogDoor:
    """Serves them.  Everybody may read, and nothing has to be believed."""

    def __init__(self, files: LogFiles, publisher: Publisher | None, outflow: Outflow) -> None:
        """`publisher`: cosigns; None at a replica without a vote."""
        self._files, self._publisher, self._outflow = files, publisher, outflow

    def routes(self) -> list[web.RouteDef]:
        """For the application."""
        return [web.get(LOG_FILES + "/{path:.+}", self.get_file)]

    async def get_file(self, request: web.Request) -> web.Response:
        """A file of the log, or this replica's cosignature of a size."""
        name = request.match_info["path"]
        if not SERVED.fullmatch(name):
            raise Refused("not-found", f"the log has no file {name[:100]!r}")
        if name.startswith("cosignatures/"):
            return self._cosignature(int(name.partition("/")[2]))
        path = self._files.path / name
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            raise Refused("not-found", f"{name} is not there, or not yet") from None
        self._outflow.reserve(size)
        try:
            data = await asyncio.to_thread(path.read_bytes)
            note = name in (CHECKPOINT, CERTIFIED)
            response = web.Response(
                body=data,
                content_type="text/plain" if note else OCTETS,
                charset="utf-8" if note else None,
                headers={"Cache-Control": "no-cache" if note else IMMUTABLE},
            )
            await self._outflow.write(request, response, size)
            return response
        finally:
            self._outflow.release(size)

    def _cosignature(self, size: int) -> web.Response:
        line = None if self._publisher is None else self._publisher.cosignature(size)
        if line is None:
            raise Refused("not-found", f"this replica signs for no checkpoint of size {size} now")
        return web.Response(text=line.encode(), headers={"Cache-Control": "no-cache"})
