"""How pending requests reach the primary, and all others if it is slow.

Many travel in one message: what comes in while the last one is FORWARD_GAP_MS young goes together.
Source: docs/CONSENSUS.md, "Client request".  Pure.
"""

from collections.abc import Iterable

from bft.codec.canonical import decode, encode
from bft.crypto.hashing import sha256
from bft.errors import DecodeError
from bft.pbft import normal
from bft.pbft.core import Core
from bft.pbft.messages import (
    FORWARDED_BYTES_MAX,
    FORWARDED_MAX,
    ForwardedRequests,
    RequestBundle,
    Verified,
)
from bft.pbft.pool import Pending

BUNDLES_MAX = 4  # messages of requests that go out at once
FORWARD_GAP_MS = 10  # between two messages with new requests


def submit(core: Core, request: bytes) -> None:
    """A client's request, verified at the door: keep it, and see that the primary has it."""
    if not keep(core, request, core.index):
        return
    core.fresh.append(request)
    normal.propose(core)


def flush(core: Core) -> None:
    """Pass on what clients have brought lately: at once if it is little, together if it is much."""
    last = core.flushed_ms
    if not core.fresh or (last is not None and core.now - last < FORWARD_GAP_MS):
        return
    fresh, core.fresh = core.fresh, []
    core.flushed_ms = core.now
    waiting = [request for request in fresh if core.pool.awaits(request)]
    if not core.active:
        send(core, None, waiting)
    elif core.primary != core.index:
        send(core, core.primary, waiting)


def on_forwarded(core: Core, found: Verified) -> None:
    """Other replicas' clients ask; from now on the primary has our deadlines as well."""
    message = found.message
    assert isinstance(message, ForwardedRequests)
    if sha256(found.attachment) != message.digest:
        return
    try:
        for request in decode(RequestBundle, found.attachment).requests:
            take(core, found.sender, request)
    except DecodeError:
        pass  # no correct replica sends it; what came before the bad one is good all the same
    normal.propose(core)


def take(core: Core, source: int, request: bytes) -> None:
    """Keep one request that `source` has passed on, if it is new here.

    Raises:
        DecodeError, BadSignature: its client did not sign it.
    """
    digest = sha256(request)
    if digest not in core.pool:
        core.pool.verify(request)
        keep(core, request, source, again=still_missed(core, digest, source))


def still_missed(core: Core, digest: bytes, source: int) -> bool:
    """Whether `source` asks for a second time for what we, its primary, know as executed.

    It may have forgotten that, by a restart; then only executing it once more, as nothing, keeps
    it from suspecting us.
    """
    if digest not in core.pool.executed or core.primary != core.index:
        return False
    name = sha256(digest + bytes([source]))
    known = name in core.doubted
    core.doubted.add(name)
    return known


def keep(core: Core, request: bytes, source: int, *, again: bool = False) -> bool:
    """Into the pool, with a deadline of its own."""
    deadline = core.now + core.scaled(core.config.request_ms)
    return core.pool.add(request, source=source, now_ms=core.now, deadline_ms=deadline, again=again)


def send(core: Core, to: int | None, requests: Iterable[bytes]) -> None:
    """Pass requests on: to one replica or to all, in as few messages as hold them."""
    for bundle in bundles(requests):
        attachment = encode(RequestBundle(requests=bundle))
        forwarded = ForwardedRequests(
            chain_id=core.members.chain_id,
            epoch=core.members.epoch,
            digest=sha256(attachment),
            replica=core.index,
        )
        core.send(to, core.sign(forwarded, attachment))


def bundles(requests: Iterable[bytes]) -> list[tuple[bytes, ...]]:
    """Requests in the same order, as many to a message as it may hold."""
    found: list[tuple[bytes, ...]] = []
    bundle: list[bytes] = []
    size = 0
    for request in requests:
        size += len(request)
        if bundle and (len(bundle) == FORWARDED_MAX or size > FORWARDED_BYTES_MAX):
            found.append(tuple(bundle))
            bundle, size = [], len(request)
        bundle.append(request)
    return [*found, tuple(bundle)] if bundle else found


def forward_all(core: Core) -> None:
    """A new view: its primary may know none of our requests."""
    if core.primary == core.index:
        return
    pass_on(core, core.primary, waiting(core))


def tick(core: Core) -> None:
    """Requests that nobody proposed: ours go to all, so that every replica's deadline runs.

    Also while we wait for a view, since the others may have kept theirs and never leave it.
    Those of others go to the primary, when half of their time is over.
    """
    if core.now < core.forward_at:
        return
    core.forward_at = core.now + core.config.forward_ms
    if core.active and core.primary == core.index:
        return
    half = core.scaled(core.config.request_ms) // 2
    due = [
        entry
        for entry in waiting(core)
        if core.now - entry.forwarded_ms >= core.config.forward_ms
        and (entry.source == core.index or (core.active and entry.deadline_ms - core.now <= half))
    ]
    pass_on(core, None, [entry for entry in due if entry.source == core.index])
    pass_on(core, core.primary, [entry for entry in due if entry.source != core.index])


def pass_on(core: Core, to: int | None, entries: list[Pending]) -> None:
    """Send the first of these again, and remember when."""
    for bundle in bundles(entry.request for entry in entries)[:BUNDLES_MAX]:
        send(core, to, bundle)
        for request in bundle:
            core.pool.forwarded(request, core.now)


def waiting(core: Core) -> list[Pending]:
    """Requests that stand in no batch of this view, oldest first."""
    return [entry for entry in core.pool.pending() if not entry.proposed]
