"""Other processes, as /proc shows them."""

import asyncio
from pathlib import Path

LOOK_S = 0.01


def children_of(pid: int | None) -> list[int]:
    """Processes whose parent is `pid`."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]


def runs(pid: int) -> bool:
    """False when the process is gone, or is a zombie that its parent has not looked at yet."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


async def ended(pid: int) -> None:
    """Wait until a process does not run any more."""
    while runs(pid):  # noqa: ASYNC110  what is awaited happens in another process
        await asyncio.sleep(LOOK_S)
