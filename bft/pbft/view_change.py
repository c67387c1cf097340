"""View change and new view: what must be carried over, and how everyone can check that it was.

Source: PBFT (OSDI 1999) section 4.4; joining by the weak-th largest view after Bravo, Chockler,
Gotsman (DISC 2020).  Pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from bft.errors import DecodeError, ProtocolViolation
from bft.ordering.batch import NULL_DIGEST
from bft.pbft.certificates import Verifier, pre_prepare, verify_prepared, verify_stable
from bft.pbft.messages import (
    NewView,
    PreparedProof,
    StableProof,
    Verified,
    ViewChange,
    open_signed,
    with_signature,
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a set of VIEW-CHANGEs compels the new view to start from."""

    low: int
    stable: StableProof | None  # of `low`; None at genesis
    proposals: tuple[tuple[int, bytes], ...]  # (sequence, digest), without gaps, from low + 1

    @property
    def last(self) -> int:
        """The last sequence number that is spoken for."""
        return self.low + len(self.proposals)


def check_view_change(
    vc: ViewChange, verifier: Verifier, *, window: int, interval: int, first: int = 0
) -> None:
    """Returns if all that the VIEW-CHANGE claims is proven.  The epoch began behind `first`.

    Raises:
        DecodeError: order, range or number of signers is wrong.
        BadSignature: a signature inside does not stand.
    """
    if vc.view < 1:
        raise DecodeError("view 0 needs no VIEW-CHANGE")
    if vc.low % interval or vc.low < first or (vc.low > first) != bool(vc.stable):
        raise DecodeError(f"low watermark {vc.low} with {len(vc.stable)} stable proofs")
    for stable in vc.stable:
        if stable.sequence != vc.low:
            raise DecodeError(f"stable proof of {stable.sequence} for low watermark {vc.low}")
        verify_stable(stable, verifier)
    before = vc.low
    for proof in vc.prepared:
        if not before < proof.sequence <= vc.low + window:
            raise DecodeError(
                f"prepared proof of {proof.sequence} after {before}, low watermark {vc.low}"
            )
        if proof.view >= vc.view:
            raise DecodeError(f"prepared proof of view {proof.view} in a change to {vc.view}")
        before = proof.sequence
        verify_prepared(proof, verifier)


def plan_new_view(view_changes: Sequence[ViewChange]) -> Plan:
    """The proposals that a strong quorum of checked VIEW-CHANGEs compels.

    For each sequence above the highest stable checkpoint: the digest prepared in the highest view,
    or the null batch where nobody prepared any.

    Raises:
        AssertionError: two prepared proofs of one (view, sequence) differ; more than f are faulty.
    """
    highest = max(view_changes, key=lambda vc: vc.low)
    best: dict[int, PreparedProof] = {}
    for vc in view_changes:
        for proof in vc.prepared:
            known = best.get(proof.sequence)
            if proof.sequence > highest.low and (known is None or proof.view > known.view):
                best[proof.sequence] = proof
            elif known is not None and proof.view == known.view:
                assert proof.digest == known.digest, "two prepared digests: more than f are faulty"
    last = max(best, default=highest.low)
    proposals = tuple(
        (sequence, best[sequence].digest if sequence in best else NULL_DIGEST)
        for sequence in range(highest.low + 1, last + 1)
    )
    return Plan(low=highest.low, stable=next(iter(highest.stable), None), proposals=proposals)


def check_new_view(
    nv: NewView, verifier: Verifier, *, window: int, interval: int, first: int = 0
) -> tuple[Plan, tuple[Verified, ...]]:
    """The plan of a NEW-VIEW, recomputed, and its PRE-PREPAREs.

    Raises:
        DecodeError: not from the view's primary, not exactly a strong quorum of distinct
            VIEW-CHANGEs for this view, one of them invalid, or other proposals than they compel.
        BadSignature: a signature inside does not stand.
    """
    members = verifier.membership
    if nv.view < 1 or members.primary(nv.view) != nv.replica:
        raise DecodeError(f"replica {nv.replica} is not the primary of view {nv.view}")
    if len(nv.view_changes) != members.strong:
        raise DecodeError(f"{len(nv.view_changes)} VIEW-CHANGEs; {members.strong} expected")
    found: list[ViewChange] = []
    for envelope in nv.view_changes:
        opened = open_signed(envelope, members)
        vc = opened.message
        if not isinstance(vc, ViewChange) or vc.view != nv.view:
            raise DecodeError(f"a NEW-VIEW for {nv.view} carries a {vc.TAG} that is not for it")
        if found and vc.replica <= found[-1].replica:
            raise DecodeError("VIEW-CHANGEs must be of distinct replicas, ascending")
        check_view_change(vc, verifier, window=window, interval=interval, first=first)
        found.append(vc)
    plan = plan_new_view(found)
    if tuple((p.sequence, p.digest) for p in nv.proposals) != plan.proposals:
        raise DecodeError(f"the proposals of NEW-VIEW {nv.view} are not those that it must make")
    headers = []
    for proposal in nv.proposals:
        header = pre_prepare(members, nv.view, proposal.sequence, proposal.digest)
        verifier.check(nv.replica, header, proposal.signature)
        headers.append(with_signature(header, members, proposal.signature))
    return plan, tuple(headers)


def own_proposals(nv: NewView, verifier: Verifier) -> tuple[Plan, tuple[Verified, ...]]:
    """Plan and PRE-PREPAREs of a NEW-VIEW that this replica has checked before."""
    members = verifier.membership
    found = []
    for envelope in nv.view_changes:
        vc = open_signed(envelope, members).message
        assert isinstance(vc, ViewChange)
        found.append(vc)
    headers = tuple(
        with_signature(pre_prepare(members, nv.view, p.sequence, p.digest), members, p.signature)
        for p in nv.proposals
    )
    return plan_new_view(found), headers


class ViewChanges:
    """Checked VIEW-CHANGEs, two for each replica: of its highest view, and of the one we await."""

    def __init__(self) -> None:
        self._of: dict[int, dict[int, Verified]] = {}

    def get(self, replica: int, view: int) -> Verified | None:
        """The VIEW-CHANGE of `replica` for exactly `view`."""
        return self._of.get(replica, {}).get(view)

    def add(self, vc: Verified, awaited: int) -> None:
        """Keep `vc`; `awaited` is the view that this replica waits for.

        Raises:
            ProtocolViolation: the replica signed two different VIEW-CHANGEs for one view.
        """
        message = vc.message
        assert isinstance(message, ViewChange)
        known = self.get(vc.sender, message.view)
        if known is not None and known.message != message:
            raise ProtocolViolation(
                f"replica {vc.sender} signed two VIEW-CHANGEs for view {message.view}",
                culprit=vc.sender,
                evidence=(known.envelope, vc.envelope),
            )
        views = self._of.setdefault(vc.sender, {})
        views[message.view] = known or vc
        for view in sorted(views):
            if view not in (awaited, max(views)):
                del views[view]

    def highest(self, replica: int) -> int:
        """The highest view that `replica` asked for; 0 when it asked for none."""
        views = self._of.get(replica)
        return max(views) if views else 0

    def for_view(self, view: int) -> tuple[Verified, ...]:
        """All for exactly `view`, by replica."""
        return tuple(
            self._of[replica][view] for replica in sorted(self._of) if view in self._of[replica]
        )

    def installed(self, view: int) -> None:
        """Forget what `view` has overtaken."""
        for replica in sorted(self._of):
            kept = {v: vc for v, vc in self._of[replica].items() if v > view}
            if kept:
                self._of[replica] = kept
            else:
                del self._of[replica]

    def __len__(self) -> int:
        """VIEW-CHANGEs that are kept."""
        return sum(len(views) for views in self._of.values())


def choose(view_changes: Sequence[Verified], own: int, count: int) -> tuple[Verified, ...]:
    """Exactly `count`, by replica: our own, then those with the highest stable checkpoints."""

    def rank(vc: Verified) -> tuple[bool, int, int]:
        assert isinstance(vc.message, ViewChange)
        return vc.sender != own, -vc.message.low, vc.sender

    chosen = sorted(view_changes, key=rank)[:count]
    return tuple(sorted(chosen, key=lambda vc: vc.sender))


def weakest_proven(views: Sequence[int], weak: int) -> int:
    """The weak-th largest view: at least one correct replica is there or beyond."""
    return sorted(views, reverse=True)[weak - 1]
