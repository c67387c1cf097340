"""`python -m benchmarks.crowd_bare DIR`: what uploads of benchmarks/crowd.py are held against.

A bare aiohttp server that keeps each body durably (file and directory synced) and checks nothing.
It says its port on standard output.
"""

import asyncio
import os
import sys
from pathlib import Path

from aiohttp import web

BODY_BYTES_MAX = 1 << 30


def kept(folder: Path, name: str, data: bytes) -> None:
    """In a thread: write the file, sync it, give it its name, sync the name."""
    part = folder / f"{name}.new"
    with part.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    part.replace(folder / name)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


async def serve(folder: Path) -> None:
    """Until the process is ended."""

    async def put(request: web.Request) -> web.Response:
        await asyncio.to_thread(kept, folder, request.match_info["name"], await request.read())
        return web.Response(status=201)

    application = web.Application(client_max_size=BODY_BYTES_MAX)
    application.add_routes([web.put("/{name}", put)])
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
