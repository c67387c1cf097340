"""What a Byzantine replica does to each message on its way out.

Wrapped around the real replica, so that it lies in the middle of the real protocol.
"""

from collections.abc import Callable
from random import Random
from typing import Protocol

from bft.codec.canonical import encode
from bft.ordering.batch import NULL_BATCH, Batch, batch_digest
from bft.pbft.messages import (
    Commit,
    Message,
    NewView,
    Prepare,
    PrePrepare,
    Status,
    Verified,
    ViewChange,
)


class Wire(Protocol):
    """What a liar can do to the world."""

    def forge(self, index: int, message: Message, attachment: bytes = b"") -> bytes: ...

    def transmit(self, source: int, to: int, data: bytes) -> None: ...

    def at(self, delay: int, action: Callable[[], None]) -> None: ...


class Stage(Protocol):
    """Where a liar acts."""

    random: Random
    heard: list[bytes]
    extra: bytes

    @property
    def cluster(self) -> Wire: ...


Behaviour = Callable[[Stage, int, int, bytes, Verified], list[bytes]]


def silent(world: Stage, source: int, to: int, data: bytes, found: Verified) -> list[bytes]:
    return []


def picky(world: Stage, source: int, to: int, data: bytes, found: Verified) -> list[bytes]:
    """Talks to some replicas only."""
    return [data] if (source + to) % 2 else []


def flaky(world: Stage, source: int, to: int, data: bytes, found: Verified) -> list[bytes]:
    return [data] if world.random.random() < 0.5 else []


def stale(world: Stage, source: int, to: int, data: bytes, found: Verified) -> list[bytes]:
    """Replays what it said before."""
    world.heard.append(data)
    if len(world.heard) > 200:
        del world.heard[0]
    return [data, world.random.choice(world.heard)]


def withhold(world: Stage, source: int, to: int, data: bytes, found: Verified) -> list[bytes]:
    """Headers without their batches."""
    if isinstance(found.message, PrePrepare) and found.sender == source and to % 2:
        return [Verified(found.sender, found.message, found.envelope, found.signature).frame]
    return [data]


def equivocate(world: Stage, source: int, to: int, data: bytes, found: Verified) -> list[bytes]:
    """Tells every second replica something else, in all three phases."""
    message = found.message
    if to % 2 == 0 or found.sender != source:
        return [data]
    if isinstance(message, PrePrepare | Prepare | Commit):
        batch = encode(Batch(timestamp_ms=message.sequence, requests=(world.extra,)))
        other = type(message)(
            chain_id=message.chain_id,
            epoch=message.epoch,
            view=message.view,
            sequence=message.sequence,
            digest=batch_digest(batch),
            replica=source,
        )
        attachment = batch if isinstance(message, PrePrepare) else b""
        forged = world.cluster.forge(source, other, attachment)
        return [data, forged] if world.random.random() < 0.5 else [forged]
    return [data]


def nullify(world: Stage, source: int, to: int, data: bytes, found: Verified) -> list[bytes]:
    """Starts views without what was prepared; proposes nothing at all."""
    message = found.message
    if isinstance(message, NewView) and found.sender == source:
        other = NewView(
            chain_id=message.chain_id,
            epoch=message.epoch,
            view=message.view,
            view_changes=message.view_changes,
            proposals=message.proposals[:-1],
            replica=source,
        )
        return [world.cluster.forge(source, other)]
    if isinstance(message, PrePrepare) and found.sender == source and to % 2:
        other = PrePrepare(
            chain_id=message.chain_id,
            epoch=message.epoch,
            view=message.view,
            sequence=message.sequence,
            digest=batch_digest(NULL_BATCH),
            replica=source,
        )
        return [world.cluster.forge(source, other, NULL_BATCH)]
    return [data]


def forgetful(world: Stage, source: int, to: int, data: bytes, found: Verified) -> list[bytes]:
    """Hides what it prepared, and always asks for later views."""
    message = found.message
    if isinstance(message, ViewChange) and found.sender == source:
        other = ViewChange(
            chain_id=message.chain_id,
            epoch=message.epoch,
            view=message.view + world.random.randrange(3),
            low=message.low,
            stable=message.stable,
            prepared=(),
            replica=source,
        )
        return [world.cluster.forge(source, other)]
    return [data]


def boastful(world: Stage, source: int, to: int, data: bytes, found: Verified) -> list[bytes]:
    """Lies about how far it is."""
    message = found.message
    if isinstance(message, Status) and found.sender == source:
        other = Status(
            chain_id=message.chain_id,
            epoch=message.epoch,
            view=message.view,
            pending_view=message.pending_view + world.random.randrange(1000),
            wished_view=message.pending_view + world.random.randrange(1000),
            low=message.low + 8 * world.random.randrange(100),
            decided=message.decided + world.random.randrange(1000),
            helper=to,
            slots=(),
            replica=source,
        )
        return [world.cluster.forge(source, other)]
    return [data]


def corrupt(world: Stage, source: int, to: int, data: bytes, found: Verified) -> list[bytes]:
    """Flips a bit now and then."""
    if world.random.random() < 0.3:
        place = world.random.randrange(len(data))
        data = (
            data[:place] + bytes([data[place] ^ 1 << world.random.randrange(8)]) + data[place + 1 :]
        )
    return [data]


def sluggish(world: Stage, source: int, to: int, data: bytes, found: Verified) -> list[bytes]:
    """Says everything late."""
    delay = world.random.randint(200, 1500)
    world.cluster.at(delay, lambda: world.cluster.transmit(source, to, data))
    return []


BEHAVIOURS: tuple[Behaviour, ...] = (
    silent,
    picky,
    flaky,
    stale,
    withhold,
    equivocate,
    nullify,
    forgetful,
    boastful,
    corrupt,
    sluggish,
)
