"""Help for members of the epoch before this one who have not seen its end.

They speak in their own epoch, whose votes count here no more.  Who was a member of it answers with
the proof of its last state, and with the batches before that; then they go on to this epoch.
Source: docs/CONSENSUS.md, "Epochs".  Pure.
"""

from collections.abc import Callable
from typing import Any

from bft.errors import DecodeError
from bft.pbft.config import Config, Era
from bft.pbft.core import Core
from bft.pbft.events import ServeHistory
from bft.pbft.messages import (
    HISTORY_ENTRIES_MAX,
    FetchHistory,
    History,
    Message,
    Stable,
    Status,
    Verified,
    open_message,
    open_news,
    sign_message,
)

ANSWER_GAP_MS = 400  # between two STATUSes of one laggard that we answer


def open_frame(
    data: bytes, config: Config, needless: Callable[[Message], bool] = lambda message: False
) -> Verified | None:
    """As `open_news`, for a replica's own epoch and the one before it.

    Raises:
        DecodeError, BadSignature: see `open_message`.
    """
    try:
        return open_news(data, config.membership, needless)
    except DecodeError:
        if config.past:
            try:
                return open_message(data, config.past[-1].membership)
            except DecodeError:
                pass  # what it is in our own epoch says more
        raise


def on_message(core: Core, found: Verified) -> None:
    """A message of the epoch before: answer if its author is still a member and behind."""
    era = core.config.past[-1]
    own = era.membership.index_by_key.get(core.members.keys[core.index])
    to = core.members.index_by_key.get(era.membership.keys[found.sender])
    if own is None or to is None or to == core.index:
        return
    message = found.message
    if isinstance(message, Status) and message.low < era.last:
        show_end(core, era, own, to, message)
    elif isinstance(message, FetchHistory):
        serve(core, era, to, message)


def show_end(core: Core, era: Era, own: int, to: int, status: Status) -> None:
    """How far that epoch went, and the proof of it."""
    peer = core.peers[to]
    if peer.past_ms is not None and core.now - peer.past_ms < ANSWER_GAP_MS:
        return
    peer.past_ms = core.now
    given: dict[str, Any] = {
        "chain_id": era.membership.chain_id,
        "epoch": era.membership.epoch,
        "replica": own,
    }
    proof = () if core.began is None else core.began[0].proof
    for stable in proof:
        send(core, era, to, Stable(proof=stable, **given))
    answer = Status(
        view=status.view,  # so that it sends us no NEW-VIEW
        pending_view=status.pending_view,
        wished_view=status.wished_view,
        low=era.last,
        decided=era.last,
        helper=own,
        slots=(),
        **given,
    )
    send(core, era, to, answer)


def serve(core: Core, era: Era, to: int, message: FetchHistory) -> None:
    """Have the driver read batches of that epoch, or earlier ones."""
    peer = core.peers[to]
    if peer.serving_ms is not None and core.now - peer.serving_ms < core.config.history_ms:
        return
    last = min(message.last, message.first + HISTORY_ENTRIES_MAX - 1, era.last)
    if not 1 <= message.first <= last:
        return
    peer.serving_ms, peer.serving_past = core.now, True
    core.effects.append(ServeHistory(to=to, from_sequence=message.first, to_sequence=last))


def send_history(core: Core, to: int, first: int, entries: bytes) -> None:
    """What the driver read for `serve`."""
    era = core.config.past[-1]
    own = era.membership.index_by_key[core.members.keys[core.index]]
    message = History(
        chain_id=era.membership.chain_id, epoch=era.membership.epoch, first=first, replica=own
    )
    send(core, era, to, message, entries)


def send(core: Core, era: Era, to: int, message: Message, attachment: bytes = b"") -> None:
    """Under our key, as a member of that epoch."""
    core.send(to, sign_message(message, era.membership, core.config.sign, attachment))
