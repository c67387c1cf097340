"""A winner's work in profile signet: every core tries nonces until one meets the target.

Workers are processes of their own, because Python hashes on one core at a time; each tells now and
then how many nonces it has tried, which is also how it notices that nobody listens any more.

    python -m miner.grinding HEADER TARGET WORKER WORKERS

is one worker; it says "tried N" and "found N" in lines.
"""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable
from typing import Any

from bft.errors import Unavailable
from chain.records.profile import Profile
from chain.signet.grind import STEP, search, stripes, with_nonce

WORKERS_MAX = 16
NICENESS = 5  # a replica on the same machine has to answer meanwhile


def cores() -> int:
    """How many workers this process may keep busy."""
    return min(WORKERS_MAX, len(os.sched_getaffinity(0)))


async def grind(
    block: bytes, profile: Profile, workers: int, progress: Callable[[int], None]
) -> bytes:
    """The block with a nonce that meets its profile's target.

    Cancelling it ends the workers.

    Args:
        progress: hears, again and again, how many nonces were tried.

    Raises:
        Unavailable: no nonce meets it, or the workers died.
    """
    running = [await _worker(block, profile, each, workers) for each in range(workers)]
    tried = [0] * workers
    found: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def listen(number: int, process: Process) -> None:
        assert process.stdout is not None
        while line := await process.stdout.readline():
            said, value = line.split()
            if said == b"found" and not found.done():
                found.set_result(int(value))
            elif said == b"tried":
                tried[number] = int(value)
                progress(sum(tried))

    async def listen_to_all() -> None:
        await asyncio.gather(*(listen(number, each) for number, each in enumerate(running)))
        if not found.done():
            raise Unavailable("no nonce meets the target, or the workers have died")

    listening = asyncio.ensure_future(listen_to_all())
    waited: set[asyncio.Future[Any]] = {found, listening}
    try:
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        if not found.done():
            await listening
        return with_nonce(block, found.result())
    finally:
        listening.cancel()
        for process in running:
            if process.returncode is None:
                process.kill()
        await asyncio.gather(listening, *(each.wait() for each in running), return_exceptions=True)


async def _worker(block: bytes, profile: Profile, number: int, workers: int) -> Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "miner.grinding",
        block[:80].hex(),
        hex(profile.target),
        str(number),
        str(workers),
        stdout=PIPE,
    )


def work(header: bytes, target: int, worker: int, workers: int) -> None:
    """One worker: its share of all nonces, until one is found or nobody listens."""
    os.nice(NICENESS)
    tried = 0
    for first in stripes(worker, workers):
        nonce = search(header, target, first, STEP)
        if nonce is not None:
            print("found", nonce, flush=True)
            return
        tried += STEP
        print("tried", tried, flush=True)


if __name__ == "__main__":
    try:
        work(bytes.fromhex(sys.argv[1]), int(sys.argv[2], 16), int(sys.argv[3]), int(sys.argv[4]))
    except (BrokenPipeError, KeyboardInterrupt):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
