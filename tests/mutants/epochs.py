"""Faults planted where one epoch follows another."""

from tests.mutants.mutant import Mutant

EPOCH, PAST, JOURNAL = "bft/pbft/epoch.py", "bft/pbft/past.py", "bft/pbft/journal.py"
STABLE = "bft/pbft/stable.py"
RULES = ("tests/bft/pbft/test_epoch_rules.py",)
PLAYED = ("tests/bft/pbft/test_epochs.py",)

EPOCHS = (
    Mutant(
        "epoch-ends-too-early",
        "nobody can have proposed beyond an epoch's end before it was known",
        RULES,
        (
            EPOCH,
            "    return -(-(sequence + window) // interval) * interval\n",
            "    return -(-(sequence + interval) // interval) * interval\n",
        ),
    ),
    Mutant(
        "votes-beyond-the-end",
        "nobody votes beyond an epoch's end",
        RULES,
        (
            "bft/pbft/log.py",
            "        return high if self.last is None else min(high, self.last)\n",
            "        return high\n",
        ),
    ),
    Mutant(
        "null-batch-at-any-time",
        "null batches are proposed at the end of an epoch only",
        PLAYED,
        (
            EPOCH,
            "    return False if core.last_executed >= slot.sequence - 1 else None\n",
            "    return True\n",
        ),
    ),
    Mutant(
        "null-batch-judged-too-early",
        "who has executed less than the primary does not judge its null batches",
        PLAYED,
        (
            EPOCH,
            "    return False if core.last_executed >= slot.sequence - 1 else None\n",
            "    return False\n",
        ),
    ),
    Mutant(
        "end-not-in-checkpoints",
        "who has a stable proof only knows from it where the epoch ends",
        PLAYED,
        (STABLE, "                last=event.last or 0,\n", "                last=0,\n"),
    ),
    Mutant(
        "an-idle-epoch-never-ends",
        "a primary that leaves the epoch's last batches undecided is suspected",
        PLAYED,
        (
            "bft/pbft/suspicion.py",
            "    begun = epoch.ending(core) or any(\n",
            "    begun = any(\n",
        ),
    ),
    Mutant(
        "blamed-for-the-end",
        "what has no place before an epoch's end is nobody's fault",
        PLAYED,
        (
            EPOCH,
            "    return core.last_decided == core.log.last\n",
            "    return False\n",
        ),
    ),
    Mutant(
        "gone-before-the-proof",
        "a member belongs to its epoch until the last state is proven",
        PLAYED,
        (
            JOURNAL,
            "        (isinstance(record, Stabilised) and record.proof.sequence >= last)\n",
            "        isinstance(record, Reached | Stabilised)\n",
        ),
    ),
    Mutant(
        "old-votes-remembered",
        "records of an earlier epoch count no more",
        RULES,
        (
            JOURNAL,
            "    opened = 0 if membership.epoch == 0 else memory.last_lsn + 1\n",
            "    opened = 0\n",
        ),
        (JOURNAL, "                opened = record.opened\n", "                pass\n"),
    ),
    Mutant(
        "epoch-pruned-from-the-journal",
        "a journal always says in which epoch it goes on",
        PLAYED,
        (STABLE, "    epoch.write_again(core)\n", ""),
        (
            STABLE,
            "    for item in (core.began, core.stable, core.new_view, core.view_change):\n",
            "    for item in (core.stable, core.new_view, core.view_change):\n",
        ),
    ),
    Mutant(
        "late-members-unanswered",
        "a member that is still in the old epoch is shown its end",
        PLAYED,
        (
            PAST,
            "    if isinstance(message, Status) and message.low < era.last:\n",
            "    if message is None:\n",
        ),
    ),
    Mutant(
        "late-members-shown-no-batches",
        "a member that is still in the old epoch gets the batches before its end",
        PLAYED,
        (
            PAST,
            "    elif isinstance(message, FetchHistory):\n",
            "    elif message is None:\n",
        ),
    ),
    Mutant(
        "old-batches-judged-by-new-members",
        "a batch is proven by the members of its own epoch",
        PLAYED,
        (
            "bft/pbft/history.py",
            "        if sequence <= era.last:\n",
            "        if sequence <= 0:\n",
        ),
    ),
    Mutant(
        "view-change-into-the-epoch-before",
        "a VIEW-CHANGE goes back to where its epoch began and no further",
        RULES,
        (
            "bft/pbft/view_change.py",
            "    if vc.low % interval or vc.low < first or (vc.low > first) != bool(vc.stable):\n",
            "    if vc.low % interval or (vc.low > first) != bool(vc.stable):\n",
        ),
    ),
)
