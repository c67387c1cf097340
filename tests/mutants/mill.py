"""Faults planted in the cycle machine and in the rules that node and auditor share."""

from tests.mutants.mutant import Mutant

PHASES = "coordinator/cycle/phases"
MACHINE = ("tests/coordinator/cycle/test_machine.py",)
BARRING = ("tests/coordinator/cycle/test_barring.py",)
REFUSALS = ("tests/coordinator/cycle/test_refusals.py",)
ORACLE = tuple(
    f"tests/oracle/test_{what}.py"
    for what in ("scores", "scoring", "references", "lottery", "assignment", "outer_step")
)
VALIDATION = ("tests/chain/test_validation.py",)

MILL = (
    Mutant(
        "lags-though-a-message-waits",
        "a message waits for the record that it rests on",
        ("tests/coordinator/test_durability.py",),
        ("coordinator/durability.py", "effect.after_lsn > durable_lsn", "False"),
    ),
    Mutant(
        "one-clock-ends-a-phase",
        "f clocks end no phase",
        MACHINE,
        (f"{PHASES}/clock.py", ">= state.membership.weak", ">= 1"),
    ),
    Mutant(
        "clock-votes-twice",
        "a replica's clock counts once",
        REFUSALS,
        (f"{PHASES}/clock.py", "    if author in state.elapsed:\n", "    if False:\n"),
    ),
    Mutant(
        "clock-of-another-phase",
        "a clock's vote is for one phase and attempt",
        REFUSALS,
        (
            f"{PHASES}/clock.py",
            "    if (elapsed.cycle, elapsed.phase, elapsed.attempt) != here:\n",
            "    if False:\n",
        ),
    ),
    Mutant(
        "commitment-changed",
        "a commitment cannot be changed",
        REFUSALS,
        (
            f"{PHASES}/training.py",
            "    if commitment.unit in state.commitments:\n",
            "    if False:\n",
        ),
    ),
    Mutant(
        "copied-update",
        "a reveal opens its own commitment",
        REFUSALS,
        (
            f"{PHASES}/reveal.py",
            "    if opened != state.commitments[unit.unit]:\n",
            "    if False:\n",
        ),
    ),
    Mutant(
        "reveal-without-bytes",
        "f + 1 replicas hold what is revealed",
        REFUSALS,
        (
            f"{PHASES}/reveal.py",
            "    if len(holders) < state.membership.weak:\n",
            "    if False:\n",
        ),
    ),
    Mutant(
        "receipt-for-other-bytes",
        "a receipt is for exactly these bytes",
        REFUSALS,
        (
            f"{PHASES}/reveal.py",
            "        if index is not None and receipt == expected:\n",
            "        if index is not None:\n",
        ),
    ),
    Mutant(
        "someone-elses-unit",
        "a unit is its miner's",
        REFUSALS,
        (
            f"{PHASES}/training.py",
            " or state.units[unit].miner != miner:\n",
            ":\n",
        ),
    ),
    Mutant(
        "a-replica-mines",
        "a replica's key cannot mine",
        REFUSALS,
        (
            f"{PHASES}/registration.py",
            "    if miner in replicas(state):\n",
            "    if False:\n",
        ),
    ),
    Mutant(
        "two-tables-of-one-replica",
        "a replica gives one table",
        REFUSALS,
        (f"{PHASES}/evaluation.py", "    if author in state.tables:\n", "    if False:\n"),
    ),
    Mutant(
        "table-of-other-units",
        "a table lists exactly the revealed units",
        REFUSALS,
        (
            f"{PHASES}/evaluation.py",
            "    if [row.unit for row in table.rows] != sorted(state.reveals):\n",
            "    if False:\n",
        ),
    ),
    Mutant(
        "scored-by-too-few",
        "medians are over a strong quorum of tables",
        MACHINE,
        (
            f"{PHASES}/evaluation.py",
            "        if len(state.tables) < membership.strong:\n",
            "        if len(state.tables) < membership.weak:\n",
        ),
    ),
    Mutant(
        "draw-with-challenge-round",
        "the draw's randomness is not known while scores can move",
        (*MACHINE, "tests/chain/audit/test_replay.py"),
        (
            f"{PHASES}/signing.py",
            "            number = draw_round(cycle)\n",
            "            number = challenge_round(cycle)\n",
        ),
    ),
    Mutant(
        "share-of-another-signature",
        "a share is for the signature that is asked for",
        REFUSALS,
        (
            f"{PHASES}/signing.py",
            "    if (share.purpose, share.subject, share.rank, share.epoch) != expected[:4]:\n",
            "    if False:\n",
        ),
    ),
    Mutant(
        "bad-share-forgiven",
        "who gave a bad share is not asked again in this phase",
        REFUSALS,
        (
            f"{PHASES}/signing.py",
            "    if author in state.shares or author in state.faulty:\n",
            "    if author in state.shares:\n",
        ),
    ),
    Mutant(
        "model-of-a-weak-quorum",
        "a strong quorum holds the next model",
        (*MACHINE, "tests/coordinator/test_liars.py"),
        (
            f"{PHASES}/aggregation.py",
            "        if len(matching) >= state.membership.strong:\n",
            "        if len(matching) >= 1:\n",
        ),
    ),
    Mutant(
        "block-seen-by-one",
        "one witness makes no block",
        (*MACHINE, "tests/coordinator/test_liars.py"),
        (
            f"{PHASES}/block.py",
            "        if headers.count(header) >= state.membership.weak:\n",
            "        if headers.count(header) >= 1:\n",
        ),
    ),
    Mutant(
        "block-on-another-parent",
        "a block stands on the final tip",
        REFUSALS,
        (
            f"{PHASES}/block.py",
            "    if header.previous != state.tip.hash:\n",
            "    if False:\n",
        ),
    ),
    Mutant(
        "rank-never-voided",
        "a rank that is late is voided, and the next may make the block",
        MACHINE,
        (
            f"{PHASES}/block.py",
            "    if state.rank + 1 < len(state.drawn.ranks):\n",
            "    if False:\n",
        ),
    ),
    Mutant(
        "refused-request-marked",
        "a refused request may come again",
        REFUSALS,
        (
            "coordinator/cycle/machine.py",
            "    if answer.accepted:\n        clients.mark(",
            "    if True:\n        clients.mark(",
        ),
    ),
    Mutant(
        "agreed-time-runs-back",
        "agreed time never runs back",
        ("tests/coordinator/cycle/test_time.py",),
        (
            "coordinator/cycle/machine.py",
            "    agreed_ms = max(state.agreed_ms, decoded.timestamp_ms)\n",
            "    agreed_ms = decoded.timestamp_ms\n",
        ),
    ),
    Mutant(
        "upper-median",
        "the median is the lower of two",
        ORACLE,
        (
            "chain/rules/scoring.py",
            "    return sorted(values)[(len(values) - 1) // 2]\n",
            "    return sorted(values)[len(values) // 2]\n",
        ),
    ),
    Mutant(
        "quality-without-cap",
        "there is no prize for concentration",
        ORACLE,
        (
            "chain/rules/scoring.py",
            "    return max(0, min(most, value * ONE // reference))\n",
            "    return max(0, value * ONE // reference)\n",
        ),
    ),
    Mutant(
        "invalid-update-earns",
        "an invalid update earns nothing",
        ORACLE,
        (
            "chain/rules/scoring.py",
            "reference.gain, QUALITY_MAX) if row.valid else 0\n",
            "reference.gain, QUALITY_MAX)\n",
        ),
        (
            "chain/rules/scoring.py",
            "reference.advantage, COVERAGE_MAX) if row.valid else 0\n",
            "reference.advantage, COVERAGE_MAX)\n",
        ),
    ),
    Mutant(
        "failed-audit-pays",
        "a miner whose audited unit fails gets nothing",
        ORACLE,
        (
            "chain/rules/scoring.py",
            "    merit = 0 if caught else min(",
            "    merit = min(",
        ),
    ),
    Mutant(
        "trial-pays",
        "a fresh key has no tickets before its units passed audits",
        ORACLE,
        (
            "chain/rules/scoring.py",
            "return set() if 2 * free < sum(row.merit for row in rows) else trials",
            "return set()",
        ),
    ),
    Mutant(
        "trial-starves",
        "where those on trial did most of the work, their tickets count",
        ORACLE,
        (
            "chain/rules/scoring.py",
            "return set() if 2 * free < sum(row.merit for row in rows) else trials",
            "return trials",
        ),
    ),
    Mutant(
        "cap-ignored",
        "an update counts up to the trailing norm",
        ("tests/chain/rules/test_norms.py",),
        ("chain/rules/norms.py", "    if not cap or size <= cap:\n", "    if True:\n"),
    ),
    Mutant(
        "barred-miner-works",
        "who failed an audit gets no work for a while",
        REFUSALS,
        (
            f"{PHASES}/registration.py",
            "    if is_barred(state.standings, miner, register.cycle):\n",
            "    if False:\n",
        ),
    ),
    Mutant(
        "bar-without-effect-on-the-scores",
        "a key that is barred before the scores gets no tickets",
        BARRING,
        ("chain/rules/scoring.py", "if is_barred(held, row.miner, cycle)}", "if False}"),
    ),
    Mutant(
        "bar-read-at-the-draw",
        "who takes part in a draw is fixed before anybody can know its randomness",
        BARRING,
        (
            f"{PHASES}/lottery.py",
            "    ranks = draw(seed, tickets_by_miner(state.scored.rows), rules.params.ranks_max)\n",
            "    tickets = {\n"
            "        miner: held\n"
            "        for miner, held in tickets_by_miner(state.scored.rows).items()\n"
            "        if not state.standings[miner].barred_until\n"
            "    }\n"
            "    ranks = draw(seed, tickets, rules.params.ranks_max)\n",
        ),
    ),
    Mutant(
        "bar-forgotten-at-the-scores",
        "who was barred while it worked stays barred",
        BARRING,
        (
            "chain/rules/standing.py",
            "        if is_barred(standings, miner, cycle):\n",
            "        if False:\n",
        ),
    ),
    Mutant(
        "registration-outlives-the-bar",
        "a barred key gets no work in the next cycle",
        BARRING,
        (f"{PHASES}/barring.py", "    registrations.pop(told.miner, None)\n", ""),
    ),
    Mutant(
        "one-block-counted-twice",
        "one block is no evidence",
        BARRING,
        ("chain/barring.py", "    if messages[0] == messages[1]:\n", "    if False:\n"),
    ),
    Mutant(
        "anybodys-certificate",
        "evidence is under the federation's certificate",
        BARRING,
        (
            "chain/barring.py",
            "        verify_certificate(shown.certificate, federation_key, chain_id)\n",
            "        pass\n",
        ),
    ),
    Mutant(
        "bar-shown-again",
        "one certificate bars once",
        BARRING,
        ("chain/barring.py", "standing.barred_until >= until:", "False:"),
    ),
    Mutant(
        "old-evidence-bars",
        "evidence whose bar would be over bars nobody",
        BARRING,
        ("chain/barring.py", "    if until <= cycle + 1:\n", "    if False:\n"),
    ),
    Mutant(
        "evidence-by-the-dozen",
        "one request costs the replicas one pairing",
        BARRING,
        (
            "chain/records/commands.py",
            "    if any(each.startswith(_ALONE) for each in operations):\n",
            "    if False:\n",
        ),
    ),
    Mutant(
        "advantage-ignored",
        "gain alone is no proof of work on the unit's own data",
        ORACLE,
        (
            "chain/rules/scoring.py",
            "volume * coverage * coverage * quality >> 48",
            "volume * quality >> 16",
        ),
    ),
    Mutant(
        "biased-draw",
        "no ticket is favoured",
        ("tests/chain/rules/test_sampling.py",),
        ("chain/rules/sampling.py", "            if word < limit:\n", "            if True:\n"),
    ),
    Mutant(
        "winner-drawn-again",
        "a runner-up is another than the winner",
        ORACLE,
        (
            "chain/rules/lottery.py",
            "tickets=left.pop(miner)",
            "tickets=left[miner]",
        ),
    ),
    Mutant(
        "references-without-floor",
        "no reference falls below the floor",
        (*ORACLE, "tests/chain/rules"),
        (
            "chain/rules/scoring.py",
            "                gain=max(params.reference_floor, gain),\n",
            "                gain=gain,\n",
        ),
    ),
    Mutant(
        "step-rounds-down",
        "the outer step divides with rounding half up",
        ("tests/chain/rules/test_aggregation.py",),
        (
            "chain/rules/aggregation.py",
            "(2 * job.outer_rate_numerator * direction + divisor) // (2 * divisor)",
            "job.outer_rate_numerator * direction // divisor",
        ),
    ),
    Mutant(
        "outsider-begins-the-walk",
        "a walk of the agreement filter counts with a majority only",
        ("tests/chain/rules/test_merging.py", "tests/chain/rules/test_aggregation.py"),
        (
            "chain/rules/merging.py",
            "        if 2 * len(taken) > len(sources):\n",
            "        if taken:\n",
        ),
    ),
    Mutant(
        "step-chosen-by-the-loudest",
        "back-tracking goes by the median loss of each step",
        ("tests/coordinator/cycle/test_aggregation.py",),
        (
            f"{PHASES}/aggregation.py",
            "        lower_median([vote.models[halvings].challenge_loss for vote in votes])\n",
            "        min(vote.models[halvings].challenge_loss for vote in votes)\n",
        ),
    ),
    Mutant(
        "two-ways-to-write-an-update",
        "a sparse update ends with its last bit that tells something",
        ("tests/chain/rules/test_sparse.py",),
        (
            "chain/rules/sparse.py",
            "    if flat[count * bits :].any():\n",
            "    if False:\n",
        ),
    ),
    Mutant(
        "split-capacity-earns",
        "units follow capacity, rounded down",
        ("tests/chain/rules", *REFUSALS, "tests/chain/audit/test_derivation.py"),
        (
            "chain/rules/assignment.py",
            "profile.capacity // params.unit_capacity)",
            "-(-profile.capacity // params.unit_capacity))",
        ),
    ),
)
