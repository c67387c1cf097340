"""Faults planted in the consensus engine.  The first fifteen are those of the scenario page."""

from tests.mutants.mutant import Mutant

NORMAL, VIEWS, CHANGE = "bft/pbft/normal.py", "bft/pbft/views.py", "bft/pbft/view_change.py"
STABLE, CATCHUP, CORE = "bft/pbft/stable.py", "bft/pbft/catchup.py", "bft/pbft/core.py"
VOTES = ("tests/bft/pbft/test_votes.py",)
VIEW_CHANGE = ("tests/bft/pbft/test_view_change.py",)
LIVENESS = ("tests/bft/pbft/test_liveness.py",)
DURABILITY = ("tests/bft/pbft/test_durability.py",)
CATCHING_UP = ("tests/bft/pbft/test_catchup.py",)
MESSAGES = ("tests/bft/pbft/test_messages.py",)
SUSPICION = ("tests/bft/pbft/test_suspicion.py",)
LIMITS = ("tests/bft/pbft/test_limits.py",)
POOL = ("tests/bft/pbft/test_pool.py", "tests/bft/pbft/test_clients.py")

LISTED = (
    Mutant(
        "quorum-f+1",
        "any two strong quorums share a correct replica",
        VOTES,
        ("bft/quorum.py", "    quorum = (n + f) // 2 + 1\n", "    quorum = f + 1\n"),
        (
            "bft/quorum.py",
            "    assert 2 * quorum - n >= f + 1 and quorum <= n - f\n",
            "",
        ),
    ),
    Mutant(
        "prepared-not-persisted",
        "what a COMMIT promises survives a crash",
        DURABILITY,
        (
            NORMAL,
            "    lsn = core.persist(journal.Prepared(proof=slot.prepared))\n"
            "    slot.journaled(lsn)\n"
            "    commit(core, slot, lsn)\n",
            "    commit(core, slot, slot.header_lsn)\n",
        ),
    ),
    Mutant(
        "prepared-dropped-on-new-view",
        "a prepared proof lives until the slot is prepared again or stable",
        VIEW_CHANGE,
        (
            VIEWS,
            "    core.view_changes.installed(core.view)\n",
            "    core.view_changes.installed(core.view)\n"
            "    for old in core.log:\n"
            "        old.prepared = None\n",
        ),
    ),
    Mutant(
        "lowest-view-wins",
        "of two prepared proofs that of the higher view counts",
        VIEW_CHANGE,
        (CHANGE, "proof.view > known.view)", "proof.view < known.view)"),
    ),
    Mutant(
        "new-view-not-recomputed",
        "backups recompute what a NEW-VIEW must propose",
        VIEW_CHANGE,
        (
            CHANGE,
            "    if tuple((p.sequence, p.digest) for p in nv.proposals) != plan.proposals:\n",
            "    if False:\n",
        ),
    ),
    Mutant(
        "duplicate-signers",
        "a certificate's signers are distinct",
        VIEW_CHANGE,
        ("bft/pbft/certificates.py", "a >= b for a, b", "a > b for a, b"),
    ),
    Mutant(
        "primary-prepares-too",
        "the PRE-PREPARE is the primary's only vote",
        VOTES,
        (
            NORMAL,
            "    if found.sender == core.members.primary(message.view):\n        return\n",
            "",
        ),
        (NORMAL, "    votes.pop(core.primary, None)\n", ""),
    ),
    Mutant(
        "votes-after-leaving",
        "who left a view votes in it no more",
        VOTES,
        (
            NORMAL,
            "    if message.view != core.view or not core.active:\n",
            "    if message.view != core.view:\n",
        ),
        (NORMAL, "or slot.rejected or not core.active:", "or slot.rejected:"),
        (NORMAL, "not slot.accepted or not core.active or slot", "not slot.accepted or slot"),
        (NORMAL, "    assert core.active\n", ""),
    ),
    Mutant(
        "timer-counts-equal-views",
        "whoever is in a later view counts for this one's timer as well",
        LIVENESS,
        (
            VIEWS,
            "core.peers[i].view >= core.pending_view for",
            "core.peers[i].view == core.pending_view for",
        ),
    ),
    Mutant(
        "dedupe-not-in-state",
        "the client table is part of the state that checkpoints name",
        POOL,
        (
            "bft/pbft/clients.py",
            "                    for client, (high, bits, sequence) in self._of.items()\n",
            "                    for client, (high, bits, sequence) in list[Any]()\n",
        ),
        (
            "bft/pbft/clients.py",
            "from typing import Annotated\n",
            "from typing import Annotated, Any\n",
        ),
    ),
    Mutant(
        "no-request-deadline",
        "each request has a deadline of its own",
        LIVENESS,
        (
            "bft/pbft/suspicion.py",
            "    if oldest is not None and core.now >= oldest.deadline_ms:\n",
            "    if False:\n",
        ),
    ),
    Mutant(
        "decides-on-f+1-commits",
        "only a strong quorum of COMMITs decides",
        VOTES,
        (
            NORMAL,
            "    if len(votes) >= core.members.strong:\n"
            "        proof = QuorumProof(view=message.view, "
            "signatures=signatures(votes, core.members.strong))\n",
            "    if len(votes) >= core.members.weak:\n"
            "        proof = QuorumProof(view=message.view, "
            "signatures=signatures(votes, core.members.weak))\n",
        ),
    ),
    Mutant(
        "no-domain-separation",
        "no signature serves for another type",
        (*VOTES, "tests/bft/codec/test_envelope.py"),
        (
            "bft/codec/envelope.py",
            'b"DSSEv1 %d %b %d %b" % (len(tag), tag, len(body), body)',
            'b"DSSEv1 %d %b" % (len(body), body)',
        ),
    ),
    Mutant(
        "pruned-before-durable",
        "old records go only when the stable checkpoint is durable",
        CATCHING_UP,
        (
            "bft/pbft/stable.py",
            "    core.prunes.append((core.lsn, oldest_needed(core) - 1))\n",
            "    core.prunes.append((0, core.lsn))\n",
        ),
        (
            "bft/pbft/replica.py",
            "        self._count_durable()\n",
            "        self._count_durable()\n"
            "        while core.prunes:\n"
            "            core.effects.append(Prune(up_to_lsn=core.prunes.popleft()[1]))\n",
        ),
    ),
    Mutant(
        "next-sequence-reset",
        "a new primary assigns nothing that its NEW-VIEW has assigned",
        (*VIEW_CHANGE, *LIVENESS),
        (VIEWS, "    core.next_sequence = plan.last + 1\n", "    core.next_sequence = 1\n"),
    ),
)

FURTHER = (
    Mutant(
        "sent-before-durable",
        "nothing leaves before its record is durable",
        VOTES,
        (CORE, "        self.send(None, message, lsn)\n", "        self.send(None, message)\n"),
    ),
    Mutant(
        "own-vote-counts-at-once",
        "an own vote counts when no crash can erase it",
        DURABILITY,
        (
            "bft/pbft/replica.py",
            "while core.own_votes and core.own_votes[0][0] <= core.durable:",
            "while core.own_votes:",
        ),
    ),
    Mutant(
        "one-wish-moves-all",
        "f wishes end no view",
        SUSPICION,
        (
            VIEWS,
            "weakest_proven([*asked, core.wished_view], core.members.weak)",
            "weakest_proven([*asked, core.wished_view], 1)",
        ),
    ),
    Mutant(
        "wishes-are-kept",
        "a wish that is taken back counts no more",
        SUSPICION,
        (
            CATCHUP,
            "    peer.wished_view = status.wished_view\n",
            "    peer.wished_view = max(peer.wished_view, status.wished_view)\n",
        ),
    ),
    Mutant(
        "who-suspects-leaves-alone",
        "a wish takes no vote from the others",
        SUSPICION,
        (
            VIEWS,
            "    if core.told_wish != core.wished_view:\n",
            "    leave(core, core.wished_view)\n    if core.told_wish != core.wished_view:\n",
        ),
    ),
    Mutant(
        "reigns-without-end",
        "a primary that is merely slow leads for its share of the time",
        SUSPICION,
        (
            "bft/pbft/suspicion.py",
            "core.reign_ms >= core.config.reign_ms:",
            "core.reign_ms < 0:",
        ),
    ),
    Mutant(
        "an-ended-reign-has-failed",
        "timeouts double for views that failed, not for reigns that are over",
        SUSPICION,
        (VIEWS, "    if suspicion.reigned(core):\n", "    if False:\n"),
    ),
    Mutant(
        "joins-the-largest-view",
        "one liar's view is no place to go",
        LIVENESS,
        (
            CHANGE,
            "    return sorted(views, reverse=True)[weak - 1]\n",
            "    return sorted(views, reverse=True)[0]\n",
        ),
    ),
    Mutant(
        "new-view-of-too-few",
        "a NEW-VIEW needs a strong quorum of VIEW-CHANGEs",
        VIEW_CHANGE,
        (CHANGE, "    if len(nv.view_changes) != members.strong:\n", "    if False:\n"),
    ),
    Mutant(
        "new-view-counts-one-sender-twice",
        "VIEW-CHANGEs in a NEW-VIEW are of distinct replicas",
        VIEW_CHANGE,
        (
            CHANGE,
            "        if found and vc.replica <= found[-1].replica:\n",
            "        if False:\n",
        ),
    ),
    Mutant(
        "prepared-beyond-window",
        "a prepared proof lies in its sender's window",
        VIEW_CHANGE,
        (
            CHANGE,
            "        if not before < proof.sequence <= vc.low + window:\n",
            "        if not before < proof.sequence:\n",
        ),
    ),
    Mutant(
        "prepared-in-its-own-view",
        "a prepared proof is older than the view that is asked for",
        VIEW_CHANGE,
        (CHANGE, "        if proof.view >= vc.view:\n", "        if proof.view > vc.view:\n"),
    ),
    Mutant(
        "stable-not-verified",
        "a stable checkpoint in a VIEW-CHANGE is proven",
        VIEW_CHANGE,
        (CHANGE, "        verify_stable(stable, verifier)\n", ""),
    ),
    Mutant(
        "unproven-stable-message",
        "a STABLE counts by its proof",
        CATCHING_UP,
        (CATCHUP, "        verify_stable(message.proof, core.verifier)\n", ""),
    ),
    Mutant(
        "unproven-decision",
        "a DECISION counts by its proof",
        CATCHING_UP,
        (
            CATCHUP,
            "            verify_decision(message.proof, message.sequence, "
            "message.digest, core.verifier)\n",
            "            pass\n",
        ),
    ),
    Mutant(
        "unproven-history",
        "each entry of history is proven",
        LIMITS,
        (
            "bft/pbft/history.py",
            "    verify_decision(proof, entry.sequence, digest, core.verifier)\n",
            "",
        ),
    ),
    Mutant(
        "wrong-root-goes-on",
        "a replica whose state differs from the quorum's stops",
        CATCHING_UP,
        (STABLE, "    if not same:\n", "    if False:\n"),
    ),
    Mutant(
        "two-votes-unseen",
        "two digests of one replica in one place convict it",
        VOTES,
        (
            "bft/pbft/log.py",
            "                if known.digest != message.digest:\n",
            "                if False:\n",
        ),
    ),
    Mutant(
        "equivocation-unseen",
        "two PRE-PREPAREs of one primary in one place convict it",
        VOTES,
        (NORMAL, "    elif known.digest != message.digest:\n", "    elif False:\n"),
    ),
    Mutant(
        "forged-request-accepted",
        "a batch with a request that its client did not sign is refused",
        VOTES,
        (NORMAL, "            core.pool.verify(request)\n", "            pass\n"),
    ),
    Mutant(
        "empty-batch-accepted",
        "only a NEW-VIEW fills gaps",
        VOTES,
        (NORMAL, "    if not batch.requests:  #", "    if False:  #"),
    ),
    Mutant(
        "clock-not-checked",
        "agreed time is neither rushed nor frozen",
        VOTES,
        (
            NORMAL,
            "    if not core.wall - core.config.lag_ms <= batch.timestamp_ms "
            "<= core.wall + core.config.skew_ms:\n",
            "    if False:\n",
        ),
    ),
    Mutant(
        "watermarks-open",
        "nothing outside the window leaves a trace",
        (*VOTES, *CATCHING_UP),
        (
            "bft/pbft/log.py",
            "        return self.low < sequence <= self.high\n",
            "        return self.low < sequence\n",
        ),
    ),
    Mutant(
        "timeouts-do-not-double",
        "each view that fails doubles the next one's time",
        LIVENESS,
        (
            CORE,
            "        return min(base_ms << self.failed(), ",
            "        return min(base_ms, ",
        ),
    ),
    Mutant(
        "view-change-forgotten",
        "a restarted replica awaits the view that it had asked for",
        (*DURABILITY, *VOTES),
        (
            "bft/pbft/recovery.py",
            "        if left.view > core.view:\n",
            "        if False:\n",
        ),
    ),
    Mutant(
        "own-prepare-forgotten",
        "a restarted replica knows what it had prepared",
        DURABILITY,
        (
            "bft/pbft/recovery.py",
            "            slot.prepared = memory.prepared[sequence][0]\n",
            "            pass\n",
        ),
    ),
    Mutant(
        "journal-hole-ignored",
        "a replica that has forgotten promises does not vote",
        DURABILITY,
        (
            "bft/pbft/journal.py",
            "        if found and lsn != found[-1][0] + 1:\n",
            "        if False:\n",
        ),
    ),
    Mutant(
        "stranger-speaks",
        "a message names the replica that signed it",
        MESSAGES,
        ("bft/pbft/messages.py", "    if message.replica != sender:\n", "    if False:\n"),
    ),
    Mutant(
        "other-chain-heard",
        "a message of another chain or epoch is none",
        MESSAGES,
        (
            "bft/pbft/messages.py",
            "    if message.chain_id != membership.chain_id "
            "or message.epoch != membership.epoch:\n",
            "    if False:\n",
        ),
    ),
    Mutant(
        "second-encoding",
        "one record has one encoding",
        ("tests/bft/codec/test_canonical.py",),
        ("bft/codec/canonical.py", "    if _encoder.encode(value) != data:\n", "    if False:\n"),
    ),
    Mutant(
        "executed-twice",
        "a request is executed at most once",
        POOL,
        (
            "bft/pbft/clients.py",
            "        return age < CSEQ_WINDOW and not known[1] >> age & 1\n",
            "        return age < CSEQ_WINDOW\n",
        ),
    ),
    Mutant(
        "window-of-a-client-open",
        "what fell out of a client's window is not fresh again",
        POOL,
        (
            "bft/pbft/clients.py",
            "        return age < CSEQ_WINDOW and not known[1] >> age & 1\n",
            "        return age >= CSEQ_WINDOW or not known[1] >> age & 1\n",
        ),
    ),
    Mutant(
        "one-source-fills-the-pool",
        "no replica crowds the others out of the pool",
        POOL,
        (
            "bft/pbft/pool.py",
            "            self._count.get(source, 0) < self.requests\n",
            "            len(self._of) < 2**40\n",
        ),
    ),
    Mutant(
        "one-client-first",
        "clients take turns",
        POOL,
        (
            "bft/pbft/pool.py",
            "            del self._turns[client]\n            self._turns[client] = None\n",
            "            pass\n",
        ),
    ),
    Mutant(
        "view-changes-verified-without-limit",
        "a replica may cost us one large verification in so much time",
        LIMITS,
        (
            VIEWS,
            "    return last_ms is None or core.now - last_ms >= CHECK_GAP_MS\n",
            "    return True\n",
        ),
    ),
    Mutant(
        "commits-of-earlier-views-not-shown",
        "who has forgotten a COMMIT hears of it in every view",
        ("tests/bft/pbft/test_amnesia.py",),
        (
            "bft/pbft/amnesia.py",
            "        return isinstance(message, Commit)  # which counts in every view\n",
            "        return False\n",
        ),
    ),
)
