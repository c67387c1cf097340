"""Leaving a view, joining others that leave, and starting the next one.

Source: PBFT (OSDI 1999) section 4.4 and docs/CONSENSUS.md, "View change".  Pure.
"""

from bft.errors import DecodeError, ProtocolViolation
from bft.pbft import amnesia, epoch, journal, normal, stable, suspicion
from bft.pbft.certificates import pre_prepare
from bft.pbft.core import Core
from bft.pbft.messages import NewView, PreparedProof, Proposal, Verified, ViewChange
from bft.pbft.requests import forward_all
from bft.pbft.view_change import (
    Plan,
    check_new_view,
    check_view_change,
    choose,
    own_proposals,
    plan_new_view,
    weakest_proven,
)

CHECK_GAP_MS = 100  # between two VIEW-CHANGEs (or NEW-VIEWs) of one replica that we verify


def leave(core: Core, view: int) -> None:
    """Vote in no view below `view` any more, and tell everyone what must survive."""
    assert view > core.pending_view
    if core.silent:
        return
    if suspicion.reigned(core):
        core.good_view = min(core.view, core.good_view + view - core.pending_view)
    core.pending_view = view
    core.suspicion = core.overdue = None
    core.view_deadline = None
    prepared: tuple[PreparedProof, ...] = tuple(
        slot.prepared for slot in core.log if slot.prepared is not None
    )
    vc = core.sign(
        ViewChange(
            chain_id=core.members.chain_id,
            epoch=core.members.epoch,
            view=view,
            low=core.log.low,
            stable=() if core.stable is None else (core.stable[0],),
            prepared=prepared,
            replica=core.index,
        )
    )
    lsn = core.persist(journal.Left(envelope=vc.envelope))
    core.view_change = (vc, lsn)
    core.vote(vc, lsn)
    core.retransmit_ms = core.config.retransmit_ms
    core.retransmit_at = core.now + core.retransmit_ms
    follow(core)


def wish(core: Core) -> None:
    """We would rather be in another view: say so soon, and go if weak many want to."""
    if core.told_wish != core.wished_view:
        core.told_wish = core.wished_view
        core.status_at = core.now
    follow(core)


def on_view_change(core: Core, found: Verified) -> None:
    """Check and count one VIEW-CHANGE; help its sender if its view is long installed."""
    message = found.message
    assert isinstance(message, ViewChange)
    if found.sender == core.index:
        if message.view > core.view:
            core.view_changes.add(found, core.pending_view)
            follow(core)
        return
    if message.view <= core.view:
        send_new_view(core, found.sender)
        return
    known = core.view_changes.get(found.sender, message.view)
    wanted = message.view == core.pending_view
    if known is None and not wanted and message.view < core.view_changes.highest(found.sender):
        return
    try:
        if known is None:
            peer = core.peers[found.sender]
            if not due(core, peer.view_change_ms):
                return
            peer.view_change_ms = core.now
            config = core.config
            check_view_change(
                message,
                core.verifier,
                window=config.window,
                interval=config.checkpoint_interval,
                first=config.first,
            )
            for proof in message.prepared:
                amnesia.check_prepared(core, proof)
        core.view_changes.add(found, core.pending_view)
    except ProtocolViolation as violation:
        core.convict(violation)
        return
    except DecodeError as error:
        core.accuse(found.sender, f"invalid VIEW-CHANGE: {error}", (found.envelope,))
        return
    core.peers[found.sender].view = max(core.peers[found.sender].view, message.view)
    follow(core)


def due(core: Core, last_ms: int | None) -> bool:
    """Whether a replica may cost us the verification of one more large message now."""
    return last_ms is None or core.now - last_ms >= CHECK_GAP_MS


def follow(core: Core) -> None:
    """Go to the weak-th largest view that replicas are in or wish for; then see that it starts.

    Its timer runs from the moment that a strong quorum is there.
    """
    if core.probation or core.silent or epoch.over(core):
        return
    asked = [max(core.view_changes.highest(i), core.peers[i].wished_view) for i in core.others]
    proven = weakest_proven([*asked, core.wished_view], core.members.weak)
    if proven > core.pending_view:
        leave(core, proven)
        return
    if core.active:
        return
    if core.view_deadline is None:
        there = 1 + sum(core.peers[i].view >= core.pending_view for i in core.others)
        if there >= core.members.strong:
            core.view_deadline = core.now + core.scaled(suspicion.view_change_ms(core))
    if core.members.primary(core.pending_view) == core.index:
        start_view(core)


def start_view(core: Core) -> None:
    """As its primary, start the view that we await when a strong quorum asks for exactly it."""
    view = core.pending_view
    asking = core.view_changes.for_view(view)
    if len(asking) < core.members.strong or core.view_changes.get(core.index, view) is None:
        return
    chosen = choose(asking, core.index, core.members.strong)
    plan = plan_new_view([vc.message for vc in chosen if isinstance(vc.message, ViewChange)])
    proposals = []
    headers = []
    for sequence, digest in plan.proposals:
        header = core.sign(pre_prepare(core.members, view, sequence, digest))
        headers.append(header)
        proposals.append(Proposal(sequence=sequence, digest=digest, signature=header.signature))
    nv = core.sign(
        NewView(
            chain_id=core.members.chain_id,
            epoch=core.members.epoch,
            view=view,
            view_changes=tuple(vc.envelope for vc in chosen),
            proposals=tuple(proposals),
            replica=core.index,
        )
    )
    install(core, nv, plan, tuple(headers))
    assert core.new_view is not None
    core.send(None, nv, core.new_view[1])


def on_new_view(core: Core, found: Verified) -> None:
    """Install a NEW-VIEW that is what its VIEW-CHANGEs compel; accuse its author otherwise."""
    message = found.message
    assert isinstance(message, NewView)
    if message.view == core.view and core.new_view is not None:
        known = core.new_view[0]
        if known.message != message and found.sender == core.primary:
            core.accuse(
                found.sender,
                f"two NEW-VIEWs for view {message.view}",
                (known.envelope, found.envelope),
            )
        return
    if message.view <= core.view or message.view < core.pending_view:
        return
    peer = core.peers[found.sender]
    if not due(core, peer.checked_ms):
        return
    peer.checked_ms = core.now
    config = core.config
    try:
        plan, headers = check_new_view(
            message,
            core.verifier,
            window=config.window,
            interval=config.checkpoint_interval,
            first=config.first,
        )
    except DecodeError as error:
        core.accuse(found.sender, f"invalid NEW-VIEW: {error}", (found.envelope,))
        primary = core.members.primary(message.view)
        if found.sender == primary and message.view == core.pending_view:
            leave(core, message.view + 1)
        return
    amnesia.check_view_changes(core, message)
    if not core.halted:
        install(core, found, plan, headers)


def install(core: Core, nv: Verified, plan: Plan, headers: tuple[Verified, ...]) -> None:
    """Enter the view: adopt its checkpoint, accept its proposals, give requests new deadlines."""
    assert isinstance(nv.message, NewView)
    core.new_view = (nv, core.persist(journal.Entered(envelope=nv.envelope)))
    core.view = core.pending_view = nv.message.view
    core.view_change = None
    core.suspicion = core.overdue = None
    core.progress = core.reign_ms = 0
    core.stalled_since = None
    core.view_changes.installed(core.view)
    core.pool.restart(core.now, core.now + core.scaled(core.config.request_ms))
    adopt(core, plan, headers)
    if plan.stable is not None:
        stable.on_stable(core, plan.stable)
    stable.carry(core)
    for slot in core.log:
        early, slot.early = slot.early, None
        if early is not None:
            normal.on_pre_prepare(core, early)
    unfinished = plan.last > core.last_decided or len(core.pool) > 0
    core.view_deadline = (
        core.now + core.scaled(suspicion.view_change_ms(core)) if unfinished else None
    )
    forward_all(core)
    normal.propose(core)


def adopt(core: Core, plan: Plan, headers: tuple[Verified, ...]) -> None:
    """Remember what the new view starts from; `stable.carry` puts it into the log."""
    core.carried = {
        sequence: header for (sequence, _), header in zip(plan.proposals, headers, strict=True)
    }
    core.next_sequence = plan.last + 1


def adopt_own(core: Core, nv: NewView) -> None:
    """`adopt`, for the NEW-VIEW in our own journal."""
    plan, headers = own_proposals(nv, core.verifier)
    adopt(core, plan, headers)


def send_new_view(core: Core, to: int) -> None:
    """Show `to` the view that we are in, not more often than it can be of use."""
    peer = core.peers[to]
    if core.new_view is None:
        return
    if peer.new_view_ms is not None and core.now - peer.new_view_ms < core.config.retransmit_ms:
        return
    peer.new_view_ms = core.now
    core.send(to, core.new_view[0], core.new_view[1])


def tick(core: Core) -> None:
    """Retransmit our VIEW-CHANGE; give up on views and primaries whose time is over."""
    if not core.active and core.view_change is not None and core.now >= core.retransmit_at:
        core.send(None, *core.view_change)
        core.retransmit_ms = min(core.retransmit_ms * 2, core.config.retransmit_ms_max)
        core.retransmit_at = core.now + core.retransmit_ms
    late = core.view_deadline is not None and core.now >= core.view_deadline
    if late and not core.active:
        leave(core, core.pending_view + 1)
        return
    suspicion.tick(core)
