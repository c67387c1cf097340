"""How pending requests reach the primary, and all others if it is slow.

Source: docs/CONSENSUS.md, "Client request".  Pure.
"""

from bft.crypto.hashing import sha256
from bft.errors import DecodeError
from bft.pbft import normal
from bft.pbft.core import Core
from bft.pbft.messages import ForwardedRequest, Verified
from bft.pbft.pool import Pending

FORWARDS_MAX = 64  # requests passed on in one go


def submit(core: Core, request: bytes) -> None:
    """A client's request, verified at the door: keep it, and see that the primary has it."""
    if not keep(core, request, core.index):
        return
    if not core.active:
        send(core, None, request)
    elif core.primary != core.index:
        send(core, core.primary, request)
    normal.propose(core)


def on_forwarded(core: Core, found: Verified) -> None:
    """Another replica's client asks; from now on the primary has our deadline as well."""
    message = found.message
    assert isinstance(message, ForwardedRequest)
    if message.digest in core.pool or sha256(found.attachment) != message.digest:
        return
    try:
        core.pool.verify(found.attachment)
    except DecodeError:
        return  # its author is unproven: the attachment is not under the signature
    if keep(core, found.attachment, found.sender, again=still_missed(core, found)):
        normal.propose(core)


def still_missed(core: Core, found: Verified) -> bool:
    """Whether `found.sender` asks for a second time for what we, its primary, know as executed.

    It may have forgotten that, by a restart; then only executing it once more, as nothing, keeps
    it from suspecting us.
    """
    assert isinstance(found.message, ForwardedRequest)
    if found.message.digest not in core.pool.executed or core.primary != core.index:
        return False
    name = sha256(found.message.digest + bytes([found.sender]))
    known = name in core.doubted
    core.doubted.add(name)
    return known


def keep(core: Core, request: bytes, source: int, *, again: bool = False) -> bool:
    """Into the pool, with a deadline of its own."""
    deadline = core.now + core.scaled(core.config.request_ms)
    return core.pool.add(request, source=source, now_ms=core.now, deadline_ms=deadline, again=again)


def send(core: Core, to: int | None, request: bytes) -> None:
    """Pass one request on."""
    forwarded = ForwardedRequest(
        chain_id=core.members.chain_id,
        epoch=core.members.epoch,
        digest=sha256(request),
        replica=core.index,
    )
    core.send(to, core.sign(forwarded, request))


def forward_all(core: Core) -> None:
    """A new view: its primary may know none of our requests."""
    if core.primary == core.index:
        return
    for entry in waiting(core)[:FORWARDS_MAX]:
        entry.forwarded_ms = core.now
        send(core, core.primary, entry.request)


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
    for entry in due[:FORWARDS_MAX]:
        entry.forwarded_ms = core.now
        if entry.source == core.index:
            send(core, None, entry.request)
        else:
            send(core, core.primary, entry.request)


def waiting(core: Core) -> list[Pending]:
    """Requests that stand in no batch of this view, oldest first."""
    return [entry for entry in core.pool.pending() if not entry.proposed]
