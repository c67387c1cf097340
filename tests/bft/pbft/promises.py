"""What a journal record permits a replica to say: persist-before-send, checked from outside.

The engine's own `after_lsn` is not asked: whoever forgets it is to be found here.
"""

from bft.codec.canonical import decode
from bft.codec.envelope import Envelope
from bft.pbft.journal import Accepted, Entered, Left, Prepared, Reached, decode_entry
from bft.pbft.messages import (
    Checkpoint,
    Commit,
    Message,
    NewView,
    Prepare,
    PrePrepare,
    ViewChange,
)

Place = tuple[object, ...]


def permits(record: bytes) -> list[Place]:
    """The messages that this record stands for."""
    entry = decode_entry(record)
    if isinstance(entry, Prepared):
        proof = entry.proof
        return [("commit", proof.view, proof.sequence, proof.digest)]
    if not isinstance(entry, Accepted | Entered | Left | Reached):
        return []
    body = decode(Envelope, entry.envelope).body
    if isinstance(entry, Accepted):
        header = decode(PrePrepare, body)
        return [("accept", header.view, header.sequence, header.digest)]
    if isinstance(entry, Left):
        return [("leave", body)]
    if isinstance(entry, Reached):
        return [("reach", body)]
    view = decode(NewView, body)
    proposed = [("accept", view.view, p.sequence, p.digest) for p in view.proposals]
    return [("enter", body), *proposed]


def needed(message: Message, envelope: bytes) -> Place | None:
    """What must be durable before this replica's own `message` goes out."""
    if isinstance(message, PrePrepare | Prepare):
        return ("accept", message.view, message.sequence, message.digest)
    if isinstance(message, Commit):
        return ("commit", message.view, message.sequence, message.digest)
    name = {ViewChange: "leave", NewView: "enter", Checkpoint: "reach"}.get(type(message))
    return None if name is None else (name, decode(Envelope, envelope).body)
