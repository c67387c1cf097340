"""A replica's whole log over HTTP."""

import asyncio

from bft.codec.canonical import decode
from chain.federation import api
from chain.federation.transport import Transport, refusal
from chain.records.score_log import LogEntry

PAGE_BYTES_MAX = 64 * 1024 * 1024


def read_log(url: str) -> tuple[LogEntry, ...]:
    """All entries so far.  Raises as Transport.exchange does."""

    async def read() -> tuple[LogEntry, ...]:
        found: list[LogEntry] = []
        async with Transport() as transport:
            while True:
                path = f"{url}{api.LOG}?from={len(found)}&limit={api.LOG_LIMIT_MAX}"
                reply = await transport.exchange("GET", path, bytes_max=PAGE_BYTES_MAX)
                if reply.status != 200:
                    raise refusal(reply)
                page = decode(tuple[LogEntry, ...], reply.body, bytes_max=PAGE_BYTES_MAX)
                found += page
                if not page:
                    return tuple(found)

    return asyncio.run(read())
