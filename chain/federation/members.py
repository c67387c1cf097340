"""Who the federation's members are now, for a client that began with others.

The certificates of the epochs are signed under the one federation key, so one replica's answer is
enough; see chain/epochs.py.
"""

from collections.abc import Awaitable, Callable, Sequence

from bft.codec.canonical import decode
from bft.errors import FederationError
from chain.epochs import follow_epochs
from chain.federation.api import EPOCHS, EPOCHS_ANSWER_BYTES_MAX
from chain.records.federation import FEDERATION_KEY_BYTES_MAX, FederationKey, Genesis

ANSWER_BYTES_MAX = EPOCHS_ANSWER_BYTES_MAX + FEDERATION_KEY_BYTES_MAX  # one at least is sent
ANSWERS_MAX = 256  # a replica that goes on for ever is left

Get = Callable[[str, int], Awaitable[bytes]]
"""(URL, most bytes) -> body.  Raises FederationError."""


async def newest_epochs(
    genesis: Genesis,
    federation_key: bytes,
    known: tuple[FederationKey, ...],
    urls: Sequence[str],
    get: Get,
) -> tuple[FederationKey, ...]:
    """The longest chain of epochs that any of `urls` can prove; at least what was known."""
    for url in urls:
        try:
            known = await _from_one(genesis, federation_key, known, url, get)
        except FederationError:
            continue  # silent, behind, or a liar: the others are asked as well
    return known


async def _from_one(
    genesis: Genesis,
    federation_key: bytes,
    known: tuple[FederationKey, ...],
    url: str,
    get: Get,
) -> tuple[FederationKey, ...]:
    for _ in range(ANSWERS_MAX):
        data = await get(f"{url}{EPOCHS}?from={len(known)}", ANSWER_BYTES_MAX)
        served = decode(tuple[FederationKey, ...], data, bytes_max=ANSWER_BYTES_MAX)
        after = follow_epochs(genesis, federation_key, served, known)
        if len(after) == len(known):
            break
        known = after
    return known
