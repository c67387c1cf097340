"""What a winner does in profile signet between its draft and its block: signatures, then work.

Each step's result is on the disk before the next one begins, so that a winner that is killed goes
on, and never makes a second draft for one certificate.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

from bft.errors import Unavailable
from chain.records.block import decode_block
from chain.records.profile import Profile
from chain.signet.draft import is_draft
from miner.grinding import cores, grind

TOLD_S = 2.0  # between two lines about the work

Solve = Callable[[bytes, Profile], Awaitable[bytes]]
Keep = Callable[[bytes], None]
Tell = Callable[[int], None]
"""Hears how many nonces were tried."""


async def finished(
    made: bytes, profile: Profile, solve: Solve, keep: Keep, tell: Tell, patience_s: float
) -> bytes:
    """The block that replicas take: with a solution, and worked for.

    Args:
        made: a draft, or what was kept of it before.
        solve: has a draft signed; see chain/federation/solving.py.
        keep: durable on return.
        patience_s: the work may take so long; then somebody else's turn has come.

    Raises:
        Unavailable: too few replicas sign, or the work was not done in time.
    """
    if not profile.signed or profile.meets(made[:80]):
        return made
    if is_draft(decode_block(made)):
        made = await solve(made, profile)
        keep(made)
    try:
        async with asyncio.timeout(patience_s):
            made = await grind(made, profile, cores(), _now_and_then(tell))
    except TimeoutError:
        raise Unavailable(f"{patience_s:.0f} s of work gave no block") from None
    keep(made)
    return made


def _now_and_then(tell: Tell) -> Tell:
    last = time.monotonic()

    def hear(tried: int) -> None:
        nonlocal last
        if time.monotonic() - last >= TOLD_S:
            last = time.monotonic()
            tell(tried)

    return hear
