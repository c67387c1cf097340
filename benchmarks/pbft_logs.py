"""What the replicas' score logs say after a benchmark: are they one log, and what is in it?"""

import asyncio
import urllib.request
from collections import Counter

from benchmarks.pbft_federation import Federation
from bft.codec.canonical import decode
from bft.crypto.hashing import sha256
from bft.ordering.batch import decode_batch
from chain.federation import api
from chain.records.score_log import LogEntry, Ordered, decode_leaf

AGREED_S = 60.0  # from the end of the load until all replicas have one log
POLL_S = 0.2
PAGE_S = 60.0  # for one page of the log


async def agreed(federation: Federation) -> dict[str, object]:
    """Wait until all replicas show the same whole log.

    Returns:
        The status of the first.

    Raises:
        TimeoutError: they do not come together.
    """
    async with asyncio.timeout(AGREED_S):
        while True:
            told = [federation.status(index) for index in range(len(federation.homes))]
            heads = {(status.get("log_size"), status.get("log_root")) for status in told}
            whole = all(status.get("log_missing", 0) is None for status in told)
            if whole and len(heads) == 1:
                return told[0]
            await asyncio.sleep(POLL_S)


def ordered_requests(federation: Federation, index: int) -> Counter[bytes]:
    """How often each request stands in a replica's log, by SHA-256 of the sealed request."""
    host, port = federation.door(index)
    found: Counter[bytes] = Counter()
    first = 0
    while True:
        url = f"http://{host}:{port}{api.LOG}?from={first}"
        with urllib.request.urlopen(url, timeout=PAGE_S) as answer:
            entries = decode(tuple[LogEntry, ...], answer.read())
        if not entries:
            return found
        first += len(entries)
        for entry in entries:
            record = decode_leaf(entry.leaf)
            if isinstance(record, Ordered):
                found.update(sha256(request) for request in decode_batch(record.batch).requests)
