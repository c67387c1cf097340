"""Many artifacts at once: thousands of small updates in a few questions instead of one for each.

Only what can be had quickly; whoever needs the rest asks for it one by one (work.py), which waits
longer and asks everybody.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence

from bft.codec.canonical import decode
from bft.crypto.hashing import sha256
from bft.errors import DecodeError, Unavailable
from chain.federation import api
from coordinator.service.blobs import BlobStore, StorageFull

QUESTIONS_MAX = 4  # under way at the same time
ANSWER_BYTES_MAX = api.BLOBS_ANSWER_BYTES_MAX + 16 * api.BLOBS_LIMIT_MAX

Ask = Callable[[str, int, bytes], Awaitable[bytes | None]]
"""(url, most bytes of the answer, body) -> answer to a POST; None when there is none."""

log = logging.getLogger("gristmill.work")


async def gather(
    wanted: Mapping[bytes, int],
    store: BlobStore,
    urls: Sequence[str],
    ask: Ask,
    found: dict[bytes, bytes],
) -> None:
    """Put into `found` what is in `store`, and what peers give, which is also kept there.

    Args:
        wanted: digest -> its size.  Bytes of another size are not taken from peers.
        found: grows as answers come, so that whoever gives up waiting has what came until then.
    """
    digests = list(wanted)
    for part in _parts(digests):
        while part:
            here = await _stored(store, part)
            found |= {d: data for d, data in zip(part, here, strict=False) if data is not None}
            part = part[len(here) or 1 :]
    slots = asyncio.Semaphore(QUESTIONS_MAX)
    missing = [digest for digest in digests if digest not in found]
    async with asyncio.TaskGroup() as tasks:
        for turn, part in enumerate(_parts(missing)):
            turned = [urls[(turn + step) % len(urls)] for step in range(len(urls))]
            tasks.create_task(_from_peers(part, wanted, turned, store, ask, slots, found))


async def _from_peers(
    part: list[bytes],
    wanted: Mapping[bytes, int],
    urls: Sequence[str],
    store: BlobStore,
    ask: Ask,
    slots: asyncio.Semaphore,
    found: dict[bytes, bytes],
) -> None:
    """Each peer in turn is asked once for what those before it did not give."""
    async with slots:
        for url in urls:
            rest = [digest for digest in part if digest not in found]
            while rest:
                answer = await ask(url + api.BLOBS_ASKED, ANSWER_BYTES_MAX, b"".join(rest))
                given = () if answer is None else _read(answer)
                right = {
                    digest: data
                    for digest, data in zip(rest, given, strict=False)
                    if len(data) == wanted[digest] and sha256(data) == digest
                }
                found |= right
                await _keep(store, right)
                if not right:
                    break
                rest = rest[len(given) :]


async def _stored(store: BlobStore, part: Sequence[bytes]) -> list[bytes | None]:
    """As far as an answer goes; nothing while the own store is down, for the peers have theirs."""
    try:
        return await store.get_many(part, api.BLOBS_ANSWER_BYTES_MAX)
    except Unavailable as error:
        log.error("%s: %d artifacts are fetched from peers", error, len(part))
        return [None] * len(part)


async def _keep(store: BlobStore, right: Mapping[bytes, bytes]) -> None:
    try:
        await store.keep(right)
    except (StorageFull, Unavailable) as error:
        log.error("%s: %d artifacts are used but not kept", error, len(right))


def _read(answer: bytes) -> tuple[bytes, ...]:
    """A peer's answer; nothing of one that is malformed."""
    try:
        return decode(tuple[bytes, ...], answer, bytes_max=ANSWER_BYTES_MAX)
    except DecodeError as error:
        log.warning("a peer gave no list of artifacts: %s", error)
        return ()


def _parts(digests: list[bytes]) -> list[list[bytes]]:
    size = api.BLOBS_LIMIT_MAX
    return [digests[at : at + size] for at in range(0, len(digests), size)]
