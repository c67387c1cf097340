"""Faults planted in changes of members: machine, rules, auditor, chain of epochs."""

from tests.mutants.mutant import Mutant

MACHINE = ("tests/coordinator/cycle/test_membership.py",)
REBASE = ("tests/coordinator/cycle/test_rebase.py",)
AUDIT = ("tests/chain/audit/test_epochs.py",)
MEMBERSHIP = "coordinator/cycle/phases/membership.py"
RESHARING = "coordinator/cycle/phases/resharing.py"

CHANGES = (
    Mutant(
        "weak-approval",
        "a strong quorum approves a list of members",
        MACHINE,
        (
            RESHARING,
            "    if len(change.approvals) < state.membership.strong:\n",
            "    if len(change.approvals) < state.membership.weak:\n",
        ),
    ),
    Mutant(
        "approval-twice",
        "a member approves once",
        MACHINE,
        (MEMBERSHIP, "    if index in change.approvals:\n", "    if False:\n"),
    ),
    Mutant(
        "approval-of-another-proposal",
        "an approval is for one proposal",
        MACHINE,
        (MEMBERSHIP, "    if change.proposal.digest != proposal:\n", "    if False:\n"),
    ),
    Mutant(
        "anybody-withdraws",
        "only its proposer takes a proposal back",
        MACHINE,
        (MEMBERSHIP, "    if change.proposer != author:\n", "    if False:\n"),
    ),
    Mutant(
        "epoch-skipped",
        "a proposal is for the next epoch",
        MACHINE,
        (MEMBERSHIP, "    if proposal.epoch != state.epoch + 1:\n", "    if False:\n"),
    ),
    Mutant(
        "miner-joins",
        "a member's key does not mine",
        MACHINE,
        (MEMBERSHIP, "        if new.key in miners:\n", "        if False:\n"),
    ),
    Mutant(
        "proposal-for-ever",
        "a proposal that nobody approves expires",
        MACHINE,
        (
            MEMBERSHIP,
            "    return void(draft, VoidReason.EXPIRED) if late else draft",
            "    return draft",
        ),
    ),
    Mutant(
        "twins-join",
        "members share neither certificate nor address",
        MACHINE,
        (
            "chain/rules/membership.py",
            "        if len(set(values)) != len(values):\n",
            "        if False:\n",
        ),
    ),
    Mutant(
        "one-clock-closes-a-resharing",
        "f clocks close no phase of a resharing",
        MACHINE,
        (
            RESHARING,
            "    return len(change.elapsed) >= state.membership.weak\n",
            "    return len(change.elapsed) >= 1\n",
        ),
    ),
    Mutant(
        "clock-of-another-session",
        "a clock's vote is for one session and phase",
        MACHINE,
        (
            RESHARING,
            "    if (elapsed.session, elapsed.phase) != (transcript.session, transcript.phase):\n",
            "    if False:\n",
        ),
    ),
    Mutant(
        "attempts-for-ever",
        "a resharing that never succeeds ends its proposal",
        MACHINE,
        (RESHARING, "    if transcript.attempt + 1 >= RESHARING_ATTEMPTS:\n", "    if False:\n"),
    ),
    Mutant(
        "early-boundary",
        "an epoch ends a window after the batch that fixed it",
        (*MACHINE, *AUDIT),
        (
            "chain/rules/membership.py",
            "    return -(-(sequence + params.window) // interval) * interval\n",
            "    return -(-sequence // interval) * interval + interval\n",
        ),
    ),
    Mutant(
        "shares-kept-over-the-boundary",
        "signature shares of the old sharing do not serve the new one",
        REBASE,
        ("coordinator/cycle/rebase.py", "        shares={},\n", ""),
    ),
    Mutant(
        "share-of-another-epoch",
        "a share names the sharing it was given under",
        AUDIT,
        (
            "coordinator/cycle/phases/signing.py",
            "(share.purpose, share.subject, share.rank, share.epoch) != expected[:4]",
            "(share.purpose, share.subject, share.rank) != expected[:3]",
        ),
    ),
    Mutant(
        "votes-stay-at-their-index",
        "what a member said moves to its new index",
        REBASE,
        (
            "coordinator/cycle/rebase.py",
            "        return {moved[index]: said[index] for index in said if index in moved}\n",
            "        return dict(said)\n",
        ),
    ),
    Mutant(
        "proofs-of-the-first-epoch-for-ever",
        "each batch is decided by the members of its epoch",
        AUDIT,
        (
            "chain/audit/succession.py",
            "        if self._following is None or sequence <= self._following[1]:\n",
            "        if True:\n",
        ),
    ),
    Mutant(
        "unsigned-epoch",
        "an epoch's certificate is signed under the federation key",
        AUDIT,
        (
            "chain/epochs.py",
            "    bls.verify(federation_key, certificate.activation, certificate.message)\n",
            "",
        ),
    ),
    Mutant(
        "two-certificates-of-an-epoch",
        "a second certificate of an epoch is refused",
        AUDIT,
        (
            "chain/epochs.py",
            "            if certificate != chain[certificate.epoch]:\n",
            "            if False:\n",
        ),
    ),
)
