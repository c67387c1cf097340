"""A node follows the federation's members: who they are now, and where they answer.

What comes is verified (chain/epochs.py): a replica cannot make up an epoch.
"""

from collections.abc import Awaitable, Callable

from bft.codec.canonical import decode
from bft.errors import Refused
from chain.epochs import follow_epochs
from chain.federation.api import EPOCHS, EPOCHS_ANSWER_BYTES_MAX
from chain.node.core import NodeCore
from chain.records.federation import FEDERATION_KEY_BYTES_MAX, FederationKey

ANSWER_BYTES_MAX = EPOCHS_ANSWER_BYTES_MAX + FEDERATION_KEY_BYTES_MAX  # one at least is sent
ANSWERS_MAX = 256  # a replica that goes on for ever is left

Get = Callable[[str, int], Awaitable[bytes | None]]
"""(path with query, most bytes) -> body, or None where there is none."""


async def fetch_epochs(core: NodeCore, get: Get) -> bool:
    """Every epoch that a replica knows and this node does not; whether it has a key at all.

    Raises:
        DecodeError, Refused, BadSignature: it serves something else; what was known stays.
    """
    for _ in range(ANSWERS_MAX):
        first = max(0, len(core.epochs) - 1)  # the newest once more: another one would be a fork
        data = await get(f"{EPOCHS}?from={first}", ANSWER_BYTES_MAX)
        if data is None:
            return False
        served = decode(tuple[FederationKey, ...], data, bytes_max=ANSWER_BYTES_MAX)
        if not served:
            raise Refused("behind", f"it does not know epoch {first} yet")
        after = follow_epochs(core.genesis, core.federation_key, served, core.epochs)
        if len(after) == len(core.epochs):
            return True
        core.enter_epochs(after)
    raise Refused("endless", f"more than {ANSWERS_MAX} answers about epochs came")
